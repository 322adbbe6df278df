//! Who ends when: with the driver, with the session, and never with a thread.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{get, testing};
use rustix::process::Signal;

use crate::common::{Env, Latch, SOON, eventually};
use crate::crashes::signal;
use crate::executable::{folder, program};

/// The processes of a group, but for those that are dead and not reaped.
fn group(leader: u32) -> Vec<u32> {
    processes(|fields| fields[2] == leader.to_string())
}

/// The live children of this process.
pub(crate) fn children() -> Vec<u32> {
    processes(|fields| fields[1] == std::process::id().to_string())
}

/// The live processes with such a state, parent, group and so on.
fn processes(is_wanted: impl Fn(&[&str]) -> bool) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("Linux lists processes");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_wanted = |pid: &u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name in brackets may hold anything.
        let Some((_, rest)) = stat.rsplit_once(") ") else { return false };
        let fields: Vec<_> = rest.split(' ').collect();
        fields[0] != "Z" && is_wanted(&fields)
    };
    pids.filter(is_wanted).collect()
}

/// The pieces of our shared memory that a process has open or mapped, by inode: they have no name in any
/// folder, and are there for as long as a process has them.
fn shared_memory_of(pid: u32) -> BTreeSet<u64> {
    let is_ours = |text: &str| text.contains("/memfd:mobula-");
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let mapped = maps.lines().filter(|line| is_ours(line));
    let mapped = mapped.filter_map(|line| line.split_whitespace().nth(4)?.parse().ok());
    let open = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let open = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| is_ours(&to.to_string_lossy())));
    mapped.chain(open.filter_map(|fd| Some(fs::metadata(fd.path()).ok()?.ino()))).collect()
}

/// What is in a folder.
fn names_in(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

pub(crate) fn no_process_outlives_a_killed_driver(_: &Env) {
    let folder = folder();
    let temp = folder.path().join("temp");
    fs::create_dir(&temp).expect("a folder of our own");

    let mut command = program("program_workers", &folder.path().join("log"), &["sleepers"]);
    command.process_group(0).env("TMPDIR", &temp).stdout(Stdio::piped());
    let mut driver = command.spawn().expect("it starts");
    let lines = BufReader::new(driver.stdout.take().expect("it is piped")).lines();
    let asleep = lines.map_while(Result::ok).filter(|line| line.contains("asleep over 1000000 numbers"));
    assert_eq!(asleep.take(8).count(), 8, "all eight run");
    assert!(group(driver.id()).len() >= 9, "{:?}", group(driver.id()));
    let memory: BTreeSet<_> = group(driver.id()).into_iter().flat_map(shared_memory_of).collect();
    assert!(!memory.is_empty(), "a million numbers are shared");

    let killed = Instant::now();
    driver.kill().expect("it runs");
    driver.wait().expect("it was started here");
    let mut left = group(driver.id());
    while !left.is_empty() && killed.elapsed() < Duration::from_secs(1) {
        thread::sleep(Duration::from_millis(1));
        left = group(driver.id());
    }
    assert!(left.is_empty(), "{left:?} live {:?} after their driver", killed.elapsed());
    assert_eq!(names_in(&temp), BTreeSet::new(), "nothing is left in the folder for what is temporary");
    let keepers = processes(|_| true).into_iter().filter(|pid| !shared_memory_of(*pid).is_disjoint(&memory));
    assert_eq!(keepers.collect::<Vec<_>>(), [], "processes that have its memory still");
}

#[remote(isolation = "process")]
fn pid(pause_ms: u64) -> u32 {
    thread::sleep(Duration::from_millis(pause_ms));
    std::process::id()
}

struct Steady {
    calls: u32,
}

#[remote(isolation = "process")]
impl Steady {
    pub(crate) fn new() -> Self {
        Self { calls: 0 }
    }
    pub(crate) fn call(&mut self) -> (u32, u32) {
        self.calls += 1;
        (self.calls, std::process::id())
    }
}

/// The death signal of a process follows the thread that started it.
pub(crate) fn ten_thousand_threads_come_and_go_and_no_worker_with_them(env: &Env) {
    /// Is in a worker all the while, which is not idle then; another worker would not do.
    #[remote(isolation = "process", num_cpus = 0, max_retries = 0)]
    fn hold(latch: Latch) -> u32 {
        latch.wait();
        std::process::id()
    }
    type Made = (u32, Vec<ObjectRef<u32>>, ActorHandle<Steady>);
    /// Waits for the next, each on a thread; the deepest starts the workers.
    #[remote(isolation = "thread")]
    fn nested(depth: u32, latch: Latch) -> mobula::Result<Made> {
        if depth > 0 {
            return nested::remote(depth - 1, latch).get();
        }
        let held: Vec<_> = (0..4).map(|_| hold::remote(latch)).collect();
        let steady = Steady::remote();
        let (_, actor) = steady.call.remote().get()?;
        Ok((actor, held, steady))
    }
    let running = env.start();
    let latch = Latch::new();
    let open = latch.guard();
    let deep = nested::remote(10_000, latch);
    let (actor, held, steady) = deep.get_timeout(SOON * 10).expect("all the way down");
    drop(deep);
    assert!(testing::threads_peak() > 9_000, "{} threads", testing::threads_peak());
    let others_have_gone = eventually(|| testing::leftovers().threads <= held.len());
    assert!(others_have_gone, "{:?}", testing::leftovers());

    assert_eq!(steady.call.remote().get_timeout(SOON).expect("the actor lives"), (2, actor));
    drop(open);
    let pids: BTreeSet<_> = get(&held).expect("their workers live").into_iter().collect();
    assert_eq!(pids.len(), 4, "{pids:?}");
    drop((held, steady, running));
}

pub(crate) fn a_session_takes_its_workers_along(env: &Env) {
    for _ in 0..3 {
        let running = env.start();
        let calls: Vec<_> = (0..4).map(|_| pid::remote(20)).collect();
        let steady = Steady::remote();
        let mut pids = get(&calls).expect("calls");
        pids.push(steady.call.remote().get().expect("a call").1);
        let live = children();
        assert!(pids.iter().all(|pid| live.contains(pid)), "{pids:?} in {live:?}");
        drop((calls, steady, running));
        let live = children();
        assert!(pids.iter().all(|pid| !live.contains(pid)), "{pids:?} in {live:?}");
    }
    // A session with a worker that is stopped ends all the same.
    let running = env.start();
    let stopped = pid::remote(1).get().expect("a call");
    signal(stopped, Signal::STOP);
    let start = Instant::now();
    drop(running);
    assert!(start.elapsed() < Duration::from_secs(5), "it took {:?}", start.elapsed());
    assert!(!children().contains(&stopped), "it is gone");
}
