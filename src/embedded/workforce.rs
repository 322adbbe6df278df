//! The worker processes of a session: kept warm, handed out, taken back, ended.
//!
//! ```text
//! take ──► an idle one of the same kind, or a new one ──► run ──► back among the idle, or told to go
//!   └ that was the last of its kind: the next one is started ahead of its call
//! ```
//!
//! Workers are of one kind if they were started with the same environment, folder, limit of memory and
//! GPUs; those of a function with `max_calls` are its own. At most [`IDLE_MAX`] stay idle, and none for
//! longer than [`IDLE`].

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::away::AwayHost;
use super::elsewhere::{Begin, Elsewhere};
use super::isolated::Isolated;
use super::worker::Worker;
use super::{Embedded, lock, shutdown};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{self, Courier};
use crate::id::{ActorId, ObjectId, WorkerId};
use crate::process::{Launch, Spawner};
use crate::protocol::Message;
use crate::resource::GPU;
use crate::runtime::{ActorRef, Mailbox, Runtime};
use crate::spec::{ClassDefinition, Definition, Options};
use crate::store::{self, Boards, Counted, Listener, Object, Slot, Waiter, watch};
use crate::transport::{Load, Names, Peer, Traffic, When};
use crate::value::{Opaque, Unpacker};

/// How long a worker without work stays.
const IDLE: Duration = Duration::from_secs(10);
/// How many workers without work stay: two for each CPU of most machines, 10 MB each.
const IDLE_MAX: usize = 8;

/// What tells workers apart that could run the same call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kind {
    pub(super) env: Vec<(String, String)>,
    pub(super) dir: Option<PathBuf>,
    pub(super) memory_max: Option<u64>,
    /// The devices that it may see, by id.
    pub(super) gpus: Vec<u32>,
    /// A function with `max_calls`, and how many: its workers run nothing else, so that they are counted.
    pub(super) limited: Option<(u64, u32)>,
}

impl Kind {
    /// What options ask for.
    pub(super) fn of(options: &Options) -> Self {
        let (env, dir) = (options.environment(), options.folder());
        Self { env, dir, memory_max: options.memory_max(), ..Self::default() }
    }
}

struct Idle {
    worker: Arc<Worker>,
    kind: Kind,
    since: Instant,
}

/// The thread that starts processes.
#[derive(Default)]
enum Hiring {
    /// No process was needed so far.
    #[default]
    NotYet,
    On(Arc<Spawner>),
    /// The session has ended.
    Over,
}

/// All workers of a session.
#[derive(Default)]
pub(super) struct Workforce {
    hiring: Mutex<Hiring>,
    /// Without work, those that have never had any first.
    idle: Mutex<Vec<Idle>>,
    all: Mutex<HashMap<WorkerId, Arc<Worker>>>,
    /// What went over the sockets of those that are gone.
    past: Mutex<Traffic>,
    /// Where all count what they have of the object store, from the first worker on.
    boards: Mutex<Option<Arc<Boards>>>,
}

impl Workforce {
    /// The thread that starts processes; made when first needed.
    pub(super) fn spawner(&self) -> Result<Arc<Spawner>> {
        let mut hiring = lock(&self.hiring);
        match &*hiring {
            Hiring::On(spawner) => return Ok(spawner.clone()),
            Hiring::Over => return Err(shutdown()),
            Hiring::NotYet => {}
        }
        let made = Arc::new(Spawner::start()?);
        *hiring = Hiring::On(made.clone());
        Ok(made)
    }

    /// Where workers count what they have of the object store; `None` if there is no memory for that.
    pub(super) fn boards(&self) -> Option<Arc<Boards>> {
        let mut boards = lock(&self.boards);
        if boards.is_none() {
            match Boards::open(store::room()) {
                Ok(opened) => *boards = Some(opened),
                Err(error) => tracing::warn!(target: "mobula", "workers count by themselves: {error}"),
            }
        }
        boards.clone()
    }

    /// Asks the workers for room, but not the one that needs it.
    pub(super) fn relieve_all_but(&self, asker: Option<WorkerId>, bytes: u64) {
        let all: Vec<_> = lock(&self.all).values().cloned().collect();
        for worker in all.iter().filter(|worker| Some(worker.id()) != asker) {
            if let Some(peer) = worker.peer_now() {
                let _ = peer.send(&Message::Relieve { bytes }, None, When::Now);
            }
        }
    }

    /// Starts a worker.
    pub(super) fn hire(
        &self,
        host: &Arc<Embedded>,
        kind: Kind,
        mark: &str,
        ready: impl FnOnce(&Arc<Worker>) + Send + 'static,
    ) -> Arc<Worker> {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = WorkerId(NEXT.fetch_add(1, Ordering::Relaxed));
        let mut env = host.settings.env.clone();
        env.extend(kind.env);
        // Where devices are handed out, a worker sees its own alone, or none, as in Ray.
        if !host.settings.total.get(GPU).is_zero() {
            let devices: Vec<_> = kind.gpus.iter().map(u32::to_string).collect();
            env.push(("CUDA_VISIBLE_DEVICES".into(), devices.join(",")));
        }
        let launch =
            Launch { worker: id, mark: mark.into(), env, dir: kind.dir, memory_max: kind.memory_max };
        let worker = Worker::start(host, launch, ready);
        lock(&self.all).insert(id, worker.clone());
        // It may have gone before it stood there.
        if worker.is_gone() {
            self.remove(id);
        }
        worker
    }

    /// A worker for a call: an idle one of its kind, or a new one.
    pub(super) fn take(&self, host: &Arc<Embedded>, kind: &Kind, mark: &str) -> Arc<Worker> {
        let worker = self.take_idle(kind, mark);
        let worker = worker.unwrap_or_else(|| self.hire(host, kind.clone(), mark, |_| {}));
        self.prestart(host, kind);
        worker
    }

    fn take_idle(&self, kind: &Kind, mark: &str) -> Option<Arc<Worker>> {
        loop {
            let mut idle = lock(&self.idle);
            let at = idle.iter().rposition(|idle| idle.kind == *kind)?;
            let Idle { worker, .. } = idle.remove(at);
            drop(idle);
            if worker.is_alive() {
                worker.set_mark(mark);
                return Some(worker);
            }
        }
    }

    /// Starts a worker ahead of the next call of this kind, unless one is idle.
    fn prestart(&self, host: &Arc<Embedded>, kind: &Kind) {
        let idle = lock(&self.idle);
        let is_enough = idle.len() >= IDLE_MAX || idle.iter().any(|idle| idle.kind == *kind);
        drop(idle);
        // Of devices nobody knows which the next call gets.
        if is_enough || !kind.gpus.is_empty() || Runtime::is_ending(&**host) {
            return;
        }
        let worker = self.hire(host, kind.clone(), "idle", |_| {});
        let mut idle = lock(&self.idle);
        // At the far end: those that have run something are taken first.
        idle.insert(0, Idle { worker: worker.clone(), kind: kind.clone(), since: host.now() });
        drop(idle);
        if worker.is_gone() {
            self.remove(worker.id());
        }
    }

    /// A worker has run its call.
    pub(super) fn put_back(&self, worker: Arc<Worker>, kind: Kind, now: Instant) {
        let mut idle = lock(&self.idle);
        if worker.is_alive() && idle.len() < IDLE_MAX {
            idle.push(Idle { worker, kind, since: now });
        } else {
            drop(idle);
            worker.leave();
        }
    }

    /// A worker is gone.
    pub(super) fn remove(&self, id: WorkerId) {
        let gone = lock(&self.all).remove(&id);
        if let Some(peer) = gone.as_ref().and_then(|worker| worker.peer_now()) {
            let mut past = lock(&self.past);
            *past = past.plus(peer.sender().traffic());
        }
        let mut idle = lock(&self.idle);
        let stale: Vec<_> = idle.extract_if(.., |idle| idle.worker.id() == id).collect();
        drop(idle);
        drop((gone, stale));
    }
}

impl Elsewhere for Workforce {
    fn courier(
        &self,
        host: &Weak<Embedded>,
        task: &'static Definition,
        options: &Options,
    ) -> Arc<dyn Courier> {
        let limited = options.calls_max().map(|most| (task.key(), most));
        let kind = Kind { limited, ..Kind::of(options) };
        Arc::new(Isolated { host: host.clone(), kind, max_calls: options.calls_max() })
    }

    fn actor(
        &self,
        host: &Weak<Embedded>,
        class: &'static ClassDefinition,
        options: &Options,
    ) -> (Arc<dyn Mailbox>, Begin) {
        let away = AwayHost::new(host.clone(), class, options);
        (away.clone(), Box::new(move |actor, blueprint| away.begin(actor, blueprint)))
    }

    fn named_object(&self, id: ObjectId, make: &dyn Fn() -> Arc<dyn Object>) -> Option<Arc<dyn Object>> {
        let found = NAMES.with_borrow(|names| names.as_ref()?.object(id))?;
        if !found.object().as_any().is::<Slot<Opaque>>() {
            return Some(found.object().clone());
        }
        let typed = make();
        typed_of(found, &typed);
        Some(typed)
    }

    fn named_actor(&self, id: ActorId) -> Option<ActorRef> {
        NAMES.with_borrow(|names| names.as_ref()?.actor(id))
    }

    fn sweep(&self, now: Instant) {
        let mut idle = lock(&self.idle);
        let is_stale =
            |idle: &mut Idle| now.saturating_duration_since(idle.since) >= IDLE || !idle.worker.is_alive();
        let stale: Vec<_> = idle.extract_if(.., is_stale).collect();
        drop(idle);
        for idle in stale {
            idle.worker.leave();
        }
    }

    fn dismiss(&self) {
        let all: Vec<_> = lock(&self.all).values().cloned().collect();
        for worker in all {
            worker.tell_end();
        }
        let idle = std::mem::take(&mut *lock(&self.idle));
        for idle in idle {
            idle.worker.leave();
        }
    }

    fn close(&self) {
        self.dismiss();
        let all: Vec<_> = lock(&self.all).values().cloned().collect();
        for worker in all {
            worker.kill();
        }
        let hiring = std::mem::replace(&mut *lock(&self.hiring), Hiring::Over);
        drop(hiring);
    }

    fn relieve(&self, bytes: u64) {
        self.relieve_all_but(None, bytes);
    }

    fn traffic(&self) -> [u64; 3] {
        let all: Vec<_> = lock(&self.all).values().cloned().collect();
        let peers = all.iter().filter_map(|worker| worker.peer_now());
        let sum = peers.fold(*lock(&self.past), |sum, peer| sum.plus(peer.sender().traffic()));
        [sum.frames_out + sum.frames_in, sum.bytes_out + sum.bytes_in, sum.writes + sum.reads]
    }
}

impl Embedded {
    /// The workers of this session.
    pub(super) fn workforce(&self) -> &Workforce {
        let all = self.elsewhere.as_deref().and_then(|elsewhere| (elsewhere as &dyn Any).downcast_ref());
        all.expect("where there are workers, there is their workforce")
    }
}

/// An object whose type is not known here.
pub(super) fn imported() -> Arc<dyn Object> {
    static IMPORTED: Definition = Definition::internal("object of a worker");
    Slot::<Opaque>::empty(&IMPORTED)
}

/// Completes an object with what came for it.
pub(super) fn fill(object: &Arc<dyn Object>, error: Option<Error>, load: &Load) {
    if let Some(error) = error {
        object.fail(error);
    } else if let Some(slot) = object.as_any().downcast_ref::<Slot<Opaque>>() {
        slot.complete(Ok(load.opaque()));
    } else {
        read_into(object, load.names(), &mut load.unpacker());
    }
    watch(object);
}

/// Completes an object with a value of its own type; reading it runs a user's code.
fn read_into(object: &Arc<dyn Object>, names: Arc<dyn Names>, value: &mut Unpacker<'_>) {
    if let Err(error) = with_names(names, || executor::guard(|| object.fill(value))) {
        object.fail(error);
    }
}

thread_local! {
    /// Whose names stand in the bytes that are read on this thread.
    static NAMES: RefCell<Option<Arc<dyn Names>>> = const { RefCell::new(None) };
}

/// Reads bytes whose ids are those of `names`.
pub(super) fn with_names<R>(names: Arc<dyn Names>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<dyn Names>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            NAMES.set(self.0.take());
        }
    }
    let _outer = Restore(NAMES.replace(Some(names)));
    f()
}

/// A typed object for one whose type was not known until now: `typed` follows `opaque`.
fn typed_of(opaque: Counted<dyn Object>, typed: &Arc<dyn Object>) {
    struct Follow {
        opaque: Mutex<Option<Counted<dyn Object>>>,
        typed: Weak<dyn Object>,
    }
    impl Listener for Follow {
        fn ready(&self, _: usize, _: bool) {
            let Some(opaque) = lock(&self.opaque).take() else { return };
            let Some(typed) = self.typed.upgrade() else { return };
            if let Some(error) = opaque.object().error() {
                opaque.object().head().set_seen();
                typed.fail(error.clone());
                return;
            }
            let slot = opaque.object().clone().typed().downcast::<Arc<dyn crate::store::Of<Opaque>>>();
            let gone = |_| Error::new(ErrorKind::ObjectLost, "the value is gone");
            match slot.map_err(gone).and_then(|slot| Counted::new(*slot).read(Opaque::clone)) {
                Ok(value) => {
                    let names = Peer::names_in(&value);
                    read_into(&typed, names, &mut value.unpacker());
                    watch(&typed);
                }
                Err(error) => drop(typed.fail(error)),
            }
        }
    }
    let source = opaque.object().clone();
    let follow = Follow { opaque: Mutex::new(Some(opaque)), typed: Arc::downgrade(typed) };
    let waiter = Waiter { listener: Arc::new(follow), token: 0 };
    if let Some(waiter) = source.head().listen(waiter) {
        waiter.listener.ready(0, false);
    }
}
