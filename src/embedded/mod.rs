//! The embedded system: driver, worker, node and head in one process, with no socket opened.
//!
//! ```text
//! Runtime::submit ─► calls   ─(arguments there)─► ledger ─(resources granted)─► executor::Pool
//! Runtime::create ─► actors  ─(arguments there)─► ledger ─(resources granted)─► a host
//! Runtime::call   ─► calls   ─(arguments there, its caller's turn)────────────► a mailbox
//! timer ─► deadlines, and a word about what waits too long
//! elsewhere ─► workforce ─► worker processes, each with a thread that reads what it says
//!   isolated: a task in one of them     away: an actor in one of its own
//! watch ◄─ who asks what waits in the tables and queues, and why
//! ```
//!
//! Decisions are those of `scheduler` and `directory`; this room holds their state behind locks and
//! performs what they answer. Invariants: no lock is held while another is taken, except that
//! `ledger` may wake a thread; none is held while a slot is completed or a letter posted to a dead
//! actor; whatever enters a table leaves it when its call is complete.

mod actors;
mod calls;
mod elsewhere;
mod ending;
mod ledger;
mod timer;
mod watch;

#[cfg(all(feature = "process", target_os = "linux"))]
mod away;
#[cfg(all(feature = "process", target_os = "linux"))]
mod isolated;
#[cfg(all(feature = "process", target_os = "linux"))]
mod pauses;
#[cfg(all(feature = "process", target_os = "linux"))]
mod worker;
#[cfg(all(feature = "process", target_os = "linux"))]
mod workforce;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

pub(crate) use calls::CallRef;
use elsewhere::Elsewhere;
use ledger::Ledger;
use timer::Timer;

use crate::clock::Clock;
use crate::directory::{Directory, Name};
use crate::error::{Error, ErrorKind, Result};
use crate::event::WaitReason;
use crate::executor::{Courier, Desk, Pool, Stage, Threads};
use crate::id::{ActorId, JobId, NodeId, ObjectId, Place, WorkerId};
use crate::resource::{CPU, Quantity, ResourceSet};
use crate::runtime::{
    ActorCall, ActorCore, ActorRef, Answer, Creation, Identity, Lease, NodeView, Pause, Question, Runtime,
    Station, Task, Waiting,
};
use crate::scheduler::{Lines, Waits};
use crate::spec::Isolation;
use crate::store::{self, Bounds, Object, Table};

/// What an embedded session is made of.
pub(crate) struct Settings {
    pub(crate) total: ResourceSet,
    pub(crate) namespace: Box<str>,
    pub(crate) grace: Duration,
    pub(crate) threads_max: usize,
    /// Bytes of calls that may be queued.
    pub(crate) queue_max: usize,
    pub(crate) clock: Arc<dyn Clock>,
    /// Where calls run that do not say so themselves.
    pub(crate) isolation: Isolation,
    /// What is set in the environment of worker processes.
    pub(crate) env: Vec<(String, String)>,
    /// How much the object store may have.
    pub(crate) store: Bounds,
    /// What workers log where their programs have set no logger.
    pub(crate) log_level: String,
}

/// The embedded runtime.
pub(crate) struct Embedded {
    me: Weak<Self>,
    settings: Settings,
    identity: Identity,
    stage: Arc<Stage>,
    pool: Arc<Pool>,
    ledger: Ledger,
    timer: Timer,
    /// `None` in a build without worker processes.
    elsewhere: Option<Box<dyn Elsewhere>>,
    waits: Mutex<Waits<CallRef>>,
    lines: Mutex<HashMap<ActorId, Lines<calls::Queued>>>,
    directory: Mutex<Directory>,
    /// Detached actors, which live without handles.
    detached: Mutex<HashMap<ActorId, ActorRef>>,
    actors: Table<ActorCore>,
    /// Where actors stand that workers made, by the ids that those gave them.
    adopted: Mutex<HashMap<ActorId, Place>>,
    objects: Arc<Table<dyn Object>>,
    ending: AtomicBool,
    /// Whether there is a CPU for tasks of one.
    pool_serves: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How long the last thread that could run anything looks for another before it gives up.
const PATIENCE: Duration = Duration::from_millis(100);
const NAP: Duration = Duration::from_millis(1);

impl Embedded {
    /// Starts a session's threads.
    pub(crate) fn start(settings: Settings, job: JobId) -> Result<Arc<Self>> {
        let elsewhere = elsewhere::elsewhere();
        if settings.isolation == Isolation::Process && elsewhere.is_none() {
            return Err(elsewhere::no_process("isolation = \"process\""));
        }
        let threads = Threads::new(settings.threads_max);
        let cpus = settings.total.get(CPU);
        let arbiters = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let stage = Arc::new(Stage::start(arbiters, threads)?);
        // A fraction of a CPU beyond whole ones serves no task of one CPU.
        let pool = Pool::new(cpus.whole_units() as usize, stage.clone());
        let this = Arc::new_cyclic(|me: &Weak<Self>| Self {
            me: me.clone(),
            identity: Identity { job, node: NodeId(0), worker: WorkerId(0) },
            ledger: Ledger::new(settings.total.clone()),
            timer: Timer::start(settings.clock.clone()),
            elsewhere,
            stage,
            pool,
            waits: Mutex::default(),
            lines: Mutex::default(),
            directory: Mutex::default(),
            detached: Mutex::default(),
            actors: Table::default(),
            adopted: Mutex::default(),
            objects: Arc::default(),
            ending: AtomicBool::new(false),
            pool_serves: cpus >= Quantity::ONE,
            settings,
        });
        let desk: Arc<dyn Desk> = this.clone();
        this.pool.attach(&desk);
        store::bound(&this.settings.store);
        let others = Arc::downgrade(&this);
        store::set_others(move |bytes| {
            if let Some(elsewhere) = others.upgrade().as_ref().and_then(|host| host.elsewhere.as_ref()) {
                elsewhere.relieve(bytes);
            }
        });
        Ok(this)
    }

    fn this(&self) -> Arc<Self> {
        self.me.upgrade().expect("called through an Arc")
    }

    /// Threads, actors and ids that exist now.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        (self.stage.threads().live(), self.actors.len(), self.objects.len())
    }

    /// How many messages went over the sockets to and from workers, their bytes, and the system calls that
    /// carried them.
    pub(crate) fn traffic(&self) -> [u64; 3] {
        self.elsewhere.as_ref().map(|elsewhere| elsewhere.traffic()).unwrap_or_default()
    }

    /// The most threads there were at once.
    pub(crate) fn threads_peak(&self) -> usize {
        self.stage.threads().peak()
    }

    fn find_actor(&self, id: ActorId) -> Result<ActorRef> {
        let found = self.place_of(id).and_then(|place| self.actors.get(place)?.upgrade());
        let found = found.and_then(|actor| actor.handle());
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no {id}")))
    }

    /// An object by its id, or by that which a worker gave it.
    fn find_object(&self, id: ObjectId, make: &dyn Fn() -> Arc<dyn Object>) -> Result<Arc<dyn Object>> {
        let lost = || Error::new(ErrorKind::ObjectLost, format!("{id} is gone"));
        if id.owner == self.identity.worker {
            return self.objects.get(id.place).and_then(|object| object.upgrade()).ok_or_else(lost);
        }
        self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.named_object(id, make)).ok_or_else(lost)
    }

    fn find_named(&self, name: &str, namespace: Option<&str>) -> Result<ActorRef> {
        let namespace = namespace.unwrap_or(&self.settings.namespace);
        let key = Name { namespace: namespace.into(), name: name.into() };
        let holder = lock(&self.directory).find(&key);
        let found = holder.and_then(|id| self.find_actor(id).ok());
        found.filter(|actor| !actor.core().is_dead()).ok_or_else(|| {
            let text = format!("no actor named {name:?} lives in namespace {namespace:?}");
            Error::new(ErrorKind::NotFound, text)
        })
    }
}

impl Runtime for Embedded {
    fn submit(&self, task: Task) {
        self.submit_task(task);
    }

    fn create(&self, creation: Creation) -> ActorRef {
        self.create_actor(creation)
    }

    fn call(&self, call: ActorCall) {
        self.call_actor(call);
    }

    fn adopt(&self, object: &Arc<dyn Object>, allowed: Option<Duration>) -> bool {
        self.adopt_call(object, allowed)
    }

    fn pause(&self, pause: &Pause<'_>) -> Result<u64> {
        let call = CallRef(pause.call.clone());
        let on: Vec<_> = pause.on.iter().cloned().map(CallRef).collect();
        let room = pause.base.actor.as_ref().map_or(1, |actor| actor.policy().concurrency);
        let entered = lock(&self.waits).enter(&call, room, &on, pause.needed);
        let token = entered.map_err(|circle| calls::deadlock(pause.call, &circle))?;
        if !pause.blocks {
            return Ok(token);
        }
        if pause.base.station == Station::Pool {
            let waits = self.enter_wait(pause);
            if !matches!(waits, Ok(true)) {
                lock(&self.waits).leave(&call, token);
                return waits.map(|_| 0);
            }
        }
        if let Some(lease) = &pause.base.lease {
            lock(&self.waits).lend(&call, token);
            self.ledger.lend(self, lease);
        }
        Ok(token)
    }

    fn resume(&self, pause: &Pause<'_>, token: u64) {
        if token == 0 {
            return;
        }
        let has_lent = lock(&self.waits).leave(&CallRef(pause.call.clone()), token);
        if pause.blocks && pause.base.station == Station::Pool {
            self.pool.unblock();
        }
        match &pause.base.lease {
            Some(lease) if has_lent && pause.blocks => self.ledger.reclaim(self, lease, pause.call),
            // What was begun by a thread that blocked is ended in the name of nobody.
            Some(lease) if has_lent => self.ledger.abandon(lease),
            _ => {}
        }
    }

    fn ask(&self, question: Question<'_>) -> Result<Answer> {
        match question {
            Question::Shutdown => {
                self.end_after(crate::runtime::uninstall);
                Ok(Answer::Done)
            }
            Question::Kill(actor) => {
                self.kill(actor);
                Ok(Answer::Done)
            }
            Question::Named(name, namespace) => Ok(Answer::Actor(self.find_named(name, namespace)?)),
            Question::Actor(id, _) => {
                let named = self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.named_actor(id));
                Ok(Answer::Actor(named.map_or_else(|| self.find_actor(id), Ok)?))
            }
            Question::Object(id, make) => Ok(Answer::Object(self.find_object(id, make)?)),
            Question::Identify(object) => {
                let this = Arc::downgrade(object);
                Ok(Answer::Id(object.head().id(&this, self.identity.worker, &self.objects)))
            }
            Question::Nodes => {
                let (total, mut free) = self.ledger.resources();
                free.give(&self.pool.unused());
                Ok(Answer::Nodes(vec![NodeView { id: self.identity.node, total, free }]))
            }
            Question::Waits => Ok(Answer::Waits(self.waits())),
        }
    }

    fn identity(&self) -> Identity {
        self.identity
    }

    fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    fn queue_max(&self) -> usize {
        self.settings.queue_max
    }
}

impl Embedded {
    /// Lets others have a pool member's place. Where that would leave no thread at all, runs what is
    /// awaited, or else what stands before it, on the waiter's own thread: `false` once it is there.
    fn enter_wait(&self, pause: &Pause<'_>) -> Result<bool> {
        let is_there =
            || pause.on.iter().filter(|object| object.head().is_complete()).count() >= pause.needed;
        let mut patience = PATIENCE;
        loop {
            if self.pool.block() {
                return Ok(true);
            }
            if is_there() {
                return Ok(false);
            }
            let mut waiting = pause.on.iter().filter(|object| !object.head().is_complete());
            if waiting.any(|object| self.pool.run_inline(object)) || self.pool.run_next_inline() {
                continue;
            }
            // A thread whose wait has just ended may not have said so yet.
            if patience == Duration::ZERO {
                let text = format!(
                    "all {} threads wait for each other; nest less deeply or await less",
                    self.stage.threads().max()
                );
                return Err(Error::new(ErrorKind::TooManyThreads, text));
            }
            let _waiting = Waiting::begin(Some(pause.call), WaitReason::Thread);
            std::thread::sleep(NAP);
            patience = patience.saturating_sub(NAP);
        }
    }
}

impl Desk for Embedded {
    fn take_cpu(&self, lease: &Lease) -> bool {
        self.ledger.take_cpu(self, lease)
    }

    fn give_back(&self, lease: &Lease) {
        self.ledger.give_back(self, lease);
    }

    fn wants_cpu(&self) -> bool {
        self.ledger.wants_cpu()
    }

    fn is_ending(&self) -> bool {
        Runtime::is_ending(self)
    }

    fn actor_ended(&self, actor: &Arc<ActorCore>) {
        self.forget_actor(actor);
    }

    fn place(&self) -> (NodeId, WorkerId) {
        (self.identity.node, self.identity.worker)
    }

    fn courier(&self, task: &Arc<dyn Object>) -> Option<Arc<dyn Courier>> {
        let courier = task.head().place()?.downcast::<Arc<dyn Courier>>().ok()?;
        Some(Arc::clone(&courier))
    }
}

/// What stands in the name of an ended session.
fn shutdown() -> Error {
    crate::runtime::ended()
}

/// The time by the session's clock.
impl Embedded {
    fn now(&self) -> Instant {
        self.settings.clock.now()
    }
}
