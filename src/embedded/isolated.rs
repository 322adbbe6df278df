//! A task in a process of its own: the pool member that runs it stands for it here.

use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crossbeam::channel::{self, Receiver, RecvTimeoutError, Sender};

use super::pauses::Pauses;
use super::worker::{Guest, News, Worker};
use super::workforce::{Kind, with_names};
use super::{Embedded, shutdown};
use crate::error::Result;
use crate::executor::{Courier, Outcome, caught, packed};
use crate::id::{CallerId, NodeId};
use crate::protocol::{Leased, Message, Told};
use crate::runtime::{Base, Lease, with_frame};
use crate::store::{Listener, Object, Started, Waiter};
use crate::transport::{Load, Peer, When};
use crate::value::Refs;

/// How a function of this kind is run.
pub(super) struct Isolated {
    pub(super) host: Weak<Embedded>,
    pub(super) kind: Kind,
    /// After how many calls a worker goes.
    pub(super) max_calls: Option<u32>,
}

/// What a member of the pool waits for, and what others must know of it.
struct Agent {
    news: Sender<News>,
    call: Arc<dyn Object>,
    lease: Option<Arc<Lease>>,
    worker: crate::id::WorkerId,
}

impl Guest for Agent {
    fn news(&self, worker: &Arc<Worker>, _: u64, news: News) {
        if let Err(channel::SendError(news)) = self.news.send(news) {
            worker.dismiss(&news);
        }
    }

    fn stand_in(&self, _: u64) -> Option<(Arc<dyn Object>, Base)> {
        let base = Base { lease: self.lease.clone(), worker: Some(self.worker), ..Base::default() };
        Some((self.call.clone(), base))
    }
}

impl Listener for Agent {
    fn ready(&self, _: usize, _: bool) {
        let _ = self.news.send(News::Completed);
    }
}

/// What a lease holds, for the worker to say.
pub(super) fn leased(lease: Option<&Arc<Lease>>) -> Leased {
    lease.map_or_else(Leased::default, |lease| {
        let grant = lease.lock();
        Leased { resources: grant.resources.clone(), gpus: grant.gpus.clone() }
    })
}

impl Courier for Isolated {
    fn attempt(&self, call: &mut Started, number: u32) -> Outcome {
        let Some(host) = self.host.upgrade() else { return Outcome::Failed(shutdown()) };
        let name = call.object().head().definition().name;
        let lease = with_frame(|frame| frame.base().lease.clone());
        let mut kind = self.kind.clone();
        kind.gpus = leased(lease.as_ref()).gpus.iter().map(|(id, _)| *id).collect();
        let worker = host.workforce().take(&host, &kind, name);
        let outcome = run(&host, &worker, call, number, lease.as_ref());
        let used = worker.used.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        if self.max_calls.is_some_and(|most| used >= u64::from(most)) {
            worker.leave();
        } else {
            host.workforce().put_back(worker, kind, host.now());
        }
        match outcome {
            Ok(()) => Outcome::Done,
            Err(error) => Outcome::Failed(error.at(name, NodeId(0), number)),
        }
    }
}

fn run(
    host: &Arc<Embedded>,
    worker: &Arc<Worker>,
    call: &mut Started,
    attempt: u32,
    lease: Option<&Arc<Lease>>,
) -> Result<()> {
    let peer = worker.peer()?;
    let args = packed(Refs::Resolved, |packer| call.pack(packer))?;
    let (sender, inbox) = channel::unbounded();
    let object = call.object().clone();
    let agent =
        Arc::new(Agent { news: sender, call: object.clone(), lease: lease.cloned(), worker: worker.id() });
    let number = worker.enter(agent.clone())?;
    let function = object.head().definition().key();
    let caller = object.head().caller().unwrap_or(CallerId::Driver(host.identity.job));
    let run = Message::Run { call: number, function, caller, attempt, lease: leased(lease) };
    let sent = peer.send(&run, Some(&args), When::Now);
    drop(args);
    if let Err(error) = sent
        && error.kind().is_of_message()
    {
        worker.leave_call(number);
        return Err(error);
    }
    let waiter = Waiter { listener: agent.clone(), token: 0 };
    if object.head().listen(waiter).is_some() {
        agent.ready(0, true);
    }
    let pauses = Pauses::default();
    let mut attempt = Attempt { host, worker, call, object: &object, nth: attempt, number, inbox, pauses };
    let outcome = attempt.wait();
    attempt.pauses.end(worker, &object, &own_base());
    object.head().unlisten(Arc::as_ptr(&agent).cast());
    worker.leave_call(number);
    outcome
}

struct Attempt<'a> {
    host: &'a Arc<Embedded>,
    worker: &'a Arc<Worker>,
    call: &'a mut Started,
    object: &'a Arc<dyn Object>,
    /// Which of the call it is.
    nth: u32,
    /// By the worker's count.
    number: u64,
    inbox: Receiver<News>,
    pauses: Pauses,
}

impl Attempt<'_> {
    /// Waits until the code has returned, or its process is gone.
    fn wait(&mut self) -> Result<()> {
        let mut outcome = None;
        let mut kill_at: Option<Instant> = None;
        loop {
            let news = match kill_at {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self.inbox.recv_deadline(at),
            };
            match news {
                Ok(News::Done { error, load, is_over }) => {
                    let call = &*self.call;
                    let deposit = || with_names(load.names(), || call.deposit(&mut load.unpacker()));
                    let value = error.map_or_else(|| caught(deposit), Err);
                    if is_over {
                        return value;
                    }
                    outcome = Some(value);
                }
                Ok(News::Over) => return outcome.unwrap_or(Ok(())),
                Ok(News::Gone(error)) => return outcome.unwrap_or(Err(error)),
                Ok(News::Item(load)) => self.feed(&load),
                Ok(News::Pause { ticket, on, needed, blocks }) => {
                    let token = self.worker.pause(self.object, &own_base(), &on, needed, blocks);
                    if let Ok(token) = token {
                        self.pauses.note(token, blocks);
                    }
                    self.worker.reply(ticket, token.map(Told::Token));
                }
                Ok(News::Resume { ticket, token, blocks }) => {
                    self.pauses.forget(token);
                    self.worker.resume(self.object, &own_base(), token, blocks);
                    self.worker.reply(ticket, Ok(Told::Done));
                }
                Ok(News::Completed) => {
                    if self.object.head().is_complete() && kill_at.is_none() {
                        self.worker.cancel(self.number, self.object.error().cloned());
                        kill_at = Some(Instant::now() + self.host.settings.grace);
                    }
                }
                Ok(News::Begun) => {}
                Err(RecvTimeoutError::Timeout) => {
                    // It was told, and goes on: what is in a process of its own can be ended.
                    self.worker.kill();
                    kill_at = Some(Instant::now() + Duration::from_hours(1));
                }
                Err(RecvTimeoutError::Disconnected) => return Err(shutdown()),
            }
        }
    }

    fn feed(&mut self, load: &Load) {
        // What comes after the end of a stream is nobody's.
        if self.object.head().is_complete() {
            return;
        }
        let fed = caught(|| with_names(load.names(), || self.call.feed(&mut load.unpacker())));
        match (fed, self.worker.peer_now()) {
            (Ok(room), Some(peer)) => acknowledge(&peer, self.number, room),
            (Ok(_), None) => {}
            // As of any call that is over: its code is told to stop, and is waited for.
            (Err(error), _) => {
                let name = self.object.head().definition().name;
                self.object.fail(error.at(name, NodeId(0), self.nth));
            }
        }
    }
}

/// That of the pool member which stands for the call on this thread.
fn own_base() -> Rc<Base> {
    with_frame(|frame| frame.base().clone())
}

/// Tells the producer of a stream that an item was taken, once there is room for more.
pub(super) fn acknowledge(peer: &Arc<Peer>, call: u64, room: Option<Arc<dyn Object>>) {
    struct Room(Weak<Peer>, u64);
    impl Listener for Room {
        fn ready(&self, _: usize, _: bool) {
            if let Some(peer) = self.0.upgrade() {
                let _ = peer.send(&Message::Taken { call: self.1, count: 1 }, None, When::Now);
            }
        }
    }
    let listener = Arc::new(Room(Arc::downgrade(peer), call));
    match room {
        None => listener.ready(0, false),
        Some(room) => {
            if let Some(waiter) = room.head().listen(Waiter { listener, token: 0 }) {
                waiter.listener.ready(0, false);
            }
        }
    }
}
