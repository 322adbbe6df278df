//! [`store_stats`]: what the object store holds and did.

use crate::store::{self, Share};

/// What the object store of this process holds and did, in bytes unless it says otherwise.
///
/// Objects below 1 KiB are in `bytes_session` alone: they are neither spilled nor listed one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct StoreStats {
    /// Memory of this process that others can map, in use or kept warm.
    pub bytes_shared: u64,
    /// Of that, what is in use.
    pub bytes_used: u64,
    /// What is read of other processes' memory now.
    pub bytes_borrowed: u64,
    /// What was written to shared memory so far.
    pub bytes_written: u64,
    /// What was copied so far: into shared memory, or because it lay at no fitting place.
    pub bytes_copied: u64,
    /// How often something was to be written so far, and there was no shared memory for it.
    pub writes_refused: u64,
    /// What all processes of the session have in their stores together, shared or not.
    pub bytes_session: u64,
    /// What they may have: [`Config::object_store_memory`](crate::Config::object_store_memory).
    pub bytes_limit: u64,
    /// Objects in memory that nobody reads now, with what of them lies in shared memory.
    pub bytes_idle: u64,
    /// How many those are.
    pub objects_idle: u64,
    /// Objects that are kept in memory, by views and by running calls.
    pub bytes_pinned: u64,
    /// How many those are.
    pub objects_pinned: u64,
    /// Objects that are in files alone.
    pub bytes_spilled: u64,
    /// How many those are.
    pub objects_spilled: u64,
    /// What left memory so far; an object counts each time.
    pub bytes_spilled_ever: u64,
    /// How often an object left memory so far.
    pub spills: u64,
    /// What was read back from files so far.
    pub bytes_restored: u64,
    /// How often an object was read back so far.
    pub restores: u64,
    /// Of the shared memory of this process that is not in use, the part outside of the largest piece: 0 if
    /// it is in one piece, near 1 if it is in crumbs.
    pub fragmentation: f64,
    /// The largest objects in memory, largest first.
    pub largest: [Option<Holder>; 3],
}

/// An object in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Holder {
    /// What it takes.
    pub bytes: u64,
    /// The function or method that made it, or `put`.
    pub function: &'static str,
}

/// What the object store of this process holds and did so far. It looks at each object of at least 1 KiB.
///
/// ```
/// let before = mobula::store_stats();
/// let array = mobula::Array::build([100_000], |all: &mut [f64]| all.fill(1.0))?;
/// let after = mobula::store_stats();
/// if cfg!(feature = "process") {
///     assert_eq!(after.bytes_written - before.bytes_written, 800_000);
/// }
/// assert_eq!(after.bytes_copied, before.bytes_copied);
/// # Ok::<(), mobula::Error>(())
/// ```
pub fn store_stats() -> StoreStats {
    let shared = store::shared_memory().map(Share::stats).unwrap_or_default();
    let spill = store::spill_stats();
    let mut largest = store::largest(3).into_iter().map(|(bytes, function)| Holder { bytes, function });
    let outside = shared.free - shared.largest_free;
    StoreStats {
        bytes_shared: shared.committed,
        bytes_used: shared.used,
        bytes_borrowed: shared.borrowed,
        bytes_written: shared.written,
        bytes_copied: shared.copied,
        writes_refused: shared.refused_count,
        bytes_session: store::room().sum(),
        bytes_limit: store::room().limit(),
        bytes_idle: spill.here,
        objects_idle: spill.here_count,
        bytes_pinned: spill.pinned,
        objects_pinned: spill.pinned_count,
        bytes_spilled: spill.away,
        objects_spilled: spill.away_count,
        bytes_spilled_ever: spill.spilled,
        spills: spill.spilled_count,
        bytes_restored: spill.restored,
        restores: spill.restored_count,
        fragmentation: if shared.free == 0 { 0.0 } else { outside as f64 / shared.free as f64 },
        largest: [(); 3].map(|()| largest.next()),
    }
}
