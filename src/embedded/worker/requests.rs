//! What a worker's own code asks for: its calls, its actors, its questions.
//!
//! ```text
//! Submit, Post, Create ──► opened by the registry ──► the runtime, in the name of the call that made them
//! Filled ◄── the value, when it is there          Yielded ◄── each item of a stream
//! ```
//!
//! Everything is done on the worker's thread, in the order in which it was asked for.

use std::rc::Rc;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::super::workforce::{self, with_names};
use super::super::{Embedded, lock, shutdown};
use super::{News, Worker};
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{caught, packed};
use crate::id::{ActorId, CallerId, ObjectId};
use crate::protocol::{Message, Said, Told};
use crate::registry::{self, Entry, Items, Opening};
use crate::runtime::{self, ActorRef, Answer, Creation, Frame, Question, Runtime, Task};
use crate::spec::{Definition, Options};
use crate::store::{self, Counted, Listener, Object, Slot, Waiter};
use crate::transport::{Load, Peer, When, Window};
use crate::value::{Encoded, Refs};

/// A call that came as bytes, and what it needs before it starts.
type Opened = (Arc<dyn Object>, Vec<Arc<dyn Object>>);

impl Worker {
    /// Handles what the worker's own calls are about.
    pub(super) fn handle_call(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        message: Message,
        load: &Load,
    ) -> Result<()> {
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
                    stream.window.taken(count);
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
            Message::Relieve { bytes } => {
                store::relieve(bytes);
                host.workforce().relieve_all_but(Some(self.id()), bytes);
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
        let forward = Arc::new(Forward { worker: self.me.clone(), object, window: Window::default() });
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

    pub(super) fn answer(self: &Arc<Self>, peer: &Arc<Peer>, ticket: u64, question: Said) -> Result<()> {
        let host = self.host.upgrade().ok_or_else(shutdown)?;
        let answer = match question {
            Said::Pause { call, on, needed, blocks } => {
                self.tell(call, News::Pause { ticket, on, needed: needed as usize, blocks });
                return Ok(());
            }
            Said::Resume { call, token, blocks } => {
                self.tell(call, News::Resume { ticket, token, blocks });
                return Ok(());
            }
            Said::Kill(actor) => {
                // One that is gone is as dead as was asked for.
                find_actor(peer, &host, actor)
                    .map_or(Ok(()), |actor| host.ask(Question::Kill(actor.core())).map(drop))
                    .map(|()| Told::Done)
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
                let no_thread = |error| {
                    let text = format!("the system gives no more threads: {error}");
                    Error::new(ErrorKind::TooManyThreads, text)
                };
                let thread = std::thread::Builder::new().name("mobula-end".into()).spawn(end);
                thread.map(|_| Told::Done).map_err(no_thread)
            }
            Said::SpillDirectory => store::files()
                .directory()
                .map(Told::Directory)
                .map_err(|error| Error::new(ErrorKind::Io, error.to_string())),
            Said::Nodes => host.ask(Question::Nodes).map(|answer| match answer {
                Answer::Nodes(nodes) => {
                    Told::Nodes(nodes.into_iter().map(|node| (node.id, node.total, node.free)).collect())
                }
                _ => Told::Done,
            }),
        };
        peer.send(&Message::Answer { ticket, answer }, None, When::Now)
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
pub(super) fn find_object(peer: &Peer, host: &Embedded, id: ObjectId) -> Option<Counted<dyn Object>> {
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
            && error.kind().is_of_message()
        {
            let _ = peer.send(&Message::Filled { object, error: Some(error) }, None, When::Now);
        }
    }
}

/// The way of a stream's items to a worker that reads it.
pub(super) struct Forward {
    worker: Weak<Worker>,
    object: ObjectId,
    pub(super) window: Window,
}

impl Forward {
    fn send(&self, item: &Encoded) -> Result<()> {
        let over = || Error::new(ErrorKind::Cancelled, "nobody reads the stream any more");
        let peer = self.worker.upgrade().and_then(|worker| worker.peer_now()).ok_or_else(over)?;
        peer.send(&Message::Yielded { object: self.object }, Some(item), When::Now)
    }
}

impl Items for Forward {
    fn push(&self, item: Encoded) -> Result<()> {
        self.window.enter()?;
        self.send(&item)
    }

    fn hand_on(&self, item: Encoded) -> Result<Option<Arc<dyn Object>>> {
        let room = self.window.enter_now();
        self.send(&item)?;
        Ok(room)
    }
}
