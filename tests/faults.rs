//! Bad input and faults: what a user can do wrong or what can go wrong, and the typed error that follows.
//!
//! Each test is named after what happens. Each error says its kind, the function, the attempt and the cause.

#![allow(
    clippy::unused_self,
    clippy::unused_async,
    clippy::needless_pass_by_value,
    clippy::needless_borrows_for_generic_args,
    clippy::redundant_closure,
    clippy::items_after_statements,
    reason = "remote items as users write them, next to the call that needs them"
)]

mod common;

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{Error, cancel, context, get, get_actor, get_timeout, is_initialized, kill, put};
use serde::{Deserialize, Serialize};

use common::{
    Env, Gauge, Journal, Latch, SOON, assert_fails, block_on, eventually, in_full, logged, of_this_process,
    run, run_within, runtime_threads,
};

/// A test of the table: alone in its process, with a session of its own.
macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident)*) => {
        $($(#[$doc])* #[test]
        fn $name() {
            run(stringify!($name), behaviours::$name);
        })*
    };
}

faults! {
    every_error_names_its_function
    wrong_option_values
    wrong_settings
    a_panic_in_a_function
    a_panic_in_a_constructor
    a_panic_in_a_method
    a_panic_in_an_async_method_with_others_overlapping
    a_panic_in_the_drop_of_a_state
    a_panic_in_the_drop_of_an_argument
    a_panic_in_the_drop_of_an_argument_of_a_cancelled_call
    a_panic_in_the_drop_of_a_result
    a_panic_in_the_drop_of_a_streams_item
    err_from_a_constructor
    an_actor_that_dies_with_calls_queued
    a_handle_to_a_dead_actor
    get_with_a_timeout
    a_ref_whose_producer_failed_three_levels_deep
    a_blocking_get_in_an_async_method
    an_actor_that_gets_from_itself
    a_gets_from_b_gets_from_a
    a_task_that_holds_the_only_gpu_and_waits_for_one_that_needs_it
    init_twice
    init_inside_tokio_main
    calls_during_shutdown
    calls_after_shutdown
    shutdown_with_a_loop_running
    a_name_taken
    a_class_of_the_wrong_type_under_a_name
    a_cycle_of_handles_is_freed_by_kill
    a_cycle_of_handles_is_freed_by_shutdown
}

/// Those that have more to do.
macro_rules! large_faults {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run_within(Duration::from_mins(4), stringify!($name), behaviours::$name);
        })*
    };
}

large_faults! {
    a_hundred_rounds_of_init_calls_and_shutdown
    four_endless_task_loops_on_one_actor
    a_million_queued_tasks
    a_chain_a_hundred_thousand_deep
    a_chain_a_hundred_thousand_deep_that_fails
    a_chain_a_hundred_thousand_deep_that_is_cancelled
    a_chain_a_hundred_thousand_deep_that_is_dropped
    a_list_of_a_hundred_thousand_objects_that_is_dropped
    panic_is_abort_in_the_users_profile
}

/// Asserts what an error says.
#[track_caller]
fn assert_names(error: &Error, kind: ErrorKind, function: &str, attempt: u32, message: &str) {
    assert_eq!(error.kind(), kind, "{error:?}");
    assert_eq!(error.function(), Some(function), "{error:?}");
    assert_eq!(error.attempt(), Some(attempt), "{error:?}");
    assert!(error.message().contains(message), "{error:?}");
    let shown = error.to_string();
    assert!(shown.contains(function) && shown.contains(message), "Display names both: {shown}");
}

/// The error of what must fail, within a time in which nothing hangs unseen.
#[track_caller]
fn error_of<T: Clone + std::fmt::Debug + Send + Sync>(object: &ObjectRef<T>) -> Error {
    object.get_timeout(SOON).expect_err("it was to fail")
}

#[remote]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[remote]
fn hold(latch: Latch, value: i64) -> i64 {
    latch.wait();
    value
}

#[remote]
fn parse(text: &str) -> Result<i64, std::num::ParseIntError> {
    text.parse()
}

#[derive(Default)]
struct Counter {
    value: u64,
}

#[remote]
impl Counter {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn increment(&mut self) -> u64 {
        self.value += 1;
        self.value
    }
    pub(crate) fn value(&self) -> u64 {
        self.value
    }
    pub(crate) fn hold(&mut self, latch: Latch) {
        latch.wait();
    }
    pub(crate) fn crash(&mut self) {
        panic!("crashed at {}", self.value)
    }
    pub(crate) fn increment_twice(&mut self) -> mobula::Result<u64> {
        context().actor::<Counter>()?.increment.remote().get()
    }
}

/// Holds another of its kind.
struct Partner {
    other: Option<ActorHandle<Partner>>,
    journal: Journal,
    name: String,
}

#[remote]
impl Partner {
    pub(crate) fn new(journal: Journal, name: &str) -> Self {
        Self { other: None, journal, name: name.into() }
    }
    pub(crate) fn meet(&mut self, other: ActorHandle<Partner>) {
        self.other = Some(other);
    }
    pub(crate) fn ask(&mut self, hops: u32) -> mobula::Result<u32> {
        match &self.other {
            Some(other) if hops > 0 => Ok(other.ask.remote(hops - 1).get()? + 1),
            _ => Ok(0),
        }
    }
}

impl Drop for Partner {
    fn drop(&mut self) {
        self.journal.note(format!("{} ends", self.name));
    }
}

fn couple(journal: Journal) -> [ActorHandle<Partner>; 2] {
    let couple = [Partner::remote(journal, "left"), Partner::remote(journal, "right")];
    couple[0].meet.remote(&couple[1]).get().expect("a call");
    couple[1].meet.remote(&couple[0]).get().expect("a call");
    couple
}

/// A value whose Drop panics.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Bomb(Journal);

impl Drop for Bomb {
    fn drop(&mut self) {
        self.0.note("dropped");
        assert!(std::thread::panicking(), "in the drop of a value");
    }
}

mod behaviours {
    use super::*;

    pub(super) fn every_error_names_its_function(env: &Env) {
        let _running = env.start();
        let latch = Latch::new();
        let _open = latch.guard();
        let limited = Counter::options().max_pending_calls(1).remote();
        let held = [limited.hold.remote(latch), limited.hold.remote(latch), limited.hold.remote(latch)];
        let refused = as_completed(&held).next().expect("one of three");
        let _named = Counter::options().name("it").remote();
        let taken = Counter::options().name("it").remote();
        let slow = hold::options().timeout(Duration::from_millis(20)).remote(latch, 1);
        let cancelled = hold::remote(latch, 1);
        cancel(&cancelled).expect("a session runs");
        let errors = [
            (ErrorKind::Timeout, "hold", slow.get().err()),
            (ErrorKind::Cancelled, "hold", cancelled.get().err()),
            (ErrorKind::InvalidOption, "add", add::options().num_cpus(-1.0).remote(1, 2).get().err()),
            (ErrorKind::Infeasible, "add", add::options().num_cpus(99.0).remote(1, 2).get().err()),
            (ErrorKind::Unsupported, "add", add::options().env("A", "b").remote(1, 2).get().err()),
            // Which one is refused depends on how soon the actor takes the first.
            (ErrorKind::QueueFull, "Counter.hold", refused.get().err()),
            (ErrorKind::NameTaken, "Counter", taken.increment.remote().get().err()),
        ];
        for (kind, name, error) in errors {
            let error = error.expect("it was to fail");
            assert_eq!((error.kind(), error.function()), (kind, Some(name)), "{error:?}");
            assert!(error.to_string().contains(name), "{error}");
            assert!(error.attempt().is_some() && error.node().is_some(), "{error:?}");
        }
    }

    pub(super) fn wrong_option_values(env: &Env) {
        let _running = env.start_with(env.config().num_gpus(2.0));
        let task = add::options;
        let of_tasks = [
            ("num_cpus", task().num_cpus(-1.0)),
            ("num_cpus", task().num_cpus(f64::NAN)),
            ("num_cpus", task().num_cpus(f64::INFINITY)),
            ("num_cpus", task().num_cpus(0.000_01)),
            ("num_gpus", task().num_gpus(1.5)),
            ("num_gpus", task().num_gpus(-0.5)),
            ("tpu", task().resource("tpu", -2.0)),
            ("resource", task().resource("", 1.0)),
            ("CPU", task().resource("CPU", 1.0)),
            ("GPU", task().resource("GPU", 1.0)),
            ("memory", task().resource("memory", 1.0)),
            ("isolation", task().isolation("vm")),
            ("isolation", task().isolation("")),
            ("max_calls", task().max_calls(0)),
            ("placement", task().placement("the moon")),
            ("name", task().name("")),
        ];
        for (option, options) in of_tasks {
            let error = assert_fails(options.remote(1, 2).get(), ErrorKind::InvalidOption);
            assert!(error.message().contains(option), "it names {option}: {error}");
        }
        let class = Counter::options;
        let of_classes = [
            ("num_cpus", class().num_cpus(-1.0)),
            ("num_gpus", class().num_gpus(2.5)),
            ("max_concurrency", class().max_concurrency(0)),
            ("max_pending_calls", class().max_pending_calls(0)),
            ("isolation", class().isolation("thread ")),
            ("max_calls", class().max_calls(0)),
            ("name", class().name("")),
            ("get_if_exists", class().get_if_exists()),
        ];
        for (option, options) in of_classes {
            let counter = options.remote();
            for error in [error_of(&counter.increment.remote()), error_of(&counter.ready())] {
                assert_eq!(error.kind(), ErrorKind::InvalidOption, "{option}: {error:?}");
                assert!(error.message().contains(option), "it names {option}: {error}");
            }
        }
        // Large is not wrong, but never to be had.
        assert_fails(task().memory(u64::MAX).remote(1, 2).get(), ErrorKind::Infeasible);
        assert_fails(task().num_cpus(1e12).remote(1, 2).get(), ErrorKind::Infeasible);
    }

    pub(super) fn wrong_settings(_: &Env) {
        let new = Config::new;
        let wrong = [
            ("num_cpus", new().num_cpus(-1.0)),
            ("num_cpus", new().num_cpus(f64::NAN)),
            ("num_gpus", new().num_gpus(0.5)),
            ("num_gpus", new().num_gpus(f64::INFINITY)),
            ("tpu", new().resource("tpu", f64::NAN)),
            ("CPU", new().resource("CPU", 1.0)),
            ("resource", new().resource("", 1.0)),
            ("log_level", new().log_level("loud")),
        ];
        for (setting, config) in wrong {
            let error = assert_fails(config.init().map(drop), ErrorKind::InvalidOption);
            assert!(error.message().contains(setting), "it names {setting}: {error}");
            assert!(!is_initialized());
        }
        assert_fails(new().address("localhost:6379").init().map(drop), ErrorKind::Unsupported);
        assert_fails(new().gateway("127.0.0.1:0").init().map(drop), ErrorKind::Unsupported);
        // What failed to start leaves nothing behind: the next one starts.
        drop(new().num_cpus(1.0).init().expect("nothing is wrong with it"));
    }

    pub(super) fn a_panic_in_a_function(env: &Env) {
        #[remote]
        fn divide(x: i64, y: i64) -> i64 {
            assert!(y != 0, "{x} by zero");
            x / y
        }
        #[remote]
        async fn divide_async(x: i64, y: i64) -> i64 {
            tokio::task::yield_now().await;
            divide(x, y)
        }
        let _running = env.start();
        let options = divide::options().retry_on_error(true).max_retries(2);
        let calls = [
            (divide::remote(7, 0), "divide", 1),
            (divide_async::remote(7, 0), "divide_async", 1),
            (options.remote(7, 0), "divide", 3),
        ];
        for (call, name, attempt) in &calls {
            let error = error_of(call);
            assert_names(&error, ErrorKind::TaskPanicked, name, *attempt, "7 by zero");
            assert!(error.location().is_some_and(|place| place.contains("faults.rs:")), "{error:?}");
        }
        // Members of the pool that have seen a panic go on as before.
        let sums: Vec<_> =
            (0..100).map(|n| if n % 2 == 0 { divide::remote(n, 0) } else { add::remote(n, 0) }).collect();
        for (n, sum) in (0..).zip(&sums) {
            assert_eq!(sum.get().ok(), (n % 2 == 1).then_some(n));
        }
        // A payload that is no text, and one whose own Drop panics.
        #[remote]
        fn odd(kind: u8) {
            match kind {
                0 => std::panic::panic_any(17_u64),
                _ => std::panic::panic_any(Bomb(Journal::new())),
            }
        }
        for kind in [0, 1] {
            assert_names(&error_of(&odd::remote(kind)), ErrorKind::TaskPanicked, "odd", 1, "");
        }
    }

    pub(super) fn a_panic_in_a_constructor(env: &Env) {
        struct Broken;
        #[remote]
        impl Broken {
            pub(crate) fn new(reason: &str) -> Self {
                panic!("cannot: {reason}")
            }
            pub(crate) fn call(&self) {}
        }
        struct AsyncBroken;
        #[remote]
        impl AsyncBroken {
            pub(crate) fn new(reason: &str) -> Self {
                panic!("cannot: {reason}")
            }
            pub(crate) async fn call(&self) {}
        }
        let _running = env.start();
        let broken = Broken::remote("a");
        let shared = Broken::options().isolation("shared").max_restarts(2).remote("b");
        let asynchronous = AsyncBroken::remote("c");
        let calls = [
            (broken.call.remote(), broken.ready(), "Broken", 1, "cannot: a"),
            (shared.call.remote(), shared.ready(), "Broken", 3, "cannot: b"),
            (asynchronous.call.remote(), asynchronous.ready(), "AsyncBroken", 1, "cannot: c"),
        ];
        for (call, ready, name, attempt, message) in &calls {
            let error = error_of(call);
            assert_eq!(error.kind(), ErrorKind::ActorDied, "{error:?}");
            let cause = error.cause().expect("the constructor's panic");
            assert_names(cause, ErrorKind::TaskPanicked, name, *attempt, message);
            assert!(in_full(&error_of(ready)).contains(message));
        }
    }

    pub(super) fn a_panic_in_a_method(env: &Env) {
        let _running = env.start();
        for isolation in ["thread", "shared"] {
            let counter = Counter::options().isolation(isolation).remote();
            counter.increment.remote();
            let error = error_of(&counter.crash.remote());
            assert_names(&error, ErrorKind::TaskPanicked, "Counter.crash", 1, "crashed at 1");
            let error = error_of(&counter.value.remote());
            assert_eq!(error.kind(), ErrorKind::ActorDied);
            let cause = error.cause().expect("the first cause");
            assert_names(cause, ErrorKind::TaskPanicked, "Counter.crash", 1, "crashed at 1");

            let counter = Counter::options().isolation(isolation).max_restarts(1).remote();
            counter.increment.remote();
            error_of(&counter.crash.remote());
            assert_eq!(counter.value.remote().get().expect("a new instance"), 0);
        }
    }

    pub(super) fn a_panic_in_an_async_method_with_others_overlapping(env: &Env) {
        struct Server {
            journal: Journal,
        }
        #[remote(max_restarts = 1)]
        impl Server {
            pub(crate) fn new(journal: Journal) -> Self {
                journal.note("begins");
                Self { journal }
            }
            pub(crate) async fn serve(&self, latch: Latch) -> u32 {
                self.journal.note("serves");
                latch.pass().await;
                self.journal.note("served");
                1
            }
            pub(crate) async fn crash(&self) {
                tokio::task::yield_now().await;
                panic!("{:?} is full", self.journal);
            }
        }
        impl Drop for Server {
            fn drop(&mut self) {
                self.journal.note("ends");
            }
        }
        let _running = env.start();
        let (journal, latch) = (Journal::new(), Latch::new());
        let server = Server::remote(journal);
        let overlapping: Vec<_> = (0..5).map(|_| server.serve.remote(latch)).collect();
        journal.expect_count(6);
        let crash = server.crash.remote();
        let error = error_of(&crash);
        assert_names(&error, ErrorKind::TaskPanicked, "Server.crash", 1, "is full");
        for call in &overlapping {
            let error = error_of(call);
            assert_eq!(error.kind(), ErrorKind::ActorDied);
            let cause = error.cause().expect("the panic");
            assert_names(cause, ErrorKind::TaskPanicked, "Server.crash", 1, "is full");
        }
        latch.open();
        assert_eq!(server.serve.remote(latch).get().expect("the new instance"), 1);
        assert_eq!(journal.notes()[6..], ["ends", "begins", "serves", "served"]);
    }

    pub(super) fn a_panic_in_the_drop_of_a_state(env: &Env) {
        struct Mine(Bomb);
        #[remote(max_restarts = 1)]
        impl Mine {
            pub(crate) fn new(journal: Journal) -> Self {
                Self(Bomb(journal))
            }
            pub(crate) fn journal(&self) -> Journal {
                self.0.0
            }
            pub(crate) fn crash(&self) {
                panic!("{:?}", self.0)
            }
        }
        let _running = env.start();
        for isolation in ["thread", "shared"] {
            let journal = Journal::new();
            let mine = Mine::options().isolation(isolation).remote(journal);
            error_of(&mine.crash.remote());
            // The state of the first instance panicked when it was dropped; the second one is there.
            journal.expect("dropped");
            mine.journal.remote().get().expect("the new instance");
            drop(mine);
            journal.expect_count(2);
        }
        assert!(mobula::testing::leftovers().is_empty());
        assert!(logged().contains("in the drop of a value"), "it is spoken of: {}", logged());
        assert_eq!(add::remote(1, 2).get().expect("nobody else is harmed"), 3);
    }

    #[remote]
    fn borrow(bomb: &Bomb, number: i64) -> usize {
        bomb.0.notes().len() + usize::from(number == 0)
    }

    #[remote]
    fn own(bomb: Bomb) -> usize {
        bomb.0.notes().len()
    }

    pub(super) fn a_panic_in_the_drop_of_an_argument(env: &Env) {
        let _running = env.start_with(env.config().num_cpus(1.0));
        let journal = Journal::new();
        // One that is borrowed is dropped with the call, one that is owned by the function.
        let error = error_of(&borrow::remote(Bomb(journal), 1));
        assert_names(&error, ErrorKind::TaskPanicked, "borrow", 1, "in the drop of a value");
        let error = error_of(&own::remote(Bomb(journal)));
        assert_names(&error, ErrorKind::TaskPanicked, "own", 1, "in the drop of a value");
        journal.expect_count(2);
        // One that is in the store is dropped with its last ref, wherever that is.
        let stored = put(Bomb(journal)).expect("put");
        let sizes: Vec<_> = (0..10).map(|_| borrow::remote(&stored, 1)).collect();
        assert_eq!(get(&sizes).expect("it is borrowed"), [2; 10]);
        std::thread::spawn(move || drop(stored)).join().expect("it is logged and goes no further");
        journal.expect_count(3);
        assert_eq!(add::remote(1, 2).get().expect("the only member goes on"), 3);
    }

    pub(super) fn a_panic_in_the_drop_of_an_argument_of_a_cancelled_call(env: &Env) {
        let _running = env.start_with(env.config().num_cpus(1.0));
        let (journal, latch) = (Journal::new(), Latch::new());
        let held = hold::remote(latch, 1);
        let waiting =
            [borrow::remote(Bomb(journal), &held), borrow::remote(Bomb(journal), parse::remote("x"))];
        // Whoever cancels is told nothing of it, nor who fails it for another reason.
        cancel(&waiting[0]).expect("a session runs");
        assert_fails(waiting[0].get(), ErrorKind::Cancelled);
        latch.open();
        assert_fails(waiting[1].get(), ErrorKind::TaskFailed);
        journal.expect_count(2);
        assert_eq!(add::remote(1, 2).get().expect("the only member goes on"), 3);
    }

    pub(super) fn a_panic_in_the_drop_of_a_result(env: &Env) {
        #[remote]
        fn make(journal: Journal, latch: Latch) -> Bomb {
            journal.note("runs");
            latch.wait();
            Bomb(journal)
        }
        let _running = env.start_with(env.config().num_cpus(1.0));
        // Nobody wants it any more when it comes, or it comes too late.
        for is_cancelled in [false, true] {
            for _ in 0..3 {
                let (journal, latch) = (Journal::new(), Latch::new());
                let made = make::remote(journal, latch);
                journal.expect("runs");
                if is_cancelled {
                    cancel(&made).expect("a session runs");
                }
                drop(made);
                latch.open();
                journal.expect("dropped");
            }
        }
        assert_eq!(add::remote(1, 2).get().expect("the only member goes on"), 3);
    }

    pub(super) fn a_panic_in_the_drop_of_a_streams_item(env: &Env) {
        #[remote]
        fn make_many(journal: Journal, latch: Latch) -> impl Iterator<Item = Bomb> {
            (0..3).map(move |n| {
                if n == 2 {
                    journal.note("makes the last");
                    latch.wait();
                }
                Bomb(journal)
            })
        }
        let _running = env.start_with(env.config().num_cpus(1.0));
        let (journal, latch) = (Journal::new(), Latch::new());
        let stream = make_many::remote(journal, latch);
        journal.expect("makes the last");
        // Two lie there, which are dropped here; the last one is dropped where it is made.
        std::thread::spawn(move || drop(stream)).join().expect_err("here that is this thread's own");
        latch.open();
        journal.expect_count(4);
        assert_eq!(add::remote(1, 2).get().expect("the only member goes on"), 3);
    }

    pub(super) fn err_from_a_constructor(env: &Env) {
        struct Picky;
        #[remote(max_restarts = 5)]
        impl Picky {
            pub(crate) fn new(text: &str) -> Result<Self, std::num::ParseIntError> {
                text.parse::<i64>().map(|_| Self)
            }
            pub(crate) fn call(&self) {}
        }
        let _running = env.start();
        let picky = Picky::remote("many");
        for _ in 0..2 {
            let error = error_of(&picky.call.remote());
            assert_eq!(error.kind(), ErrorKind::ActorDied);
            let cause = error.cause().expect("what the constructor said");
            assert_names(cause, ErrorKind::TaskFailed, "Picky", 1, "invalid digit");
        }
        assert!(in_full(&error_of(&picky.ready())).contains("invalid digit"));
        Picky::remote("1").call.remote().get().expect("that one is fine");
    }

    pub(super) fn an_actor_that_dies_with_calls_queued(env: &Env) {
        let _running = env.start();
        for isolation in ["thread", "shared"] {
            for how in ["panic", "kill"] {
                let latch = Latch::new();
                let _open = latch.guard();
                let counter = Counter::options().isolation(isolation).remote();
                let held = counter.hold.remote(latch);
                let crash = counter.crash.remote();
                let queued: Vec<_> = (0..50).map(|_| counter.increment.remote()).collect();
                if how == "kill" {
                    kill(&counter).expect("a session runs");
                }
                latch.open();
                // Each caller is told, and in the order in which they called.
                let told = as_completed(&queued).map(|call| call.id().expect("a session runs"));
                let ids: Vec<_> = queued.iter().map(|call| call.id().expect("a session runs")).collect();
                assert_eq!(told.collect::<Vec<_>>(), ids, "{isolation} {how}");
                for call in &queued {
                    let error = error_of(call);
                    assert_eq!(error.kind(), ErrorKind::ActorDied);
                    let cause = in_full(error.cause().expect("the first cause"));
                    assert!(cause.contains(if how == "kill" { "killed" } else { "crashed at 0" }), "{cause}");
                }
                let kind = if how == "kill" { ErrorKind::ActorDied } else { ErrorKind::TaskPanicked };
                assert_eq!(error_of(&crash).kind(), kind);
                drop(held);
            }
        }
    }

    pub(super) fn a_handle_to_a_dead_actor(env: &Env) {
        let _running = env.start();
        let counter = Counter::remote();
        counter.increment.remote().get().expect("it lives");
        kill(&counter).expect("a session runs");
        let copies = [counter.clone(), put(counter.clone()).expect("put").get().expect("there")];
        for handle in copies.iter().chain([&counter]) {
            let error = error_of(&handle.increment.remote());
            assert_eq!(error.kind(), ErrorKind::ActorDied);
            assert!(in_full(&error).contains("Counter") && in_full(&error).contains("killed"), "{error:?}");
        }
        // Also as an argument of a task that uses it, and with an argument that never comes.
        #[remote]
        fn use_it(counter: ActorHandle<Counter>) -> mobula::Result<u64> {
            counter.increment.remote().get()
        }
        assert_eq!(error_of(&use_it::remote(&counter)).kind(), ErrorKind::ActorDied);
        assert_eq!(
            error_of(&counter.increment.options().timeout(SOON).remote()).kind(),
            ErrorKind::ActorDied
        );
        kill(&counter).expect("nothing happens");
    }

    pub(super) fn get_with_a_timeout(env: &Env) {
        let _running = env.start();
        let latch = Latch::new();
        let held = hold::remote(latch, 5);
        let error = assert_fails(get_timeout(&held, Duration::from_millis(20)), ErrorKind::Timeout);
        assert!(error.to_string().contains("hold"), "{error}");
        latch.open();
        assert_eq!(get_timeout(&held, SOON).expect("it went on"), 5);
    }

    pub(super) fn a_ref_whose_producer_failed_three_levels_deep(env: &Env) {
        #[remote]
        fn double(x: i64) -> i64 {
            x * 2
        }
        #[remote]
        fn show(x: i64) -> String {
            x.to_string()
        }
        let _running = env.start();
        let shown = show::remote(double::remote(add::remote(parse::remote("12x"), 1)));
        let error = error_of(&shown);
        assert_names(&error, ErrorKind::TaskFailed, "parse", 1, "invalid digit");
        assert_eq!(error.passed_on_by().collect::<Vec<_>>(), ["add", "double", "show"]);
        // The same where tasks ask instead of being given.
        #[remote]
        fn ask(depth: u32) -> mobula::Result<i64> {
            if depth == 0 { parse::remote("12x").get() } else { ask::remote(depth - 1).get() }
        }
        assert_names(&error_of(&ask::remote(3)), ErrorKind::TaskFailed, "parse", 1, "invalid digit");
    }

    pub(super) fn a_blocking_get_in_an_async_method(env: &Env) {
        struct Careless;
        #[remote]
        impl Careless {
            pub(crate) fn new() -> Self {
                Self
            }
            pub(crate) async fn block(&self) -> mobula::Result<i64> {
                add::remote(1, 2).get()
            }
            pub(crate) async fn wait(&self) -> mobula::Result<i64> {
                add::remote(1, 2).await
            }
        }
        let _running = env.start();
        let careless = Careless::remote();
        let error = error_of(&careless.block.remote());
        assert_names(&error, ErrorKind::BlockingInAsync, "Careless.block", 1, ".await");
        assert_eq!(careless.wait.remote().get().expect("the way to go"), 3);
    }

    pub(super) fn an_actor_that_gets_from_itself(env: &Env) {
        let _running = env.start();
        let counter = Counter::remote();
        let error = error_of(&counter.increment_twice.remote());
        assert_names(&error, ErrorKind::Deadlock, "Counter.increment_twice", 1, "Counter.increment");
        assert_eq!(counter.increment.remote().get().expect("the call that was queued has run"), 2);
    }

    pub(super) fn a_gets_from_b_gets_from_a(env: &Env) {
        let _running = env.start();
        let couple = couple(Journal::new());
        assert_eq!(couple[0].ask.remote(1).get().expect("one way"), 1);
        let error = error_of(&couple[0].ask.remote(2));
        assert_names(&error, ErrorKind::Deadlock, "Partner.ask", 1, "Partner.ask");
        assert_eq!(couple[1].ask.remote(1).get().expect("they live"), 1);
        kill(&couple[0]).expect("a session runs");
    }

    pub(super) fn a_task_that_holds_the_only_gpu_and_waits_for_one_that_needs_it(env: &Env) {
        #[remote(num_gpus = 1)]
        fn inner() -> i64 {
            1
        }
        #[remote(num_gpus = 1)]
        fn outer() -> mobula::Result<i64> {
            inner::remote().get()
        }
        let _running = env.start_with(env.config().num_gpus(1.0));
        let waiting = outer::options().timeout(Duration::from_secs(12)).remote();
        let error = error_of(&waiting);
        assert_names(&error, ErrorKind::Timeout, "outer", 1, "outer");
        let log = logged();
        let warning = log.lines().find(|line| line.contains("inner")).expect("the wait is spoken of");
        assert!(warning.contains("WARN") && warning.contains("GPU: 1"), "{warning}");
        // What was held is free again.
        assert_eq!(inner::remote().get().expect("the GPU is free"), 1);
    }

    pub(super) fn init_twice(env: &Env) {
        let running = env.start();
        let error = assert_fails(mobula::init().map(drop), ErrorKind::AlreadyInitialized);
        assert!(!error.message().is_empty());
        assert_fails(Config::new().num_cpus(1.0).init().map(drop), ErrorKind::AlreadyInitialized);
        assert_eq!(add::remote(1, 2).get().expect("the first one runs on"), 3);
        drop(running);
        drop(env.start());
    }

    pub(super) fn init_inside_tokio_main(env: &Env) {
        block_on(async {
            let running = env.start();
            assert_eq!(add::remote(1, 2).await.expect("awaited"), 3);
            assert_eq!(add::remote(2, 2).get().expect("the driver may block where it likes"), 4);
            let counter = Counter::options().isolation("shared").remote();
            assert_eq!(counter.increment.remote().await.expect("awaited"), 1);
            tokio::time::sleep(Duration::from_millis(1)).await;
            drop(counter);
            drop(running);
        });
        assert!(!is_initialized());
    }

    pub(super) fn a_hundred_rounds_of_init_calls_and_shutdown(env: &Env) {
        fn round(env: &Env) -> (usize, usize, usize) {
            let running = env.start();
            let counter = Counter::remote();
            let tasks: Vec<_> = (0..500).map(|n| add::remote(n, n)).collect();
            let calls: Vec<_> = (0..500).map(|_| counter.increment.remote()).collect();
            let sum: i64 = get(&tasks).expect("tasks").into_iter().sum();
            assert_eq!((sum, get(&calls).expect("calls").last().copied()), (249_500, Some(500)));
            drop((counter, tasks, calls));
            running.shut_down();
            assert!(eventually(|| runtime_threads() == 0), "{} threads are left", runtime_threads());
            let descriptors = std::fs::read_dir("/proc/self/fd").expect("Linux lists descriptors").count();
            (of_this_process("Threads:"), of_this_process("VmRSS:"), descriptors)
        }
        env.in_a_process_of_its_own(&[], || {
            let first = round(env);
            let last = (1..100).fold(first, |_, _| round(env));
            assert_eq!((last.0, last.2), (first.0, first.2), "threads and descriptors as after the first");
            // What the allocator keeps for threads that have gone differs by a little.
            assert!(last.1 < first.1 + (8 << 20), "bytes after the first and the last: {first:?}, {last:?}");
        });
    }

    pub(super) fn calls_during_shutdown(env: &Env) {
        for _ in 0..20 {
            let running = env.start();
            let counter = Counter::remote();
            let (stop, begun) = (AtomicBool::new(false), Gauge::new());
            std::thread::scope(|scope| {
                let callers: Vec<_> = (0..3)
                    .map(|n| {
                        let (stop, counter) = (&stop, counter.clone());
                        scope.spawn(move || {
                            let _inside = begun.enter();
                            let mut calls = Vec::new();
                            while !stop.load(Ordering::Relaxed) && calls.len() < 20_000 {
                                calls.push(counter.increment.remote());
                                drop(add::remote(n, n));
                                drop(add::remote(&add::remote(n, n), n));
                                drop(Counter::options().isolation("shared").remote());
                                drop(put(n));
                            }
                            calls
                        })
                    })
                    .collect();
                begun.expect(3);
                running.shut_down();
                stop.store(true, Ordering::Relaxed);
                for caller in callers {
                    let calls = caller.join().expect("no panic");
                    for call in calls {
                        // Each is answered, one way or the other.
                        if let Err(error) = call.get_timeout(SOON) {
                            assert_eq!(error.kind(), ErrorKind::Shutdown, "{error:?}");
                        }
                    }
                }
            });
        }
    }

    pub(super) fn calls_after_shutdown(env: &Env) {
        let running = env.start();
        let counter = Counter::options().name("the one").detached().remote();
        let sum = add::remote(1, 2);
        assert_eq!((sum.get().expect("a sum"), counter.increment.remote().get().expect("a call")), (3, 1));
        running.shut_down();
        let error = assert_fails(add::remote(1, 2).get(), ErrorKind::Shutdown);
        assert!(error.message().contains("session"), "{error}");
        assert_fails(add::remote(&sum, 2).get(), ErrorKind::Shutdown);
        assert_fails(counter.increment.remote().get(), ErrorKind::Shutdown);
        assert_fails(Counter::remote().increment.remote().get(), ErrorKind::Shutdown);
        assert_fails(get_actor::<Counter>("the one"), ErrorKind::Shutdown);
        assert_fails(put(1), ErrorKind::Shutdown);
        assert_fails(kill(&counter), ErrorKind::Shutdown);
        assert_fails(cancel(&sum), ErrorKind::Shutdown);
        assert_eq!(sum.get().expect("what was there stays"), 3);
        // A later session has nothing to do with it.
        let running = env.start();
        assert_fails(get_actor::<Counter>("the one"), ErrorKind::NotFound);
        assert_fails(counter.increment.remote().get(), ErrorKind::Shutdown);
        assert_eq!(add::remote(&sum, 2).get().expect("a value is a value"), 5);
        running.shut_down();
    }

    pub(super) fn shutdown_with_a_loop_running(env: &Env) {
        static STOP: AtomicBool = AtomicBool::new(false);
        #[remote]
        fn endless(journal: Journal) -> u64 {
            journal.note("loops");
            let mut rounds = 0;
            while !STOP.load(Ordering::Relaxed) {
                rounds += 1;
            }
            journal.note("stopped");
            rounds
        }
        struct Worker;
        #[remote]
        impl Worker {
            pub(crate) fn new() -> Self {
                Self
            }
            pub(crate) fn run(&self, journal: Journal) -> u64 {
                endless(journal)
            }
        }
        let grace = Duration::from_millis(200);
        let running = env.start_with(env.config().shutdown_grace(grace));
        let journal = Journal::new();
        let worker = Worker::remote();
        let loops = [endless::remote(journal), worker.run.remote(journal)];
        journal.expect_count(2);
        let begin = Instant::now();
        running.shut_down();
        let took = begin.elapsed();
        // They were given their grace, and then left behind, told to those who wait.
        assert!(took >= grace && took < grace + Duration::from_millis(1_800), "{took:?}");
        for call in &loops {
            assert_fails(call.get(), ErrorKind::Shutdown);
        }
        let running = env.start();
        assert_eq!(add::remote(1, 2).get().expect("the next session does not mind"), 3);
        drop(running);
        STOP.store(true, Ordering::Relaxed);
        journal.expect_count(4);
    }

    pub(super) fn a_name_taken(env: &Env) {
        let _running = env.start();
        let first = Counter::options().name("the counter").remote();
        let second = Counter::options().name("the counter").remote();
        for error in [error_of(&second.increment.remote()), error_of(&second.ready())] {
            assert_eq!(error.kind(), ErrorKind::NameTaken);
            assert!(error.message().contains("the counter"), "{error}");
        }
        assert_eq!(first.increment.remote().get().expect("the first lives"), 1);
    }

    pub(super) fn a_class_of_the_wrong_type_under_a_name(env: &Env) {
        let _running = env.start();
        let counter = Counter::options().name("it").remote();
        let error = assert_fails(get_actor::<Partner>("it"), ErrorKind::WrongType);
        assert!(error.message().contains("Counter") && error.message().contains("Partner"), "{error}");
        let partner = Partner::options().name("it").get_if_exists().remote(Journal::new(), "it");
        assert_eq!(error_of(&partner.ask.remote(0)).kind(), ErrorKind::WrongType);
        assert_eq!(counter.increment.remote().get().expect("it is not harmed"), 1);
    }

    pub(super) fn four_endless_task_loops_on_one_actor(env: &Env) {
        static STOP: AtomicBool = AtomicBool::new(false);
        #[remote]
        fn increment_for_ever(counter: ActorHandle<Counter>) {
            while !STOP.load(Ordering::Relaxed) {
                counter.increment.remote();
            }
        }
        env.in_a_process_of_its_own(&[], || {
            let running = env.start();
            let counter = Counter::remote();
            for _ in 0..4 {
                increment_for_ever::remote(&counter);
            }
            let mut last = 0;
            for _ in 0..10 {
                let value = counter.value.remote().get().expect("a value");
                assert!(value >= last, "{value} after {last}");
                last = value;
                // As a program that looks now and then.
                std::thread::sleep(Duration::from_millis(100));
            }
            let begin = Instant::now();
            drop(counter);
            running.shut_down();
            let took = begin.elapsed();
            STOP.store(true, Ordering::Relaxed);
            assert!(last > 0);
            assert!(took < Duration::from_secs(2), "it ended {took:?} after the tenth value");
            let most = of_this_process("VmHWM:");
            assert!(most < 500_000_000, "{most} bytes");
        });
    }

    pub(super) fn a_million_queued_tasks(env: &Env) {
        const MANY: i64 = 1_000_000;
        env.in_a_process_of_its_own(&[], || {
            let running = env.start_with(env.config().num_cpus(2.0));
            let latch = Latch::new();
            let busy = [hold::remote(latch, 0), hold::remote(latch, 0)];
            let before = of_this_process("VmRSS:");
            let tasks: Vec<_> = (0..MANY).map(|n| add::remote(n, 1)).collect();
            let each = of_this_process("VmRSS:").saturating_sub(before) / 1_000_000;
            assert!(each < 400, "{each} bytes a queued task");
            latch.open();
            let sum: i64 = get(&tasks).expect("all run").into_iter().sum();
            assert_eq!(sum, MANY * (MANY + 1) / 2);
            drop((tasks, busy));
            drop(running);
        });
    }

    const DEEP: i64 = 100_000;

    /// A chain whose first waits for the latch; its last.
    fn chain(first: ObjectRef<i64>) -> ObjectRef<i64> {
        (0..DEEP).fold(first, |before, _| add::remote(before, 1))
    }

    pub(super) fn a_chain_a_hundred_thousand_deep(env: &Env) {
        let _running = env.start();
        let latch = Latch::new();
        let last = chain(hold::remote(latch, 0));
        latch.open();
        assert_eq!(last.get().expect("all the way"), DEEP);
        // The same on one actor, each call given the result of the one before.
        struct Adder;
        #[remote]
        impl Adder {
            pub(crate) fn new() -> Self {
                Self
            }
            pub(crate) fn add(&self, x: i64) -> i64 {
                x + 1
            }
        }
        for isolation in ["thread", "shared"] {
            let adder = Adder::options().isolation(isolation).remote();
            let last = (0..DEEP).fold(put(0).expect("put"), |before, _| adder.add.remote(before));
            assert_eq!(last.get().expect("all the way"), DEEP);
        }
    }

    pub(super) fn a_chain_a_hundred_thousand_deep_that_fails(env: &Env) {
        #[remote]
        fn fail_late(latch: Latch) -> Result<i64, String> {
            latch.wait();
            Err("at the very beginning".into())
        }
        let _running = env.start();
        let latch = Latch::new();
        let last = chain(fail_late::remote(latch));
        latch.open();
        let error = last.get().expect_err("the first failed");
        assert_names(&error, ErrorKind::TaskFailed, "fail_late", 1, "at the very beginning");
        drop(last);
        assert!(format!("{error:?}").len() < 100_000, "what it says stays bounded");
    }

    pub(super) fn a_chain_a_hundred_thousand_deep_that_is_cancelled(env: &Env) {
        let _running = env.start();
        let latch = Latch::new();
        let first = hold::remote(latch, 0);
        let last = chain(first.clone());
        cancel(&first).expect("a session runs");
        assert_fails(last.get(), ErrorKind::Cancelled);
        latch.open();
    }

    pub(super) fn a_chain_a_hundred_thousand_deep_that_is_dropped(env: &Env) {
        let running = env.start();
        let latch = Latch::new();
        // Dropped before it has run: it runs all the same.
        let journal = Journal::new();
        #[remote]
        fn tell(journal: Journal, number: i64) {
            journal.note(number.to_string());
        }
        tell::remote(journal, chain(hold::remote(latch, 0)));
        latch.open();
        journal.expect(&DEEP.to_string());
        // Dropped by the end of the session.
        let latch = Latch::new();
        let last = chain(hold::remote(latch, 0));
        latch.open();
        running.shut_down();
        match last.get() {
            Ok(sum) => assert_eq!(sum, DEEP),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Shutdown, "{error:?}"),
        }
    }

    pub(super) fn a_list_of_a_hundred_thousand_objects_that_is_dropped(env: &Env) {
        #[derive(Serialize, Deserialize)]
        struct Link {
            next: Option<ObjectRef<Link>>,
            _end: Option<common::AtDrop>,
        }
        let _running = env.start();
        let journal = Journal::new();
        let end = Link { next: None, _end: Some(journal.at_drop("the last")) };
        let first = (0..DEEP)
            .fold(put(end).expect("put"), |next, _| put(Link { next: Some(next), _end: None }).expect("put"));
        assert!(first.view().expect("there").next.is_some());
        drop(first);
        journal.expect("the last");
        // An actor that holds an actor that holds an actor.
        struct Holder {
            _inner: Option<ActorHandle<Holder>>,
        }
        #[remote]
        impl Holder {
            pub(crate) fn new(inner: Option<ActorHandle<Holder>>) -> Self {
                Self { _inner: inner }
            }
        }
        let outer = (0..10_000).fold(Holder::options().isolation("shared").remote(None), |inner, _| {
            Holder::options().isolation("shared").remote(Some(inner))
        });
        outer.ready().get().expect("it is built");
        drop(outer);
        assert!(eventually(|| mobula::testing::leftovers().actors == 0));
    }

    pub(super) fn a_cycle_of_handles_is_freed_by_kill(env: &Env) {
        let _running = env.start();
        let journal = Journal::new();
        let couple = couple(journal);
        let left = couple[0].clone();
        drop(couple);
        // They keep each other: nothing ends by itself.
        assert_eq!(left.ask.remote(1).get().expect("both live"), 1);
        assert!(journal.notes().is_empty());
        kill(&left).expect("a session runs");
        drop(left);
        journal.expect("left ends");
        journal.expect("right ends");
    }

    pub(super) fn a_cycle_of_handles_is_freed_by_shutdown(env: &Env) {
        let running = env.start();
        let journal = Journal::new();
        drop(couple(journal));
        let alone = Partner::remote(journal, "alone");
        alone.meet.remote(&alone).get().expect("a call");
        drop(alone);
        running.shut_down();
        let mut notes = journal.notes();
        notes.sort();
        assert_eq!(notes, ["alone ends", "left ends", "right ends"]);
    }

    pub(super) fn panic_is_abort_in_the_users_profile(_: &Env) {
        const MAIN: &str = r#"
            use mobula::prelude::*;
            #[remote]
            fn add(x: i64, y: i64) -> i64 { x + y }
            #[remote]
            fn explode() -> i64 { panic!("nobody catches this") }
            fn main() -> mobula::Result<()> {
                let _session = mobula::init()?;
                println!("{}", add::remote(40, 2).get()?);
                println!("{:?}", explode::remote().get());
                Ok(())
            }
        "#;
        let root = env!("CARGO_MANIFEST_DIR");
        let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("panic_is_abort");
        let manifest = format!(
            "[package]\nname = \"user\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[workspace]\n\
             [dependencies]\nmobula = {{ path = {root:?} }}\n[profile.dev]\npanic = \"abort\"\ndebug = false\n"
        );
        std::fs::create_dir_all(package.join("src")).expect("a folder of our own");
        std::fs::write(package.join("Cargo.toml"), manifest).expect("a file of our own");
        std::fs::write(package.join("src/main.rs"), MAIN).expect("a file of our own");
        std::fs::copy(Path::new(root).join("Cargo.lock"), package.join("Cargo.lock")).expect("there is one");
        let cargo = |command: &str| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.arg(command).args(["--offline", "--quiet"]).current_dir(&package);
            cargo.env("CARGO_TARGET_DIR", package.join("target")).env_remove("RUSTFLAGS");
            cargo.output().expect("cargo starts")
        };
        let built = cargo("build");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        let program = Command::new(package.join("target/debug/user")).output().expect("it starts");
        let (said, errors) =
            (String::from_utf8_lossy(&program.stdout), String::from_utf8_lossy(&program.stderr));
        assert_eq!(said.trim(), "42", "up to the panic all is well: {errors}");
        assert!(!program.status.success(), "a panic ends the process: {}", program.status);
        assert!(
            errors.contains("panic = \\\"abort\\\"") || errors.contains("panic = \"abort\""),
            "warned: {errors}"
        );
        assert!(errors.contains("nobody catches this"), "the panic is shown: {errors}");
    }
}
