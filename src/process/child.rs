//! One child: what is known of it while it runs, and how it ended.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Signal, pidfd_send_signal};

use super::lines::{Bucket, LINES_A_SECOND};
use crate::id::WorkerId;

/// How many lines of standard error are kept to explain an end.
const LAST_WORDS: usize = 10;

/// How much of each is kept.
const WORD_MAX: usize = 4 * 1024;

/// How long after its end the rest of a child's output is waited for: a process that it started may hold
/// the pipes for ever.
const REST: Duration = Duration::from_secs(1);

/// A child process; all clones are the same one. It is reaped whether or not anybody waits.
#[derive(Clone, Debug)]
pub(crate) struct Process(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    worker: WorkerId,
    pid: u32,
    secret: String,
    /// Names the process, and never another one that got its number.
    handle: OwnedFd,
    stream: Mutex<Option<UnixStream>>,
    voice: Mutex<Voice>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What it prints.
#[derive(Debug)]
struct Voice {
    prefix: Arc<str>,
    bucket: Bucket,
    last_words: VecDeque<String>,
}

#[derive(Debug)]
struct State {
    ended: Option<Ended>,
    /// Of standard output and standard error, those that may still bring something.
    streams: u8,
}

/// How and when it was reaped.
#[derive(Clone, Copy, Debug)]
struct Ended {
    status: Option<ExitStatus>,
    memory: Option<(u64, u64)>,
    at: Instant,
}

/// How a child ended. Neither signal nor code is known if somebody else in the process reaped it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) signal: Option<i32>,
    pub(crate) code: Option<i32>,
    /// The last lines of its standard error, up to ten.
    pub(crate) last_words: Vec<String>,
    /// Bytes used and bytes allowed, if that is why it was killed.
    pub(crate) memory: Option<(u64, u64)>,
}

impl Process {
    pub(super) fn new(
        worker: WorkerId,
        pid: u32,
        handle: OwnedFd,
        secret: String,
        stream: UnixStream,
        mark: &str,
    ) -> Self {
        let voice = Voice {
            prefix: prefix(mark, worker),
            bucket: Bucket::new(LINES_A_SECOND, Instant::now()),
            last_words: VecDeque::new(),
        };
        Self(Arc::new(Inner {
            worker,
            pid,
            secret,
            handle,
            stream: Mutex::new(Some(stream)),
            voice: Mutex::new(voice),
            state: Mutex::new(State { ended: None, streams: 2 }),
            changed: Condvar::new(),
        }))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.pid
    }

    /// The socket to it, once.
    pub(crate) fn take_stream(&self) -> Option<UnixStream> {
        lock(&self.0.stream).take()
    }

    /// What it expects to be told first.
    pub(crate) fn secret(&self) -> &str {
        &self.0.secret
    }

    /// What its lines are marked with from now on, such as the class that it hosts.
    pub(crate) fn set_mark(&self, mark: &str) {
        lock(&self.0.voice).prefix = prefix(mark, self.0.worker);
    }

    /// Ends it at once, if it has not ended yet.
    pub(crate) fn kill(&self) {
        // Fails only if it has.
        let _ = pidfd_send_signal(&self.0.handle, Signal::KILL);
    }

    /// Waits until it has ended, is reaped and what it printed is shown; for the latter 1 s at most.
    pub(crate) fn wait(&self) -> Ending {
        let wait = |state| self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        let mut state = lock(&self.0.state);
        let Ended { status, memory, at } = loop {
            match state.ended {
                Some(ended) => break ended,
                None => state = wait(state),
            }
        };
        while state.streams > 0 && at.elapsed() < REST {
            let left = REST.saturating_sub(at.elapsed());
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        drop(state);
        let last_words = lock(&self.0.voice).last_words.iter().cloned().collect();
        let (signal, code) =
            (status.and_then(|status| status.signal()), status.and_then(|status| status.code()));
        Ending { signal, code, last_words, memory }
    }

    #[cfg(test)]
    /// Whether it has ended and is reaped.
    pub(crate) fn has_ended(&self) -> bool {
        lock(&self.0.state).ended.is_some()
    }

    pub(super) fn handle(&self) -> &OwnedFd {
        &self.0.handle
    }

    pub(super) fn ended(&self, status: Option<ExitStatus>, memory: Option<(u64, u64)>) {
        lock(&self.0.state).ended = Some(Ended { status, memory, at: Instant::now() });
        self.0.changed.notify_all();
    }

    pub(super) fn stream_ended(&self) {
        lock(&self.0.state).streams -= 1;
        self.0.changed.notify_all();
    }

    pub(super) fn prefix(&self) -> Arc<str> {
        Arc::clone(&lock(&self.0.voice).prefix)
    }

    /// Whether one more line may be shown.
    pub(super) fn may_say(&self, now: Instant) -> bool {
        lock(&self.0.voice).bucket.take(now)
    }

    /// Whether lines may be shown again.
    pub(super) fn may_speak(&self, now: Instant) -> bool {
        lock(&self.0.voice).bucket.is_open(now)
    }

    pub(super) fn remember(&self, line: &str) {
        let words = &mut lock(&self.0.voice).last_words;
        if words.len() == LAST_WORDS {
            words.pop_front();
        }
        words.push_back(line[..line.floor_char_boundary(WORD_MAX)].to_owned());
    }
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((used, allowed)) = self.memory {
            let mib = |bytes: u64| bytes as f64 / (1024.0 * 1024.0);
            let (used, allowed) = (mib(used), mib(allowed));
            return write!(f, "killed for using {used:.1} MiB of memory, where {allowed:.1} MiB are allowed");
        }
        match (self.signal, self.code) {
            (Some(signal), _) => match name(signal) {
                Some(name) => write!(f, "killed by signal {signal} ({name})"),
                None => write!(f, "killed by signal {signal}"),
            },
            (None, Some(code)) => write!(f, "exited with code {code}"),
            (None, None) => f.write_str("ended, and somebody else was told how"),
        }
    }
}

fn prefix(mark: &str, worker: WorkerId) -> Arc<str> {
    let space = if mark.is_empty() { "" } else { " " };
    format!("({mark}{space}worker={}) ", worker.0).into()
}

fn name(signal: i32) -> Option<&'static str> {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::TRAP, "SIGTRAP"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::SYS, "SIGSYS"),
    ];
    names.into_iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| name)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // No code under these locks leaves anything half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
