//! Runs calls on actix: actors with a thread of their own, actors on shared arbiters, functions.
//!
//! ```text
//! Stage ── an actix System on a thread of its own; its Foreman starts every other thread
//!   ├─ SyncHost   a sync class: one-thread SyncArbiter actor, told once to serve its mailbox
//!   ├─ AsyncHost  an async or "shared" class: a Context on one of the shared arbiters
//!   └─ Pool       members that run functions: one-thread SyncArbiter actors over one queue
//! ```
//!
//! # Why actix
//!
//! Actix gives what an actor runtime should not write again: contexts that run thousands of actors on
//! one thread beside tokio's timers and sockets, arbiters that own those threads, and a System that
//! ends them all. What it does not give is bypassed, and said here: a `SyncArbiter` sends every message
//! through the arbiter that started it, two thread hops, so a host is sent one message for its life and
//! takes calls from a channel of its own; supervision does not survive a panic, so panics are caught
//! inside the handler and the state is rebuilt there; a full mailbox drops silently, so calls wait in a
//! queue that can be asked and drained, and actix's mailbox carries the wake-ups.
//!
//! Invariants: every call taken from a queue is completed, also when its code panics; no lock is held
//! while user code runs; whatever a call holds comes back when it has really returned.

mod async_host;
mod attempt;
mod pool;
mod stage;
mod sync_host;
mod threads;

use std::sync::Arc;

pub(crate) use async_host::{HostSeat, Inbox};
pub(crate) use attempt::install_hook;
pub(crate) use pool::Pool;
pub(crate) use stage::Stage;
pub(crate) use sync_host::{SyncMailbox, host as host_sync};
pub(crate) use threads::Threads;

use crate::id::{NodeId, WorkerId};
use crate::runtime::{ActorCore, Lease};
use crate::store::Started;

/// Whom hosts and pool members ask and tell.
pub(crate) trait Desk: Send + Sync {
    /// Puts one CPU into `lease`, waiting for it; `false` if the session ends first.
    fn take_cpu(&self, lease: &Lease) -> bool;
    /// Takes back what is in `lease`.
    fn give_back(&self, lease: &Lease);
    /// Whether somebody waits for CPUs that a pool member holds between two tasks.
    fn wants_cpu(&self) -> bool;
    /// Whether the session ends, so that idle threads go.
    fn is_ending(&self) -> bool;
    /// An actor has ended and its state is dropped.
    fn actor_ended(&self, actor: &Arc<ActorCore>);
    /// Where this is.
    fn place(&self) -> (NodeId, WorkerId);
}

/// What a host needs to build its actor, and to build it again.
pub(crate) struct Blueprint {
    /// The constructor, kept while a restart is left.
    pub(crate) constructor: Option<Started>,
    pub(crate) restarts: u32,
    pub(crate) lease: Option<Arc<Lease>>,
}
