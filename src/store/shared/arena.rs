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

use super::pool::{ALIGN, Growth, Parted, Pool, Sizes, Taken};
use super::region::{self, Region};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{Extent, SegmentId, WorkerId};
use crate::store::room::{Room, room};
use crate::store::share::{Share, ShareStats};
use crate::store::spill::make_room;
use bytes::Bytes;

/// What this process writes for others, and what it has mapped of theirs.
pub(crate) struct Arena {
    state: Mutex<State>,
    /// A growth ended.
    grown: Condvar,
    make: Make,
    /// Whether a thread touches memory ahead.
    ahead: bool,
    /// Where what it has is counted.
    room: Arc<Room>,
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
    /// Segments that are gone here, and that others have still mapped: their memory, and how many may have.
    returning: BTreeMap<SegmentId, (u64, usize)>,
}

/// Hears of segments that this process has no more, so that those whom it showed them forget them too.
pub(crate) trait Witness: Send + Sync {
    /// Nothing of these is lent, borrowed or mapped here, and no other will have their ids; which of them it
    /// may have mapped still, of which it tells by [`Arena::returned`]. Told where something was dropped or
    /// written, while the arena is not locked.
    fn gone(&self, segments: &[SegmentId]) -> Vec<SegmentId>;
    /// All whom these were shown to have forgotten them, too.
    fn vanished(&self, segments: &[SegmentId]);
}

/// Segments that were forgotten, with the memory that they count for, until they are unmapped and told of
/// where no lock is held.
type Gone = Vec<(SegmentId, Arc<dyn Region>, u64)>;

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
        let (mut surplus, next) = state.give_back(now);
        // Somebody waits for it.
        if self.arena.room.is_claimed_elsewhere() {
            let idle = state.pool.idle();
            surplus.extend(state.forget(idle));
        }
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
    fn forget_orphan(&mut self, segment: SegmentId) -> Option<(SegmentId, Arc<dyn Region>, u64)> {
        let is_unused = |region: &Arc<dyn Region>| Arc::strong_count(region) == 1;
        if !self.orphans.contains(&segment) || !self.attached.get(&segment).is_some_and(is_unused) {
            return None;
        }
        self.orphans.remove(&segment);
        let region = self.attached.remove(&segment)?;
        self.places.remove(&region.base().addr());
        // It counts where it was written.
        Some((segment, region, 0))
    }

    fn forget(&mut self, segments: Vec<Parted>) -> Gone {
        let mut gone = Gone::new();
        for Parted { index, region, bytes } in segments {
            self.places.remove(&region.base().addr());
            gone.push((SegmentId { worker: self.owner, index }, region, bytes));
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
        Self::with(owner, Sizes::DEFAULT, make, !cfg!(miri), room().clone())
    }

    /// One that counts by itself.
    #[cfg(test)]
    pub(crate) fn alone(owner: WorkerId) -> Arc<Self> {
        let make: Make = if cfg!(miri) { Box::new(region::heap) } else { Box::new(region::create) };
        Self::with(owner, Sizes::DEFAULT, make, !cfg!(miri), Room::of_its_own())
    }

    #[cfg(test)]
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    fn with(owner: WorkerId, sizes: Sizes, make: Make, ahead: bool, room: Arc<Room>) -> Arc<Self> {
        let state = State {
            owner,
            pool: Pool::new(sizes, room.clone()),
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
            returning: BTreeMap::new(),
        };
        Arc::new(Self {
            state: Mutex::new(state),
            grown: Condvar::new(),
            make,
            ahead,
            room,
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

    /// By how much it grows and shrinks where all processes of a session may have so much together.
    pub(crate) fn fit(&self, limit: u64) {
        let sizes = Sizes::within(limit);
        let mut state = self.lock();
        state.sizes = sizes;
        state.pool.set_sizes(sizes);
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
        let taken = self.take_in_time(len).inspect_err(|_| {
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

    /// Waits for room as all of the process do; what the system has not is not waited for.
    fn take_in_time(self: &Arc<Self>, bytes: usize) -> Result<Taken> {
        if !Arc::ptr_eq(&self.room, room()) {
            return self.take(bytes)?.ok_or_else(|| full(bytes));
        }
        make_room(bytes as u64, "shared memory", || self.take(bytes).transpose())?
    }

    /// `None` if that is more than all may have.
    fn take(self: &Arc<Self>, bytes: usize) -> Result<Option<Taken>> {
        let len = (bytes as u64).checked_next_multiple_of(ALIGN).ok_or_else(|| full(bytes))?;
        let mut state = self.lock();
        loop {
            if let Some(taken) = state.pool.take(len) {
                return Ok(Some(taken));
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
                return Ok(None);
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
        let mut state = self.lock();
        let witnesses: Vec<_> = state.witnesses.iter().filter_map(Weak::upgrade).collect();
        // Each witness may have shown it to somebody, and it is mapped here.
        let awaited = witnesses.len() + 1;
        state.returning.extend(gone.iter().map(|(segment, _, bytes)| (*segment, (*bytes, awaited))));
        drop(state);
        let (segments, regions): (Vec<_>, Vec<_>) =
            gone.into_iter().map(|(segment, region, _)| (segment, region)).unzip();
        drop(regions);
        for witness in witnesses {
            let shown = witness.gone(&segments);
            let others: Vec<_> =
                segments.iter().copied().filter(|segment| !shown.contains(segment)).collect();
            self.returned(&others);
        }
        self.returned(&segments);
    }

    /// One of those who may have had these segments mapped has not any more.
    pub(crate) fn returned(&self, segments: &[SegmentId]) {
        let mut state = self.lock();
        let (mut vanished, mut freed) = (Vec::new(), 0);
        for segment in segments {
            let Some((bytes, awaited)) = state.returning.get_mut(segment) else { continue };
            *awaited -= 1;
            if *awaited == 0 {
                freed += *bytes;
                vanished.push(*segment);
                state.returning.remove(segment);
            }
        }
        let witnesses: Vec<_> = state.witnesses.iter().filter_map(Weak::upgrade).collect();
        drop(state);
        self.room.give(freed);
        if !vanished.is_empty() {
            for witness in witnesses {
                witness.vanished(&vanished);
            }
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

    /// Gives back to the system what has no extent.
    pub(crate) fn give_back(&self) {
        let mut state = self.lock();
        let idle = state.pool.idle();
        let idle = state.forget(idle);
        drop(state);
        self.part_with(idle);
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

    fn holds(&self, bytes: &[u8]) -> bool {
        self.locate(bytes).is_some()
    }

    fn fit(&self, limit: u64) {
        Arena::fit(self, limit);
    }

    fn give_back(&self) {
        Arena::give_back(self);
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
mod tests;
