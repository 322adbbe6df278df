//! The seam between what users type and what runs it: [`Runtime`], the running call, untyped refs.
//!
//! ```text
//! api ──► call straight into an actor's mailbox          (arguments there, nobody held back)
//!     └─► dyn Runtime: submit / create / call / pause / resume / ask    (everything else)
//! executor ──► Frame of the running call on its thread ──► context(), children, whose CPU it holds
//! ```
//!
//! `embedded` implements it for a driver by itself, `attached` for a worker process of one.
//! What stands here knows neither of them, and no user type.

mod actor;
mod frame;
mod wait;
mod waiting;

use std::any::TypeId;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub(crate) use actor::{ActorCore, ActorRef, Letter, Mailbox, Parts, Policy, Post};
pub(crate) use frame::{
    Base, Frame, Lease, Running, Station, enter, in_call, leave, refused, swap, with_frame,
};
pub(crate) use wait::{Wanted, may_block, spin, wait_for, wait_on};
pub(crate) use waiting::{Waiting, all_waiting, begin_wait, missing, results};

use crate::error::{Error, ErrorKind, Result};
use crate::event::{Wait, WaitReason};
use crate::id::{CallerId, JobId, NodeId, WorkerId};
use crate::resource::ResourceSet;
use crate::spec::{ClassDefinition, Options};
use crate::store::Object;

/// A call of a function.
pub(crate) struct Task {
    pub(crate) object: Arc<dyn Object>,
    /// The objects among its arguments.
    pub(crate) needs: Vec<Arc<dyn Object>>,
    pub(crate) options: Option<Options>,
}

/// A call of a method that cannot go straight to the mailbox.
pub(crate) struct ActorCall {
    pub(crate) actor: Arc<ActorCore>,
    pub(crate) post: Post,
    pub(crate) needs: Vec<Arc<dyn Object>>,
}

/// An actor to be made.
pub(crate) struct Creation {
    pub(crate) class: &'static ClassDefinition,
    pub(crate) class_type: TypeId,
    /// The constructor's call: its job leaves the new state in its seat.
    pub(crate) ready: Arc<dyn Object>,
    pub(crate) needs: Vec<Arc<dyn Object>>,
    pub(crate) options: Options,
    /// The id that a worker gave it, if it is made for one.
    pub(crate) id: Option<crate::id::ActorId>,
}

/// A wait inside a call: what for, and of how many at least.
pub(crate) struct Pause<'a> {
    pub(crate) call: &'a Arc<dyn Object>,
    pub(crate) base: &'a Base,
    pub(crate) on: &'a [Arc<dyn Object>],
    pub(crate) needed: usize,
    /// Whether a thread blocks; an `.await` gives its thread back by itself.
    pub(crate) blocks: bool,
}

/// Something asked of the runtime that is no call.
pub(crate) enum Question<'a> {
    /// Ends the session, where it is another process's.
    Shutdown,
    /// Ends an actor for good.
    Kill(&'a Arc<ActorCore>),
    /// Finds an actor by name, and namespace if not the session's own.
    Named(&'a str, Option<&'a str>),
    /// Finds an actor by id, with the key of its class.
    Actor(crate::id::ActorId, u64),
    /// Finds an object by id; one of another process is made here, empty, when it is first heard of.
    Object(crate::id::ObjectId, &'a dyn Fn() -> Arc<dyn Object>),
    /// Makes the id of an object.
    Identify(&'a Arc<dyn Object>),
    /// The nodes, with all and free resources.
    Nodes,
    /// Who waits in a queue or a table.
    Waits,
}

/// The answer to a [`Question`].
pub(crate) enum Answer {
    Done,
    Actor(ActorRef),
    Object(Arc<dyn Object>),
    Id(crate::id::ObjectId),
    Nodes(Vec<NodeView>),
    Waits(Vec<Wait>),
}

/// A node as its users see it.
pub(crate) struct NodeView {
    pub(crate) id: NodeId,
    pub(crate) total: ResourceSet,
    pub(crate) free: ResourceSet,
}

/// Who a runtime is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) job: JobId,
    pub(crate) node: NodeId,
    pub(crate) worker: WorkerId,
}

/// What runs calls.
pub(crate) trait Runtime: Send + Sync {
    /// Runs a task once its arguments are there and its resources free.
    fn submit(&self, task: Task);
    /// Makes an actor. It never fails: what goes wrong fails the actor's calls.
    fn create(&self, creation: Creation) -> ActorRef;
    /// Delivers a call to an actor once its arguments are there and it is its caller's turn.
    fn call(&self, call: ActorCall);
    /// Makes a call the child of the one that makes it on this thread, if one does, and bounds its time
    /// by `allowed` and by what its parent has left. `false` if the parent is over, and so the call.
    fn adopt(&self, object: &Arc<dyn Object>, allowed: Option<Duration>) -> bool;
    /// A call is about to wait: gives its CPUs to others. Refuses a wait that could never end.
    fn pause(&self, pause: &Pause<'_>) -> Result<u64>;
    /// The wait is over: takes the CPUs back. `token` is what `pause` returned.
    fn resume(&self, pause: &Pause<'_>, token: u64);
    /// Answers what is no call.
    fn ask(&self, question: Question<'_>) -> Result<Answer>;
    /// Who this is.
    fn identity(&self) -> Identity;
    /// Whether it is ending.
    fn is_ending(&self) -> bool;
    /// How many bytes of calls may be queued.
    fn queue_max(&self) -> usize;
}

enum Current {
    /// No session yet: the first remote call starts one.
    Never,
    Running(Arc<dyn Runtime>),
    /// The session has ended.
    Ended,
}

static CURRENT: RwLock<Current> = RwLock::new(Current::Never);
/// Grows with each change of `CURRENT`, so that threads can keep a copy.
static EPOCH: AtomicU64 = AtomicU64::new(1);

thread_local! {
    static CACHED: std::cell::RefCell<(u64, Option<Arc<dyn Runtime>>)> =
        const { std::cell::RefCell::new((0, None)) };
}

/// Calls `f` with the session's runtime; `None` if no session ever started.
pub(crate) fn with_current<R>(f: impl FnOnce(&Arc<dyn Runtime>) -> R) -> Option<Result<R>> {
    let mut f = Some(f);
    let mut call = |runtime: &Arc<dyn Runtime>| Some(Ok((f.take().expect("called once"))(runtime)));
    let cached = CACHED.try_with(|cell| {
        let epoch = EPOCH.load(Ordering::Acquire);
        if let (cached_at, Some(runtime)) = &*cell.borrow()
            && *cached_at == epoch
        {
            return call(runtime);
        }
        let runtime = match find()? {
            Ok(runtime) => runtime,
            Err(ended) => return Some(Err(ended)),
        };
        // Inside another call on this thread the copy stays as it is.
        if let Ok(mut cached) = cell.try_borrow_mut() {
            *cached = (epoch, Some(runtime.clone()));
        }
        call(&runtime)
    });
    // A thread that is ending has no copy any more.
    cached.unwrap_or_else(|_| match find()? {
        Ok(runtime) => call(&runtime),
        Err(ended) => Some(Err(ended)),
    })
}

/// The session's runtime; `None` if no session ever started.
fn find() -> Option<Result<Arc<dyn Runtime>>> {
    match &*CURRENT.read().unwrap_or_else(PoisonError::into_inner) {
        Current::Never => None,
        Current::Ended => Some(Err(ended())),
        Current::Running(runtime) => Some(Ok(runtime.clone())),
    }
}

/// What a call says after the end of its session.
pub(crate) fn ended() -> Error {
    Error::new(ErrorKind::Shutdown, "the session has ended")
}

/// Makes `runtime` the session's; `AlreadyInitialized` if there is one.
pub(crate) fn install(make: impl FnOnce() -> Result<Arc<dyn Runtime>>, lazy: bool) -> Result<()> {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    match &*current {
        Current::Running(_) if lazy => return Ok(()),
        Current::Ended if lazy => return Err(ended()),
        Current::Running(_) => {
            let text = "a session runs already in this process: end it first, or use it";
            return Err(Error::new(ErrorKind::AlreadyInitialized, text));
        }
        Current::Never | Current::Ended => {}
    }
    *current = Current::Running(make()?);
    EPOCH.fetch_add(1, Ordering::Release);
    Ok(())
}

/// Takes the session's runtime away, if there is one.
pub(crate) fn uninstall() {
    let mut current = CURRENT.write().unwrap_or_else(PoisonError::into_inner);
    if matches!(*current, Current::Running(_)) {
        *current = Current::Ended;
        EPOCH.fetch_add(1, Ordering::Release);
    }
    drop(current);
    let _ = CACHED.try_with(|cell| {
        if let Ok(mut cached) = cell.try_borrow_mut() {
            *cached = (0, None);
        }
    });
}

/// Whether a session runs.
pub(crate) fn is_running() -> bool {
    matches!(&*CURRENT.read().unwrap_or_else(PoisonError::into_inner), Current::Running(_))
}

/// What runs nothing: the runtime of actors that were asked for where there is no session.
struct Nowhere;

impl Runtime for Nowhere {
    fn submit(&self, task: Task) {
        task.object.fail(ended());
    }

    fn create(&self, creation: Creation) -> ActorRef {
        stillborn(&creation, ended())
    }

    fn call(&self, call: ActorCall) {
        call.post.object.fail(call.actor.obituary());
    }

    fn adopt(&self, _: &Arc<dyn Object>, _: Option<Duration>) -> bool {
        true
    }

    fn pause(&self, _: &Pause<'_>) -> Result<u64> {
        Err(ended())
    }

    fn resume(&self, _: &Pause<'_>, _: u64) {}

    fn ask(&self, _: Question<'_>) -> Result<Answer> {
        Err(ended())
    }

    fn identity(&self) -> Identity {
        Identity { job: JobId(0), node: NodeId(0), worker: WorkerId(0) }
    }

    fn is_ending(&self) -> bool {
        true
    }

    fn queue_max(&self) -> usize {
        usize::MAX
    }
}

/// An actor that is dead from the start.
pub(crate) fn stillborn(creation: &Creation, error: Error) -> ActorRef {
    #[derive(Default)]
    struct Heap(std::sync::Mutex<Vec<Arc<dyn Object>>>);
    impl Mailbox for Heap {
        fn post(&self, letter: Letter) {
            if let Letter::Call(post) = letter {
                self.0.lock().unwrap_or_else(PoisonError::into_inner).push(post.object);
            }
        }
        fn len(&self) -> usize {
            0
        }
        fn drain(&self) -> Vec<Arc<dyn Object>> {
            std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }
    }
    let place = crate::id::Place { index: u32::MAX, generation: 0 };
    let actor = Arc::new(ActorCore::new(Parts {
        id: crate::id::ActorId { owner: WorkerId(0), place },
        class: creation.class,
        class_type: creation.class_type,
        mailbox: Arc::new(Heap::default()),
        runtime: Arc::new(Nowhere),
        ready: creation.ready.clone(),
        policy: Policy::default(),
    }));
    actor.die(error);
    actor.handle().expect("nobody closes it")
}

/// How long a call from inside a task waits for an overfull actor queue before it goes on anyway.
const SLOW_DOWN: Duration = Duration::from_millis(1);
/// Queued bytes from which calls of tasks to actors slow down: producers that outrun their consumer
/// would otherwise fill memory long before the limit proper.
const SLOW_DOWN_BYTES: usize = 8 * 1024 * 1024;

/// Holds a caller back while too much is queued: a thread that is no task blocks; in a task the call
/// fails, and calls to actors slow down well before that.
pub(crate) fn back_pressure(runtime: &Arc<dyn Runtime>, to_actor: bool) -> Result<()> {
    use crate::store::Meter;
    let queued = Meter::queued();
    // A limit below the queue's own counting step bounds as well as that step allows.
    if queued < SLOW_DOWN_BYTES && queued < runtime.queue_max() {
        return Ok(());
    }
    let limit = runtime.queue_max();
    if in_call() {
        if queued > limit {
            let text = format!("{queued} bytes of calls are queued, more than {limit}");
            return Err(Error::new(ErrorKind::QueueFull, text));
        }
        if to_actor
            && queued >= SLOW_DOWN_BYTES
            && with_frame(|frame| frame.base().station != Station::Arbiter)
        {
            let _waiting = begin_wait(WaitReason::QueueRoom);
            Meter::wait(SLOW_DOWN);
        }
        return Ok(());
    }
    if Meter::queued() <= limit {
        return Ok(());
    }
    let _waiting = begin_wait(WaitReason::QueueRoom);
    while Meter::queued() > limit {
        if runtime.is_ending() {
            return Err(ended());
        }
        Meter::wait(Duration::from_millis(10));
    }
    Ok(())
}

/// A handle to the actor whose method runs on this thread: where it is hosted for another process, one that
/// counts there; `None` once it ends.
pub(crate) fn own_handle(actor: &Arc<ActorCore>) -> Result<Option<ActorRef>> {
    let question = |runtime: &Arc<dyn Runtime>| {
        runtime.ask(Question::Actor(actor.id(), actor.class().constructor.key()))
    };
    match with_current(question).unwrap_or_else(|| Err(ended()))? {
        Ok(Answer::Actor(handle)) => Ok(Some(handle)),
        _ => Ok(None),
    }
}

/// The caller of a call made on this thread now, with or without a session.
pub(crate) fn caller_anywhere() -> CallerId {
    with_current(this_caller).and_then(Result::ok).unwrap_or(CallerId::Driver(JobId(0)))
}

/// The caller of a call made on this thread now.
pub(crate) fn this_caller(runtime: &Arc<dyn Runtime>) -> CallerId {
    with_frame(Frame::caller).unwrap_or(CallerId::Driver(runtime.identity().job))
}
