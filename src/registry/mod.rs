//! What `#[remote]` registered at link time: functions, classes and which class has which trait.
//!
//! The entries are collected before `main` and never change. [`check`] refuses two functions of one
//! identity when a session starts; the gateway lists what stands here.

use std::any::{Any, TypeId};
use std::collections::HashMap;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::{ClassDefinition, Definition};

/// One thing that a `#[remote]` registered.
pub enum Entry {
    /// A function.
    Function(&'static Definition),
    /// A class.
    Class(&'static ClassDefinition),
    /// A class that has a remote trait.
    Implementation(&'static Implementation),
}

inventory::collect!(Entry);

/// That a class has a remote trait, and how to see its state as that trait.
pub struct Implementation {
    class: fn() -> TypeId,
    target: fn() -> TypeId,
    casts: fn() -> Box<dyn Any + Send + Sync>,
}

impl Implementation {
    /// An entry; `casts` makes what [`casts_of`] hands out, a boxed `&'static Casts` of the target.
    pub const fn new(
        class: fn() -> TypeId,
        target: fn() -> TypeId,
        casts: fn() -> Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self { class, target, casts }
    }
}

/// How to see an actor's state as a `D`, one of its classes or remote traits.
pub(crate) struct Casts<D: ?Sized> {
    /// For reading.
    pub(crate) by_ref: fn(&dyn Any) -> &D,
    /// For changing.
    pub(crate) by_mut: fn(&mut dyn Any) -> &mut D,
}

/// How to see the state of `class` as `target`, if `#[remote] impl` said that it can be.
pub(crate) fn casts_of(class: TypeId, target: TypeId) -> Option<Box<dyn Any + Send + Sync>> {
    inventory::iter::<Entry>.into_iter().find_map(|entry| match entry {
        Entry::Implementation(it) if (it.class)() == class && (it.target)() == target => Some((it.casts)()),
        _ => None,
    })
}

/// All functions and constructors.
pub(crate) fn definitions() -> impl Iterator<Item = &'static Definition> {
    inventory::iter::<Entry>.into_iter().filter_map(|entry| match entry {
        Entry::Function(definition) => Some(*definition),
        Entry::Class(class) => Some(&class.constructor),
        Entry::Implementation(_) => None,
    })
}

/// Refuses two definitions of one identity: a call that names it could mean either.
pub(crate) fn check() -> Result<()> {
    first_collision(definitions()).map_or(Ok(()), |(name, file, line)| {
        let text = format!("two remote functions have one identity: `{name}` at {file}:{line}");
        Err(Error::new(ErrorKind::NameTaken, text))
    })
}

fn first_collision(
    definitions: impl Iterator<Item = &'static Definition>,
) -> Option<(&'static str, &'static str, u32)> {
    let mut seen: HashMap<_, *const Definition> = HashMap::new();
    for definition in definitions {
        if let Some(other) = seen.insert(definition.identity(), definition)
            && !std::ptr::eq(other, definition)
        {
            return Some((definition.name, definition.file, definition.line));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: Definition = Definition::internal("one");
    static TWIN: Definition = Definition::internal("one");

    #[test]
    fn two_definitions_of_one_identity_are_found() {
        assert!(first_collision([&ONE, &TWIN].into_iter()).is_some());
        assert!(first_collision([&ONE, &ONE].into_iter()).is_none());
    }
}
