//! How many threads there are, and how many there may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Threads of one session, counted.
#[derive(Debug)]
pub(crate) struct Threads {
    live: AtomicUsize,
    peak: AtomicUsize,
    max: usize,
    /// Those of them that do not listen to the end of the session.
    deaf: Arc<AtomicUsize>,
}

/// The right to one thread; given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit(Arc<Threads>);

impl Threads {
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { live: AtomicUsize::new(0), peak: AtomicUsize::new(0), max, deaf: Arc::default() })
    }

    /// The right to one more thread, unless the cap is reached.
    pub(crate) fn reserve(self: &Arc<Self>) -> Option<Permit> {
        let more = |live| (live < self.max).then_some(live + 1);
        let before = self.live.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        self.peak.fetch_max(before + 1, Ordering::Relaxed);
        Some(Permit(self.clone()))
    }

    /// How many there are now.
    pub(crate) fn live(&self) -> usize {
        self.live.load(Ordering::Acquire)
    }

    /// How many there were at most.
    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Ordering::Relaxed)
    }

    /// How many there may be.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Where threads that do not listen to the end of the session count themselves.
    pub(crate) fn deaf(&self) -> &Arc<AtomicUsize> {
        &self.deaf
    }

    /// Waits until none is left, not counting those that do not listen, and `idle` holds; or until the
    /// time is over. Whether none is left at all.
    pub(crate) fn wait_for_none(&self, until: Instant, idle: impl Fn() -> bool) -> bool {
        let mut nap = Duration::from_micros(20);
        while self.live() > self.deaf.load(Ordering::Acquire) || !idle() {
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(nap);
            nap = (nap * 2).min(Duration::from_millis(1));
        }
        self.live() == 0
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.live.fetch_sub(1, Ordering::AcqRel);
    }
}
