//! A pair of byte rings in memory that two processes have, one for each direction.
//!
//! ```text
//! memory:   ends of both │ bytes of the first │ bytes of the second
//! ends:     tail (the writer's) │ head (the reader's) │ asleep (the reader's, which the writer takes back)
//!
//! Inlet ── write whole pieces, then tail ──► bytes ── copy out, then head ──► Outlet
//! ```
//!
//! What a writer has published is there for the reader also when the writer's process has ended. Nothing
//! here waits: who finds the ring empty says that it falls asleep, and who has published asks whether it is
//! to ring the bell, by whatever means they have beside the ring.
//!
//! The other process may be broken: its numbers are looked at before they are used, and its bytes are
//! copied before anybody reads them.

use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::error::{Error, ErrorKind, Result};
use crate::store::sync::{AtomicU32, AtomicU64, fence};

/// How many bytes are on their way in one direction at most: some hundred calls.
pub(crate) const RING: usize = 64 * 1024;
/// Where the bytes begin.
const BYTES: usize = 4096;
/// All of it.
const SIZE: usize = BYTES + 2 * RING;

/// What is not to lie beside another on a line of the cache.
#[repr(C, align(64))]
#[derive(Default)]
struct Line<T>(T);

/// How far both sides of one ring have come; numbers of bytes since it was made.
#[repr(C)]
#[derive(Default)]
struct Ends {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
    asleep: Line<AtomicU32>,
}

/// The memory of both rings.
struct Memory {
    ends: NonNull<[Ends; 2]>,
    bytes: NonNull<u8>,
    owner: Owner,
}

/// What keeps the memory.
enum Owner {
    Map(#[allow(dead_code, reason = "dropped")] memmap2::MmapRaw),
    #[cfg(test)]
    Heap,
}

// SAFETY: the ends are atomic, and which bytes are whose they settle between an inlet and an outlet, of
// which there is one each in a process.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    #[cfg(test)]
    fn on_heap() -> Arc<Self> {
        let ends = Box::into_raw(Box::<[Ends; 2]>::default());
        let bytes = Box::into_raw(vec![0_u8; 2 * RING].into_boxed_slice()).cast();
        let there = "a box is not at zero";
        let (ends, bytes) = (NonNull::new(ends).expect(there), NonNull::new(bytes).expect(there));
        Arc::new(Self { ends, bytes, owner: Owner::Heap })
    }

    fn ends(&self, ring: usize) -> &Ends {
        // SAFETY: they are there, aligned and initialised, as long as `self`; all in them is atomic.
        unsafe { &self.ends.as_ref()[ring] }
    }

    /// The bytes of one ring.
    fn bytes(&self, ring: usize) -> *mut u8 {
        // SAFETY: `ring` is 0 or 1, and there are that many times `RING` bytes.
        unsafe { self.bytes.as_ptr().add(ring * RING) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.owner {
            Owner::Map(_) => {}
            #[cfg(test)]
            Owner::Heap => {
                let bytes = std::ptr::slice_from_raw_parts_mut(self.bytes.as_ptr(), 2 * RING);
                // SAFETY: both came from boxes of these types, and are freed once.
                drop(unsafe { (Box::from_raw(self.ends.as_ptr()), Box::from_raw(bytes)) });
            }
        }
    }
}

/// One direction's end and the other's, of one of the two processes.
pub(crate) struct Rings {
    pub(crate) inlet: Inlet,
    pub(crate) outlet: Outlet,
}

impl Rings {
    fn of(memory: Arc<Memory>, is_maker: bool) -> Self {
        let (into, out) = if is_maker { (0, 1) } else { (1, 0) };
        let inlet = Inlet { memory: memory.clone(), ring: into, tail: 0, head: 0, unheard: 0 };
        Self { inlet, outlet: Outlet { memory, ring: out, head: 0 } }
    }

    /// Both processes' ends in one.
    #[cfg(test)]
    fn pair() -> (Self, Self) {
        let memory = Memory::on_heap();
        (Self::of(memory.clone(), true), Self::of(memory, false))
    }
}

mod shared {
    use std::os::fd::{AsFd, OwnedFd};

    use memmap2::MmapOptions;
    use rustix::fs::{
        MemfdFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create,
    };

    use super::super::region::check_size;
    use super::{Arc, BYTES, Error, ErrorKind, Memory, NonNull, Owner, Result, Rings, SIZE};

    /// Nobody can take away what the other side has mapped.
    const SEALS: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

    fn failed(error: impl Into<std::io::Error>) -> Error {
        Error::new(ErrorKind::StoreFull, format!("no memory for rings: {}", error.into()))
    }

    impl Rings {
        /// Two empty rings, and the descriptor by which another process [`open`](Self::open)s them.
        pub(crate) fn new() -> Result<(Self, Arc<OwnedFd>)> {
            check_size(SIZE).map_err(failed)?;
            let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
            let fd = memfd_create("mobula-rings", flags).map_err(failed)?;
            ftruncate(&fd, SIZE as u64).map_err(failed)?;
            fcntl_add_seals(&fd, SEALS).map_err(failed)?;
            Ok((Self::of(Memory::map(&fd)?, true), Arc::new(fd)))
        }

        /// The other ends of what another process made. Fails with `Decode` if it is something else.
        pub(crate) fn open(fd: &OwnedFd) -> Result<Self> {
            let is_sealed = fcntl_get_seals(fd).is_ok_and(|seals| seals.contains(SEALS));
            if !is_sealed || !fstat(fd).is_ok_and(|stat| stat.st_size.cast_unsigned() == SIZE as u64) {
                return Err(Error::new(ErrorKind::Decode, "a descriptor that is none of rings"));
            }
            Ok(Self::of(Memory::map(fd)?, false))
        }
    }

    impl Memory {
        fn map(fd: &impl AsFd) -> Result<Arc<Self>> {
            use std::os::fd::AsRawFd;
            let map = MmapOptions::new().len(SIZE).map_raw(fd.as_fd().as_raw_fd()).map_err(failed)?;
            let base = NonNull::new(map.as_mut_ptr()).expect("a mapping is not at zero");
            // SAFETY: there are `SIZE` bytes; they are as long as `map`, since the seals forbid to shrink
            // them, begin as zeros, which the ends may be, and at a page.
            let bytes = unsafe { base.add(BYTES) };
            Ok(Arc::new(Self { ends: base.cast(), bytes, owner: Owner::Map(map) }))
        }
    }
}

/// The end that is written to.
pub(crate) struct Inlet {
    memory: Arc<Memory>,
    ring: usize,
    tail: u64,
    /// How far the reader had come when that was looked at last.
    head: u64,
    /// Bytes that were published since the reader was last found awake or told.
    unheard: usize,
}

impl Inlet {
    /// How many bytes it can take now; none if the other side is broken.
    pub(crate) fn room(&mut self) -> usize {
        self.head = self.memory.ends(self.ring).head.0.load(Ordering::Acquire);
        self.known_room()
    }

    fn known_room(&self) -> usize {
        let filled = self.tail.wrapping_sub(self.head);
        usize::try_from(filled).map_or(0, |filled| RING.saturating_sub(filled))
    }

    /// Publishes these bytes, all or none of them; `false` if there is no room for them, or `spare` more.
    pub(crate) fn push(&mut self, pieces: &[&[u8]], spare: usize) -> bool {
        let wanted: usize = pieces.iter().map(|piece| piece.len()).sum();
        if self.known_room() < wanted + spare && self.room() < wanted + spare {
            return false;
        }
        for piece in pieces {
            self.put(piece);
        }
        self.memory.ends(self.ring).tail.0.store(self.tail, Ordering::Release);
        self.unheard += wanted;
        true
    }

    fn put(&mut self, piece: &[u8]) {
        let at = (self.tail % RING as u64) as usize;
        let (now, then) = piece.split_at(piece.len().min(RING - at));
        let bytes = self.memory.bytes(self.ring);
        // SAFETY: `at + now.len()` and `then.len()` are at most `RING`. The reader leaves these bytes alone
        // until the tail is published: they lie behind what it may read, as there is room for them.
        unsafe {
            std::ptr::copy_nonoverlapping(now.as_ptr(), bytes.add(at), now.len());
            std::ptr::copy_nonoverlapping(then.as_ptr(), bytes, then.len());
        }
        self.tail += piece.len() as u64;
    }

    /// Bytes that were published, and of which a reader that sleeps has not been told.
    pub(crate) fn unheard(&self) -> usize {
        self.unheard
    }

    /// Whether the reader sleeps and is to be told of what was published.
    pub(crate) fn must_ring(&mut self) -> bool {
        self.unheard = 0;
        let asleep = &self.memory.ends(self.ring).asleep.0;
        // Between the tail and the reader's word: one of us sees the other's.
        fence(Ordering::SeqCst);
        asleep.load(Ordering::Relaxed) != 0 && asleep.swap(0, Ordering::AcqRel) != 0
    }
}

/// The end that is read from.
pub(crate) struct Outlet {
    memory: Arc<Memory>,
    ring: usize,
    head: u64,
}

impl Outlet {
    pub(crate) fn is_empty(&self) -> bool {
        self.memory.ends(self.ring).tail.0.load(Ordering::Acquire) == self.head
    }

    /// Takes out what is there, as much as goes into `buffer`; how many bytes. Fails with `Decode` if the
    /// writer is broken.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let ends = self.memory.ends(self.ring);
        let filled = ends.tail.0.load(Ordering::Acquire).wrapping_sub(self.head);
        let Some(filled) = usize::try_from(filled).ok().filter(|filled| *filled <= RING) else {
            return Err(Error::new(ErrorKind::Decode, "a ring with more in it than it holds"));
        };
        let at = (self.head % RING as u64) as usize;
        let count = filled.min(buffer.len());
        let now = count.min(RING - at);
        let bytes = self.memory.bytes(self.ring);
        // SAFETY: both lie within the ring and within `buffer`, and were published by a writer that does
        // not touch them before the head says that they were read. One that does spoils them, no more: they
        // are checked as what comes by a socket.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.add(at), buffer.as_mut_ptr(), now);
            std::ptr::copy_nonoverlapping(bytes, buffer.as_mut_ptr().add(now), count - now);
        }
        self.head += count as u64;
        ends.head.0.store(self.head, Ordering::Release);
        Ok(count)
    }

    /// Says that the reader falls asleep: the bell will ring for what comes. `false` if something is there
    /// already.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.memory.ends(self.ring).asleep.0.swap(1, Ordering::AcqRel);
        fence(Ordering::SeqCst);
        let sleeps = self.is_empty();
        if !sleeps {
            self.wake();
        }
        sleeps
    }

    /// The reader is awake again.
    pub(crate) fn wake(&self) {
        // Exchanged, as everywhere, so that what the two sides write is in one order for loom, too.
        self.memory.ends(self.ring).asleep.0.swap(0, Ordering::AcqRel);
    }
}

impl std::fmt::Debug for Inlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inlet").field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("head", &self.head).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn drain(outlet: &mut Outlet) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = [0; 1000];
        while !outlet.is_empty() {
            let count = outlet.read(&mut buffer).expect("it is whole");
            all.extend_from_slice(&buffer[..count]);
        }
        all
    }

    #[test]
    fn what_was_published_comes_out_in_order_both_ways() {
        let (mut here, mut there) = Rings::pair();
        for round in 0..300_u32 {
            let piece = vec![round as u8; 1 + (round as usize * 37) % 900];
            std::mem::swap(&mut here, &mut there);
            assert!(here.inlet.push(&[&round.to_le_bytes(), &piece], 0));
            let came = drain(&mut there.outlet);
            assert_eq!(came[..4], round.to_le_bytes());
            assert_eq!(came[4..], piece);
        }
    }

    #[test]
    fn a_full_ring_takes_nothing_and_goes_on_when_it_was_read() {
        let (mut here, mut there) = Rings::pair();
        let mut pushed = 0;
        while here.inlet.push(&[&[7; 1000]], 5) {
            pushed += 1000;
        }
        assert_eq!(pushed, (RING - 5) / 1000 * 1000);
        assert!(here.inlet.push(&[&[1; 5]], 0), "what was spared is there");
        assert_eq!(drain(&mut there.outlet).len(), pushed + 5);
        assert_eq!(here.inlet.room(), RING);
        assert!(here.inlet.push(&[&vec![3; RING]], 0), "all of it, around the end");
        assert_eq!(drain(&mut there.outlet), vec![3; RING]);
    }

    #[test]
    fn a_reader_that_sleeps_is_told_once() {
        let (mut here, there) = Rings::pair();
        assert!(!here.inlet.must_ring());
        assert!(there.outlet.fall_asleep());
        assert!(here.inlet.push(&[b"x"], 0));
        assert_eq!(here.inlet.unheard(), 1);
        assert!(here.inlet.must_ring());
        assert_eq!(here.inlet.unheard(), 0);
        assert!(!here.inlet.must_ring());
        assert!(!there.outlet.fall_asleep(), "something is there");
        assert!(!here.inlet.must_ring());
    }

    #[test]
    fn numbers_that_cannot_be_are_refused() {
        let (mut here, mut there) = Rings::pair();
        for tail in [RING as u64 + 1, u64::MAX, 1 << 40] {
            here.inlet.memory.ends(0).tail.0.store(tail, Ordering::Release);
            let error = there.outlet.read(&mut [0; 8]).expect_err("more than it holds");
            assert_eq!(error.kind(), ErrorKind::Decode);
        }
        assert!(here.inlet.push(&[&vec![0; RING]], 0));
        for head in [RING as u64 + 1, u64::MAX, 1 << 40] {
            here.inlet.memory.ends(0).head.0.store(head, Ordering::Release);
            assert!(!here.inlet.push(&[&[0]], 0));
        }
    }

    #[test]
    fn two_threads_lose_nothing() {
        let (mut here, mut there) = Rings::pair();
        let count = if cfg!(miri) { 200 } else { 200_000_u64 };
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..count {
                    let padding = vec![n as u8; (n % 700) as usize];
                    while !here.inlet.push(&[&n.to_le_bytes(), &[padding.len() as u8], &padding], 0) {
                        std::thread::yield_now();
                    }
                }
            });
            let (mut came, mut expected) = (Vec::new(), 0_u64);
            let mut buffer = vec![0; 5000];
            while expected < count {
                let read = there.outlet.read(&mut buffer).expect("it is whole");
                came.extend_from_slice(&buffer[..read]);
                let mut at = 0;
                while let Some(number) = came[at..].first_chunk::<8>() {
                    assert_eq!(u64::from_le_bytes(*number), expected);
                    let whole = 9 + (expected % 700) as usize;
                    if came.len() < at + whole {
                        break;
                    }
                    assert!(came[at + 9..at + whole].iter().all(|byte| *byte == expected as u8));
                    at += whole;
                    expected += 1;
                }
                came.drain(..at);
                if read == 0 {
                    std::thread::yield_now();
                }
            }
        });
    }

    #[test]
    #[cfg_attr(miri, ignore = "the system's memory")]
    fn another_mapping_has_the_same_bytes_and_keeps_them() {
        let (mut here, fd) = Rings::new().expect("there is memory");
        let mut there = Rings::open(&fd).expect("it is of rings");
        assert!(there.inlet.push(&[b"last ", b"words"], 0));
        drop(there);
        assert_eq!(drain(&mut here.outlet), b"last words");
        let file = tempfile::tempfile().expect("a file can be made");
        file.set_len(SIZE as u64).expect("it can be that long");
        assert_eq!(Rings::open(&file.into()).err().map(|error| error.kind()), Some(ErrorKind::Decode));
    }
}

#[cfg(all(test, loom))]
mod interleavings {
    use loom::sync::{Condvar, Mutex};
    use loom::thread::spawn;

    use super::*;

    /// What stands for the socket: how often it rang.
    #[derive(Default)]
    struct Bell(Mutex<u32>, Condvar);

    #[test]
    fn loom_a_reader_that_sleeps_is_woken_for_all_that_comes() {
        loom::model(|| {
            let (here, there) = Rings::pair();
            let bell = loom::sync::Arc::new(Bell::default());
            let (mut inlet, mut outlet) = (here.inlet, there.outlet);
            let writer = spawn({
                let bell = bell.clone();
                move || {
                    for n in 0..2_u8 {
                        assert!(inlet.push(&[&[n]], 0));
                        if inlet.must_ring() {
                            *bell.0.lock().expect("nobody panics") += 1;
                            bell.1.notify_one();
                        }
                    }
                }
            });
            let mut came = Vec::new();
            while came.len() < 2 {
                let mut buffer = [0; 4];
                let count = outlet.read(&mut buffer).expect("it is whole");
                came.extend_from_slice(&buffer[..count]);
                if count == 0 && outlet.fall_asleep() {
                    let mut rung = bell.0.lock().expect("nobody panics");
                    while *rung == 0 {
                        rung = bell.1.wait(rung).expect("nobody panics");
                    }
                    *rung -= 1;
                    drop(rung);
                    outlet.wake();
                }
            }
            assert_eq!(came, [0, 1]);
            writer.join().expect("it ends");
        });
    }
}
