//! Calls: those that the parent has this process run, and those that its code makes.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use super::{Attached, Completed, Hold, address, lock};
use crate::error::{Error, ErrorKind, Result};
use crate::executor;
use crate::id::{CallerId, ObjectId};
use crate::protocol::{Leased, Message};
use crate::registry::{self, Entry, Opener, Opening};
use crate::runtime::{Lease, Task, with_frame};
use crate::scheduler::Grant;
use crate::spec::Options;
use crate::store::{Away, Counted, Listener, Object, Started, Waiter, start, watch};
use crate::transport::{Load, Receipt, When};
use crate::value::{Encoded, Refs};

/// A call that the parent has this process run.
pub(super) struct Running {
    pub(super) hold: Hold,
    /// What a task holds: it has returned when that comes back.
    lease: Option<Arc<Lease>>,
    has_returned: bool,
    is_told: bool,
}

/// An object of the parent's, as long as somebody here holds it.
pub(super) struct Borrowed {
    pub(super) host: Weak<Attached>,
    pub(super) id: ObjectId,
    pub(super) _receipt: Receipt,
}

impl Away for Borrowed {
    fn wanted(&self) {
        if let Some(host) = self.host.upgrade() {
            host.tell(&Message::Fetch { object: self.id });
        }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        let Some(host) = self.host.upgrade() else { return };
        let mut objects = lock(&host.objects);
        // Another may stand under the id by now.
        if objects.get(&self.id).is_some_and(|object| object.strong_count() == 0) {
            objects.remove(&self.id);
        }
    }
}

/// Tells the parent of the end of a call.
struct Done {
    host: Weak<Attached>,
    call: u64,
}

impl Listener for Done {
    fn ready(&self, _: usize, _: bool) {
        if let Some(host) = self.host.upgrade() {
            host.done(self.call);
        }
    }
}

impl Attached {
    /// Runs a function.
    pub(super) fn run(
        &self,
        call: u64,
        function: u64,
        caller: CallerId,
        attempt: u32,
        leased: Leased,
        load: &Load,
    ) {
        let lease = Arc::new(Lease::new(Grant::of(leased.resources, leased.gpus)));
        let entry = registry::find(function).and_then(|entry| match entry {
            Entry::Function(_, open) => Ok(*open),
            _ => Err(Error::new(ErrorKind::FunctionNotFound, "a function was named, and it is none")),
        });
        let opened = entry.and_then(|open| self.open(call, load, caller, None, open));
        match opened {
            Ok(object) => {
                object.head().set_before(attempt.saturating_sub(1));
                self.enter(call, &object, Some(lease.clone()));
                self.pool.push_granted(object, lease);
            }
            Err(error) => self.tell(&Message::Done { call, error: Some(error), is_over: true }),
        }
    }

    /// Makes a call of what came.
    pub(super) fn open(
        &self,
        call: u64,
        load: &Load,
        caller: CallerId,
        actor: Option<(crate::id::ActorId, std::any::TypeId)>,
        open: Opener,
    ) -> Result<Arc<dyn Object>> {
        let outlet = self.outlet(call);
        let mut opening = Opening {
            args: load.unpacker(),
            caller,
            actor,
            sharing: None,
            items: Some(outlet.clone()),
            needs: Vec::new(),
        };
        let object = executor::caught(|| (open.0)(&mut opening))?;
        if opening.items.is_none() {
            lock(&self.producers).insert(call, outlet);
        }
        Ok(object)
    }

    /// Notes a call that runs from now on.
    pub(super) fn enter(&self, call: u64, object: &Arc<dyn Object>, lease: Option<Arc<Lease>>) {
        let hold = Counted::new(object.clone());
        let running = Running { hold, lease, has_returned: false, is_told: false };
        lock(&self.numbers).insert(address(object), call);
        lock(&self.calls).insert(call, running);
        let waiter = Waiter { listener: Arc::new(Done { host: self.me.clone(), call }), token: 0 };
        if let Some(waiter) = object.head().listen(waiter) {
            waiter.listener.ready(0, false);
        }
    }

    /// A call is complete: tells the parent.
    fn done(&self, call: u64) {
        let mut calls = lock(&self.calls);
        let Some(running) = calls.get_mut(&call).filter(|running| !running.is_told) else { return };
        running.is_told = true;
        let is_over = running.lease.is_none() || running.has_returned;
        let hold = running.hold.clone();
        drop(calls);
        let (error, values) = value_of(&hold);
        hold.object().head().set_seen();
        let object = hold.object().clone();
        drop(hold);
        let message = Message::Done { call, error, is_over };
        // At once, and not with those that follow: one that crashes the process must not take this with it.
        let when = When::Now;
        if let Err(error) = self.peer().send(&message, Some(&values), when) {
            self.tell(&Message::Done { call, error: Some(error), is_over });
        }
        drop(values);
        if is_over {
            self.forget(call, &object);
        }
    }

    /// What a task held has come back: its code has returned.
    pub(super) fn returned(&self, lease: &Lease) {
        let mut calls = lock(&self.calls);
        let is_it = |running: &Running| {
            running.lease.as_ref().is_some_and(|own| std::ptr::eq(&raw const **own, lease))
        };
        let Some((call, running)) = calls.iter_mut().find(|(_, running)| is_it(running)) else { return };
        running.has_returned = true;
        let (call, is_told, object) = (*call, running.is_told, running.hold.object().clone());
        drop(calls);
        if is_told {
            self.tell(&Message::Over { call });
            self.forget(call, &object);
        }
    }

    fn forget(&self, call: u64, object: &Arc<dyn Object>) {
        lock(&self.numbers).remove(&address(object));
        let running = lock(&self.calls).remove(&call);
        let producer = lock(&self.producers).remove(&call);
        drop((running, producer));
        self.go_if_done();
    }

    /// Tells a call to stop; with an error, it has come to that.
    pub(super) fn cancel(&self, call: u64, error: Option<&Error>) {
        let object = lock(&self.calls).get(&call).map(|running| running.hold.object().clone());
        let Some(object) = object else { return };
        match error {
            Some(error) => object.cancel(error),
            None => object.head().set_cancelled(),
        }
    }

    pub(super) fn submit_task(&self, Task { object, options, .. }: Task) {
        if !adopt(&object) {
            return;
        }
        let Some(call) = start(object.clone()) else { return };
        let args = match arguments_of(&call) {
            Ok(args) => args,
            // It holds code: it runs here, on a thread of its own.
            Err(error) if error.kind() == ErrorKind::Unsupported => return self.run_here(call),
            Err(error) => {
                fail(call, error);
                return;
            }
        };
        let head = object.head();
        let function = head.definition().key();
        let caller = head.caller().unwrap_or(CallerId::Driver(self.identity.job));
        let is_stream = head.definition().is_stream;
        let id = self.note_pending(&object, if is_stream { Some(call) } else { put_away(call) });
        let options: Option<Box<Options>> = options.map(Box::new);
        let message = Message::Submit { object: id, within: self.within(), function, caller, options };
        let _ = self.send_call(&object, id, &message, &args);
    }

    fn run_here(&self, call: Started) {
        let refused = {
            let object = call.object().clone();
            move || {
                object.fail(Error::new(ErrorKind::TooManyThreads, "the system gives no more threads"));
            }
        };
        let object = call.object().clone();
        // Where it waits, the call waits that asked for it; nobody else knows of it.
        if let Some(number) = self.within() {
            lock(&self.numbers).insert(address(&object), number);
            let forget = Arc::new(ForgetNumber { host: self.me.clone(), address: address(&object) });
            if let Some(waiter) = object.head().listen(Waiter { listener: forget, token: 0 }) {
                waiter.listener.ready(0, false);
            }
        }
        let body = move || executor::run_alone(call);
        if self.stage.hire("mobula-call".into(), body, refused).is_none() {
            object.fail(Error::new(ErrorKind::TooManyThreads, "all threads of this worker are in use"));
        }
    }

    /// The parent will answer for `object`: notes it under the id that both use.
    pub(super) fn note_pending(&self, object: &Arc<dyn Object>, call: Option<Started>) -> ObjectId {
        let id = self.identify(object);
        lock(&self.objects).insert(id, Arc::downgrade(object));
        lock(&self.pending).insert(id, call);
        if let Some(receipt) = self.peer().claim_object(id) {
            let borrowed = Borrowed { host: self.me.clone(), id, _receipt: receipt };
            object.head().set_away(id, Arc::new(borrowed), false);
        }
        id
    }

    /// Sends a call of this process, and hears of its end before the parent's answer. If it cannot be sent,
    /// it has failed.
    pub(super) fn send_call(
        &self,
        object: &Arc<dyn Object>,
        id: ObjectId,
        message: &Message,
        args: &Encoded,
    ) -> Result<()> {
        if let Err(error) = self.peer().send(message, Some(args), When::Now) {
            // The parent knows nothing of it.
            self.peer().withdraw_object(id);
            lock(&self.objects).remove(&id);
            let pending = lock(&self.pending).remove(&id);
            drop(pending);
            object.fail(error.clone());
            return Err(error);
        }
        let completed = Completed { host: self.me.clone(), id, object: Arc::downgrade(object) };
        let waiter = Waiter { listener: Arc::new(completed), token: 0 };
        if let Some(waiter) = object.head().listen(waiter) {
            waiter.listener.ready(0, false);
        }
        Ok(())
    }

    /// The parent says what became of an object.
    pub(super) fn filled(&self, id: ObjectId, error: Option<Error>, load: &Load) {
        let pending = lock(&self.pending).remove(&id);
        let object = lock(&self.objects).get(&id).and_then(Weak::upgrade);
        if let Some(object) = object {
            if let Some(error) = error {
                object.fail(error);
            } else {
                if let Err(error) = executor::guard(|| object.fill(&mut load.unpacker())) {
                    object.fail(error);
                }
                watch(&object);
            }
        }
        if let Some(Some(mut call)) = pending {
            executor::put_away(&mut call);
        }
    }

    /// An object of this process's own is the parent's from now on.
    pub(super) fn export(&self, id: ObjectId, hold: &Hold) -> Result<()> {
        {
            let mut exporting = lock(&self.exporting);
            if lock(&self.objects).contains_key(&id) {
                // Another thread may be at it: no message may name the object before it has gone.
                while exporting.contains(&id) {
                    exporting = self.exported.wait(exporting).unwrap_or_else(PoisonError::into_inner);
                }
                return Ok(());
            }
            lock(&self.objects).insert(id, Arc::downgrade(hold.object()));
            exporting.insert(id);
        }
        let sent = self.send_export(id, hold);
        lock(&self.exporting).remove(&id);
        self.exported.notify_all();
        sent
    }

    /// Sends the value of an object that is complete, or why there is none or it cannot go.
    fn send_value(&self, hold: &Hold, when: When, message: impl Fn(Option<Error>) -> Message) -> Result<()> {
        let (error, values) = value_of(hold);
        match self.peer().send(&message(error), Some(&values), when) {
            // The connection stands: the parent has the object in any case.
            Err(error) if error.kind() != ErrorKind::Io => {
                self.peer().send(&message(Some(error)), None, when)
            }
            sent => sent,
        }
    }

    fn send_export(&self, id: ObjectId, hold: &Hold) -> Result<()> {
        let object = hold.object();
        if let Some(receipt) = self.peer().claim_object(id) {
            let borrowed = Borrowed { host: self.me.clone(), id, _receipt: receipt };
            object.head().set_away(id, Arc::new(borrowed), false);
        }
        if object.head().is_complete() {
            let message = |error| Message::Export { object: id, is_complete: true, error };
            return self.send_value(hold, When::Batch, message);
        }
        let message = Message::Export { object: id, is_complete: false, error: None };
        self.peer().send(&message, None, When::Batch)?;
        let follow = Follow { host: self.me.clone(), id, hold: Mutex::new(Some(hold.clone())) };
        if let Some(waiter) = object.head().listen(Waiter { listener: Arc::new(follow), token: 0 }) {
            waiter.listener.ready(0, false);
        }
        Ok(())
    }
}

/// Forgets on whose behalf a call ran here.
struct ForgetNumber {
    host: Weak<Attached>,
    address: usize,
}

impl Listener for ForgetNumber {
    fn ready(&self, _: usize, _: bool) {
        if let Some(host) = self.host.upgrade() {
            lock(&host.numbers).remove(&self.address);
        }
    }
}

/// The value of an object that is complete, or why there is none.
fn value_of(hold: &Hold) -> (Option<Error>, Encoded) {
    match executor::packed(Refs::Named, |packer| hold.pack(packer)) {
        Ok(values) => (None, values),
        Err(error) => (Some(error), Encoded::default()),
    }
}

/// Sends the value of an exported object when it is there.
struct Follow {
    host: Weak<Attached>,
    id: ObjectId,
    hold: Mutex<Option<Hold>>,
}

impl Listener for Follow {
    fn ready(&self, _: usize, _: bool) {
        let (Some(host), Some(hold)) = (self.host.upgrade(), lock(&self.hold).take()) else { return };
        let message = |error| Message::Filled { object: self.id, error };
        // A parent that is gone ends this process anyway.
        let _ = host.send_value(&hold, When::Now, message);
    }
}

/// Makes a call the child of the one that makes it on this thread; `false` if that one is over.
pub(super) fn adopt(object: &Arc<dyn Object>) -> bool {
    let Some(parent) = with_frame(|frame| frame.call().cloned()) else { return true };
    if parent.head().adopt(object) {
        return true;
    }
    let over = || Error::new(ErrorKind::Cancelled, "the call that made it was cancelled");
    object.cancel(&parent.error().cloned().unwrap_or_else(over));
    false
}

/// The arguments of a call of this process.
pub(super) fn arguments_of(call: &Started) -> Result<Encoded> {
    executor::packed(Refs::Named, |packer| call.pack(packer))
}

fn put_away(mut call: Started) -> Option<Started> {
    executor::put_away(&mut call);
    None
}

/// A call that cannot be sent.
pub(super) fn fail(mut call: Started, error: Error) {
    executor::put_away(&mut call);
    call.object().fail(error);
}

/// How much time a call has left, if it has a deadline, in microseconds.
pub(super) fn time_left_us(object: &Arc<dyn Object>) -> Option<u64> {
    let left = object.head().deadline()?.saturating_duration_since(Instant::now());
    Some(u64::try_from(left.as_micros()).unwrap_or(u64::MAX))
}
