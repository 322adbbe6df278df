//! [`Error`], [`ErrorKind`] and [`Result`]: one opaque error for everything that can go wrong.
//!
//! ```text
//! get(&c)  ──►  TaskFailed: `parse` failed: invalid digit       ◄─ Display: the origin
//!                 └ source: `sum` never started                 ◄─ chain: who waited for it
//! ```
//!
//! An error is made where the failure happens and travels unchanged, by reference count, to every
//! `get` that depends on it; whoever passes it on adds a line to its chain and changes nothing else.
//! This room knows ids only; other rooms turn their own failures into an `Error` at their place.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::NodeId;

/// A result whose error is a Mobula [`Error`] unless it says otherwise.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The function or method returned `Err`; the actor lives on. Mend the cause or the arguments.
    TaskFailed,
    /// The function or method panicked; an actor was rebuilt if restarts were left.
    TaskPanicked,
    /// The actor is dead, or died while it ran this call: make a new one.
    ActorDied,
    /// The process that ran the call ended.
    WorkerCrashed,
    /// The machine that ran the call is gone.
    NodeDied,
    /// The process that owned the object ended, and its lineage with it.
    OwnerDied,
    /// The object's value is nowhere any more and could not be made again.
    ObjectLost,
    /// The time given ran out; the call was cancelled.
    Timeout,
    /// The call or one that it belongs to was cancelled.
    Cancelled,
    /// Waiting would have closed a circle of waits, so it was refused.
    Deadlock,
    /// No node could ever have what was asked for: ask for less or add a node.
    Infeasible,
    /// Too many calls are queued: wait for some of them first.
    QueueFull,
    /// The object store has no room.
    StoreFull,
    /// Memory ran out.
    OutOfMemory,
    /// The cap on threads is reached by calls that wait for each other: nest less deeply.
    TooManyThreads,
    /// There is nothing of that name or id.
    NotFound,
    /// An actor of that name lives already.
    NameTaken,
    /// It is there, but of another type than asked for.
    WrongType,
    /// An option's value makes no sense.
    InvalidOption,
    /// It cannot be done here or in this build.
    Unsupported,
    /// A file or socket failed.
    Io,
    /// A value could not be turned into bytes.
    Encode,
    /// Bytes could not be turned into a value.
    Decode,
    /// The process that should run the function does not have it.
    FunctionNotFound,
    /// The caller may not do that.
    Unauthorized,
    /// The two sides speak different versions.
    VersionMismatch,
    /// The other side does not answer.
    Unreachable,
    /// A blocking wait on a thread that many calls share: use `.await`.
    BlockingInAsync,
    /// A session is running already in this process.
    AlreadyInitialized,
    /// The session has ended or is ending.
    Shutdown,
}

impl ErrorKind {
    /// Whether the call was lost with its process, and may be tried in another.
    pub(crate) fn is_of_process(self) -> bool {
        matches!(self, Self::WorkerCrashed | Self::NodeDied | Self::OutOfMemory)
    }

    /// Whether what was to be sent could not be, though the way may stand. Of a way that is gone the one who
    /// reads it tells.
    pub(crate) fn is_of_message(self) -> bool {
        !self.is_of_process() && self != Self::Io
    }
}

/// Why a call or a wait failed.
///
/// Cheap to clone: all who depend on a failed call share one.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    kind: ErrorKind,
    message: Box<str>,
    origin: Option<Origin>,
    location: Option<Box<str>>,
    cause: Option<Error>,
    waiters: Option<Box<Passed>>,
}

/// Where a failure happened.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Origin {
    function: Box<str>,
    node: NodeId,
    attempt: u32,
}

/// Who passed a failure on: the last one first.
#[derive(Clone, Debug)]
struct Passed {
    function: Box<str>,
    source: Error,
}

/// How many passers-on are kept of a long chain of dependent calls.
const CHAIN_MAX: usize = 64;

impl Error {
    /// An error that no call made, such as a wrong option.
    pub fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        let message = message.into();
        Self(Arc::new(Inner { kind, message, origin: None, location: None, cause: None, waiters: None }))
    }

    /// The kind, to match on.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The function or method in which it arose, as in `parse` or `Counter.increment`.
    pub fn function(&self) -> Option<&str> {
        self.0.origin.as_ref().map(|origin| &*origin.function)
    }

    /// The node on which it arose.
    pub fn node(&self) -> Option<NodeId> {
        self.0.origin.as_ref().map(|origin| origin.node)
    }

    /// The attempt in which it arose, from 1.
    pub fn attempt(&self) -> Option<u32> {
        self.0.origin.as_ref().map(|origin| origin.attempt)
    }

    /// What the code said: the text of its `Err`, or the message of its panic.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// `file:line:column` of a panic.
    pub fn location(&self) -> Option<&str> {
        self.0.location.as_deref()
    }

    /// The error that led to this one, such as an actor's first failure behind `ActorDied`.
    pub fn cause(&self) -> Option<&Error> {
        self.0.cause.as_ref()
    }

    /// The calls that failed because of this one, from the failed call to the one asked for.
    pub fn passed_on_by(&self) -> impl Iterator<Item = &str> {
        let mut names = Vec::new();
        let mut at = self;
        while let Some(passed) = &at.0.waiters {
            names.push(&*passed.function);
            at = &passed.source;
        }
        names.into_iter().rev()
    }

    /// The same error, said to have arisen in `function`; an origin that is known already stays.
    #[must_use]
    pub(crate) fn at(self, function: &str, node: NodeId, attempt: u32) -> Self {
        if self.0.origin.is_some() {
            return self;
        }
        self.edit(|inner| inner.origin = Some(Origin { function: function.into(), node, attempt }))
    }

    /// The same error with the place of a panic.
    #[must_use]
    pub(crate) fn located(self, location: impl Into<Box<str>>) -> Self {
        self.edit(|inner| inner.location = Some(location.into()))
    }

    /// The same error with the error that led to it.
    #[must_use]
    pub(crate) fn caused_by(self, cause: Error) -> Self {
        self.edit(|inner| inner.cause = Some(cause))
    }

    /// What `function` reports when it never started because an argument failed with this error.
    #[must_use]
    pub(crate) fn passed_on(&self, function: &str) -> Self {
        if self.passed_on_by().count() >= CHAIN_MAX {
            return self.clone();
        }
        let source = self.clone();
        self.clone().edit(|inner| {
            inner.waiters = Some(Box::new(Passed { function: function.into(), source }));
        })
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.kind())?;
        if let Some(origin) = &self.0.origin {
            write!(f, " in `{}` (attempt {}, {})", origin.function, origin.attempt, origin.node)?;
        }
        write!(f, ": {}", self.message())?;
        if let Some(location) = self.location() {
            write!(f, ", at {location}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        for name in self.passed_on_by() {
            write!(f, "; so `{name}` never started")?;
        }
        let mut cause = self.cause();
        while let Some(error) = cause {
            write!(f, "; because: {error}")?;
            cause = error.cause();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause().map(|cause| cause as _)
    }
}

/// One error of a chain as it travels: flat, so that a long chain is no deep nesting.
#[derive(Serialize, Deserialize)]
struct Level {
    kind: ErrorKind,
    message: Box<str>,
    origin: Option<Origin>,
    location: Option<Box<str>>,
    passed_on_by: Vec<Box<str>>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let chain = std::iter::successors(Some(self), |error| error.cause()).take(CHAIN_MAX);
        let level = |error: &Error| Level {
            kind: error.0.kind,
            message: error.0.message.clone(),
            origin: error.0.origin.clone(),
            location: error.0.location.clone(),
            passed_on_by: error.passed_on_by().map(Into::into).collect(),
        };
        serializer.collect_seq(chain.map(level))
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let levels: Vec<Level> = Vec::deserialize(deserializer)?;
        let chain = levels.into_iter().rev().fold(None, |cause, level| {
            let Level { kind, message, origin, location, passed_on_by } = level;
            let inner = Inner { kind, message, origin, location, cause, waiters: None };
            let error = Self(Arc::new(inner));
            Some(passed_on_by.iter().fold(error, |error, function| error.passed_on(function)))
        });
        chain.ok_or_else(|| serde::de::Error::custom("an error without a word"))
    }
}

impl Drop for Inner {
    /// A chain of causes may be long; it is taken apart in a loop, not by recursion.
    fn drop(&mut self) {
        let mut rest: Vec<Error> = Vec::new();
        let take = |inner: &mut Inner, rest: &mut Vec<Error>| {
            rest.extend(inner.cause.take());
            rest.extend(inner.waiters.take().map(|passed| passed.source));
        };
        take(self, &mut rest);
        while let Some(error) = rest.pop() {
            if let Some(mut inner) = Arc::into_inner(error.0) {
                take(&mut inner, &mut rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed() -> Error {
        Error::new(ErrorKind::TaskFailed, "invalid digit").at("parse", NodeId(0), 2)
    }

    #[test]
    fn display_names_the_origin_and_its_own_level_only() {
        let error = failed().passed_on("sum").passed_on("print");
        assert_eq!(error.to_string(), "TaskFailed in `parse` (attempt 2, node-0): invalid digit");
        assert_eq!(error.passed_on_by().collect::<Vec<_>>(), ["sum", "print"]);
        assert_eq!(error.function(), Some("parse"));
    }

    #[test]
    fn the_first_origin_stays() {
        assert_eq!(failed().at("sum", NodeId(1), 9).function(), Some("parse"));
    }

    #[test]
    fn a_panic_names_its_place() {
        let error = Error::new(ErrorKind::TaskPanicked, "boom").located("src/a.rs:3:5");
        assert_eq!(error.to_string(), "TaskPanicked: boom, at src/a.rs:3:5");
    }

    #[test]
    fn a_deep_chain_of_causes_drops_without_recursion() {
        let mut error = failed();
        for _ in 0..200_000 {
            error = Error::new(ErrorKind::ActorDied, "died").caused_by(error);
        }
        drop(error);
    }

    #[test]
    fn a_long_line_of_passers_on_is_bounded() {
        let mut error = failed();
        for _ in 0..10_000 {
            error = error.passed_on("next");
        }
        assert_eq!(error.passed_on_by().count(), CHAIN_MAX);
    }
}
