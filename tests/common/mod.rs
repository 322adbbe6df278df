//! What the black-box suites share.
//!
//! ```text
//! run ──► lock (one session a process) ──► watchdog ──► the test and its session ──► nothing left over
//! Latch, Journal, Gauge: values that the test and its remote code share, by number
//! ```
//!
//! Remote code talks to its test by [`Latch`], [`Journal`] and [`Gauge`] alone. They are values; where remote
//! code runs in another process, `elsewhere` carries what it does with them across.

#![allow(dead_code, reason = "each suite uses its part of this")]

pub(crate) mod elsewhere;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::future::poll_fn;
use std::io::Write;
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, Once, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use elsewhere::{Op, Reply, ask};
use futures_core::Stream;
use mobula::{Config, Error, ErrorKind, Session};
use serde::{Deserialize, Serialize};

/// How long a test may take before the process is aborted with its name.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long something may take that has nothing to wait for.
pub(crate) const SOON: Duration = Duration::from_secs(15);
/// Which test of this binary a child process is to run in full.
const CHILD: &str = "MOBULA_TEST_CHILD";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a test alone in this process, with a watchdog; what was logged is shown if it fails.
pub(crate) fn run(name: &'static str, test: impl FnOnce(&Env)) {
    run_in(Env { name, isolation: "thread" }, PATIENCE, test);
}

/// As [`run`], for a test that has a lot to do.
pub(crate) fn run_within(patience: Duration, name: &'static str, test: impl FnOnce(&Env)) {
    run_in(Env { name, isolation: "thread" }, patience, test);
}

/// As [`run`], where remote code that says nothing else runs in processes of its own.
pub(crate) fn run_in_processes(name: &'static str, test: impl FnOnce(&Env)) {
    run_in(Env { name, isolation: "process" }, PATIENCE, test);
}

/// As [`run_in_processes`], for a test that has a lot to do.
pub(crate) fn run_in_processes_within(patience: Duration, name: &'static str, test: impl FnOnce(&Env)) {
    run_in(Env { name, isolation: "process" }, patience, test);
}

fn run_in(env: Env, patience: Duration, test: impl FnOnce(&Env)) {
    static ALONE: Mutex<()> = Mutex::new(());
    struct ShowLog;
    impl Drop for ShowLog {
        fn drop(&mut self) {
            if thread::panicking() {
                eprintln!("--- logged meanwhile ---\n{}", logged());
            }
        }
    }
    let alone = lock(&ALONE);
    capture_log();
    lock(&LOG).clear();
    let watchdog = Watchdog::start(patience, env.name);
    let show = ShowLog;
    let before = Left::now();
    test(&env);
    assert!(!mobula::is_initialized(), "the test ends its session");
    before.assert_no_more("after the end");
    drop((show, watchdog, alone));
}

struct Watchdog(Option<mpsc::Sender<()>>);

impl Watchdog {
    fn start(patience: Duration, name: &'static str) -> Self {
        let (sender, receiver) = mpsc::channel::<()>();
        let bark = move || {
            if receiver.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                // Not `eprintln!`: the harness would keep that to itself.
                let waits = mobula::testing::waits();
                let _ =
                    writeln!(std::io::stderr(), "{name} hangs: {waits:#?}; logged meanwhile:\n{}", logged());
                std::process::abort();
            }
        };
        thread::Builder::new().name("watchdog".into()).spawn(bark).expect("a thread can be had");
        Self(Some(sender))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.0.take();
    }
}

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// What was logged since the test began.
pub(crate) fn logged() -> String {
    String::from_utf8_lossy(&lock(&LOG)).into_owned()
}

/// How many lines logged since the test began hold `text`.
pub(crate) fn logged_lines(text: &str) -> usize {
    logged().lines().filter(|line| line.contains(text)).count()
}

fn capture_log() {
    struct Capture;
    impl Write for Capture {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            lock(&LOG).extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(|| Capture).finish();
        tracing::subscriber::set_global_default(subscriber).expect("the tests set the first logger");
    });
}

/// Where a test runs.
pub(crate) struct Env {
    name: &'static str,
    isolation: &'static str,
}

impl Env {
    /// Settings that do not depend on the machine: four CPUs.
    pub(crate) fn config(&self) -> Config {
        let config = Config::new().num_cpus(4.0);
        if !self.has_processes() {
            return config;
        }
        config.isolation(self.isolation).env(elsewhere::SHELF, elsewhere::serve())
    }

    /// Whether remote code runs in processes of its own.
    pub(crate) fn has_processes(&self) -> bool {
        self.isolation == "process"
    }

    /// A session with the usual settings.
    pub(crate) fn start(&self) -> Running {
        self.start_with(self.config())
    }

    /// A session with settings of the test's own.
    #[allow(clippy::unused_self, reason = "an environment of its own kind starts in a way of its own")]
    pub(crate) fn start_with(&self, config: Config) -> Running {
        let before = Left::now();
        let session = config.init().expect("no session runs");
        Running { session: Some(session), before }
    }

    /// Runs `body` in a process of its own, this test alone in this binary: for what a process does once,
    /// what the environment decides, and what is measured.
    pub(crate) fn in_a_process_of_its_own(&self, variables: &[(&str, &str)], body: impl FnOnce()) {
        if std::env::var(CHILD).is_ok_and(|name| name == self.name) {
            return body();
        }
        let binary = std::env::current_exe().expect("a test binary has a path");
        let mut command = Command::new(binary);
        command.args(["--exact", self.name, "--nocapture", "--test-threads=1"]).env(CHILD, self.name);
        let output = command.envs(variables.iter().copied()).output().expect("the binary starts again");
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "in a process of its own: {}\n{said}\n{errors}", output.status);
        assert!(said.contains("1 passed"), "no test is named {}:\n{said}", self.name);
    }
}

/// What is there that should not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Left {
    actors: usize,
    objects: usize,
    /// Threads that carry a name of the runtime.
    threads: usize,
}

impl Left {
    fn now() -> Self {
        let left = mobula::testing::leftovers();
        // The system lists a thread for a moment after all that it does is done.
        let threads = if mobula::is_initialized() { left.threads } else { runtime_threads() };
        Self { actors: left.actors, objects: left.objects, threads }
    }

    /// Gives what is ending its time, which on a busy machine is much; `self` is what a failed test left before.
    fn assert_no_more(self, when: &str) {
        let within = |left: Self| {
            left.actors <= self.actors && left.objects <= self.objects && left.threads <= self.threads
        };
        assert!(eventually(|| within(Self::now())), "left over {when}: {:?}", Self::now());
    }
}

/// Threads of this process that the runtime made, by their names.
pub(crate) fn runtime_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux lists threads");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.starts_with("mobula") || name.starts_with("actix")).count()
}

/// A session; when it is dropped at the end of a test, nothing may be alive in it.
#[must_use = "dropping it ends the session"]
pub(crate) struct Running {
    session: Option<Session>,
    before: Left,
}

impl Running {
    /// Ends the session while something is still alive in it, as the test means to.
    pub(crate) fn shut_down(mut self) {
        self.session.take();
    }

    /// The same while threads wait at `latch`: lets those go that were left behind.
    pub(crate) fn abandon(mut self, latch: Latch) {
        self.session.take();
        latch.open();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.session.is_none() || thread::panicking() {
            return;
        }
        self.before.assert_no_more("before the end of the session");
    }
}

/// Looks again and again whether `is_so`, for what nothing tells of.
pub(crate) fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + SOON;
    loop {
        if is_so() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        thread::yield_now();
        thread::sleep(Duration::from_micros(200));
    }
}

/// Things that are shared by number.
struct Shelf<T>(LazyLock<Mutex<HashMap<u64, Arc<T>>>>);

impl<T: Default> Shelf<T> {
    const fn new() -> Self {
        Self(LazyLock::new(Mutex::default))
    }

    fn get(&self, number: u64) -> Arc<T> {
        lock(&self.0).entry(number).or_default().clone()
    }
}

fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Closed until it is opened, for ever then. Waiting at it is no wait that the runtime knows of.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Latch(u64);

#[derive(Default)]
struct LatchState {
    open: Mutex<(bool, Vec<Waker>)>,
    opened: Condvar,
}

static LATCHES: Shelf<LatchState> = Shelf::new();

impl Latch {
    pub(crate) fn new() -> Self {
        Self(next_number())
    }

    pub(crate) fn open(self) {
        if ask(&Op::Open(self.0)).is_some() {
            return;
        }
        let latch = LATCHES.get(self.0);
        let mut state = lock(&latch.open);
        state.0 = true;
        let wakers = std::mem::take(&mut state.1);
        drop(state);
        latch.opened.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn is_open(self) -> bool {
        if let Some(Reply::Is(is_open)) = ask(&Op::IsOpen(self.0)) {
            return is_open;
        }
        lock(&LATCHES.get(self.0).open).0
    }

    /// Blocks the thread.
    pub(crate) fn wait(self) {
        if elsewhere::is_elsewhere() {
            while !self.wait_at_most(Duration::from_secs(1)) {}
            return;
        }
        let latch = LATCHES.get(self.0);
        let mut state = lock(&latch.open);
        while !state.0 {
            state = latch.opened.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Blocks the thread at most so long; whether it is open.
    pub(crate) fn wait_at_most(self, time: Duration) -> bool {
        if let Some(Reply::Is(is_open)) = ask(&Op::WaitAtMost(self.0, time)) {
            return is_open;
        }
        let latch = LATCHES.get(self.0);
        let state = lock(&latch.open);
        let waited = latch.opened.wait_timeout_while(state, time, |state| !state.0);
        waited.unwrap_or_else(PoisonError::into_inner).0.0
    }

    /// Waits without a thread.
    pub(crate) async fn pass(self) {
        if elsewhere::is_elsewhere() {
            while !self.is_open() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            return;
        }
        let latch = LATCHES.get(self.0);
        poll_fn(|cx| {
            let mut state = lock(&latch.open);
            if state.0 {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Opens when dropped: so that nothing waits for ever when a test fails before.
    pub(crate) fn guard(self) -> OpenAtLast {
        OpenAtLast(self)
    }
}

/// Opens its latch when dropped.
pub(crate) struct OpenAtLast(Latch);

impl Drop for OpenAtLast {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// Notes in the order in which they were made.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Journal(u64);

#[derive(Default)]
struct JournalState {
    notes: Mutex<Vec<String>>,
    added: Condvar,
}

static JOURNALS: Shelf<JournalState> = Shelf::new();

impl Journal {
    pub(crate) fn new() -> Self {
        Self(next_number())
    }

    pub(crate) fn note(self, text: impl Into<String>) {
        let text = text.into();
        if elsewhere::is_elsewhere() {
            ask(&Op::Note(self.0, text));
            return;
        }
        let journal = JOURNALS.get(self.0);
        lock(&journal.notes).push(text);
        journal.added.notify_all();
    }

    pub(crate) fn notes(self) -> Vec<String> {
        if let Some(Reply::Notes(notes)) = ask(&Op::Notes(self.0)) {
            return notes;
        }
        lock(&JOURNALS.get(self.0).notes).clone()
    }

    pub(crate) fn has(self, text: &str) -> bool {
        self.notes().iter().any(|note| note == text)
    }

    /// Waits until `enough` of the notes; fails if that takes long.
    pub(crate) fn wait_until(self, what: &str, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
        if elsewhere::is_elsewhere() {
            assert!(eventually(|| enough(&self.notes())), "waited for {what}");
            return self.notes();
        }
        let journal = JOURNALS.get(self.0);
        let notes = lock(&journal.notes);
        let waited = journal.added.wait_timeout_while(notes, SOON, |notes| !enough(notes));
        let (notes, late) = waited.unwrap_or_else(PoisonError::into_inner);
        let notes = notes.clone();
        assert!(!late.timed_out(), "waited for {what}, and there is only {notes:?}");
        notes
    }

    /// Waits for a note.
    pub(crate) fn expect(self, text: &str) {
        self.wait_until(&format!("{text:?}"), |notes| notes.iter().any(|note| note == text));
    }

    /// Waits for so many notes.
    pub(crate) fn expect_count(self, count: usize) -> Vec<String> {
        self.wait_until(&format!("{count} notes"), |notes| notes.len() >= count)
    }

    /// Something that notes `text` when it is dropped.
    pub(crate) fn at_drop(self, text: &str) -> AtDrop {
        AtDrop { journal: self, text: text.into() }
    }
}

/// Notes its text when it is dropped.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AtDrop {
    journal: Journal,
    text: String,
}

impl AtDrop {
    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

impl Drop for AtDrop {
    fn drop(&mut self) {
        self.journal.note(std::mem::take(&mut self.text));
    }
}

/// How many are inside at once, and how many were at most.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Gauge(u64);

#[derive(Default)]
struct GaugeState {
    inside: Mutex<(usize, usize)>,
    changed: Condvar,
}

static GAUGES: Shelf<GaugeState> = Shelf::new();

/// Inside of a [`Gauge`].
pub(crate) struct Inside(Gauge);

impl Gauge {
    pub(crate) fn new() -> Self {
        Self(next_number())
    }

    pub(crate) fn enter(self) -> Inside {
        if ask(&Op::Enter(self.0)).is_some() {
            return Inside(self);
        }
        let gauge = GAUGES.get(self.0);
        let mut inside = lock(&gauge.inside);
        inside.0 += 1;
        inside.1 = inside.1.max(inside.0);
        drop(inside);
        gauge.changed.notify_all();
        Inside(self)
    }

    pub(crate) fn peak(self) -> usize {
        if let Some(Reply::Count(peak)) = ask(&Op::Peak(self.0)) {
            return peak;
        }
        lock(&GAUGES.get(self.0).inside).1
    }

    pub(crate) fn inside(self) -> usize {
        if let Some(Reply::Count(inside)) = ask(&Op::Inside(self.0)) {
            return inside;
        }
        lock(&GAUGES.get(self.0).inside).0
    }

    fn leave(self) {
        let gauge = GAUGES.get(self.0);
        lock(&gauge.inside).0 -= 1;
        gauge.changed.notify_all();
    }

    /// Waits until so many are inside at once; fails if that takes long.
    pub(crate) fn expect(self, count: usize) {
        if elsewhere::is_elsewhere() {
            assert!(eventually(|| self.inside() >= count), "waited for {count} inside at once");
            return;
        }
        let gauge = GAUGES.get(self.0);
        let inside = lock(&gauge.inside);
        let waited = gauge.changed.wait_timeout_while(inside, SOON, |inside| inside.0 < count);
        let (inside, late) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!late.timed_out(), "waited for {count} inside at once, and there are {}", inside.0);
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if ask(&Op::Leave(self.0.0)).is_none() {
            self.0.leave();
        }
    }
}

/// Numbers that look random and are the same in each run.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// One below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }
}

/// The error of what must fail.
#[track_caller]
pub(crate) fn failure<T: std::fmt::Debug>(result: mobula::Result<T>) -> Error {
    result.expect_err("it was to fail")
}

/// Asserts that something failed in a certain way.
#[track_caller]
pub(crate) fn assert_fails<T: std::fmt::Debug>(result: mobula::Result<T>, kind: ErrorKind) -> Error {
    let error = failure(result);
    assert_eq!(error.kind(), kind, "{error:?}");
    error
}

/// Everything that an error says, its causes included.
pub(crate) fn in_full(error: &Error) -> String {
    let mut text = format!("{error:?}");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        write!(text, "\n{error}").expect("a string takes everything");
        cause = error.source();
    }
    text
}

/// Drives a future on this thread.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a tokio runtime can be had").block_on(future)
}

/// The next of a stream.
pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// A number of `/proc/self/status`, in bytes where it is one of memory.
pub(crate) fn of_this_process(key: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows the process");
    let line = status.lines().find(|line| line.starts_with(key)).expect("a key of the status");
    let mut words = line.split_whitespace().skip(1);
    let number: usize = words.next().and_then(|word| word.parse().ok()).expect("a number");
    if words.next() == Some("kB") { number * 1024 } else { number }
}
