//! Room for values: which leave memory for a file when there is no more, and how they come back.
//!
//! ```text
//! put, result ─► Size ─► charge ──────────► room: what all processes of the session have
//!                          │ no more of it
//!                          ▼
//! make_room: give back what is free ─► spill what was read longest ago ─► ask the others ─► wait ─► StoreFull
//! ```
//!
//! Values below [`SPILL_MIN`] are counted and stay: what stands for one in a file takes as much. One value
//! that somebody puts waits for its room; a result is there already, so others make way for it.

mod files;

use std::cell::Cell;
use std::collections::VecDeque;
use std::fmt::Write;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

pub(crate) use files::{Files, Spilled};

use super::Object;
use super::room::{self, room};
use crate::error::{Error, ErrorKind};
use crate::value::{self, Value};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Values below this many bytes stay in memory.
const SPILL_MIN: u64 = 1 << 10;
/// Values below this many bytes are let in whatever else there is: none of them alone is why it is full.
const LET_IN: u64 = 64 << 10;
/// How many of the largest objects an error names.
const NAMED: usize = 3;
/// How often other processes are asked for room while somebody waits for it.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What a value takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    /// What is counted for it: without what lies in segments, which are counted themselves.
    pub(super) charged: u64,
    /// All of it.
    pub(super) all: u64,
    /// Whether it may leave memory.
    pub(super) spills: bool,
}

impl Size {
    pub(super) fn of<T: Value>(value: &T) -> Self {
        let own = size_of::<T>() as u64;
        if !std::mem::needs_drop::<T>() {
            return Self { charged: rounded(own), all: own, spills: false };
        }
        let weight = value::weigh(value);
        let (mut heap, mut shared) = (own + weight.heap, 0);
        for buffer in &weight.buffers {
            let is_shared = super::shared_memory().is_some_and(|memory| memory.holds(buffer));
            *(if is_shared { &mut shared } else { &mut heap }) += buffer.len() as u64;
        }
        let all = heap + shared;
        Self { charged: rounded(heap), all, spills: all >= SPILL_MIN }
    }

    /// Counts it, whatever the limit: it is there. Others make way for it.
    pub(super) fn charge(self) {
        if self.charged < SPILL_MIN {
            return room::change(self.charged.cast_signed());
        }
        room().charge(self.charged);
        ease();
    }

    /// Counts it, as soon as there is room.
    pub(super) fn admit(self, name: &str) -> Result<()> {
        if self.charged < LET_IN {
            self.charge();
            return Ok(());
        }
        take(self.charged, name)
    }
}

fn rounded(bytes: u64) -> u64 {
    bytes.next_multiple_of(16)
}

/// Counts so much more, as soon as there is room.
pub(super) fn take(bytes: u64, name: &str) -> Result<()> {
    make_room(bytes, name, || room().take(bytes).then_some(()))
}

/// Counts what comes back; a thread that does not wait has it come back whatever room there is.
pub(super) fn take_back(bytes: u64, name: &str) -> Result<()> {
    take(bytes, name).or_else(|error| {
        if !HURRIES.get() {
            return Err(error);
        }
        room().charge(bytes);
        Ok(())
    })
}

/// Counts so much less.
pub(super) fn discharge(bytes: u64) {
    if bytes < SPILL_MIN {
        room::change(-bytes.cast_signed());
    } else {
        room().give(bytes);
    }
}

/// A number that grows with each use of a value.
pub(super) fn tick() -> u64 {
    static NOW: AtomicU64 = AtomicU64::new(0);
    NOW.fetch_add(1, Ordering::Relaxed)
}

/// Asks the other processes of the session for room for so many bytes, and waits for nobody.
type Ask = Box<dyn Fn(u64) + Send + Sync>;

static OTHERS: RwLock<Option<Ask>> = RwLock::new(None);

/// Says how others are asked for room.
pub(crate) fn set_others(ask: impl Fn(u64) + Send + Sync + 'static) {
    *OTHERS.write().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(ask));
}

thread_local! {
    /// Whether this thread must not wait for room.
    static HURRIES: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread must not wait.
pub(super) fn hurries() -> bool {
    HURRIES.get()
}

/// Says that this thread serves others, and waits for no room.
pub(crate) fn hurry() {
    HURRIES.set(true);
}

/// Runs `f`, which waits for no room.
pub(crate) fn hurrying<R>(f: impl FnOnce() -> R) -> R {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            HURRIES.set(self.0);
        }
    }
    let _restore = Restore(HURRIES.replace(true));
    f()
}

/// Makes room until `fits` gives something; waits as long as the session says.
///
/// `StoreFull`, naming the largest objects, if there is none in time; at once on a thread that does not wait.
pub(crate) fn make_room<R>(bytes: u64, name: &str, mut fits: impl FnMut() -> Option<R>) -> Result<R> {
    let is_alone = QUEUE.is_empty();
    // Who must not wait passes by those who do, and so does what is made on behalf of a spill.
    if (is_alone || HURRIES.get() || SPILLS.get())
        && let Some(fit) = fits()
    {
        return Ok(fit);
    }
    if bytes > room().limit() {
        let text =
            format!("`{name}`: {bytes} bytes are more than all {} of the object store", room().limit());
        return Err(Error::new(ErrorKind::StoreFull, text));
    }
    let begun = Instant::now();
    let wait = if HURRIES.get() || SPILLS.get() { Duration::ZERO } else { room().wait() };
    let until = begun.checked_add(wait).unwrap_or(begun + Duration::from_hours(24));
    let turn = if wait.is_zero() { None } else { Some(QUEUE.enter(until).ok_or_else(|| full(bytes, name))?) };
    let mut claim = Claim(false);
    let mut asked: Option<Instant> = None;
    let mut nap = Duration::from_micros(100);
    loop {
        if let Some(memory) = super::shared_memory() {
            memory.give_back();
        }
        if let Some(fit) = fits() {
            return Ok(fit);
        }
        // What is left may be in pieces that are too small.
        let freed = if room().left() < bytes { spill(bytes) } else { spill_more(bytes) };
        if let Some(fit) = fits() {
            return Ok(fit);
        }
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN) {
            asked = Some(Instant::now());
            if let Some(ask) = &*OTHERS.read().unwrap_or_else(PoisonError::into_inner) {
                ask(bytes);
            }
        }
        if Instant::now() >= until {
            return Err(full(bytes, name));
        }
        if begun.elapsed() >= CLAIM_AFTER && turn.is_some() {
            claim.make();
        }
        if freed > 0 {
            continue;
        }
        std::thread::sleep(nap);
        nap = (nap * 2).min(Duration::from_millis(5));
    }
}

/// After so long a process claims what becomes free in all of the session.
const CLAIM_AFTER: Duration = Duration::from_millis(200);

/// The claim of this process on what becomes free, until it is dropped.
struct Claim(bool);

impl Claim {
    fn make(&mut self) {
        self.0 = self.0 || room().claim();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if self.0 {
            room().unclaim();
        }
    }
}

/// Those who wait for room in this process: one after the other, so that none waits for ever.
struct Queue {
    tickets: Mutex<VecDeque<u64>>,
    /// How many there are.
    count: AtomicUsize,
    moved: Condvar,
}

static QUEUE: Queue =
    Queue { tickets: Mutex::new(VecDeque::new()), count: AtomicUsize::new(0), moved: Condvar::new() };

/// The place of one who waits; the next one moves up when it is dropped.
struct Place(u64);

impl Queue {
    fn is_empty(&self) -> bool {
        self.count.load(Ordering::SeqCst) == 0
    }

    /// Waits until it is this thread's turn; `None` if it is not in time.
    fn enter(&self, until: Instant) -> Option<Place> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        let place = Place(NEXT.fetch_add(1, Ordering::Relaxed));
        tickets.push_back(place.0);
        self.count.store(tickets.len(), Ordering::SeqCst);
        while tickets.front() != Some(&place.0) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(tickets);
                return None;
            }
            tickets = self.moved.wait_timeout(tickets, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(tickets);
        Some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut tickets = QUEUE.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        tickets.retain(|ticket| *ticket != self.0);
        QUEUE.count.store(tickets.len(), Ordering::SeqCst);
        drop(tickets);
        QUEUE.moved.notify_all();
    }
}

/// Why there is no room.
fn full(bytes: u64, name: &str) -> Error {
    let mut text =
        format!("`{name}`: no room for {bytes} bytes: {} of {} are taken", room().sum(), room().limit());
    for (n, (size, name)) in largest(NAMED).into_iter().enumerate() {
        let before = if n == 0 { "; most by " } else { ", " };
        let _ = write!(text, "{before}`{name}` ({size})");
    }
    if let Some(fault) = &*FAULT.lock().unwrap_or_else(PoisonError::into_inner) {
        let _ = write!(text, "; nothing can be spilled: {fault}");
    }
    Error::new(ErrorKind::StoreFull, text)
}

const SHELVES: usize = 16;

/// Values that may leave memory, each on the shelf of the thread that noted it.
static WATCHED: [Mutex<Shelf>; SHELVES] =
    [const { Mutex::new(Shelf { all: Vec::new(), swept: 0 }) }; SHELVES];

struct Shelf {
    all: Vec<Weak<dyn Object>>,
    /// How many there were after those that are gone were dropped last.
    swept: usize,
}

fn shelf(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Notes an object whose value is there; it may leave memory from now on.
pub(crate) fn watch(object: &Arc<dyn Object>) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static OWN: usize = NEXT.fetch_add(1, Ordering::Relaxed) % SHELVES;
    }
    if !object.head().spills() {
        return;
    }
    let own = OWN.try_with(|own| *own).unwrap_or(0);
    let mut place = shelf(&WATCHED[own]);
    if place.all.len() >= 2 * place.swept.max(64) {
        place.all.retain(|object| object.strong_count() > 0);
        place.swept = place.all.len();
    }
    place.all.push(Arc::downgrade(object));
    drop(place);
    ease();
}

/// Brings the session back below its limit, if it is above.
pub(crate) fn ease() {
    if room().excess() > 0 {
        spill_until(|_| room().excess() == 0);
    }
}

fn watched() -> Vec<Arc<dyn Object>> {
    WATCHED
        .iter()
        .flat_map(|place| shelf(place).all.iter().filter_map(Weak::upgrade).collect::<Vec<_>>())
        .collect()
}

/// The largest objects in memory, with who made them.
pub(crate) fn largest(count: usize) -> Vec<(u64, &'static str)> {
    let all = watched().into_iter().filter_map(|object| {
        let candidate = object.head().candidate().filter(|candidate| candidate.is_here)?;
        Some((candidate.size, object.head().definition().name))
    });
    let mut all: Vec<_> = all.collect();
    all.sort_unstable_by(|one, other| other.cmp(one));
    all.truncate(count);
    all
}

/// One thread at a time chooses what leaves memory.
static SPILLING: Mutex<()> = Mutex::new(());
/// Why the last write failed, if it did.
static FAULT: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static SPILLS: Cell<bool> = const { Cell::new(false) };
}

/// Has values leave memory until there is room for so many bytes; how many have left.
pub(crate) fn spill(bytes: u64) -> u64 {
    spill_until(|_| room().left() >= bytes)
}

/// Has so many bytes of values leave memory.
fn spill_more(bytes: u64) -> u64 {
    spill_until(|freed| freed >= bytes)
}

/// Has values leave memory, those first that were read longest ago, until it is enough.
fn spill_until(is_enough: impl Fn(u64) -> bool) -> u64 {
    // A user's `Serialize` may put something.
    if SPILLS.replace(true) {
        return 0;
    }
    let turn = SPILLING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut freed = 0;
    let watched = watched();
    // First what is there twice.
    for object in &watched {
        if is_enough(freed) {
            break;
        }
        freed += object.head().drop_copy();
    }
    let mut all: Vec<_> = watched
        .into_iter()
        .filter_map(|object| {
            let candidate = object.head().candidate()?;
            (candidate.is_here && !candidate.is_pinned && candidate.used < u64::MAX)
                .then_some((candidate.used, object))
        })
        .collect();
    all.sort_unstable_by_key(|(used, _)| *used);
    for (_, object) in all {
        if is_enough(freed) {
            break;
        }
        match object.spill() {
            Ok(size) => {
                freed += size;
                if size > 0 {
                    SPILLED.fetch_add(size, Ordering::Relaxed);
                    SPILLED_COUNT.fetch_add(1, Ordering::Relaxed);
                    forget_fault();
                }
            }
            // Another thread may ask where.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => {
                note_fault(&error);
                break;
            }
        }
    }
    drop(turn);
    SPILLS.set(false);
    freed
}

/// A write failed; said once until one succeeds.
fn note_fault(error: &io::Error) {
    let before = FAULT.lock().unwrap_or_else(PoisonError::into_inner).replace(error.to_string());
    if before.is_none() {
        tracing::warn!(target: "mobula", "values cannot be spilled: {error}");
    }
}

fn forget_fault() {
    *FAULT.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

static SPILLED: AtomicU64 = AtomicU64::new(0);
static SPILLED_COUNT: AtomicU64 = AtomicU64::new(0);
static RESTORED: AtomicU64 = AtomicU64::new(0);
static RESTORED_COUNT: AtomicU64 = AtomicU64::new(0);

pub(super) fn note_restored(bytes: u64) {
    RESTORED.fetch_add(bytes, Ordering::Relaxed);
    RESTORED_COUNT.fetch_add(1, Ordering::Relaxed);
}

/// Reads the parts of a value; those that lay in shared memory come back into it, unless there is no room and
/// the thread does not wait. How many bytes came to the heap instead.
pub(super) fn read(spilled: &Spilled, were_shared: &[bool]) -> Result<(Vec<Bytes>, u64), Lost> {
    let mut reader = spilled.reader();
    let mut elsewhere = 0;
    let mut parts = Vec::with_capacity(were_shared.len());
    for (len, was_shared) in spilled.parts().iter().zip(were_shared) {
        let len = usize::try_from(*len).unwrap_or(usize::MAX);
        let mut result = Ok(());
        let mut read = |bytes: &mut [u8]| result = reader.next(bytes);
        let memory = super::shared_memory().filter(|_| *was_shared);
        let part = match memory.map(|memory| memory.write(len, &mut read)) {
            Some(Ok(part)) => part,
            Some(Err(error)) if !HURRIES.get() => return Err(Lost::NoRoom(error)),
            on_heap => {
                elsewhere += if on_heap.is_some() { len as u64 } else { 0 };
                let mut bytes = vec![0; len];
                read(&mut bytes);
                bytes.into()
            }
        };
        result.map_err(Lost::Faulty)?;
        parts.push(part);
    }
    reader.finish().map_err(Lost::Faulty)?;
    Ok((parts, elsewhere))
}

/// Why a value did not come back.
pub(super) enum Lost {
    /// It may later.
    NoRoom(Error),
    Faulty(io::Error),
}

/// What left memory and came back, in bytes and values.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SpillStats {
    pub(crate) spilled: u64,
    pub(crate) spilled_count: u64,
    pub(crate) restored: u64,
    pub(crate) restored_count: u64,
    /// Values in memory that may leave it, and of those what is read now.
    pub(crate) here: u64,
    pub(crate) here_count: u64,
    pub(crate) pinned: u64,
    pub(crate) pinned_count: u64,
    /// Values that are in files alone.
    pub(crate) away: u64,
    pub(crate) away_count: u64,
}

pub(crate) fn stats() -> SpillStats {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let mut stats = SpillStats {
        spilled: count(&SPILLED),
        spilled_count: count(&SPILLED_COUNT),
        restored: count(&RESTORED),
        restored_count: count(&RESTORED_COUNT),
        ..SpillStats::default()
    };
    for candidate in watched().iter().filter_map(|object| object.head().candidate()) {
        let (bytes, values) = if candidate.is_pinned {
            (&mut stats.pinned, &mut stats.pinned_count)
        } else if candidate.is_here {
            (&mut stats.here, &mut stats.here_count)
        } else {
            (&mut stats.away, &mut stats.away_count)
        };
        *bytes += candidate.size;
        *values += 1;
    }
    stats
}

/// The files of this process.
pub(crate) fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(|| Files::new(default_base()))
}

/// Where sessions spill unless told otherwise: a directory of this user's among the temporary ones.
pub(crate) fn default_base() -> std::path::PathBuf {
    #[cfg(unix)]
    let user = std::fs::metadata("/proc/self").map(|data| std::os::unix::fs::MetadataExt::uid(&data));
    #[cfg(not(unix))]
    let user = io::Result::Ok(0);
    std::env::temp_dir().join(format!("mobula-{}", user.unwrap_or_default()))
}
