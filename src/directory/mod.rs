//! Named actors: who holds which name in which namespace.
//!
//! A name is held from the moment an actor is asked for until it is dead, so that two who ask at once
//! get one actor or one clear error. A name keeps nothing alive. Pure: no locks, no clock.

use std::collections::BTreeMap;

use crate::id::ActorId;

/// A name within its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    /// The namespace.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
}

/// Names and who holds them.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    by_name: BTreeMap<Name, ActorId>,
    by_actor: BTreeMap<ActorId, Name>,
}

impl Directory {
    /// Gives `name` to `actor`, or says who holds it.
    pub(crate) fn claim(&mut self, name: Name, actor: ActorId) -> Result<(), ActorId> {
        if let Some(holder) = self.by_name.get(&name) {
            return Err(*holder);
        }
        self.by_name.insert(name.clone(), actor);
        self.by_actor.insert(actor, name);
        Ok(())
    }

    /// Who holds `name`.
    pub(crate) fn find(&self, name: &Name) -> Option<ActorId> {
        self.by_name.get(name).copied()
    }

    /// Frees what a dead actor held.
    pub(crate) fn release(&mut self, actor: ActorId) {
        if let Some(name) = self.by_actor.remove(&actor) {
            self.by_name.remove(&name);
        }
    }

    /// Both maps say the same.
    #[cfg(test)]
    fn check_invariants(&self) {
        assert_eq!(self.by_name.len(), self.by_actor.len());
        for (actor, name) in &self.by_actor {
            assert_eq!(self.by_name.get(name), Some(actor));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Place, WorkerId};

    fn actor(index: u32) -> ActorId {
        ActorId { owner: WorkerId(0), place: Place { index, generation: 0 } }
    }

    fn name(namespace: &str, name: &str) -> Name {
        Name { namespace: namespace.into(), name: name.into() }
    }

    #[test]
    fn a_name_is_held_by_one_until_it_is_released() {
        let mut names = Directory::default();
        assert_eq!(names.claim(name("a", "x"), actor(1)), Ok(()));
        assert_eq!(names.claim(name("a", "x"), actor(2)), Err(actor(1)));
        names.check_invariants();
        names.release(actor(2));
        assert_eq!(names.find(&name("a", "x")), Some(actor(1)));
        names.release(actor(1));
        names.check_invariants();
        assert_eq!(names.claim(name("a", "x"), actor(2)), Ok(()));
        names.check_invariants();
    }

    #[test]
    fn namespaces_are_apart() {
        let mut names = Directory::default();
        assert_eq!(names.claim(name("a", "x"), actor(1)), Ok(()));
        assert_eq!(names.claim(name("b", "x"), actor(2)), Ok(()));
        assert_eq!(names.find(&name("b", "x")), Some(actor(2)));
        names.check_invariants();
    }
}
