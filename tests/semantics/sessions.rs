//! Rule 13 and what is before it: how a session begins, what it reads, how it ends.

use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{WaitReason, cluster_resources, context, get, get_actor, is_initialized, put, shutdown};

use crate::common::{Env, Gauge, Journal, Latch, SOON, assert_fails, eventually, runtime_threads};
use crate::fixtures::{Counter, Kind, Plain, Wish, add, hold, hold_inside, loop_until_told};

pub(crate) fn a_session_runs_until_it_is_dropped_or_shut_down(env: &Env) {
    assert!(!is_initialized());
    let running = env.start();
    assert!(is_initialized());
    assert_eq!(add::remote(1, 2).get().expect("a sum"), 3);
    drop(running);
    assert!(!is_initialized());
    let running = env.start();
    shutdown();
    assert!(!is_initialized());
    shutdown();
    drop(running);
}

pub(crate) fn the_first_call_starts_a_session(env: &Env) {
    env.in_a_process_of_its_own(&[("MOBULA_NUM_CPUS", "3")], || {
        assert!(!is_initialized());
        assert_eq!(add::remote(1, 2).get().expect("a sum"), 3);
        assert!(is_initialized());
        assert_eq!(cluster_resources().expect("a session runs").get("CPU"), Some(&3.0));
        assert_fails(mobula::init().map(drop), ErrorKind::AlreadyInitialized);
        shutdown();
        assert_fails(add::remote(1, 2).get(), ErrorKind::Shutdown);
    });
}

pub(crate) fn the_first_actor_starts_a_session_too(env: &Env) {
    env.in_a_process_of_its_own(&[], || {
        let counter = Counter::remote(1);
        assert_eq!(counter.increment.remote().get().expect("a call"), 2);
        drop(counter);
        shutdown();
    });
}

pub(crate) fn the_first_put_starts_a_session_too(env: &Env) {
    env.in_a_process_of_its_own(&[], || {
        assert_eq!(put(1).expect("put").get().expect("there"), 1);
        shutdown();
    });
}

pub(crate) fn many_threads_that_call_first_start_one_session(env: &Env) {
    env.in_a_process_of_its_own(&[], || {
        let threads: Vec<_> =
            (0..8).map(|n| std::thread::spawn(move || (add::remote(n, n).get(), context().job))).collect();
        for (n, thread) in (0..).zip(threads) {
            let (sum, job) = thread.join().expect("no panic");
            assert_eq!((sum.expect("a sum"), job), (n + n, context().job));
        }
        shutdown();
    });
}

pub(crate) fn after_an_explicit_session_no_call_starts_another(env: &Env) {
    let running = env.start();
    let counter = Counter::remote(0);
    counter.increment.remote().get().expect("a call");
    running.shut_down();
    assert_fails(add::remote(1, 2).get(), ErrorKind::Shutdown);
    assert_fails(counter.increment.remote().get(), ErrorKind::Shutdown);
    let late = Counter::remote(0);
    assert_fails(late.increment.remote().get(), ErrorKind::Shutdown);
    assert_fails(late.ready().get(), ErrorKind::Shutdown);
    assert_fails(put(1), ErrorKind::Shutdown);
    assert_fails(get_actor::<Counter>("x"), ErrorKind::Shutdown);
    assert_fails(cluster_resources(), ErrorKind::Shutdown);
    assert_fails(mobula::nodes(), ErrorKind::Shutdown);
    assert_fails(mobula::kill(&counter), ErrorKind::Shutdown);
    let tree = tree_reduce([1, 2], |a, b| add::remote(a, b)).expect("not empty");
    assert_fails(tree.get(), ErrorKind::Shutdown);
    assert!(!is_initialized());
}

pub(crate) fn what_was_there_before_the_end_can_still_be_read(env: &Env) {
    let running = env.start();
    let (sum, number) = (add::remote(1, 2), put(7).expect("put"));
    sum.get().expect("a sum");
    running.shut_down();
    assert_eq!(get(&[sum, number]).expect("they are there"), [3, 7]);
}

pub(crate) fn queued_calls_get_shutdown(env: &Env) {
    let running = env.start_with(env.config().num_cpus(1.0).shutdown_grace(Duration::from_millis(100)));
    let (gauge, latch, journal) = (Gauge::new(), Latch::new(), Journal::new());
    let busy = hold_inside::remote(gauge, latch);
    let counter = Counter::remote(0);
    let held = counter.hold.remote(latch);
    gauge.expect(1);
    let queued = [
        add::remote(1, 1),
        add::options().num_cpus(0.5).remote(1, 1),
        counter.increment.remote(),
        add::remote(&held, 1),
        counter.add.remote(&held),
        Counter::options().num_cpus(1.0).remote(0).increment.remote(),
    ];
    let waiting = std::thread::spawn({
        let queued = queued.clone();
        move || queued.map(|call| call.get())
    });
    let subject = Kind::Async.make(journal, "it");
    subject.note.remote("ran").get().expect("a call");
    running.abandon(latch);
    for end in waiting.join().expect("no panic") {
        assert_fails(end, ErrorKind::Shutdown);
    }
    // What ran was left behind, and fails for those who wait.
    assert_fails(busy.get(), ErrorKind::Shutdown);
    assert_fails(held.get(), ErrorKind::Shutdown);
}

pub(crate) fn running_calls_are_told_and_have_a_grace(env: &Env) {
    struct Endless;
    #[remote]
    impl Endless {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn run(&self, journal: Journal) {
            journal.note("method runs");
            while !mobula::is_cancelled() {
                std::thread::yield_now();
            }
            journal.note("method was told");
        }
        pub(crate) fn finish(&self, journal: Journal) -> i64 {
            journal.note("finish runs");
            while !mobula::is_cancelled() {
                std::thread::yield_now();
            }
            42
        }
    }
    let running = env.start();
    let journal = Journal::new();
    let endless = [Endless::remote(), Endless::remote()];
    let task = loop_until_told::remote(journal, "task");
    let method = endless[0].run.remote(journal);
    let finishing = endless[1].finish.remote(journal);
    for name in ["task runs", "method runs", "finish runs"] {
        journal.expect(name);
    }
    let begin = Instant::now();
    running.shut_down();
    assert!(begin.elapsed() < Duration::from_secs(2), "nobody had to be left behind");
    journal.expect("task was told");
    journal.expect("method was told");
    assert_eq!(finishing.get().expect("it finished in its grace"), 42);
    drop((task, method, endless));
}

pub(crate) fn an_end_with_nothing_running_waits_for_nobody(env: &Env) {
    // A grace that the watchdog would not wait for.
    for round in 0..40 {
        let running = env.start_with(env.config().shutdown_grace(Duration::from_mins(10)));
        for kind in Kind::ALL {
            let subject = kind.make(Journal::new(), "it");
            if round % 2 == 0 {
                subject.note.remote("x").get().expect("a call");
            }
        }
        drop(add::remote(1, 2));
        drop(Counter::remote(add::remote(1, 2)));
        running.shut_down();
    }
}

pub(crate) fn states_are_dropped_at_the_end(env: &Env) {
    let running = env.start();
    let journal = Journal::new();
    let subjects: Vec<_> = Kind::ALL.iter().map(|kind| kind.make(journal, "it")).collect();
    for subject in &subjects {
        subject.note.remote("x").get().expect("a call");
        // A circle of handles.
        subject.keep.remote(subject).get().expect("a call");
    }
    running.shut_down();
    let ends = journal.notes().iter().filter(|note| *note == "it ends").count();
    assert_eq!(ends, 3, "{:?}", journal.notes());
}

pub(crate) fn sessions_follow_each_other_and_share_nothing(env: &Env) {
    let mut jobs = Vec::new();
    for round in 0..20 {
        let running = env.start_with(env.config().num_cpus(f64::from(round % 3 + 1)));
        jobs.push(context().job.expect("a session runs"));
        let counter = Counter::options().name("the one").detached().remote(0);
        let calls: Vec<_> = (0..20).map(|_| counter.increment.remote()).collect();
        assert_eq!(get(&calls).expect("calls").last(), Some(&20));
        let cpus = cluster_resources().expect("a session runs")["CPU"];
        assert!((cpus - f64::from(round % 3 + 1)).abs() < f64::EPSILON, "{cpus}");
        drop(counter);
        running.shut_down();
    }
    jobs.dedup();
    assert_eq!(jobs.len(), 20);
    assert!(eventually(|| runtime_threads() == 0), "{}", runtime_threads());
}

pub(crate) fn settings_come_from_the_environment_unless_they_are_made(env: &Env) {
    let variables = [
        ("MOBULA_NUM_CPUS", "3"),
        ("MOBULA_NUM_GPUS", "2"),
        ("MOBULA_MEMORY", "12345"),
        ("MOBULA_NAMESPACE", "elsewhere"),
    ];
    env.in_a_process_of_its_own(&variables, || {
        let session = Config::new().num_cpus(1.5).init().expect("no session runs");
        let found = cluster_resources().expect("a session runs");
        assert_eq!((found["CPU"], found["GPU"], found["memory"]), (1.5, 2.0, 12_345.0));
        let plain = Plain::options().name("x").namespace("elsewhere").remote(Journal::new(), "it");
        assert_eq!(get_actor::<Plain>("x").expect("the session's namespace").id(), plain.id());
        drop((plain, session));
    });
}

pub(crate) fn a_variable_that_makes_no_sense_is_an_invalid_option(env: &Env) {
    env.in_a_process_of_its_own(&[("MOBULA_NUM_CPUS", "many")], || {
        let error = assert_fails(mobula::init().map(drop), ErrorKind::InvalidOption);
        assert!(error.to_string().contains("MOBULA_NUM_CPUS") && error.to_string().contains("many"));
        // A call that would have started the session says so, too.
        assert_fails(add::remote(1, 2).get(), ErrorKind::InvalidOption);
        assert_fails(Counter::remote(0).increment.remote().get(), ErrorKind::InvalidOption);
        assert!(!is_initialized());
    });
}

pub(crate) fn a_task_or_a_method_can_end_its_session(env: &Env) {
    #[remote]
    fn end_it() -> bool {
        shutdown();
        mobula::is_cancelled()
    }
    struct Ender;
    #[remote]
    impl Ender {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn end_it(&self) -> bool {
            end_it()
        }
    }
    for is_method in [false, true] {
        let running = env.start_with(env.config().shutdown_grace(Duration::from_millis(50)));
        let ender = Ender::remote();
        let call = if is_method { ender.end_it.remote() } else { end_it::remote() };
        match call.get() {
            Ok(was_told) => assert!(was_told),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Shutdown, "{error:?}"),
        }
        assert!(eventually(|| !is_initialized()));
        drop((ender, call));
        running.shut_down();
    }
}

pub(crate) fn threads_of_the_driver_share_the_session(env: &Env) {
    let _running = env.start();
    let counter = Counter::remote(0);
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let counter = counter.clone();
            std::thread::spawn(move || {
                let calls: Vec<_> = (0..100).map(|_| counter.increment.remote()).collect();
                get(&calls).map(|counts| counts.is_sorted())
            })
        })
        .collect();
    for thread in threads {
        assert!(thread.join().expect("no panic").expect("calls"), "in the order of each thread");
    }
    assert_eq!(counter.value.remote().get().expect("a count"), 400);
}

/// Reads side by side.
struct Readers;

#[remote(max_concurrency = 4, max_restarts = 3, max_task_retries = 3)]
impl Readers {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn crash_later(&self, gauge: Gauge, latch: Latch) {
        let _inside = gauge.enter();
        latch.wait();
        panic!("later")
    }
}

pub(crate) fn a_call_that_crashes_while_the_session_ends_is_told(env: &Env) {
    let wish = Wish { restarts: 3, call_retries: 3, ..Wish::default() };
    for kind in Kind::ALL.map(Some).into_iter().chain([None]) {
        let running = env.start_with(env.config().shutdown_grace(Duration::from_mins(1)));
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let _open = latch.guard();
        let crash = match kind {
            Some(kind) => kind.make_with(Journal::new(), "it", wish).crash_later.remote(gauge, latch),
            None => Readers::remote().crash_later.remote(gauge, latch),
        };
        gauge.expect(1);
        let ender = std::thread::spawn(move || running.shut_down());
        let is_ending = || mobula::testing::waits().iter().any(|wait| wait.reason == WaitReason::Ending);
        assert!(eventually(is_ending));
        latch.open();
        ender.join().expect("no panic");
        assert!(crash.get_timeout(SOON).is_err_and(|error| error.kind() != ErrorKind::Timeout), "{kind:?}");
    }
}

pub(crate) fn a_result_that_is_on_its_way_is_not_lost_by_the_end(env: &Env) {
    let running = env.start();
    let latch = Latch::new();
    let held = hold::remote(latch, 9);
    let waiting = std::thread::spawn({
        let held = held.clone();
        move || held.get()
    });
    let opener = std::thread::spawn(move || latch.open());
    assert_eq!(waiting.join().expect("no panic").expect("it came before the end"), 9);
    opener.join().expect("no panic");
    drop(held);
    drop(running);
}
