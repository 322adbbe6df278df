//! Waiting on a thread for objects to be complete.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicIsize, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam::sync::{Parker, Unparker};

use super::frame::{Station, with_frame};
use super::waiting::{self, Waiting};
use super::{Pause, ended, with_current};
use crate::error::{Error, ErrorKind, Result};
use crate::event::WaitReason;
use crate::store::{Listener, Object, Waiter};

/// Looks before the first yield; more pay only where both threads have a core to themselves.
const SPINS: usize = 20;
/// How long a thread yields before it parks: about what it costs to be woken. By time and not by count, so
/// that where others want the core one yield is enough.
const PATIENCE: Duration = Duration::from_micros(30);
/// How many threads may spin at once; more would take cores from those that work.
static SPINNING: AtomicUsize = AtomicUsize::new(0);

/// Spins until `done` or the spins are over, if a core can be spared.
pub(crate) fn spin(mut done: impl FnMut() -> bool) -> bool {
    if SPINNING.fetch_add(1, Ordering::Relaxed) >= cores() {
        SPINNING.fetch_sub(1, Ordering::Relaxed);
        return done();
    }
    let found = spin_then_yield(&mut done);
    SPINNING.fetch_sub(1, Ordering::Relaxed);
    found
}

fn spin_then_yield(done: &mut impl FnMut() -> bool) -> bool {
    for _ in 0..SPINS {
        std::hint::spin_loop();
        if done() {
            return true;
        }
    }
    let since = Instant::now();
    while since.elapsed() < PATIENCE {
        std::thread::yield_now();
        if done() {
            return true;
        }
    }
    false
}

fn cores() -> usize {
    static CORES: AtomicUsize = AtomicUsize::new(0);
    match CORES.load(Ordering::Relaxed) {
        0 => {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            CORES.store(cores, Ordering::Relaxed);
            cores
        }
        cores => cores,
    }
}

/// Wakes its thread when enough objects are complete, or one that matters has failed.
pub(crate) struct Gather {
    unparker: Unparker,
    missing: AtomicIsize,
    wake_on_failure: bool,
    /// One has failed, so that each that completes may be the last before it.
    has_failed: AtomicBool,
}

/// The token of a wait for the own call's end.
const OWN: usize = usize::MAX;

impl Gather {
    fn fail(&self) {
        if self.wake_on_failure {
            self.has_failed.store(true, Ordering::SeqCst);
        }
    }
}

impl Listener for Gather {
    fn ready(&self, token: usize, failed: bool) {
        if failed {
            self.fail();
        }
        let enough = token == OWN || self.missing.fetch_sub(1, Ordering::AcqRel) == 1;
        if enough || self.has_failed.load(Ordering::SeqCst) {
            self.unparker.unpark();
        }
    }
}

/// What a wait is for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// How many must be complete.
    pub(crate) count: usize,
    /// Whether the first failure in list order, with all before it complete, ends the wait.
    pub(crate) or_failure: bool,
    /// When to give up.
    pub(crate) until: Option<Instant>,
}

thread_local! {
    static PARKER: Parker = Parker::new();
}

/// Blocks until what is wanted of `objects` is there; `false` when the time is over first.
///
/// `BlockingInAsync` on a shared arbiter, `Deadlock` if waiting would close a circle, and the error of
/// the call that waits if that call is cancelled meanwhile.
pub(crate) fn wait_for(objects: &[Arc<dyn Object>], wanted: Wanted) -> Result<bool> {
    wait_on(objects, wanted, || waiting::results(objects), wanted.count, || objects.to_vec())
}

/// As [`wait_for`], where `objects` only signal what is really waited for, which `reason` says: `needed` of
/// `on`.
pub(crate) fn wait_on(
    objects: &[Arc<dyn Object>],
    wanted: Wanted,
    reason: impl FnOnce() -> WaitReason,
    needed: usize,
    on: impl FnOnce() -> Vec<Arc<dyn Object>>,
) -> Result<bool> {
    if is_there(objects, wanted) || spin(|| is_there(objects, wanted)) {
        return Ok(true);
    }
    let (call, base) = with_frame(|frame| (frame.call().cloned(), frame.base().clone()));
    let Some(call) = call else {
        let _waiting = Waiting::begin(None, reason());
        return park(objects, wanted, None);
    };
    let on = on();
    let pause = Pause { call: &call, base: &base, on: &on, needed, blocks: true };
    let runtime = with_current(Arc::clone).unwrap_or_else(|| Err(ended()))?;
    let token = runtime.pause(&pause).map_err(|error| call.head().placed(error))?;
    let waiting = Waiting::begin(Some(&call), reason());
    let result = park(objects, wanted, Some(&call));
    drop(waiting);
    runtime.resume(&pause, token);
    result
}

/// `BlockingInAsync` where nothing may block.
pub(crate) fn may_block() -> Result<()> {
    if with_frame(|frame| frame.base().station == Station::Arbiter) {
        let text = "a blocking get or wait on a thread that many calls share: use `.await`";
        return Err(Error::new(ErrorKind::BlockingInAsync, text));
    }
    Ok(())
}

fn is_there(objects: &[Arc<dyn Object>], wanted: Wanted) -> bool {
    if wanted.count == objects.len() {
        for object in objects {
            if !object.head().is_complete() {
                return false;
            }
            if wanted.or_failure && object.head().has_failed() {
                return true;
            }
        }
        return true;
    }
    objects.iter().filter(|object| object.head().is_complete()).take(wanted.count).count() == wanted.count
}

/// Parks until what is wanted is there, the time is over, or the waiting call itself is cancelled.
fn park(objects: &[Arc<dyn Object>], wanted: Wanted, own: Option<&Arc<dyn Object>>) -> Result<bool> {
    PARKER.with(|parker| {
        let gather = Arc::new(Gather {
            unparker: parker.unparker().clone(),
            missing: AtomicIsize::new(isize::try_from(wanted.count).unwrap_or(isize::MAX)),
            wake_on_failure: wanted.or_failure,
            has_failed: AtomicBool::new(false),
        });
        let waiter = |token| Waiter { listener: gather.clone(), token };
        if let Some(own) = own
            && own.head().listen(waiter(OWN)).is_some()
        {
            return Err(end_of(own));
        }
        for object in objects {
            if object.head().listen(waiter(0)).is_some() {
                gather.missing.fetch_sub(1, Ordering::AcqRel);
                if object.head().has_failed() {
                    gather.fail();
                }
            }
        }
        let result = sleep(parker, objects, wanted, own);
        let listener = Arc::as_ptr(&gather).cast::<()>();
        if !matches!(result, Ok(true)) || wanted.count < objects.len() || wanted.or_failure {
            for object in objects {
                object.head().unlisten(listener);
            }
        }
        if let Some(own) = own {
            own.head().unlisten(listener);
        }
        result
    })
}

fn sleep(
    parker: &Parker,
    objects: &[Arc<dyn Object>],
    wanted: Wanted,
    own: Option<&Arc<dyn Object>>,
) -> Result<bool> {
    loop {
        if is_there(objects, wanted) {
            return Ok(true);
        }
        if let Some(own) = own
            && own.head().is_complete()
        {
            return Err(end_of(own));
        }
        match wanted.until {
            None => parker.park(),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                if left == Duration::ZERO {
                    return Ok(false);
                }
                parker.park_timeout(left);
            }
        }
    }
}

/// Why a call that still runs is over.
fn end_of(own: &Arc<dyn Object>) -> Error {
    let cancelled = || Error::new(ErrorKind::Cancelled, "the call was cancelled");
    own.error().cloned().unwrap_or_else(cancelled)
}
