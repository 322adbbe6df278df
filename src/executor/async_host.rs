//! An async class, or a sync one that shares its thread: an actix `Context` on a shared arbiter.
//!
//! ```text
//! post ──► queue ──(one Wake at a time through actix's mailbox)──► Host::drain
//!                                                                    │ start in order
//!                      exclusive call: alone    shared calls: up to `concurrency` at once
//!                      poll once; what is pending is spawned on the arbiter's LocalSet
//! ```
//!
//! The state is lent through a `RefCell`; the host starts a call only where the borrow holds, so the
//! cell never refuses. After a panic the futures of overlapping calls are dropped before the state.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context as TaskContext, Poll, Waker};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message};

use super::attempt::{self, Outcome};
use super::sync_host::killed;
use super::{Blueprint, Desk, Stage};
use crate::error::{Error, ErrorKind};
use crate::runtime::{self, ActorCore, Base, Frame, Letter, Mailbox, Station};
use crate::spec::Retry;
use crate::store::{Built, Listener, LocalFuture, Object, Progress, Seat, Started, Waiter, start};

/// Letters taken at one go, before other actors of the arbiter have their turn.
const BATCH: usize = 64;

/// Letters behind the first one.
type Rest = Option<Box<VecDeque<Letter>>>;

/// Letters, first in, first out. An actor that is called now and then needs no memory for the rest.
#[derive(Default)]
struct Letters {
    first: Option<Letter>,
    rest: Rest,
}

fn pop(rest: &mut Rest) -> Option<Letter> {
    rest.as_mut()?.pop_front()
}

impl Letters {
    fn push_back(&mut self, letter: Letter) {
        if self.first.is_none() {
            self.first = Some(letter);
        } else {
            self.rest.get_or_insert_default().push_back(letter);
        }
    }

    fn pop_front(&mut self) -> Option<Letter> {
        let letter = self.first.take()?;
        self.first = pop(&mut self.rest);
        Some(letter)
    }

    fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }
}

/// The mailbox of an actor on a shared arbiter.
///
/// The host takes all that was posted at one go, so that it and who posts seldom want the same lock.
/// Where both are locked, `batch` is first.
#[repr(C)]
pub(crate) struct Inbox {
    /// What the host has yet to look at, before all of `letters`.
    batch: Mutex<Rest>,
    /// Letters that the host has taken and calls that it has not started; grows under the lock of `batch`,
    /// so that a letter is always counted in one place. Only the host writes it.
    taken: AtomicUsize,
    addr: OnceLock<Addr<AsyncHost>>,
    /// Whether a `Wake` is on its way.
    is_scheduled: AtomicBool,
    letters: Mutex<Letters>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inbox {
    /// The next letter, which counts as taken until it is [`settled`](Inbox::settle).
    fn next(&self) -> Option<Letter> {
        let mut batch = lock(&self.batch);
        let letter = pop(&mut batch).or_else(|| {
            let mut letters = lock(&self.letters);
            let first = letters.first.take()?;
            std::mem::swap(&mut *batch, &mut letters.rest);
            Some(first)
        })?;
        self.taken.store(self.taken.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        Some(letter)
    }

    /// That many of the letters that were taken do not wait any more.
    fn settle(&self, letters: usize) {
        self.taken.store(self.taken.load(Ordering::Relaxed) - letters, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        lock(&self.batch).as_ref().is_none_or(|batch| batch.is_empty()) && lock(&self.letters).is_empty()
    }

    fn schedule(&self) {
        if !self.is_scheduled.swap(true, Ordering::AcqRel)
            && let Some(addr) = self.addr.get()
        {
            addr.do_send(Wake);
        }
    }
}

impl Inbox {
    /// A mailbox, and the host that will empty it on one of the stage's arbiters.
    pub(crate) fn start(stage: &Stage, desk: Arc<dyn Desk>) -> (Arc<Self>, HostSeat) {
        let inbox = Arc::new(Inbox {
            batch: Mutex::default(),
            taken: AtomicUsize::new(0),
            addr: OnceLock::new(),
            is_scheduled: AtomicBool::new(false),
            letters: Mutex::default(),
        });
        let seat = HostSeat { inbox: inbox.clone(), desk, arbiter: stage.arbiter().clone() };
        (inbox, seat)
    }
}

/// A host that waits for its actor and blueprint.
pub(crate) struct HostSeat {
    inbox: Arc<Inbox>,
    desk: Arc<dyn Desk>,
    arbiter: actix_rt::ArbiterHandle,
}

impl HostSeat {
    /// Starts the host; it constructs its actor at once and then takes letters.
    pub(crate) fn host(self, actor: Arc<ActorCore>, blueprint: Blueprint) {
        let Self { inbox, desk, arbiter } = self;
        let own = inbox.clone();
        let addr = AsyncHost::start_in_arbiter(&arbiter, move |_| {
            AsyncHost(Rc::new(Host::new(own, actor, blueprint, desk)))
        });
        let _ = inbox.addr.set(addr);
        inbox.is_scheduled.store(false, Ordering::Release);
        inbox.schedule();
    }
}

impl Mailbox for Inbox {
    fn post(&self, letter: Letter) {
        lock(&self.letters).push_back(letter);
        self.schedule();
    }

    fn len(&self) -> usize {
        let batch = lock(&self.batch);
        let taken = self.taken.load(Ordering::Relaxed);
        batch.as_ref().map_or(0, |batch| batch.len()) + lock(&self.letters).len() + taken
    }

    fn drain(&self) -> Vec<Arc<dyn Object>> {
        let mut calls = Vec::new();
        let mut others = Letters::default();
        let mut batch = lock(&self.batch);
        let mut letters = lock(&self.letters);
        while let Some(letter) = pop(&mut batch).or_else(|| letters.pop_front()) {
            match letter {
                Letter::Call(post) => calls.push(post.object),
                other => others.push_back(other),
            }
        }
        *letters = others;
        calls
    }
}

/// There are letters.
struct Wake;

impl Message for Wake {
    type Result = ();
}

struct AsyncHost(Rc<Host>);

impl Actor for AsyncHost {
    type Context = Context<Self>;

    fn started(&mut self, _: &mut Context<Self>) {
        self.0.begin();
    }
}

impl Handler<Wake> for AsyncHost {
    type Result = ();

    fn handle(&mut self, _: Wake, ctx: &mut Context<Self>) {
        self.0.inbox.is_scheduled.store(false, Ordering::Release);
        self.0.start_waiting();
        self.0.drain(BATCH);
        let is_leaving = self.0.actor.death().is_some() && !self.0.has_ended.get();
        // One on its way is enough: each that is handled may send another.
        if !is_leaving && !self.0.inbox.is_empty() && !self.0.inbox.is_scheduled.swap(true, Ordering::AcqRel)
        {
            ctx.notify(Wake);
        }
        if self.0.has_ended.get() {
            actix::ActorContext::stop(ctx);
        }
    }
}

/// A call that is polled.
struct Active {
    object: Arc<dyn Object>,
    call: Started,
    retry: Retry,
    attempt: u32,
    is_exclusive: bool,
    future: Option<LocalFuture<'static, Progress>>,
}

impl Active {
    /// Which attempt it is, those in processes that are gone included.
    fn number(&self) -> u32 {
        self.attempt + self.call.before()
    }
}

/// The state as it is lent to calls.
type State = RefCell<Box<dyn Any + Send>>;

struct Host {
    inbox: Arc<Inbox>,
    actor: Arc<ActorCore>,
    desk: Arc<dyn Desk>,
    base: Rc<Base>,
    constructor: RefCell<Option<Started>>,
    lease: Option<Arc<crate::runtime::Lease>>,
    restarts: Cell<u32>,
    state: RefCell<Option<Rc<State>>>,
    /// Calls that have been polled and pend, by key.
    active: RefCell<Vec<Option<Active>>>,
    shared: Cell<usize>,
    is_exclusive: Cell<bool>,
    /// Calls that were taken from the inbox but may not start yet.
    waiting: RefCell<VecDeque<Arc<dyn Object>>>,
    /// Whether `start_waiting` runs.
    is_starting: Cell<bool>,
    /// Grows with each crash, so that what was spawned before knows that it is over.
    era: Cell<u64>,
    has_ended: Cell<bool>,
}

/// What stands where neither the call nor its class says how often to try.
const ONCE: Retry = Retry { retries: 0, on_error: false };

impl Host {
    fn new(inbox: Arc<Inbox>, actor: Arc<ActorCore>, blueprint: Blueprint, desk: Arc<dyn Desk>) -> Self {
        let (_, worker) = desk.place();
        let base = Rc::new(Base {
            station: Station::Arbiter,
            actor: Some(actor.clone()),
            lease: blueprint.lease.clone(),
            worker: Some(worker),
            running: None,
            deaf: None,
        });
        Self {
            inbox,
            actor,
            desk,
            base,
            constructor: RefCell::new(blueprint.constructor),
            lease: blueprint.lease,
            restarts: Cell::new(blueprint.restarts),
            state: RefCell::default(),
            active: RefCell::default(),
            shared: Cell::new(0),
            is_exclusive: Cell::new(false),
            waiting: RefCell::default(),
            is_starting: Cell::new(false),
            era: Cell::new(0),
            has_ended: Cell::new(false),
        }
    }

    /// Runs `f` as the call `object`.
    fn within<R>(&self, object: &Arc<dyn Object>, attempt: u32, f: impl FnOnce() -> R) -> R {
        let mut frame = Frame::new(self.base.clone());
        frame.begin(object.clone(), attempt);
        let outer = runtime::swap(frame);
        let result = f();
        runtime::swap(outer);
        result
    }

    fn begin(&self) {
        if let Err(death) = self.construct() {
            self.end(death);
        }
    }

    fn construct(&self) -> Result<(), Error> {
        let (node, _) = self.desk.place();
        let name = self.actor.name();
        if self.constructor.borrow().is_none() {
            *self.constructor.borrow_mut() = start(self.actor.ready().clone());
        }
        for number in 1.. {
            if let Some(death) = self.actor.death() {
                return Err(death.clone());
            }
            let last = self.restarts.get() == 0;
            let mut built = None;
            let mut constructor = self.constructor.borrow_mut();
            let Some(call) = constructor.as_mut() else { return Err(killed(&self.actor)) };
            let outcome = self
                .within(self.actor.ready(), number, || attempt::once(call, Seat::Vacant(&mut built), last));
            drop(constructor);
            match (outcome, built) {
                (Outcome::Done, Some(built)) => {
                    let state = match built {
                        Built::Own(state) => state,
                        Built::Shared(state) => state,
                    };
                    *self.state.borrow_mut() = Some(Rc::new(RefCell::new(state)));
                    let mut constructor = self.constructor.borrow_mut();
                    if let Some(call) = constructor.as_mut() {
                        call.show();
                    }
                    if last {
                        *constructor = None;
                    }
                    return Ok(());
                }
                (Outcome::Panicked(error), _) if last => return Err(error.at(name, node, number)),
                (Outcome::Panicked(_), _) => {
                    self.restarts.set(self.restarts.get() - 1);
                    self.desk.rebuilt(&self.actor);
                }
                (Outcome::Failed(error), _) => return Err(error.at(name, node, number)),
                (Outcome::Done | Outcome::Pending(_), _) => {
                    unreachable!("a constructor is sync and leaves a state")
                }
            }
        }
        unreachable!("the attempts end by returning")
    }

    /// Takes up to `most` letters.
    fn drain(self: &Rc<Self>, most: usize) {
        for _ in 0..most {
            if !self.has_ended.get() {
                if self.actor.is_dead() {
                    return self.end(killed(&self.actor));
                }
                if self.actor.death().is_some() {
                    // It ends by itself, once the call that said so has returned.
                    return;
                }
            }
            let Some(letter) = self.inbox.next() else { return };
            let must_wait = match &letter {
                Letter::Call(_) if self.has_ended.get() => false,
                Letter::Call(post) => !self.waiting.borrow().is_empty() || !self.may_start(&post.object),
                _ => false,
            };
            if !must_wait {
                self.inbox.settle(1);
            }
            match letter {
                Letter::Call(post) if must_wait => self.waiting.borrow_mut().push_back(post.object),
                Letter::Call(post) if self.has_ended.get() => {
                    post.object.fail(self.actor.obituary());
                }
                Letter::Call(post) => self.start(post.object),
                Letter::Begin => {}
                Letter::Release => self.release(),
                Letter::Kill => self.end(killed(&self.actor)),
            }
        }
    }

    /// Without a handle, the actor ends once nothing runs or waits any more.
    fn release(&self) {
        if !self.actor.is_unheld() || self.has_ended.get() {
            return;
        }
        let is_busy = self.is_exclusive.get() || self.shared.get() > 0;
        let idle = !is_busy && self.waiting.borrow().is_empty() && self.inbox.is_empty();
        if idle && self.actor.close() {
            self.end(Error::new(ErrorKind::ActorDied, "its last handle was dropped"));
        }
    }

    /// Starts the calls whose turn it is, a batch of them before other actors of the arbiter have theirs.
    ///
    /// One that ends at its first poll comes here again and finds that its successor is being started: by
    /// recursion a long line would exhaust the stack.
    fn start_waiting(self: &Rc<Self>) {
        if self.is_starting.replace(true) {
            return;
        }
        for _ in 0..BATCH {
            let Some(object) = self.next_waiting() else { break };
            self.inbox.settle(1);
            self.start(object);
        }
        self.is_starting.set(false);
        if self.waiting.borrow().front().is_some_and(|object| self.may_start(object)) {
            self.inbox.schedule();
        }
    }

    fn next_waiting(&self) -> Option<Arc<dyn Object>> {
        self.waiting.borrow_mut().pop_front_if(|object| self.may_start(object))
    }

    /// Whether the state can be lent to a call beside those that run.
    fn may_start(&self, object: &Arc<dyn Object>) -> bool {
        let shared = self.shared.get();
        if self.actor.death().is_some() {
            return false;
        }
        let is_free =
            if object.head().is_exclusive() { shared == 0 } else { shared < self.actor.policy().concurrency };
        is_free && !self.is_exclusive.get() && self.state.borrow().is_some()
    }

    fn start(self: &Rc<Self>, object: Arc<dyn Object>) {
        let Some(mut call) = start(object.clone()) else { return };
        if !self.desk.begun(&object) {
            attempt::put_away(&mut call);
            object.fail(killed(&self.actor));
            return;
        }
        let retry = call.retry().or(self.actor.policy().retry).unwrap_or(ONCE);
        let is_exclusive = object.head().is_exclusive();
        self.actor.running().lock().push(object.clone());
        self.occupy(is_exclusive);
        self.run(Active { object, call, retry, attempt: 1, is_exclusive, future: None });
    }

    /// Runs the attempts of a call until it is over or pends.
    fn run(self: &Rc<Self>, call: Active) {
        let mut next = Some(call);
        while let Some(call) = next.take() {
            let Some((call, outcome)) = self.attempt(call) else { return };
            next = self.settle(call, outcome);
        }
    }

    fn occupy(&self, is_exclusive: bool) {
        if is_exclusive {
            self.is_exclusive.set(true);
        } else {
            self.shared.set(self.shared.get() + 1);
        }
    }

    fn vacate(&self, call: &Active) {
        self.actor.running().lock().retain(|other| !Arc::ptr_eq(other, &call.object));
        if call.is_exclusive {
            self.is_exclusive.set(false);
        } else {
            self.shared.set(self.shared.get() - 1);
        }
    }

    /// Runs one attempt of a call; what is pending after one poll is spawned, otherwise this is its outcome.
    fn attempt(self: &Rc<Self>, mut call: Active) -> Option<(Active, Outcome)> {
        let Some(state) = self.state.borrow().clone() else {
            call.object.fail(self.actor.obituary());
            return None;
        };
        let last = call.attempt > call.retry.retries;
        let object = call.object.clone();
        let outcome = self.within(&object, call.number(), || {
            let outcome = attempt::once(&mut call.call, Seat::Local(&state), last);
            let Outcome::Pending(mut future) = outcome else { return outcome };
            match attempt::poll(&mut future, &mut TaskContext::from_waker(Waker::noop())) {
                Poll::Ready(outcome) => {
                    let _ = attempt::guard(|| drop(future));
                    outcome
                }
                Poll::Pending => Outcome::Pending(future),
            }
        });
        drop(state);
        match outcome {
            Outcome::Pending(future) => {
                call.future = Some(future);
                self.spawn(call);
                None
            }
            outcome => Some((call, outcome)),
        }
    }

    fn spawn(self: &Rc<Self>, call: Active) {
        let object = call.object.clone();
        let mut active = self.active.borrow_mut();
        let key = active.iter().position(Option::is_none).unwrap_or(active.len());
        if key == active.len() {
            active.push(Some(call));
        } else {
            active[key] = Some(call);
        }
        drop(active);
        let running = Running { host: self.clone(), object, key, era: self.era.get(), listening: false };
        actix_rt::spawn(running);
    }

    /// The attempt of a call that pended has ended.
    fn finish(self: &Rc<Self>, call: Active, outcome: Outcome) {
        if let Some(again) = self.settle(call, outcome) {
            self.run(again);
        }
    }

    /// An attempt has ended: the call comes back for another, or it is over and others may start.
    fn settle(self: &Rc<Self>, mut call: Active, outcome: Outcome) -> Option<Active> {
        let last = call.attempt > call.retry.retries;
        let is_over = last || call.object.head().is_complete();
        let name = call.object.head().definition().name;
        let exits = self.actor.exits_with(&call.object);
        match outcome {
            Outcome::Failed(_) if call.retry.on_error && !is_over => {
                call.attempt += 1;
                return Some(call);
            }
            Outcome::Failed(error) => {
                let (node, _) = self.desk.place();
                let error = error.at(name, node, call.number());
                self.vacate(&call);
                attempt::put_away(&mut call.call);
                call.object.fail(error);
            }
            Outcome::Panicked(error) => {
                let (node, _) = self.desk.place();
                let error = error.at(name, node, call.number());
                return self.crash(call, error, is_over);
            }
            Outcome::Done | Outcome::Pending(_) => {
                self.vacate(&call);
                drop(call.object);
                attempt::finish(call.call, last);
            }
        }
        if let Some(death) = self.actor.death().filter(|_| exits || self.actor.is_dead()) {
            self.end(death.clone());
            return None;
        }
        self.start_waiting();
        self.release();
        None
    }

    /// A call panicked: the overlapping ones end, then the state; then it is built anew or the actor dies.
    /// The call comes back if it is to be tried again.
    fn crash(self: &Rc<Self>, mut call: Active, error: Error, last: bool) -> Option<Active> {
        self.era.set(self.era.get() + 1);
        let text = "a call that overlapped crashed the actor";
        let overlapping = std::mem::take(&mut *self.active.borrow_mut());
        for mut other in overlapping.into_iter().flatten() {
            let future = other.future.take();
            self.within(&other.object, other.number(), || {
                attempt::drop_guarded(other.object.head().definition().name, future);
            });
            other.object.cancel(&Error::new(ErrorKind::ActorDied, text).caused_by(error.clone()));
            attempt::put_away(&mut other.call);
        }
        self.shared.set(0);
        self.is_exclusive.set(false);
        self.actor.running().lock().clear();
        self.drop_state();
        let again = !last && self.restarts.get() > 0;
        if !again {
            call.object.fail(error.clone());
        }
        if let Err(death) = self.rebuild(&error) {
            attempt::put_away(&mut call.call);
            call.object.fail(error);
            self.end(death);
            return None;
        }
        if again {
            call.attempt += 1;
            call.future = None;
            self.occupy(call.is_exclusive);
            self.actor.running().lock().push(call.object.clone());
            return Some(call);
        }
        attempt::put_away(&mut call.call);
        self.start_waiting();
        self.release();
        None
    }

    /// Builds a new state after a crash; `Err` if the actor ends instead, with the reason.
    fn rebuild(&self, crash: &Error) -> Result<(), Error> {
        if self.restarts.get() == 0 || self.actor.death().is_some() {
            return Err(crash.clone());
        }
        self.restarts.set(self.restarts.get() - 1);
        self.desk.rebuilt(&self.actor);
        self.construct()
    }

    fn drop_state(&self) {
        let state = self.state.borrow_mut().take();
        let frame = Frame::new(self.base.clone());
        let outer = runtime::swap(frame);
        attempt::drop_guarded(self.actor.name(), state);
        runtime::swap(outer);
    }

    /// The actor is dead: its calls are answered, its state dropped, its resources given back.
    fn end(&self, death: Error) {
        if self.has_ended.replace(true) {
            return;
        }
        self.era.set(self.era.get() + 1);
        self.actor.die(death);
        let obituary = self.actor.obituary();
        let active = std::mem::take(&mut *self.active.borrow_mut());
        for mut call in active.into_iter().flatten() {
            let future = call.future.take();
            self.within(&call.object, call.number(), || attempt::drop_guarded("a cancelled call", future));
            call.object.cancel(&obituary);
            attempt::put_away(&mut call.call);
        }
        self.actor.running().lock().clear();
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        self.inbox.settle(waiting.len());
        for object in waiting {
            object.fail(obituary.clone());
        }
        self.drop_state();
        if let Some(mut constructor) = self.constructor.borrow_mut().take() {
            attempt::put_away(&mut constructor);
        }
        if let Some(lease) = &self.lease {
            self.desk.give_back(lease);
        }
        self.desk.actor_ended(&self.actor);
        self.inbox.schedule();
    }
}

/// Wakes a spawned call whose object was completed from outside.
struct WakeUp(Waker);

impl Listener for WakeUp {
    fn ready(&self, _: usize, _: bool) {
        self.0.wake_by_ref();
    }
}

/// A pending call on the arbiter's `LocalSet`.
struct Running {
    host: Rc<Host>,
    object: Arc<dyn Object>,
    key: usize,
    era: u64,
    listening: bool,
}

impl Future for Running {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut TaskContext<'_>) -> Poll<()> {
        if self.era != self.host.era.get() {
            return Poll::Ready(());
        }
        let taken = self.host.active.borrow_mut().get_mut(self.key).and_then(Option::take);
        let Some(mut call) = taken else { return Poll::Ready(()) };
        let host = self.host.clone();
        if call.object.head().is_complete() {
            let future = call.future.take();
            host.within(&self.object, call.number(), || attempt::drop_guarded("a cancelled call", future));
            host.finish(call, Outcome::Done);
            return Poll::Ready(());
        }
        if !self.listening {
            let waiter = Waiter { listener: Arc::new(WakeUp(cx.waker().clone())), token: 0 };
            self.listening = self.object.head().listen(waiter).is_none();
        }
        let Some(mut future) = call.future.take() else { return Poll::Ready(()) };
        match host.within(&self.object, call.number(), || attempt::poll(&mut future, cx)) {
            Poll::Pending => {
                call.future = Some(future);
                if let Some(place) = host.active.borrow_mut().get_mut(self.key) {
                    *place = Some(call);
                }
                Poll::Pending
            }
            Poll::Ready(outcome) => {
                let _ = attempt::guard(|| drop(future));
                host.finish(call, outcome);
                Poll::Ready(())
            }
        }
    }
}
