//! Who waits for whom, so that a circle of waits is refused instead of entered.
//!
//! ```text
//! call ──waits for──► call that runs ──waits for──► …
//!      └─────────────► call queued at an actor ──► the call that occupies the actor ──► …
//!      └─────────────► call held back ──► the arguments it waits for ──► …
//! ```
//!
//! Every wait is entered before it begins; so a circle always closes with the wait that is being
//! entered, and a search from there for itself finds it. Only what must happen first is followed: a
//! wait for some of several objects, or a queue at an actor with room for another call, is no edge.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::id::ActorId;

/// What the search needs to know of a call.
pub(crate) trait Call: Clone {
    /// What tells calls apart.
    type Key: Copy + Eq + Hash;
    /// The call's key.
    fn key(&self) -> Self::Key;
    /// Whether it has ended.
    fn is_complete(&self) -> bool;
    /// Whether it has left its queue.
    fn has_started(&self) -> bool;
    /// At which actor it runs or queues.
    fn actor(&self) -> Option<ActorId>;
    /// Whether it needs the actor for itself.
    fn is_exclusive(&self) -> bool;
}

#[derive(Debug)]
struct Blocked<C> {
    call: C,
    on: Vec<C>,
    /// Tells the waits of one async call apart.
    token: u64,
    /// Whether others have the caller's CPUs meanwhile.
    has_lent: bool,
}

/// A call that may not start yet.
#[derive(Debug)]
pub(crate) struct Held<C> {
    pub(crate) call: C,
    /// Its arguments, and behind them the call before it in its caller's line, if there is one.
    pub(crate) on: Vec<C>,
    /// How many of them are arguments.
    pub(crate) arguments: usize,
}

/// The calls of one actor that wait.
#[derive(Debug)]
struct Occupants<K> {
    calls: HashSet<K>,
    /// How many calls may overlap there.
    room: usize,
}

/// The waits of one process.
#[derive(Debug)]
pub(crate) struct Waits<C: Call> {
    blocked: HashMap<C::Key, Vec<Blocked<C>>>,
    at_actor: HashMap<ActorId, Occupants<C::Key>>,
    held: HashMap<C::Key, Held<C>>,
    tokens: u64,
}

impl<C: Call> Default for Waits<C> {
    fn default() -> Self {
        Self { blocked: HashMap::new(), at_actor: HashMap::new(), held: HashMap::new(), tokens: 0 }
    }
}

impl<C: Call> Waits<C> {
    /// Notes that `call` waits for `needed` of `on`; the token ends it. If that can never come, the
    /// calls that form the circle are the error, and nothing is noted. `room` says how many calls may
    /// overlap at the actor of `call`, if it has one.
    pub(crate) fn enter(&mut self, call: &C, room: usize, on: &[C], needed: usize) -> Result<u64, Vec<C>> {
        let token = self.note(call, room, on, needed);
        let paths: Vec<_> = on.iter().filter_map(|awaited| self.path(awaited, call.key())).collect();
        if on.len() - paths.len() >= needed {
            return Ok(token);
        }
        self.leave(call, token);
        Err(paths.into_iter().next().unwrap_or_default())
    }

    fn note(&mut self, call: &C, room: usize, on: &[C], needed: usize) -> u64 {
        self.tokens += 1;
        // A wait for some of several is no edge: others may end it.
        let on = if needed == on.len() { on.to_vec() } else { Vec::new() };
        let wait = Blocked { call: call.clone(), on, token: self.tokens, has_lent: false };
        self.blocked.entry(call.key()).or_default().push(wait);
        if let Some(actor) = call.actor() {
            let empty = || Occupants { calls: HashSet::new(), room };
            self.at_actor.entry(actor).or_insert_with(empty).calls.insert(call.key());
        }
        self.tokens
    }

    /// Others have the CPUs of `call` until the wait is over.
    pub(crate) fn lend(&mut self, call: &C, token: u64) {
        let waits = self.blocked.get_mut(&call.key());
        if let Some(wait) = waits.and_then(|waits| waits.iter_mut().find(|wait| wait.token == token)) {
            wait.has_lent = true;
        }
    }

    /// The wait is over; whether others have the caller's CPUs. One that was over already lends nothing.
    pub(crate) fn leave(&mut self, call: &C, token: u64) -> bool {
        let Some(waits) = self.blocked.get_mut(&call.key()) else { return false };
        let has_lent = waits.iter().any(|wait| wait.token == token && wait.has_lent);
        waits.retain(|wait| wait.token != token);
        if waits.is_empty() {
            self.blocked.remove(&call.key());
            if let Some(actor) = call.actor()
                && let Some(occupants) = self.at_actor.get_mut(&actor)
            {
                occupants.calls.remove(&call.key());
                if occupants.calls.is_empty() {
                    self.at_actor.remove(&actor);
                }
            }
        }
        has_lent
    }

    /// Notes that a call is held back until what it waits for is there.
    pub(crate) fn hold(&mut self, held: Held<C>) {
        self.held.insert(held.call.key(), held);
    }

    /// The call is held back no longer. What is returned may hold the last refs: drop it under no lock.
    #[must_use = "dropped under no lock"]
    pub(crate) fn release(&mut self, key: C::Key) -> Option<Held<C>> {
        self.held.remove(&key)
    }

    /// The calls that are held back.
    pub(crate) fn held(&self) -> impl Iterator<Item = &Held<C>> {
        self.held.values()
    }

    /// How many waits are noted.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.blocked.len() + self.held.len()
    }

    /// The calls on the way from `from` to `goal`, if `from` must wait for it.
    fn path(&self, from: &C, goal: C::Key) -> Option<Vec<C>> {
        let mut seen = HashSet::new();
        let mut came_by: HashMap<C::Key, C> = HashMap::new();
        let mut stack = vec![from.clone()];
        while let Some(call) = stack.pop() {
            if !seen.insert(call.key()) || call.is_complete() {
                continue;
            }
            if call.key() == goal {
                let mut path = vec![call.clone()];
                let mut at = call.key();
                while let Some(before) = came_by.get(&at) {
                    path.push(before.clone());
                    at = before.key();
                }
                path.reverse();
                return Some(path);
            }
            for next in self.must_end_first(&call) {
                if !seen.contains(&next.key()) {
                    came_by.insert(next.key(), call.clone());
                    stack.push(next);
                }
            }
        }
        None
    }

    /// The calls that must end before `call` can.
    fn must_end_first(&self, call: &C) -> Vec<C> {
        if let Some(waits) = self.blocked.get(&call.key()) {
            return waits.iter().flat_map(|wait| wait.on.iter().cloned()).collect();
        }
        if let Some(held) = self.held.get(&call.key()) {
            return held.on.clone();
        }
        let Some(actor) = call.actor().filter(|_| !call.has_started()) else { return Vec::new() };
        let Some(Occupants { calls, room }) = self.at_actor.get(&actor) else { return Vec::new() };
        let occupants: Vec<&Blocked<C>> =
            calls.iter().filter_map(|key| self.blocked.get(key)?.first()).collect();
        // Without room, one of those that overlap must end first.
        let is_full = occupants.len() >= *room && Self::all_wait_here(&occupants, actor);
        let blocks = |other: &C| is_full || other.is_exclusive() || call.is_exclusive();
        occupants.into_iter().map(|wait| &wait.call).filter(|other| blocks(other)).cloned().collect()
    }

    /// Whether each of these calls waits for one that is queued at their actor, or for another of them
    /// that does.
    fn all_wait_here(occupants: &[&Blocked<C>], actor: ActorId) -> bool {
        let is_queued = |on: &C| on.actor() == Some(actor) && !on.has_started() && !on.is_complete();
        let mut stuck: HashSet<C::Key> = HashSet::new();
        loop {
            let before = stuck.len();
            for wait in occupants {
                if wait.on.iter().any(|on| is_queued(on) || stuck.contains(&on.key())) {
                    stuck.insert(wait.call.key());
                }
            }
            if stuck.len() == before {
                return stuck.len() == occupants.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{Place, WorkerId};

    #[derive(Clone, Debug, PartialEq)]
    struct Fake {
        key: u32,
        actor: Option<u32>,
        started: bool,
        shared: bool,
    }

    impl Call for Fake {
        type Key = u32;
        fn key(&self) -> u32 {
            self.key
        }
        fn is_complete(&self) -> bool {
            false
        }
        fn has_started(&self) -> bool {
            self.started
        }
        fn actor(&self) -> Option<ActorId> {
            let place = |index| Place { index, generation: 0 };
            self.actor.map(|index| ActorId { owner: WorkerId(0), place: place(index) })
        }
        fn is_exclusive(&self) -> bool {
            !self.shared
        }
    }

    /// How many calls overlap at the actors of these tests.
    const ROOM: usize = 2;

    fn task(key: u32) -> Fake {
        Fake { key, actor: None, started: true, shared: false }
    }

    fn running(key: u32, actor: u32) -> Fake {
        Fake { actor: Some(actor), ..task(key) }
    }

    fn queued(key: u32, actor: u32) -> Fake {
        Fake { started: false, ..running(key, actor) }
    }

    fn keys(path: &[Fake]) -> Vec<u32> {
        path.iter().map(|call| call.key).collect()
    }

    #[test]
    fn an_actor_that_waits_for_itself_is_a_circle() {
        let mut waits = Waits::default();
        let path = waits.enter(&running(1, 7), ROOM, &[queued(2, 7)], 1).expect_err("a circle");
        assert_eq!(keys(&path), [2, 1]);
        assert_eq!(waits.len(), 0);
    }

    #[test]
    fn two_actors_that_wait_for_each_other_are_a_circle() {
        let mut waits = Waits::default();
        let token = waits.enter(&running(1, 7), ROOM, &[running(2, 8)], 1).expect("no circle yet");
        let path = waits.enter(&running(2, 8), ROOM, &[queued(3, 7)], 1).expect_err("a circle");
        assert_eq!(keys(&path), [3, 1, 2]);
        waits.leave(&running(1, 7), token);
        assert!(waits.enter(&running(2, 8), ROOM, &[queued(3, 7)], 1).is_ok());
    }

    #[test]
    fn a_call_held_back_by_its_argument_is_on_the_way() {
        let mut waits = Waits::default();
        waits.hold(Held { call: queued(3, 9), on: vec![queued(2, 7)], arguments: 1 });
        assert!(waits.enter(&running(1, 7), ROOM, &[queued(3, 9)], 1).is_err());
        assert!(waits.release(3).is_some());
        assert!(waits.enter(&running(1, 7), ROOM, &[queued(3, 9)], 1).is_ok());
    }

    #[test]
    fn a_wait_for_one_of_two_is_hopeless_only_when_both_are() {
        let mut waits = Waits::default();
        assert!(waits.enter(&running(1, 7), ROOM, &[queued(2, 7), task(3)], 1).is_ok());
        assert!(waits.enter(&running(4, 8), ROOM, &[queued(5, 8), task(3)], 2).is_err());
        assert!(waits.enter(&running(4, 8), ROOM, &[queued(5, 8), queued(6, 8)], 1).is_err());
    }

    #[test]
    fn shared_calls_overlap_and_so_do_not_wait() {
        let mut waits = Waits::default();
        let reading = Fake { shared: true, ..running(1, 7) };
        let read = Fake { shared: true, ..queued(2, 7) };
        assert!(waits.enter(&reading, ROOM, &[read], 1).is_ok());
        assert!(waits.enter(&reading, ROOM, &[queued(3, 7)], 1).is_err());
    }

    #[test]
    fn shared_calls_that_fill_their_actor_and_wait_for_more_of_it_are_a_circle() {
        let mut waits = Waits::default();
        let reading = |key| Fake { shared: true, ..running(key, 7) };
        let read = |key| Fake { shared: true, ..queued(key, 7) };
        assert!(waits.enter(&reading(1), ROOM, &[read(2)], 1).is_ok());
        assert!(waits.enter(&reading(3), ROOM, &[read(4)], 1).is_err());
        assert!(waits.enter(&reading(3), ROOM, &[task(5)], 1).is_ok());
    }

    #[test]
    fn what_a_wait_has_lent_is_told_once_and_of_that_wait_alone() {
        let mut waits = Waits::default();
        let [first, second] =
            [2, 3].map(|on| waits.enter(&task(1), ROOM, &[task(on)], 1).expect("no circle"));
        waits.lend(&task(1), first);
        assert!(!waits.leave(&task(1), second));
        assert!(waits.leave(&task(1), first));
        assert!(!waits.leave(&task(1), first));
        assert_eq!(waits.len(), 0);
    }

    #[test]
    fn ten_thousand_nested_waits_are_searched_without_recursion() {
        let mut waits = Waits::default();
        for n in 0..10_000 {
            assert!(waits.enter(&task(n), ROOM, &[task(n + 1)], 1).is_ok());
        }
        assert!(waits.enter(&task(10_000), ROOM, &[task(0)], 1).is_err());
    }
}
