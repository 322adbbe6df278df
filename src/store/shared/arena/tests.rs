//! An arena over the heap and over memfds.

use std::collections::VecDeque;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::store::room::Room;

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
    Arena::with(WorkerId(1), sizes, Box::new(region::heap), false, Room::of_its_own())
}

/// An arena that reads what `writer` wrote up to now, by the same memory.
fn reader_of(writer: &Arc<Arena>) -> Arc<Arena> {
    let reader = Arena::with(WorkerId(2), SMALL, Box::new(region::heap), false, Room::of_its_own());
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
    fn gone(&self, segments: &[SegmentId]) -> Vec<SegmentId> {
        let arena = self.arena.upgrade().expect("it speaks");
        assert!(segments.iter().all(|segment| arena.descriptor(*segment).is_none()), "{segments:?}");
        self.all.lock().expect("no panic").extend(segments);
        Vec::new()
    }

    fn vanished(&self, _: &[SegmentId]) {}
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
    let arena = Arena::with(WorkerId(1), SMALL, Box::new(|_| panic!("made")), true, Room::of_its_own());
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
    assert_eq!((stats.segments, stats.free, stats.largest_free), (64 * KIB, 64 * KIB - 192, 64 * KIB - 192));
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
    let found = |range: Range<usize>| arena.locate(&memory[range]).map(|extent| (extent.offset, extent.len));
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
    arena.room.set_limit(128 * KIB);
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
    let arena = Arena::with(WorkerId(1), SMALL, make, false, Room::of_its_own());
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
    arena.room.set_limit(arena.stats().committed);
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
        for (offset, len) in [(u64::MAX, 1), (1, u64::MAX), (64 * KIB, 1), (64 * KIB - 1, 2), (1 << 40, 0)] {
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
        let parts = address.split(' ').map(|part| part.parse::<u64>().expect("a number")).collect::<Vec<_>>();
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
