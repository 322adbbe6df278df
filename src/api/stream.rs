//! [`ObjectStream`]: results one by one, while their producer still runs.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::arg::Args;
use super::call::complete;
use super::object::ObjectRef;
use crate::error::{Error, ErrorKind, Result};
use crate::event::WaitReason;
use crate::registry::Items;
use crate::runtime::{self, Waiting, Wanted};
use crate::spec::Definition;
use crate::store::{self, Job, Listener, Object, Progress, Seat, Slot, Waiter};
use crate::value::{Packer, Refs, Unpacker, Value};

/// Items that a producer may be ahead of its consumer.
const AHEAD_MAX: usize = 1_000;

struct State<T> {
    items: VecDeque<T>,
    has_ended: bool,
    is_abandoned: bool,
    /// Completed when an item comes, for a consumer that blocks.
    signal: Option<Arc<Slot<()>>>,
    waker: Option<Waker>,
    /// Completed when there is room, for a producer that is far ahead.
    room: Option<Arc<Slot<()>>>,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    definition: &'static Definition,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and tells the consumer.
    fn change(&self, change: impl FnOnce(&mut State<T>)) {
        let mut state = self.lock();
        change(&mut state);
        let (signal, waker) = (state.signal.take(), state.waker.take());
        drop(state);
        if let Some(signal) = signal {
            signal.complete(Ok(()));
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Tells the producer that there is room, or that nobody reads.
    fn make_room(&self) {
        let room = self.lock().room.take();
        if let Some(room) = room {
            room.complete(Ok(()));
        }
    }

    /// Waits, as a producer, while the consumer is far behind; `Cancelled` if nobody reads.
    fn wait_for_room(&self) -> Result<()> {
        loop {
            let mut state = self.lock();
            if state.is_abandoned || state.has_ended {
                return Err(Error::new(ErrorKind::Cancelled, "nobody reads the stream any more"));
            }
            // Nothing may block on a shared thread: there the stream is not bounded.
            if state.items.len() < AHEAD_MAX || runtime::may_block().is_err() {
                return Ok(());
            }
            let room = Slot::empty(self.definition);
            state.room = Some(room.clone());
            drop(state);
            let wanted = Wanted { count: 1, or_failure: false, until: None };
            let reason = || WaitReason::Reader { of: self.definition.name };
            runtime::wait_on(&[room], wanted, reason, 0, Vec::new)?;
        }
    }
}

/// The producer's call has ended, in whichever way.
impl<T: Send> Listener for Shared<T> {
    fn ready(&self, _: usize, _: bool) {
        self.change(|state| state.has_ended = true);
        self.make_room();
    }
}

/// The results of a remote function or method that returns an iterator, as refs that are there.
///
/// An [`Iterator`] that blocks and a [`Stream`] that does not. A producer is at most 1,000 items ahead.
/// If it fails, the last ref yielded has failed; it is not tried again once it has yielded. Dropping the stream cancels the producer.
pub struct ObjectStream<T: Send + Sync + 'static> {
    definition: &'static Definition,
    shared: Arc<Shared<T>>,
    producer: Option<ObjectRef<()>>,
    is_over: bool,
    /// While a future waits for the next item.
    waiting: Option<Waiting>,
}

/// Where a producer puts its items.
pub struct Sink<T>(Outlet<T>);

enum Outlet<T> {
    Here(Arc<Shared<T>>),
    /// The reader is in another process.
    Away(Arc<dyn Items>),
}

impl<T: Value> Sink<T> {
    /// Where items go to another process.
    pub(super) fn away(items: Arc<dyn Items>) -> Self {
        Self(Outlet::Away(items))
    }

    /// Hands all items to the consumer, waiting while it is far behind.
    pub fn drain(&mut self, items: impl Iterator<Item = T>) -> Result<()> {
        for item in items {
            match &self.0 {
                Outlet::Here(shared) => {
                    shared.wait_for_room()?;
                    shared.change(|state| state.items.push_back(item));
                }
                Outlet::Away(reader) => {
                    let mut packer = Packer::new(Refs::Named, store::place);
                    packer.value(&item)?;
                    reader.push(packer.finish())?;
                }
            }
        }
        Ok(())
    }

    /// Hands on an item that came from another process; whoever sends minds how far ahead it is.
    fn feed(&self, item: &mut Unpacker<'_>) -> Result<Option<Arc<dyn Object>>> {
        let item: T = item.value()?;
        let shared = match &self.0 {
            Outlet::Here(shared) => shared,
            Outlet::Away(reader) => {
                let mut packer = Packer::new(Refs::Named, store::place);
                packer.value(&item)?;
                return reader.hand_on(packer.finish());
            }
        };
        shared.change(|state| state.items.push_back(item));
        let mut state = shared.lock();
        if state.items.len() < AHEAD_MAX || state.is_abandoned {
            return Ok(None);
        }
        let room = state.room.get_or_insert_with(|| Slot::empty(shared.definition)).clone();
        Ok(Some(room))
    }
}

impl<T: Value> ObjectStream<T> {
    pub(super) fn new(definition: &'static Definition) -> (Self, Sink<T>) {
        let state = State {
            items: VecDeque::new(),
            has_ended: false,
            is_abandoned: false,
            signal: None,
            waker: None,
            room: None,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), definition });
        let sink = Sink(Outlet::Here(shared.clone()));
        (Self { definition, shared, producer: None, is_over: false, waiting: None }, sink)
    }

    /// Ends when the producer's call does.
    pub(super) fn produced_by(mut self, producer: ObjectRef<()>) -> Self {
        let waiter = Waiter { listener: self.shared.clone(), token: 0 };
        if let Some(waiter) = producer.slot().head().listen(waiter) {
            waiter.listener.ready(0, false);
        }
        self.producer = Some(producer);
        self
    }

    /// The items themselves, as an iterator that blocks; a failure comes where the failed ref would, as
    /// [`ObjectRef::get`] would tell it.
    pub fn values(self) -> impl Iterator<Item = Result<T>>
    where
        T: Clone,
    {
        self.map(ObjectRef::take_or_clone)
    }

    fn next_now(&mut self, state: &mut State<T>) -> Poll<Option<ObjectRef<T>>> {
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Some(ObjectRef::new(Slot::full(self.definition, item))));
        }
        if !state.has_ended {
            return Poll::Pending;
        }
        self.is_over = true;
        let error = self.producer.as_ref().and_then(ObjectRef::failure);
        Poll::Ready(error.map(|error| ObjectRef::failed(self.definition, error)))
    }

    fn refuse(&mut self, error: Error) -> ObjectRef<T> {
        self.is_over = true;
        ObjectRef::failed(self.definition, error)
    }
}

impl<T: Value> Iterator for ObjectStream<T> {
    type Item = ObjectRef<T>;

    fn next(&mut self) -> Option<ObjectRef<T>> {
        if self.is_over {
            return None;
        }
        if let Err(error) = runtime::may_block() {
            return Some(self.refuse(error));
        }
        loop {
            let shared = self.shared.clone();
            let mut state = shared.lock();
            if let Poll::Ready(next) = self.next_now(&mut state) {
                drop(state);
                shared.make_room();
                return next;
            }
            let signal = Slot::empty(self.definition);
            state.signal = Some(signal.clone());
            drop(state);
            let producer = || self.producer.iter().map(ObjectRef::object).collect();
            let wanted = Wanted { count: 1, or_failure: false, until: None };
            let reason = || WaitReason::Items { of: self.definition.name };
            if let Err(error) = runtime::wait_on(&[signal], wanted, reason, 1, producer) {
                return Some(self.refuse(error));
            }
        }
    }
}

impl<T: Value> Stream for ObjectStream<T> {
    type Item = ObjectRef<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ObjectRef<T>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.waiting = None;
        let shared = self.shared.clone();
        let mut state = shared.lock();
        if let Poll::Ready(next) = self.next_now(&mut state) {
            drop(state);
            shared.make_room();
            return Poll::Ready(next);
        }
        state.waker = Some(cx.waker().clone());
        drop(state);
        self.waiting = Some(runtime::begin_wait(WaitReason::Items { of: self.definition.name }));
        Poll::Pending
    }
}

impl<T: Send + Sync + 'static> Drop for ObjectStream<T> {
    fn drop(&mut self) {
        let items = {
            let mut state = self.shared.lock();
            state.is_abandoned = true;
            std::mem::take(&mut state.items)
        };
        drop(items);
        self.shared.make_room();
        if let Some(producer) = &self.producer {
            let object: Arc<dyn Object> = producer.object();
            if !object.head().is_complete() {
                object.cancel(&Error::new(ErrorKind::Cancelled, "nobody reads the stream any more"));
            }
        }
    }
}

impl<T: Send + Sync + 'static> fmt::Debug for ObjectStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectStream(`{}`)", self.definition.name)
    }
}

/// The call of a producer. It runs once: what was yielded cannot be taken back.
pub(super) struct StreamJob<T, A, F> {
    sink: Option<Sink<T>>,
    args: Option<A>,
    code: F,
    is_exclusive: bool,
}

impl<T: Value, A: Args, F> StreamJob<T, A, F>
where
    F: Fn(Seat<'_>, A, &mut Sink<T>) -> Result<()> + Send,
{
    pub(super) fn new(sink: Sink<T>, args: A, is_exclusive: bool, code: F) -> Self {
        Self { sink: Some(sink), args: Some(args), code, is_exclusive }
    }
}

impl<T: Value, A: Args, F> Job for StreamJob<T, A, F>
where
    F: Fn(Seat<'_>, A, &mut Sink<T>) -> Result<()> + Send + 'static,
{
    fn attempt(this: &mut Option<Self>, slot: &Arc<dyn Object>, seat: Seat<'_>, _: bool) -> Progress {
        let Some(Self { sink: Some(mut sink), args: Some(args), code, .. }) = this.take() else {
            return Progress::Failed(Error::new(ErrorKind::Unsupported, "a stream cannot be produced twice"));
        };
        complete(slot, code(seat, args, &mut sink))
    }

    fn is_exclusive(&self) -> bool {
        self.is_exclusive
    }

    fn bytes(&self) -> usize {
        self.args.as_ref().map_or(0, Args::bytes) + size_of::<Slot<()>>()
    }

    fn pack(&self, packer: &mut Packer) -> Result<()> {
        self.args.as_ref().map_or(Ok(()), |args| args.pack(packer))
    }

    fn feed(&self, item: &mut Unpacker<'_>) -> Result<Option<Arc<dyn Object>>> {
        self.sink.as_ref().map_or(Ok(None), |sink| sink.feed(item))
    }
}
