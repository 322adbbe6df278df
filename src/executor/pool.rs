//! The function pool: members that run tasks, as many as there are CPUs, more while some block.
//!
//! ```text
//! push ──► fast     tasks of one CPU ──► members with a CPU of the books, kept from task to task
//! push ──► granted  tasks whose resources were granted one by one; each finds a thread at once
//! ```
//!
//! Wake-ups: who pushes looks for a searching member, then for an idle one, then for room for a new
//! one. A member that stops searching looks at the queues once more, after it has said so; and one that
//! finds work while more is there wakes the next. So no task waits while a member could run it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use crossbeam::queue::SegQueue;
use crossbeam::sync::{Parker, Unparker};
use tokio::runtime::Handle;

use super::attempt::{self, Outcome};
use super::{Courier, Desk, Stage};
use crate::error::{Error, ErrorKind};
use crate::resource::{CPU, Quantity, ResourceSet};
use crate::runtime::{self, Base, Frame, Lease, Running, Station};
use crate::scheduler::Grant;
use crate::spec::Retry;
use crate::store::{Listener, LocalFuture, Object, Progress, Seat, Started, Waiter, start};

/// How long a member without work stays.
const IDLE: Duration = Duration::from_millis(100);
/// How deeply tasks may run inside the waits of others on one thread, once threads are used up.
const INLINE_MAX: usize = 64;

thread_local! {
    /// Whether this member runs a granted task, and so is away from the fast queue already.
    static IS_GRANTED: Cell<bool> = const { Cell::new(false) };
    /// How many tasks run inside each other's waits on this thread.
    static INLINE_DEPTH: Cell<usize> = const { Cell::new(0) };
}

/// The pool of one session.
pub(crate) struct Pool {
    fast: SegQueue<Arc<dyn Object>>,
    granted: SegQueue<(Arc<dyn Object>, Arc<Lease>)>,
    searching: AtomicUsize,
    idle: Mutex<Vec<(usize, Unparker)>>,
    idle_count: AtomicUsize,
    members: AtomicUsize,
    /// Members that have been hired and have not looked at the queues yet.
    coming: AtomicUsize,
    /// Members in a wait.
    blocked: AtomicUsize,
    /// Members that run no task of the fast queue meanwhile: in a wait, or with a granted task.
    away: AtomicUsize,
    named: AtomicUsize,
    /// How many members may run tasks of one CPU at once.
    width: usize,
    stage: Arc<Stage>,
    /// Weak, since who owns the pool is it; members keep it for as long as they serve.
    desk: OnceLock<Weak<dyn Desk>>,
    /// What runs, and on which CPU, by member.
    running: Mutex<Vec<(Arc<Running>, Arc<Lease>)>>,
    /// How many tasks are in `granted`, to look at before the queue itself.
    granted_count: AtomicUsize,
}

impl Pool {
    pub(crate) fn new(width: usize, stage: Arc<Stage>) -> Arc<Self> {
        Arc::new(Self {
            fast: SegQueue::new(),
            granted: SegQueue::new(),
            searching: AtomicUsize::new(0),
            idle: Mutex::default(),
            idle_count: AtomicUsize::new(0),
            members: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
            blocked: AtomicUsize::new(0),
            away: AtomicUsize::new(0),
            named: AtomicUsize::new(0),
            width,
            stage,
            desk: OnceLock::new(),
            running: Mutex::default(),
            granted_count: AtomicUsize::new(0),
        })
    }

    /// Says whom to ask for CPUs; once, before the first push.
    pub(crate) fn attach(&self, desk: &Arc<dyn Desk>) {
        let _ = self.desk.set(Arc::downgrade(desk));
    }

    fn desk(&self) -> Option<Arc<dyn Desk>> {
        self.desk.get().expect("attached before the first push").upgrade()
    }

    /// Queues a task of one CPU, whose arguments are there.
    pub(crate) fn push(self: &Arc<Self>, object: Arc<dyn Object>) {
        object.head().set_plain();
        self.fast.push(object);
        self.wake(false);
    }

    /// Runs a task whose resources are granted.
    pub(crate) fn push_granted(self: &Arc<Self>, object: Arc<dyn Object>, lease: Arc<Lease>) {
        self.granted.push((object, lease));
        self.granted_count.fetch_add(1, Ordering::SeqCst);
        self.wake(true);
    }

    /// Fails all that is queued.
    pub(crate) fn fail_queued(&self, error: &Error) {
        while let Some(object) = self.fast.pop() {
            object.fail(error.clone());
        }
        while let Some((object, lease)) = self.pop_granted() {
            object.fail(error.clone());
            if let Some(desk) = self.desk() {
                desk.give_back(&lease);
            }
        }
    }

    /// The tasks that run now.
    pub(crate) fn running(&self) -> Vec<Arc<dyn Object>> {
        self.members_running().iter().flat_map(|(running, _)| running.lock().clone()).collect()
    }

    /// How many tasks wait for a CPU, and how many have their resources and wait for a thread.
    pub(crate) fn queued(&self) -> (usize, usize) {
        (self.fast.len(), self.granted.len())
    }

    /// What members hold of the books between two tasks, and would give back if asked.
    pub(crate) fn unused(&self) -> ResourceSet {
        let mut unused = ResourceSet::new();
        for (running, lease) in self.members_running().iter() {
            if running.lock().is_empty() {
                unused.give(&lease.lock().resources);
            }
        }
        unused
    }

    fn members_running(&self) -> MutexGuard<'_, Vec<(Arc<Running>, Arc<Lease>)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes all idle members, so that they see the end of the session.
    pub(crate) fn wake_all(&self) {
        for (_, unparker) in self.idle().drain(..) {
            unparker.unpark();
        }
        self.idle_count.store(0, Ordering::SeqCst);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<(usize, Unparker)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> usize {
        let blocked = self.blocked.load(Ordering::SeqCst);
        self.members.load(Ordering::SeqCst).saturating_sub(blocked)
    }

    /// Members that are there for the fast queue.
    fn present(&self) -> usize {
        let away = self.away.load(Ordering::SeqCst);
        self.members.load(Ordering::SeqCst).saturating_sub(away)
    }

    fn is_empty(&self) -> bool {
        self.fast.is_empty() && !self.has_granted()
    }

    fn has_granted(&self) -> bool {
        self.granted_count.load(Ordering::SeqCst) > 0
    }

    fn pop_granted(&self) -> Option<(Arc<dyn Object>, Arc<Lease>)> {
        if !self.has_granted() {
            return None;
        }
        let popped = self.granted.pop();
        if popped.is_some() {
            self.granted_count.fetch_sub(1, Ordering::SeqCst);
        }
        popped
    }

    /// Sees to it that somebody looks at the queues.
    fn wake(self: &Arc<Self>, granted: bool) {
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::SeqCst) > 0 {
            return;
        }
        if self.idle_count.load(Ordering::SeqCst) > 0 {
            let woken = self.idle().pop();
            if let Some((_, unparker)) = woken {
                self.idle_count.fetch_sub(1, Ordering::SeqCst);
                unparker.unpark();
                return;
            }
        }
        // Without a thread to be had, who is active comes to it; if nobody is, nobody ever will.
        if (granted || self.present() < self.width) && !self.hire() && self.active() == 0 {
            let text = format!("all {} threads are in use", self.stage.threads().max());
            self.fail_queued(&self.no_thread(text));
        }
    }

    /// Goes on with waking once a hired member has found work: several pushes may have relied on the one
    /// searching member whose find led to the hire. A granted task for which a member comes needs no other.
    fn wake_next(self: &Arc<Self>) {
        let granted = self.granted_count.load(Ordering::SeqCst) > self.coming.load(Ordering::SeqCst);
        if granted || !self.fast.is_empty() {
            self.wake(granted);
        }
    }

    /// Starts a member; `false` if there may be no more threads.
    fn hire(self: &Arc<Self>) -> bool {
        let Some(desk) = self.desk() else { return false };
        let Some(permit) = self.stage.threads().reserve() else { return false };
        self.members.fetch_add(1, Ordering::SeqCst);
        self.coming.fetch_add(1, Ordering::SeqCst);
        let pool = self.clone();
        let name = format!("mobula-pool-{}", self.named.fetch_add(1, Ordering::Relaxed));
        let refused = self.clone();
        let serve = move || Member::new(pool, desk).serve();
        self.stage.hire_with(permit, name, serve, move || refused.not_hired());
        true
    }

    /// A member that was hired does not come: the system has no thread for it.
    fn not_hired(&self) {
        self.coming.fetch_sub(1, Ordering::SeqCst);
        self.members.fetch_sub(1, Ordering::SeqCst);
        // Who is active comes to what is queued; if nobody is, nobody ever will.
        if self.active() == 0 {
            let text = "the system gives no more threads; nest less deeply or await less";
            self.fail_queued(&self.no_thread(text));
        }
    }

    /// Why nobody comes to what is queued: a session that has ended gives no threads.
    fn no_thread(&self, text: impl Into<Box<str>>) -> Error {
        if self.desk().is_none_or(|desk| desk.is_ending()) {
            return runtime::ended();
        }
        Error::new(ErrorKind::TooManyThreads, text)
    }

    /// A member is about to block in a wait; others may use its place.
    ///
    /// `false` if no thread would be left to run anything: the wait must not begin.
    pub(crate) fn block(self: &Arc<Self>) -> bool {
        let threads = self.stage.threads();
        // Decided for one member at a time: of two that block at once, one stays.
        let another = |blocked| {
            let is_last = self.members.load(Ordering::SeqCst) <= blocked + 1;
            let is_full = threads.live() >= threads.max() && self.idle_count.load(Ordering::SeqCst) == 0;
            (!is_last || !is_full).then_some(blocked + 1)
        };
        if self.blocked.fetch_update(Ordering::SeqCst, Ordering::SeqCst, another).is_err() {
            return false;
        }
        if !IS_GRANTED.get() {
            self.away.fetch_add(1, Ordering::SeqCst);
        }
        if !self.is_empty() {
            self.wake(self.has_granted());
        }
        true
    }

    /// The wait is over.
    pub(crate) fn unblock(&self) {
        self.blocked.fetch_sub(1, Ordering::SeqCst);
        if !IS_GRANTED.get() {
            self.away.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Runs a task of the fast queue on this thread, inside a wait for something else: the first that may
    /// run there. `false` if there is none.
    pub(crate) fn run_next_inline(self: &Arc<Self>) -> bool {
        let mut passed_over = Vec::new();
        let mut has_run = false;
        while !has_run && let Some(object) = self.fast.pop() {
            has_run = self.run_inline(&object);
            // What has started, or is over, only leaves the queue.
            if !has_run && !object.head().has_started() {
                passed_over.push(object);
            }
        }
        // Behind the others, and said again: who looked meanwhile saw a queue without them.
        for object in passed_over {
            self.push(object);
        }
        has_run
    }

    /// Runs a task on this thread, inside the wait for it, on the CPU that the waiter has.
    ///
    /// `false` if it may not run there: it has started or is not in the fast queue (its arguments are not
    /// there, or it needs another place or other resources than one CPU), the waiter has no whole CPU, a
    /// future is polled on this thread and it is another, or too many run inside each other here already.
    pub(crate) fn run_inline(&self, object: &Arc<dyn Object>) -> bool {
        let head = object.head();
        let is_in_its_way = head.definition().is_async && Handle::try_current().is_ok();
        if !head.is_plain() || is_in_its_way || !has_cpu() {
            return false;
        }
        let Some(inside) = Inline::enter() else { return false };
        let Some(desk) = self.desk() else { return false };
        let Some(call) = start(object.clone()) else { return false };
        run(&*desk, call, None, || {});
        drop(inside);
        true
    }
}

/// Whether who waits on this thread has a CPU that another task can run on meanwhile.
fn has_cpu() -> bool {
    runtime::with_frame(|frame| {
        let lease = frame.base().lease.as_ref();
        lease.is_some_and(|lease| lease.lock().resources.get(CPU) >= Quantity::ONE)
    })
}

/// A task runs inside of another's wait; what is dropped with this is the other's frame again.
struct Inline {
    outer: Option<Frame>,
}

impl Inline {
    /// `None` if too many run inside each other here already.
    fn enter() -> Option<Self> {
        let depth = INLINE_DEPTH.get();
        if depth >= INLINE_MAX {
            return None;
        }
        INLINE_DEPTH.set(depth + 1);
        // One of the waiter's CPUs, which stays the waiter's in the books; none of its GPUs.
        let lease = Lease::new(Grant::of(ResourceSet::one_cpu(), Vec::new()));
        let base = runtime::with_frame(|frame| frame.base().with_lease(lease));
        Some(Self { outer: Some(runtime::swap(Frame::new(Rc::new(base)))) })
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        runtime::swap(self.outer.take().unwrap_or_default());
        INLINE_DEPTH.set(INLINE_DEPTH.get() - 1);
    }
}

/// One thread of the pool.
struct Member {
    pool: Arc<Pool>,
    desk: Arc<dyn Desk>,
    parker: Parker,
    number: usize,
    /// The CPU that it holds while it runs tasks of one CPU.
    lease: Arc<Lease>,
    holds_cpu: Cell<bool>,
    running: Arc<Running>,
}

enum Work {
    Fast(Arc<dyn Object>),
    Granted(Arc<dyn Object>, Arc<Lease>),
}

impl Member {
    fn new(pool: Arc<Pool>, desk: Arc<dyn Desk>) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let running: Arc<Running> = Arc::default();
        let lease: Arc<Lease> = Arc::default();
        pool.members_running().push((running.clone(), lease.clone()));
        Self { pool, desk, parker: Parker::new(), number, lease, holds_cpu: Cell::new(false), running }
    }

    fn base(&self, lease: &Arc<Lease>) -> Rc<Base> {
        let (_, worker) = self.desk.place();
        let lease = Some(lease.clone());
        let running = Some(self.running.clone());
        Rc::new(Base {
            station: Station::Pool,
            actor: None,
            lease,
            worker: Some(worker),
            running,
            deaf: Some(self.pool.stage.threads().deaf().clone()),
        })
    }

    fn serve(&self) {
        let own = self.base(&self.lease);
        runtime::swap(Frame::new(own));
        let mut next = self.first().or_else(|| self.next());
        while let Some(work) = next {
            match work {
                Work::Fast(object) => self.run_fast(object),
                Work::Granted(object, lease) => self.run_granted(object, &lease),
            }
            next = self.next();
        }
        runtime::swap(Frame::default());
        self.pool.members_running().retain(|(running, _)| !Arc::ptr_eq(running, &self.running));
    }

    fn run_granted(&self, object: Arc<dyn Object>, lease: &Arc<Lease>) {
        // The task has its own resources; what this member holds for the fast queue is for others now.
        self.give_back();
        self.pool.away.fetch_add(1, Ordering::SeqCst);
        IS_GRANTED.set(true);
        // Whoever pushed a fast task may have counted on this member.
        if !self.pool.fast.is_empty() {
            self.pool.wake(false);
        }
        let outer = runtime::swap(Frame::new(self.base(lease)));
        if let Some(call) = start(object) {
            let courier = self.desk.courier(call.object());
            run(&*self.desk, call, courier.as_deref(), || self.desk.give_back(lease));
        }
        runtime::swap(outer);
        self.desk.give_back(lease);
        IS_GRANTED.set(false);
        self.pool.away.fetch_sub(1, Ordering::SeqCst);
    }

    fn run_fast(&self, object: Arc<dyn Object>) {
        if let Some(call) = start(object) {
            run(&*self.desk, call, None, || {});
        }
        if self.desk.wants_cpu() {
            self.give_back();
        }
    }

    fn give_back(&self) {
        if self.holds_cpu.replace(false) {
            self.desk.give_back(&self.lease);
        }
    }

    /// Takes a task; for one of the fast queue, a CPU first.
    fn pop(&self) -> Option<Work> {
        if let Some((object, lease)) = self.pool.pop_granted() {
            return Some(Work::Granted(object, lease));
        }
        if !self.holds_cpu.get() {
            if self.pool.fast.is_empty() {
                return None;
            }
            self.holds_cpu.set(self.desk.take_cpu(&self.lease));
            if !self.holds_cpu.get() {
                return None;
            }
        }
        self.pool.fast.pop().map(Work::Fast)
    }

    /// The task for which this member was hired, if nobody else has taken it.
    fn first(&self) -> Option<Work> {
        self.pool.coming.fetch_sub(1, Ordering::SeqCst);
        let work = self.pop()?;
        self.pool.wake_next();
        Some(work)
    }

    /// The next task; `None` when the member is to end.
    fn next(&self) -> Option<Work> {
        if let Some(work) = self.pop() {
            return Some(work);
        }
        loop {
            if let Some(work) = self.search() {
                // Whoever pushed meanwhile saw a searching member and woke nobody.
                if !self.pool.is_empty() {
                    self.pool.wake(self.pool.has_granted());
                }
                return Some(work);
            }
            self.give_back();
            let goes = self.desk.is_ending() || !self.sleep();
            if goes && self.pool.is_empty() {
                self.pool.members.fetch_sub(1, Ordering::SeqCst);
                // A push between the last look and the line above counted on this member.
                fence(Ordering::SeqCst);
                if !self.pool.is_empty() {
                    self.pool.wake(self.pool.has_granted());
                }
                return None;
            }
        }
    }

    fn search(&self) -> Option<Work> {
        self.pool.searching.fetch_add(1, Ordering::SeqCst);
        let pool = &self.pool;
        runtime::spin(|| !pool.is_empty() || self.desk.wants_cpu());
        self.pool.searching.fetch_sub(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.pop()
    }

    /// Sleeps until woken; `false` if nobody did for a while.
    fn sleep(&self) -> bool {
        self.pool.idle().push((self.number, self.parker.unparker().clone()));
        self.pool.idle_count.fetch_add(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.pool.is_empty() {
            self.parker.park_timeout(IDLE);
        }
        let mut idle = self.pool.idle();
        let at = idle.iter().position(|(number, _)| *number == self.number);
        let Some(at) = at else { return true };
        idle.remove(at);
        self.pool.idle_count.fetch_sub(1, Ordering::SeqCst);
        !self.pool.is_empty()
    }
}

/// Retries of a task on threads that nothing was said of: a thread is never lost.
const NEVER: Retry = Retry { retries: 0, on_error: false };

/// Runs a task to its end, with all its attempts, here or by a courier; `returned` before anybody learns
/// of it.
fn run(desk: &dyn Desk, mut call: Started, courier: Option<&dyn Courier>, returned: impl FnOnce()) {
    let retry = call.retry().unwrap_or(NEVER);
    for number in 1.. {
        let is_spent = number > retry.retries;
        let last = courier.is_none() && (!retry.on_error || is_spent);
        runtime::enter(call.object().clone(), number + call.before());
        let outcome = match courier {
            Some(courier) => courier.attempt(&mut call, number),
            None => match attempt::once(&mut call, Seat::Free, last) {
                Outcome::Pending(future) => block_on_guarded(call.object(), future),
                outcome => outcome,
            },
        };
        runtime::leave();
        if let Outcome::Failed(error) | Outcome::Panicked(error) = outcome {
            let is_lost = error.kind().is_of_process();
            let is_over = is_spent || call.has_yielded() || call.object().head().is_complete();
            if !is_over && (retry.on_error || is_lost) {
                continue;
            }
            let (node, _) = desk.place();
            let error = error.at(call.object().head().definition().name, node, number + call.before());
            attempt::put_away(&mut call);
            returned();
            call.object().fail(error);
            return;
        }
        returned();
        return attempt::finish(call, last);
    }
}

/// Runs a task on this thread, which it has to itself.
pub(crate) fn run_alone(mut call: Started) {
    runtime::enter(call.object().clone(), 1);
    let outcome = match attempt::once(&mut call, Seat::Free, true) {
        Outcome::Pending(future) => block_on_guarded(call.object(), future),
        outcome => outcome,
    };
    runtime::leave();
    match outcome {
        Outcome::Failed(error) | Outcome::Panicked(error) => {
            attempt::put_away(&mut call);
            call.object().fail(error);
        }
        Outcome::Done | Outcome::Pending(_) => attempt::finish(call, true),
    }
}

/// Wakes a future whose call was cancelled.
struct WakeUp(Waker);

impl Listener for WakeUp {
    fn ready(&self, _: usize, _: bool) {
        self.0.wake_by_ref();
    }
}

/// As [`block_on`]; what tokio itself panics of fails the task, too.
fn block_on_guarded(object: &Arc<dyn Object>, future: LocalFuture<'static, Progress>) -> Outcome {
    attempt::guard(|| block_on(object, future)).unwrap_or_else(Outcome::Panicked)
}

/// Runs an async task on this thread, with tokio's timers and sockets; dropped when cancelled.
fn block_on(object: &Arc<dyn Object>, mut future: LocalFuture<'static, Progress>) -> Outcome {
    thread_local! {
        static RUNTIME: RefCell<Option<actix_rt::Runtime>> = const { RefCell::new(None) };
    }
    let taken = RUNTIME.take().map_or_else(actix_rt::Runtime::new, Ok);
    let tokio = match taken {
        Ok(tokio) => tokio,
        Err(error) => return Outcome::Failed(Error::new(ErrorKind::Io, error.to_string())),
    };
    let mut listening = false;
    let outcome = tokio.block_on(poll_fn(|cx| {
        if object.head().is_complete() {
            return Poll::Ready(Outcome::Done);
        }
        if !listening {
            let waiter = Waiter { listener: Arc::new(WakeUp(cx.waker().clone())), token: 0 };
            listening = object.head().listen(waiter).is_none();
        }
        attempt::poll(&mut future, cx)
    }));
    let inside = tokio.block_on(async { attempt::guard(|| drop(future)) });
    drop(inside);
    RUNTIME.set(Some(tokio));
    outcome
}
