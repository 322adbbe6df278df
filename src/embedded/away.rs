//! An actor in a process of its own, as its parent has it: its mailbox, and what became of each call.
//!
//! ```text
//! post ──► queue ──► in flight, numbered, in order ──► the worker
//!            ▲          │ Done: completed
//!            └──────────┘ the process is gone: what had not begun, and what may be tried again
//! ```
//!
//! Nobody's thread: whoever posts or brings news moves things on. One at a time does, and holds no lock
//! while users' code (serialising arguments, reading results) runs.

mod flights;
mod waits;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};

use flights::{Flight, Flights, Outside};
use waits::{Then, WaitsOver};

use super::isolated::{acknowledge, leased};
use super::pauses::Pauses;
use super::worker::{Guest, News, Worker};
use super::workforce::{Kind, with_names};
use super::{Embedded, lock, shutdown};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{Blueprint, Desk, caught, packed, put_away};
use crate::id::{NodeId, WorkerId};
use crate::protocol::Message;
use crate::runtime::{ActorCore, Base, Lease, Letter, Mailbox, Station};
use crate::spec::{ClassDefinition, Options, Retry};
use crate::store::{Object, Started, Waiter, start};
use crate::transport::{Load, Peer, When};
use crate::value::{Packer, Refs};

/// How many calls of a serial class may be on their way: enough to keep its process busy.
const WINDOW: usize = 256;
/// With so many calls on their way a serial class has enough to do: others go with the next answer, many
/// together.
const BUSY: usize = 16;
/// How many bytes of calls may be on their way: what is there counts no longer as queued.
const BYTES_MAX: usize = 256 * 1024;
/// What stands where neither the call nor its class says how often to try.
const ONCE: Retry = Retry { retries: 0, on_error: false };

/// The parent's side of an actor in a process of its own.
pub(super) struct AwayHost {
    me: Weak<Self>,
    host: Weak<Embedded>,
    class: &'static ClassDefinition,
    kind: Kind,
    is_shared: bool,
    /// Weak, since the actor has this as its mailbox.
    actor: OnceLock<Weak<ActorCore>>,
    lease: OnceLock<Option<Arc<Lease>>>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<Queued>,
    flights: Flights,
    stage: Stage,
    restarts: u32,
    /// Until it is over.
    keeps: Option<Arc<ActorCore>>,
    constructor: Option<Started>,
    /// Which start of the constructor it is.
    attempt: u32,
    /// A call is on its way from the queue to the worker.
    is_moving: bool,
    /// How many processes were asked for.
    hired: u32,
    /// How many calls came back to the head of the queue meanwhile: they were made before it.
    returned: usize,
}

#[derive(Default)]
enum Stage {
    /// Arguments or resources are missing.
    #[default]
    Unborn,
    /// The process comes, or builds the state.
    Building(Arc<Worker>, Constructing),
    Up(Arc<Worker>),
    /// It was told to go.
    Leaving(Arc<Worker>, Error),
    Over,
}

enum Queued {
    Letter(Letter),
    /// A call that has been in a process that is gone.
    Again(Flight),
}

/// How far a constructor is.
#[derive(Default)]
struct Constructing {
    /// Its call, by the worker's number, once it was sent.
    call: Option<u64>,
    pauses: Pauses,
}

impl Stage {
    /// The process, if there is one.
    fn worker(&self) -> Option<&Arc<Worker>> {
        match self {
            Self::Building(worker, _) | Self::Up(worker) | Self::Leaving(worker, _) => Some(worker),
            Self::Unborn | Self::Over => None,
        }
    }
}

impl Inner {
    /// Whether the actor is in this process.
    fn is_in(&self, worker: &Arc<Worker>) -> bool {
        matches!(&self.stage, Stage::Up(own) | Stage::Leaving(own, _) if Arc::ptr_eq(own, worker))
    }

    /// The waits of a call, or of the constructor.
    fn pauses_of(&mut self, call: u64) -> Option<&mut Pauses> {
        match &mut self.stage {
            Stage::Building(_, building) if building.call == Some(call) => Some(&mut building.pauses),
            _ => self.flights.get_mut(call).map(|flight| &mut flight.pauses),
        }
    }

    /// The process is gone to which this call was on its way: it comes right after those that were there,
    /// or back if nothing is to run any more.
    fn take_back(&mut self, flight: Flight) -> Option<Flight> {
        if matches!(self.stage, Stage::Over) {
            return Some(flight);
        }
        let at = self.returned.min(self.queue.len());
        self.queue.insert(at, Queued::Again(flight));
        None
    }
}

impl AwayHost {
    pub(super) fn new(host: Weak<Embedded>, class: &'static ClassDefinition, options: &Options) -> Arc<Self> {
        let kind = Kind::of(options);
        Arc::new_cyclic(|me| Self {
            me: me.clone(),
            host,
            class,
            kind,
            is_shared: class.is_async,
            actor: OnceLock::new(),
            lease: OnceLock::new(),
            inner: Mutex::default(),
        })
    }

    /// Arguments and resources are there.
    pub(super) fn begin(&self, actor: Arc<ActorCore>, blueprint: Blueprint) {
        let Blueprint { restarts, lease, .. } = blueprint;
        let ready = actor.ready().clone();
        let _ = self.actor.set(Arc::downgrade(&actor));
        let _ = self.lease.set(lease);
        let constructor = start(ready);
        let mut inner = self.lock();
        inner.restarts = restarts;
        inner.constructor = constructor;
        inner.keeps = Some(actor);
        drop(inner);
        self.hire();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    fn actor(&self) -> Arc<ActorCore> {
        self.known_actor().expect("it is kept until it is over, and by who calls this")
    }

    fn known_actor(&self) -> Option<Arc<ActorCore>> {
        self.actor.get().and_then(Weak::upgrade)
    }

    fn lease(&self) -> Option<&Arc<Lease>> {
        self.lease.get().and_then(Option::as_ref)
    }

    /// Whether its calls run one at a time, in the order in which they come.
    fn is_serial(&self) -> bool {
        !self.class.is_async && self.actor().policy().concurrency <= 1
    }

    fn base(&self) -> Base {
        let worker = self.lock().stage.worker().map(|worker| worker.id());
        Base {
            station: Station::Actor,
            actor: Some(self.actor()),
            lease: self.lease().cloned(),
            worker,
            ..Base::default()
        }
    }

    /// Has a process started for the actor.
    fn hire(&self) {
        let (Some(host), Some(this), Some(_actor)) =
            (self.host.upgrade(), self.me.upgrade(), self.known_actor())
        else {
            return self.end(shutdown());
        };
        if let Some(death) = self.actor().death() {
            return self.end(death.clone());
        }
        let mut kind = self.kind.clone();
        kind.gpus = leased(self.lease()).gpus.iter().map(|(id, _)| *id).collect();
        let guest: Arc<dyn Guest> = this.clone();
        let mut inner = self.lock();
        inner.hired += 1;
        let hired = inner.hired;
        drop(inner);
        // Set before the process can say anything: a worker that fails at once finds its host.
        let worker =
            host.workforce().hire(&host, kind, self.actor().name(), move |worker| this.arrived(worker));
        worker.set_host(guest);
        let mut inner = self.lock();
        // It may be gone by now, and another asked for.
        if matches!(inner.stage, Stage::Unborn) && inner.hired == hired {
            inner.stage = Stage::Building(worker.clone(), Constructing::default());
        }
        drop(inner);
        if let Some(error) = worker.failure() {
            self.lost(&worker, error);
        }
    }

    /// The process is there: builds the state in it.
    fn arrived(self: &Arc<Self>, worker: &Arc<Worker>) {
        worker.set_host(self.clone());
        let mut inner = self.lock();
        if matches!(inner.stage, Stage::Leaving(..) | Stage::Over) {
            drop(inner);
            return worker.leave();
        }
        inner.stage = Stage::Building(worker.clone(), Constructing::default());
        if self.actor().death().is_some() {
            drop(inner);
            return self.leave(self.death());
        }
        inner.attempt += 1;
        let (attempt, restarts) = (inner.attempt, inner.restarts);
        let constructor = inner.constructor.take();
        drop(inner);
        let Some(constructor) = constructor else { return self.end(self.death()) };
        let built = self.build(worker, &constructor, attempt, restarts);
        self.lock().constructor = Some(constructor);
        if let Err(error) = built
            && error.kind().is_of_message()
        {
            self.end(error.at(self.actor().name(), NodeId(0), attempt));
        }
    }

    fn build(
        self: &Arc<Self>,
        worker: &Arc<Worker>,
        constructor: &Started,
        attempt: u32,
        restarts: u32,
    ) -> Result<()> {
        let args = packed(Refs::Resolved, |packer| constructor.pack(packer))?;
        worker.open_gate()?;
        let number = worker.enter(self.clone())?;
        if let Stage::Building(_, building) = &mut self.lock().stage {
            building.call = Some(number);
        }
        let actor = self.actor();
        let policy = actor.policy();
        let message = Message::Build {
            call: number,
            actor: self.actor().id(),
            class: self.class.constructor.key(),
            attempt,
            restarts,
            retry: policy.retry,
            concurrency: policy.concurrency as u64,
            is_shared: self.is_shared,
            lease: leased(self.lease()),
        };
        worker.peer()?.send(&message, Some(&args), When::Now)
    }

    /// Moves calls from the queue to the worker, as many as may be on their way.
    fn advance(&self) {
        let mut inner = self.lock();
        if inner.is_moving {
            return;
        }
        loop {
            let Stage::Up(worker) = &inner.stage else { return };
            let worker = worker.clone();
            let window =
                if self.is_serial() { WINDOW } else { self.actor().policy().concurrency.min(WINDOW * 4) };
            let is_idle = inner.flights.is_empty();
            match inner.queue.front() {
                None => return,
                Some(Queued::Letter(Letter::Release)) if !is_idle => return,
                Some(Queued::Letter(Letter::Kill)) => {}
                Some(_) if inner.flights.len() >= window => return,
                Some(_) if !is_idle && inner.flights.bytes() >= BYTES_MAX => return,
                Some(_) => {}
            }
            let next = inner.queue.pop_front();
            inner.is_moving = true;
            inner.returned = 0;
            drop(inner);
            let is_over = match next {
                Some(Queued::Letter(Letter::Call(post))) => {
                    // Said first: whoever looks for circles must not take it for one that runs.
                    post.object.head().set_ahead(true);
                    if let Some(call) = start(post.object) {
                        let retry = call.retry().or(self.actor().policy().retry).unwrap_or(ONCE);
                        self.send(&worker, Flight::new(call, retry));
                    }
                    false
                }
                Some(Queued::Again(flight)) => {
                    self.send(&worker, flight);
                    false
                }
                Some(Queued::Letter(Letter::Release)) => {
                    let goes = self.actor().close();
                    if goes {
                        self.leave(Error::new(ErrorKind::ActorDied, "its last handle was dropped"));
                    }
                    goes
                }
                Some(Queued::Letter(Letter::Kill)) => {
                    self.leave(self.death());
                    true
                }
                Some(Queued::Letter(Letter::Begin)) | None => false,
            };
            let is_gone = worker.is_gone();
            inner = self.lock();
            inner.is_moving = false;
            // If its process is gone, whoever learns of that goes on.
            if is_over || (is_gone && inner.is_in(&worker)) {
                return;
            }
        }
    }

    fn death(&self) -> Error {
        let killed = || Error::new(ErrorKind::ActorDied, "it was killed");
        self.actor().death().cloned().unwrap_or_else(killed)
    }

    fn send(&self, worker: &Arc<Worker>, mut flight: Flight) {
        let object = flight.object.clone();
        if object.head().is_complete() {
            return flight.put_away();
        }
        let packing = |packer: &mut Packer| flight.call().map_or(Ok(()), |call| call.pack(packer));
        let args = match packed(Refs::Resolved, packing) {
            Ok(args) => args,
            Err(error) => return flight.fail(error),
        };
        let this = self.me.upgrade().expect("called through an Arc");
        let Ok(number) = worker.enter(this) else { return self.take_back(self.lock(), flight) };
        let head = object.head();
        let message = Message::Call {
            call: number,
            method: head.definition().key(),
            caller: head.caller().unwrap_or(crate::id::CallerId::Driver(crate::id::JobId(0))),
            attempt: flight.attempt,
            retry: Some(flight.retry),
        };
        let listener = Arc::new(Outside { host: self.me.clone(), worker: worker.id(), call: number });
        let mut inner = self.lock();
        // The process may have gone since, and its flights with it: the next one has numbers of its own.
        if !inner.is_in(worker) {
            return self.take_back(inner, flight);
        }
        flight.listener = Some(listener.clone());
        // Of a serial class the first runs at once; others wait for it there.
        let is_busy = self.is_serial() && inner.flights.len() >= BUSY;
        let waits = !inner.flights.is_empty() || !self.is_serial();
        head.set_ahead(waits);
        flight.has_begun = !waits;
        flight.bytes = args.bytes.len() + args.buffers.iter().map(bytes::Bytes::len).sum::<usize>();
        inner.flights.insert(number, flight);
        drop(inner);
        let sent = worker.peer().and_then(|peer| {
            peer.send(&message, Some(&args), if is_busy { When::Batch } else { When::Now })?;
            // What the process is busy with may have ended meanwhile, and with it the next flush.
            if is_busy && self.lock().flights.len() <= BUSY {
                peer.sender().flush();
            }
            Ok(())
        });
        if let Err(error) = sent
            && error.kind().is_of_message()
        {
            worker.leave_call(number);
            let mut inner = self.lock();
            let flight = if inner.is_in(worker) { inner.flights.remove(number) } else { None };
            drop(inner);
            if let Some(flight) = flight {
                flight.fail(error);
            }
            return;
        }
        if head.listen(Waiter { listener, token: 0 }).is_some() {
            self.completed(worker.id(), number);
        }
    }

    fn take_back(&self, mut inner: MutexGuard<'_, Inner>, flight: Flight) {
        let over = inner.take_back(flight);
        drop(inner);
        if let Some(flight) = over {
            flight.fail(self.actor().obituary());
        }
    }

    /// A call in flight was completed, from outside or because its result came.
    fn completed(&self, on: WorkerId, call: u64) {
        let inner = self.lock();
        let Some(flight) = inner.flights.get(call) else { return };
        let object = flight.object.clone();
        let (Stage::Up(worker) | Stage::Leaving(worker, _)) = &inner.stage else { return };
        if worker.id() != on {
            return;
        }
        let worker = worker.clone();
        drop(inner);
        worker.cancel(call, object.error().cloned());
    }

    /// Tells the worker to drop the state and go.
    fn leave(&self, death: Error) {
        let mut inner = self.lock();
        let stage = std::mem::take(&mut inner.stage);
        let Some(worker) = stage.worker().cloned() else {
            inner.stage = stage;
            return;
        };
        inner.stage = Stage::Leaving(worker.clone(), death.clone());
        drop(inner);
        self.end_constructing(stage);
        self.actor().die(death);
        worker.leave();
        self.end_in_time(&worker);
    }

    /// The actor is over before it was built.
    fn end_constructing(&self, stage: Stage) {
        if let Stage::Building(worker, Constructing { pauses, .. }) = stage
            && let Some(actor) = self.known_actor()
        {
            pauses.drop_cpus(&worker, actor.ready(), &self.base());
        }
    }

    /// A worker that is told to go and does not is ended, after the session's grace.
    fn end_in_time(&self, worker: &Arc<Worker>) {
        if let Some(host) = self.host.upgrade() {
            let grace = host.settings.grace;
            let worker = Arc::downgrade(worker);
            host.timer.at(host.now() + grace, move || {
                if let Some(worker) = worker.upgrade() {
                    worker.kill();
                }
            });
        }
    }

    /// The actor is over, and its process is gone.
    fn end(&self, death: Error) {
        let mut inner = self.lock();
        if matches!(inner.stage, Stage::Over) {
            return;
        }
        let stage = std::mem::replace(&mut inner.stage, Stage::Over);
        let flights = inner.flights.take(|_, has_begun| has_begun);
        let constructor = inner.constructor.take();
        let actor = inner.keeps.take();
        drop(inner);
        let Some(actor) = actor.or_else(|| self.known_actor()) else { return };
        actor.die(death);
        let base = self.base();
        for flight in flights {
            if let Some(worker) = stage.worker() {
                flight.pauses.drop_cpus(worker, &flight.object, &base);
            }
            flight.fail(actor.obituary());
        }
        if let Some(mut constructor) = constructor {
            put_away(&mut constructor);
        }
        if let Stage::Building(worker, _) | Stage::Up(worker) = &stage {
            worker.leave();
            self.end_in_time(worker);
        }
        self.end_constructing(stage);
        let queue = std::mem::take(&mut self.lock().queue);
        for queued in queue {
            match queued {
                Queued::Letter(Letter::Call(post)) => drop(post.object.fail(actor.obituary())),
                Queued::Again(flight) => flight.fail(actor.obituary()),
                Queued::Letter(_) => {}
            }
        }
        if let Some(host) = self.host.upgrade() {
            if let Some(lease) = self.lease() {
                host.give_back(lease);
            }
            host.actor_ended(&actor);
        }
    }

    /// The process is gone.
    fn lost(&self, worker: &Arc<Worker>, error: Error) {
        let mut inner = self.lock();
        let (is_building, death) = match &inner.stage {
            Stage::Building(own, _) if Arc::ptr_eq(own, worker) => (true, None),
            Stage::Up(own) if Arc::ptr_eq(own, worker) => (false, None),
            Stage::Leaving(own, death) if Arc::ptr_eq(own, worker) => (false, Some(death.clone())),
            _ => return,
        };
        if let Some(death) = death {
            drop(inner);
            return self.end(death);
        }
        let mark = if self.is_serial() { worker.peer_now().and_then(|peer| peer.mark()) } else { None };
        let was_unheard = worker.was_unheard();
        let flights = inner.flights.take(|number, has_begun| match mark {
            Some(mark) => number <= mark,
            None => has_begun || was_unheard,
        });
        let dies =
            inner.restarts == 0 || self.actor().death().is_some() || error.kind() == ErrorKind::Shutdown;
        let mut waits = Vec::new();
        if !dies {
            inner.restarts -= 1;
            if let Stage::Building(_, Constructing { pauses, .. }) = std::mem::take(&mut inner.stage) {
                waits.push((self.actor().ready().clone(), pauses));
            }
        }
        let (mut again, mut failed) = (Vec::new(), Vec::new());
        for mut flight in flights {
            waits.push((flight.object.clone(), std::mem::take(&mut flight.pauses)));
            flight.land();
            flight.has_begun &= !cfg!(mobula_fault = "resent");
            if !flight.has_begun && !dies {
                again.push(flight);
            } else if flight.has_begun && !dies && !flight.is_spent() {
                flight.attempt += 1;
                again.push(flight);
            } else {
                failed.push(flight);
            }
        }
        inner.returned += again.len();
        for flight in again.into_iter().rev() {
            inner.queue.push_front(Queued::Again(flight));
        }
        drop(inner);
        let name = self.class.constructor.name;
        let attempt = self.lock().attempt.max(1);
        for flight in failed {
            let begun = flight.has_begun;
            let number = flight.attempt;
            let method = flight.object.head().definition().name;
            let own = error.clone().at(method, NodeId(0), number);
            flight.fail(if begun || is_building { own } else { self.died_of(&error) });
        }
        let over = WaitsOver { worker: worker.clone(), base: self.base(), waits, then: Then::Hire };
        if dies {
            over.drop_cpus();
            return self.end(error.at(name, NodeId(0), attempt));
        }
        tracing::debug!(target: "mobula", "actor `{name}` restarts after: {error}");
        self.go_on(over);
    }

    fn died_of(&self, cause: &Error) -> Error {
        let text = format!("actor `{}` is dead: {}", self.actor().name(), cause.message());
        Error::new(ErrorKind::ActorDied, text).caused_by(cause.clone())
    }

    fn done(&self, worker: &Arc<Worker>, call: u64, error: Option<Error>, load: &Load) {
        let mut inner = self.lock();
        if let Stage::Building(own, building) = &inner.stage
            && building.call == Some(call)
            && Arc::ptr_eq(own, worker)
        {
            return self.built(inner, worker, error, load);
        }
        let Some(mut flight) = inner.flights.remove(call) else { return };
        if self.is_serial() {
            inner.flights.begin_first();
        }
        drop(inner);
        worker.leave_call(call);
        let pauses = std::mem::take(&mut flight.pauses);
        self.end_pauses(worker, &flight.object, pauses);
        flight.complete(error, load);
        self.advance();
    }

    fn built(
        &self,
        mut inner: MutexGuard<'_, Inner>,
        worker: &Arc<Worker>,
        error: Option<Error>,
        load: &Load,
    ) {
        if let Stage::Building(_, Constructing { call: Some(number), .. }) = &inner.stage {
            worker.leave_call(*number);
        }
        if let Some(error) = error {
            drop(inner);
            return self.end(error);
        }
        let built = std::mem::replace(&mut inner.stage, Stage::Up(worker.clone()));
        let constructor = inner.constructor.take();
        drop(inner);
        if let Stage::Building(_, Constructing { pauses, .. }) = built {
            self.end_pauses(worker, self.actor().ready(), pauses);
        }
        if let Some(mut constructor) = constructor {
            let _ = constructor.deposit(&mut load.unpacker());
            let mut inner = self.lock();
            if inner.restarts == 0 {
                drop(inner);
                put_away(&mut constructor);
            } else {
                constructor.show();
                inner.constructor = Some(constructor);
                drop(inner);
            }
        }
        if self.lock().constructor.is_none() {
            show(self.actor().ready());
        }
        self.advance();
    }

    fn feed(&self, peer: &Arc<Peer>, call: u64, load: &Load) {
        let Some((mut started, attempt)) = self.lock().flights.begin_reading(call) else { return };
        let object = started.object().clone();
        // What comes after the end of a stream is nobody's.
        let fed = (!object.head().is_complete())
            .then(|| caught(|| with_names(load.names(), || started.feed(&mut load.unpacker()))));
        let late = self.lock().flights.end_reading(call, started);
        if let Some(mut late) = late {
            put_away(&mut late);
        }
        match fed {
            None => {}
            Some(Ok(room)) => acknowledge(peer, call, room),
            // As of any call that is over, its code is told to stop.
            Some(Err(error)) => {
                object.fail(error.at(object.head().definition().name, NodeId(0), attempt));
            }
        }
    }
}

/// Shows a constructor's value that has been left in its object.
fn show(ready: &Arc<dyn Object>) {
    ready.head().show_deposited();
}

impl Guest for AwayHost {
    fn news(&self, worker: &Arc<Worker>, call: u64, news: News) {
        let Some(_actor) = self.known_actor() else { return worker.dismiss(&news) };
        match news {
            News::Done { error, load, .. } => self.done(worker, call, error, &load),
            News::Begun => self.lock().flights.begin(call),
            News::Item(load) => {
                if let Some(peer) = worker.peer_now() {
                    self.feed(&peer, call, &load);
                }
            }
            news @ (News::Pause { .. } | News::Resume { .. }) => self.pause(worker, call, news),
            News::Gone(error) if call == 0 => self.lost(worker, error),
            // The worker's host is told after them, and sees to all.
            News::Gone(_) | News::Over | News::Completed => {}
        }
    }

    fn stand_in(&self, call: u64) -> Option<(Arc<dyn Object>, Base)> {
        let _actor = self.known_actor()?;
        let inner = self.lock();
        let object = match (&inner.stage, inner.flights.get(call)) {
            (_, Some(flight)) => flight.object.clone(),
            (Stage::Building(_, building), None) if building.call == Some(call) => {
                self.actor().ready().clone()
            }
            _ => return None,
        };
        drop(inner);
        Some((object, self.base()))
    }

    fn of_actor(&self, worker: &Arc<Worker>, message: Message) {
        match message {
            Message::Rebuilt => {
                let mut inner = self.lock();
                inner.restarts = inner.restarts.saturating_sub(1);
                let spent = if inner.restarts == 0 { inner.constructor.take() } else { None };
                drop(inner);
                if let Some(mut spent) = spent {
                    put_away(&mut spent);
                }
            }
            Message::Ended { death } => {
                let Some(actor) = self.known_actor() else { return };
                let mut inner = self.lock();
                let mut before = Stage::Unborn;
                if !matches!(inner.stage, Stage::Leaving(..) | Stage::Over) {
                    let leaving = Stage::Leaving(worker.clone(), death.clone());
                    before = std::mem::replace(&mut inner.stage, leaving);
                }
                drop(inner);
                self.end_constructing(before);
                actor.die(death);
                worker.leave();
                self.end_in_time(worker);
            }
            _ => {}
        }
    }
}

impl Mailbox for AwayHost {
    fn post(&self, letter: Letter) {
        let is_kill = matches!(letter, Letter::Kill);
        self.lock().queue.push_back(Queued::Letter(letter));
        if is_kill {
            self.kill();
        } else {
            self.advance();
        }
    }

    fn len(&self) -> usize {
        let mut inner = self.lock();
        if let Stage::Up(worker) = &inner.stage
            && !self.is_serial()
        {
            let worker = worker.clone();
            drop(inner);
            worker.hear_begun();
            inner = self.lock();
        }
        let in_hand = usize::from(inner.is_moving && !inner.flights.is_empty());
        inner.queue.len() + in_hand + inner.flights.waiting()
    }

    fn drain(&self) -> Vec<Arc<dyn Object>> {
        let queue = std::mem::take(&mut self.lock().queue);
        let mut calls = Vec::new();
        for queued in queue {
            match queued {
                Queued::Letter(Letter::Call(post)) => calls.push(post.object),
                Queued::Again(flight) => {
                    let object = flight.object.clone();
                    flight.fail(self.actor().obituary());
                    calls.push(object);
                }
                Queued::Letter(Letter::Begin | Letter::Release | Letter::Kill) => {}
            }
        }
        calls
    }
}

impl AwayHost {
    /// The actor was killed: whatever it is at, it goes. What runs is told; its callers wait no longer,
    /// unless the session ends, where it has its grace.
    fn kill(&self) {
        if self.known_actor().is_none() {
            return;
        }
        let death = self.death();
        let inner = self.lock();
        let Some(worker) = inner.stage.worker().cloned() else { return };
        worker.shut_gate();
        let flight = |(call, flight): (u64, &Flight)| (call, flight.object.clone(), flight.has_begun);
        let flights: Vec<_> = inner.flights.iter().map(flight).collect();
        drop(inner);
        let is_end = death.kind() == ErrorKind::Shutdown;
        for (call, object, has_begun) in flights {
            if is_end && has_begun {
                worker.cancel(call, None);
            } else {
                object.cancel(&self.actor().obituary());
            }
        }
        self.leave(death);
    }
}
