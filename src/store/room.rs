//! How many bytes the object store may have, and how many it has: here and in all of the session.
//!
//! ```text
//! limit ── what all processes of the session may have together
//! slot 0 │ slot 1 │ slot 2 │ ...   each process counts in its own: memory of segments, values on its heap
//! ```
//!
//! With worker processes the slots lie in a page that all of them map, so nobody is asked before a write.
//! Who wants more adds it to its slot first and looks at the sum then: of two who want the last room at
//! once both may be refused, never both be let in. The slot of a process that is gone is emptied by its
//! parent.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

/// How long a write waits for room unless told otherwise.
pub(crate) const WAIT: Duration = Duration::from_secs(10);

/// Where the numbers are.
pub(crate) trait Slots: Send + Sync {
    /// What all may have together.
    fn limit(&self) -> &AtomicU64;
    /// What this process has.
    fn own(&self) -> &AtomicU64;
    /// What all have.
    fn sum(&self) -> u64;
    /// Which process claims what becomes free: its number, or 0.
    fn claim(&self) -> &AtomicU64;
    /// The number of this process.
    fn number(&self) -> u64;
}

/// The numbers of a process without others.
struct Alone {
    limit: AtomicU64,
    own: AtomicU64,
    claim: AtomicU64,
}

impl Slots for Alone {
    fn limit(&self) -> &AtomicU64 {
        &self.limit
    }

    fn own(&self) -> &AtomicU64 {
        &self.own
    }

    fn sum(&self) -> u64 {
        total([&self.own])
    }

    fn claim(&self) -> &AtomicU64 {
        &self.claim
    }

    fn number(&self) -> u64 {
        1
    }
}

/// The sum of slots; one may be below zero for a moment, since small values are counted late.
pub(crate) fn total<'a>(slots: impl IntoIterator<Item = &'a AtomicU64>) -> u64 {
    let sum = slots.into_iter().fold(0_u64, |sum, slot| sum.wrapping_add(slot.load(Ordering::SeqCst)));
    u64::try_from(sum.cast_signed()).unwrap_or(0)
}

/// The bytes of the object store, counted.
pub(crate) struct Room {
    slots: RwLock<Option<Box<dyn Slots>>>,
    alone: Alone,
    /// How long a write waits, in milliseconds.
    wait_ms: AtomicU64,
}

impl Room {
    pub(crate) fn new() -> Self {
        let alone =
            Alone { limit: AtomicU64::new(u64::MAX), own: AtomicU64::new(0), claim: AtomicU64::new(0) };
        Self { slots: RwLock::new(None), alone, wait_ms: AtomicU64::new(WAIT.as_millis() as u64) }
    }

    /// For an arena of a test, which nobody else counts with.
    #[cfg(test)]
    pub(crate) fn of_its_own() -> Arc<Self> {
        Arc::new(Self::new())
    }

    fn read(&self) -> RwLockReadGuard<'_, Option<Box<dyn Slots>>> {
        self.slots.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<R>(&self, f: impl FnOnce(&dyn Slots) -> R) -> R {
        match &*self.read() {
            Some(slots) => f(&**slots),
            None => f(&self.alone),
        }
    }

    /// Counts among others from now on; what is counted here is taken along.
    pub(crate) fn join(&self, slots: Box<dyn Slots>) {
        let mut place = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let own = match &*place {
            Some(before) => before.own().load(Ordering::SeqCst),
            None => self.alone.own.load(Ordering::SeqCst),
        };
        slots.own().fetch_add(own, Ordering::SeqCst);
        *place = Some(slots);
    }

    /// What all processes may have together, in bytes.
    pub(crate) fn set_limit(&self, bytes: u64) {
        self.with(|slots| slots.limit().store(bytes, Ordering::SeqCst));
    }

    pub(crate) fn limit(&self) -> u64 {
        self.with(|slots| slots.limit().load(Ordering::SeqCst))
    }

    /// How long a write waits for room.
    pub(crate) fn set_wait(&self, wait: Duration) {
        self.wait_ms.store(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.wait_ms.load(Ordering::Relaxed))
    }

    /// What all have.
    pub(crate) fn sum(&self) -> u64 {
        self.with(|slots| slots.sum())
    }

    /// What this process has.
    #[cfg(test)]
    pub(crate) fn own(&self) -> u64 {
        self.with(|slots| slots.own().load(Ordering::SeqCst))
    }

    /// How much all have beyond what they may.
    pub(crate) fn excess(&self) -> u64 {
        self.with(|slots| slots.sum().saturating_sub(slots.limit().load(Ordering::SeqCst)))
    }

    /// Has others take nothing more until [`unclaim`](Self::unclaim); `false` if another process has that.
    pub(crate) fn claim(&self) -> bool {
        self.with(|slots| {
            let number = slots.number();
            let before = slots.claim().compare_exchange(0, number, Ordering::SeqCst, Ordering::SeqCst);
            before.is_ok()
        })
    }

    pub(crate) fn unclaim(&self) {
        self.with(|slots| {
            let number = slots.number();
            let _ = slots.claim().compare_exchange(number, 0, Ordering::SeqCst, Ordering::SeqCst);
        });
    }

    /// What all may still have.
    pub(crate) fn left(&self) -> u64 {
        self.with(|slots| slots.limit().load(Ordering::SeqCst).saturating_sub(slots.sum()))
    }

    /// Whether another process claims what becomes free.
    pub(crate) fn is_claimed_elsewhere(&self) -> bool {
        self.with(|slots| ![0, slots.number()].contains(&slots.claim().load(Ordering::SeqCst)))
    }

    /// Counts so much more if all may have it, and no other process claims it.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        self.with(|slots| {
            let claim = slots.claim().load(Ordering::SeqCst);
            if claim != 0 && claim != slots.number() {
                return false;
            }
            slots.own().fetch_add(bytes, Ordering::SeqCst);
            let fits = slots.sum() <= slots.limit().load(Ordering::SeqCst);
            if !fits {
                slots.own().fetch_sub(bytes, Ordering::SeqCst);
            }
            fits
        })
    }

    /// Counts what is there already.
    pub(crate) fn charge(&self, bytes: u64) {
        self.with(|slots| slots.own().fetch_add(bytes, Ordering::SeqCst));
    }

    /// Counts so much less.
    pub(crate) fn give(&self, bytes: u64) {
        self.with(|slots| slots.own().fetch_sub(bytes, Ordering::SeqCst));
    }
}

/// The room of this process.
pub(crate) fn room() -> &'static Arc<Room> {
    static ROOM: LazyLock<Arc<Room>> = LazyLock::new(|| Arc::new(Room::new()));
    &ROOM
}

/// What a thread may keep to itself of small values, in bytes.
const STEP: i64 = 64 * 1024;

/// A thread's own part of what small values take; handed in when the thread ends.
struct Own(Cell<i64>);

impl Drop for Own {
    fn drop(&mut self) {
        hand_in(self.0.get());
    }
}

thread_local! {
    static OWN: Own = const { Own(Cell::new(0)) };
}

fn hand_in(sum: i64) {
    if sum >= 0 {
        room().charge(sum.unsigned_abs());
    } else {
        room().give(sum.unsigned_abs());
    }
}

/// Counts a small value that came or went; the sum is off by at most one step for each thread.
pub(crate) fn change(bytes: i64) {
    let sum = OWN.try_with(|own| {
        let sum = own.0.get() + bytes;
        let handed_in = if sum.abs() >= STEP { sum } else { 0 };
        own.0.set(sum - handed_in);
        handed_in
    });
    let sum = sum.unwrap_or(bytes);
    if sum != 0 {
        hand_in(sum);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_is_taken_stays_below_the_limit_whoever_takes_it() {
        let room = Room::new();
        room.set_limit(1_000);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..if cfg!(miri) { 20 } else { 2_000 } {
                        if room.take(300) {
                            room.give(300);
                        }
                    }
                });
            }
        });
        assert_eq!(room.own(), 0);
        assert_eq!(
            [room.take(600), room.take(401), room.take(400), room.take(1)],
            [true, false, true, false]
        );
        room.charge(50);
        assert_eq!((room.sum(), room.excess()), (1_050, 50));
    }

    #[test]
    fn whoever_joins_others_takes_along_what_it_has() {
        struct Two(Arc<[AtomicU64; 4]>);
        impl Slots for Two {
            fn limit(&self) -> &AtomicU64 {
                &self.0[0]
            }

            fn own(&self) -> &AtomicU64 {
                &self.0[1]
            }

            fn sum(&self) -> u64 {
                total(&self.0[1..3])
            }

            fn claim(&self) -> &AtomicU64 {
                &self.0[3]
            }

            fn number(&self) -> u64 {
                1
            }
        }
        let all: Arc<[AtomicU64; 4]> = Arc::new([100.into(), 0.into(), 30.into(), 0.into()]);
        let room = Room::new();
        assert!(room.take(40));
        room.join(Box::new(Two(all.clone())));
        assert_eq!((room.sum(), room.take(31), room.take(30)), (70, false, true));
        assert_eq!(all[1].load(Ordering::SeqCst), 70);
        room.give(70);
        all[3].store(2, Ordering::SeqCst);
        assert_eq!((room.take(1), room.claim()), (false, false), "another claims it");
        all[3].store(0, Ordering::SeqCst);
        assert!(room.claim() && room.take(1), "this one does");
        room.unclaim();
        assert_eq!(all[3].load(Ordering::SeqCst), 0);
    }
}
