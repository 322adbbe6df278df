//! The object store: slots that a call fills once and any number of readers wait for.
//!
//! ```text
//! ObjectRef ─┐                            ┌─ waiters: threads, wakers, calls that need the value
//! ObjectRef ─┼─► Slot<T> { head, value } ─┤
//! mailbox ───┘      │                     └─ job: the call itself
//!                   └ id ──► Table: an arena of generation-checked places
//! ```
//!
//! A call and its result are one piece of memory: it is born with the job inside, whoever takes it from
//! its queue has the one right to run the job, and whoever comes first completes it.
//! Cancelling, timing out and shutting down are nothing but completing a slot from outside.
//!
//! What all of it takes is counted, in this process and in all of its session, and bounded: the values that
//! were read longest ago leave memory for files, and come back when they are read.
//!
//! ```text
//! room: numbers ◄── spill: who leaves, who waits ──► spill::files ◄── slot::stay: is it here, is it read
//! ```
//!
//! Large values lie beside them, in memory that other processes can map:
//!
//! ```text
//! share: whoever writes large values ─► shared: an arena of memory that others map, if there are processes
//! ```
//!
//! Invariants:
//! - a slot's state only grows: `EMPTY`, `CLAIMED`, (`DEPOSITED`,) `READY` or `FAILED`, `TAKEN`;
//! - its value is written once, by who claimed it, before the state says so;
//! - a call's result is seen only after the call has put its arguments away;
//! - its value is read only through a counted ref, and moved out only by the last of them;
//! - an error always says in which call it arose;
//! - nobody is called back while a lock is held, and a callback never recurses into another;
//! - an entry in the [`Table`] exists only for slots whose id somebody asked for;
//! - bytes of an extent change only before its `Bytes` are made and after the last of them is dropped;
//! - nothing of an arena is made or touched before the first write.
//!
//! `unsafe` is allowed in this room alone; `slot.rs` and the files of `shared` say at each block why it
//! holds. Miri runs over it with the heap as memory, and loom over the slot, see `.ci/run`.

#![allow(unsafe_code)]

mod count;
mod meter;
mod notify;
mod room;
mod share;
#[cfg(all(feature = "process", target_os = "linux"))]
mod shared;
mod slot;
mod spill;
mod sync;
mod table;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub(crate) use meter::Meter;
pub(crate) use notify::{Listener, Waiter};
#[cfg(test)]
pub(crate) use room::Room;
pub(crate) use room::{WAIT, room};
pub(crate) use share::Share;
#[cfg(all(feature = "process", target_os = "linux"))]
pub(crate) use shared::{
    Arena, BoardSlot, Boards, Inlet, Mark, MarkView, Outlet, RING, Rings, Witness, arena, join_board,
    set_arena_owner,
};
pub(crate) use slot::{
    Away, Built, Counted, Job, Object, Of, Pinned, Progress, Seat, Slot, Started, call, live, start,
};
pub use slot::{LocalFuture, Pins};
pub(crate) use spill::{
    default_base, files, hurry, hurrying, largest, set_others, stats as spill_stats, watch,
};
pub(crate) use table::Table;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::Definition;
use crate::value::Value;

/// What a session may have, and where the rest goes.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// What all its processes may have together, in bytes.
    pub(crate) limit: u64,
    /// How long who puts something waits for room.
    pub(crate) wait: Duration,
    /// Where values are spilled to.
    pub(crate) spill: PathBuf,
}

/// A session begins.
pub(crate) fn bound(bounds: &Bounds) {
    room().set_limit(bounds.limit);
    room().set_wait(bounds.wait);
    files().set_base(bounds.spill.clone());
    if let Some(memory) = shared_memory() {
        memory.fit(bounds.limit);
    }
}

/// Gives back what nobody uses, and has so much leave memory, since somebody else needs it.
pub(crate) fn relieve(bytes: u64) {
    if let Some(memory) = shared_memory() {
        memory.give_back();
    }
    spill::spill(bytes);
    if let Some(memory) = shared_memory() {
        memory.give_back();
    }
}

/// An object whose value somebody puts, as soon as there is room for it.
///
/// `StoreFull` if there is none in time.
pub(crate) fn put<T: Value>(definition: &'static Definition, value: T) -> Result<Arc<Slot<T>>> {
    let size = spill::Size::of(&value);
    size.admit(definition.name)?;
    let slot = Slot::counted(definition, value, size);
    let object: Arc<dyn Object> = slot.clone();
    watch(&object);
    Ok(slot)
}

/// As [`put`], if there is room now; gives the value back otherwise.
pub(crate) fn try_put<T: Value>(
    definition: &'static Definition,
    value: T,
) -> std::result::Result<Arc<Slot<T>>, T> {
    let size = spill::Size::of(&value);
    if spill::hurrying(|| size.admit(definition.name)).is_err() {
        return Err(value);
    }
    let slot = Slot::counted(definition, value, size);
    let object: Arc<dyn Object> = slot.clone();
    watch(&object);
    Ok(slot)
}

/// Does something that takes a while on a thread of its own.
pub(crate) async fn elsewhere<R: Send + 'static>(
    f: impl FnOnce() -> Result<R> + Send + 'static,
) -> Result<R> {
    let (told, heard) = tokio::sync::oneshot::channel();
    let body = move || drop(told.send(f()));
    let refused = |error: std::io::Error| {
        Error::new(ErrorKind::TooManyThreads, format!("the system gives no more threads: {error}"))
    };
    std::thread::Builder::new().name("mobula-put".into()).spawn(body).map_err(refused)?;
    heard.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::StoreFull, "the wait for room panicked")))
}

/// The memory of this process that others can map; `None` in a build without processes.
#[allow(clippy::unnecessary_wraps, reason = "there is none in a build without processes")]
pub(crate) fn shared_memory() -> Option<&'static dyn Share> {
    cfg_select! {
        all(feature = "process", target_os = "linux") => { Some(arena()) }
        _ => { None }
    }
}

/// Puts bytes where other processes can read them, if there are any.
pub(crate) fn place(bytes: &[u8]) -> Result<Bytes> {
    shared_memory().map_or_else(|| Ok(Bytes::copy_from_slice(bytes)), |shared| shared.copy(bytes))
}
