//! The bytes that processes share: each writes segments of its own, and reads those of others.
//!
//! ```text
//!   writer                                             reader
//!   write ─► extent ─► Bytes      locate ─► (segment, offset, length) ─► borrow ─► Bytes
//!               ▲       └ last clone dropped: free                        └ last clone dropped: released
//!               └──────────── kept while it is lent ◄───────────────────────────────┘
//! ```
//!
//! A reader's bytes stay as they are because of two things: its mapping lasts as long as they do, also
//! when the writer has gone, and the writer keeps its own [`Bytes`] of the extent until it hears of the
//! release. The second is a promise between the processes of one program, as their messages are.
//!
//! A segment that its writer gives back, or whose writer has gone, is forgotten by a reader as soon as
//! nothing of it is borrowed there. Each process tells those to whom it showed it, by way of a [`Witness`]:
//! memory is free when the last one has forgotten it.
//!
//! Writing what was never written before costs the system several times the copy. So extents that were
//! freed come first, and a thread touches memory ahead, from the first write on; it ends when there is
//! enough.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::slice;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::pool::{ALIGN, Growth, Pool, Sizes, Taken};
use super::region::{self, Region};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Extent, SegmentId, WorkerId};
use crate::store::share::{Share, ShareStats};
use bytes::Bytes;

/// What this process writes for others, and what it has mapped of theirs.
pub(crate) struct Arena {
    state: Mutex<State>,
    /// A growth ended.
    grown: Condvar,
    make: Make,
    /// Whether a thread touches memory ahead.
    ahead: bool,
    borrowed: AtomicU64,
    written_count: AtomicU64,
    written: AtomicU64,
    copied: AtomicU64,
    refused_count: AtomicU64,
}

/// Makes a region of a size.
type Make = Box<dyn Fn(usize) -> Result<Arc<dyn Region>> + Send + Sync>;

struct State {
    owner: WorkerId,
    pool: Pool,
    sizes: Sizes,
    /// What was written to ordinary segments so far.
    written_ordinary: u64,
    /// Whether a thread commits memory of an ordinary segment: one at a time does.
    growing: bool,
    /// Whether the system refused memory that was to be touched ahead; until it gives some again, only
    /// writes ask.
    refused: bool,
    /// Wakes the thread that works ahead, while there is one.
    warmer: Option<SyncSender<()>>,
    /// What was written and can be borrowed by this process itself, by index and offset.
    live: BTreeMap<(u32, u64), Weak<Own>>,
    attached: BTreeMap<SegmentId, Arc<dyn Region>>,
    /// Those that their writers gave back, or that have gone, of which something is still borrowed: the
    /// last to drop that forgets them.
    orphans: BTreeSet<SegmentId>,
    /// The address of each segment, own or attached, to its size and id.
    places: BTreeMap<usize, (usize, SegmentId)>,
    witnesses: Vec<Weak<dyn Witness>>,
}

/// Hears of segments that this process has no more, so that those whom it showed them forget them too.
pub(crate) trait Witness: Send + Sync {
    /// Nothing of these is lent, borrowed or mapped here, and no other will have their ids. Told where
    /// something was dropped or written, while the arena is not locked.
    fn gone(&self, segments: &[SegmentId]);
}

/// Segments that were forgotten, until they are unmapped and told of where no lock is held.
type Gone = Vec<(SegmentId, Arc<dyn Region>)>;

/// An extent of this process; freed when dropped, so once.
struct Own {
    arena: Arc<Arena>,
    taken: Taken,
    len: usize,
}

impl Drop for Own {
    fn drop(&mut self) {
        let Taken { index, range, .. } = &self.taken;
        let mut state = self.arena.lock();
        state.live.remove(&(*index, range.start));
        let now = Instant::now();
        if !state.pool.free(*index, range.clone(), now) {
            return;
        }
        let (surplus, next) = state.give_back(now);
        drop(state);
        self.arena.part_with(surplus);
        if next.is_some() {
            self.arena.wake();
        }
    }
}

/// What an extent's `Bytes` own.
struct Written(Arc<Own>);

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        let Own { taken, len, .. } = &*self.0;
        // SAFETY: the pool hands out an extent once until it is freed, which `Own` does when it is dropped;
        // its filling is over, since `Written` is made after it. The region lasts as long as `taken`.
        unsafe { slice::from_raw_parts(taken.region.base().add(taken.range.start as usize), *len) }
    }
}

/// What borrowed `Bytes` own.
struct Lent<F: FnOnce()> {
    arena: Arc<Arena>,
    source: Source,
    range: Range<usize>,
    released: Option<F>,
}

enum Source {
    Own(Arc<Own>),
    /// `None` once it is dropped.
    Attached(SegmentId, Option<Arc<dyn Region>>),
}

impl<F: FnOnce()> AsRef<[u8]> for Lent<F> {
    fn as_ref(&self) -> &[u8] {
        let base = match &self.source {
            Source::Own(own) => own.taken.region.base(),
            Source::Attached(_, Some(region)) => region.base(),
            Source::Attached(_, None) => unreachable!("it is taken out by the drop alone"),
        };
        // SAFETY: `borrow` checked that the range lies in the region, which lasts as long as `source`. An
        // own extent is written no more while `Own` lives; an attached one while its writer knows of the
        // loan, which ends when `released` tells it.
        unsafe { slice::from_raw_parts(base.add(self.range.start), self.range.len()) }
    }
}

impl<F: FnOnce()> Drop for Lent<F> {
    fn drop(&mut self) {
        self.arena.borrowed.fetch_sub(self.range.len() as u64, Ordering::Relaxed);
        if let Some(released) = self.released.take() {
            released();
        }
        if let Source::Attached(segment, region) = &mut self.source {
            self.arena.let_go(*segment, region.take());
        }
    }
}

fn full(len: usize) -> Error {
    Error::new(ErrorKind::StoreFull, format!("the object store has no room for {len} bytes"))
}

fn malformed(extent: Extent, what: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("{extent:?} {what}"))
}

impl State {
    /// What to touch ahead, if there is anything.
    fn ahead(&self) -> Option<Growth> {
        if self.growing || self.refused { None } else { self.pool.ahead(self.written_ordinary) }
    }

    fn grown(&mut self, index: u32, region: Arc<dyn Region>, warm: u64) {
        let id = SegmentId { worker: self.owner, index };
        self.places.insert(region.base().addr(), (region.len(), id));
        self.pool.grown(index, region, warm);
        self.refused = false;
    }

    /// Forgets what is to be given back, and tells when more will be; the regions are unmapped when
    /// dropped, which takes time and needs no lock.
    fn give_back(&mut self, now: Instant) -> (Gone, Option<Instant>) {
        let surplus = self.pool.surplus(now);
        (self.forget(surplus), self.pool.next_surplus())
    }

    /// Forgets a segment that its writer has no more if nothing of it is borrowed.
    fn forget_orphan(&mut self, segment: SegmentId) -> Option<(SegmentId, Arc<dyn Region>)> {
        let is_unused = |region: &Arc<dyn Region>| Arc::strong_count(region) == 1;
        if !self.orphans.contains(&segment) || !self.attached.get(&segment).is_some_and(is_unused) {
            return None;
        }
        self.orphans.remove(&segment);
        let region = self.attached.remove(&segment)?;
        self.places.remove(&region.base().addr());
        Some((segment, region))
    }

    fn forget(&mut self, segments: Vec<(u32, Arc<dyn Region>)>) -> Gone {
        let mut gone = Gone::new();
        for (index, region) in segments {
            self.places.remove(&region.base().addr());
            gone.push((SegmentId { worker: self.owner, index }, region));
        }
        gone
    }

    /// Forgets those of other processes as soon as nothing of them is borrowed: at once, or in `let_go`.
    fn orphan(&mut self, segments: &[SegmentId]) -> Gone {
        self.orphans.extend(segments.iter().filter(|segment| self.attached.contains_key(segment)));
        segments.iter().filter_map(|segment| self.forget_orphan(*segment)).collect()
    }
}

impl Arena {
    /// An empty arena; it makes and touches nothing before the first write.
    pub(crate) fn new(owner: WorkerId) -> Arc<Self> {
        // Miri has no mappings, and wants no thread to outlive the main one.
        let make: Make = if cfg!(miri) { Box::new(region::heap) } else { Box::new(region::create) };
        Self::with(owner, Sizes::DEFAULT, make, !cfg!(miri))
    }

    fn with(owner: WorkerId, sizes: Sizes, make: Make, ahead: bool) -> Arc<Self> {
        let state = State {
            owner,
            pool: Pool::new(sizes),
            sizes,
            written_ordinary: 0,
            growing: false,
            refused: false,
            warmer: None,
            live: BTreeMap::new(),
            attached: BTreeMap::new(),
            orphans: BTreeSet::new(),
            places: BTreeMap::new(),
            witnesses: Vec::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            grown: Condvar::new(),
            make,
            ahead,
            borrowed: AtomicU64::new(0),
            written_count: AtomicU64::new(0),
            written: AtomicU64::new(0),
            copied: AtomicU64::new(0),
            refused_count: AtomicU64::new(0),
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whose segments are written here; `AlreadyInitialized` once there is one of another's name.
    pub(crate) fn set_owner(&self, owner: WorkerId) -> Result<()> {
        let mut state = self.lock();
        if state.owner != owner && !state.pool.is_untouched() {
            let message = format!("segments were written as {} already", state.owner);
            return Err(Error::new(ErrorKind::AlreadyInitialized, message));
        }
        state.owner = owner;
        Ok(())
    }

    /// Has no more memory committed than this; beyond, a write is `StoreFull`.
    #[cfg(test)]
    pub(crate) fn set_limit(&self, bytes: u64) {
        self.lock().pool.set_limit(bytes);
    }

    /// Writes `len` bytes, aligned to 64, into this process's segments; the extent is freed when the last
    /// clone or slice of the bytes is dropped.
    ///
    /// What `fill` gets holds anything: zeros, or what was there before. It is not called if there is an
    /// error: `StoreFull` beyond the limit or what the system has, `Io` if it refuses a segment.
    pub(crate) fn write(self: &Arc<Self>, len: usize, fill: impl FnOnce(&mut [u8])) -> Result<Bytes> {
        if len == 0 {
            fill(&mut []);
            return Ok(Bytes::new());
        }
        let taken = self.take(len).inspect_err(|_| {
            self.refused_count.fetch_add(1, Ordering::Relaxed);
        })?;
        let own = Own { arena: self.clone(), taken, len };
        let Taken { index, range, region } = &own.taken;
        // SAFETY: the pool hands out an extent once until it is freed, here by `own`; it is committed, and
        // it can be neither located nor borrowed before its filling is over.
        fill(unsafe { slice::from_raw_parts_mut(region.base().add(range.start as usize), len) });
        self.written_count.fetch_add(1, Ordering::Relaxed);
        self.written.fetch_add(len as u64, Ordering::Relaxed);
        let key = (*index, range.start);
        let own = Arc::new(own);
        let mut state = self.lock();
        state.live.insert(key, Arc::downgrade(&own));
        if len as u64 <= state.sizes.segment {
            state.written_ordinary += len as u64;
        }
        let wants_more = state.ahead().is_some();
        drop(state);
        if wants_more {
            self.wake();
        }
        Ok(Bytes::from_owner(Written(own)))
    }

    /// Writes a copy of `bytes`, as [`write`](Self::write) does, and counts it. Any error is `StoreFull`: who
    /// sends the copy takes `Io` for the end of the connection.
    pub(crate) fn copy(self: &Arc<Self>, bytes: &[u8]) -> Result<Bytes> {
        let copy = self.write(bytes.len(), |extent| extent.copy_from_slice(bytes)).map_err(|error| {
            if error.kind() == ErrorKind::StoreFull { error } else { full(bytes.len()).caused_by(error) }
        })?;
        self.note_copied(bytes.len());
        Ok(copy)
    }

    /// Counts bytes that had to be copied.
    pub(crate) fn note_copied(&self, len: usize) {
        self.copied.fetch_add(len as u64, Ordering::Relaxed);
    }

    fn take(self: &Arc<Self>, bytes: usize) -> Result<Taken> {
        let len = (bytes as u64).checked_next_multiple_of(ALIGN).ok_or_else(|| full(bytes))?;
        let mut state = self.lock();
        loop {
            if let Some(taken) = state.pool.take(len) {
                return Ok(taken);
            }
            let is_ordinary = len <= state.sizes.segment;
            if is_ordinary && state.growing {
                state = self.grown.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let growth = state.pool.growth(len).ok_or_else(|| full(bytes))?;
            if state.pool.reserve(&growth) {
                state = self.grow(state, &growth)?;
                continue;
            }
            let idle = state.pool.idle();
            let idle = state.forget(idle);
            drop(state);
            if idle.is_empty() {
                return Err(full(bytes));
            }
            self.part_with(idle);
            state = self.lock();
        }
    }

    /// Commits what was reserved, without the lock; ordinary segments one thread at a time.
    fn grow<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        growth: &Growth,
    ) -> Result<MutexGuard<'a, State>> {
        let is_ordinary = growth.size <= state.sizes.segment;
        let fresh = || {
            let error = || Error::new(ErrorKind::StoreFull, "this process has made 2^32 segments");
            state.pool.next_index().map(|index| (index, None)).ok_or_else(error)
        };
        let known = growth.segment.clone().map(|(index, region)| (index, Some(region)));
        let (index, known) = match known.map_or_else(fresh, Ok) {
            Ok(segment) => segment,
            Err(error) => {
                state.pool.withdraw(growth);
                return Err(error);
            }
        };
        state.growing |= is_ordinary;
        drop(state);
        let committed = self.commit(known, growth);
        let mut state = self.lock();
        if is_ordinary {
            state.growing = false;
            self.grown.notify_all();
        }
        match committed {
            Ok(region) => state.grown(index, region, growth.range.end),
            Err(error) => {
                state.pool.withdraw(growth);
                return Err(error);
            }
        }
        Ok(state)
    }

    fn commit(&self, known: Option<Arc<dyn Region>>, growth: &Growth) -> Result<Arc<dyn Region>> {
        let number = |n: u64| usize::try_from(n).map_err(|_| full(usize::MAX));
        let region = match known {
            Some(region) => region,
            None => (self.make)(number(growth.size)?)?,
        };
        region.commit(number(growth.range.start)?..number(growth.range.end)?)?;
        Ok(region)
    }

    /// Where these bytes lie, if they lie in a segment that this process wrote or has mapped.
    pub(crate) fn locate(&self, bytes: &[u8]) -> Option<Extent> {
        let start = bytes.as_ptr().addr();
        let state = self.lock();
        let (base, (size, segment)) = state.places.range(..=start).next_back()?;
        let (offset, len) = (start - base, bytes.len());
        let is_inside = len > 0 && offset < *size && len <= size - offset;
        is_inside.then_some(Extent { segment: *segment, offset: offset as u64, len: len as u64 })
    }

    /// The descriptor of a segment and its size, to be handed to another process; `None` if this process
    /// has no such segment.
    pub(crate) fn descriptor(&self, segment: SegmentId) -> Option<(Arc<OwnedFd>, u64)> {
        let state = self.lock();
        let is_own = segment.worker == state.owner;
        let region = if is_own { state.pool.region(segment.index) } else { state.attached.get(&segment) };
        region.and_then(|region| Some((region.descriptor()?, region.len() as u64)))
    }

    /// Has someone told of all segments that this process forgets from now on.
    pub(crate) fn attend(&self, witness: Weak<dyn Witness>) {
        let mut state = self.lock();
        state.witnesses.retain(|witness| witness.strong_count() > 0);
        state.witnesses.push(witness);
    }

    /// Unmaps what was forgotten, and tells of it.
    fn part_with(&self, gone: Gone) {
        if gone.is_empty() {
            return;
        }
        let (segments, regions): (Vec<_>, Vec<_>) = gone.into_iter().unzip();
        drop(regions);
        let witnesses: Vec<_> = self.lock().witnesses.iter().filter_map(Weak::upgrade).collect();
        for witness in witnesses {
            witness.gone(&segments);
        }
    }

    /// Maps another process's segment, to read; nothing happens if it was before.
    ///
    /// `Decode` if it is not sealed or not of that size, `StoreFull` or `Io` if it cannot be mapped.
    pub(crate) fn attach(&self, segment: SegmentId, fd: OwnedFd, size: u64) -> Result<()> {
        if self.is_attached(segment) {
            return Ok(());
        }
        self.attach_region(segment, region::attach(fd, size)?)
    }

    fn attach_region(&self, segment: SegmentId, region: Arc<dyn Region>) -> Result<()> {
        let mut state = self.lock();
        if segment.worker == state.owner {
            return Err(Error::new(ErrorKind::Decode, format!("{segment:?} is this process's own")));
        }
        if !state.attached.contains_key(&segment) {
            state.places.insert(region.base().addr(), (region.len(), segment));
            state.attached.insert(segment, region);
        }
        Ok(())
    }

    /// Whether another process's segment is mapped.
    pub(crate) fn is_attached(&self, segment: SegmentId) -> bool {
        self.lock().attached.contains_key(&segment)
    }

    /// Borrowed bytes of a segment; `released` runs when the last clone of them is dropped.
    ///
    /// `Decode`, and `released` never runs, if they lie in no segment that is mapped, or in one of this
    /// process that has no such extent any more.
    pub(crate) fn borrow(
        self: &Arc<Self>,
        extent: Extent,
        released: impl FnOnce() + Send + Sync + 'static,
    ) -> Result<Bytes> {
        let (source, range) = self.find(extent)?;
        self.borrowed.fetch_add(extent.len, Ordering::Relaxed);
        let lent = Lent { arena: self.clone(), source, range, released: Some(released) };
        Ok(Bytes::from_owner(lent))
    }

    fn find(&self, extent: Extent) -> Result<(Source, Range<usize>)> {
        let Extent { segment, offset, len } = extent;
        let outside = || malformed(extent, "lies outside of its segment");
        let end = offset.checked_add(len).ok_or_else(outside)?;
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        let range = range.map(|(start, end)| start..end).ok_or_else(outside)?;
        let state = self.lock();
        if segment.worker != state.owner {
            let region = state.attached.get(&segment).ok_or_else(|| malformed(extent, "is not mapped"))?;
            let is_inside = range.end <= region.len();
            return is_inside
                .then(|| (Source::Attached(segment, Some(region.clone())), range))
                .ok_or_else(outside);
        }
        let before = state.live.range((segment.index, 0)..=(segment.index, offset)).next_back();
        let own = before.and_then(|(_, own)| own.upgrade());
        // If this was the last one, its drop wants the lock.
        drop(state);
        let own = own.filter(|own| end <= own.taken.range.start + own.len as u64);
        own.map(|own| (Source::Own(own), range)).ok_or_else(|| malformed(extent, "has been freed"))
    }

    /// Forgets the segments of a process that has gone, each as soon as nothing of it is borrowed. Until
    /// then it can be located and handed on: to others who still borrow of it, too.
    pub(crate) fn detach(&self, worker: WorkerId) {
        let of_worker = |index| SegmentId { worker, index };
        let mut state = self.lock();
        let segments = state.attached.range(of_worker(0)..=of_worker(u32::MAX));
        let segments: Vec<_> = segments.map(|(segment, _)| *segment).collect();
        let unused = state.orphan(&segments);
        drop(state);
        self.part_with(unused);
    }

    /// As [`detach`](Self::detach), of segments that their writer gave back; nothing happens to others.
    pub(crate) fn detach_segments(&self, segments: &[SegmentId]) {
        let unused = self.lock().orphan(segments);
        self.part_with(unused);
    }

    /// Something borrowed of a segment is dropped.
    fn let_go(&self, segment: SegmentId, region: Option<Arc<dyn Region>>) {
        let mut state = self.lock();
        // The last one of a region unmaps it, which needs no lock: that is the one in the table.
        debug_assert!(state.attached.contains_key(&segment), "kept while it is borrowed");
        drop(region);
        let unused = state.forget_orphan(segment);
        drop(state);
        self.part_with(unused.into_iter().collect());
    }

    /// What it holds and did.
    pub(crate) fn stats(&self) -> ShareStats {
        let fill = self.lock().pool.fill();
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ShareStats {
            segments: fill.segments,
            committed: fill.committed,
            used: fill.used,
            warm: fill.warm,
            free: fill.segments - fill.used,
            largest_free: fill.largest_free,
            borrowed: count(&self.borrowed),
            written_count: count(&self.written_count),
            written: count(&self.written),
            copied: count(&self.copied),
            refused_count: count(&self.refused_count),
        }
    }

    /// Wakes the thread that works ahead, or starts it.
    fn wake(self: &Arc<Self>) {
        if !self.ahead {
            return;
        }
        let mut state = self.lock();
        if let Some(warmer) = &state.warmer {
            // If it is full, the thread is about to look.
            let _ = warmer.try_send(());
            return;
        }
        let (sender, receiver) = sync_channel(1);
        let arena = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("mobula-warmer".into());
        // Without the thread all works, but slower.
        state.warmer = thread.spawn(move || work_ahead(&arena, &receiver)).ok().map(|_| sender);
    }

    /// Touches one chunk ahead; `false` if there is enough, no more, or somebody else grows.
    fn warm_once(&self) -> bool {
        let mut state = self.lock();
        let Some(growth) = state.ahead() else { return false };
        if !state.pool.reserve(&growth) {
            return false;
        }
        let is_there = self.grow(state, &growth).is_ok();
        if !is_there {
            self.lock().refused = true;
        }
        is_there
    }

    /// Works ahead until nothing is left to do; tells for how long something lingers that will have to be
    /// given back, or ends the thread's turn.
    fn work_once(&self) -> Option<Duration> {
        while self.warm_once() {}
        let now = Instant::now();
        let mut state = self.lock();
        let (surplus, next) = state.give_back(now);
        if next.is_none() && state.ahead().is_none() {
            state.warmer = None;
        }
        drop(state);
        self.part_with(surplus);
        next.map(|next| next.saturating_duration_since(now))
    }
}

impl Share for Arc<Arena> {
    fn write(&self, len: usize, fill: &mut dyn FnMut(&mut [u8])) -> Result<Bytes> {
        Arena::write(self, len, fill)
    }

    fn copy(&self, bytes: &[u8]) -> Result<Bytes> {
        Arena::copy(self, bytes)
    }

    fn note_copied(&self, len: usize) {
        Arena::note_copied(self, len);
    }

    fn stats(&self) -> ShareStats {
        Arena::stats(self)
    }
}

/// Touches memory ahead of writes and gives back what nobody uses, until there is nothing to do.
fn work_ahead(arena: &Weak<Arena>, wake: &Receiver<()>) {
    let mut left = Duration::ZERO;
    while wake.recv_timeout(left) != Err(RecvTimeoutError::Disconnected) {
        let Some(arena) = arena.upgrade() else { return };
        left = arena.work_once().unwrap_or_default();
    }
}

/// The arena of this process.
pub(crate) fn arena() -> &'static Arc<Arena> {
    static ARENA: OnceLock<Arc<Arena>> = OnceLock::new();
    ARENA.get_or_init(|| Arena::new(WorkerId(0)))
}

/// Names the worker whose segments this process writes, before it writes one; `AlreadyInitialized` after.
pub(crate) fn set_arena_owner(owner: WorkerId) -> Result<()> {
    arena().set_owner(owner)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    const KIB: u64 = 1 << 10;
    const SMALL: Sizes = Sizes {
        segment: 64 * KIB,
        chunk: 4 * KIB,
        ahead_max: 16 * KIB,
        kept_max: 64 * KIB,
        lingering_max: 256 * KIB,
        linger: Duration::from_secs(1_000),
    };

    fn writer(sizes: Sizes) -> Arc<Arena> {
        Arena::with(WorkerId(1), sizes, Box::new(region::heap), false)
    }

    /// An arena that reads what `writer` wrote up to now, by the same memory.
    fn reader_of(writer: &Arc<Arena>) -> Arc<Arena> {
        let reader = Arena::with(WorkerId(2), SMALL, Box::new(region::heap), false);
        let state = writer.lock();
        for (_, segment) in state.places.values() {
            let region = state.pool.region(segment.index).expect("it has a place");
            reader.attach_region(*segment, region.clone()).expect("it is another's");
        }
        reader
    }

    fn kind<T>(result: Result<T>) -> ErrorKind {
        result.err().expect("it is refused").kind()
    }

    /// The segments that an arena said it forgot.
    struct Heard {
        arena: Weak<Arena>,
        all: Mutex<Vec<SegmentId>>,
    }

    impl Witness for Heard {
        fn gone(&self, segments: &[SegmentId]) {
            let arena = self.arena.upgrade().expect("it speaks");
            assert!(segments.iter().all(|segment| arena.descriptor(*segment).is_none()), "{segments:?}");
            self.all.lock().expect("no panic").extend(segments);
        }
    }

    impl Heard {
        fn of(arena: &Arc<Arena>) -> Arc<Self> {
            let heard = Arc::new(Self { arena: Arc::downgrade(arena), all: Mutex::default() });
            let witness: Weak<Self> = Arc::downgrade(&heard);
            arena.attend(witness);
            heard
        }

        /// Those since it was asked last.
        fn take(&self) -> Vec<SegmentId> {
            std::mem::take(&mut *self.all.lock().expect("no panic"))
        }
    }

    #[test]
    fn nothing_is_made_or_touched_before_the_first_write() {
        let arena = Arena::with(WorkerId(1), SMALL, Box::new(|_| panic!("made")), true);
        assert!(arena.write(0, |extent| assert!(extent.is_empty())).expect("nothing is needed").is_empty());
        assert_eq!(arena.stats(), ShareStats::default());
        assert!(arena.lock().warmer.is_none());
    }

    #[test]
    fn what_is_written_lies_aligned_and_is_found_and_freed_with_the_last_clone() {
        let arena = writer(SMALL);
        let bytes = arena.copy(b"some bytes").expect("there is room");
        let other = arena.write(100, |extent| extent.fill(7)).expect("there is room");
        assert_eq!((bytes.as_ptr().addr() % 64, other.as_ptr().addr() % 64), (0, 0));
        let stats = arena.stats();
        assert_eq!((stats.used, stats.warm, stats.committed), (64 + 128, 4 * KIB - 192, 4 * KIB));
        assert_eq!((stats.written_count, stats.written, stats.copied), (2, 110, 10));
        assert_eq!(
            (stats.segments, stats.free, stats.largest_free),
            (64 * KIB, 64 * KIB - 192, 64 * KIB - 192)
        );
        let segment = SegmentId { worker: WorkerId(1), index: 0 };
        assert_eq!(arena.locate(&bytes[5..]), Some(Extent { segment, offset: 5, len: 5 }));
        assert_eq!(arena.locate(&other), Some(Extent { segment, offset: 64, len: 100 }));
        assert_eq!((arena.locate(b"elsewhere"), arena.locate(&bytes[..0])), (None, None));
        let slice = bytes.slice(5..);
        drop((bytes.clone(), bytes));
        assert_eq!((&slice[..], arena.stats().used), (&b"bytes"[..], 192));
        drop(slice);
        assert_eq!(arena.stats().used, 128);
    }

    #[test]
    fn what_reaches_out_of_a_segment_or_lies_behind_it_is_not_in_it() {
        let (arena, memory) = (writer(SMALL), [0_u8; 300]);
        let segment = SegmentId { worker: WorkerId(2), index: 0 };
        arena.lock().places.insert(memory.as_ptr().addr(), (100, segment));
        let found =
            |range: Range<usize>| arena.locate(&memory[range]).map(|extent| (extent.offset, extent.len));
        assert_eq!((found(0..100), found(99..100)), (Some((0, 100)), Some((99, 1))));
        assert_eq!((found(50..101), found(100..101), found(200..300)), (None, None, None));
    }

    #[test]
    fn freed_memory_comes_first() {
        let arena = writer(SMALL);
        let first = arena.write(10 << 10, |_| {}).expect("there is room");
        let _behind = arena.write(10, |_| {}).expect("there is room");
        let place = arena.locate(&first);
        drop(first);
        let again = arena.write(10 << 10, |_| {}).expect("there is room");
        assert_eq!((arena.locate(&again), arena.stats().committed), (place, 12 * KIB));
    }

    #[test]
    fn an_owner_can_be_named_until_it_has_written() {
        let arena = writer(SMALL);
        arena.set_owner(WorkerId(9)).expect("nothing is written");
        let bytes = arena.copy(&[1]).expect("there is room");
        assert_eq!(arena.locate(&bytes).expect("it is ours").segment.worker, WorkerId(9));
        arena.set_owner(WorkerId(9)).expect("it is called that");
        assert_eq!(kind(arena.set_owner(WorkerId(3))), ErrorKind::AlreadyInitialized);
    }

    #[test]
    fn a_panic_while_filling_gives_the_extent_back() {
        let arena = writer(SMALL);
        let filling = || arena.write(10, |_| panic!("boom")).map(drop);
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(filling)).expect_err("it panics");
        assert_eq!(arena.stats().used, 0);
    }

    #[test]
    fn a_large_object_has_a_segment_of_its_own_that_lingers_and_goes() {
        let arena = writer(SMALL);
        let large = arena.write(100 << 10, |_| {}).expect("there is room");
        let small = arena.write(10, |_| {}).expect("there is room");
        assert_eq!(arena.locate(&large).expect("ours").segment.index, 0);
        assert_eq!(arena.locate(&small).expect("ours").segment.index, 1);
        let heard = Heard::of(&arena);
        drop(large);
        let again = arena.write(90 << 10, |_| {}).expect("there is room");
        assert_eq!(arena.locate(&again).expect("ours").segment.index, 0);
        drop(again);
        let half = arena.write(65 << 10, |_| {}).expect("there is room");
        assert_eq!(arena.locate(&half).expect("ours").segment.index, 0);
        drop(half);
        let now = Instant::now();
        assert_eq!(arena.lock().give_back(now).0.len(), 0);
        let (given_back, next) = arena.lock().give_back(now + SMALL.linger);
        assert_eq!((given_back.len(), next), (1, None));
        assert_eq!((arena.stats().committed, heard.take()), (4 * KIB, vec![]));
        arena.part_with(given_back);
        assert_eq!(heard.take(), [SegmentId { worker: WorkerId(1), index: 0 }]);
    }

    #[test]
    fn a_small_object_is_put_in_no_large_segment_and_a_large_one_in_no_much_larger() {
        let arena = writer(SMALL);
        drop(arena.write(200 << 10, |_| {}).expect("there is room"));
        for len in [10, 65 << 10] {
            let bytes = arena.write(len, |_| {}).expect("there is room");
            assert_ne!(arena.locate(&bytes).expect("ours").segment.index, 0);
        }
    }

    #[test]
    fn ordinary_segments_are_kept_up_to_a_bound_and_no_more_lingers_than_another() {
        let arena = writer(SMALL);
        let all = (0..10).map(|_| arena.write(64 << 10, |_| {}).expect("there is room")).collect::<Vec<_>>();
        assert_eq!(arena.stats().segments, 640 * KIB);
        drop(all);
        // One is kept for good, four linger.
        assert_eq!(arena.stats().segments, 320 * KIB);
        drop(arena.lock().give_back(Instant::now() + SMALL.linger));
        let stats = arena.stats();
        assert_eq!((stats.segments, stats.committed, stats.warm), (64 * KIB, 64 * KIB, 64 * KIB));
    }

    #[test]
    fn beyond_the_limit_the_store_is_full_until_something_goes() {
        let arena = writer(SMALL);
        arena.set_limit(128 * KIB);
        let first = arena.write(64 << 10, |_| {}).expect("there is room");
        let large = || arena.write(100 << 10, |_| {});
        assert_eq!(kind(large()), ErrorKind::StoreFull);
        assert_eq!(arena.stats().committed, 64 * KIB);
        drop(first);
        // What was idle is given back for it.
        assert_eq!(large().expect("there is room").len(), 100 << 10);
        assert_eq!(kind(arena.write(usize::MAX, |_| {})), ErrorKind::StoreFull);
        assert_eq!(kind(arena.write(usize::MAX - 100, |_| {})), ErrorKind::StoreFull);
    }

    #[test]
    fn a_refused_segment_is_an_error_and_the_next_write_tries_again() {
        let calls = AtomicUsize::new(0);
        let make: Make = Box::new(move |len| match calls.fetch_add(1, Ordering::Relaxed) {
            0 | 2 => Err(Error::new(ErrorKind::Io, "too many open files")),
            _ => region::heap(len),
        });
        let arena = Arena::with(WorkerId(1), SMALL, make, false);
        assert_eq!(kind(arena.write(10, |_| panic!("filled"))), ErrorKind::Io);
        assert_eq!(arena.stats().committed, 0);
        let bytes = arena.write(64 << 10, |_| {}).expect("there is room");
        // Ahead of writes it asks once, and again when a write was given something.
        assert!(!arena.warm_once() && arena.lock().refused && !arena.warm_once());
        arena.write(64 << 10, |_| {}).expect("there is room");
        assert!(!arena.lock().refused);
        drop(bytes);
    }

    #[test]
    fn as_much_is_warmed_as_was_written_up_to_a_bound() {
        let arena = writer(SMALL);
        let mut held = Vec::new();
        // A write commits by chunks, and a part of a chunk is warm already; the last one is large.
        for (len, committed) in [(100, 4), (4 << 10, 12), (8 << 10, 28), (100 << 10, 128)] {
            held.push(arena.write(len, |_| {}).expect("there is room"));
            while arena.warm_once() {}
            assert_eq!(arena.stats().committed, committed * KIB, "after {len} bytes");
        }
        assert!(arena.stats().warm <= SMALL.ahead_max);
        arena.set_limit(arena.stats().committed);
        held.push(arena.write(15 << 10, |_| {}).expect("it is warm"));
        assert!(!arena.warm_once());
    }

    #[test]
    fn what_is_borrowed_can_be_read_until_it_is_dropped_also_when_its_process_has_gone() {
        let writer = writer(SMALL);
        let bytes = writer.copy(b"some bytes").expect("there is room");
        let extent = writer.locate(&bytes).expect("ours");
        let reader = reader_of(&writer);
        let heard = Heard::of(&reader);
        assert!(reader.is_attached(extent.segment));
        let released = Arc::new(AtomicUsize::new(0));
        let count = released.clone();
        let lent = reader
            .borrow(extent, move || {
                count.fetch_add(1, Ordering::Relaxed);
            })
            .expect("mapped");
        assert_eq!(reader.locate(&lent[2..]), Some(Extent { offset: 2, len: 8, ..extent }));
        assert_eq!(reader.stats().borrowed, 10);
        drop((bytes, writer));
        reader.detach(extent.segment.worker);
        assert_eq!(reader.locate(&lent), Some(extent), "it can be handed on");
        let again = reader.borrow(extent, || {}).expect("who still borrows of it hands it back");
        let slice = lent.slice(5..);
        drop((lent, again));
        assert_eq!((&slice[..], released.load(Ordering::Relaxed)), (&b"bytes"[..], 0));
        assert!(reader.is_attached(extent.segment) && heard.take().is_empty());
        drop(slice);
        assert!(!reader.is_attached(extent.segment));
        assert_eq!(heard.take(), [extent.segment]);
        assert_eq!(kind(reader.borrow(extent, || panic!("released"))), ErrorKind::Decode);
        assert_eq!((released.load(Ordering::Relaxed), reader.stats().borrowed), (1, 0));
    }

    #[test]
    fn a_segment_that_was_given_back_is_forgotten_when_nothing_of_it_is_borrowed() {
        let writer = writer(SMALL);
        let (large, small) = (writer.write(100 << 10, |_| {}), writer.copy(b"some bytes"));
        let (large, small) = (large.expect("there is room"), small.expect("there is room"));
        let (far, near) = (writer.locate(&large).expect("ours"), writer.locate(&small).expect("ours"));
        let (reader, unknown) = (reader_of(&writer), SegmentId { worker: WorkerId(7), index: 0 });
        let heard = Heard::of(&reader);
        let lent = reader.borrow(near, || {}).expect("mapped");
        drop((large, small, writer));
        reader.detach_segments(&[far.segment, unknown, near.segment]);
        assert_eq!(heard.take(), [far.segment]);
        assert_eq!((&lent[..], reader.locate(&lent)), (&b"some bytes"[..], Some(near)));
        drop(lent);
        assert_eq!(heard.take(), [near.segment]);
        assert!(!reader.is_attached(far.segment) && !reader.is_attached(near.segment));
        assert!(reader.lock().orphans.is_empty() && reader.lock().places.is_empty());
        // Whoever does not listen any more is not kept.
        drop(heard);
        let _heard = Heard::of(&reader);
        assert_eq!(reader.lock().witnesses.len(), 1);
    }

    #[test]
    fn an_extent_of_ones_own_can_be_borrowed_while_it_lives() {
        let arena = writer(SMALL);
        let bytes = arena.copy(b"some bytes").expect("there is room");
        let extent = arena.locate(&bytes).expect("ours");
        let lent = arena.borrow(Extent { offset: 5, len: 5, ..extent }, || {}).expect("it lives");
        drop(bytes);
        assert_eq!((&lent[..], arena.stats().used), (&b"bytes"[..], 64));
        assert_eq!(kind(arena.borrow(Extent { len: 11, ..extent }, || {})), ErrorKind::Decode);
        drop(lent);
        assert_eq!(kind(arena.borrow(extent, || {})), ErrorKind::Decode);
        // While it is filled, nobody else has it.
        let filling = arena.write(10, |_| assert_eq!(kind(arena.borrow(extent, || {})), ErrorKind::Decode));
        assert_eq!(arena.locate(&filling.expect("there is room")), Some(extent));
    }

    #[test]
    fn no_extent_that_a_peer_names_is_a_panic() {
        let writer = writer(SMALL);
        let bytes = writer.copy(&[1; 100]).expect("there is room");
        let extent = writer.locate(&bytes).expect("ours");
        for arena in [&writer, &reader_of(&writer)] {
            for (offset, len) in
                [(u64::MAX, 1), (1, u64::MAX), (64 * KIB, 1), (64 * KIB - 1, 2), (1 << 40, 0)]
            {
                let wrong = Extent { offset, len, ..extent };
                assert_eq!(kind(arena.borrow(wrong, || panic!("released"))), ErrorKind::Decode, "{wrong:?}");
            }
            let elsewhere = SegmentId { index: 7, ..extent.segment };
            assert_eq!(kind(arena.borrow(Extent { segment: elsewhere, ..extent }, || {})), ErrorKind::Decode);
        }
        let heap = || region::heap(64).expect("there is memory");
        assert_eq!(kind(writer.attach_region(extent.segment, heap())), ErrorKind::Decode);
    }

    #[test]
    fn any_history_keeps_extents_disjoint_and_gives_all_memory_back() {
        for seed in 0..if cfg!(miri) { 2 } else { 40 } {
            let mut random = fastrand::Rng::with_seed(seed);
            let writer = writer(SMALL);
            let released = Arc::new(AtomicUsize::new(0));
            let (mut live, mut readers, mut borrows) = (VecDeque::<(u8, Bytes)>::new(), Vec::new(), 0);
            for step in 0..if cfg!(miri) { 60 } else { 600_usize } {
                let at = random.usize(..live.len().max(1));
                match random.u8(..8) {
                    0..3 => {
                        let len = 1 << random.u32(..if step % 20 == 0 { 18 } else { 13 });
                        let len = random.usize(1..=len);
                        let bytes = writer.write(len, |extent| extent.fill(step as u8)).expect("no limit");
                        live.push_back((step as u8, bytes));
                    }
                    3 if !live.is_empty() => live.push_back(live[at].clone()),
                    4 if !live.is_empty() => {
                        let (mark, bytes) = &live[at];
                        let end = random.usize(1..=bytes.len());
                        live.push_back((*mark, bytes.slice(random.usize(..end)..end)));
                    }
                    5 if !live.is_empty() => {
                        let (mark, bytes) = &live[at];
                        let reader = if random.bool() { writer.clone() } else { reader_of(&writer) };
                        // What was borrowed of a reader is not the writer's to locate.
                        let Some(extent) = writer.locate(bytes) else {
                            continue;
                        };
                        let count = released.clone();
                        let release = move || {
                            count.fetch_add(1, Ordering::Relaxed);
                        };
                        let lent = reader.borrow(extent, release).expect("it lives");
                        borrows += 1;
                        // The promise of a loan: the writer keeps its own until then.
                        readers.push((*mark, bytes.clone(), lent));
                    }
                    6 if !readers.is_empty() => {
                        let (_, kept, lent) = readers.swap_remove(random.usize(..readers.len()));
                        drop(lent);
                        drop(kept);
                    }
                    _ => drop(live.remove(at)),
                }
                if step % 16 == 0 {
                    while writer.warm_once() {}
                    let all = live.iter().map(|(mark, bytes)| (mark, bytes));
                    for (mark, bytes) in all.chain(readers.iter().map(|(mark, _, lent)| (mark, lent))) {
                        assert!(bytes.iter().all(|byte| byte == mark), "seed {seed}, step {step}");
                    }
                }
            }
            drop((live, readers));
            let stats = writer.stats();
            assert_eq!((stats.used, stats.borrowed), (0, 0), "seed {seed}");
            assert_eq!(released.load(Ordering::Relaxed), borrows);
            drop(writer.lock().give_back(Instant::now() + SMALL.linger));
            assert!(writer.stats().committed <= SMALL.kept_max + SMALL.ahead_max);
            assert!(writer.lock().live.is_empty());
        }
    }

    #[test]
    fn many_threads_write_each_their_own() {
        let arena = writer(SMALL);
        std::thread::scope(|scope| {
            for mark in 0..4 {
                let arena = &arena;
                scope.spawn(move || {
                    let mut held = VecDeque::new();
                    for n in 0..if cfg!(miri) { 10 } else { 500 } {
                        let len = 1 + n * 97 % 9_000;
                        held.push_back(arena.write(len, |extent| extent.fill(mark)).expect("no limit"));
                        if held.len() > 5 {
                            let oldest = held.pop_front().expect("it is not empty");
                            assert!(oldest.iter().all(|byte| *byte == mark));
                        }
                    }
                });
            }
        });
        assert_eq!(arena.stats().used, 0);
    }

    mod memfd {
        use std::fs::{File, OpenOptions};
        use std::process::Command;

        use memmap2::MmapOptions;
        use rustix::fs::{MemfdFlags, SealFlags};

        use super::*;

        const LEN: usize = 100_000;

        fn written(arena: &Arc<Arena>) -> (Bytes, Extent) {
            let bytes = arena.write(LEN, |extent| extent.fill(3)).expect("there is room");
            let extent = arena.locate(&bytes).expect("ours");
            (bytes, extent)
        }

        #[test]
        #[cfg_attr(miri, ignore = "miri knows no memfd")]
        fn a_thread_touches_ahead_and_ends_when_there_is_enough_or_no_arena() {
            let arena = Arena::new(WorkerId(1));
            let bytes = arena.write(3 << 20, |_| {}).expect("there is room");
            let mut state = arena.lock();
            // Two chunks, the second in part, and another one ahead.
            while state.pool.fill().committed < 6 << 20 {
                state = arena.grown.wait(state).expect("no panic");
            }
            drop(state);
            while arena.lock().warmer.is_some() {
                std::thread::yield_now();
            }
            assert_eq!(arena.stats().committed, 6 << 20);
            let large = arena.write(65 << 20, |_| {}).expect("there is room");
            drop((bytes, large));
            assert!(arena.lock().warmer.is_some(), "it waits to give the large one back");
            let weak = Arc::downgrade(&arena);
            drop(arena);
            while weak.strong_count() > 0 {
                std::thread::yield_now();
            }
        }

        #[test]
        #[cfg_attr(miri, ignore = "miri knows no memfd")]
        fn another_mapping_sees_the_bytes_and_outlives_the_writer() {
            let (writer, reader) = (Arena::new(WorkerId(1)), Arena::new(WorkerId(2)));
            let (bytes, extent) = written(&writer);
            let (fd, size) = writer.descriptor(extent.segment).expect("it is there");
            reader.attach(extent.segment, fd.try_clone().expect("a descriptor"), size).expect("it is sealed");
            let lent = reader.borrow(extent, || {}).expect("mapped");
            assert_ne!(lent.as_ptr(), bytes.as_ptr());
            assert_eq!(reader.descriptor(extent.segment).expect("to hand on").1, size);
            let weak = Arc::downgrade(&writer);
            drop((writer, bytes, fd));
            while weak.strong_count() > 0 {
                std::thread::yield_now();
            }
            assert!(lent.iter().all(|byte| *byte == 3));
        }

        #[test]
        #[cfg_attr(miri, ignore = "miri knows no memfd")]
        fn what_is_not_sealed_or_not_of_its_size_is_not_mapped() {
            let reader = Arena::new(WorkerId(2));
            let segment = SegmentId { worker: WorkerId(1), index: 0 };
            let memfd = |len: u64, seals: SealFlags| {
                let fd = rustix::fs::memfd_create("test", MemfdFlags::ALLOW_SEALING).expect("a descriptor");
                rustix::fs::ftruncate(&fd, len).expect("it can grow");
                rustix::fs::fcntl_add_seals(&fd, seals).expect("it can be sealed");
                fd
            };
            let all = SealFlags::FUTURE_WRITE | SealFlags::SHRINK | SealFlags::GROW;
            for missing in [SealFlags::FUTURE_WRITE, SealFlags::SHRINK, SealFlags::GROW] {
                let fd = memfd(4096, all.difference(missing));
                assert_eq!(kind(reader.attach(segment, fd, 4096)), ErrorKind::Decode, "{missing:?}");
            }
            for (len, size) in [(4096, 8192), (8192, 4096), (0, 0), (4096, u64::MAX)] {
                assert_eq!(kind(reader.attach(segment, memfd(len, all), size)), ErrorKind::Decode, "{size}");
            }
            let file = File::open("/dev/null").expect("it is there");
            assert_eq!(kind(reader.attach(segment, file.into(), 4096)), ErrorKind::Decode);
            reader.attach(segment, memfd(4096, all), 4096).expect("it is well");
        }

        #[test]
        #[cfg_attr(miri, ignore = "miri knows no memfd")]
        fn more_than_the_system_has_is_an_error() {
            let arena = Arena::new(WorkerId(1));
            for len in [1 << 62, isize::MAX as usize, usize::MAX] {
                assert_eq!(kind(arena.write(len, |_| panic!("filled"))), ErrorKind::StoreFull, "{len}");
            }
            assert_eq!(arena.stats().committed, 0);
        }

        /// The variable that tells this test that it is the other process.
        const ADDRESS: &str = "MOBULA_TEST_SEGMENT";
        /// What the other process says, so that a run of no test is told from one that passed.
        const DONE: &str = "read and not written";

        #[test]
        #[cfg_attr(miri, ignore = "miri knows no memfd")]
        fn another_process_can_read_a_segment_and_cannot_write_it() {
            if let Ok(address) = std::env::var(ADDRESS) {
                return read_there(&address);
            }
            let arena = Arena::new(WorkerId(1));
            let (_bytes, extent) = written(&arena);
            let (fd, size) = arena.descriptor(extent.segment).expect("it is there");
            assert_no_writer(&fd.try_clone().expect("a descriptor").into(), size);
            // Not closed on exec.
            let inherited = rustix::io::dup(&fd).expect("a descriptor");
            let number = std::os::fd::AsRawFd::as_raw_fd(&inherited);
            let name = "another_process_can_read_a_segment_and_cannot_write_it";
            let output = Command::new(std::env::current_exe().expect("it runs"))
                .args(["--nocapture", "--exact"])
                .arg(format!("{}::{name}", module_path!().split_once("::").expect("a crate and a module").1))
                .env(ADDRESS, format!("{number} {size} {}", extent.offset))
                .output()
                .expect("it starts");
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains(DONE), "{output:?}");
        }

        fn read_there(address: &str) {
            let parts =
                address.split(' ').map(|part| part.parse::<u64>().expect("a number")).collect::<Vec<_>>();
            let (path, size) = (format!("/proc/self/fd/{}", parts[0]), parts[1]);
            let segment = SegmentId { worker: WorkerId(1), index: 0 };
            let reader = Arena::new(WorkerId(2));
            let file = File::open(&path).expect("it was inherited");
            reader.attach(segment, file.into(), size).expect("it is sealed");
            let extent = Extent { segment, offset: parts[2], len: LEN as u64 };
            assert!(reader.borrow(extent, || {}).expect("mapped").iter().all(|byte| *byte == 3));
            let file = OpenOptions::new().read(true).write(true).open(&path).expect("the seals allow that");
            assert_no_writer(&file, size);
            std::io::Write::write_all(&mut std::io::stdout(), DONE.as_bytes()).expect("it is read");
        }

        fn assert_no_writer(file: &File, size: u64) {
            let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(file));
            let again = OpenOptions::new().read(true).write(true).open(path).expect("the seals allow that");
            for file in [file, &again] {
                let mapped = MmapOptions::new().len(size as usize).map_raw(file);
                assert_eq!(mapped.expect_err("sealed").kind(), std::io::ErrorKind::PermissionDenied);
                rustix::io::pwrite(file, b"x", 0).expect_err("sealed");
                rustix::fs::ftruncate(file, size - 1).expect_err("sealed");
                rustix::fs::ftruncate(file, size + 1).expect_err("sealed");
            }
        }
    }
}
