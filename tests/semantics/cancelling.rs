//! Rule 9: what is cancelled or past its deadline, its children, and what it holds.

use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{cancel, get, is_cancelled};

use crate::common::{Env, Gauge, Journal, Latch, SOON, assert_fails};
use crate::fixtures::{Counter, Kind, Subject, add, hold, hold_inside, loop_until_told, note};

const SHORT: Duration = Duration::from_millis(30);
/// Enough for calls to start before it is over, also on a busy machine.
const LATER: Duration = Duration::from_secs(1);

pub(crate) fn a_cancelled_task_that_is_queued_never_runs(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (gauge, latch, journal) = (Gauge::new(), Latch::new(), Journal::new());
    let busy = hold_inside::remote(gauge, latch);
    gauge.expect(1);
    let queued = note::remote(journal, "never");
    let dependent = add::remote(hold::remote(latch, 1), 1);
    cancel(&queued).expect("a session runs");
    let error = assert_fails(queued.get(), ErrorKind::Cancelled);
    assert!(error.to_string().contains("note"), "{error}");
    latch.open();
    busy.get().expect("it was not cancelled");
    assert_eq!(dependent.get().expect("nor was this"), 2);
    assert!(journal.notes().is_empty());
}

pub(crate) fn running_sync_work_is_told_and_its_caller_at_once(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    let looping = loop_until_told::remote(journal, "it");
    journal.expect("it runs");
    cancel(&looping).expect("a session runs");
    assert_fails(looping.get(), ErrorKind::Cancelled);
    journal.expect("it was told");
    // Work that does not ask is told all the same, and its caller does not wait for it.
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let held = hold_inside::remote(gauge, latch);
    gauge.expect(1);
    cancel(&held).expect("a session runs");
    assert_fails(held.get_timeout(SOON), ErrorKind::Cancelled);
    assert_eq!(gauge.inside(), 1);
    latch.open();
}

pub(crate) fn async_work_is_dropped_at_its_next_await(env: &Env) {
    struct Patient;
    #[remote]
    impl Patient {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn wait(&self, journal: Journal, latch: Latch) {
            let _end = journal.at_drop("dropped");
            journal.note("waits");
            latch.pass().await;
            journal.note("passed");
        }
    }
    #[remote]
    async fn wait(journal: Journal, latch: Latch) {
        let _end = journal.at_drop("dropped");
        journal.note("waits");
        latch.pass().await;
        journal.note("passed");
    }
    let _running = env.start();
    let patient = Patient::remote();
    for is_method in [false, true] {
        let (journal, never) = (Journal::new(), Latch::new());
        let call = &patient.wait;
        let waiting = if is_method { call.remote(journal, never) } else { wait::remote(journal, never) };
        journal.expect("waits");
        cancel(&waiting).expect("a session runs");
        assert_fails(waiting.get(), ErrorKind::Cancelled);
        journal.expect("dropped");
        assert_eq!(journal.notes(), ["waits", "dropped"]);
    }
}

pub(crate) fn a_cancelled_async_method_gives_its_turn_to_the_next(env: &Env) {
    struct Door;
    #[remote]
    impl Door {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn enter(&mut self, journal: Journal, latch: Latch) -> usize {
            journal.note("enters");
            latch.pass().await;
            journal.notes().len()
        }
    }
    let _running = env.start();
    let (door, journal, never, open) = (Door::remote(), Journal::new(), Latch::new(), Latch::new());
    open.open();
    let first = door.enter.remote(journal, never);
    let second = door.enter.remote(journal, never);
    let third = door.enter.remote(journal, open);
    journal.expect("enters");
    // The one that runs, and the one that waits.
    cancel(&second).expect("a session runs");
    cancel(&first).expect("a session runs");
    assert_eq!(third.get().expect("its turn came"), 2);
    assert_fails(second.get(), ErrorKind::Cancelled);
}

pub(crate) fn children_are_cancelled_with_their_parent(env: &Env) {
    #[remote]
    fn parent(journal: Journal, counter: ActorHandle<Counter>, latch: Latch) -> mobula::Result<()> {
        let running = loop_until_told::remote(journal, "child");
        let nested = grandparent::remote(journal);
        let queued = counter.hold.remote(latch);
        journal.note("parent waits");
        running.get()?;
        nested.get()?;
        queued.get().map(drop)
    }
    #[remote]
    fn grandparent(journal: Journal) -> mobula::Result<()> {
        loop_until_told::remote(journal, "grandchild").get()
    }
    let _running = env.start();
    let (journal, latch, other) = (Journal::new(), Latch::new(), Latch::new());
    let counter = Counter::remote(0);
    let held = counter.hold.remote(other);
    let family = parent::remote(journal, &counter, latch);
    for name in ["child runs", "grandchild runs", "parent waits"] {
        journal.expect(name);
    }
    cancel(&family).expect("a session runs");
    assert_fails(family.get(), ErrorKind::Cancelled);
    journal.expect("child was told");
    journal.expect("grandchild was told");
    other.open();
    held.get().expect("another's call goes on");
    // What was queued at the actor went, or it would hold it now.
    assert_eq!(counter.increment.remote().get().expect("nothing holds it"), 1);
}

pub(crate) fn children_made_after_the_cancel_are_cancelled_too(env: &Env) {
    #[remote]
    fn stubborn(journal: Journal, latch: Latch) {
        journal.note("runs");
        latch.wait();
        let late = note::remote(journal, "too late");
        let kind = late.get().map_err(|error| error.kind());
        journal.note(format!("{kind:?}"));
    }
    let _running = env.start();
    let (journal, latch) = (Journal::new(), Latch::new());
    let parent = stubborn::remote(journal, latch);
    journal.expect("runs");
    cancel(&parent).expect("a session runs");
    latch.open();
    journal.expect("Err(Cancelled)");
    assert!(!journal.has("too late"));
}

pub(crate) fn cancelling_what_is_there_changes_nothing(env: &Env) {
    let _running = env.start();
    let sum = add::remote(1, 2);
    assert_eq!(sum.get().expect("a sum"), 3);
    cancel(&sum).expect("a session runs");
    assert_eq!(sum.get().expect("still there"), 3);
    let failed = crate::fixtures::parse::remote("x");
    assert_fails(failed.get(), ErrorKind::TaskFailed);
    cancel(&failed).expect("a session runs");
    assert_fails(failed.get(), ErrorKind::TaskFailed);
    cancel(&mobula::put(1).expect("put")).expect("nothing happens");
}

pub(crate) fn what_depends_on_a_cancelled_call_fails_with_it(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let held = hold::remote(latch, 1);
    let sum = add::remote(&held, 1);
    cancel(&held).expect("a session runs");
    let error = assert_fails(sum.get(), ErrorKind::Cancelled);
    assert_eq!(error.passed_on_by().collect::<Vec<_>>(), ["add"], "{error:?}");
}

pub(crate) fn a_cancelled_call_keeps_its_turn_until_it_returns(env: &Env) {
    let _running = env.start();
    for kind in Kind::ALL {
        let (journal, latch) = (Journal::new(), Latch::new());
        let open = latch.guard();
        let subject = kind.make(journal, "it");
        let held = subject.hold.remote(latch);
        journal.expect("held");
        let next = subject.note.remote("next");
        cancel(&held).expect("a session runs");
        assert_fails(held.get(), ErrorKind::Cancelled);
        assert_fails(next.get_timeout(SHORT), ErrorKind::Timeout);
        drop(open);
        assert_eq!(next.get().expect("its turn came"), 1, "{kind:?}");
    }
}

pub(crate) fn what_a_cancelled_task_holds_comes_back_when_it_returns(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0).num_gpus(1.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let held = hold_inside::options().num_gpus(1.0).remote(gauge, latch);
    gauge.expect(1);
    cancel(&held).expect("a session runs");
    let cpu = add::remote(1, 1);
    let gpu = add::options().num_cpus(0.0).num_gpus(1.0).remote(2, 2);
    assert_fails(cpu.get_timeout(SHORT), ErrorKind::Timeout);
    assert_fails(gpu.get_timeout(SHORT), ErrorKind::Timeout);
    latch.open();
    assert_eq!(get(&[cpu, gpu]).expect("it has returned"), [2, 4]);
}

pub(crate) fn a_deadline_bounds_a_running_call(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    // A process takes its time to start.
    let allowed = if env.has_processes() { LATER } else { SHORT };
    let looping = loop_until_told::options().timeout(allowed).remote(journal, "it");
    let error = assert_fails(looping.get(), ErrorKind::Timeout);
    assert!(error.to_string().contains("loop_until_told"), "{error}");
    journal.expect("it was told");
}

pub(crate) fn a_deadline_counts_the_waiting(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0).num_gpus(1.0));
    let (gauge, latch, journal) = (Gauge::new(), Latch::new(), Journal::new());
    let open = latch.guard();
    let counter = Counter::remote(0);
    let held = counter.hold.remote(latch);
    let busy = hold_inside::options().num_gpus(1.0).remote(gauge, latch);
    gauge.expect(1);
    // For a CPU, for a GPU, for an argument, for an actor's turn, for the actor itself.
    let device = Counter::options().num_gpus(1.0).remote(0);
    let cpu = note::options().timeout(SHORT).remote(journal, "cpu");
    let gpu = note::options().num_cpus(0.0).num_gpus(1.0).timeout(SHORT).remote(journal, "gpu");
    let argument = add::options().timeout(SHORT).remote(&held, 1);
    let turn = counter.add.options().timeout(SHORT).remote(100);
    let actor = device.increment.options().timeout(SHORT).remote();
    for end in [cpu.get(), gpu.get(), argument.get().map(drop), turn.get().map(drop), actor.get().map(drop)] {
        assert_fails(end, ErrorKind::Timeout);
    }
    drop(open);
    busy.get().expect("it was not bounded");
    assert_eq!(held.get().expect("nor was this"), 0);
    assert_eq!(counter.increment.remote().get().expect("what was late never ran"), 1);
    assert_eq!(device.increment.remote().get().expect("nor here"), 1);
    assert!(journal.notes().is_empty());
}

pub(crate) fn a_deadline_bounds_all_attempts_together(env: &Env) {
    #[remote]
    fn fail_slowly(latch: Latch, journal: Journal, each: Duration) -> Result<(), String> {
        journal.note("tries");
        latch.wait_at_most(each);
        Err("again".into())
    }
    let _running = env.start();
    let (never, journal) = (Latch::new(), Journal::new());
    let options = fail_slowly::options().retry_on_error(true).max_retries(u32::MAX);
    // A process takes its time to start.
    let allowed = if env.has_processes() { LATER } else { Duration::from_millis(100) };
    let failing = options.timeout(allowed).remote(never, journal, allowed / 10);
    assert_fails(failing.get(), ErrorKind::Timeout);
    let tries = journal.notes().len();
    assert!((2..=11).contains(&tries), "{tries} attempts of a tenth of the time");
    // And no attempt follows.
    drop(failing);
    assert!(mobula::testing::leftovers().is_empty());
    assert!(journal.notes().len() <= tries + 1);
}

pub(crate) fn a_parent_and_its_child_end_together_at_the_parents_deadline(env: &Env) {
    struct Board {
        child: Option<ObjectRef<()>>,
    }
    #[remote]
    impl Board {
        pub(crate) fn new() -> Self {
            Self { child: None }
        }
        pub(crate) fn pin(&mut self, child: ObjectRef<()>) {
            self.child = Some(child);
        }
        pub(crate) fn take(&mut self) -> Option<ObjectRef<()>> {
            self.child.take()
        }
    }
    #[remote]
    fn parent(board: ActorHandle<Board>, journal: Journal) -> mobula::Result<()> {
        let child = loop_until_told::remote(journal, "child");
        board.pin.remote(mobula::put(child.clone())?).get()?;
        child.get()
    }
    // A process takes its time to start.
    let allowed = if env.has_processes() { LATER } else { Duration::from_millis(200) };
    let round = || {
        let _running = env.start_with(env.config().num_cpus(1.0));
        let (journal, board) = (Journal::new(), Board::remote());
        let begin = Instant::now();
        let family = parent::options().timeout(allowed).remote(&board, journal);
        journal.expect("child runs");
        let child = board.take.remote().get().expect("a call").expect("it was pinned");
        let next = note::remote(journal, "next");
        assert_fails(family.get(), ErrorKind::Timeout);
        assert_fails(child.get(), ErrorKind::Timeout);
        journal.expect("child was told");
        next.get().expect("the CPU is free");
        begin.elapsed()
    };
    let rounds = [round(), round(), round(), round(), round()];
    assert!(rounds.iter().all(|took| *took >= Duration::from_millis(200)), "{rounds:?}");
    // A busy machine may be late, though not each time.
    assert!(rounds.iter().any(|took| *took < allowed + Duration::from_millis(100)), "{rounds:?}");
}

pub(crate) fn a_child_can_shorten_its_deadline_and_not_lengthen_it(env: &Env) {
    #[remote]
    fn parent(journal: Journal, allowed: Duration) -> String {
        let shorter = loop_until_told::options().timeout(allowed).remote(journal, "shorter");
        let first = shorter.get().map_err(|error| error.kind());
        journal.note(format!("{first:?}"));
        let longer = loop_until_told::options().timeout(Duration::from_mins(10)).remote(journal, "longer");
        format!("{:?}", longer.get().map_err(|error| error.kind()))
    }
    let _running = env.start();
    let journal = Journal::new();
    // A process takes its time to start.
    let (allowed, together) =
        if env.has_processes() { (LATER, LATER * 3) } else { (SHORT, Duration::from_millis(500)) };
    let family = parent::options().timeout(together).remote(journal, allowed);
    journal.expect("Err(Timeout)");
    assert_fails(family.get(), ErrorKind::Timeout);
    journal.expect("shorter was told");
    journal.expect("longer was told");
}

pub(crate) fn a_child_that_outlives_its_parent_keeps_its_deadline(env: &Env) {
    #[remote]
    fn leave_behind(journal: Journal) -> (ObjectRef<()>, ObjectRef<()>) {
        let child = loop_until_told::remote(journal, "child");
        // And so for the children of that one.
        let grandchild = leave_one::remote(journal);
        (child, grandchild)
    }
    #[remote]
    fn leave_one(journal: Journal) {
        loop_until_told::remote(journal, "grandchild");
    }
    let _running = env.start();
    let journal = Journal::new();
    // A process takes its time to start.
    let allowed = if env.has_processes() { LATER * 2 } else { Duration::from_millis(400) };
    let parent = leave_behind::options().timeout(allowed).remote(journal);
    let (child, between) = parent.get().expect("it returned in time");
    between.get().expect("so did this");
    assert_fails(child.get_timeout(SOON), ErrorKind::Timeout);
    journal.expect("child was told");
    journal.expect("grandchild was told");
}

pub(crate) fn a_deadline_reaches_through_actors(env: &Env) {
    struct Relay;
    #[remote]
    impl Relay {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn pass_on(&self, journal: Journal) -> mobula::Result<()> {
            loop_until_told::remote(journal, "task").await
        }
    }
    struct SyncRelay;
    #[remote]
    impl SyncRelay {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn pass_on(&self, journal: Journal) -> mobula::Result<()> {
            loop_until_told::remote(journal, "task").get()
        }
    }
    let _running = env.start();
    let (relay, sync) = (Relay::remote(), SyncRelay::remote());
    let journals = [Journal::new(), Journal::new()];
    let calls = [
        relay.pass_on.options().timeout(LATER).remote(journals[0]),
        sync.pass_on.options().timeout(LATER).remote(journals[1]),
    ];
    for (call, journal) in calls.iter().zip(journals) {
        assert_fails(call.get(), ErrorKind::Timeout);
        journal.expect("task was told");
    }
}

pub(crate) fn an_actor_made_under_a_deadline_outlives_it(env: &Env) {
    #[remote]
    fn make(journal: Journal) -> ActorHandle<dyn Subject> {
        let subject = Kind::Thread.make(journal, "it");
        subject.note.remote("made");
        subject
    }
    let _running = env.start();
    let journal = Journal::new();
    // A process takes its time to start.
    let allowed = if env.has_processes() { LATER * 2 } else { Duration::from_millis(400) };
    let made = make::options().timeout(allowed).remote(journal);
    let subject = made.get().expect("in time");
    drop(made);
    // One with as long a deadline, made later.
    let latch = Latch::new();
    let _open = latch.guard();
    let late = hold::options().timeout(allowed).remote(latch, 0);
    assert_fails(late.get(), ErrorKind::Timeout);
    assert_eq!(subject.note.remote("used").get().expect("it lives"), 2);
}

pub(crate) fn a_class_bounds_all_its_calls(env: &Env) {
    struct Slow;
    #[remote(timeout = "30ms")]
    impl Slow {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn run(&self) -> bool {
            while !is_cancelled() {
                std::thread::yield_now();
            }
            true
        }
        #[remote(timeout = "20ms")]
        pub(crate) fn by_itself(&self) {
            while !is_cancelled() {
                std::thread::yield_now();
            }
        }
    }
    let _running = env.start();
    let slow = Slow::remote();
    assert_fails(slow.run.remote().get(), ErrorKind::Timeout);
    assert_fails(slow.by_itself.remote().get(), ErrorKind::Timeout);
    assert_fails(slow.run.options().timeout(SHORT).remote().get(), ErrorKind::Timeout);
}

pub(crate) fn a_deadline_on_an_attribute_holds_like_one_on_a_call(env: &Env) {
    #[remote(timeout = "30ms")]
    fn run(latch: Latch) {
        latch.wait();
    }
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    assert_fails(run::remote(latch).get(), ErrorKind::Timeout);
    assert_fails(run::options().timeout(Duration::ZERO).remote(latch).get(), ErrorKind::Timeout);
}

pub(crate) fn a_call_in_time_is_not_touched_by_its_deadline(env: &Env) {
    let _running = env.start();
    // A process takes its time to start.
    let allowed = if env.has_processes() { LATER * 2 } else { Duration::from_millis(500) };
    let quick = add::options().timeout(allowed).remote(1, 2);
    assert_eq!(quick.get().expect("in time"), 3);
    let latch = Latch::new();
    let _open = latch.guard();
    let late = hold::options().timeout(allowed).remote(latch, 0);
    assert_fails(late.get(), ErrorKind::Timeout);
    assert_eq!(quick.get().expect("it stays"), 3);
    assert!(!is_cancelled(), "the driver is never cancelled");
}

pub(crate) fn a_task_that_waits_is_woken_when_it_is_cancelled(env: &Env) {
    #[remote]
    fn wait_for(number: ObjectRef<i64>, journal: Journal) -> mobula::Result<i64> {
        journal.note("waits");
        let end = number.get();
        journal.note(format!("{:?}", end.as_ref().map_err(mobula::Error::kind)));
        end
    }
    let _running = env.start();
    let (latch, journal) = (Latch::new(), Journal::new());
    let _open = latch.guard();
    let held = hold::remote(latch, 1);
    let waiting = wait_for::remote(mobula::put(held).expect("put"), journal);
    journal.expect("waits");
    cancel(&waiting).expect("a session runs");
    assert_fails(waiting.get(), ErrorKind::Cancelled);
    journal.expect("Err(Cancelled)");
}
