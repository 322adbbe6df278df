//! One worker process, as its parent has it.
//!
//! ```text
//! start ──► a thread of its own: spawn, Welcome ──► Hello ──► reads until the process is gone
//! guests ── the calls that run there: each is told what comes for it
//! the worker's own calls ──► opened by the registry ──► the runtime, in the name of the call that made them
//! ```

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::time::Duration;

use super::workforce::{self, with_names};
use super::{Embedded, lock, shutdown};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{caught, packed};
use crate::id::{ActorId, CallerId, ObjectId, WorkerId};
use crate::process::{Ending, Launch, Process};
use crate::protocol::{Message, Said, Told, VERSION};
use crate::registry::{self, Entry, Items, Opening};
use crate::runtime::{self, ActorRef, Answer, Base, Creation, Frame, Pause, Question, Runtime, Task};
use crate::spec::{Definition, Options};
use crate::store::{self, Counted, Listener, Mark, Object, Slot, Waiter};
use crate::transport::{self, Load, Naming, Peer, Receiver, When};
use crate::value::{Encoded, Refs};

/// A call that came as bytes, and what it needs before it starts.
type Opened = (Arc<dyn Object>, Vec<Arc<dyn Object>>);

/// How long a worker may take until it says its first word.
const HELLO_MAX: Duration = Duration::from_secs(20);
/// How far the producer of a stream may be ahead of what its reader has said to have taken.
const STREAM_AHEAD: u32 = 256;

/// What comes for a call that runs in a worker.
pub(super) enum News {
    Done {
        error: Option<Error>,
        load: Load,
        is_over: bool,
    },
    Over,
    Begun,
    Item(Load),
    /// The call waits: the answer goes under the ticket.
    Pause {
        ticket: u64,
        on: Vec<ObjectId>,
        needed: usize,
        blocks: bool,
    },
    Resume {
        ticket: u64,
        token: u64,
        blocks: bool,
    },
    /// The process is gone.
    Gone(Error),
    /// The call was completed from outside.
    Completed,
}

/// Who sent calls to a worker.
pub(super) trait Guest: Send + Sync {
    /// Something came for a call. Told on the worker's thread, which waits for nobody.
    fn news(&self, worker: &Arc<Worker>, call: u64, news: News);
    /// The call itself, and on what it runs.
    fn stand_in(&self, call: u64) -> Option<(Arc<dyn Object>, Base)>;
    /// Something came for the actor that the worker hosts.
    fn of_actor(&self, _worker: &Arc<Worker>, _message: Message) {}
}

#[derive(Default)]
struct Calls {
    next: u64,
    guests: HashMap<u64, Arc<dyn Guest>>,
    /// The guest that hosts its actor here.
    host: Option<Arc<dyn Guest>>,
    gone: Option<Error>,
}

enum Start {
    Coming,
    Up(Arc<Peer>),
    Failed(Error),
}

/// A worker process.
pub(super) struct Worker {
    me: Weak<Self>,
    host: Weak<Embedded>,
    id: WorkerId,
    start: Mutex<Start>,
    started: Condvar,
    process: OnceLock<Process>,
    /// Zero while the worker's actor may take calls.
    gate: OnceLock<Mark>,
    calls: Mutex<Calls>,
    /// Streams that the worker reads, by its name for them.
    streams: Mutex<HashMap<ObjectId, Arc<Forward>>>,
    /// It was told to go, or has said that it goes.
    is_leaving: AtomicBool,
    /// What it said last was not heard.
    was_unheard: AtomicBool,
    /// Calls that it has run.
    pub(super) used: AtomicU64,
}

impl Worker {
    /// Starts a process; it is awaited by who needs it.
    pub(super) fn start(
        host: &Arc<Embedded>,
        launch: Launch,
        ready: impl FnOnce(&Arc<Self>) + Send + 'static,
    ) -> Arc<Self> {
        let id = launch.worker;
        let worker = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            host: Arc::downgrade(host),
            id,
            start: Mutex::new(Start::Coming),
            started: Condvar::new(),
            process: OnceLock::new(),
            gate: OnceLock::new(),
            calls: Mutex::default(),
            streams: Mutex::default(),
            is_leaving: AtomicBool::new(false),
            was_unheard: AtomicBool::new(false),
            used: AtomicU64::new(0),
        });
        let this = worker.clone();
        let body = move || this.serve(launch, ready);
        let thread = std::thread::Builder::new().name(format!("mobula-{id}")).spawn(body);
        if let Err(error) = thread {
            let text = format!("the system gives no more threads: {error}");
            worker.fail_start(&Error::new(ErrorKind::TooManyThreads, text));
        }
        worker
    }

    pub(super) fn id(&self) -> WorkerId {
        self.id
    }

    /// The operating system's number of the process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.get().map(Process::pid)
    }

    fn this(&self) -> Arc<Self> {
        self.me.upgrade().expect("called through an Arc")
    }

    /// Whether it can take calls.
    pub(super) fn is_alive(&self) -> bool {
        lock(&self.calls).gone.is_none() && !self.is_leaving.load(Ordering::Acquire)
    }

    /// Whether something that it said before its end was not heard, as that a call has begun.
    pub(super) fn was_unheard(&self) -> bool {
        self.was_unheard.load(Ordering::Acquire)
    }

    /// Whether its process has ended, and those whose calls were there are being told.
    pub(super) fn is_gone(&self) -> bool {
        lock(&self.calls).gone.is_some()
    }

    /// What its lines of output are marked with from now on.
    pub(super) fn set_mark(&self, mark: &str) {
        if let Some(process) = self.process.get() {
            process.set_mark(mark);
        }
    }

    /// Shows the worker a gate, so that a call which was sent can still be kept from running.
    pub(super) fn open_gate(&self) -> Result<()> {
        let gate = Mark::new()?;
        self.peer()?.show_mark(&gate)?;
        let _ = self.gate.set(gate);
        Ok(())
    }

    /// No call of the worker's actor begins any more.
    pub(super) fn shut_gate(&self) {
        if let Some(gate) = self.gate.get() {
            gate.set(1);
        }
    }

    /// Ends the process at once.
    pub(super) fn kill(&self) {
        if let Some(process) = self.process.get() {
            process.kill();
        }
    }

    /// Tells all that runs there that the session ends.
    pub(super) fn tell_end(&self) {
        let calls: Vec<u64> = lock(&self.calls).guests.keys().copied().collect();
        if let Some(peer) = self.peer_now() {
            for call in calls {
                let _ = peer.send(&Message::Cancel { call, fails: false }, None, When::Now);
            }
        }
    }

    /// Asks it to hand over and go.
    pub(super) fn leave(&self) {
        if !self.is_leaving.swap(true, Ordering::AcqRel)
            && let Start::Up(peer) = &*lock(&self.start)
        {
            let _ = peer.send(&Message::Leave, None, When::Now);
        }
    }

    /// The connection, once it stands.
    pub(super) fn peer(&self) -> Result<Arc<Peer>> {
        let mut start = lock(&self.start);
        loop {
            match &*start {
                Start::Up(peer) => return Ok(peer.clone()),
                Start::Failed(error) => return Err(error.clone()),
                Start::Coming => {}
            }
            start = self.started.wait(start).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Why there will be no connection, if that is known already.
    pub(super) fn failure(&self) -> Option<Error> {
        match &*lock(&self.start) {
            Start::Failed(error) => Some(error.clone()),
            Start::Coming | Start::Up(_) => None,
        }
    }

    /// The connection, if it stands.
    pub(super) fn peer_now(&self) -> Option<Arc<Peer>> {
        match &*lock(&self.start) {
            Start::Up(peer) => Some(peer.clone()),
            Start::Coming | Start::Failed(_) => None,
        }
    }

    fn fail_start(&self, error: &Error) {
        *lock(&self.start) = Start::Failed(error.clone());
        self.started.notify_all();
        self.gone(error);
    }

    /// Makes `guest` the one that hears of the worker's actor.
    pub(super) fn set_host(&self, guest: Arc<dyn Guest>) {
        lock(&self.calls).host = Some(guest);
    }

    /// A number for a call of `guest`; the reason if the process is gone.
    pub(super) fn enter(&self, guest: Arc<dyn Guest>) -> Result<u64> {
        let mut calls = lock(&self.calls);
        if let Some(error) = &calls.gone {
            return Err(error.clone());
        }
        calls.next += 1;
        let number = calls.next;
        calls.guests.insert(number, guest);
        Ok(number)
    }

    /// The call is over.
    pub(super) fn leave_call(&self, call: u64) {
        let guest = lock(&self.calls).guests.remove(&call);
        drop(guest);
    }

    fn guest(&self, call: u64) -> Option<Arc<dyn Guest>> {
        lock(&self.calls).guests.get(&call).cloned()
    }

    fn serve(self: Arc<Self>, launch: Launch, ready: impl FnOnce(&Arc<Self>)) {
        match self.begin(launch) {
            Ok((peer, mut receiver)) => {
                ready(&self);
                let why = self.read_all(&peer, &mut receiver);
                peer.sender().close();
                let ending = self.end_process(why.is_some());
                let error = self.crash(ending, why);
                self.gone(&error);
                peer.end();
                store::arena().detach(self.id);
            }
            Err(error) => {
                if let Some(process) = self.process.get() {
                    process.kill();
                    let ending = process.wait();
                    let error = self.crash(Some(ending), Some(error));
                    return self.fail_start(&error);
                }
                self.fail_start(&error);
            }
        }
    }

    fn begin(&self, launch: Launch) -> Result<(Arc<Peer>, Receiver)> {
        let host = self.host.upgrade().ok_or_else(shutdown)?;
        let process = host.workforce.spawner()?.spawn(launch)?;
        let stream = process.take_stream().expect("nobody else has taken it");
        let secret = process.secret().to_owned();
        let _ = self.process.set(process);
        let (sender, mut receiver) = transport::connect(stream)?;
        let peer = Peer::new(sender, true, store::arena().clone(), Box::new(Lending));
        let welcome = Message::Welcome {
            version: VERSION,
            secret,
            worker: self.id,
            job: host.identity.job,
            node: host.identity.node,
            namespace: host.settings.namespace.to_string(),
            log_level: host.settings.log_level.clone(),
        };
        peer.send(&welcome, None, When::Now)?;
        receiver.set_timeout(Some(HELLO_MAX));
        let late = || Error::new(ErrorKind::Unreachable, "the worker did not say a word");
        let first = receiver.next()?.ok_or_else(late)?;
        match peer.read(first)? {
            Some((Message::Hello { version: VERSION }, _)) => {}
            Some((Message::Hello { version }, _)) => {
                let text = format!("the worker speaks version {version}, this process {VERSION}");
                return Err(Error::new(ErrorKind::VersionMismatch, text));
            }
            _ => return Err(Error::new(ErrorKind::Decode, "the worker's first word is no greeting")),
        }
        receiver.set_timeout(None);
        *lock(&self.start) = Start::Up(peer.clone());
        self.started.notify_all();
        if self.is_leaving.load(Ordering::Acquire) {
            peer.send(&Message::Leave, None, When::Now)?;
        }
        Ok((peer, receiver))
    }

    /// Handles what comes until nothing more does; why, if that is the worker's fault.
    fn read_all(self: &Arc<Self>, peer: &Arc<Peer>, receiver: &mut Receiver) -> Option<Error> {
        loop {
            let frame = match receiver.next() {
                Ok(Some(frame)) => frame,
                Ok(None) => return None,
                // A process that is killed may leave half a frame.
                Err(error) => {
                    self.was_unheard.store(error.kind() != ErrorKind::Io, Ordering::Release);
                    return Some(error);
                }
            };
            let handled = peer.read(frame).and_then(|read| match read {
                Some((message, load)) => self.handle(peer, message, load),
                None => Ok(()),
            });
            // What waits to go goes with the last of what came together.
            if !receiver.has_buffered() {
                peer.sender().flush();
            }
            if let Err(error) = handled {
                tracing::warn!(target: "mobula", "{} is not understood: {error}", self.id);
                self.was_unheard.store(true, Ordering::Release);
                return Some(error);
            }
        }
    }

    fn end_process(&self, is_faulty: bool) -> Option<Ending> {
        let process = self.process.get()?;
        if is_faulty || !self.is_leaving.load(Ordering::Acquire) {
            process.kill();
        }
        Some(process.wait())
    }

    /// What those get whose calls were there.
    fn crash(&self, ending: Option<Ending>, why: Option<Error>) -> Error {
        if self.host.upgrade().is_none_or(|host| Runtime::is_ending(&*host)) {
            return shutdown();
        }
        let pid = self.pid().unwrap_or_default();
        if let Some((used, allowed)) = ending.as_ref().and_then(|ending| ending.memory) {
            let text = format!(
                "{} (process {pid}) used {used} bytes of memory, and {allowed} were allowed",
                self.id
            );
            return Error::new(ErrorKind::OutOfMemory, text);
        }
        let mut text = format!("{} (process {pid}) ", self.id);
        match &ending {
            Some(ending) => text.push_str(&ending.to_string()),
            None => text.push_str("is gone"),
        }
        if let Some(ending) = &ending
            && !ending.last_words.is_empty()
        {
            text.push_str("; its last words: ");
            text.push_str(&ending.last_words.join(" | "));
        }
        let error = Error::new(ErrorKind::WorkerCrashed, text);
        match why {
            Some(why) if ending.is_none_or(|ending| ending.signal == Some(9)) => error.caused_by(why),
            _ => error,
        }
    }

    fn gone(&self, error: &Error) {
        let mut calls = lock(&self.calls);
        calls.gone.get_or_insert_with(|| error.clone());
        let mut guests: Vec<_> = calls.guests.drain().collect();
        let host = calls.host.take();
        drop(calls);
        guests.sort_by_key(|(call, _)| *call);
        let this = self.this();
        if let Some(embedded) = self.host.upgrade() {
            embedded.workforce.remove(self.id);
        }
        for (call, guest) in guests {
            guest.news(&this, call, News::Gone(error.clone()));
        }
        if let Some(host) = host {
            host.news(&this, 0, News::Gone(error.clone()));
        }
        let streams = std::mem::take(&mut *lock(&self.streams));
        for stream in streams.into_values() {
            stream.abandon();
        }
    }

    fn handle(self: &Arc<Self>, peer: &Arc<Peer>, message: Message, load: Load) -> Result<()> {
        match message {
            Message::Done { call, error, is_over } => self.tell(call, News::Done { error, load, is_over }),
            Message::Over { call } => self.tell(call, News::Over),
            Message::Begun { call } => self.tell(call, News::Begun),
            Message::Item { call } => self.tell(call, News::Item(load)),
            message @ (Message::Rebuilt | Message::Ended { .. }) => {
                let host = lock(&self.calls).host.clone();
                if let Some(host) = host {
                    host.of_actor(self, message);
                }
            }
            Message::Returned { extents, objects, actors } => peer.returned(extents, objects, actors)?,
            Message::Goodbye => self.is_leaving.store(true, Ordering::Release),
            Message::Ask { ticket, question } => self.answer(peer, ticket, question)?,
            message => self.handle_call(peer, message, &load)?,
        }
        Ok(())
    }

    /// Handles what the worker's own calls are about.
    fn handle_call(self: &Arc<Self>, peer: &Arc<Peer>, message: Message, load: &Load) -> Result<()> {
        let host = self.host.upgrade().ok_or_else(shutdown)?;
        match message {
            Message::Submit { object, within, function, caller, options } => {
                let entry = registry::find(function);
                let open = entry.and_then(|entry| match entry {
                    Entry::Function(_, open) => Ok(*open),
                    _ => Err(Error::new(ErrorKind::FunctionNotFound, "a function was named, and it is none")),
                });
                let opened = open.and_then(|open| self.open(peer, object, load, caller, None, open));
                self.as_call(within, || match opened {
                    Ok((call, needs)) => {
                        self.owe(peer, object, &call);
                        match runtime::back_pressure(&as_runtime(&host), false) {
                            Ok(()) => {
                                host.submit(Task { object: call, needs, options: options.map(|it| *it) });
                            }
                            Err(error) => drop(call.fail(error)),
                        }
                    }
                    Err(error) => refuse_call(peer, object, error),
                });
            }
            Message::Post { object, within, actor, method, caller, retry, timeout_us } => {
                let opened = self.open_post(peer, &host, object, actor, method, caller, load);
                self.as_call(within, || match opened {
                    Ok((core, call, needs)) => {
                        self.owe(peer, object, &call);
                        if let Some(retry) = retry {
                            call.head().set_retry(retry);
                        }
                        let allowed = timeout_us.map(Duration::from_micros).or(core.core().policy().timeout);
                        match Self::admit(&host, &core, &call, allowed) {
                            Ok(true) => core.core().call(call, needs),
                            Ok(false) => {}
                            Err(error) => drop(call.fail(error)),
                        }
                    }
                    Err(error) => refuse_call(peer, object, error),
                });
            }
            Message::Create { actor, ready, ticket, within, class, caller, options } => {
                let made = self.as_call(within, || {
                    self.create(peer, &host, actor, ready, class, caller, *options, load)
                })?;
                if let Some(ticket) = ticket {
                    let told =
                        made.map(|made| Told::Actor(made.core().id(), made.core().class().constructor.key()));
                    let answer = told.ok_or_else(shutdown);
                    peer.send(&Message::Answer { ticket, answer }, None, When::Now)?;
                }
            }
            Message::Stop { object, error } => {
                if let Some(call) = peer.lent_object(object) {
                    call.object().cancel(&error);
                }
            }
            Message::Read { object, count } => {
                let stream = lock(&self.streams).get(&object).cloned();
                if let Some(stream) = stream {
                    stream.taken(count);
                }
            }
            Message::Fetch { object } => {
                if let Some(found) = find_object(peer, &host, object) {
                    self.fill_when_there(peer, object, found);
                } else {
                    let text = format!("{object} is gone");
                    refuse(peer, object, Error::new(ErrorKind::ObjectLost, text));
                }
            }
            Message::FetchReady { actor, object } => match find_actor(peer, &host, actor) {
                Some(found) => self.fill_when_there(peer, object, Counted::new(found.core().ready().clone())),
                None => {
                    refuse(peer, object, Error::new(ErrorKind::NotFound, format!("there is no {actor}")));
                }
            },
            Message::Export { object, is_complete, error } => {
                import(peer, object, is_complete, error, load)?;
            }
            Message::Filled { object, error } => {
                if let Some(known) = peer.lent_object(object) {
                    workforce::fill(known.object(), error, load);
                }
            }
            Message::HoldSelf { actor } => {
                if let Ok(handle) = host.find_actor(actor) {
                    peer.lend_actor(actor, handle)?;
                }
            }
            other => {
                let text = format!("a worker has no such message for its parent: {other:?}");
                return Err(Error::new(ErrorKind::Decode, text));
            }
        }
        Ok(())
    }

    fn tell(self: &Arc<Self>, call: u64, news: News) {
        if let Some(guest) = self.guest(call) {
            guest.news(self, call, news);
        }
    }

    /// Does `f` in the name of the call of this worker that asks for it.
    fn as_call<R>(&self, within: Option<u64>, f: impl FnOnce() -> R) -> R {
        let found = within.and_then(|call| self.guest(call)?.stand_in(call));
        let Some((call, base)) = found else { return f() };
        let outer = runtime::swap(Frame::standing_in(Rc::new(base), call));
        let result = f();
        runtime::swap(outer);
        result
    }

    /// Makes a call of what came.
    fn open(
        &self,
        _peer: &Arc<Peer>,
        object: ObjectId,
        load: &Load,
        caller: CallerId,
        actor: Option<(ActorId, std::any::TypeId)>,
        open: registry::Opener,
    ) -> Result<Opened> {
        let forward = Arc::new(Forward::new(self.me.clone(), object));
        let mut opening = Opening {
            args: load.unpacker(),
            caller,
            actor,
            sharing: None,
            items: Some(forward.clone()),
            needs: Vec::new(),
        };
        let names = load.names();
        let call = caught(|| with_names(names, || (open.0)(&mut opening)))?;
        if opening.items.is_none() {
            lock(&self.streams).insert(object, forward);
        }
        Ok((call, opening.needs))
    }

    #[allow(clippy::type_complexity, reason = "an actor, a call to it, and what that needs")]
    #[allow(clippy::too_many_arguments, reason = "what the message says")]
    fn open_post(
        &self,
        peer: &Arc<Peer>,
        host: &Arc<Embedded>,
        object: ObjectId,
        actor: ActorId,
        method: u64,
        caller: CallerId,
        load: &Load,
    ) -> Result<(ActorRef, Arc<dyn Object>, Vec<Arc<dyn Object>>)> {
        let gone = || Error::new(ErrorKind::ActorDied, format!("there is no {actor}"));
        let core = find_actor(peer, host, actor).ok_or_else(gone)?;
        let open = match registry::find(method)? {
            Entry::Method(_, open) => *open,
            _ => return Err(Error::new(ErrorKind::FunctionNotFound, "a method was named, and it is none")),
        };
        let class = core.core().class_type();
        let (call, needs) = self.open(peer, object, load, caller, Some((core.core().id(), class)), open)?;
        Ok((core, call, needs))
    }

    fn admit(
        host: &Arc<Embedded>,
        actor: &ActorRef,
        call: &Arc<dyn Object>,
        allowed: Option<Duration>,
    ) -> Result<bool> {
        let runtime: Arc<dyn Runtime> = host.clone();
        runtime::back_pressure(&runtime, false)?;
        if let Some(most) = actor.core().policy().pending_max
            && actor.core().queued() >= most as usize
        {
            let text = format!("{most} calls wait for actor `{}` already", actor.core().name());
            return Err(Error::new(ErrorKind::QueueFull, text));
        }
        Ok(runtime.adopt(call, allowed))
    }

    #[allow(clippy::too_many_arguments, reason = "what the message says")]
    fn create(
        &self,
        peer: &Arc<Peer>,
        host: &Arc<Embedded>,
        actor: ActorId,
        ready: ObjectId,
        class: u64,
        caller: CallerId,
        options: Options,
        load: &Load,
    ) -> Result<Option<ActorRef>> {
        let (class, entry) = registry::find_class(class)?;
        let sharing = options.concurrency().ok().flatten().filter(|most| *most > 1);
        let mut opening = Opening {
            args: load.unpacker(),
            caller,
            actor: None,
            sharing: sharing.and_then(|_| (entry.sharing)()),
            items: None,
            needs: Vec::new(),
        };
        let options = options.sharing(opening.sharing);
        let names = load.names();
        let opened = caught(|| with_names(names, || (entry.open.0)(&mut opening)));
        let needs = std::mem::take(&mut opening.needs);
        let made = match opened {
            Ok(constructor) => {
                let class_type = (entry.class)();
                host.create(Creation {
                    class,
                    class_type,
                    ready: constructor,
                    needs,
                    options,
                    id: Some(actor),
                })
            }
            Err(error) => {
                // It has its names, as any other, so that what is returned was lent.
                let ready = Slot::<()>::empty(&class.constructor);
                let class_type = (entry.class)();
                let creation = Creation { class, class_type, ready, needs, options, id: Some(actor) };
                runtime::stillborn(&creation, error)
            }
        };
        let built: Counted<dyn Object> = Counted::new(made.core().ready().clone());
        peer.lend_object(ready, built.clone())?;
        let handle = made.core().handle();
        // The worker has it under the id that it gave, and under that of one which lived already.
        if let Some(other) = handle.as_ref().filter(|made| made.core().id() != actor) {
            let again = other.core().handle();
            again.map_or(Ok(()), |again| peer.lend_actor(other.core().id(), again))?;
        }
        peer.lend_actor(actor, made)?;
        self.fill_when_there(peer, ready, built);
        Ok(handle)
    }

    /// The result of `call` goes to the worker, which has it as `object`.
    fn owe(&self, peer: &Arc<Peer>, object: ObjectId, call: &Arc<dyn Object>) {
        let hold: Counted<dyn Object> = Counted::new(call.clone());
        if peer.lend_object(object, hold.clone()).is_ok() {
            self.fill_when_there(peer, object, hold);
        }
    }

    fn fill_when_there(&self, peer: &Arc<Peer>, object: ObjectId, hold: Counted<dyn Object>) {
        let call = hold.object().clone();
        let fill = Fill {
            peer: Arc::downgrade(peer),
            worker: self.me.clone(),
            object,
            hold: Mutex::new(Some(hold)),
        };
        let waiter = Waiter { listener: Arc::new(fill), token: 0 };
        if let Some(waiter) = call.head().listen(waiter) {
            waiter.listener.ready(0, call.head().has_failed());
        }
    }

    fn answer(self: &Arc<Self>, peer: &Arc<Peer>, ticket: u64, question: Said) -> Result<()> {
        let host = self.host.upgrade().ok_or_else(shutdown)?;
        let answer = match question {
            Said::Pause { call, on, needed, blocks } => {
                let news = News::Pause { ticket, on, needed: needed as usize, blocks };
                match self.guest(call) {
                    Some(guest) => {
                        return {
                            let _: () = guest.news(self, call, news);
                            Ok(())
                        };
                    }
                    None => Ok(Told::Token(0)),
                }
            }
            Said::Resume { call, token, blocks } => match self.guest(call) {
                Some(guest) => {
                    return {
                        let _: () = guest.news(self, call, News::Resume { ticket, token, blocks });
                        Ok(())
                    };
                }
                None => Ok(Told::Done),
            },
            Said::Kill(actor) => {
                if let Some(actor) = find_actor(peer, &host, actor) {
                    // Off this thread: ending an actor drops what it holds.
                    let question = Question::Kill(actor.core());
                    host.ask(question).map(|_| Told::Done)
                } else {
                    Ok(Told::Done)
                }
            }
            Said::Named(name, namespace) => {
                host.ask(Question::Named(&name, namespace.as_deref())).map(|answer| match answer {
                    Answer::Actor(found) => {
                        let told = Told::Actor(found.core().id(), found.core().class().constructor.key());
                        let _ = peer.lend_actor(found.core().id(), found);
                        told
                    }
                    _ => Told::Done,
                })
            }
            Said::Shutdown => {
                // On a thread of its own: the end waits for this one, too.
                let end = move || host.end_after(runtime::uninstall);
                let _ = std::thread::Builder::new().name("mobula-end".into()).spawn(end);
                Ok(Told::Done)
            }
            Said::Nodes => host.ask(Question::Nodes).map(|answer| match answer {
                Answer::Nodes(nodes) => {
                    Told::Nodes(nodes.into_iter().map(|node| (node.id, node.total, node.free)).collect())
                }
                _ => Told::Done,
            }),
        };
        peer.send(&Message::Answer { ticket, answer }, None, When::Now)
    }

    /// Tells the runtime that a call of this worker waits; the token.
    pub(super) fn pause(
        &self,
        call: &Arc<dyn Object>,
        base: &Base,
        on: &[ObjectId],
        needed: usize,
        blocks: bool,
    ) -> Result<u64> {
        let host = self.host.upgrade().ok_or_else(shutdown)?;
        let peer = self.peer()?;
        let held: Vec<_> = on.iter().filter_map(|id| find_object(&peer, &host, *id)).collect();
        // Of what is not known here nobody can say that it will not come.
        let needed = if held.len() < on.len() { 0 } else { needed };
        let on: Vec<_> = held.iter().map(|object| object.object().clone()).collect();
        let on = if needed == 0 { &[][..] } else { &on[..] };
        host.pause(&Pause { call, base, on, needed, blocks }).map_err(|error| call.head().placed(error))
    }

    pub(super) fn resume(&self, call: &Arc<dyn Object>, base: &Base, token: u64, blocks: bool) {
        if let Some(host) = self.host.upgrade() {
            host.resume(&Pause { call, base, on: &[], needed: 0, blocks }, token);
        }
    }
}

fn as_runtime(host: &Arc<Embedded>) -> Arc<dyn Runtime> {
    host.clone()
}

/// Tells a worker that an object has failed.
fn refuse(peer: &Arc<Peer>, object: ObjectId, error: Error) {
    let _ = peer.send(&Message::Filled { object, error: Some(error) }, None, When::Now);
}

/// A call that could not be opened: it fails, under its name.
fn refuse_call(peer: &Arc<Peer>, object: ObjectId, error: Error) {
    static REFUSED: Definition = Definition::internal("call that could not be opened");
    let call: Arc<dyn Object> = Slot::<()>::empty(&REFUSED);
    call.head().set_seen();
    call.fail(error.clone());
    let _ = peer.lend_object(object, Counted::new(call));
    refuse(peer, object, error);
}

/// An object by the worker's name for it, or by ours.
fn find_object(peer: &Peer, host: &Embedded, id: ObjectId) -> Option<Counted<dyn Object>> {
    if let Some(lent) = peer.lent_object(id) {
        return Some(lent);
    }
    if id.owner != host.identity.worker {
        return None;
    }
    host.objects.get(id.place).and_then(|object| object.upgrade()).and_then(Counted::found)
}

fn find_actor(peer: &Peer, host: &Embedded, id: ActorId) -> Option<ActorRef> {
    let is_ours = id.owner == host.identity.worker;
    peer.lent_actor(id).or_else(|| if is_ours { host.find_actor(id).ok() } else { None })
}

/// An object of a worker's own is ours from now on.
fn import(
    peer: &Arc<Peer>,
    object: ObjectId,
    is_complete: bool,
    error: Option<Error>,
    load: &Load,
) -> Result<()> {
    let slot = workforce::imported();
    if is_complete {
        workforce::fill(&slot, error, load);
    }
    peer.lend_object(object, Counted::new(slot))
}

/// What a parent does before an id leaves it: it lends.
struct Lending;

impl Naming for Lending {
    fn object(&self, peer: &Peer, id: ObjectId, hold: &Counted<dyn Object>) -> Result<()> {
        peer.lend_object(id, hold.clone())
    }

    fn actor(&self, peer: &Peer, id: ActorId, hold: &ActorRef) -> Result<()> {
        let gone = || Error::new(ErrorKind::ActorDied, format!("{id} has ended"));
        peer.lend_actor(id, hold.core().handle().ok_or_else(gone)?)
    }
}

/// Sends the value of an object when it is there.
struct Fill {
    peer: Weak<Peer>,
    worker: Weak<Worker>,
    object: ObjectId,
    hold: Mutex<Option<Counted<dyn Object>>>,
}

impl Listener for Fill {
    fn ready(&self, _: usize, _: bool) {
        let Some(hold) = lock(&self.hold).take() else { return };
        if let Some(worker) = self.worker.upgrade() {
            let stream = lock(&worker.streams).remove(&self.object);
            drop(stream);
        }
        let Some(peer) = self.peer.upgrade() else { return };
        let values = packed(Refs::Named, |packer| hold.pack(packer));
        if values.is_err() && hold.object().head().has_failed() {
            hold.object().head().set_seen();
        }
        let (error, values) = match values {
            Ok(values) => (None, values),
            Err(error) => (Some(error), Encoded::default()),
        };
        let object = self.object;
        let sent = peer.send(&Message::Filled { object, error }, Some(&values), When::Now);
        if let Err(error) = sent
            && !error.kind().is_of_process()
        {
            let _ = peer.send(&Message::Filled { object, error: Some(error) }, None, When::Now);
        }
    }
}

/// Items of a stream on their way to a worker that reads it.
struct Forward {
    worker: Weak<Worker>,
    object: ObjectId,
    ahead: Mutex<Ahead>,
    room: Condvar,
}

#[derive(Default)]
struct Ahead {
    count: u32,
    is_abandoned: bool,
    /// Complete once there is room, for a producer that cannot wait.
    slot: Option<Arc<Slot<()>>>,
}

impl Forward {
    fn new(worker: Weak<Worker>, object: ObjectId) -> Self {
        Self { worker, object, ahead: Mutex::default(), room: Condvar::new() }
    }

    fn taken(&self, count: u32) {
        let mut ahead = lock(&self.ahead);
        ahead.count = ahead.count.saturating_sub(count);
        let slot = if ahead.count < STREAM_AHEAD { ahead.slot.take() } else { None };
        drop(ahead);
        self.tell_room(slot);
    }

    fn abandon(&self) {
        let mut ahead = lock(&self.ahead);
        ahead.is_abandoned = true;
        let slot = ahead.slot.take();
        drop(ahead);
        self.tell_room(slot);
    }

    fn tell_room(&self, slot: Option<Arc<Slot<()>>>) {
        self.room.notify_all();
        if let Some(slot) = slot {
            slot.complete(Ok(()));
        }
    }

    fn send(&self, item: &Encoded) -> Result<()> {
        let over = || Error::new(ErrorKind::Cancelled, "nobody reads the stream any more");
        let peer = self.worker.upgrade().and_then(|worker| worker.peer_now()).ok_or_else(over)?;
        peer.send(&Message::Yielded { object: self.object }, Some(item), When::Now)
    }
}

impl Items for Forward {
    fn push(&self, item: Encoded) -> Result<()> {
        let over = || Error::new(ErrorKind::Cancelled, "nobody reads the stream any more");
        let mut ahead = lock(&self.ahead);
        while ahead.count >= STREAM_AHEAD && !ahead.is_abandoned && runtime::may_block().is_ok() {
            if crate::runtime::with_frame(|frame| frame.call().is_some_and(|call| call.head().is_cancelled()))
            {
                return Err(over());
            }
            let waited = self.room.wait_timeout(ahead, Duration::from_millis(20));
            ahead = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        if ahead.is_abandoned {
            return Err(over());
        }
        ahead.count += 1;
        drop(ahead);
        self.send(&item)
    }

    fn hand_on(&self, item: Encoded) -> Result<Option<Arc<dyn Object>>> {
        static ROOM: Definition = Definition::internal("room in a stream");
        let mut ahead = lock(&self.ahead);
        ahead.count += 1;
        let is_full = ahead.count >= STREAM_AHEAD && !ahead.is_abandoned;
        let room = is_full.then(|| ahead.slot.get_or_insert_with(|| Slot::empty(&ROOM)).clone());
        drop(ahead);
        self.send(&item)?;
        Ok(room.map(|room| -> Arc<dyn Object> { room }))
    }
}
