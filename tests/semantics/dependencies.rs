//! Rule 3: a call starts when its arguments are there, and never if one of them failed.

use mobula::get;
use mobula::prelude::*;

use crate::common::{Env, Journal, Latch, assert_fails, in_full};
use crate::fixtures::{Kind, add, explode, hold, note, parse};

#[remote]
fn shown(journal: Journal, number: i64) -> String {
    journal.note("started");
    number.to_string()
}

pub(crate) fn a_call_starts_when_all_its_arguments_are_there(env: &Env) {
    let _running = env.start();
    let (journal, first, second) = (Journal::new(), Latch::new(), Latch::new());
    #[remote]
    fn both(journal: Journal, x: i64, y: i64) -> i64 {
        journal.note("started");
        x * 10 + y
    }
    let sum = both::remote(journal, hold::remote(first, 1), hold::remote(second, 2));
    second.open();
    // The other tasks have had their turn before it could start.
    get(&(0..50).map(|n| add::remote(n, n)).collect::<Vec<_>>()).expect("others");
    assert!(journal.notes().is_empty());
    first.open();
    assert_eq!(sum.get().expect("both are there"), 12);
}

pub(crate) fn one_ref_can_be_several_arguments(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 4);
    let twice = add::remote(&held, &held);
    latch.open();
    assert_eq!(twice.get().expect("a sum"), 8);
}

pub(crate) fn a_waiting_call_holds_neither_thread_nor_cpu(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let gate = Latch::new();
    let gated = Gatekeeper::remote();
    let first = gated.pass.remote(gate);
    let waiting: Vec<_> = (0..1_000).map(|n| add::remote(&first, n)).collect();
    assert_eq!(add::remote(1, 1).get().expect("the only CPU is free"), 2);
    gate.open();
    let sum: i64 = get(&waiting).expect("all follow").into_iter().sum();
    assert_eq!(sum, 499_500);
}

/// Lets calls pass without a CPU.
struct Gatekeeper;

#[remote]
impl Gatekeeper {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) async fn pass(&self, gate: Latch) -> i64 {
        gate.pass().await;
        0
    }
}

pub(crate) fn a_failed_argument_fails_the_call_before_it_starts(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    let text = shown::remote(journal, parse::remote("12x"));
    let error = assert_fails(text.get(), ErrorKind::TaskFailed);
    assert_eq!(error.message(), "invalid digit found in string");
    assert!(journal.notes().is_empty(), "it never started");
    // The same for one that had failed before the call was made.
    let failed = parse::remote("12x");
    assert_fails(failed.get(), ErrorKind::TaskFailed);
    assert_fails(shown::remote(journal, &failed).get(), ErrorKind::TaskFailed);
    assert!(journal.notes().is_empty(), "it never started");
}

pub(crate) fn an_error_names_its_origin_and_who_passed_it_on(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    let number = parse::remote("12x");
    let sum = add::remote(number, 1);
    let text = shown::remote(journal, sum);
    let last = crate::fixtures::Counter::remote(0);
    let end = {
        let error = assert_fails(text.get(), ErrorKind::TaskFailed);
        assert_eq!(error.function(), Some("parse"));
        assert_eq!(error.passed_on_by().collect::<Vec<_>>(), ["add", "shown"]);
        assert_eq!((error.attempt(), error.node().is_some()), (Some(1), true));
        assert!(error.to_string().contains("parse"), "{error}");
        assert!(!error.to_string().contains("shown"), "Display says the origin only: {error}");
        last.add.remote(add::remote(parse::remote("y"), 1))
    };
    let error = assert_fails(end.get(), ErrorKind::TaskFailed);
    assert_eq!(error.passed_on_by().collect::<Vec<_>>(), ["add", "Counter.add"]);
}

pub(crate) fn a_panicking_argument_tells_where_it_panicked(env: &Env) {
    let _running = env.start();
    let sum = add::remote(1, explode::remote("broken at 7"));
    let error = assert_fails(sum.get(), ErrorKind::TaskPanicked);
    assert_eq!((error.function(), error.message()), (Some("explode"), "broken at 7"));
    assert!(error.location().is_some_and(|place| place.contains("fixtures.rs:")), "{error:?}");
    assert!(error.to_string().contains("broken at 7") && error.to_string().contains("fixtures.rs"));
}

pub(crate) fn an_argument_of_a_constructor_that_fails_fails_the_actors_calls(env: &Env) {
    let _running = env.start();
    let counter = crate::fixtures::Counter::remote(parse::remote("x"));
    let call = counter.increment.remote();
    let error = assert_fails(call.get(), ErrorKind::ActorDied);
    assert!(in_full(&error).contains("parse"), "{error:?}");
    let error = counter.ready().get().expect_err("never built");
    assert!(in_full(&error).contains("parse"), "{error:?}");
}

pub(crate) fn a_constructor_waits_for_its_arguments(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    let counter = crate::fixtures::Counter::remote(hold::remote(latch, 40));
    let calls = [counter.increment.remote(), counter.increment.remote()];
    let ready = counter.ready();
    let (is_ready, _) = mobula::wait(&[ready], 1, Some(std::time::Duration::ZERO)).expect("one");
    assert!(is_ready.is_empty());
    latch.open();
    assert_eq!(get(&calls).expect("it is built"), [41, 42]);
}

pub(crate) fn a_call_whose_ref_is_dropped_runs_all_the_same(env: &Env) {
    let _running = env.start();
    let (journal, latch) = (Journal::new(), Latch::new());
    let subject = Kind::Thread.make(journal, "it");
    #[remote]
    fn name_later(latch: Latch, name: String) -> String {
        latch.wait();
        name
    }
    drop(note::remote(journal, name_later::remote(latch, "task")));
    drop(subject.note.remote(name_later::remote(latch, "call")));
    drop(subject);
    latch.open();
    journal.expect("task");
    journal.expect("call");
    journal.expect("it ends");
}

pub(crate) fn a_failure_reaches_everyone_who_depends_on_it(env: &Env) {
    let _running = env.start();
    let latch = Latch::new();
    #[remote]
    fn refuse(latch: Latch) -> Result<i64, String> {
        latch.wait();
        Err("no".into())
    }
    let failed = refuse::remote(latch);
    let sums: Vec<_> = (0..20).map(|n| add::remote(&failed, n)).collect();
    latch.open();
    for sum in &sums {
        let error = assert_fails(sum.get(), ErrorKind::TaskFailed);
        assert_eq!(error.passed_on_by().collect::<Vec<_>>(), ["add"]);
    }
    // Who passed it on is told to each alone; the failure itself did not change.
    assert_eq!(failed.get().expect_err("itself").passed_on_by().count(), 0);
}
