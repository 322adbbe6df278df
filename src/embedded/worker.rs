//! One worker process, as its parent has it.
//!
//! ```text
//! start ──► a thread of its own: spawn, Welcome ──► Hello ──► reads until the process is gone
//! guests ── the calls that run there: each is told what comes for it
//! requests ── what the worker's own code asks for
//! ```

mod requests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use requests::{Forward, find_object};

use super::{Embedded, lock, shutdown};
use crate::error::{Error, ErrorKind, Result};
use crate::executor;
use crate::id::{ActorId, ObjectId, WorkerId};
use crate::process::{Ending, Launch, Process};
use crate::protocol::{Gate, Message, Told, VERSION};
use crate::runtime::{ActorRef, Base, Pause, Runtime};
use crate::store::{self, BoardSlot, Counted, Mark, Object};
use crate::transport::{self, Load, Naming, Peer, Receiver, When};

/// How long a worker may take until it says its first word.
const HELLO_MAX: Duration = Duration::from_secs(20);
/// How long what a worker has said may take to be heard, by who waits for that.
const HEARD_MAX: Duration = Duration::from_millis(500);

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

impl News {
    /// What answers a call of which nobody knows any more: it goes on.
    fn answer_of_nobody(&self) -> Option<(u64, Told)> {
        match self {
            Self::Pause { ticket, .. } => Some((*ticket, Told::Token(0))),
            Self::Resume { ticket, .. } => Some((*ticket, Told::Done)),
            Self::Done { .. }
            | Self::Over
            | Self::Begun
            | Self::Item(_)
            | Self::Gone(_)
            | Self::Completed => None,
        }
    }
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
    /// What its lines of output are marked with, if that was said before it was there.
    output_mark: Mutex<Option<Box<str>>>,
    /// What the worker's actor looks at before each call: a [`Gate`].
    gate: OnceLock<Mark>,
    cancelling: Mutex<()>,
    /// How often it has said that a call begins.
    begun: AtomicU64,
    /// Where it counts what it has of the object store.
    slot: Mutex<Option<BoardSlot>>,
    /// The thread that hears it.
    reader: OnceLock<ThreadId>,
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
            output_mark: Mutex::default(),
            gate: OnceLock::new(),
            cancelling: Mutex::default(),
            begun: AtomicU64::new(0),
            slot: Mutex::default(),
            reader: OnceLock::new(),
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
        let mut wanted = lock(&self.output_mark);
        match self.process.get() {
            Some(process) => process.set_mark(mark),
            // It is on its way, and will be marked when it is there.
            None => *wanted = Some(mark.into()),
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
            gate.set_bits(Gate::SHUT);
        }
    }

    /// Tells a call to stop; it does not begin after this. With the error that it has come to, if nobody waits
    /// for its result any more.
    pub(super) fn cancel(&self, call: u64, error: Option<Error>) {
        let Some(peer) = self.peer_now() else { return };
        // One at a time, so that they go in the order of their numbers.
        let _turn = lock(&self.cancelling);
        let number = self.gate.get().map_or(0, |gate| Gate::of(gate.add(Gate::CANCEL)).cancels);
        let send = |error| peer.send(&Message::Cancel { call, error, number }, None, When::Now);
        // The worker waits for the word. A process that is gone has stopped.
        if send(error).is_err_and(|error| error.kind() == ErrorKind::Encode) {
            let _ = send(Some(Error::new(
                ErrorKind::Cancelled,
                "the call is over, with an error too large to send",
            )));
        }
    }

    /// Waits a moment for what the worker has said of calls that began. Not for its own reader, who hears it.
    pub(super) fn hear_begun(&self) {
        let Some(peer) = self.peer_now() else { return };
        let has_heard = || peer.mark().is_none_or(|mark| self.begun.load(Ordering::Acquire) >= mark);
        let is_reader = || self.reader.get() == Some(&std::thread::current().id());
        if has_heard() || is_reader() {
            return;
        }
        let start = Instant::now();
        while !crate::runtime::spin(has_heard) && start.elapsed() < HEARD_MAX && !self.is_gone() {
            std::thread::sleep(Duration::from_micros(50));
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
        for call in calls {
            self.cancel(call, None);
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
        let _ = self.reader.set(std::thread::current().id());
        store::hurry();
        match self.begin(launch) {
            Ok((peer, mut receiver)) => {
                ready(&self);
                // Whatever happens to its reader, those who wait for the process are told.
                let read = executor::guard(|| self.read_all(&peer, &mut receiver));
                let why = read.unwrap_or_else(Some);
                peer.sender().close();
                let ending = self.end_process(why.is_some());
                let error = self.crash(ending, why);
                self.gone(&error);
                peer.end();
                store::arena().detach(self.id);
                self.leave_store();
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
        let process = host.workforce().spawner()?.spawn(launch)?;
        let stream = process.take_stream().expect("nobody else has taken it");
        let secret = process.secret().to_owned();
        let wanted = lock(&self.output_mark);
        if let Some(mark) = &*wanted {
            process.set_mark(mark);
        }
        let _ = self.process.set(process);
        drop(wanted);
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
        self.show_board(&host, &peer)?;
        receiver.offer_rings();
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

    /// What the process had of the object store is free, and what it had spilled is gone.
    fn leave_store(&self) {
        let slot = lock(&self.slot).take();
        drop(slot);
        if let Some(pid) = self.pid() {
            store::files().sweep(pid);
        }
    }

    /// Has the worker count what it has of the object store beside the others.
    fn show_board(&self, host: &Arc<Embedded>, peer: &Arc<Peer>) -> Result<()> {
        // Without memory for that it counts by itself.
        let Some(boards) = host.workforce().boards() else { return Ok(()) };
        let slot = boards.slot();
        let shown = peer.show_board(&boards, slot.index(), host.settings.store.wait);
        *lock(&self.slot) = Some(slot);
        shown
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
            embedded.workforce().remove(self.id);
        }
        for (call, guest) in guests {
            guest.news(&this, call, News::Gone(error.clone()));
        }
        if let Some(host) = host {
            host.news(&this, 0, News::Gone(error.clone()));
        }
        let streams = std::mem::take(&mut *lock(&self.streams));
        for stream in streams.into_values() {
            stream.window.close();
        }
    }

    fn handle(self: &Arc<Self>, peer: &Arc<Peer>, message: Message, load: Load) -> Result<()> {
        match message {
            Message::Done { call, error, is_over } => self.tell(call, News::Done { error, load, is_over }),
            Message::Over { call } => self.tell(call, News::Over),
            Message::Begun { call } => {
                self.tell(call, News::Begun);
                self.begun.fetch_add(1, Ordering::AcqRel);
            }
            Message::Item { call } => self.tell(call, News::Item(load)),
            message @ (Message::Rebuilt | Message::Ended { .. }) => {
                let host = lock(&self.calls).host.clone();
                if let Some(host) = host {
                    host.of_actor(self, message);
                }
            }
            Message::Returned { extents, objects, actors } => peer.returned(extents, objects, actors)?,
            Message::Forget { segments } => peer.forgotten(&segments)?,
            Message::Vacated { segments } => peer.vacated(&segments)?,
            Message::Goodbye => self.is_leaving.store(true, Ordering::Release),
            Message::Ask { ticket, question } => self.answer(peer, ticket, question)?,
            message => self.handle_call(peer, message, &load)?,
        }
        Ok(())
    }

    fn tell(self: &Arc<Self>, call: u64, news: News) {
        match self.guest(call) {
            Some(guest) => guest.news(self, call, news),
            None => self.dismiss(&news),
        }
    }

    /// News for nobody: who waits for an answer gets one.
    pub(super) fn dismiss(&self, news: &News) {
        if let Some((ticket, told)) = news.answer_of_nobody() {
            self.reply(ticket, Ok(told));
        }
    }

    /// Answers what the worker asked; a process that is gone waits for nothing.
    pub(super) fn reply(&self, ticket: u64, answer: Result<Told>) {
        if let Some(peer) = self.peer_now() {
            let _ = peer.send(&Message::Answer { ticket, answer }, None, When::Now);
        }
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
