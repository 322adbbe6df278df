//! A process ends: what ran there fails or runs again, and nothing else does.

use std::ffi::c_char;
use std::thread;
use std::time::Duration;

use mobula::prelude::*;
use mobula::{Error, WaitReason, available_resources, context, kill, testing};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::common::{Env, Journal, Latch, SOON, assert_fails, eventually};

/// How a process may end.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Way {
    Segfault,
    Abort,
    Exit,
    Overflow,
    /// It does not end.
    Not,
}

impl Way {
    fn go(self) {
        match self {
            Self::Segfault => drop(std::hint::black_box(length_of(0))),
            Self::Abort => std::process::abort(),
            Self::Exit => std::process::exit(3),
            Self::Overflow => assert!(deeper(0) > 0),
            Self::Not => {}
        }
    }
}

/// The length of what C takes for a text.
#[allow(unsafe_code, reason = "what crashes is C")]
fn length_of(address: usize) -> usize {
    unsafe extern "C" {
        fn strnlen(text: *const c_char, most: usize) -> usize;
    }
    // SAFETY: none; that is what the tests are about. The process ends here if nothing is mapped there.
    unsafe { strnlen(std::hint::black_box(address) as *const c_char, 100) }
}

#[allow(unconditional_recursion, reason = "until the stack is used up")]
fn deeper(depth: u64) -> u64 {
    let frame = std::hint::black_box([depth; 64]);
    std::hint::black_box(deeper(depth + 1)) + frame[7]
}

/// The error of what must fail soon.
#[track_caller]
fn error_of<T: Clone + std::fmt::Debug + Send + Sync>(object: &ObjectRef<T>, kind: ErrorKind) -> Error {
    assert_fails(object.get_timeout(SOON), kind)
}

#[remote(isolation = "process", max_retries = 0)]
fn end_by(way: Way) -> u32 {
    eprintln!("the end is near\n{way:?} of process {}.", std::process::id());
    way.go();
    std::process::id()
}

pub(crate) fn what_ends_a_process_is_named(env: &Env) {
    let _running = env.start();
    for (way, named) in [
        (Way::Segfault, "killed by signal 11 (SIGSEGV)"),
        (Way::Abort, "killed by signal 6 (SIGABRT)"),
        (Way::Exit, "exited with code 3"),
        (Way::Overflow, "killed by signal 11 (SIGSEGV)"),
    ] {
        let error = error_of(&end_by::remote(way), ErrorKind::WorkerCrashed);
        assert_eq!((error.function(), error.attempt()), (Some("end_by"), Some(1)), "{error:?}");
        let text = error.message();
        assert!(text.contains(named), "{way:?}: {text}");
        let (_, rest) = text.split_once("(process ").expect("the process is named");
        let (pid, words) = rest.split_once(')').expect("the process is named");
        assert!(words.contains("the end is near"), "{way:?}: {text}");
        assert!(words.contains(&format!("{way:?} of process {pid}.")), "{way:?}: {text}");
    }
    assert_ne!(end_by::remote(Way::Not).get().expect("another process runs it"), std::process::id());
}

#[remote(isolation = "process", max_retries = 0)]
fn wait_here(pids: Journal, latch: Latch) -> u32 {
    pids.note(std::process::id().to_string());
    latch.wait();
    std::process::id()
}

/// The first process that wrote itself down.
fn noted_pid(pids: Journal) -> u32 {
    pids.expect_count(1)[0].parse().expect("a process id")
}

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.cast_signed()).expect("it is none of the kernel's");
    kill_process(pid, signal).expect("it is ours");
}

pub(crate) fn a_process_killed_from_outside(env: &Env) {
    let _running = env.start();
    let (first, second) = (Journal::new(), Journal::new());
    let latch = Latch::new();
    let _open = latch.guard();
    let killed = wait_here::remote(first, latch);
    let other = wait_here::remote(second, latch);
    noted_pid(second);
    signal(noted_pid(first), Signal::KILL);
    let error = error_of(&killed, ErrorKind::WorkerCrashed);
    assert!(error.message().contains("killed by signal 9 (SIGKILL)"), "{error}");
    assert!(error.message().contains(&format!("(process {})", noted_pid(first))), "{error}");
    latch.open();
    assert_eq!(other.get_timeout(SOON).expect("it goes on"), noted_pid(second));
}

#[remote(isolation = "process", memory = "64MiB", max_retries = 0)]
fn hog(mebibytes: usize) -> usize {
    let mut held = Vec::new();
    for _ in 0..mebibytes {
        held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        thread::sleep(Duration::from_millis(2));
    }
    held.len()
}

struct Hoarder {
    held: Vec<Vec<u8>>,
}

#[remote(isolation = "process", memory = "64MiB", max_restarts = 1)]
impl Hoarder {
    pub(crate) fn new() -> Self {
        Self { held: Vec::new() }
    }
    pub(crate) fn hoard(&mut self, mebibytes: usize) -> usize {
        for _ in 0..mebibytes {
            self.held.push(std::hint::black_box(vec![1_u8; 1 << 20]));
            thread::sleep(Duration::from_millis(2));
        }
        self.held.len()
    }
}

/// Two numbers of bytes, the first beyond the second, which is the limit.
#[track_caller]
fn assert_names_bytes(error: &Error) {
    let numbers: Vec<u64> =
        error.message().split(' ').filter_map(|word| word.parse().ok()).filter(|n| *n > 1_000_000).collect();
    assert!(matches!(numbers[..], [used, 67_108_864] if used >= 67_108_864), "{error}");
}

pub(crate) fn memory_beyond_its_own_limit(env: &Env) {
    let _running = env.start();
    let (latch, pids) = (Latch::new(), Journal::new());
    let _open = latch.guard();
    let other = wait_here::remote(pids, latch);
    noted_pid(pids);
    assert_eq!(hog::remote(8).get_timeout(SOON).expect("it is allowed"), 8);
    let error = error_of(&hog::remote(5_000), ErrorKind::OutOfMemory);
    assert_names_bytes(&error);
    assert_eq!(error.function(), Some("hog"), "{error}");
    assert_eq!(hog::remote(8).get_timeout(SOON).expect("others run in another process"), 8);

    let hoarder = Hoarder::remote();
    assert_eq!(hoarder.hoard.remote(8).get_timeout(SOON).expect("it is allowed"), 8);
    assert_names_bytes(&error_of(&hoarder.hoard.remote(5_000), ErrorKind::OutOfMemory));
    assert_eq!(hoarder.hoard.remote(1).get_timeout(SOON).expect("it is made again"), 1);

    latch.open();
    assert_eq!(other.get_timeout(SOON).expect("it goes on"), noted_pid(pids));
}

/// Crashes in all attempts before `good`.
#[remote(isolation = "process")]
fn succeed_in(good: u32, pids: Journal) -> u32 {
    pids.note(std::process::id().to_string());
    if context().attempt < good {
        Way::Segfault.go();
    }
    context().attempt
}

pub(crate) fn attempts_are_numbered_and_end(env: &Env) {
    let _running = env.start();
    let pids = Journal::new();
    assert_eq!(succeed_in::remote(3, pids).get_timeout(SOON).expect("the third succeeds"), 3);
    let mut tried = pids.expect_count(3);
    tried.sort_unstable();
    tried.dedup();
    assert_eq!(tried.len(), 3, "a process each");

    let pids = Journal::new();
    let error = error_of(&succeed_in::remote(5, pids), ErrorKind::WorkerCrashed);
    assert_eq!(error.attempt(), Some(4), "three retries are the default: {error}");
    assert_eq!(pids.notes().len(), 4);

    let pids = Journal::new();
    let error = error_of(&succeed_in::options().max_retries(1).remote(3, pids), ErrorKind::WorkerCrashed);
    assert_eq!((error.attempt(), pids.notes().len()), (Some(2), 2), "{error}");
}

pub(crate) fn a_stream_is_tried_again_until_it_has_yielded(env: &Env) {
    /// Crashes in its first attempt, once it has yielded so many.
    #[remote(isolation = "process")]
    fn yield_until(crash_at: u32) -> impl Iterator<Item = u32> {
        let crashes = context().attempt == 1;
        (0..4).inspect(move |n| {
            if crashes && *n == crash_at {
                Way::Abort.go();
            }
        })
    }
    let _running = env.start();
    let whole: Vec<_> = yield_until::remote(0).values().map(|item| item.expect("an item")).collect();
    assert_eq!(whole, [0, 1, 2, 3]);
    let mut values = yield_until::remote(2).values();
    assert_eq!(values.next().expect("an item").expect("it came before"), 0);
    assert_eq!(values.next().expect("an item").expect("it came before"), 1);
    assert_fails(values.next().expect("the failure"), ErrorKind::WorkerCrashed);
    assert!(values.next().is_none());
}

struct Keeper {
    values: Vec<u32>,
    latch: Latch,
}

#[remote(isolation = "process")]
impl Keeper {
    pub(crate) fn new(latch: Latch) -> Self {
        Self { values: Vec::new(), latch }
    }
    pub(crate) fn keep(&mut self, value: u32) -> (Vec<u32>, u32) {
        self.values.push(value);
        (self.values.clone(), std::process::id())
    }
    pub(crate) fn wait(&mut self) -> u32 {
        self.latch.wait();
        context().attempt
    }
    pub(crate) fn end(&mut self, way: Way) {
        eprintln!("the keeper ends by {way:?}");
        way.go();
    }
    pub(crate) fn end_before(&mut self, good: u32) -> u32 {
        if context().attempt < good {
            Way::Abort.go();
        }
        context().attempt
    }
}

pub(crate) fn what_runs_elsewhere_goes_on(env: &Env) {
    #[remote(isolation = "thread")]
    fn on_a_thread(latch: Latch) -> u32 {
        latch.wait();
        std::process::id()
    }
    let _running = env.start_with(env.config().num_cpus(8.0));
    let (latch, pids) = (Latch::new(), Journal::new());
    let _open = latch.guard();
    let task = wait_here::remote(pids, latch);
    let pid = noted_pid(pids);
    let (thread, keeper) = (on_a_thread::remote(latch), Keeper::remote(latch));
    let (values, kept_by) = keeper.keep.remote(1).get().expect("a call");
    assert_eq!(values, [1]);
    let held = keeper.wait.remote();
    for way in [Way::Segfault, Way::Abort, Way::Exit, Way::Overflow] {
        error_of(&end_by::remote(way), ErrorKind::WorkerCrashed);
    }
    latch.open();
    assert_eq!(task.get_timeout(SOON).expect("it goes on"), pid);
    assert_eq!(thread.get_timeout(SOON).expect("it goes on"), std::process::id());
    assert_eq!(held.get_timeout(SOON).expect("it goes on"), 1);
    assert_eq!(keeper.keep.remote(2).get().expect("a call"), (vec![1, 2], kept_by), "the state is kept");
}

pub(crate) fn an_actor_restarts_and_its_queue_goes_on_in_order(env: &Env) {
    let _running = env.start();
    let keeper = Keeper::options().max_restarts(2).remote(Latch::new());
    let (one, two) = (keeper.keep.remote(1), keeper.keep.remote(2));
    let crash = keeper.end.remote(Way::Segfault);
    let (three, four) = (keeper.keep.remote(3), keeper.keep.remote(4));
    let exit = keeper.end.remote(Way::Exit);
    let five = keeper.keep.remote(5);
    let last = keeper.end.remote(Way::Abort);
    let never = keeper.keep.remote(6);

    let kept = |object: &ObjectRef<(Vec<u32>, u32)>| object.get_timeout(SOON).expect("it is kept");
    assert_eq!((kept(&one).0, kept(&two).0), (vec![1], vec![1, 2]));
    let error = error_of(&crash, ErrorKind::WorkerCrashed);
    assert!(error.message().contains("(SIGSEGV)"), "{error}");
    assert!(error.message().contains("the keeper ends by Segfault"), "{error}");
    assert_eq!(error.function(), Some("Keeper.end"), "{error}");
    assert_eq!((kept(&three).0, kept(&four).0), (vec![3], vec![3, 4]), "a state anew, in order");
    assert!(error_of(&exit, ErrorKind::WorkerCrashed).message().contains("exited with code 3"));
    assert_eq!(kept(&five).0, [5]);
    let pids = [kept(&one).1, kept(&three).1, kept(&five).1];
    assert!(pids[0] != pids[1] && pids[1] != pids[2] && pids[0] != pids[2], "a process each: {pids:?}");
    assert_eq!(kept(&three).1, kept(&four).1, "one for an instance");

    assert!(error_of(&last, ErrorKind::WorkerCrashed).message().contains("(SIGABRT)"));
    let dead = error_of(&never, ErrorKind::ActorDied);
    let cause = dead.cause().expect("it died of something");
    assert_eq!(cause.kind(), ErrorKind::WorkerCrashed, "{dead:?}");
    assert!(cause.message().contains("(SIGABRT)"), "{dead:?}");
    error_of(&keeper.keep.remote(7), ErrorKind::ActorDied);
}

pub(crate) fn an_actors_calls_are_tried_again(env: &Env) {
    let _running = env.start();
    let keeper = Keeper::options().max_restarts(3).max_task_retries(2).remote(Latch::new());
    let before = keeper.keep.remote(1);
    let crash = keeper.end_before.remote(3);
    let after = keeper.keep.remote(2);
    assert_eq!(before.get_timeout(SOON).expect("a call").0, [1]);
    assert_eq!(crash.get_timeout(SOON).expect("the third succeeds"), 3);
    assert_eq!(after.get_timeout(SOON).expect("a call").0, [2], "behind the crash, on the third instance");
}

struct Stillborn;

#[remote(isolation = "process", max_restarts = 2)]
impl Stillborn {
    pub(crate) fn new(good: u32, pids: Journal) -> Self {
        pids.note(std::process::id().to_string());
        if pids.notes().len() < good as usize {
            Way::Segfault.go();
        }
        Self
    }
    pub(crate) fn call(&self) -> u32 {
        std::process::id()
    }
}

pub(crate) fn a_constructor_that_crashes(env: &Env) {
    let _running = env.start();
    let pids = Journal::new();
    let born = Stillborn::remote(3, pids);
    let pid = born.call.remote().get_timeout(SOON).expect("the third instance lives");
    assert_eq!(pids.notes().last(), Some(&pid.to_string()));
    born.ready().get_timeout(SOON).expect("it is");

    let pids = Journal::new();
    let dead = Stillborn::remote(9, pids);
    for error in
        [error_of(&dead.call.remote(), ErrorKind::ActorDied), error_of(&dead.ready(), ErrorKind::ActorDied)]
    {
        let cause = error.cause().expect("it died of something");
        assert_eq!((cause.kind(), cause.attempt()), (ErrorKind::WorkerCrashed, Some(3)), "{error:?}");
        assert!(cause.message().contains("(SIGSEGV)"), "{error:?}");
    }
    assert!(eventually(|| pids.notes().len() == 3), "{:?}", pids.notes());
}

/// Waits so long that whoever wants its result has to wait for it.
#[remote(isolation = "thread", num_cpus = 0)]
fn wait_for(latch: Latch) -> bool {
    latch.wait_at_most(SOON)
}

/// Has the only CPU.
#[remote(isolation = "thread", num_cpus = 1)]
fn hold(begun: Journal, latch: Latch) {
    begun.note("begun");
    latch.wait();
}

/// Waits in its constructor, and in its calls.
struct Patient;

#[remote(isolation = "process", num_cpus = 1, max_restarts = 2, max_concurrency = 4)]
impl Patient {
    pub(crate) fn new(pids: Journal, latch: Latch) -> mobula::Result<Self> {
        pids.note(std::process::id().to_string());
        wait_for::remote(latch).get()?;
        pids.note("made");
        Ok(Self)
    }
    pub(crate) fn wait(&self, latch: Latch) -> mobula::Result<bool> {
        wait_for::remote(latch).get()
    }
    pub(crate) fn cpus(&self) -> Option<f64> {
        context().resources.get("CPU").copied()
    }
}

fn free_cpus() -> Option<f64> {
    available_resources().expect("a session runs").get("CPU").copied()
}

pub(crate) fn a_constructor_that_dies_in_a_wait(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (pids, latch) = (Journal::new(), Latch::new());
    let _open = latch.guard();
    let patient = Patient::remote(pids, latch);
    let first = noted_pid(pids);
    assert!(eventually(|| free_cpus() == Some(1.0)), "it waits");
    signal(first, Signal::KILL);
    pids.expect_count(2);
    latch.open();
    patient.ready().get_timeout(SOON).expect("it is made again");
    assert_eq!(patient.cpus.remote().get_timeout(SOON).expect("a call"), Some(1.0));
    assert_eq!(free_cpus(), None, "it has the CPU");
    drop(patient);
    assert!(eventually(|| free_cpus() == Some(1.0)), "{:?}", free_cpus());
}

pub(crate) fn a_constructor_that_dies_in_a_wait_while_others_have_its_cpu(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (pids, latch) = (Journal::new(), Latch::new());
    let (begun, held) = (Journal::new(), Latch::new());
    let _open = (latch.guard(), held.guard());
    let patient = Patient::remote(pids, latch);
    let first = noted_pid(pids);
    let holder = hold::remote(begun, held);
    begun.expect("begun");
    signal(first, Signal::KILL);
    assert!(eventually(|| !crate::endings::children().contains(&first)), "it is gone");
    held.open();
    holder.get_timeout(SOON).expect("it goes on");
    pids.expect_count(2);
    assert!(eventually(|| free_cpus() == Some(1.0)), "the second waits in its turn: {:?}", free_cpus());
    latch.open();
    assert_eq!(patient.cpus.remote().get_timeout(SOON).expect("a call"), Some(1.0));
    drop(patient);
    assert!(eventually(|| free_cpus() == Some(1.0)), "{:?}", free_cpus());
}

pub(crate) fn an_actor_that_dies_while_its_calls_wait(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (pids, open, latch) = (Journal::new(), Latch::new(), Latch::new());
    let _open = latch.guard();
    open.open();
    for restarts in [0, 2, 0, 2, 0, 2] {
        let patient = Patient::options().max_restarts(restarts).remote(pids, open);
        patient.ready().get_timeout(SOON).expect("it is made");
        let waits = [patient.wait.remote(latch), patient.wait.remote(latch)];
        assert!(eventually(|| free_cpus() == Some(1.0)), "they wait");
        let pid = pids.notes().into_iter().filter_map(|note| note.parse().ok()).next_back();
        signal(pid.expect("a process id"), Signal::KILL);
        for wait in waits {
            error_of(&wait, ErrorKind::WorkerCrashed);
        }
        if restarts > 0 {
            assert_eq!(patient.cpus.remote().get_timeout(SOON).expect("a call"), Some(1.0));
            assert_eq!(free_cpus(), None, "it has the CPU");
        }
        drop(patient);
        assert!(eventually(|| free_cpus() == Some(1.0)), "{:?}", free_cpus());
    }
}

pub(crate) fn an_actor_that_dies_while_a_call_wants_its_cpu_back(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (pids, open) = (Journal::new(), Latch::new());
    let (awaited, begun, held) = (Latch::new(), Journal::new(), Latch::new());
    let _open = (awaited.guard(), held.guard());
    open.open();
    let patient = Patient::options().max_restarts(0).remote(pids, open);
    patient.ready().get_timeout(SOON).expect("it is made");
    let wait = patient.wait.remote(awaited);
    let holder = hold::remote(begun, held);
    begun.expect("begun");
    awaited.open();
    let wants_cpu = |wait: &mobula::Wait| matches!(wait.reason, WaitReason::CpuAgain);
    assert!(eventually(|| testing::waits().iter().any(wants_cpu)), "{:?}", testing::waits());
    signal(noted_pid(pids), Signal::KILL);
    error_of(&wait, ErrorKind::WorkerCrashed);
    held.open();
    holder.get_timeout(SOON).expect("it goes on");
    drop(patient);
    assert!(eventually(|| free_cpus() == Some(1.0)), "{:?}", free_cpus());
}

/// It may be about to wait, or have waited, when the actor ends here and the process does not know it yet.
pub(crate) fn the_constructor_of_a_killed_actor_goes_on(env: &Env) {
    /// Takes so long that it is waited for.
    #[remote(isolation = "thread", num_cpus = 0)]
    fn take_a_moment() {
        thread::sleep(Duration::from_micros(100));
    }
    struct Slow;

    #[remote(isolation = "process")]
    impl Slow {
        pub(crate) fn new(notes: Journal) -> Self {
            notes.note("begun");
            while take_a_moment::remote().get().is_ok() {}
            notes.note("told");
            Self
        }
    }
    let _running = env.start_with(env.config().shutdown_grace(SOON * 4));
    for _ in 0..40 {
        let notes = Journal::new();
        let slow = Slow::remote(notes);
        notes.expect("begun");
        thread::sleep(Duration::from_millis(1));
        kill(&slow).expect("it is told");
        notes.expect("told");
    }
}

pub(crate) fn calls_of_one_actor_go_on_at_once_after_their_waits(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let open = Latch::new();
    open.open();
    let patient = Patient::remote(Journal::new(), open);
    patient.ready().get_timeout(SOON).expect("it is made");
    for _ in 0..50 {
        let latch = Latch::new();
        let waits = [0; 4].map(|_| patient.wait.remote(latch));
        assert!(eventually(|| free_cpus() == Some(1.0)), "they wait");
        latch.open();
        for wait in waits {
            assert!(wait.get_timeout(SOON).expect("it goes on"));
        }
        assert_eq!(free_cpus(), None, "the actor has its CPU again");
    }
}
