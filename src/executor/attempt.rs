//! One attempt of a call: user code behind a wall that panics do not pass.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::task::{Context, Poll};

use crate::error::{Error, ErrorKind};
use crate::store::{self, LocalFuture, Progress, Seat, Started};
use crate::value::{Encoded, Packer, Refs};

/// How an attempt ended.
pub(crate) enum Outcome {
    Done,
    Failed(Error),
    Panicked(Error),
    Pending(LocalFuture<'static, Progress>),
}

thread_local! {
    /// Whether user code runs behind the wall on this thread.
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    /// Where the last panic behind the wall arose.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Notes where guarded panics arise instead of printing them: the error tells of them.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            // A process that aborts has no error left to tell of it.
            if !cfg!(panic = "abort") && GUARDED.try_with(Cell::get).unwrap_or(false) {
                let place = info.location().map(ToString::to_string);
                let _ = PLACE.try_with(|cell| *cell.borrow_mut() = place);
            } else {
                before(info);
            }
        }));
    });
}

/// Runs `f`; a panic in it becomes an error with its message and place.
pub(crate) fn guard<R>(f: impl FnOnce() -> R) -> Result<R, Error> {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            GUARDED.set(self.0);
        }
    }
    let restore = Restore(GUARDED.replace(true));
    let result = panic::catch_unwind(AssertUnwindSafe(f));
    drop(restore);
    result.map_err(|payload| {
        let text = message(&*payload);
        // A payload with a panicking Drop must not get through either.
        let _ = panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
        let error = Error::new(ErrorKind::TaskPanicked, text);
        match PLACE.take() {
            Some(place) => error.located(place),
            None => error,
        }
    })
}

/// As [`guard`], of what can fail by itself.
pub(crate) fn caught<R>(f: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    guard(f).and_then(|result| result)
}

/// Writes values for another process, by users' code.
pub(crate) fn packed(
    refs: Refs,
    write: impl FnOnce(&mut Packer) -> Result<(), Error>,
) -> Result<Encoded, Error> {
    caught(|| {
        let mut packer = Packer::new(refs, store::place);
        write(&mut packer)?;
        Ok(packer.finish())
    })
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "(no message)".into())
}

/// Runs a job once.
pub(crate) fn once(call: &mut Started, seat: Seat<'_>, last: bool) -> Outcome {
    guard(|| call.attempt(seat, last)).map_or_else(Outcome::Panicked, of_progress)
}

/// Polls an attempt that is a future.
pub(crate) fn poll(future: &mut LocalFuture<'static, Progress>, cx: &mut Context<'_>) -> Poll<Outcome> {
    match guard(|| future.as_mut().poll(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(progress)) => Poll::Ready(of_progress(progress)),
        Err(error) => Poll::Ready(Outcome::Panicked(error)),
    }
}

fn of_progress(progress: Progress) -> Outcome {
    match progress {
        Progress::Done => Outcome::Done,
        Progress::Failed(error) => Outcome::Failed(error),
        Progress::Pending(future) => Outcome::Pending(future),
    }
}

/// A call has left its value: puts away what was kept for another attempt, then shows the value.
pub(crate) fn finish(mut call: Started, is_spent: bool) {
    if !is_spent {
        put_away(&mut call);
    }
    call.publish();
}

/// Drops a call's arguments.
pub(crate) fn put_away(call: &mut Started) {
    let name = call.object().head().definition().name;
    if let Err(error) = guard(|| call.put_away()) {
        tracing::warn!(target: "mobula", "a panic while the arguments of `{name}` were dropped: {error}");
    }
}

/// Drops user values; a panic there is logged and goes no further.
pub(crate) fn drop_guarded<T>(what: &str, value: T) {
    if let Err(error) = guard(|| drop(value)) {
        tracing::warn!(target: "mobula", "a panic while `{what}` was dropped: {error}");
    }
}
