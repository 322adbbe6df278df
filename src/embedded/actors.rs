//! Actors: made, found, killed, forgotten.

use std::sync::{Arc, Weak};

use super::elsewhere::Begin;
use super::{Embedded, lock, shutdown};
use crate::directory::Name;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{Blueprint, Desk, Site};
use crate::id::{ActorId, Place};
use crate::resource::{GPU, Quantity, ResourceSet};
use crate::runtime::{ActorCore, ActorRef, Creation, Lease, Letter, Mailbox, Parts, Policy, Runtime};
use crate::spec::{Isolation, Options};

/// `&self` calls of an async class that may overlap unless told otherwise; as in Ray.
const ASYNC_CONCURRENCY: usize = 1_000;

/// An actor that waits for its constructor's arguments or its resources.
pub(super) struct Start {
    actor: Arc<ActorCore>,
    blueprint: Blueprint,
    request: ResourceSet,
    seat: Seat,
}

/// Where its host will be.
enum Seat {
    Here(Site),
    /// In a process of its own.
    Away(Begin),
}

impl Start {
    pub(super) fn actor(&self) -> &Arc<ActorCore> {
        &self.actor
    }

    pub(super) fn request(&self) -> &ResourceSet {
        &self.request
    }
}

/// What came of claiming a name.
enum Claim {
    /// The new actor has it, or asked for none.
    Own,
    /// Another actor has it and is taken instead.
    Found(ActorRef),
    /// Another has it, and the new actor has failed of that.
    Refused,
}

/// What the options of an actor come to.
struct Checked {
    isolation: Isolation,
    request: ResourceSet,
    policy: Policy,
}

impl Embedded {
    fn check(&self, options: &Options, is_async: bool) -> Result<Checked> {
        let default = if is_async { ASYNC_CONCURRENCY } else { 1 };
        let isolation = self.isolation(options)?;
        options.naming()?;
        Ok(Checked {
            isolation,
            request: options.demand(Quantity::ZERO)?.resources,
            policy: Policy {
                retry: options.call_retry(),
                timeout: options.time_allowed(),
                pending_max: options.pending_calls()?.map(|most| u32::try_from(most).unwrap_or(u32::MAX)),
                concurrency: options.concurrency()?.unwrap_or(default),
            },
        })
    }

    pub(super) fn create_actor(&self, creation: Creation) -> ActorRef {
        let Creation { class, class_type, mut ready, needs, options, id } = creation;
        let checked = self.check(&options, class.is_async);
        let isolation = checked.as_ref().map_or(Isolation::Thread, |checked| checked.isolation);
        let desk: Arc<dyn Desk> = self.this();
        let elsewhere = self.elsewhere.as_ref().filter(|_| isolation == Isolation::Process);
        let (mailbox, seat): (Arc<dyn Mailbox>, Seat) = if let Some(elsewhere) = elsewhere {
            let (mailbox, begin) = elsewhere.actor(&self.me, class, &options);
            (mailbox, Seat::Away(begin))
        } else {
            let is_shared = class.is_async || isolation == Isolation::Shared;
            let (mailbox, site) = Site::choose(is_shared, &self.stage, desk);
            (mailbox, Seat::Here(site))
        };
        let policy = checked.as_ref().map(|checked| checked.policy).unwrap_or_default();
        let actor = self.enrol(id, |id| {
            let runtime: Arc<dyn Runtime> = self.this();
            let constructor = Arc::get_mut(&mut ready).expect("nobody else knows it yet");
            constructor.head_mut().set_actor(id);
            ActorCore::new(Parts { id, class, class_type, mailbox, runtime, ready, policy })
        });
        let handle = actor.handle().expect("nobody has closed it yet");
        let checked = checked.and_then(|checked| {
            self.ledger.check(&checked.request)?;
            Ok(checked)
        });
        let checked = match checked {
            Ok(checked) => checked,
            Err(error) => {
                self.fail_creation(&actor, error);
                return handle;
            }
        };
        match self.claim_name(&actor, &options) {
            Claim::Own => {}
            Claim::Refused => return handle,
            Claim::Found(other) => return other,
        }
        if !checked.request.get(GPU).is_zero() && checked.isolation != Isolation::Process {
            super::calls::say_of_gpus();
        }
        let blueprint = Blueprint { constructor: None, restarts: options.restarts(), lease: None };
        let start = Start { actor: actor.clone(), blueprint, request: checked.request, seat };
        if Runtime::is_ending(self) {
            self.fail_creation(&actor, shutdown());
        } else if needs.is_empty() {
            self.ledger.start_actor(self, start);
        } else {
            self.hold_creation(start, needs);
        }
        if Runtime::is_ending(self) {
            // The end may have passed over the table before this actor stood in it.
            self.kill_for(&actor, shutdown());
        }
        handle
    }

    /// Gives an actor its place in the table, under the id that a worker gave it if one did.
    fn enrol(&self, id: Option<ActorId>, make: impl FnOnce(ActorId) -> ActorCore) -> Arc<ActorCore> {
        Arc::new_cyclic(|weak: &Weak<ActorCore>| {
            let place = self.actors.insert(weak.clone());
            if let Some(id) = id {
                lock(&self.adopted).insert(id, place);
            }
            make(id.unwrap_or(ActorId { owner: self.identity.worker, place }))
        })
    }

    /// Where an actor stands in the table.
    pub(super) fn place_of(&self, id: ActorId) -> Option<Place> {
        if id.owner == self.identity.worker { Some(id.place) } else { lock(&self.adopted).get(&id).copied() }
    }

    /// Claims the name asked for.
    fn claim_name(&self, actor: &Arc<ActorCore>, options: &Options) -> Claim {
        let naming = options.naming().ok().flatten();
        if let Some((name, namespace)) = naming {
            let namespace = namespace.unwrap_or(&self.settings.namespace);
            let key = Name { namespace: namespace.into(), name: name.into() };
            loop {
                let Err(holder) = lock(&self.directory).claim(key.clone(), actor.id()) else { break };
                let found = self.find_actor(holder).ok().filter(|found| !found.core().is_dead());
                let Some(found) = found else {
                    // The holder is dying and will free the name, or has gone without doing so.
                    lock(&self.directory).release(holder);
                    continue;
                };
                let text = format!("an actor named {name:?} lives already in namespace {namespace:?}");
                let error = if !options.takes_existing() {
                    Error::new(ErrorKind::NameTaken, text)
                } else if found.core().class_type() != actor.class_type() {
                    let class = found.core().name();
                    Error::new(ErrorKind::WrongType, format!("{text}, of class `{class}`"))
                } else {
                    self.fail_creation(actor, Error::new(ErrorKind::NameTaken, text));
                    return Claim::Found(found);
                };
                self.fail_creation(actor, error);
                return Claim::Refused;
            }
        }
        if options.is_detached()
            && let Some(handle) = actor.handle()
        {
            lock(&self.detached).insert(actor.id(), handle);
        }
        Claim::Own
    }

    /// An actor that will never have a host.
    pub(super) fn fail_creation(&self, actor: &Arc<ActorCore>, error: Error) {
        actor.die(error);
        self.forget_actor(actor);
    }

    /// Arguments and resources are there.
    pub(super) fn start_host(&self, start: Start, lease: Option<Arc<Lease>>) {
        let Start { actor, mut blueprint, seat, .. } = start;
        if actor.is_dead() {
            if let Some(lease) = lease {
                self.ledger.give_back(self, &lease);
            }
            return self.forget_actor(&actor);
        }
        blueprint.lease.clone_from(&lease);
        match seat {
            Seat::Away(begin) => begin(actor, blueprint),
            Seat::Here(site) => {
                let refused = {
                    let (this, actor, lease) = (self.this(), actor.clone(), lease.clone());
                    move || this.without_thread(&actor, lease, "the system gives no more threads".into())
                };
                let desk: Arc<dyn Desk> = self.this();
                if site.host(actor.clone(), blueprint, desk, &self.stage, refused).is_none() {
                    let text = format!("all {} threads are in use", self.stage.threads().max());
                    self.without_thread(&actor, lease, text);
                }
            }
        }
    }

    /// There is no thread for an actor that has its resources.
    fn without_thread(&self, actor: &Arc<ActorCore>, lease: Option<Arc<Lease>>, text: String) {
        if let Some(lease) = lease {
            self.ledger.give_back(self, &lease);
        }
        self.fail_creation(actor, Error::new(ErrorKind::TooManyThreads, text));
    }

    pub(super) fn kill(&self, actor: &Arc<ActorCore>) {
        if actor.is_dead() {
            return;
        }
        let error = Error::new(ErrorKind::ActorDied, "it was killed");
        actor.doom(error.clone());
        // Failed first: what returns because it sees the end must not look as if it had succeeded.
        actor.fail_running(&actor.obituary());
        self.kill_for(actor, error);
        actor.fail_running(&actor.obituary());
    }

    /// Ends an actor; what runs in it goes on until it returns.
    pub(super) fn kill_for(&self, actor: &Arc<ActorCore>, error: Error) {
        if actor.is_dead() {
            return;
        }
        let never_started = self.ledger.withdraw_actor(self, actor.id());
        actor.die(error);
        self.clear_lines(actor);
        actor.post(Letter::Kill);
        if let Some(start) = never_started {
            self.forget_actor(start.actor());
        }
        // Its name is free from now on, its resources once its host has returned.
        lock(&self.directory).release(actor.id());
        let detached = lock(&self.detached).remove(&actor.id());
        drop(detached);
    }

    /// An actor is over: nothing in the tables names it any more.
    pub(super) fn forget_actor(&self, actor: &Arc<ActorCore>) {
        self.clear_lines(actor);
        lock(&self.directory).release(actor.id());
        let detached = lock(&self.detached).remove(&actor.id());
        drop(detached);
        if let Some(place) = self.place_of(actor.id()) {
            lock(&self.adopted).remove(&actor.id());
            self.actors.remove(place);
        }
    }
}
