//! Telling waiters, and dropping long chains, without recursion.
//!
//! A failed call fails all that depend on it, and those fail what depends on them: told by recursion,
//! 100,000 calls in a row would exhaust the stack. So the first notice on a thread opens a queue, and
//! notices that arise meanwhile join it. Dropping works the same way, below a small depth.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;

use super::sync::thread_locals;

/// Somebody who waits for objects.
pub(crate) trait Listener: Send + Sync {
    /// An object is ready or has failed; `token` is the one given with the wait.
    fn ready(&self, token: usize, failed: bool);
}

/// One wait of one listener.
pub(crate) struct Waiter {
    pub(crate) listener: Arc<dyn Listener>,
    pub(crate) token: usize,
}

struct Notice {
    waiter: Waiter,
    failed: bool,
}

thread_locals! {
    static NOTICES: RefCell<Option<Vec<Notice>>> = RefCell::new(None);
    static DROPS: RefCell<Vec<Box<dyn Any>>> = RefCell::new(Vec::new());
    static DROP_DEPTH: Cell<usize> = Cell::new(0);
}

/// Tells the waiters of one object, in the order in which they came.
pub(crate) fn notify(waiters: impl IntoIterator<Item = Waiter>, failed: bool) {
    let mut notices = Some(waiters.into_iter().map(|waiter| Notice { waiter, failed }));
    // On a thread that is ending, its locals are gone: the notices are told here and now.
    let is_outermost = NOTICES.try_with(|queue| {
        let mut queue = queue.borrow_mut();
        if let Some(queue) = &mut *queue {
            queue.extend(notices.take().into_iter().flatten());
            return false;
        }
        *queue = Some(Vec::new());
        true
    });
    notices.into_iter().flatten().for_each(tell);
    if !matches!(is_outermost, Ok(true)) {
        return;
    }
    while let Ok(Some(batch)) = NOTICES.try_with(next_batch) {
        batch.into_iter().for_each(tell);
    }
}

/// What was queued meanwhile; closes the queue if that is nothing.
fn next_batch(queue: &RefCell<Option<Vec<Notice>>>) -> Option<Vec<Notice>> {
    let mut queue = queue.borrow_mut();
    if queue.as_ref().is_none_or(Vec::is_empty) {
        *queue = None;
    }
    queue.as_mut().map(std::mem::take)
}

/// A listener that panics, as a user's waker may, keeps the notice from nobody else.
fn tell(Notice { waiter, failed }: Notice) {
    let told = panic::catch_unwind(AssertUnwindSafe(|| waiter.listener.ready(waiter.token, failed)));
    if told.is_err() {
        tracing::warn!(target: "mobula", "a panic in who was told that an object is there");
    }
}

/// Below this depth a value is dropped in place; deeper ones wait for the outermost drop to return.
const DROP_DEPTH_MAX: usize = 32;

/// Drops a value that may hold the last ref to an object that holds the last ref to another…
pub(crate) fn defer_drop<T: 'static>(value: T) {
    if !std::mem::needs_drop::<T>() {
        return;
    }
    // On a thread that is ending, its locals are gone: drop in place then.
    let Ok(depth) = DROP_DEPTH.try_with(Cell::get) else { return drop_caught(value) };
    if depth >= DROP_DEPTH_MAX {
        let mut value = Some(value);
        let _ = DROPS.try_with(|drops| {
            if let Some(value) = value.take() {
                drops.borrow_mut().push(Box::new(value));
            }
        });
        return;
    }
    let inside = Depth(depth);
    let _ = DROP_DEPTH.try_with(|cell| cell.set(depth + 1));
    drop_caught(value);
    if depth == 0 {
        while let Ok(Some(next)) = DROPS.try_with(|drops| drops.borrow_mut().pop()) {
            drop_caught(next);
        }
    }
    drop(inside);
}

/// The last to hold a value is often a thread of ours, and which one is chance; so its panic is logged and
/// goes no further, whoever drops it.
fn drop_caught<T>(value: T) {
    if panic::catch_unwind(AssertUnwindSafe(|| drop(value))).is_err() {
        tracing::warn!(target: "mobula", "a panic while a `{}` was dropped", std::any::type_name::<T>());
    }
}

struct Depth(usize);

impl Drop for Depth {
    fn drop(&mut self) {
        let _ = DROP_DEPTH.try_with(|cell| cell.set(self.0));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Chain {
        next: Option<Arc<Chain>>,
        seen: Arc<Mutex<usize>>,
    }

    impl Listener for Chain {
        fn ready(&self, token: usize, failed: bool) {
            *self.seen.lock().expect("no panic while held") += 1;
            if let Some(next) = self.next.clone() {
                notify([Waiter { listener: next, token }], failed);
            }
        }
    }

    #[test]
    fn a_listener_that_panics_keeps_the_notice_from_nobody() {
        struct Panics;
        impl Listener for Panics {
            fn ready(&self, _: usize, _: bool) {
                panic!("as it means to");
            }
        }
        let seen = Arc::new(Mutex::new(0));
        let counts = || Arc::new(Chain { next: None, seen: seen.clone() });
        let first = Chain { next: Some(counts()), seen: seen.clone() };
        let all: [Arc<dyn Listener>; 3] = [Arc::new(first), Arc::new(Panics), counts()];
        notify(all.map(|listener| Waiter { listener, token: 0 }), false);
        assert_eq!(*seen.lock().expect("no panic while held"), 3);
        notify([Waiter { listener: counts(), token: 0 }], false);
        assert_eq!(*seen.lock().expect("no panic while held"), 4);
    }

    #[test]
    fn a_chain_of_notices_needs_no_stack() {
        let seen = Arc::new(Mutex::new(0));
        let mut chain = Arc::new(Chain { next: None, seen: seen.clone() });
        let mut all = vec![chain.clone()];
        let links = if cfg!(miri) { 1_000 } else { 100_000 };
        for _ in 1..links {
            chain = Arc::new(Chain { next: Some(chain), seen: seen.clone() });
            all.push(chain.clone());
        }
        notify([Waiter { listener: chain, token: 0 }], true);
        assert_eq!(*seen.lock().expect("no panic while held"), links);
        // Dropped from the outside in, so that the test's own chain does not recurse.
        while all.pop().is_some() {}
    }

    #[test]
    fn a_chain_of_drops_needs_no_stack() {
        struct Node(Option<Box<Node>>);
        impl Drop for Node {
            fn drop(&mut self) {
                if let Some(next) = self.0.take() {
                    defer_drop(next);
                }
            }
        }
        let links = if cfg!(miri) { 1_000 } else { 1_000_000 };
        defer_drop((0..links).fold(Node(None), |inner, _| Node(Some(Box::new(inner)))));
    }
}
