//! Actors: the one that this process hosts, and those elsewhere that its code calls.

use std::any::Any;
use std::sync::{Arc, Mutex, Weak};

use super::calls::{arguments_of, fail, time_left_us};
use super::{Attached, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{self, Blueprint, Site};
use crate::id::{ActorId, CallerId, Sequence};
use crate::protocol::{Message, Told};
use crate::registry::{self, Entry, Opening};
use crate::runtime::{ActorCore, ActorRef, Creation, Lease, Letter, Mailbox, Parts, Policy, Post, Runtime};
use crate::scheduler::Grant;
use crate::spec::Retry;
use crate::store::{Mark, Object, Slot, start};
use crate::transport::Load;

/// The actor of this process.
pub(super) struct Hosted {
    core: Arc<ActorCore>,
    /// Keeps it open: the parent says when it ends.
    _handle: ActorRef,
}

/// The way to an actor elsewhere.
struct AwayMailbox {
    host: Weak<Attached>,
    core: Weak<ActorCore>,
    id: ActorId,
    /// What keeps the actor alive while there is a handle here.
    receipt: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Mailbox for AwayMailbox {
    fn post(&self, letter: Letter) {
        match letter {
            Letter::Call(post) => self.send(post),
            Letter::Release => {
                let mut receipt = lock(&self.receipt);
                let is_unheld = self.core.upgrade().is_none_or(|core| core.is_unheld());
                let gone = if is_unheld { receipt.take() } else { None };
                drop(receipt);
                drop(gone);
            }
            Letter::Begin | Letter::Kill => {}
        }
    }

    fn len(&self) -> usize {
        0
    }

    fn drain(&self) -> Vec<Arc<dyn Object>> {
        Vec::new()
    }

    fn keep(&self, keeper: Box<dyn Any + Send>, hold: &mut dyn FnMut()) {
        let mut receipt = lock(&self.receipt);
        let before = receipt.replace(keeper);
        hold();
        drop(receipt);
        drop(before);
    }
}

impl AwayMailbox {
    fn send(&self, Post { object, .. }: Post) {
        let Some(host) = self.host.upgrade() else {
            object.fail(crate::runtime::ended());
            return;
        };
        let Some(call) = start(object.clone()) else { return };
        let args = match arguments_of(&call) {
            Ok(args) => args,
            Err(error) => return fail(call, error),
        };
        let head = object.head();
        let (method, retry) = (head.definition().key(), call.retry());
        let caller = head.caller().unwrap_or(CallerId::Driver(host.identity().job));
        let kept = if head.definition().is_stream {
            Some(call)
        } else {
            let mut call = call;
            executor::put_away(&mut call);
            None
        };
        let id = host.note_pending(&object, kept);
        let timeout_us = time_left_us(&object);
        let message = Message::Post {
            object: id,
            within: host.within(),
            actor: self.id,
            method,
            caller,
            retry,
            timeout_us,
        };
        let _ = host.send_call(&object, id, &message, &args);
    }
}

impl Attached {
    /// Builds the actor that this process hosts.
    pub(super) fn build(&self, message: Message, load: &Load) {
        let Message::Build { call, actor, class, attempt, restarts, retry, concurrency, lease, .. } = message
        else {
            return;
        };
        let built = self.try_build(call, actor, class, attempt, restarts, retry, concurrency, lease, load);
        if let Err(error) = built {
            self.tell(&Message::Done { call, error: Some(error), is_over: true });
        }
    }

    #[allow(clippy::too_many_arguments, reason = "what the message says")]
    fn try_build(
        &self,
        call: u64,
        id: ActorId,
        class: u64,
        attempt: u32,
        restarts: u32,
        retry: Option<Retry>,
        concurrency: u64,
        leased: crate::protocol::Leased,
        load: &Load,
    ) -> Result<()> {
        let (class, entry) = registry::find_class(class)?;
        let overlaps = class.is_async || concurrency > 1;
        let sharing = if overlaps && !class.is_async { (entry.sharing)() } else { None };
        let mut opening = Opening {
            args: load.unpacker(),
            caller: CallerId::Driver(self.identity.job),
            actor: None,
            sharing,
            items: None,
            needs: Vec::new(),
        };
        let mut ready = executor::caught(|| (entry.open.0)(&mut opening))?;
        let desk: Arc<dyn executor::Desk> = self.this();
        let (mailbox, site) = Site::choose(class.is_async, &self.stage, desk.clone());
        let constructor = Arc::get_mut(&mut ready).expect("nobody else knows it yet");
        constructor.head_mut().set_actor(id);
        ready.head().set_before(attempt.saturating_sub(1));
        let runtime: Arc<dyn Runtime> = self.this();
        let policy = Policy { retry, concurrency: concurrency as usize, ..Policy::default() };
        let class_type = (entry.class)();
        let core = Arc::new(ActorCore::new(Parts {
            id,
            class,
            class_type,
            mailbox,
            runtime,
            ready: ready.clone(),
            policy,
        }));
        let handle = core.handle().expect("nobody has closed it yet");
        let mark = Mark::new()?;
        self.peer().show_mark(&mark)?;
        let _ = self.mark.set((mark, overlaps));
        *lock(&self.hosted) = Some(Hosted { core: core.clone(), _handle: handle });
        self.enter(call, &ready, None);
        let lease = Some(Arc::new(Lease::new(Grant::of(leased.resources, leased.gpus))));
        let blueprint = Blueprint { constructor: None, restarts, lease };
        let no_thread = || Error::new(ErrorKind::TooManyThreads, "the system gives no more threads");
        let refused = {
            let core = core.clone();
            move || core.die(no_thread())
        };
        site.host(core, blueprint, desk, &self.stage, refused).ok_or_else(no_thread)
    }

    /// Runs a method of it.
    pub(super) fn run_method(
        &self,
        call: u64,
        method: u64,
        caller: CallerId,
        attempt: u32,
        retry: Option<Retry>,
        load: &Load,
    ) {
        let core = lock(&self.hosted).as_ref().map(|hosted| hosted.core.clone());
        let dead = || {
            let unknown = || Error::new(ErrorKind::ActorDied, "the actor has ended");
            self.obituary.get().cloned().unwrap_or_else(unknown)
        };
        let opened = core.ok_or_else(dead).and_then(|core| {
            let Entry::Method(_, open) = registry::find(method)? else {
                return Err(Error::new(ErrorKind::FunctionNotFound, "a method was named, and it is none"));
            };
            let object = self.open(call, load, caller, Some((core.id(), core.class_type())), *open)?;
            Ok((core, object))
        });
        match opened {
            Ok((core, object)) => {
                let head = object.head();
                if attempt > 1 {
                    head.set_before(attempt - 1);
                }
                if let Some(retry) = retry {
                    let retries = retry.retries.saturating_sub(attempt.saturating_sub(1));
                    head.set_retry(Retry { retries, ..retry });
                }
                self.enter(call, &object, None);
                core.post(Letter::Call(Post { object, sequence: Sequence(call) }));
            }
            Err(error) => self.tell(&Message::Done { call, error: Some(error), is_over: true }),
        }
    }

    /// Tells the hosted actor to end; `false` if there is none.
    pub(super) fn end_hosted(&self) -> bool {
        let core = lock(&self.hosted).as_ref().map(|hosted| hosted.core.clone());
        let Some(core) = core else { return false };
        core.die(Error::new(ErrorKind::ActorDied, "it was told to end"));
        core.post(Letter::Kill);
        true
    }

    /// The hosted actor has ended, and its state is dropped.
    pub(super) fn hosted_ended(&self, actor: &Arc<ActorCore>) {
        let _ = self.obituary.set(actor.obituary());
        let gone = lock(&self.hosted).take();
        let unknown = || Error::new(ErrorKind::ActorDied, "it has ended");
        let death = actor.death().cloned().unwrap_or_else(unknown);
        self.tell(&Message::Ended { death });
        drop(gone);
        self.go_if_done();
    }

    /// The actor that the parent calls `id`.
    pub(super) fn actor(&self, id: ActorId, class: u64) -> Result<ActorRef> {
        let mut actors = lock(&self.actors);
        if let Some(core) = actors.get(&id).and_then(Weak::upgrade)
            && let Some(handle) = self.hold(&core)
        {
            return Ok(handle);
        }
        let (class, entry) = registry::find_class(class)?;
        let ready = Slot::<()>::empty(&class.constructor);
        let class_type = (entry.class)();
        let core = self.proxy(id, class, class_type, ready.clone());
        actors.insert(id, Arc::downgrade(&core));
        let handle = self.hold(&core);
        drop(actors);
        let object: Arc<dyn Object> = ready;
        let own = self.identify(&object);
        lock(&self.objects).insert(own, Arc::downgrade(&object));
        object.head().set_away(own, Arc::new(Ready { host: self.me.clone(), actor: id, object: own }), true);
        handle.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("there is no {id}")))
    }

    fn proxy(
        &self,
        id: ActorId,
        class: &'static crate::spec::ClassDefinition,
        class_type: std::any::TypeId,
        ready: Arc<dyn Object>,
    ) -> Arc<ActorCore> {
        Arc::new_cyclic(|core| {
            let mailbox =
                AwayMailbox { host: self.me.clone(), core: core.clone(), id, receipt: Mutex::default() };
            let runtime: Arc<dyn Runtime> = self.this();
            let mailbox: Arc<dyn Mailbox> = Arc::new(mailbox);
            ActorCore::new(Parts {
                id,
                class,
                class_type,
                mailbox,
                runtime,
                ready,
                policy: Policy::default(),
            })
        })
    }

    /// A handle to an actor elsewhere, which keeps it alive there.
    fn hold(&self, core: &Arc<ActorCore>) -> Option<ActorRef> {
        let is_own = lock(&self.hosted).as_ref().is_some_and(|hosted| hosted.core.id() == core.id());
        let receipt = self.peer().share_actor(core.id());
        let receipt = match receipt {
            None if is_own => {
                let receipt = self.peer().claim_actor(core.id());
                self.tell(&Message::HoldSelf { actor: core.id() });
                receipt
            }
            receipt => receipt,
        };
        core.handle_kept(Box::new(receipt?))
    }

    pub(super) fn create_actor(&self, creation: Creation) -> ActorRef {
        let Creation { class, class_type, mut ready, options, .. } = creation;
        let core = Arc::new_cyclic(|weak: &Weak<ActorCore>| {
            let place = self.own_actors.insert(weak.clone());
            let id = ActorId { owner: self.identity.worker, place };
            let constructor = Arc::get_mut(&mut ready).expect("nobody else knows it yet");
            constructor.head_mut().set_actor(id);
            let receipt = self.peer().claim_actor(id);
            let receipt = receipt.map(|receipt| -> Box<dyn Any + Send> { Box::new(receipt) });
            let mailbox =
                AwayMailbox { host: self.me.clone(), core: weak.clone(), id, receipt: Mutex::new(receipt) };
            let runtime: Arc<dyn Runtime> = self.this();
            let mailbox: Arc<dyn Mailbox> = Arc::new(mailbox);
            let policy = Policy { timeout: options.time_allowed(), ..Policy::default() };
            ActorCore::new(Parts { id, class, class_type, mailbox, runtime, ready: ready.clone(), policy })
        });
        lock(&self.actors).insert(core.id(), Arc::downgrade(&core));
        let handle = core.handle().expect("nobody has closed it yet");
        let Some(call) = start(ready.clone()) else { return handle };
        let args = match arguments_of(&call) {
            Ok(args) => args,
            Err(error) => {
                self.peer().withdraw_actor(core.id());
                core.die(error.clone());
                fail(call, error);
                return handle;
            }
        };
        let mut call = call;
        executor::put_away(&mut call);
        let id = self.note_pending(&ready, None);
        let awaited = options.takes_existing().then(|| self.ticket());
        let message = Message::Create {
            actor: core.id(),
            ready: id,
            ticket: awaited.as_ref().map(|(ticket, _)| *ticket),
            within: self.within(),
            class: class.constructor.key(),
            caller: ready.head().caller().unwrap_or(CallerId::Driver(self.identity.job)),
            options: Box::new(options),
        };
        if let Err(error) = self.send_call(&ready, id, &message, &args) {
            self.peer().withdraw_actor(core.id());
            core.die(error);
            return handle;
        }
        let Some((_, answer)) = awaited else { return handle };
        match answer.recv() {
            Ok(Ok(Told::Actor(id, class))) if id != core.id() => {
                let receipt = self.peer().claim_actor(id);
                let other = self.actor(id, class);
                drop(receipt);
                // What was never made has nothing to return.
                other.unwrap_or(handle)
            }
            _ => handle,
        }
    }
}

/// The readiness of an actor elsewhere, asked for when somebody waits for it.
struct Ready {
    host: Weak<Attached>,
    actor: ActorId,
    object: crate::id::ObjectId,
}

impl crate::store::Away for Ready {
    fn wanted(&self) {
        if let Some(host) = self.host.upgrade() {
            host.tell(&Message::FetchReady { actor: self.actor, object: self.object });
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        if let Some(host) = self.host.upgrade() {
            lock(&host.objects).remove(&self.object);
        }
    }
}
