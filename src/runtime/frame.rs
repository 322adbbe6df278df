//! The call that runs on this thread, and on whose resources.
//!
//! The executor sets the frame around every attempt of a sync call and every poll of an async one;
//! `context()`, nested calls and blocking waits read it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::actor::ActorCore;
use crate::id::{CallerId, WorkerId};
use crate::scheduler::Grant;
use crate::store::Object;

/// What kind of thread it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Station {
    /// Not one of ours: the driver's, or a user's own.
    #[default]
    Outside,
    /// A member of the function pool.
    Pool,
    /// An actor's own thread.
    Actor,
    /// An arbiter that many calls share: nothing may block there.
    Arbiter,
}

/// Resources held by a task or an actor.
#[derive(Debug, Default)]
pub(crate) struct Lease {
    grant: Mutex<Grant>,
    /// The CPUs that were asked for again have come, or will not.
    came: Condvar,
}

impl Lease {
    pub(crate) fn new(grant: Grant) -> Self {
        Self { grant: Mutex::new(grant), came: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Grant> {
        self.grant.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All that it holds, which it holds no longer.
    pub(crate) fn take(&self) -> Grant {
        let grant = std::mem::take(&mut *self.lock());
        self.came.notify_all();
        grant
    }

    /// The CPUs that were asked for again have come, or will not: `change` says so in the grant.
    pub(crate) fn resume<R>(&self, change: impl FnOnce(&mut Grant) -> R) -> R {
        let mut grant = self.lock();
        let answer = change(&mut grant);
        drop(grant);
        self.came.notify_all();
        answer
    }

    /// Waits while somebody else asks for the CPUs again.
    pub(crate) fn wait_for_cpus(&self) {
        let mut grant = self.lock();
        while grant.is_asked_for() {
            grant = self.came.wait(grant).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The calls that run on one thread or of one actor, for who must end them.
#[derive(Default)]
pub(crate) struct Running(Mutex<Vec<Arc<dyn Object>>>);

impl Running {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Arc<dyn Object>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What does not change from call to call of one actor or pool member.
#[derive(Default)]
pub(crate) struct Base {
    pub(crate) station: Station,
    pub(crate) actor: Option<Arc<ActorCore>>,
    pub(crate) lease: Option<Arc<Lease>>,
    pub(crate) worker: Option<WorkerId>,
    /// What a pool member runs; an actor keeps its own account.
    pub(crate) running: Option<Arc<Running>>,
    /// Threads whose call does not listen to the end of the session.
    pub(crate) deaf: Option<Arc<AtomicUsize>>,
}

impl Base {
    /// The same thread, with other resources.
    pub(crate) fn with_lease(&self, lease: Lease) -> Self {
        Self {
            station: self.station,
            actor: self.actor.clone(),
            lease: Some(Arc::new(lease)),
            worker: self.worker,
            running: self.running.clone(),
            deaf: self.deaf.clone(),
        }
    }

    fn running(&self) -> Option<&Running> {
        self.running.as_deref().or_else(|| self.actor.as_ref().map(|actor| actor.running()))
    }
}

/// A running call.
#[derive(Default)]
pub(crate) struct Frame {
    base: Rc<Base>,
    call: Option<Arc<dyn Object>>,
    /// The call as a caller; for a task it is made when first asked for.
    caller: Cell<Option<CallerId>>,
    attempt: u32,
    /// Calls made after the session began to end.
    refused: Cell<u32>,
}

thread_local! {
    static FRAME: RefCell<Frame> = RefCell::default();
}

impl Frame {
    pub(crate) fn new(base: Rc<Base>) -> Self {
        Self { base, ..Self::default() }
    }

    /// A frame in which things are done in the name of a call that runs elsewhere.
    pub(crate) fn standing_in(base: Rc<Base>, call: Arc<dyn Object>) -> Self {
        Self { base, call: Some(call), ..Self::default() }
    }

    pub(crate) fn base(&self) -> &Rc<Base> {
        &self.base
    }

    /// The call that runs, if one does.
    pub(crate) fn call(&self) -> Option<&Arc<dyn Object>> {
        self.call.as_ref()
    }

    /// Which attempt this is, from 1.
    pub(crate) fn attempt(&self) -> u32 {
        self.attempt
    }

    /// As whom this call makes calls of its own.
    pub(crate) fn caller(&self) -> Option<CallerId> {
        self.call.as_ref()?;
        if let Some(actor) = &self.base.actor {
            return Some(CallerId::Actor(actor.id()));
        }
        let caller = self.caller.get().unwrap_or_else(|| {
            static NEXT: AtomicU64 = AtomicU64::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            CallerId::Task(self.base.worker.unwrap_or(WorkerId(0)), number)
        });
        self.caller.set(Some(caller));
        Some(caller)
    }

    /// Makes `call` the running one.
    pub(crate) fn begin(&mut self, call: Arc<dyn Object>, attempt: u32) {
        self.call = Some(call);
        self.caller.set(None);
        self.attempt = attempt;
    }
}

/// Reads the frame of this thread; on one that is ending, whose locals are gone, nothing runs.
pub(crate) fn with_frame<R>(f: impl FnOnce(&Frame) -> R) -> R {
    let mut f = Some(f);
    let mut read = |frame: &Frame| (f.take().expect("called once"))(frame);
    let of_thread = FRAME.try_with(|frame| read(&frame.borrow()));
    of_thread.unwrap_or_else(|_| read(&Frame::default()))
}

/// Whether a call runs on this thread.
pub(crate) fn in_call() -> bool {
    with_frame(|frame| frame.call.is_some())
}

/// Puts `frame` in place of this thread's, which it returns.
pub(crate) fn swap(frame: Frame) -> Frame {
    FRAME.replace(frame)
}

/// A call that goes on making calls this often after the session began to end does not listen, and is
/// not waited for.
const REFUSED_MAX: u32 = 1_000;

/// A call was made while the session ends.
pub(crate) fn refused() {
    with_frame(|frame| {
        let count = frame.refused.get().saturating_add(1);
        frame.refused.set(count);
        if count == REFUSED_MAX
            && let Some(deaf) = &frame.base.deaf
        {
            deaf.fetch_add(1, Ordering::AcqRel);
        }
        if count > REFUSED_MAX {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    });
}

/// Begins a call on this thread's frame.
pub(crate) fn enter(call: Arc<dyn Object>, attempt: u32) {
    FRAME.with_borrow_mut(|frame| {
        if let Some(running) = frame.base.running() {
            running.lock().push(call.clone());
        }
        frame.begin(call, attempt);
    });
}

/// Ends the call on this thread's frame.
pub(crate) fn leave() {
    let call = FRAME.with_borrow_mut(|frame| {
        let call = frame.call.take()?;
        if frame.refused.replace(0) >= REFUSED_MAX
            && let Some(deaf) = &frame.base.deaf
        {
            deaf.fetch_sub(1, Ordering::AcqRel);
        }
        if let Some(running) = frame.base.running() {
            running.lock().retain(|other| !Arc::ptr_eq(other, &call));
        }
        Some(call)
    });
    drop(call);
}
