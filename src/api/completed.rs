//! [`as_completed`]: refs in the order in which they are there.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;

use super::object::{ObjectRef, WaitList};
use crate::error::{Error, Result};
use crate::event::WaitReason;
use crate::runtime::{self, Waiting, Wanted};
use crate::spec::Definition;
use crate::store::{Listener, Object, Slot, Waiter};
use crate::value::Value;

static SIGNAL: Definition = Definition::internal("as_completed");

/// Where those that are there queue up, and who waits for the next.
#[derive(Default)]
struct Queue {
    there: VecDeque<usize>,
    signal: Option<Arc<Slot<()>>>,
    waker: Option<Waker>,
}

#[derive(Default)]
struct Shared(Mutex<Queue>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for Shared {
    fn ready(&self, token: usize, _: bool) {
        let mut queue = self.lock();
        queue.there.push_back(token);
        let (signal, waker) = (queue.signal.take(), queue.waker.take());
        drop(queue);
        if let Some(signal) = signal {
            signal.complete(Ok(()));
        }
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Refs in order of completion; an [`Iterator`] that blocks, and a [`Stream`] that does not.
pub struct Completed<T: Value> {
    shared: Arc<Shared>,
    refs: Vec<Option<ObjectRef<T>>>,
    left: usize,
    /// While a future waits for the next one.
    waiting: Option<Waiting>,
}

/// Yields each ref once its value (or failure) is there, the first one first.
///
/// Iterating blocks as [`ObjectRef::get`] does; where that is refused (on a thread that async calls
/// share, or because the value waits for the caller) the ref that is yielded has failed with the reason.
pub fn as_completed<T: Value>(refs: impl WaitList<T>) -> Completed<T> {
    let mut completed = Completed { shared: Arc::default(), refs: Vec::new(), left: 0, waiting: None };
    for object in refs.into_refs() {
        completed.push(object);
    }
    completed
}

impl<T: Value> Completed<T> {
    /// The values themselves, as an iterator that blocks; a failure comes where the failed ref would, as
    /// [`ObjectRef::get`] would tell it.
    pub fn values(self) -> impl Iterator<Item = Result<T>>
    where
        T: Clone,
    {
        self.map(ObjectRef::take_or_clone)
    }

    /// One more ref to yield when it is there, also after the last one was yielded.
    pub fn push(&mut self, object: ObjectRef<T>) {
        let waiter = Waiter { listener: self.shared.clone(), token: self.refs.len() };
        if let Some(waiter) = object.slot().head().listen(waiter) {
            self.shared.lock().there.push_back(waiter.token);
        }
        self.refs.push(Some(object));
        self.left += 1;
    }

    fn yielded(&mut self, index: usize) -> Option<ObjectRef<T>> {
        self.left -= 1;
        self.refs[index].take()
    }

    /// Gives up on what is left: one failed ref, then the end.
    fn refuse(&mut self, error: Error) -> ObjectRef<T> {
        self.left = 0;
        ObjectRef::failed(&SIGNAL, error)
    }

    fn reason(&self) -> WaitReason {
        let first = self.refs.iter().flatten().find(|object| !object.slot().head().is_complete());
        let of = first.map_or("", |object| object.slot().head().definition().name);
        WaitReason::Results { of, calls: self.left }
    }

    fn pending(&self) -> Vec<Arc<dyn Object>> {
        self.refs.iter().flatten().map(ObjectRef::object).collect()
    }
}

impl<T: Value> Iterator for Completed<T> {
    type Item = ObjectRef<T>;

    fn next(&mut self) -> Option<ObjectRef<T>> {
        if self.left == 0 {
            return None;
        }
        if let Err(error) = runtime::may_block() {
            return Some(self.refuse(error));
        }
        loop {
            let mut queue = self.shared.lock();
            if let Some(index) = queue.there.pop_front() {
                drop(queue);
                return self.yielded(index);
            }
            let signal = Slot::empty(&SIGNAL);
            queue.signal = Some(signal.clone());
            drop(queue);
            let wanted = Wanted { count: 1, or_failure: false, until: None };
            let told = runtime::wait_on(&[signal], wanted, || self.reason(), 1, || self.pending());
            if let Err(error) = told {
                return Some(self.refuse(error));
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<T: Value> Stream for Completed<T> {
    type Item = ObjectRef<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<ObjectRef<T>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.waiting = None;
        let shared = self.shared.clone();
        let mut queue = shared.lock();
        if let Some(index) = queue.there.pop_front() {
            drop(queue);
            return Poll::Ready(self.yielded(index));
        }
        queue.waker = Some(cx.waker().clone());
        drop(queue);
        self.waiting = Some(runtime::begin_wait(self.reason()));
        Poll::Pending
    }
}

impl<T: Value> Drop for Completed<T> {
    fn drop(&mut self) {
        let listener = Arc::as_ptr(&self.shared).cast();
        for object in self.refs.iter().flatten() {
            object.slot().head().unlisten(listener);
        }
    }
}

impl<T: Value> std::fmt::Debug for Completed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Completed({} left)", self.left)
    }
}
