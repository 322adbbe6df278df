//! The books behind their lock, and what is done when a waiting demand is granted.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::actors::Start;
use super::{Embedded, lock, shutdown};
use crate::error::{Error, ErrorKind};
use crate::event::{Wait, WaitReason};
use crate::resource::{CPU, Quantity, ResourceSet};
use crate::runtime::{Lease, Waiting};
use crate::scheduler::{Books, DemandId, Grant, Granted, Holder, Verdict};
use crate::store::Object;

/// A wait for resources as long as this is spoken of.
const LONG: Duration = Duration::from_secs(10);

/// What a demand is for.
#[derive(Clone, Copy, PartialEq)]
enum Need {
    Task,
    Actor,
    /// CPUs that a call had before it waited.
    Again,
}

/// Who waits for a grant.
enum Claimant {
    Task(Arc<dyn Object>),
    Actor(Box<Start>),
    /// A task that goes on after a wait.
    Thread(Arc<Turn>),
    /// A pool member before its next task; it has none yet, so others need not make way for it.
    Member(Arc<Turn>),
}

struct Claim {
    claimant: Claimant,
    request: ResourceSet,
    since: Instant,
    is_spoken_of: bool,
}

/// A thread that waits for its CPUs.
#[derive(Default)]
struct Turn {
    grant: Mutex<Option<Result<Grant, ()>>>,
    came: Condvar,
}

impl Turn {
    fn give(&self, grant: Result<Grant, ()>) {
        *lock(&self.grant) = Some(grant);
        self.came.notify_one();
    }

    fn wait(&self) -> Result<Grant, ()> {
        let mut grant = lock(&self.grant);
        loop {
            if let Some(grant) = grant.take() {
                return grant;
            }
            grant = self.came.wait(grant).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }
}

struct Inner {
    books: Books,
    claims: HashMap<DemandId, Claim>,
    demands: u64,
}

/// Resources of this node: who holds them, who waits.
pub(super) struct Ledger {
    inner: Mutex<Inner>,
    wants_cpu: AtomicBool,
}

impl Ledger {
    pub(super) fn new(total: ResourceSet) -> Self {
        let inner = Inner { books: Books::new(total), claims: HashMap::new(), demands: 0 };
        Self { inner: Mutex::new(inner), wants_cpu: AtomicBool::new(false) }
    }

    pub(super) fn resources(&self) -> (ResourceSet, ResourceSet) {
        let inner = lock(&self.inner);
        (inner.books.total().clone(), inner.books.free().clone())
    }

    pub(super) fn wants_cpu(&self) -> bool {
        self.wants_cpu.load(Ordering::Relaxed)
    }

    /// `Infeasible` if `request` is more than there is, naming both.
    pub(super) fn check(&self, request: &ResourceSet) -> Result<(), Error> {
        let inner = lock(&self.inner);
        if inner.books.is_feasible(request) {
            return Ok(());
        }
        let text = format!("asked for {request}; there is {}", inner.books.total());
        Err(Error::new(ErrorKind::Infeasible, text))
    }

    /// Runs a task when its resources are there.
    pub(super) fn run_task(&self, host: &Embedded, object: Arc<dyn Object>, request: &ResourceSet) {
        match self.ask(host, request, Need::Task, || Claimant::Task(object.clone())) {
            Ok(Some(grant)) => host.pool.push_granted(object, Arc::new(Lease::new(grant))),
            Ok(None) => {}
            Err(error) => {
                object.fail(error);
            }
        }
    }

    /// Starts an actor when its resources are there.
    pub(super) fn start_actor(&self, host: &Embedded, start: Start) {
        let request = start.request().clone();
        if request.is_empty() {
            return host.start_host(start, None);
        }
        let actor = start.actor().clone();
        let mut start = Some(Box::new(start));
        let claimant = || Claimant::Actor(start.take().expect("asked for once"));
        match self.ask(host, &request, Need::Actor, claimant) {
            Ok(Some(grant)) => {
                let start = start.take().expect("not claimed");
                host.start_host(*start, Some(Arc::new(Lease::new(grant))));
            }
            Ok(None) => {}
            Err(error) => host.fail_creation(&actor, error),
        }
    }

    /// Asks for `request`; `None` if the claimant now waits.
    fn ask(
        &self,
        host: &Embedded,
        request: &ResourceSet,
        need: Need,
        claimant: impl FnOnce() -> Claimant,
    ) -> Result<Option<Grant>, Error> {
        let now = host.now();
        let urgent = need == Need::Again;
        let holder = if need == Need::Task { Holder::Running } else { Holder::Keeping };
        let mut inner = lock(&self.inner);
        // Seen under the lock: `close` empties the claims after the session began to end.
        if host.ending.load(Ordering::Acquire) && !urgent {
            return Err(shutdown());
        }
        inner.demands += 1;
        let id = DemandId(inner.demands);
        let (verdict, others) = inner.books.ask(id, request, urgent, holder);
        let answer = match verdict {
            Verdict::Granted(grant) => Ok(Some(grant)),
            Verdict::Queued => {
                let claim =
                    Claim { claimant: claimant(), request: request.clone(), since: now, is_spoken_of: false };
                inner.claims.insert(id, claim);
                Ok(None)
            }
            Verdict::Infeasible => {
                let text = format!("asked for {request}; there is {}", inner.books.total());
                Err(Error::new(ErrorKind::Infeasible, text))
            }
        };
        self.perform(host, inner, others);
        answer
    }

    fn note(&self, inner: &Inner) {
        let wants = |claim: &Claim| {
            !matches!(claim.claimant, Claimant::Member(_)) && !claim.request.get(CPU).is_zero()
        };
        let wanted = inner.books.wants_cpu() && inner.claims.values().any(wants);
        self.wants_cpu.store(wanted, Ordering::Relaxed);
    }

    /// One CPU for a pool member between two tasks.
    pub(super) fn take_cpu(&self, host: &Embedded, lease: &Lease) -> bool {
        let turn = Arc::new(Turn::default());
        let claimant = || Claimant::Member(turn.clone());
        let grant = match self.ask(host, &ResourceSet::one_cpu(), Need::Task, claimant) {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) => turn.wait(),
            Err(_) => Err(()),
        };
        let granted = grant.is_ok();
        *lease.lock() = grant.unwrap_or_default();
        granted
    }

    /// Takes back all of a lease.
    pub(super) fn give_back(&self, host: &Embedded, lease: &Lease) {
        let grant = std::mem::take(&mut *lease.lock());
        if grant == Grant::default() {
            return;
        }
        let mut inner = lock(&self.inner);
        let granted = inner.books.give_back(&grant);
        self.perform(host, inner, granted);
    }

    /// Takes the CPUs of a lease while its call waits.
    pub(super) fn lend(&self, host: &Embedded, lease: &Lease) {
        let mut grant = lease.lock();
        let mut inner = lock(&self.inner);
        let granted = inner.books.give_back_cpus(&mut grant);
        drop(grant);
        self.perform(host, inner, granted);
    }

    /// Gives a call the CPUs back that it had before it waited.
    pub(super) fn reclaim(&self, host: &Embedded, lease: &Lease, call: &Arc<dyn Object>) {
        // Taken: of several calls of an actor that go on at once, one asks for what they share.
        let cpus = std::mem::take(&mut lease.lock().lent);
        let is_over = call.head().is_complete() && host.ending.load(Ordering::Acquire);
        if cpus.is_zero() || is_over {
            let mut grant = lease.lock();
            let held = grant.resources.get(CPU);
            return lock(&self.inner).books.resume(&mut grant, held);
        }
        let request = ResourceSet::new().with(CPU, cpus);
        let turn = Arc::new(Turn::default());
        let claimant = || Claimant::Thread(turn.clone());
        let grant = match self.ask(host, &request, Need::Again, claimant) {
            Ok(Some(grant)) => Ok(grant),
            Ok(None) => {
                let _waiting = Waiting::begin(Some(call), WaitReason::CpuAgain);
                turn.wait()
            }
            Err(_) => Err(()),
        };
        let cpus = grant.map_or(Quantity::ZERO, |grant| grant.resources.get(CPU));
        // The lease before the books, as everywhere.
        let mut grant = lease.lock();
        lock(&self.inner).books.resume(&mut grant, cpus);
    }

    /// A claim that nobody needs any more.
    pub(super) fn withdraw_actor(&self, host: &Embedded, actor: crate::id::ActorId) -> Option<Box<Start>> {
        let mut inner = lock(&self.inner);
        let is_it =
            |claim: &Claim| matches!(&claim.claimant, Claimant::Actor(start) if start.actor().id() == actor);
        let id = *inner.claims.iter().find(|(_, claim)| is_it(claim))?.0;
        let claim = inner.claims.remove(&id)?;
        let granted = inner.books.withdraw(id);
        self.perform(host, inner, granted);
        match claim.claimant {
            Claimant::Actor(start) => Some(start),
            Claimant::Task(_) | Claimant::Thread(_) | Claimant::Member(_) => None,
        }
    }

    /// A task that was cancelled while it waited for resources.
    pub(super) fn sweep(&self, host: &Embedded) {
        let mut inner = lock(&self.inner);
        let is_over =
            |claim: &Claim| matches!(&claim.claimant, Claimant::Task(object) if object.head().is_complete());
        let over: Vec<_> =
            inner.claims.iter().filter(|(_, claim)| is_over(claim)).map(|(id, _)| *id).collect();
        let mut dropped = Vec::new();
        let mut granted = Vec::new();
        for id in over {
            dropped.extend(inner.claims.remove(&id));
            granted.extend(inner.books.withdraw(id));
        }
        self.perform(host, inner, granted);
        drop(dropped);
    }

    fn perform(&self, host: &Embedded, mut inner: std::sync::MutexGuard<'_, Inner>, granted: Vec<Granted>) {
        let mut claimed = Vec::new();
        let mut granted = VecDeque::from(granted);
        while let Some(Granted { id, grant }) = granted.pop_front() {
            match inner.claims.remove(&id) {
                Some(claim) => claimed.push((claim.claimant, grant)),
                // Its claim was withdrawn while this was decided: the next one's turn.
                None => granted.extend(inner.books.give_back(&grant)),
            }
        }
        self.note(&inner);
        drop(inner);
        for (claimant, grant) in claimed {
            match claimant {
                Claimant::Task(object) => host.pool.push_granted(object, Arc::new(Lease::new(grant))),
                Claimant::Actor(start) => host.start_host(*start, Some(Arc::new(Lease::new(grant)))),
                Claimant::Thread(turn) | Claimant::Member(turn) => turn.give(Ok(grant)),
            }
        }
    }

    /// Fails all who wait for something new: the session ends.
    pub(super) fn close(&self, host: &Embedded) {
        let mut inner = lock(&self.inner);
        let claims = std::mem::take(&mut inner.claims);
        for id in claims.keys() {
            inner.books.withdraw(*id);
        }
        self.note(&inner);
        drop(inner);
        for claim in claims.into_values() {
            match claim.claimant {
                Claimant::Task(object) => drop(object.fail(shutdown())),
                Claimant::Actor(start) => host.fail_creation(start.actor(), shutdown()),
                Claimant::Thread(turn) | Claimant::Member(turn) => turn.give(Err(())),
            }
        }
    }

    /// Who waits for resources, other than threads that say so themselves.
    pub(super) fn waits(&self, now: Instant) -> Vec<Wait> {
        let inner = lock(&self.inner);
        let wait = |claim: &Claim| {
            let who = match &claim.claimant {
                Claimant::Task(object) => object.head().definition().name,
                Claimant::Actor(start) => start.actor().name(),
                Claimant::Thread(_) | Claimant::Member(_) => return None,
            };
            let reason = WaitReason::Resources { asked: claim.request.to_string() };
            Some(Wait { waited: Some(now.saturating_duration_since(claim.since)), ..Wait::new(who, reason) })
        };
        inner.claims.values().filter_map(wait).collect()
    }

    /// Says once of each long wait what it waits for and who has it.
    pub(super) fn speak_of_long_waits(&self, now: Instant) {
        let mut inner = lock(&self.inner);
        let free = inner.books.free().clone();
        let total = inner.books.total().clone();
        let mut words = Vec::new();
        for claim in inner.claims.values_mut() {
            if !claim.is_spoken_of && now.saturating_duration_since(claim.since) >= LONG {
                claim.is_spoken_of = true;
                let who = match &claim.claimant {
                    Claimant::Member(_) => continue,
                    Claimant::Task(object) => format!("task `{}`", object.head().definition().name),
                    Claimant::Actor(start) => format!("actor `{}`", start.actor().name()),
                    Claimant::Thread(_) => "a task that goes on after a wait".into(),
                };
                words.push((who, claim.request.clone()));
            }
        }
        drop(inner);
        for (who, request) in words {
            tracing::warn!(
                target: "mobula",
                "{who} has waited 10 s for resources: it asks for {request}, free is {free} of {total}; \
                 whoever holds the rest must return first"
            );
        }
    }
}
