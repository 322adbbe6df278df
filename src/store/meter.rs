//! How many bytes of calls are queued in this process, and who waits for that to fall.
//!
//! Each thread adds up its own changes and hands them in by [`STEP`] bytes, so that a call costs no
//! contended atomic; the sum is therefore off by at most one step for each thread.

use std::cell::Cell;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// What a thread may keep to itself, in bytes.
const STEP: i64 = 64 * 1024;

static QUEUED: AtomicI64 = AtomicI64::new(0);
static SLEEPERS: AtomicUsize = AtomicUsize::new(0);
static LOCK: Mutex<()> = Mutex::new(());
static FELL: Condvar = Condvar::new();

/// A thread's own part; handed in when the thread ends.
struct Own(Cell<i64>);

impl Drop for Own {
    fn drop(&mut self) {
        QUEUED.fetch_add(self.0.get(), Ordering::Relaxed);
    }
}

thread_local! {
    static OWN: Own = const { Own(Cell::new(0)) };
}

/// Counts the bytes of a call that is queued now.
pub(crate) fn charge(bytes: usize) {
    change(signed(bytes));
}

/// Counts out the bytes of a call that started or went.
pub(crate) fn settle(bytes: usize) {
    change(-signed(bytes));
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn change(bytes: i64) {
    let sum = OWN.try_with(|own| {
        let sum = own.0.get() + bytes;
        let handed_in = if sum.abs() >= STEP { sum } else { 0 };
        own.0.set(sum - handed_in);
        handed_in
    });
    let handed_in = sum.unwrap_or(bytes);
    if handed_in != 0 {
        QUEUED.fetch_add(handed_in, Ordering::Relaxed);
        if handed_in < 0 && SLEEPERS.load(Ordering::Relaxed) > 0 {
            FELL.notify_all();
        }
    }
}

/// The bytes queued, and a wait for them to fall.
#[derive(Debug)]
pub(crate) struct Meter;

impl Meter {
    /// Bytes of calls that are queued in this process.
    pub(crate) fn queued() -> usize {
        usize::try_from(QUEUED.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Sleeps until the bytes fall or `at_most` is over, whichever is first.
    pub(crate) fn wait(at_most: Duration) {
        SLEEPERS.fetch_add(1, Ordering::Relaxed);
        let guard = LOCK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(FELL.wait_timeout(guard, at_most));
        SLEEPERS.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_charged_and_settled_cancels_out() {
        let before = Meter::queued();
        std::thread::spawn(|| charge(10 * 1024 * 1024)).join().expect("no panic");
        assert!(Meter::queued() >= before + 9 * 1024 * 1024);
        std::thread::spawn(|| settle(10 * 1024 * 1024)).join().expect("no panic");
        assert!(Meter::queued() <= before + 1024 * 1024);
    }
}
