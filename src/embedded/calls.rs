//! Calls on their way: what they were told, what they wait for, whose turn it is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::actors::Start;
use super::{Embedded, lock, shutdown};
use crate::error::{Error, ErrorKind, Result};
use crate::id::{ActorId, CallerId, Sequence};
use crate::resource::{CPU, Quantity, ResourceSet};
use crate::runtime::{ActorCall, ActorCore, ActorRef, Letter, Post, Task, with_frame};
use crate::scheduler::{self, Lines};
use crate::spec::{Isolation, Options};
use crate::store::{Listener, Object, Waiter};

/// A call in the graph of waits.
#[derive(Clone)]
pub(crate) struct CallRef(pub(super) Arc<dyn Object>);

impl scheduler::Call for CallRef {
    type Key = usize;

    fn key(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }

    fn is_complete(&self) -> bool {
        self.0.head().is_complete()
    }

    fn has_started(&self) -> bool {
        self.0.head().is_under_way()
    }

    fn actor(&self) -> Option<ActorId> {
        self.0.head().actor()
    }

    fn is_exclusive(&self) -> bool {
        self.0.head().is_exclusive()
    }
}

/// The refusal of a wait that would close a circle.
pub(super) fn deadlock(waiting: &Arc<dyn Object>, circle: &[CallRef]) -> Error {
    let me = waiting.head().definition().name;
    let mut text = format!("`{me}` would wait for itself: `{me}`");
    for CallRef(call) in circle {
        text.push_str(" → `");
        text.push_str(call.head().definition().name);
        text.push('`');
    }
    Error::new(ErrorKind::Deadlock, text)
}

/// A call that stands in its caller's line; it keeps its actor alive.
pub(super) struct Queued {
    post: Post,
    actor: Option<ActorRef>,
}

/// What follows once all arguments are there.
enum Then {
    Run(ResourceSet),
    Call(Arc<ActorCore>, CallerId, Sequence),
    Create(Box<Start>),
}

/// A call that is held back by its arguments.
struct Held {
    host: Weak<Embedded>,
    object: Arc<dyn Object>,
    needs: Vec<Arc<dyn Object>>,
    missing: AtomicUsize,
    then: Mutex<Option<Then>>,
}

/// The token of the call's own completion; others are indices of what it needs.
const OWN: usize = usize::MAX;

impl Listener for Held {
    fn ready(&self, token: usize, failed: bool) {
        let Some(host) = self.host.upgrade() else { return };
        if token == OWN {
            self.take(&host).into_iter().for_each(|then| host.void(&self.object, then));
        } else if failed {
            let name = self.object.head().definition().name;
            let cause = self.needs[token].error().map(|error| error.passed_on(name));
            self.needs[token].head().set_seen();
            // Its own completion closes its place.
            self.object.fail(cause.unwrap_or_else(shutdown));
        } else if self.missing.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.take(&host).into_iter().for_each(|then| host.go_on(&self.object, then));
        }
    }
}

impl Held {
    fn take(&self, host: &Embedded) -> Option<Then> {
        let then = lock(&self.then).take()?;
        // A call in a line may wait for its turn after its arguments; it is released when it leaves.
        if !matches!(then, Then::Call(..)) {
            host.release_wait(&self.object);
        }
        Some(then)
    }
}

impl Embedded {
    pub(super) fn submit_task(&self, Task { object, needs, options }: Task) {
        if self.ending.load(Ordering::Acquire) {
            crate::runtime::refused();
            object.fail(shutdown());
            return;
        }
        let is_away = self.settings.isolation == Isolation::Process;
        let options = options.or_else(|| is_away.then(Options::new));
        let Some(options) = options else {
            if crate::runtime::in_call() && !self.adopt_call(&object, None) {
                return;
            }
            if needs.is_empty() && self.pool_serves {
                return self.push_plain(object);
            }
            return self.run_when_there(object, needs, ResourceSet::one_cpu());
        };
        match self.task_terms(&options, &object) {
            Ok(request) => {
                if self.adopt_call(&object, options.time_allowed()) {
                    self.run_when_there(object, needs, request);
                }
            }
            Err(error) => drop(object.fail(error)),
        }
    }

    fn run_when_there(&self, object: Arc<dyn Object>, needs: Vec<Arc<dyn Object>>, request: ResourceSet) {
        if needs.is_empty() {
            self.run_task(object, &request);
        } else {
            self.hold(&object, needs, Then::Run(request));
        }
    }

    fn task_terms(&self, options: &Options, object: &Arc<dyn Object>) -> Result<ResourceSet> {
        let isolation = self.isolation(options)?;
        options.naming()?;
        let demand = options.demand(Quantity::ONE)?;
        self.ledger.check(&demand.resources)?;
        let retry = options.task_retry();
        let is_away = isolation == Isolation::Process && !object.head().definition().file.is_empty();
        if retry.on_error || is_away {
            object.head().set_retry(retry);
        }
        if is_away {
            let courier = self.elsewhere()?.courier(&self.me, object.head().definition(), options);
            object.head().set_place(Arc::new(courier));
        } else if !demand.resources.get(crate::resource::GPU).is_zero() {
            say_of_gpus();
        }
        Ok(demand.resources)
    }

    /// Makes a call the child of the one that makes it: cancelled with it, bound by its deadline.
    /// `false` if that one is over already, and the call with it.
    pub(super) fn adopt_call(&self, object: &Arc<dyn Object>, allowed: Option<Duration>) -> bool {
        let own = allowed.and_then(|allowed| self.now().checked_add(allowed));
        let parent = with_frame(|frame| frame.call().cloned());
        let inherited = parent.as_ref().and_then(|parent| parent.head().deadline());
        let deadline = own.into_iter().chain(inherited).min();
        if let Some(at) = deadline {
            object.head().set_deadline(at);
            self.timer.expire(object, at);
        }
        let Some(parent) = parent else { return true };
        if parent.head().adopt(object) {
            return true;
        }
        let over = || Error::new(ErrorKind::Cancelled, "the call that made it was cancelled");
        object.cancel(&parent.error().cloned().unwrap_or_else(over));
        if self.ending.load(Ordering::Acquire) {
            crate::runtime::refused();
        }
        false
    }

    fn run_task(&self, object: Arc<dyn Object>, request: &ResourceSet) {
        let is_plain = request.get(CPU) == Quantity::ONE && request.iter().count() == 1;
        if is_plain && self.pool_serves && object.head().place().is_none() {
            self.push_plain(object);
        } else {
            self.ledger.run_task(self, object, request);
        }
    }

    fn push_plain(&self, object: Arc<dyn Object>) {
        self.pool.push(object);
        // A session that began to end meanwhile has emptied the queue, perhaps before the push.
        if self.ending.load(Ordering::SeqCst) {
            self.pool.fail_queued(&shutdown());
        }
    }

    /// Waits for arguments.
    fn hold(&self, object: &Arc<dyn Object>, needs: Vec<Arc<dyn Object>>, then: Then) {
        if !matches!(then, Then::Call(..)) {
            self.note_wait(object, needs.clone(), None);
        }
        let held = Arc::new(Held {
            host: self.me.clone(),
            object: object.clone(),
            // One more than there are, so that it cannot go on before all are listened to.
            missing: AtomicUsize::new(needs.len() + 1),
            needs,
            then: Mutex::new(Some(then)),
        });
        let tell = |object: &Arc<dyn Object>, token| {
            let waiter = Waiter { listener: held.clone(), token };
            if object.head().listen(waiter).is_some() {
                held.ready(token, object.head().has_failed());
            }
        };
        tell(object, OWN);
        for (index, needed) in held.needs.iter().enumerate() {
            tell(needed, index);
        }
        held.ready(0, false);
    }

    /// Notes for the search for circles what must end before a call starts.
    fn note_wait(
        &self,
        object: &Arc<dyn Object>,
        needs: Vec<Arc<dyn Object>>,
        before: Option<Arc<dyn Object>>,
    ) {
        let (call, arguments) = (CallRef(object.clone()), needs.len());
        let on = needs.into_iter().chain(before).map(CallRef).collect();
        lock(&self.waits).hold(scheduler::Held { call, on, arguments });
    }

    fn release_wait(&self, object: &Arc<dyn Object>) {
        let gone = lock(&self.waits).release(scheduler::Call::key(&CallRef(object.clone())));
        drop(gone);
    }

    /// All arguments are there.
    fn go_on(&self, object: &Arc<dyn Object>, then: Then) {
        match then {
            Then::Run(request) => self.run_task(object.clone(), &request),
            Then::Call(actor, caller, sequence) => {
                self.with_line(&actor, |line| line.open(caller, sequence));
            }
            Then::Create(start) => self.ledger.start_actor(self, *start),
        }
    }

    /// The call was completed before it could start.
    fn void(&self, object: &Arc<dyn Object>, then: Then) {
        match then {
            Then::Run(_) => {}
            Then::Call(actor, caller, sequence) => {
                self.release_wait(object);
                self.with_line(&actor, |line| line.void(caller, sequence));
            }
            Then::Create(start) => {
                let error = start.actor().ready().error().cloned();
                self.fail_creation(start.actor(), error.unwrap_or_else(shutdown));
            }
        }
    }

    pub(super) fn hold_creation(&self, start: Start, needs: Vec<Arc<dyn Object>>) {
        let object = start.actor().ready().clone();
        self.hold(&object, needs, Then::Create(Box::new(start)));
    }

    pub(super) fn call_actor(&self, ActorCall { actor, post, needs }: ActorCall) {
        let keeps = actor.handle();
        let (object, sequence) = (post.object.clone(), post.sequence);
        let caller = object.head().caller().unwrap_or(CallerId::Driver(self.identity.job));
        let open = needs.is_empty();
        let queued = Queued { post, actor: keeps };
        let before = lock(&self.lines)
            .get(&actor.id())
            .and_then(|line| line.last(caller).map(|before| before.post.object.clone()));
        self.note_wait(&object, needs.clone(), before);
        self.with_line(&actor, |line| line.push(caller, sequence, queued, open));
        if !open {
            self.hold(&object, needs, Then::Call(actor, caller, sequence));
        }
    }

    /// Changes an actor's lines and posts the calls that start.
    ///
    /// They are posted under the lock, and only then is the actor's count of held-back calls lowered:
    /// so no later call overtakes them by the fast path.
    fn with_line(&self, actor: &Arc<ActorCore>, change: impl FnOnce(&mut Lines<Queued>) -> Vec<Queued>) {
        let mut lines = lock(&self.lines);
        let line = lines.entry(actor.id()).or_default();
        let starting = change(line);
        let held = line.len();
        if line.is_empty() {
            lines.remove(&actor.id());
        }
        let mut kept = Vec::new();
        let mut released = Vec::new();
        let is_dead = actor.is_dead();
        let mut failed = Vec::new();
        for Queued { post, actor: keeps } in starting {
            released.push(post.object.clone());
            if is_dead {
                failed.push(post.object);
            } else {
                actor.post(Letter::Call(post));
            }
            kept.push(keeps);
        }
        actor.held().store(held, Ordering::Release);
        drop(lines);
        for object in released {
            self.release_wait(&object);
        }
        for object in failed {
            object.fail(actor.obituary());
        }
        drop(kept);
    }

    /// Fails what stands in the lines of a dead actor.
    pub(super) fn clear_lines(&self, actor: &Arc<ActorCore>) {
        let Some(mut lines) = lock(&self.lines).remove(&actor.id()) else { return };
        for queued in lines.clear() {
            self.release_wait(&queued.post.object);
            queued.post.object.fail(actor.obituary());
        }
    }
}

/// A function or class with GPUs on threads: said once what that means.
pub(super) fn say_of_gpus() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        tracing::warn!(
            target: "mobula",
            "CUDA_VISIBLE_DEVICES is set in worker processes only; on threads, ask mobula::gpu_ids()"
        );
    });
}
