//! Memory that other processes can map, as those know it who can do without.

use bytes::Bytes;

use crate::error::Result;

/// Memory of this process that other processes can map.
pub(crate) trait Share: Sync {
    /// Writes `len` bytes there, aligned to 64. What `fill` gets holds anything; it is not called if there is
    /// an error.
    fn write(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Bytes>;
    /// Writes a copy of `bytes`, and counts it.
    fn copy(&self, bytes: &[u8]) -> Result<Bytes>;
    /// Whether these bytes lie there, in this process's memory or another's.
    fn holds(&self, bytes: &[u8]) -> bool;
    /// By how much it grows and shrinks where all processes of a session may have so much together.
    fn fit(&self, limit: u64);
    /// Gives memory that nobody uses back to the system.
    fn give_back(&self);
    /// Counts bytes that had to be copied elsewhere.
    fn note_copied(&self, len: usize);
    /// What it holds and did.
    fn stats(&self) -> ShareStats;
}

/// What such memory holds and did, in bytes unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShareStats {
    /// Addresses of this process's own segments, with memory behind them or not.
    pub(crate) segments: u64,
    /// Of these, what the system provides memory for.
    pub(crate) committed: u64,
    /// Of these, what is in extents.
    pub(crate) used: u64,
    /// Of what is committed, what is free.
    pub(crate) warm: u64,
    /// In no extent, with memory behind it or not.
    pub(crate) free: u64,
    /// The largest extent that the segments have room for.
    pub(crate) largest_free: u64,
    /// What is read of other processes' segments now.
    pub(crate) borrowed: u64,
    /// How many extents were written so far.
    pub(crate) written_count: u64,
    /// What was written so far.
    pub(crate) written: u64,
    /// What was copied so far: into extents, or because it lay at no fitting place.
    pub(crate) copied: u64,
    /// How many writes there was no memory for.
    pub(crate) refused_count: u64,
}
