//! How long workers are kept, and what is left of what they made.

use std::collections::BTreeSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{get, put};

use crate::common::{Env, SOON, eventually};
use crate::endings::children;

#[remote(max_calls = 1)]
fn once() -> u32 {
    std::process::id()
}

#[remote(max_calls = 3)]
fn thrice() -> u32 {
    std::process::id()
}

pub(crate) fn max_calls_ends_a_worker_after_so_many(env: &Env) {
    let _running = env.start();
    let used = pid::remote(0).get().expect("a call");
    let pids: Vec<u32> = (0..10).map(|_| once::remote().get().expect("a call")).collect();
    assert_eq!(pids.iter().collect::<BTreeSet<_>>().len(), 10, "a process for each call: {pids:?}");
    assert!(!pids.contains(&std::process::id()) && !pids.contains(&used), "{pids:?}");
    assert!(eventually(|| !pids.iter().any(|pid| is_there(*pid))), "they have gone by themselves");

    let pids: Vec<u32> = (0..9).map(|_| thrice::remote().get().expect("a call")).collect();
    let runs: Vec<_> = pids.chunk_by(|one, other| one == other).map(<[u32]>::len).collect();
    assert_eq!(runs, [3, 3, 3], "{pids:?}");
    assert_eq!(pid::remote(0).get().expect("a call"), used, "others keep theirs");
    let at_once: Vec<_> = (0..8).map(|_| once::remote()).collect();
    let pids: BTreeSet<_> = get(&at_once).expect("calls").into_iter().collect();
    assert_eq!(pids.len(), 8, "{pids:?}");
    let other = once::options().max_calls(2);
    let pids: Vec<u32> = (0..4).map(|_| other.clone().remote().get().expect("a call")).collect();
    assert!(pids[0] == pids[1] && pids[1] != pids[2] && pids[2] == pids[3], "{pids:?}");
}

pub(crate) fn the_next_worker_is_started_ahead_of_its_call(env: &Env) {
    let _running = env.start();
    let mut last = once::remote().get().expect("a call");
    for _ in 0..10 {
        // Between two calls there is one process, which has run nothing yet.
        assert!(eventually(|| matches!(children()[..], [pid] if pid != last)), "{last}: {:?}", children());
        let ahead = children()[0];
        last = once::remote().get().expect("a call");
        assert_eq!(last, ahead);
    }
}

fn is_there(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[remote(max_calls = 1)]
fn leave_behind(n: u64) -> mobula::Result<(u32, ObjectRef<String>, ObjectRef<Vec<u64>>)> {
    Ok((std::process::id(), put(format!("small {n}"))?, put(vec![n; 20_000])?))
}

/// How many processes are waited for.
const ROUNDS: u64 = 1_000;

pub(crate) fn refs_outlive_the_process_that_made_them(env: &Env) {
    let _running = env.start();
    let start = Instant::now();
    for n in 0..ROUNDS {
        let made = leave_behind::remote(n);
        let (pid, small, large) = made.get_timeout(SOON).expect("a call");
        drop(made);
        assert!(eventually(|| !is_there(pid)), "process {pid} goes");
        assert_eq!(small.get_timeout(SOON).expect("it was handed over"), format!("small {n}"));
        let large = large.get_timeout(SOON).expect("it was handed over");
        assert!(large.len() == 20_000 && large.iter().all(|value| *value == n), "round {n}");
    }
    eprintln!("{ROUNDS} processes in {:?}", start.elapsed());
}

#[remote(isolation = "process")]
fn pid(pause_ms: u64) -> u32 {
    thread::sleep(Duration::from_millis(pause_ms));
    std::process::id()
}

/// How long a worker stays without work.
const IDLE: Duration = Duration::from_secs(10);

pub(crate) fn workers_are_used_again_and_end_when_idle(env: &Env) {
    let _running = env.start();
    let calls: Vec<_> = (0..4).map(|_| pid::remote(300)).collect();
    let pids: BTreeSet<_> = get(&calls).expect("calls").into_iter().collect();
    assert_eq!(pids.len(), 4, "four at once: {pids:?}");
    let first = pid::remote(0).get().expect("a call");
    for _ in 0..50 {
        assert_eq!(pid::remote(0).get().expect("a call"), first, "the one that is warmest");
    }
    let calls: Vec<_> = (0..4).map(|_| pid::remote(100)).collect();
    let again: BTreeSet<_> = get(&calls).expect("calls").into_iter().collect();
    assert!(again.is_subset(&pids), "{again:?} of {pids:?}");

    let start = Instant::now();
    let until = start + IDLE + Duration::from_secs(5);
    while pids.iter().any(|pid| is_there(*pid)) && Instant::now() < until {
        thread::sleep(Duration::from_millis(20));
        let some_gone = pids.iter().any(|pid| !is_there(*pid));
        assert!(!some_gone || start.elapsed() > IDLE / 2, "gone after {:?} already", start.elapsed());
    }
    assert!(!pids.iter().any(|pid| is_there(*pid)), "idle for {:?}", start.elapsed());
    assert!(!pids.contains(&pid::remote(0).get().expect("others come")));
}
