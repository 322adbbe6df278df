//! What tasks, actors and threads are at, as plain data for whoever watches: who waits, and why.

use std::fmt;
use std::time::Duration;

/// Why something waits. Every wait in the runtime has one of these reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitReason {
    /// A `get`, `wait`, `view` or `.await` waits for results of other calls.
    Results {
        /// What makes the first of them that is not there.
        of: &'static str,
        /// How many are not there.
        calls: usize,
    },
    /// A reader waits for the next item of a stream.
    Items {
        /// What makes the items.
        of: &'static str,
    },
    /// The producer of a stream waits for its reader, who is far behind.
    Reader {
        /// What makes the items.
        of: &'static str,
    },
    /// A call that has not started waits for its arguments.
    Arguments {
        /// What makes the first of them that is not there.
        of: &'static str,
        /// How many are not there.
        calls: usize,
    },
    /// A call waits for its turn: an earlier call of the same caller to the same actor is held back.
    Turn,
    /// Calls wait until their actor's constructor has run.
    Constructor,
    /// Calls wait until their actor is free.
    Actor,
    /// A task or an actor waits until resources are free.
    Resources {
        /// What it asks for.
        asked: String,
    },
    /// Tasks of one CPU wait until one is free.
    Cpu,
    /// A task goes on after a wait, and waits for the CPUs that it gave to others meanwhile.
    CpuAgain,
    /// Work that has its resources waits for a thread: as many as may be are in use.
    Thread,
    /// A caller waits, before its next call, for the queued ones to become fewer.
    QueueRoom,
    /// The end of the session waits for calls that run to return.
    Ending,
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Results { of, calls: 1 } => write!(f, "for the result of `{of}`"),
            Self::Results { of, calls } => write!(f, "for {calls} results, the first of them of `{of}`"),
            Self::Items { of } => write!(f, "for the next item of `{of}`"),
            Self::Reader { of } => write!(f, "for the reader of `{of}`, who is far behind"),
            Self::Arguments { of, calls: 1 } => write!(f, "for its argument, the result of `{of}`"),
            Self::Arguments { of, calls } => write!(f, "for {calls} arguments, the first of them of `{of}`"),
            Self::Turn => f.write_str("for an earlier call of the same caller, which is held back"),
            Self::Constructor => f.write_str("for the constructor of the actor"),
            Self::Actor => f.write_str("for the actor to be free"),
            Self::Resources { asked } => write!(f, "for resources: {asked}"),
            Self::Cpu => f.write_str("for a free CPU"),
            Self::CpuAgain => f.write_str("for the CPU that it gave to others while it waited"),
            Self::Thread => f.write_str("for a thread: as many as may be are in use"),
            Self::QueueRoom => f.write_str("for queued calls to become fewer"),
            Self::Ending => f.write_str("for calls that still run"),
        }
    }
}

/// Something that waits now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Wait {
    /// The function, method or class that waits; `driver` for a thread that runs none.
    pub who: String,
    /// How many calls wait so, where they are counted together.
    pub calls: usize,
    /// Why.
    pub reason: WaitReason,
    /// For how long so far, where that is known.
    pub waited: Option<Duration>,
}

impl Wait {
    /// One wait of unknown length.
    pub(crate) fn new(who: impl Into<String>, reason: WaitReason) -> Self {
        Self { who: who.into(), calls: 1, reason, waited: None }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.calls {
            1 => write!(f, "`{}` waits {}", self.who, self.reason)?,
            calls => write!(f, "{calls} calls of `{}` wait {}", self.who, self.reason)?,
        }
        self.waited.map_or(Ok(()), |waited| write!(f, ", {:.1} s so far", waited.as_secs_f64()))
    }
}
