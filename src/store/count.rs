//! A count that many threads change at once and few read.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

const SHARDS: usize = 16;

#[repr(align(64))]
#[derive(Debug)]
struct Shard(AtomicI64);

/// A number kept in shards, one cache line each, so that counting costs no contention.
#[derive(Debug)]
pub(crate) struct Tally([Shard; SHARDS]);

thread_local! {
    static SHARD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS
    };
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self([const { Shard(AtomicI64::new(0)) }; SHARDS])
    }

    /// Adds `change` on this thread's shard.
    pub(crate) fn add(&self, change: i64) {
        let shard = SHARD.try_with(|shard| *shard).unwrap_or(0);
        self.0[shard].0.fetch_add(change, Ordering::Relaxed);
    }

    /// The sum; exact once nobody counts any more.
    pub(crate) fn sum(&self) -> i64 {
        self.0.iter().map(|shard| shard.0.load(Ordering::Relaxed)).sum()
    }
}
