//! Time is passed in: decisions take `now`, and the drivers ask a [`Clock`] for it.

use std::fmt;
use std::time::Instant;

/// Where a driver reads the time.
pub(crate) trait Clock: Send + Sync + fmt::Debug {
    /// The present moment on a clock that never goes back.
    fn now(&self) -> Instant;
}

/// The machine's monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
}
