//! A sync class: one thread, one mailbox, one call at a time; several `&self` calls if it may.

use std::any::Any;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};

use crossbeam::channel::{self, Receiver, Sender};

use super::attempt::{self, Outcome};
use super::{Blueprint, Desk, Stage};
use crate::error::{Error, ErrorKind};
use crate::runtime::{self, ActorCore, Base, Frame, Lease, Letter, Mailbox, Station};
use crate::spec::Retry;
use crate::store::{Built, Object, Seat, Started, start};

/// The mailbox of a sync actor: a channel, so that its thread can spin and then park on it.
pub(crate) struct SyncMailbox {
    sender: Sender<Letter>,
    receiver: Receiver<Letter>,
}

impl SyncMailbox {
    pub(crate) fn new() -> (Self, Receiver<Letter>) {
        let (sender, receiver) = channel::unbounded();
        (Self { sender, receiver: receiver.clone() }, receiver)
    }
}

impl Mailbox for SyncMailbox {
    fn post(&self, letter: Letter) {
        self.sender.send(letter).expect("the mailbox holds a receiver itself");
    }

    fn len(&self) -> usize {
        self.receiver.len()
    }

    fn drain(&self) -> Vec<Arc<dyn Object>> {
        let mut calls = Vec::new();
        let mut is_told = true;
        for letter in self.receiver.try_iter() {
            match letter {
                Letter::Call(post) => calls.push(post.object),
                Letter::Begin | Letter::Release | Letter::Kill => is_told = false,
            }
        }
        if !is_told {
            // A host that sleeps on the channel must still learn of its end.
            self.post(Letter::Kill);
        }
        calls
    }
}

/// Hosts an actor on the calling thread until it ends.
pub(crate) fn host(
    actor: Arc<ActorCore>,
    letters: Receiver<Letter>,
    blueprint: Blueprint,
    desk: Arc<dyn Desk>,
    stage: Arc<Stage>,
) {
    let (_, worker) = desk.place();
    let base = Rc::new(Base {
        station: Station::Actor,
        actor: Some(actor.clone()),
        lease: blueprint.lease.clone(),
        worker: Some(worker),
        running: None,
        deaf: Some(stage.threads().deaf().clone()),
    });
    runtime::swap(Frame::new(base));
    let lease = blueprint.lease.clone();
    let crew = Crew::new(actor.policy().concurrency, actor.clone(), desk.clone(), stage, lease);
    let mut host = Host { actor, letters, blueprint, desk, state: None, crew };
    let death = host.serve();
    host.end(death);
    runtime::swap(Frame::default());
}

enum State {
    Own(Box<dyn Any + Send>),
    Shared(Arc<RwLock<Box<dyn Any + Send + Sync>>>),
}

struct Host {
    actor: Arc<ActorCore>,
    letters: Receiver<Letter>,
    blueprint: Blueprint,
    desk: Arc<dyn Desk>,
    state: Option<State>,
    crew: Crew,
}

impl Host {
    /// Constructs the state and runs calls until the actor ends; says why.
    fn serve(&mut self) -> Error {
        self.construct().and_then(|()| self.run_all()).map_or_else(|death| death, |never| match never {})
    }

    fn run_all(&mut self) -> Result<std::convert::Infallible, Error> {
        loop {
            match self.next() {
                Letter::Call(post) => self.run(post.object)?,
                // A hand of the crew says that a call crashed.
                Letter::Begin => self.clear_crash(Crew::crash)?,
                Letter::Release if self.actor.close() => {
                    return Err(Error::new(ErrorKind::ActorDied, "its last handle was dropped"));
                }
                Letter::Release => {}
                Letter::Kill => return Err(killed(&self.actor)),
            }
            if let Some(death) = self.actor.death() {
                return Err(death.clone());
            }
        }
    }

    fn next(&self) -> Letter {
        if self.letters.is_empty() {
            runtime::spin(|| !self.letters.is_empty());
        }
        self.letters.recv().expect("the actor's mailbox is held by its core")
    }

    /// Builds the state; a panic counts as a crash, `Err` is final.
    fn construct(&mut self) -> Result<(), Error> {
        let ready = self.actor.ready().clone();
        if self.blueprint.constructor.is_none() {
            self.blueprint.constructor = start(ready.clone());
        }
        let name = self.actor.name();
        let (node, _) = self.desk.place();
        for number in 1.. {
            if let Some(death) = self.actor.death() {
                return Err(death.clone());
            }
            let last = self.blueprint.restarts == 0;
            let mut built = None;
            let Some(constructor) = &mut self.blueprint.constructor else { return Err(killed(&self.actor)) };
            runtime::enter(ready.clone(), number);
            let outcome = attempt::once(constructor, Seat::Vacant(&mut built), last);
            runtime::leave();
            match (outcome, built) {
                (Outcome::Done, Some(built)) => {
                    self.state = Some(match built {
                        Built::Own(state) => State::Own(state),
                        Built::Shared(state) => State::Shared(Arc::new(RwLock::new(state))),
                    });
                    constructor.show();
                    return Ok(());
                }
                (Outcome::Panicked(error), _) if last => return Err(error.at(name, node, number)),
                (Outcome::Panicked(_), _) => {
                    self.blueprint.restarts -= 1;
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

    /// Runs a call, with all its attempts. `Err` when the actor ends with it.
    fn run(&mut self, object: Arc<dyn Object>) -> Result<(), Error> {
        let overlaps = !object.head().is_exclusive() && self.crew.max > 1;
        // A crash of a call before this one: this one runs on the new instance, if there is one. Until
        // there is room it has not started, and whoever searches for circles of waits sees it so.
        let before = if overlaps { Crew::make_room } else { Crew::wait };
        if let Err(death) = self.clear_crash(before) {
            let text = format!("actor `{}` is dead: {}", self.actor.name(), death.message());
            object.fail(Error::new(ErrorKind::ActorDied, text).caused_by(death.clone()));
            return Err(death);
        }
        let Some(mut call) = start(object.clone()) else { return Ok(()) };
        if !self.desk.begun(&object) {
            let error = killed(&self.actor);
            self.fail(&mut call, error, 1);
            return Ok(());
        }
        let retry = call.retry().or(self.actor.policy().retry).unwrap_or(ONCE);
        if overlaps && let Some(State::Shared(state)) = &self.state {
            self.crew.run(Piece { state: state.clone(), call, retry, attempt: 1 });
            return Ok(());
        }
        for number in 1.. {
            let last = number > retry.retries;
            runtime::enter(object.clone(), number + call.before());
            let outcome = self.attempt(&mut call, last);
            runtime::leave();
            let is_over = last || object.head().is_complete();
            match outcome {
                Outcome::Done | Outcome::Pending(_) => {
                    drop(object);
                    attempt::finish(call, last);
                    break;
                }
                Outcome::Failed(_) if retry.on_error && !is_over => {}
                Outcome::Failed(error) => {
                    self.fail(&mut call, error, number);
                    break;
                }
                Outcome::Panicked(error) if is_over || self.blueprint.restarts == 0 => {
                    let error = self.fail(&mut call, error, number);
                    return self.crash(error);
                }
                Outcome::Panicked(error) => {
                    if let Err(death) = self.crash(self.placed(&object, error, number)) {
                        self.fail(&mut call, death.clone(), number);
                        return Err(death);
                    }
                }
            }
        }
        Ok(())
    }

    /// Where an error arose.
    fn placed(&self, object: &Arc<dyn Object>, error: Error, number: u32) -> Error {
        let (node, _) = self.desk.place();
        error.at(object.head().definition().name, node, number)
    }

    /// Fails a call, its arguments put away first.
    fn fail(&self, call: &mut Started, error: Error, number: u32) -> Error {
        let error = self.placed(call.object(), error, number + call.before());
        attempt::put_away(call);
        call.object().fail(error.clone());
        error
    }

    fn attempt(&mut self, call: &mut Started, last: bool) -> Outcome {
        match &mut self.state {
            Some(State::Own(state)) => attempt::once(call, Seat::Exclusive(&mut **state), last),
            Some(State::Shared(state)) => {
                let mut state = state.write().unwrap_or_else(PoisonError::into_inner);
                attempt::once(call, Seat::Exclusive(&mut **state), last)
            }
            None => unreachable!("calls run after the constructor has"),
        }
    }

    /// Rebuilds the state if `look` finds that an overlapping call crashed it.
    fn clear_crash(&mut self, look: fn(&Crew) -> Option<Error>) -> Result<(), Error> {
        while let Some(crash) = look(&self.crew) {
            self.crash(crash)?;
        }
        Ok(())
    }

    /// A panic ended the state: builds a new one, or `Err` with the cause if no restart is left.
    fn crash(&mut self, cause: Error) -> Result<(), Error> {
        let again = self.crew.abandon(&cause);
        self.drop_state();
        let rebuilt = if self.blueprint.restarts == 0 || self.actor.death().is_some() {
            Err(cause)
        } else {
            self.blueprint.restarts -= 1;
            self.desk.rebuilt(&self.actor);
            tracing::debug!(target: "mobula", "actor `{}` restarts after: {cause}", self.actor.name());
            self.construct()
        };
        match &self.state {
            Some(State::Shared(state)) if rebuilt.is_ok() => {
                for (mut piece, _) in again {
                    piece.state = state.clone();
                    self.crew.run(piece);
                }
            }
            _ => fail_crashed(again),
        }
        rebuilt
    }

    fn drop_state(&mut self) {
        if let Some(state) = self.state.take() {
            attempt::drop_guarded(self.actor.name(), state);
        }
    }

    fn end(mut self, death: Error) {
        self.crew.wait();
        fail_crashed(self.crew.crashed());
        self.actor.die(death);
        self.drop_state();
        let Self { actor, blueprint, desk, .. } = self;
        if let Some(mut constructor) = blueprint.constructor {
            attempt::put_away(&mut constructor);
        }
        if let Some(lease) = &blueprint.lease {
            desk.give_back(lease);
        }
        desk.actor_ended(&actor);
    }
}

/// What stands where neither the call nor its class says how often to try.
const ONCE: Retry = Retry { retries: 0, on_error: false };

/// Why a killed actor is dead.
pub(super) fn killed(actor: &ActorCore) -> Error {
    actor.death().cloned().unwrap_or_else(|| Error::new(ErrorKind::ActorDied, "it was killed"))
}

/// There will be no other attempt.
fn fail_crashed(pieces: Vec<(Piece, Error)>) {
    for (mut piece, error) in pieces {
        attempt::put_away(&mut piece.call);
        piece.call.object().fail(error);
    }
}

/// The threads on which `&self` calls of one actor overlap.
struct Crew {
    shared: Arc<Shared>,
    work: Option<(Sender<Piece>, Receiver<Piece>)>,
    max: usize,
    actor: Arc<ActorCore>,
    desk: Arc<dyn Desk>,
    stage: Arc<Stage>,
    lease: Option<Arc<Lease>>,
}

struct Piece {
    state: Arc<RwLock<Box<dyn Any + Send + Sync>>>,
    call: Started,
    retry: Retry,
    attempt: u32,
}

#[derive(Default)]
struct Shared {
    progress: Mutex<Overlap>,
    changed: Condvar,
    /// Threads that run overlapping calls, or are about to.
    hands: AtomicUsize,
}

#[derive(Default)]
struct Overlap {
    running: Vec<Arc<dyn Object>>,
    crash: Option<Error>,
    /// Calls that crashed and may be tried again, with what they fail with if they cannot be.
    again: Vec<(Piece, Error)>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Overlap> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread does not come. Without any, what was handed over fails.
    fn hand_refused(&self, pieces: &Receiver<Piece>) {
        if self.hands.fetch_sub(1, Ordering::SeqCst) > 1 {
            return;
        }
        for mut piece in pieces.try_iter() {
            attempt::put_away(&mut piece.call);
            let object = piece.call.object();
            object.fail(Error::new(ErrorKind::TooManyThreads, "no thread is left for overlapping calls"));
            self.lock().running.retain(|other| !Arc::ptr_eq(other, object));
        }
        self.changed.notify_all();
    }

    /// The callers of what overlapped a crash are told at once; the threads return when they do.
    fn fail_overlapping(&self, cause: &Error) {
        let running = self.lock().running.clone();
        let text = "a call that overlapped crashed the actor";
        for object in running {
            object.cancel(&Error::new(ErrorKind::ActorDied, text).caused_by(cause.clone()));
        }
    }
}

impl Crew {
    fn new(
        max: usize,
        actor: Arc<ActorCore>,
        desk: Arc<dyn Desk>,
        stage: Arc<Stage>,
        lease: Option<Arc<Lease>>,
    ) -> Self {
        let work = (max > 1).then(channel::unbounded);
        Self { shared: Arc::default(), work, max, actor, desk, stage, lease }
    }

    /// Waits until one more call may overlap, or one has crashed.
    fn make_room(&self) -> Option<Error> {
        let mut progress = self.shared.lock();
        while progress.running.len() >= self.max && progress.crash.is_none() {
            progress = self.shared.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.crash.take()
    }

    /// The crash of an overlapping call, if there was one.
    fn crash(&self) -> Option<Error> {
        self.shared.lock().crash.take()
    }

    /// Runs a `&self` call beside others; there is room for it.
    fn run(&self, piece: Piece) {
        let mut progress = self.shared.lock();
        progress.running.push(piece.call.object().clone());
        let wanted = progress.running.len();
        drop(progress);
        if let Some((sender, _)) = &self.work {
            let _ = sender.send(piece);
        }
        let hands = self.shared.hands.load(Ordering::SeqCst);
        if wanted > hands && hands < self.max {
            self.hire();
        }
    }

    fn hire(&self) {
        let Some((_, pieces)) = &self.work else { return };
        let hand = Hand {
            pieces: pieces.clone(),
            shared: self.shared.clone(),
            actor: self.actor.clone(),
            desk: self.desk.clone(),
            lease: self.lease.clone(),
            deaf: self.stage.threads().deaf().clone(),
        };
        let name = format!("mobula-{}", self.actor.name());
        self.shared.hands.fetch_add(1, Ordering::SeqCst);
        let refused = {
            let (shared, pieces) = (self.shared.clone(), pieces.clone());
            move || shared.hand_refused(&pieces)
        };
        if self.stage.hire(name, move || hand.serve(), refused).is_none() {
            self.shared.hand_refused(pieces);
        }
    }

    /// Waits until no call overlaps; a crash of one comes back.
    fn wait(&self) -> Option<Error> {
        if self.max <= 1 {
            return None;
        }
        let mut progress = self.shared.lock();
        while !progress.running.is_empty() {
            progress = self.shared.changed.wait(progress).unwrap_or_else(PoisonError::into_inner);
        }
        progress.crash.take()
    }

    /// The state is lost: calls that overlap get `ActorDied` now, and are waited for. Those that may be
    /// tried again come back.
    fn abandon(&self, cause: &Error) -> Vec<(Piece, Error)> {
        if self.max <= 1 {
            return Vec::new();
        }
        self.shared.fail_overlapping(cause);
        self.wait();
        self.crashed()
    }

    /// Calls that crashed and may be tried again, with what they fail with if they cannot be.
    fn crashed(&self) -> Vec<(Piece, Error)> {
        std::mem::take(&mut self.shared.lock().again)
    }
}

/// A thread of a crew; it ends when the host drops its end of the channel.
struct Hand {
    pieces: Receiver<Piece>,
    shared: Arc<Shared>,
    actor: Arc<ActorCore>,
    desk: Arc<dyn Desk>,
    lease: Option<Arc<Lease>>,
    deaf: Arc<AtomicUsize>,
}

impl Hand {
    fn serve(self) {
        let (_, worker) = self.desk.place();
        let base = Rc::new(Base {
            station: Station::Actor,
            actor: Some(self.actor.clone()),
            lease: self.lease.clone(),
            worker: Some(worker),
            running: None,
            deaf: Some(self.deaf.clone()),
        });
        runtime::swap(Frame::new(base));
        while let Ok(piece) = self.pieces.recv() {
            let object = piece.call.object().clone();
            let crash = self.run(piece);
            let mut progress = self.shared.lock();
            progress.running.retain(|other| !Arc::ptr_eq(other, &object));
            let Some((error, again)) = crash else {
                drop(progress);
                self.shared.changed.notify_all();
                if self.actor.death().is_some() {
                    // It called `exit_actor`: the host, which may sleep, looks.
                    self.actor.post(Letter::Begin);
                }
                continue;
            };
            progress.crash.get_or_insert(error.clone());
            progress.again.extend(again.map(|piece| (piece, error.clone())));
            drop(progress);
            self.shared.fail_overlapping(&error);
            self.shared.changed.notify_all();
            self.actor.post(Letter::Begin);
        }
        runtime::swap(Frame::default());
    }

    /// Runs a call with its attempts; a crash comes back, with the call if it may be tried again.
    fn run(&self, piece: Piece) -> Option<(Error, Option<Piece>)> {
        let Piece { state: shared, mut call, retry, attempt } = piece;
        let object = call.object().clone();
        let name = object.head().definition().name;
        let (node, _) = self.desk.place();
        let state = shared.read().unwrap_or_else(PoisonError::into_inner);
        for number in attempt.. {
            let last = number > retry.retries;
            runtime::enter(object.clone(), number + call.before());
            let outcome = attempt::once(&mut call, Seat::Shared(&**state), last);
            runtime::leave();
            let is_over = last || object.head().is_complete();
            let (error, is_crash) = match outcome {
                Outcome::Done | Outcome::Pending(_) => {
                    drop(state);
                    drop(object);
                    attempt::finish(call, last);
                    return None;
                }
                Outcome::Failed(_) if retry.on_error && !is_over => continue,
                Outcome::Failed(error) => (error.at(name, node, number + call.before()), false),
                Outcome::Panicked(error) if !is_over => {
                    drop(state);
                    let piece = Piece { state: shared.clone(), call, retry, attempt: number + 1 };
                    return Some((error.at(name, node, number), Some(piece)));
                }
                Outcome::Panicked(error) => (error.at(name, node, number + call.before()), true),
            };
            drop(state);
            attempt::put_away(&mut call);
            object.fail(error.clone());
            return is_crash.then_some((error, None));
        }
        None
    }
}
