//! Which parts of this process's segments are free: numbers only, no memory is touched here.
//!
//! ```text
//! segment   0 ─── used ── free ── used ─── warm ─────────────── size
//!             └──── extents, by best fit ──┘ └─ never touched ─┘
//! ```
//!
//! Invariants:
//! - extents of a segment are disjoint, and lie below its `warm` end;
//! - what is below was committed, so that whoever takes an extent can write it;
//! - an object larger than an ordinary segment has a segment of its own;
//! - an index is never used twice, so an old extent names no new bytes.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use range_alloc::RangeAllocator;

use super::region::Region;
use crate::store::room::Room;

/// Extents begin at multiples of this: a cache line, and what vector instructions want.
pub(super) const ALIGN: u64 = 64;

/// The sizes by which a pool grows and shrinks, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// An ordinary segment.
    pub(super) segment: u64,
    /// By how much it is committed at once.
    pub(super) chunk: u64,
    /// How much may be warm and free for writes to come.
    pub(super) ahead_max: u64,
    /// How much of ordinary segments without extents is kept for good.
    pub(super) kept_max: u64,
    /// How much beyond lingers.
    pub(super) lingering_max: u64,
    /// How long it does.
    pub(super) linger: Duration,
}

impl Sizes {
    pub(super) const DEFAULT: Self = Self {
        // 1,000 descriptors, which a process may have at least, make 64 GB; untouched it costs nothing.
        segment: 64 << 20,
        // A huge page; large enough that the system call does not count, and done in half a millisecond.
        chunk: 2 << 20,
        ahead_max: 64 << 20,
        kept_max: 128 << 20,
        // Who writes one large array after the other finds the last one's memory warm.
        lingering_max: 1 << 30,
        linger: Duration::from_secs(1),
    };

    /// Such that a limit is shared by several processes, each with segments of its own: of 32 pieces no
    /// smaller than a quarter of a megabyte.
    pub(super) fn within(limit: u64) -> Self {
        const SEGMENT_MIN: u64 = 256 << 10;
        let largest = Self::DEFAULT;
        let segment = (limit / 32).next_power_of_two().clamp(SEGMENT_MIN, largest.segment);
        Self {
            segment,
            chunk: (segment / 4).min(largest.chunk),
            ahead_max: (limit / 8).min(largest.ahead_max),
            kept_max: (limit / 8).min(largest.kept_max),
            lingering_max: (limit / 4).min(largest.lingering_max),
            linger: largest.linger,
        }
    }
}

/// The segments and what is free in them.
pub(super) struct Pool {
    sizes: Sizes,
    segments: BTreeMap<u32, Segment>,
    next: u32,
    /// The segment that is being committed: it stays.
    growing: Option<u32>,
    /// Bytes that the system provides, or is being asked for.
    committed: u64,
    /// Where they are counted.
    room: Arc<Room>,
}

struct Segment {
    region: Arc<dyn Region>,
    /// Over what is warm.
    free: RangeAllocator<u64>,
    warm: u64,
    used: u64,
    /// Since when it has no extent, if it had one.
    idle_since: Option<Instant>,
}

/// An extent that was handed out.
pub(super) struct Taken {
    pub(super) index: u32,
    pub(super) range: Range<u64>,
    pub(super) region: Arc<dyn Region>,
}

/// A segment that was taken out. Its memory is counted until nobody has it mapped.
pub(super) struct Parted {
    pub(super) index: u32,
    pub(super) region: Arc<dyn Region>,
    pub(super) bytes: u64,
}

/// What has to be committed.
pub(super) struct Growth {
    /// The segment, if there is one with room.
    pub(super) segment: Option<(u32, Arc<dyn Region>)>,
    /// The size of the segment.
    pub(super) size: u64,
    pub(super) range: Range<u64>,
}

/// How full it is, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) segments: u64,
    pub(super) committed: u64,
    pub(super) used: u64,
    pub(super) warm: u64,
    pub(super) largest_free: u64,
}

impl Segment {
    fn size(&self) -> u64 {
        self.region.len() as u64
    }

    /// Where the last extent ends.
    fn tail(&self) -> u64 {
        self.free.allocated_ranges().last().map_or(0, |range| range.end)
    }

    fn take(&mut self, index: u32, len: u64) -> Option<Taken> {
        let range = self.free.allocate_range(len).ok()?;
        self.used += len;
        self.idle_since = None;
        Some(Taken { index, range, region: self.region.clone() })
    }

    fn largest_free(&self) -> u64 {
        let (mut at, mut largest) = (0, 0);
        for range in self.free.allocated_ranges() {
            largest = largest.max(range.start - at);
            at = range.end;
        }
        largest.max(self.size() - at)
    }
}

impl Pool {
    pub(super) fn new(sizes: Sizes, room: Arc<Room>) -> Self {
        Self { sizes, segments: BTreeMap::new(), next: 0, growing: None, committed: 0, room }
    }

    pub(super) fn is_untouched(&self) -> bool {
        self.next == 0
    }

    /// By how much it grows and shrinks from now on.
    pub(super) fn set_sizes(&mut self, sizes: Sizes) {
        self.sizes = sizes;
    }

    pub(super) fn region(&self, index: u32) -> Option<&Arc<dyn Region>> {
        self.segments.get(&index).map(|segment| &segment.region)
    }

    /// An extent of what is warm; `len` is a multiple of [`ALIGN`] and not zero.
    pub(super) fn take(&mut self, len: u64) -> Option<Taken> {
        let ordinary = self.sizes.segment;
        let free = self.segments.iter_mut().filter(|(_, segment)| segment.warm - segment.used >= len);
        if len <= ordinary {
            let mut free = free.filter(|(_, segment)| segment.size() <= ordinary);
            return free.find_map(|(index, segment)| segment.take(*index, len));
        }
        // Twice the size at most: a small object must not hold a large one's memory.
        let fits = |(_, segment): &(&u32, &mut Segment)| segment.used == 0 && segment.size() / 2 <= len;
        let mut idle: Vec<_> = free.filter(fits).collect();
        idle.sort_by_key(|(_, segment)| segment.size());
        idle.into_iter().find_map(|(index, segment)| segment.take(*index, len))
    }

    /// What to commit so that `take` of `len` bytes succeeds; `None` if that is beyond numbers.
    pub(super) fn growth(&self, len: u64) -> Option<Growth> {
        let Sizes { segment: size, chunk, .. } = self.sizes;
        if len > size {
            let size = len.checked_next_multiple_of(chunk)?;
            return Some(Growth { segment: None, size, range: 0..size });
        }
        let cold = |segment: &Segment| segment.size() == size && segment.warm < size;
        let mut cold = self.segments.iter().filter(|(_, segment)| cold(segment));
        let fitting = cold.find_map(|(index, segment)| {
            let end = segment.tail() + len;
            (end <= size).then(|| {
                let range = segment.warm..end.next_multiple_of(chunk).min(size);
                Growth { segment: Some((*index, segment.region.clone())), size, range }
            })
        });
        let fresh = || Growth { segment: None, size, range: 0..len.next_multiple_of(chunk).min(size) };
        Some(fitting.unwrap_or_else(fresh))
    }

    /// What to commit for writes to come, after `written` bytes of ordinary ones: as much again, up to a
    /// bound.
    pub(super) fn ahead(&self, written: u64) -> Option<Growth> {
        let Sizes { segment: size, chunk, ahead_max, .. } = self.sizes;
        let ordinary = || self.segments.iter().filter(|(_, segment)| segment.size() == size);
        let warm: u64 = ordinary().map(|(_, segment)| segment.warm - segment.used).sum();
        if warm >= written || warm + chunk > ahead_max || self.room.sum() + chunk > self.room.limit() {
            return None;
        }
        let cold = ordinary().find(|(_, segment)| segment.warm < size).map(|(index, segment)| Growth {
            segment: Some((*index, segment.region.clone())),
            size,
            range: segment.warm..(segment.warm + chunk).min(size),
        });
        Some(cold.unwrap_or(Growth { segment: None, size, range: 0..chunk.min(size) }))
    }

    /// Counts what is about to be committed; `false` if the limit forbids it.
    pub(super) fn reserve(&mut self, growth: &Growth) -> bool {
        let bytes = growth.range.end - growth.range.start;
        if !self.room.take(bytes) {
            return false;
        }
        self.committed += bytes;
        if let Some((index, _)) = growth.segment {
            self.growing = Some(index);
        }
        true
    }

    /// Takes back what `reserve` counted: it could not be committed.
    pub(super) fn withdraw(&mut self, growth: &Growth) {
        let bytes = growth.range.end - growth.range.start;
        self.committed -= bytes;
        self.room.give(bytes);
        self.growing.take_if(|index| growth.segment.as_ref().is_some_and(|(grown, _)| grown == index));
    }

    /// The index of a segment to be made; `None` after 2³² of them.
    pub(super) fn next_index(&mut self) -> Option<u32> {
        let index = self.next;
        self.next = index.checked_add(1)?;
        Some(index)
    }

    /// What `reserve` counted is there now.
    pub(super) fn grown(&mut self, index: u32, region: Arc<dyn Region>, warm: u64) {
        let free = RangeAllocator::new(0..0);
        let fresh = Segment { region, free, warm: 0, used: 0, idle_since: None };
        let segment = self.segments.entry(index).or_insert(fresh);
        segment.free.grow_to(warm);
        segment.warm = warm;
        self.growing.take_if(|growing| *growing == index);
    }

    /// Takes an extent back; tells whether it was the last one of its segment.
    pub(super) fn free(&mut self, index: u32, range: Range<u64>, now: Instant) -> bool {
        let segment = self.segments.get_mut(&index).expect("a segment stays while it has extents");
        segment.used -= range.end - range.start;
        segment.free.free_range(range);
        if segment.used == 0 {
            segment.idle_since = Some(now);
        }
        segment.used == 0
    }

    /// Segments without extents beyond those that are kept for good, the latest first.
    fn lingering(&self) -> Vec<(u32, Instant, u64)> {
        let mut kept = 0;
        let mut lingering = Vec::new();
        for (index, segment) in &self.segments {
            let Some(since) = segment.idle_since.filter(|_| self.growing != Some(*index)) else {
                continue;
            };
            if segment.size() <= self.sizes.segment && kept + segment.warm <= self.sizes.kept_max {
                kept += segment.warm;
            } else {
                lingering.push((*index, since, segment.warm));
            }
        }
        lingering.sort_by_key(|(_, since, _)| Reverse(*since));
        lingering
    }

    /// Takes out what is to be given back to the system.
    pub(super) fn surplus(&mut self, now: Instant) -> Vec<Parted> {
        let mut sum = 0;
        let mut over = self.lingering();
        over.retain(|(_, since, bytes)| {
            sum += bytes;
            sum > self.sizes.lingering_max || now.saturating_duration_since(*since) >= self.sizes.linger
        });
        over.into_iter().filter_map(|(index, ..)| self.remove(index)).collect()
    }

    /// When there will be a surplus if nothing happens until then.
    pub(super) fn next_surplus(&self) -> Option<Instant> {
        self.lingering().last().map(|(_, since, _)| *since + self.sizes.linger)
    }

    /// Takes out whatever has no extent.
    pub(super) fn idle(&mut self) -> Vec<Parted> {
        let idle = self.segments.iter().filter(|(_, segment)| segment.used == 0).map(|(index, _)| *index);
        let idle: Vec<_> = idle.filter(|index| self.growing != Some(*index)).collect();
        idle.into_iter().filter_map(|index| self.remove(index)).collect()
    }

    fn remove(&mut self, index: u32) -> Option<Parted> {
        let segment = self.segments.remove(&index)?;
        self.committed -= segment.warm;
        Some(Parted { index, region: segment.region, bytes: segment.warm })
    }

    pub(super) fn fill(&self) -> Fill {
        let mut fill = Fill { committed: self.committed, ..Fill::default() };
        for segment in self.segments.values() {
            fill.segments += segment.size();
            fill.used += segment.used;
            fill.warm += segment.warm - segment.used;
            fill.largest_free = fill.largest_free.max(segment.largest_free());
        }
        fill
    }
}
