//! The killer, and what it may kill.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use mobula::{Error, ErrorKind};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// A worker is killed so often.
const KILL_EACH: Duration = Duration::from_millis(50);

/// The processes that were killed here.
static KILLS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn kills() -> MutexGuard<'static, BTreeSet<i32>> {
    KILLS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a crash is one that was made here: the error names the process.
pub(crate) fn is_ours(error: &Error) -> bool {
    if error.kind() != ErrorKind::WorkerCrashed {
        return true;
    }
    let named = error.message().split_once("(process ").and_then(|(_, rest)| rest.split_once(')'));
    named.and_then(|(pid, _)| pid.parse().ok()).is_some_and(|pid: i32| kills().contains(&pid))
}

/// The children of this process that run.
pub(crate) fn children() -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("Linux lists processes");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| is_child(*pid)).collect()
}

fn is_child(pid: i32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let is_running = fields.next().is_some_and(|state| state != "Z" && state != "X");
    is_running && fields.next().is_some_and(|parent| parent == std::process::id().to_string())
}

/// Kills a child, and no other process that has got its number meanwhile.
fn kill_child(pid: i32) -> bool {
    let Some(found) = Pid::from_raw(pid) else { return false };
    let Ok(handle) = pidfd_open(found, PidfdFlags::empty()) else { return false };
    if !is_child(pid) {
        return false;
    }
    kills().insert(pid);
    pidfd_send_signal(&handle, Signal::KILL).is_ok()
}

pub(crate) fn kill_until(is_over: &AtomicBool, mut dice: Rng) -> u64 {
    let (start, mut kills) = (Instant::now(), 0);
    for tick in 1.. {
        thread::sleep((start + KILL_EACH * tick).saturating_duration_since(Instant::now()));
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        if let Some(pid) = dice.choice(children()) {
            kills += u64::from(kill_child(pid));
        }
    }
    kills
}
