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

use async_host::{HostSeat, Inbox};
pub(crate) use attempt::{Outcome, caught, guard, install_hook, packed, put_away};
pub(crate) use pool::{Pool, run_alone};
pub(crate) use stage::Stage;
pub(crate) use threads::Threads;

use sync_host::SyncMailbox;

use crate::id::{NodeId, WorkerId};
use crate::runtime::{ActorCore, Lease, Letter, Mailbox};
use crate::store::{Object, Started};

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
    /// Who runs a task that is not to run on a thread here.
    fn courier(&self, task: &Arc<dyn Object>) -> Option<Arc<dyn Courier>>;
    /// A call to an actor is about to run; `false` if it may not any more, since the actor was killed.
    fn begun(&self, _call: &Arc<dyn Object>) -> bool {
        true
    }
    /// An actor is about to be built anew after a crash.
    fn rebuilt(&self, _actor: &Arc<ActorCore>) {}
}

/// Runs tasks elsewhere, on the time of the thread that asks it to.
pub(crate) trait Courier: Send + Sync {
    /// Runs an attempt, and returns when it has. The value is left in the object.
    fn attempt(&self, call: &mut Started, number: u32) -> Outcome;
}

/// Where an actor's host will be.
pub(crate) enum Site {
    /// On a thread of its own.
    Thread(crossbeam::channel::Receiver<Letter>),
    /// On a shared arbiter.
    Arbiter(HostSeat),
}

impl Site {
    /// A mailbox, and where who reads it will be.
    pub(crate) fn choose(is_shared: bool, stage: &Stage, desk: Arc<dyn Desk>) -> (Arc<dyn Mailbox>, Self) {
        if is_shared {
            let (mailbox, seat) = Inbox::start(stage, desk);
            return (mailbox, Self::Arbiter(seat));
        }
        let (mailbox, letters) = SyncMailbox::new();
        (Arc::new(mailbox), Self::Thread(letters))
    }

    /// Hosts an actor there. `None`, and nothing done, if there may be no more threads; if the system
    /// refuses one, `refused` is done.
    pub(crate) fn host(
        self,
        actor: Arc<ActorCore>,
        blueprint: Blueprint,
        desk: Arc<dyn Desk>,
        stage: &Arc<Stage>,
        refused: impl FnOnce() + Send + 'static,
    ) -> Option<()> {
        match self {
            Self::Arbiter(seat) => {
                seat.host(actor, blueprint);
                Some(())
            }
            Self::Thread(letters) => {
                let name = format!("mobula-{}", actor.name());
                let own = stage.clone();
                let body = move || sync_host::host(actor, letters, blueprint, desk, own);
                stage.hire(name, body, refused)
            }
        }
    }
}

/// What a host needs to build its actor, and to build it again.
pub(crate) struct Blueprint {
    /// The constructor, kept while a restart is left.
    pub(crate) constructor: Option<Started>,
    pub(crate) restarts: u32,
    pub(crate) lease: Option<Arc<Lease>>,
}
