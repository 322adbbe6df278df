//! An actor as everyone but its host sees it: where to post calls, who counts on it, how it died.

use std::any::{Any, TypeId};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::frame::Running;
use super::{ActorCall, Runtime};
use crate::error::{Error, ErrorKind};
use crate::id::{ActorId, NodeId, Sequence};
use crate::spec::{ClassDefinition, Retry};
use crate::store::Object;

/// A call on its way to an actor.
pub(crate) struct Post {
    pub(crate) object: Arc<dyn Object>,
    pub(crate) sequence: Sequence,
}

/// What an actor's host finds in its mailbox.
pub(crate) enum Letter {
    /// Run this.
    Call(Post),
    /// Constructor arguments and resources are there.
    Begin,
    /// The last handle is gone: end after what stands before this, unless there is a handle again.
    Release,
    /// End now.
    Kill,
}

/// Where letters go; first in, first out.
pub(crate) trait Mailbox: Send + Sync {
    /// Adds a letter; after the host has gone it is answered by [`ActorCore::post`].
    fn post(&self, letter: Letter);
    /// How many letters wait.
    fn len(&self) -> usize;
    /// Takes out all calls that wait, once the host has gone or may not run them.
    fn drain(&self) -> Vec<Arc<dyn Object>>;
    /// Keeps what keeps the actor alive in another process, while `hold` makes a handle here.
    fn keep(&self, _keeper: Box<dyn Any + Send>, hold: &mut dyn FnMut()) {
        hold();
    }
}

/// The part of an actor that its handles share with its host.
///
/// In this order: what the host writes with every call, what seldom changes, what callers write with every
/// call. Side by side, two threads would fight for one cache line with every call: a fifth of its time.
#[repr(C)]
pub(crate) struct ActorCore {
    /// The calls that run now.
    running: Running,
    /// The address of the call after which the actor ends by its own wish; 0 while there is none.
    exiting: AtomicUsize,
    death: OnceLock<Error>,
    class: &'static ClassDefinition,
    class_type: TypeId,
    /// Completed when the constructor has run.
    ready: Arc<dyn Object>,
    policy: Policy,
    id: ActorId,
    is_dead: AtomicBool,
    /// Handles anywhere; [`CLOSED`] once the actor has ended for want of them.
    handles: AtomicUsize,
    /// Calls held back; while there is one, others may not overtake it by the fast path.
    held: AtomicUsize,
    mailbox: Arc<dyn Mailbox>,
    runtime: Arc<dyn Runtime>,
    sequence: AtomicU64,
}

/// What a class or its creation said about all calls of the actor.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Policy {
    pub(crate) retry: Option<Retry>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) pending_max: Option<u32>,
    /// How many `&self` calls may overlap.
    pub(crate) concurrency: usize,
}

fn address(call: &Arc<dyn Object>) -> usize {
    Arc::as_ptr(call).cast::<()>() as usize
}

const CLOSED: usize = usize::MAX / 2;

/// What makes an [`ActorCore`].
pub(crate) struct Parts {
    pub(crate) id: ActorId,
    pub(crate) class: &'static ClassDefinition,
    pub(crate) class_type: TypeId,
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) runtime: Arc<dyn Runtime>,
    pub(crate) ready: Arc<dyn Object>,
    pub(crate) policy: Policy,
}

impl ActorCore {
    pub(crate) fn new(parts: Parts) -> Self {
        Self {
            id: parts.id,
            class: parts.class,
            class_type: parts.class_type,
            mailbox: parts.mailbox,
            runtime: parts.runtime,
            ready: parts.ready,
            policy: parts.policy,
            handles: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            sequence: AtomicU64::new(0),
            is_dead: AtomicBool::new(false),
            death: OnceLock::new(),
            running: Running::default(),
            exiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn id(&self) -> ActorId {
        self.id
    }

    pub(crate) fn class(&self) -> &'static ClassDefinition {
        self.class
    }

    pub(crate) fn class_type(&self) -> TypeId {
        self.class_type
    }

    pub(crate) fn runtime(&self) -> &Arc<dyn Runtime> {
        &self.runtime
    }

    /// The object that is complete once the constructor has run.
    pub(crate) fn ready(&self) -> &Arc<dyn Object> {
        &self.ready
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// How many calls are held back; changed by the runtime under its lock.
    pub(crate) fn held(&self) -> &AtomicUsize {
        &self.held
    }

    /// How many letters wait.
    pub(crate) fn queued(&self) -> usize {
        self.in_mailbox() + self.held.load(Ordering::Relaxed)
    }

    /// How many letters its host has not taken yet.
    pub(crate) fn in_mailbox(&self) -> usize {
        self.mailbox.len()
    }

    /// Sends a call: straight to the mailbox if nothing stands in its way.
    pub(crate) fn call(self: &Arc<Self>, object: Arc<dyn Object>, needs: Vec<Arc<dyn Object>>) {
        let sequence = Sequence(self.sequence.fetch_add(1, Ordering::Relaxed));
        let post = Post { object, sequence };
        if needs.is_empty() && self.held.load(Ordering::Acquire) == 0 {
            self.post(Letter::Call(post));
        } else {
            self.runtime.call(ActorCall { actor: self.clone(), post, needs });
        }
    }

    /// Puts a letter into the mailbox; a dead actor's calls are answered at once.
    pub(crate) fn post(&self, letter: Letter) {
        let is_call = matches!(letter, Letter::Call(_));
        self.mailbox.post(letter);
        if is_call && self.is_dead.load(Ordering::SeqCst) {
            self.answer_dead();
            if self.runtime.is_ending() {
                super::frame::refused();
            }
        }
    }

    /// Whether it has ended for good.
    pub(crate) fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    /// Why it ended.
    pub(crate) fn death(&self) -> Option<&Error> {
        self.death.get()
    }

    /// Says why the actor is about to end; the first cause stays.
    pub(crate) fn doom(&self, error: Error) {
        let _ = self.death.set(self.ready.head().placed(error));
    }

    /// Ends the actor for good: what is queued or comes later fails with `error`. The first cause stays.
    pub(crate) fn die(&self, error: Error) {
        self.doom(error);
        self.is_dead.store(true, Ordering::SeqCst);
        self.ready.fail(self.obituary());
        self.answer_dead();
    }

    fn answer_dead(&self) {
        for call in self.mailbox.drain() {
            call.fail(self.obituary());
        }
    }

    /// What a call of a dead actor gets.
    pub(crate) fn obituary(&self) -> Error {
        let Some(cause) = self.death.get() else {
            return Error::new(ErrorKind::ActorDied, format!("actor `{}` is dead", self.name()));
        };
        if cause.kind() == ErrorKind::Shutdown || is_of_creation(cause.kind()) {
            return cause.clone();
        }
        let text = format!("actor `{}` is dead: {}", self.name(), cause.message());
        Error::new(ErrorKind::ActorDied, text).at(self.name(), NodeId(0), 1).caused_by(cause.clone())
    }

    /// The name of its class.
    pub(crate) fn name(&self) -> &'static str {
        self.class.constructor.name
    }

    /// The calls that run now.
    pub(crate) fn running(&self) -> &Running {
        &self.running
    }

    /// Fails the calls that run, without waiting for them to return.
    pub(crate) fn fail_running(&self, error: &Error) {
        let running: Vec<_> = self.running.lock().clone();
        for call in running {
            call.cancel(error);
        }
    }

    /// A handle more; `None` once the actor has ended for want of handles.
    pub(crate) fn handle(self: &Arc<Self>) -> Option<ActorRef> {
        let more = |count| (count < CLOSED).then_some(count + 1);
        self.handles.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(ActorRef(self.clone()))
    }

    /// As [`handle`](Self::handle), of an actor that `keeper` keeps alive in another process.
    pub(crate) fn handle_kept(self: &Arc<Self>, keeper: Box<dyn Any + Send>) -> Option<ActorRef> {
        let mut handle = None;
        self.mailbox.keep(keeper, &mut || handle = self.handle());
        handle
    }

    /// Ends the actor once the running method has returned.
    pub(crate) fn exit(&self, with: &Arc<dyn Object>) {
        if self.death.set(Error::new(ErrorKind::ActorDied, "it called exit_actor")).is_ok() {
            self.exiting.store(address(with), Ordering::Release);
        }
    }

    /// Whether it is this call after which the actor ends.
    pub(crate) fn exits_with(&self, call: &Arc<dyn Object>) -> bool {
        self.exiting.load(Ordering::Acquire) == address(call)
    }

    /// Whether there is no handle now.
    pub(crate) fn is_unheld(&self) -> bool {
        self.handles.load(Ordering::Acquire) == 0
    }

    /// Whether no handle is left; from then on none can be had.
    pub(crate) fn close(&self) -> bool {
        self.handles.compare_exchange(0, CLOSED, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// Errors of asking for an actor, which its calls get as they are.
fn is_of_creation(kind: ErrorKind) -> bool {
    use ErrorKind::{Infeasible, InvalidOption, NameTaken, TooManyThreads, Unsupported, WrongType};
    matches!(kind, Infeasible | InvalidOption | NameTaken | TooManyThreads | Unsupported | WrongType)
}

/// A counted ref to an actor: while one exists the actor lives.
pub(crate) struct ActorRef(Arc<ActorCore>);

impl ActorRef {
    pub(crate) fn core(&self) -> &Arc<ActorCore> {
        &self.0
    }
}

impl Drop for ActorRef {
    fn drop(&mut self) {
        if self.0.handles.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.post(Letter::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use super::ActorCore;

    #[test]
    fn what_the_host_writes_and_what_callers_write_lie_apart() {
        const LINE: usize = 64;
        let written_by_host = offset_of!(ActorCore, exiting) + size_of::<usize>();
        assert!(offset_of!(ActorCore, sequence) >= written_by_host + LINE);
        // The host reads these with every call.
        let read_by_host = [offset_of!(ActorCore, death), offset_of!(ActorCore, policy)];
        assert!(read_by_host.iter().all(|offset| offset + LINE <= offset_of!(ActorCore, sequence)));
    }
}
