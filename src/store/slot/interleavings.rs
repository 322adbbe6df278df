//! Every order in which two or three threads can meet at a slot, and every value that they may then see:
//! `RUSTFLAGS="--cfg loom" cargo test --lib --release loom_`.
//!
//! What is counted here uses the standard library's atomics, which loom does not see, so that the counts
//! order nothing.

use std::sync::atomic::{AtomicUsize, Ordering as Std};

use loom::thread::spawn;

use super::super::notify::Listener;
use super::*;
use crate::id::JobId;

static TEST: Definition = Definition::internal("test");
const CALLER: CallerId = CallerId::Driver(JobId(1));

/// All orders. Each test is explored with either side as the first: of several loads of one atomic before a
/// store, loom looks back to the last one only.
fn check(f: fn(Meeting)) {
    for is_swapped in [false, true] {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = None;
        model.check(move || f(Meeting { is_swapped }));
    }
}

/// Of two threads.
struct Meeting {
    is_swapped: bool,
}

impl Meeting {
    /// What each comes to.
    fn of<A: 'static, B: 'static>(
        &self,
        a: impl FnOnce() -> A + Send + 'static,
        b: impl FnOnce() -> B + Send + 'static,
    ) -> (A, B) {
        if self.is_swapped {
            let other = spawn(a);
            let b = b();
            (other.join().expect("no panic"), b)
        } else {
            let other = spawn(b);
            let a = a();
            (a, other.join().expect("no panic"))
        }
    }
}

fn counted<T: Value>(slot: &Arc<Slot<T>>) -> Counted<dyn Of<T>> {
    let object: Arc<dyn Of<T>> = slot.clone();
    Counted::new(object)
}

fn cancelled() -> Error {
    Error::new(ErrorKind::Cancelled, "it was cancelled")
}

/// What a call's arguments are, and a waiter: each notes what happened to it.
#[derive(Default)]
struct Notes {
    told: AtomicUsize,
    failed: AtomicUsize,
    runs: AtomicUsize,
    drops: AtomicUsize,
    wanted: AtomicUsize,
}

fn count(of: &AtomicUsize) -> usize {
    of.load(Std::Relaxed)
}

struct Told(Arc<Notes>);

impl Listener for Told {
    fn ready(&self, _: usize, failed: bool) {
        self.0.told.fetch_add(1, Std::Relaxed);
        self.0.failed.fetch_add(usize::from(failed), Std::Relaxed);
    }
}

fn waiter(notes: &Arc<Notes>) -> Waiter {
    Waiter { listener: Arc::new(Told(notes.clone())), token: 0 }
}

struct Work(Arc<Notes>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.drops.fetch_add(1, Std::Relaxed);
    }
}

impl Job for Work {
    fn attempt(this: &mut Option<Self>, slot: &Arc<dyn Object>, _: Seat<'_>, _: bool) -> Progress {
        let work = this.as_ref().expect("it runs once");
        work.0.runs.fetch_add(1, Std::Relaxed);
        slot.as_any().downcast_ref::<Slot<i64>>().expect("it makes a number").deposit(7);
        Progress::Done
    }

    fn is_exclusive(&self) -> bool {
        false
    }

    fn bytes(&self) -> usize {
        1
    }

    fn pack(&self, _: &mut Packer) -> Result<()> {
        Ok(())
    }
}

fn work() -> (Arc<dyn Of<i64>>, Arc<Notes>) {
    let notes = Arc::new(Notes::default());
    (call(&TEST, CALLER, None, Work(notes.clone())), notes)
}

/// As an executor does.
fn run(object: Arc<dyn Object>) {
    let Some(mut started) = start(object) else { return };
    assert!(matches!(started.attempt(Seat::Free, true), Progress::Done));
    started.put_away();
    started.publish();
}

#[test]
fn loom_the_first_completion_wins_and_each_waiter_is_told_once() {
    check(|meeting| {
        let (slot, notes) = (Slot::<Box<i64>>::empty(&TEST), Arc::new(Notes::default()));
        let failing = spawn({
            let slot = slot.clone();
            move || slot.fail(cancelled())
        });
        let (here, there) = (slot.clone(), slot.clone());
        let listener = waiter(&notes);
        let (completed, waits) = meeting
            .of(move || here.complete(Ok(Box::new(1))), move || there.head().listen(listener).is_none());
        let failed = failing.join().expect("no panic");
        assert!(completed != failed);
        assert_eq!(count(&notes.told), usize::from(waits));
        assert_eq!(count(&notes.failed), usize::from(waits && failed));
        let value = counted(&slot);
        assert_eq!(value.value().map(|value| value.map(|one| **one).ok()), Some(completed.then_some(1)));
    });
}

#[test]
fn loom_a_reader_sees_nothing_or_all_of_it() {
    check(|meeting| {
        let slot = Slot::<Box<i64>>::empty(&TEST);
        let reader = counted(&slot);
        let reading = move || {
            let seen = reader.value().map(|value| **value.expect("nobody fails it"));
            assert!(seen.is_none_or(|value| value == 7));
        };
        let (completed, ()) = meeting.of(move || slot.complete(Ok(Box::new(7))), reading);
        assert!(completed);
    });
}

#[test]
fn loom_who_asks_for_the_error_sees_none_or_all_of_it() {
    check(|meeting| {
        let slot = Slot::<i64>::empty(&TEST);
        let asked = slot.clone();
        let asking = move || assert!(asked.error().is_none_or(|error| error.kind() == ErrorKind::Cancelled));
        let (failed, ()) = meeting.of(move || slot.fail(cancelled()), asking);
        assert!(failed);
    });
}

#[test]
fn loom_who_is_told_reads_the_value() {
    struct Reads(Counted<dyn Of<Box<i64>>>);
    impl Listener for Reads {
        fn ready(&self, _: usize, _: bool) {
            assert_eq!(self.0.value().map(|value| **value.expect("a value")), Some(7));
        }
    }
    check(|meeting| {
        let slot = Slot::<Box<i64>>::empty(&TEST);
        let reads = Waiter { listener: Arc::new(Reads(counted(&slot))), token: 0 };
        let listening = slot.clone();
        let listening = move || {
            if let Some(waiter) = listening.head().listen(reads) {
                waiter.listener.ready(0, false);
            }
        };
        let (completed, ()) = meeting.of(move || slot.complete(Ok(Box::new(7))), listening);
        assert!(completed);
    });
}

#[test]
fn loom_a_call_is_started_once() {
    check(|meeting| {
        let (call, notes) = work();
        let (first, second) = (call.clone(), call.clone());
        meeting.of(move || run(first), move || run(second));
        assert_eq!((count(&notes.runs), count(&notes.drops)), (1, 1));
        assert_eq!(Counted::new(call).value().and_then(|value| value.ok().copied()), Some(7));
    });
}

#[test]
fn loom_a_published_value_is_read_whole() {
    check(|meeting| {
        let (call, _) = work();
        let reader = Counted::new(call.clone());
        let reading = move || assert!(reader.value().is_none_or(|value| value.ok() == Some(&7)));
        meeting.of(move || run(call), reading);
    });
}

#[test]
fn loom_a_call_that_is_cancelled_never_runs_or_ends_and_its_arguments_go_once() {
    check(|meeting| {
        let (call, notes) = work();
        let waits = call.head().listen(waiter(&notes)).is_none();
        let (running, cancelling) = (call.clone(), call.clone());
        let ((), failed) = meeting.of(move || run(running), move || cancelling.fail(cancelled()));
        assert_eq!(count(&notes.drops), 1);
        assert!(failed || count(&notes.runs) == 1);
        assert_eq!((count(&notes.told), count(&notes.failed) == 1), (usize::from(waits), failed));
        let value = Counted::new(call);
        assert_eq!(value.value().map(|value| value.ok().copied()), Some((!failed).then_some(7)));
    });
}

#[test]
fn loom_two_who_cancel_drop_the_arguments_once() {
    check(|meeting| {
        let (call, notes) = work();
        let (first, second) = (call.clone(), call.clone());
        let (one, other) = meeting.of(move || first.fail(cancelled()), move || second.fail(cancelled()));
        assert!(one != other);
        assert_eq!((count(&notes.drops), count(&notes.runs)), (1, 0));
        assert!(start(call).is_none());
    });
}

#[test]
fn loom_a_result_is_seen_only_after_the_arguments_were_put_away() {
    struct Looks(Arc<Notes>);
    impl Listener for Looks {
        fn ready(&self, _: usize, _: bool) {
            assert_eq!(count(&self.0.drops), 1);
            self.0.told.fetch_add(1, Std::Relaxed);
        }
    }
    check(|meeting| {
        let (call, notes) = work();
        let looks = Waiter { listener: Arc::new(Looks(notes.clone())), token: 0 };
        let value = Counted::new(call.clone());
        let listening = move || {
            if let Some(waiter) = value.object().head().listen(looks) {
                waiter.listener.ready(0, false);
                assert_eq!(value.value().and_then(|value| value.ok().copied()), Some(7));
            }
        };
        meeting.of(move || run(call), listening);
        assert_eq!(count(&notes.told), 1);
    });
}

#[test]
fn loom_the_last_ref_moves_the_value_when_all_others_have_read() {
    check(|meeting| {
        let slot = Slot::full(&TEST, Box::new(7));
        let (first, second) = (counted(&slot), counted(&slot));
        let reading = move || {
            assert_eq!(second.value().map(|value| **value.expect("a value")), Some(7));
            drop(second);
        };
        let (taken, ()) = meeting.of(move || first.take(), reading);
        // Whoever could not take it then can now.
        assert_eq!(taken.or_else(Counted::take).ok().as_deref(), Some(&7));
    });
}

#[test]
fn loom_two_refs_move_the_value_out_at_most_once() {
    check(|meeting| {
        let slot = Slot::full(&TEST, Box::new(7));
        let (first, second) = (counted(&slot), counted(&slot));
        let cloning = move || {
            let third = second.clone();
            drop(second);
            third.take().ok()
        };
        let (mine, theirs) = meeting.of(move || first.take().ok(), cloning);
        assert!(mine.is_none() || theirs.is_none());
        assert_eq!((slot.head().users(), Arc::strong_count(&slot)), (0, 1));
    });
}

#[test]
fn loom_a_ref_found_by_its_id_has_the_value_or_is_none() {
    check(|meeting| {
        let slot = Slot::full(&TEST, Box::new(7));
        let last = counted(&slot);
        let object: Arc<dyn Of<Box<i64>>> = slot.clone();
        let finding = move || {
            let found = Counted::found(object);
            if let Some(found) = &found {
                assert_eq!(found.value().map(|value| **value.expect("a value")), Some(7));
            }
            found.is_some()
        };
        let (is_taken, is_found) = meeting.of(move || last.take().is_ok(), finding);
        assert!(is_taken || is_found);
        assert_eq!((slot.head().users(), Arc::strong_count(&slot)), (0, 1));
    });
}

#[test]
fn loom_refs_that_come_and_go_leave_the_object_once() {
    check(|meeting| {
        let slot = Slot::full(&TEST, Box::new(7));
        let last = counted(&slot);
        let object: Arc<dyn Of<Box<i64>>> = slot.clone();
        let find = |object| {
            let found = Counted::found(object).expect("nobody takes it");
            assert_eq!(found.value().map(|value: Result<&Box<i64>, _>| **value.expect("a value")), Some(7));
        };
        let second = object.clone();
        let other = spawn(move || find(second));
        meeting.of(move || drop(last), move || find(object));
        other.join().expect("no panic");
        assert_eq!((slot.head().users(), Arc::strong_count(&slot)), (0, 1));
    });
}

#[test]
fn loom_whoever_stops_listening_is_told_at_most_once() {
    check(|meeting| {
        let (slot, notes) = (Slot::<i64>::empty(&TEST), Arc::new(Notes::default()));
        let own = waiter(&notes);
        let address = Arc::as_ptr(&own.listener).cast::<()>().addr();
        assert!(slot.head().listen(own).is_none() && slot.head().listen(waiter(&notes)).is_none());
        let here = slot.clone();
        let leaving = move || slot.head().unlisten(std::ptr::without_provenance(address));
        let (completed, ()) = meeting.of(move || here.complete(Ok(7)), leaving);
        assert!(completed && (1..=2).contains(&count(&notes.told)));
    });
}

#[test]
fn loom_a_value_elsewhere_is_asked_for_once() {
    struct Elsewhere(Arc<Notes>);
    impl Away for Elsewhere {
        fn wanted(&self) {
            self.0.wanted.fetch_add(1, Std::Relaxed);
        }
    }
    check(|meeting| {
        let (slot, notes) = (Slot::<i64>::empty(&TEST), Arc::new(Notes::default()));
        let id = ObjectId { owner: WorkerId(1), place: Place { index: 0, generation: 0 } };
        slot.head().set_away(id, Arc::new(Elsewhere(notes.clone())), true);
        let (wanting, listening, listener) = (slot.clone(), slot.clone(), waiter(&notes));
        let listening = move || listening.head().listen(listener).is_none();
        let ((), waits) = meeting.of(move || wanting.head().want(), listening);
        assert_eq!((waits, count(&notes.wanted)), (true, 1));
        assert!(slot.complete(Ok(7)));
        assert_eq!(count(&notes.told), 1);
    });
}

#[test]
fn loom_a_child_of_a_cancelled_call_is_cancelled_or_refused() {
    check(|meeting| {
        let parent: Arc<dyn Object> = Slot::<i64>::empty(&TEST);
        let child: Arc<dyn Object> = Slot::<i64>::empty(&TEST);
        let (adopting, adopted) = (parent.clone(), child.clone());
        let adopting = move || adopting.head().adopt(&adopted);
        let ((), is_adopted) = meeting.of(move || parent.cancel(&cancelled()), adopting);
        assert!(!is_adopted || child.error().is_some());
    });
}

#[test]
fn loom_an_id_is_made_once() {
    check(|meeting| {
        let table: Arc<Table<dyn Object>> = Arc::default();
        let object: Arc<dyn Object> = Slot::full(&TEST, 7_i64);
        let asking = || {
            let (object, table) = (object.clone(), table.clone());
            move || object.head().id(&Arc::downgrade(&object), WorkerId(0), &table)
        };
        let (one, other) = meeting.of(asking(), asking());
        assert_eq!((one, table.len()), (other, 1));
        drop(object);
        assert_eq!(table.len(), 0);
    });
}
