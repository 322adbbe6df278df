//! What goes wrong between processes, and the typed error that follows.

use std::time::{Duration, Instant};

use mobula::Error;
use mobula::prelude::*;
use rustix::process::Signal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::common::{Env, SOON, assert_fails, eventually};
use crate::crashes::signal;
use crate::executable::{said_by, said_with};
use crate::programs::Said;

#[remote(isolation = "process", max_retries = 0)]
fn double(x: u64) -> u64 {
    2 * x
}

struct Named;

#[remote(isolation = "process")]
impl Named {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }
}

/// What a process is at, in a letter.
fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn a_stopped_worker_stops_nobody_else(env: &Env) {
    #[remote(isolation = "process", max_retries = 0)]
    fn stop_itself() -> u32 {
        signal(std::process::id(), Signal::STOP);
        // Not all threads stop at once.
        std::thread::sleep(Duration::from_millis(100));
        std::process::id()
    }
    let _running = env.start();
    let actors = [Named::remote(), Named::remote()];
    let pids = actors.each_ref().map(|actor| actor.pid.remote().get().expect("a call"));
    signal(pids[0], Signal::STOP);
    assert!(eventually(|| state(pids[0]) == Some('T')), "it is stopped");

    let start = Instant::now();
    let time = Duration::from_millis(300);
    let stopped = actors[0].pid.options().timeout(time).remote();
    let task = stop_itself::options().timeout(time).remote();
    for n in 0..200 {
        assert_eq!(double::remote(n).get_timeout(SOON).expect("others go on"), 2 * n);
        assert_eq!(actors[1].pid.remote().get_timeout(SOON).expect("others go on"), pids[1]);
    }
    assert_fails(stopped.get(), ErrorKind::Timeout);
    assert_fails(task.get(), ErrorKind::Timeout);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let waiting = actors[0].pid.remote();
    assert_fails(waiting.get_timeout(time), ErrorKind::Timeout);
    signal(pids[0], Signal::CONT);
    assert_eq!(waiting.get_timeout(SOON).expect("it goes on where it was"), pids[0]);
}

/// Goes into bytes, or comes out of them, only if it may.
#[derive(Clone, Debug, PartialEq)]
struct Fussy {
    goes: bool,
    comes: bool,
}

impl Fussy {
    const STAYS: Self = Self { goes: false, comes: true };
    const IS_LOST: Self = Self { goes: true, comes: false };
    const TRAVELS: Self = Self { goes: true, comes: true };
}

impl Serialize for Fussy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.goes {
            self.comes.serialize(serializer)
        } else {
            Err(serde::ser::Error::custom("it stays where it is"))
        }
    }
}

impl<'de> Deserialize<'de> for Fussy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if bool::deserialize(deserializer)? {
            Ok(Self::TRAVELS)
        } else {
            Err(serde::de::Error::custom("it is lost on the way"))
        }
    }
}

#[remote(isolation = "process")]
fn make(goes: bool, comes: bool) -> Fussy {
    Fussy { goes, comes }
}

#[remote(isolation = "process")]
fn take(fussy: Fussy) -> bool {
    fussy.goes
}

struct Holder(Fussy);

#[remote(isolation = "process")]
impl Holder {
    pub(crate) fn new(fussy: Fussy) -> Self {
        Self(fussy)
    }
    pub(crate) fn swap(&mut self, mut fussy: Fussy) -> Fussy {
        std::mem::swap(&mut self.0, &mut fussy);
        fussy
    }
    pub(crate) fn make(&self, goes: bool, comes: bool) -> Fussy {
        Fussy { goes, comes }
    }
    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }
}

pub(crate) fn what_cannot_be_serialised(env: &Env) {
    cannot_travel(env, ErrorKind::Encode, "it stays where it is", &Fussy::STAYS);
}

pub(crate) fn what_cannot_be_deserialised(env: &Env) {
    cannot_travel(env, ErrorKind::Decode, "it is lost on the way", &Fussy::IS_LOST);
}

/// As an argument and as a result, of a task and of an actor: the call fails, and all else goes on.
fn cannot_travel(env: &Env, kind: ErrorKind, text: &str, fussy: &Fussy) {
    let (goes, comes) = (fussy.goes, fussy.comes);
    let _running = env.start();
    let error = assert_fails(take::remote(fussy.clone()).get_timeout(SOON), kind);
    assert!(error.message().contains(text), "{error}");
    assert_eq!(error.function(), Some("take"), "{error}");
    let error = assert_fails(make::remote(goes, comes).get_timeout(SOON), kind);
    assert!(error.message().contains(text), "{error}");
    assert_eq!(error.function(), Some("make"), "{error}");
    assert!(take::remote(Fussy::TRAVELS).get_timeout(SOON).expect("the worker lives on"));

    let dead = assert_fails(Holder::remote(fussy.clone()).ready().get_timeout(SOON), ErrorKind::ActorDied);
    assert_eq!(dead.cause().map(Error::kind), Some(kind), "{dead:?}");
    let holder = Holder::remote(Fussy::TRAVELS);
    let pid = holder.pid.remote().get().expect("a call");
    assert_fails(holder.swap.remote(fussy.clone()).get_timeout(SOON), kind);
    assert_fails(holder.make.remote(goes, comes).get_timeout(SOON), kind);
    assert_eq!(holder.swap.remote(Fussy::TRAVELS).get_timeout(SOON).expect("a call"), Fussy::TRAVELS);
    assert_eq!(holder.pid.remote().get_timeout(SOON).expect("the actor lives on"), pid);
}

pub(crate) fn no_thread_is_left(_: &Env) {
    // Stacks so large that those of threads that have ended are not kept for others.
    let said = said_with(&["threads"], &[("RUST_MIN_STACK", "67108864")]);
    let word = |start: &str| word(&said, start);
    assert_eq!(word("a thread"), "false");
    assert_eq!(word("the call"), "1", "it goes on without its CPUs");
    assert_eq!(word("a thread again"), "true");
    assert_eq!(word("who had the CPUs"), "2");
    assert_eq!(word("the call again"), "1");
}

/// What a program said after `start`.
#[track_caller]
fn word(said: &Said, start: &str) -> String {
    let found = said.stdout.lines().find_map(|line| line.strip_prefix(start)?.strip_prefix(": "));
    found.unwrap_or_else(|| panic!("no line {start:?} in {}", said.stdout)).to_owned()
}

pub(crate) fn no_descriptor_is_left(_: &Env) {
    let said = said_by(&["descriptors"]);
    let word = |start: &str| word(&said, start);
    assert_eq!(word("before"), "2");
    assert_eq!(word("a warm worker"), "4", "what needs no descriptor works");
    assert_eq!(word("a new worker"), "Io");
    assert_eq!(word("a large argument"), "StoreFull");
    assert_eq!(word("a new worker after"), "8", "all is well when there are some again");
    assert_eq!(word("a large argument after"), "1000000.0");
    let without = word("a large result without");
    assert_eq!(without, "StoreFull", "{}", said.stdout);
    assert_eq!(word("after all"), "10");
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}

pub(crate) fn no_shared_memory_is_to_be_had(_: &Env) {
    for what in ["sizes", "addresses", "descriptors"] {
        let said = said_by(&["lack", what]);
        let word = |start: &str| word(&said, start);
        let expect = |expected: &[(&str, &str)]| {
            for (start, said) in expected {
                assert_eq!(word(start), *said, "{what}: {start}");
            }
        };
        expect(&[
            ("before", "2"),
            ("numbers to a task", "StoreFull"),
            ("array to a task", "StoreFull"),
            ("numbers to an actor", "StoreFull"),
            ("array to an actor", "StoreFull"),
            ("small", "4"),
            ("refused here", "4"),
            ("numbers to a task again", "100000.0"),
            ("array to an actor again", "100000"),
        ]);
        expect(&[
            ("numbers of an actor", "StoreFull"),
            ("array of an actor", "StoreFull"),
            ("items of an actor", "StoreFull"),
            ("shared by an actor", "StoreFull"),
            ("called by an actor", "StoreFull"),
            ("made by an actor", "ActorDied"),
            ("small of an actor", "1"),
            ("refused there", "6"),
        ]);
        expect(&[
            ("numbers of an actor again", "100000"),
            ("array of an actor again", "100000"),
            ("items of an actor again", "[100000, 100000]"),
            ("shared by an actor again", "100000"),
            ("called by an actor again", "100000"),
            ("made by an actor again", "100000"),
            ("small of an actor again", "1"),
            ("refused there again", "6"),
        ]);
        assert_eq!(word("same before"), word("same after"), "{what}: the worker lives on");
        for wrong in ["panicked", "is not understood"] {
            assert!(!said.stderr.contains(wrong) && !said.stdout.contains(wrong), "{what}: {}", said.stderr);
        }
    }
}
