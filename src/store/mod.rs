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
mod share;
#[cfg(all(feature = "process", target_os = "linux"))]
mod shared;
mod slot;
mod sync;
mod table;

use bytes::Bytes;

pub(crate) use meter::Meter;
pub(crate) use notify::{Listener, Waiter};
pub(crate) use share::Share;
#[cfg(all(feature = "process", target_os = "linux"))]
pub(crate) use shared::{Arena, Inlet, Mark, MarkView, Outlet, RING, Rings, Witness, arena, set_arena_owner};
pub use slot::LocalFuture;
pub(crate) use slot::{
    Away, Built, Counted, Job, Object, Of, Progress, Seat, Slot, Started, call, live, start,
};
pub(crate) use table::Table;

use crate::error::Result;

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
