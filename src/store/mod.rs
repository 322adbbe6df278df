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
//! Invariants:
//! - a slot's state only grows: `EMPTY`, `CLAIMED`, (`DEPOSITED`,) `READY` or `FAILED`, `TAKEN`;
//! - its value is written once, by who claimed it, before the state says so;
//! - a call's result is seen only after the call has put its arguments away;
//! - its value is read only through a counted ref, and moved out only by the last of them;
//! - an error always says in which call it arose;
//! - nobody is called back while a lock is held, and a callback never recurses into another;
//! - an entry in the [`Table`] exists only for slots whose id somebody asked for.
//!
//! `unsafe` is allowed in this room alone; `slot.rs` says at each block why it holds.

#![allow(unsafe_code)]

mod count;
mod meter;
mod notify;
mod slot;
mod table;

pub(crate) use meter::Meter;
pub(crate) use notify::{Listener, Waiter};
pub use slot::LocalFuture;
pub(crate) use slot::{Built, Counted, Job, Object, Of, Progress, Seat, Slot, Started, call, live, start};
pub(crate) use table::Table;
