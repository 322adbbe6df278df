//! Whether a value is in memory: who reads it pins it, who needs room moves it out.
//!
//! ```text
//!              pins = 0                       bytes are in a file
//!   Here { pins } ─────► Moving ───────────────────► Away
//!      ▲                   │  ▲                        │ somebody reads it
//!      └───────────────────┘  └────────────────────────┘
//! ```
//!
//! Invariants:
//! - the value is in its slot while the stay is `Here`, and nobody but who moved the stay to `Moving` touches
//!   the slot until it is something else;
//! - only a value that nobody has pinned is moved, and only who has pinned it reads it;
//! - whoever finds it `Moving` waits until it is not: for one write or read of a file, and no lock is held
//!   meanwhile;
//! - what was written stays in its file as long as the object, since a value does not change; so it is written
//!   once.

use std::any::Any;
use std::cell::Cell;
use std::iter;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use bytes::Bytes;

use super::{Counted, Head, Object, Pinned, READY, SPILLS};
use crate::error::{Error, ErrorKind, Result};
use crate::store;
use crate::store::spill::{self, Lost, Size, Spilled};
use crate::value::{Encoded, Kept, Packer};

/// In what the weight of a value that stays is kept, in bytes.
const WEIGHT_UNIT: u64 = 16;

/// Of a value that may leave memory.
pub(super) struct Stay {
    at: At,
    /// What it takes, with what lies in shared memory.
    size: u64,
    /// What is counted for it while it is in memory.
    charged: u64,
    /// What of it came back to the heap where shared memory had no room, and is counted beside that.
    on_heap: u64,
    /// When it was read last: a number that grows.
    used: u64,
    written: Option<Written>,
}

enum At {
    Here { pins: u32 },
    Moving(Arc<Turnstile>),
    Away,
}

/// A value in a file.
struct Written {
    bytes: Spilled,
    /// Which parts lay in shared memory.
    were_shared: Box<[bool]>,
    /// What those bytes name.
    kept: Vec<Kept>,
}

/// Where those wait who find a value on its way.
#[derive(Default)]
struct Turnstile {
    is_open: Mutex<bool>,
    opened: Condvar,
}

impl Turnstile {
    fn open(&self) {
        *self.is_open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.opened.notify_all();
    }

    fn wait(&self) {
        let mut is_open = self.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_open {
            is_open = self.opened.wait(is_open).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a value that could leave memory is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    /// What it takes, with what lies in shared memory.
    pub(crate) size: u64,
    /// When it was read last.
    pub(crate) used: u64,
    /// Whether somebody reads it.
    pub(crate) is_pinned: bool,
    /// Whether it is in memory.
    pub(crate) is_here: bool,
}

thread_local! {
    /// Whether this thread moves a value, so that users' code runs here on its behalf.
    static MOVING: Cell<bool> = const { Cell::new(false) };
}

/// Until it is dropped this thread moves a value.
struct Mover;

impl Mover {
    /// `None` if it does so already.
    fn begin() -> Option<Self> {
        (!MOVING.replace(true)).then_some(Self)
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        MOVING.set(false);
    }
}

/// Puts a stay back as it was, and lets those go on who wait, also when users' code panics.
struct Passage<'a> {
    head: &'a Head,
    turnstile: Arc<Turnstile>,
    then: Option<At>,
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        let mut control = self.head.lock();
        if let (Some(at), Some(stay)) = (self.then.take(), stay_of(&mut control)) {
            stay.at = at;
        }
        drop(control);
        self.turnstile.open();
    }
}

fn stay_of(control: &mut super::Control) -> Option<&mut Stay> {
    control.terms.as_mut()?.stay.as_deref_mut()
}

impl Head {
    /// Whether the value may leave memory.
    pub(crate) fn spills(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & SPILLS != 0
    }

    /// Says what the value takes, before it is shown.
    pub(super) fn note_size(&self, size: Size) {
        if !size.spills {
            let units = size.charged / WEIGHT_UNIT;
            self.weight.store(u16::try_from(units).unwrap_or(u16::MAX), Ordering::Relaxed);
            return;
        }
        let (at, used) = (At::Here { pins: 0 }, spill::tick());
        let stay = Stay { at, size: size.all, charged: size.charged, on_heap: 0, used, written: None };
        self.lock().terms.get_or_insert_default().stay = Some(Box::new(stay));
        self.flags.fetch_or(SPILLS, Ordering::Relaxed);
    }

    /// The value has left its slot for good.
    pub(super) fn uncount(&self) {
        let weight = self.weight.swap(0, Ordering::Relaxed);
        if weight > 0 {
            spill::discharge(u64::from(weight) * WEIGHT_UNIT);
        }
        if self.spills() {
            let stay = self.lock().terms.as_mut().and_then(|terms| terms.stay.take());
            if let Some(Stay { at: At::Here { .. }, charged, on_heap, .. }) = stay.as_deref() {
                spill::discharge(*charged);
                spill::discharge(*on_heap);
            }
        }
    }

    /// What the value is like, if it may leave memory.
    pub(crate) fn candidate(&self) -> Option<Candidate> {
        let mut control = self.lock();
        if self.state.load(Ordering::Acquire) != READY {
            return None;
        }
        let stay = stay_of(&mut control)?;
        Some(Candidate {
            size: stay.size,
            used: stay.used,
            is_pinned: matches!(stay.at, At::Here { pins: 1.. }),
            is_here: matches!(stay.at, At::Here { .. }),
        })
    }

    /// Drops the copy of the value that was made for other processes; how many bytes it has.
    pub(crate) fn drop_copy(&self) -> u64 {
        let copy = self.lock().terms.as_mut().and_then(|terms| terms.shared.take());
        // Somebody makes one just now.
        let copy = copy.and_then(|copy| copy.try_lock().ok().and_then(|mut copy| copy.take()));
        copy.map_or(0, |copy| copy.len() as u64)
    }

    /// Who has pinned the value reads it no more.
    pub(super) fn unpin(&self) {
        if !self.spills() {
            return;
        }
        if let Some(Stay { at: At::Here { pins }, .. }) = stay_of(&mut self.lock()) {
            *pins -= 1;
        }
    }
}

impl dyn Object {
    /// Moves the value out of memory; how many bytes that gave, none if somebody reads it or it is gone.
    pub(crate) fn spill(self: &Arc<Self>) -> std::io::Result<u64> {
        let Some(_mover) = Mover::begin() else { return Ok(0) };
        let head = self.head();
        let mut control = head.lock();
        if head.state.load(Ordering::Acquire) != READY {
            return Ok(0);
        }
        let Some(stay) = stay_of(&mut control) else { return Ok(0) };
        if !matches!(stay.at, At::Here { pins: 0 }) {
            return Ok(0);
        }
        let turnstile = Arc::<Turnstile>::default();
        stay.at = At::Moving(turnstile.clone());
        let (size, charged, is_written) = (stay.size, stay.charged, stay.written.is_some());
        drop(control);
        let mut passage = Passage { head, turnstile, then: Some(At::Here { pins: 0 }) };
        if !is_written {
            let written = catch_unwind(AssertUnwindSafe(|| self.write()));
            let panicked = |_| Err(Error::new(ErrorKind::Encode, "its `Serialize` panics"));
            let written = match written.unwrap_or_else(panicked) {
                Ok(written) => written?,
                // What cannot be serialised stays.
                Err(error) => {
                    tracing::debug!(target: "mobula", "{self:?} cannot leave memory: {error}");
                    let mut control = head.lock();
                    if let Some(stay) = stay_of(&mut control) {
                        stay.used = u64::MAX;
                    }
                    return Ok(0);
                }
            };
            if let Some(stay) = stay_of(&mut head.lock()) {
                stay.written = Some(written);
            }
        }
        // SAFETY: the stay is `Moving` because this thread made it so, when nobody had pinned the value.
        unsafe { self.evict() };
        head.drop_copy();
        spill::discharge(charged);
        let on_heap = head.with_stay(|stay| Some(std::mem::take(&mut stay.on_heap)));
        spill::discharge(on_heap.unwrap_or(0));
        passage.then = Some(At::Away);
        Ok(size)
    }

    /// Writes the value into a file.
    fn write(&self) -> Result<std::io::Result<Written>> {
        let mut packer = Packer::passing(lent);
        // SAFETY: the object is complete, and its value stays until this thread has moved it.
        unsafe { self.pack_value(&mut packer) }?;
        let Encoded { bytes, buffers, kept } = packer.finish();
        let parts: Vec<&[u8]> =
            iter::once(&bytes[..]).chain(buffers.iter().map(|buffer| &buffer[..])).collect();
        let is_shared = |part: &&[u8]| store::shared_memory().is_some_and(|memory| memory.holds(part));
        let were_shared = parts.iter().map(is_shared).collect();
        Ok(spill::files().write(&parts).map(|bytes| Written { bytes, were_shared, kept }))
    }
}

/// Where a value's plain numbers lie while `write` has them, which alone may use this.
#[allow(clippy::unnecessary_wraps, reason = "other places may have no room")]
fn lent(bytes: &[u8]) -> Result<Bytes> {
    // SAFETY: `write` drops what was packed before it returns, and until then the value stays where it is.
    Ok(Bytes::from_static(unsafe { std::mem::transmute::<&[u8], &'static [u8]>(bytes) }))
}

impl<O: Object + ?Sized> Drop for Pinned<O> {
    fn drop(&mut self) {
        self.0.object.head().unpin();
    }
}

impl<O: Object + ?Sized> Clone for Pinned<O> {
    fn clone(&self) -> Self {
        let head = self.0.object.head();
        if head.spills()
            && let Some(Stay { at: At::Here { pins }, .. }) = stay_of(&mut head.lock())
        {
            *pins += 1;
        }
        Self(self.0.clone())
    }
}

impl<O: Object + ?Sized> Counted<O> {
    /// A ref that keeps the value in memory, where it comes back if it is not there.
    ///
    /// `ObjectLost` if it cannot be read back, `StoreFull` if there is no room for it in time. On a thread that
    /// does not wait it comes back whatever room there is: others make way.
    pub(crate) fn pin(&self) -> Result<Pinned<O>> {
        self.enter()?;
        Ok(Pinned(self.clone()))
    }

    /// Pins the value, until [`unpin`](Head::unpin).
    pub(super) fn enter(&self) -> Result<()> {
        let head = self.object.head();
        // Whether it may leave memory is known when it is there.
        if !head.is_complete() {
            return Err(Error::new(ErrorKind::ObjectLost, "the value is not there yet"));
        }
        if !head.spills() {
            return Ok(());
        }
        loop {
            let mut control = head.lock();
            let Some(stay) = stay_of(&mut control) else { return Ok(()) };
            stay.used = stay.used.max(spill::tick());
            match &mut stay.at {
                At::Here { pins } => {
                    *pins += 1;
                    return Ok(());
                }
                At::Moving(turnstile) => {
                    let turnstile = turnstile.clone();
                    drop(control);
                    if MOVING.get() {
                        let text = "the value is on its way to a file, on this thread";
                        return Err(Error::new(ErrorKind::Deadlock, text));
                    }
                    turnstile.wait();
                }
                At::Away => {
                    let turnstile = Arc::<Turnstile>::default();
                    stay.at = At::Moving(turnstile.clone());
                    let charged = stay.charged;
                    drop(control);
                    let mut passage = Passage { head, turnstile, then: Some(At::Away) };
                    self.bring_back(charged)?;
                    passage.then = Some(At::Here { pins: 0 });
                }
            }
        }
    }

    /// Reads the value from its file into its slot.
    fn bring_back(&self, charged: u64) -> Result<()> {
        let head = self.object.head();
        let taken = head.with_stay(|stay| stay.written.take());
        let Some(written) = taken else {
            return Err(Error::new(ErrorKind::ObjectLost, "the value is in no file"));
        };
        let read = spill::take_back(charged, head.definition().name)
            .and_then(|()| self.read_from(&written).inspect_err(|_| spill::discharge(charged)));
        head.with_stay(|stay| {
            stay.written = Some(written);
            stay.on_heap = read.as_ref().map_or(0, |on_heap| *on_heap);
            None::<()>
        });
        read.map(drop)
    }

    /// What of it is on the heap now that was in shared memory.
    fn read_from(&self, written: &Written) -> Result<u64> {
        let name = self.object.head().definition().name;
        let lost = |why: &dyn std::fmt::Display| {
            let text = format!("the value of `{name}` cannot be read from {}: {why}", written.bytes.place());
            Error::new(ErrorKind::ObjectLost, text)
        };
        let (mut parts, more) =
            spill::read(&written.bytes, &written.were_shared).map_err(|why| match why {
                Lost::NoRoom(error) => error,
                Lost::Faulty(error) => lost(&error),
            })?;
        let bytes = parts.remove(0).into();
        let value = Encoded { bytes, buffers: parts, kept: written.kept.clone() };
        // SAFETY: the stay is `Moving` because this thread made it so, when the value was away.
        let restored = catch_unwind(AssertUnwindSafe(|| unsafe { self.object.restore(value) }));
        restored.map_err(|panic| lost(&said(&*panic)))?.map_err(|error| lost(&error))?;
        spill::note_restored(written.bytes.len());
        spill::take_back(more, name)?;
        Ok(more)
    }

    /// Writes the value, or says why there is none.
    pub(crate) fn pack(&self, packer: &mut Packer) -> Result<()> {
        if !self.object.head().is_complete() {
            return Err(Error::new(ErrorKind::ObjectLost, "the value is not there yet"));
        }
        let pinned = self.pin()?;
        // SAFETY: this is a counted ref, the object is complete, and its value is pinned.
        unsafe { pinned.0.object.pack_value(packer) }
    }
}

/// What a panic said.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    format!("its `Deserialize` panics: {}", text.unwrap_or("(no message)"))
}

impl Head {
    fn with_stay<R>(&self, f: impl FnOnce(&mut Stay) -> Option<R>) -> Option<R> {
        stay_of(&mut self.lock()).and_then(f)
    }
}
