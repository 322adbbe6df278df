//! The threads and futures of this process that wait now, each with its reason.
//!
//! Who waits is about to park, which costs a hundred times more than to say so here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::frame::with_frame;
use crate::event::{Wait, WaitReason};
use crate::store::Object;

#[derive(Default)]
struct Book {
    next: u64,
    waits: BTreeMap<u64, (&'static str, WaitReason, Instant)>,
}

static BOOK: Mutex<Book> = Mutex::new(Book { next: 0, waits: BTreeMap::new() });

fn lock() -> MutexGuard<'static, Book> {
    BOOK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A wait that lasts as long as this.
#[derive(Debug)]
pub(crate) struct Waiting(u64);

impl Waiting {
    /// `who` waits from now on; `None` is a thread that runs no call.
    pub(crate) fn begin(who: Option<&Arc<dyn Object>>, reason: WaitReason) -> Self {
        let who = who.map_or("driver", |call| call.head().definition().name);
        let since = Instant::now();
        let mut book = lock();
        book.next += 1;
        let key = book.next;
        book.waits.insert(key, (who, reason, since));
        Self(key)
    }
}

/// The call that runs on this thread, or the driver, waits from now on.
pub(crate) fn begin_wait(reason: WaitReason) -> Waiting {
    let call = with_frame(|frame| frame.call().cloned());
    Waiting::begin(call.as_ref(), reason)
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let gone = lock().waits.remove(&self.0);
        drop(gone);
    }
}

/// All waits of threads and futures, the oldest first.
pub(crate) fn all_waiting() -> Vec<Wait> {
    let of = |(who, reason, since): &(&'static str, WaitReason, Instant)| Wait {
        waited: Some(since.elapsed()),
        ..Wait::new(*who, reason.clone())
    };
    lock().waits.values().map(of).collect()
}

/// What is not there of `objects`: what makes the first, and how many; `None` if all are there.
pub(crate) fn missing(objects: &[Arc<dyn Object>]) -> Option<(&'static str, usize)> {
    let mut missing = objects.iter().filter(|object| !object.head().is_complete());
    let first = missing.next()?;
    Some((first.head().definition().name, 1 + missing.count()))
}

/// The reason of who waits for `objects`.
pub(crate) fn results(objects: &[Arc<dyn Object>]) -> WaitReason {
    let (of, calls) = missing(objects).unwrap_or(("", 0));
    WaitReason::Results { of, calls }
}
