//! A worker process: the runtime of a child that its parent started, in place of `main`.
//!
//! ```text
//! constructor ─► entered ─► Welcome, Hello ─► reads until the parent is gone
//!   Run, Call, Build ─► opened by the registry ─► executor ─► Done
//!   users' own calls ─► Submit, Post, Create ─► the parent, whose kernel runs them ─► Filled
//! ```
//!
//! A worker decides nothing: what its code calls runs where the parent says, in the parent's books, under
//! its deadlines, and in its graph of waits. Invariants: what a call borrows is returned when nobody here
//! holds it; an object's id leaves with the object; the thread that reads waits for nobody.

mod actors;
mod calls;
mod serve;
mod streams;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::error::{Error, ErrorKind, Result};
use crate::executor::{Courier, Desk, Pool, Stage};
use crate::id::{ActorId, NodeId, ObjectId, WorkerId};
use crate::protocol::{Gate, Message, Said, Told};
use crate::runtime::{
    ActorCall, ActorCore, ActorRef, Answer, Creation, Identity, Lease, Letter, NodeView, Pause, Question,
    Runtime, Task, with_frame,
};
use crate::store::{Counted, Listener, Mark, Object, Started, Table};
use crate::transport::{Peer, When};

/// The runtime of a worker.
pub(crate) struct Attached {
    me: Weak<Self>,
    identity: Identity,
    peer: OnceLock<Arc<Peer>>,
    stage: Arc<Stage>,
    pool: Arc<Pool>,
    /// Ids of this process's own.
    own: Arc<Table<dyn Object>>,
    own_actors: Table<ActorCore>,
    /// Objects that the parent knows, too, by the id that both use.
    objects: Mutex<HashMap<ObjectId, Weak<dyn Object>>>,
    /// Those of this process's own whose value is on its way to the parent, before their ids may go.
    exporting: Mutex<HashSet<ObjectId>>,
    exported: Condvar,
    /// Calls of this process that the parent has not answered yet.
    pending: Mutex<HashMap<ObjectId, Option<Started>>>,
    actors: Mutex<HashMap<ActorId, Weak<ActorCore>>>,
    /// What the parent has this process run, by the parent's numbers.
    calls: Mutex<HashMap<u64, calls::Running>>,
    /// The numbers by the addresses of the calls.
    numbers: Mutex<HashMap<usize, u64>>,
    producers: Mutex<HashMap<u64, Arc<streams::Outlet>>>,
    hosted: Mutex<Option<actors::Hosted>>,
    /// Which call of the hosted actor began last; if calls overlap, how many were said to have begun.
    mark: OnceLock<(Mark, bool)>,
    /// The last cancel that was heeded.
    cancels: AtomicU64,
    /// What calls of the hosted actor get that come after its end.
    obituary: OnceLock<Error>,
    tickets: AtomicU64,
    questions: Mutex<HashMap<u64, Sender<Result<Told>>>>,
    is_leaving: AtomicBool,
    /// Whether a thread makes room for another process.
    is_relieving: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn address(call: &Arc<dyn Object>) -> usize {
    Arc::as_ptr(call).cast::<()>() as usize
}

impl Attached {
    fn this(&self) -> Arc<Self> {
        self.me.upgrade().expect("called through an Arc")
    }

    fn peer(&self) -> &Arc<Peer> {
        self.peer.get().expect("set before anything runs")
    }

    fn tell(&self, message: &Message) {
        // A parent that is gone ends this process anyway.
        let _ = self.peer().send(message, None, When::Now);
    }

    /// Asks the parent, and waits for the answer.
    fn question(&self, question: Said) -> Result<Told> {
        let (ticket, answer) = self.ticket();
        self.peer().send(&Message::Ask { ticket, question }, None, When::Now)?;
        answer.recv().unwrap_or_else(|_| Err(crate::runtime::ended()))
    }

    /// A number under which an answer will come.
    fn ticket(&self) -> (u64, Receiver<Result<Told>>) {
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = bounded(1);
        lock(&self.questions).insert(ticket, sender);
        (ticket, answer)
    }

    /// Waits until that many cancels were heeded: their word may still be on its way here. `false` if the
    /// parent is gone.
    fn heeds(&self, cancels: u64) -> bool {
        let has_heeded = || self.cancels.load(Ordering::Acquire) >= cancels;
        while !has_heeded() && !crate::runtime::spin(has_heeded) {
            if self.is_leaving.load(Ordering::Acquire) {
                return false;
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        true
    }

    fn number_of(&self, call: &Arc<dyn Object>) -> Option<u64> {
        lock(&self.numbers).get(&address(call)).copied()
    }

    /// The parent's number of the call that runs on this thread.
    fn within(&self) -> Option<u64> {
        let call = with_frame(|frame| frame.call().cloned())?;
        self.number_of(&call)
    }

    /// The id of an object, made when first asked for.
    fn identify(&self, object: &Arc<dyn Object>) -> ObjectId {
        object.head().id(&Arc::downgrade(object), self.identity.worker, &self.own)
    }

    /// The object that the parent calls `id`; made by `make` when first heard of.
    fn object(&self, id: ObjectId, make: &dyn Fn() -> Arc<dyn Object>) -> Result<Arc<dyn Object>> {
        let lost = || Error::new(ErrorKind::ObjectLost, format!("{id} is gone"));
        if id.owner == self.identity.worker {
            return self.own.get(id.place).and_then(|object| object.upgrade()).ok_or_else(lost);
        }
        let mut objects = lock(&self.objects);
        if let Some(known) = objects.get(&id).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let receipt = self.peer().share_object(id).ok_or_else(lost)?;
        let fresh = make();
        objects.insert(id, Arc::downgrade(&fresh));
        drop(objects);
        let borrowed = calls::Borrowed { host: self.me.clone(), id, _receipt: receipt };
        fresh.head().set_away(id, Arc::new(borrowed), true);
        Ok(fresh)
    }
}

impl Runtime for Attached {
    fn submit(&self, task: Task) {
        self.submit_task(task);
    }

    fn create(&self, creation: Creation) -> ActorRef {
        self.create_actor(creation)
    }

    fn call(&self, ActorCall { actor, post, .. }: ActorCall) {
        // The parent waits for the arguments.
        actor.post(Letter::Call(post));
    }

    fn adopt(&self, object: &Arc<dyn Object>, allowed: Option<Duration>) -> bool {
        if let Some(at) = allowed.and_then(|allowed| Instant::now().checked_add(allowed)) {
            object.head().set_deadline(at);
        }
        calls::adopt(object)
    }

    fn pause(&self, pause: &Pause<'_>) -> Result<u64> {
        let Some(call) = self.number_of(pause.call) else { return Ok(0) };
        for object in pause.on {
            object.head().want();
        }
        let (there, missing): (Vec<_>, Vec<_>) =
            pause.on.iter().partition(|object| object.head().is_complete());
        let on: Vec<_> = missing.iter().filter_map(|object| object.head().known_id()).collect();
        // Of what only this process knows the parent cannot say that it will not come.
        let is_known = on.len() == missing.len();
        let needed = if is_known { pause.needed.saturating_sub(there.len()) as u64 } else { 0 };
        match self.question(Said::Pause { call, on, needed, blocks: pause.blocks })? {
            Told::Token(token) => Ok(token),
            _ => Ok(0),
        }
    }

    fn resume(&self, pause: &Pause<'_>, token: u64) {
        let Some(call) = self.number_of(pause.call).filter(|_| token != 0) else { return };
        let _ = self.question(Said::Resume { call, token, blocks: pause.blocks });
    }

    fn ask(&self, question: Question<'_>) -> Result<Answer> {
        match question {
            Question::Shutdown => {
                let told = self.question(Said::Shutdown);
                crate::runtime::uninstall();
                told.map(|_| Answer::Done)
            }
            Question::Kill(actor) => self.question(Said::Kill(actor.id())).map(|_| Answer::Done),
            Question::Named(name, namespace) => {
                let said = Said::Named(name.to_owned(), namespace.map(str::to_owned));
                match self.question(said)? {
                    Told::Actor(id, class) => {
                        // It was lent with the answer.
                        let receipt = self.peer().claim_actor(id);
                        let actor = self.actor(id, class);
                        drop(receipt);
                        actor.map(Answer::Actor)
                    }
                    _ => Err(Error::new(ErrorKind::Decode, "an answer to another question")),
                }
            }
            Question::Actor(id, class) => self.actor(id, class).map(Answer::Actor),
            Question::Object(id, make) => self.object(id, make).map(Answer::Object),
            Question::Identify(object) => Ok(Answer::Id(self.identify(object))),
            Question::Nodes => match self.question(Said::Nodes)? {
                Told::Nodes(nodes) => {
                    let view = |(id, total, free)| NodeView { id, total, free };
                    Ok(Answer::Nodes(nodes.into_iter().map(view).collect()))
                }
                _ => Err(Error::new(ErrorKind::Decode, "an answer to another question")),
            },
            Question::Waits => Ok(Answer::Waits(Vec::new())),
        }
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn is_ending(&self) -> bool {
        self.is_leaving.load(Ordering::Acquire)
    }

    /// The parent bounds what is queued.
    fn queue_max(&self) -> usize {
        usize::MAX
    }
}

impl Desk for Attached {
    fn take_cpu(&self, _: &Lease) -> bool {
        true
    }

    fn give_back(&self, lease: &Lease) {
        self.returned(lease);
    }

    fn wants_cpu(&self) -> bool {
        false
    }

    fn is_ending(&self) -> bool {
        Runtime::is_ending(self)
    }

    fn actor_ended(&self, actor: &Arc<ActorCore>) {
        self.hosted_ended(actor);
    }

    fn place(&self) -> (NodeId, WorkerId) {
        (self.identity.node, self.identity.worker)
    }

    fn courier(&self, _: &Arc<dyn Object>) -> Option<Arc<dyn Courier>> {
        None
    }

    fn begun(&self, call: &Arc<dyn Object>) -> bool {
        let Some(number) = self.number_of(call) else { return true };
        match self.mark.get() {
            Some((mark, false)) => mark.set(number),
            Some((mark, true)) => {
                self.tell(&Message::Begun { call: number });
                mark.add(1);
                // Also if another thread writes just now: what is not written ends with this process, and
                // the call would be sent again.
                self.peer().sender().settle();
            }
            None => {}
        }
        let Some(gate) = self.peer().mark().map(Gate::of) else { return true };
        !gate.is_shut && self.heeds(gate.cancels) && !call.head().is_complete()
    }

    fn rebuilt(&self, _: &Arc<ActorCore>) {
        self.tell(&Message::Rebuilt);
    }
}

/// Tells the parent that a call of this process was completed here: cancelled, or past its time.
struct Completed {
    host: Weak<Attached>,
    id: ObjectId,
    object: Weak<dyn Object>,
}

impl Listener for Completed {
    fn ready(&self, _: usize, _: bool) {
        let (Some(host), Some(object)) = (self.host.upgrade(), self.object.upgrade()) else { return };
        // What the parent has answered is pending no more.
        let was_pending = lock(&host.pending).remove(&self.id).is_some();
        if was_pending && let Some(error) = object.error() {
            host.tell(&Message::Stop { object: self.id, error: error.clone() });
        }
    }
}

/// A counted, untyped ref.
type Hold = Counted<dyn Object>;
