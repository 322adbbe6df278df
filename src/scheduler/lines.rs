//! Calls to one actor that are held back, one line for each caller.
//!
//! A call waits here while an argument of it, or an earlier call of the same caller, does. Callers do
//! not wait for each other. A call that will never come (cancelled, or its argument failed) leaves by
//! an explicit void, so a line never waits for a place that nobody fills.

use std::collections::{BTreeMap, VecDeque};

use crate::id::{CallerId, Sequence};

#[derive(Debug)]
struct Held<C> {
    sequence: Sequence,
    /// `None` once it was voided.
    call: Option<C>,
    open: bool,
}

/// The lines of one actor.
#[derive(Debug)]
pub(crate) struct Lines<C> {
    by_caller: BTreeMap<CallerId, VecDeque<Held<C>>>,
}

impl<C> Default for Lines<C> {
    fn default() -> Self {
        Self { by_caller: BTreeMap::new() }
    }
}

impl<C> Lines<C> {
    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_caller.is_empty()
    }

    /// How many calls wait.
    pub(crate) fn len(&self) -> usize {
        self.by_caller.values().map(VecDeque::len).sum()
    }

    /// The last call in a caller's line that may still start.
    pub(crate) fn last(&self, caller: CallerId) -> Option<&C> {
        self.by_caller.get(&caller)?.iter().rev().find_map(|held| held.call.as_ref())
    }

    /// Puts a call at the end of its caller's line; `open` if its arguments are there.
    /// Says which calls start now, in order.
    pub(crate) fn push(&mut self, caller: CallerId, sequence: Sequence, call: C, open: bool) -> Vec<C> {
        let line = self.by_caller.entry(caller).or_default();
        line.push_back(Held { sequence, call: Some(call), open });
        self.advance(caller)
    }

    /// The call's arguments are there. Says which calls start now, in order.
    pub(crate) fn open(&mut self, caller: CallerId, sequence: Sequence) -> Vec<C> {
        if let Some(held) = self.find(caller, sequence) {
            held.open = true;
        }
        self.advance(caller)
    }

    /// The call will never start. Says which calls start now, in order.
    pub(crate) fn void(&mut self, caller: CallerId, sequence: Sequence) -> Vec<C> {
        if let Some(held) = self.find(caller, sequence) {
            held.open = true;
            held.call = None;
        }
        self.advance(caller)
    }

    /// Takes all calls out, by caller and in order.
    pub(crate) fn clear(&mut self) -> Vec<C> {
        let lines = std::mem::take(&mut self.by_caller);
        lines.into_values().flatten().filter_map(|held| held.call).collect()
    }

    fn find(&mut self, caller: CallerId, sequence: Sequence) -> Option<&mut Held<C>> {
        let line = self.by_caller.get_mut(&caller)?;
        line.iter_mut().find(|held| held.sequence == sequence)
    }

    fn advance(&mut self, caller: CallerId) -> Vec<C> {
        let mut starting = Vec::new();
        if let Some(line) = self.by_caller.get_mut(&caller) {
            while line.front().is_some_and(|held| held.open) {
                starting.extend(line.pop_front().and_then(|held| held.call));
            }
            if line.is_empty() {
                self.by_caller.remove(&caller);
            }
        }
        starting
    }

    /// No line is empty, none begins with a call that could start, and sequences grow.
    #[cfg(test)]
    fn check_invariants(&self) {
        for line in self.by_caller.values() {
            assert!(line.front().is_some_and(|held| !held.open));
            assert!(line.iter().zip(line.iter().skip(1)).all(|(a, b)| a.sequence < b.sequence));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{JobId, WorkerId};

    const DRIVER: CallerId = CallerId::Driver(JobId(0));
    const TASK: CallerId = CallerId::Task(WorkerId(0), 1);

    #[test]
    fn a_call_waits_for_the_earlier_ones_of_its_caller() {
        let mut lines = Lines::default();
        assert!(lines.push(DRIVER, Sequence(1), "a", false).is_empty());
        assert!(lines.push(DRIVER, Sequence(2), "b", true).is_empty());
        assert!(lines.push(DRIVER, Sequence(5), "c", false).is_empty());
        lines.check_invariants();
        assert_eq!((lines.last(DRIVER), lines.last(TASK)), (Some(&"c"), None));
        assert_eq!(lines.open(DRIVER, Sequence(1)), ["a", "b"]);
        lines.check_invariants();
        assert_eq!(lines.open(DRIVER, Sequence(5)), ["c"]);
        assert!(lines.is_empty());
    }

    #[test]
    fn callers_do_not_wait_for_each_other() {
        let mut lines = Lines::default();
        assert!(lines.push(DRIVER, Sequence(1), "a", false).is_empty());
        assert_eq!(lines.push(TASK, Sequence(2), "b", true), ["b"]);
        lines.check_invariants();
    }

    #[test]
    fn a_void_closes_the_place_of_a_call() {
        let mut lines = Lines::default();
        assert!(lines.push(DRIVER, Sequence(1), "a", false).is_empty());
        assert!(lines.push(DRIVER, Sequence(2), "b", false).is_empty());
        assert!(lines.push(DRIVER, Sequence(3), "c", true).is_empty());
        assert!(lines.void(DRIVER, Sequence(2)).is_empty());
        lines.check_invariants();
        assert_eq!(lines.void(DRIVER, Sequence(1)), ["c"]);
        assert!(lines.is_empty());
        assert!(lines.void(DRIVER, Sequence(1)).is_empty());
    }

    #[test]
    fn clearing_gives_all_back_in_order() {
        let mut lines = Lines::default();
        for n in 0..4 {
            assert!(lines.push(DRIVER, Sequence(n), n, n == 3).is_empty());
        }
        assert_eq!(lines.len(), 4);
        assert_eq!(lines.clear(), [0, 1, 2, 3]);
        assert!(lines.is_empty());
    }
}
