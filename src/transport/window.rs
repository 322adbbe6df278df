//! How far the producer of a stream may be ahead of its reader in another process.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::event::WaitReason;
use crate::runtime::{begin_wait, may_block, with_frame};
use crate::spec::Definition;
use crate::store::{Object, Slot};

/// Items on their way, or not read yet: enough to keep both sides busy.
const AHEAD_MAX: u32 = 256;
/// How often a producer that waits looks whether it was cancelled: nothing wakes it for that.
const LOOK: Duration = Duration::from_millis(20);

/// Counts the items that the reader has not said to have taken.
pub(crate) struct Window {
    state: Mutex<State>,
    changed: Condvar,
    look: Duration,
}

impl Default for Window {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), look: LOOK }
    }
}

#[derive(Default)]
struct State {
    ahead: u32,
    is_closed: bool,
    /// Complete once there is room, for who cannot wait.
    room: Option<Arc<Slot<()>>>,
}

fn over() -> Error {
    Error::new(ErrorKind::Cancelled, "nobody reads the stream any more")
}

/// Whether the call that runs on this thread is to stop.
fn is_cancelled() -> bool {
    with_frame(|frame| {
        frame.call().is_some_and(|call| call.head().is_cancelled() || call.head().is_complete())
    })
}

impl Window {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One item more; waits for room, except on a thread that many calls share. `Cancelled` if nobody reads.
    pub(crate) fn enter(&self) -> Result<()> {
        let mut state = self.lock();
        let mut waiting = None;
        while state.ahead >= AHEAD_MAX && !state.is_closed && may_block().is_ok() && !is_cancelled() {
            let name = || with_frame(|frame| frame.call().map_or("", |call| call.head().definition().name));
            waiting.get_or_insert_with(|| begin_wait(WaitReason::Reader { of: name() }));
            let waited = self.changed.wait_timeout(state, self.look);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.is_closed || is_cancelled() {
            return Err(over());
        }
        state.ahead += 1;
        Ok(())
    }

    /// One item more that cannot wait; what is complete once there is room, if it was the last that had some.
    pub(crate) fn enter_now(&self) -> Option<Arc<dyn Object>> {
        static ROOM: Definition = Definition::internal("room in a stream");
        let mut state = self.lock();
        state.ahead += 1;
        if state.ahead < AHEAD_MAX || state.is_closed {
            return None;
        }
        Some(state.room.get_or_insert_with(|| Slot::empty(&ROOM)).clone())
    }

    /// The reader has taken `count` items.
    pub(crate) fn taken(&self, count: u32) {
        let mut state = self.lock();
        state.ahead = state.ahead.saturating_sub(count);
        let room = if state.ahead < AHEAD_MAX { state.room.take() } else { None };
        drop(state);
        self.tell(room);
    }

    /// Nobody reads any more.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        let room = state.room.take();
        drop(state);
        self.tell(room);
    }

    fn tell(&self, room: Option<Arc<Slot<()>>>) {
        self.changed.notify_all();
        if let Some(room) = room {
            room.complete(Ok(()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::runtime::all_waiting;

    /// A full window; who waits for room in it looks for nothing by itself.
    fn full() -> Window {
        let window = Window { look: Duration::from_hours(1), ..Window::default() };
        (0..AHEAD_MAX).for_each(|_| window.enter().expect("there is room"));
        window
    }

    /// Who is about to wait holds the lock from when it says so until it sleeps.
    fn until_it_waits() {
        let waits = || all_waiting().iter().any(|wait| matches!(wait.reason, WaitReason::Reader { .. }));
        while !waits() {
            thread::yield_now();
        }
    }

    #[test]
    fn a_producer_far_ahead_goes_on_when_an_item_is_taken() {
        let window = full();
        thread::scope(|scope| {
            let producer = scope.spawn(|| window.enter());
            until_it_waits();
            window.taken(1);
            producer.join().expect("no panic").expect("there is room");
        });
        assert_eq!(window.lock().ahead, AHEAD_MAX);
    }

    #[test]
    fn who_cannot_wait_is_told_when_there_is_room() {
        let window = Window::default();
        assert!((1..AHEAD_MAX).all(|_| window.enter_now().is_none()));
        let room = window.enter_now().expect("it is full");
        window.enter_now();
        window.taken(1);
        assert!(!room.head().is_complete(), "it is as full as before");
        window.taken(1);
        assert!(room.head().is_complete());
    }

    #[test]
    fn a_closed_window_ends_every_wait() {
        let window = full();
        let room = window.enter_now().expect("it is full");
        thread::scope(|scope| {
            let producer = scope.spawn(|| window.enter());
            until_it_waits();
            window.close();
            let error = producer.join().expect("no panic").expect_err("nobody reads");
            assert_eq!(error.kind(), ErrorKind::Cancelled);
        });
        assert!(room.head().is_complete());
    }
}
