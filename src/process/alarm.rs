//! Waits for many things at once, and for being told.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, Timespec, eventfd};

use crate::error::{Error, ErrorKind, Result};

/// The key of the alarm among the sources.
pub(super) const ALARM: u64 = 0;

/// Wakes the thread that waits for its sources.
#[derive(Clone, Debug)]
pub(super) struct Alarm(Arc<OwnedFd>);

impl Alarm {
    pub(super) fn new() -> Result<Self> {
        let made = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Self(Arc::new(made.map_err(|error| failed("no event descriptor", &error.into()))?)))
    }

    /// A set of sources with this alarm in it.
    pub(super) fn sources(&self) -> Result<OwnedFd> {
        let made = epoll::create(epoll::CreateFlags::CLOEXEC).and_then(|sources| {
            epoll::add(&sources, &self.0, EventData::new_u64(ALARM), EventFlags::IN)?;
            Ok(sources)
        });
        made.map_err(|error| failed("no set of event sources", &error.into()))
    }

    pub(super) fn ring(&self) {
        // Refused only when it rings already.
        let _ = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }

    pub(super) fn quiet(&self) {
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

/// The keys of the sources that have something to say; none if that takes longer than `at_most`.
pub(super) fn ready(sources: &OwnedFd, at_most: Option<Duration>) -> Vec<u64> {
    let mut space = [MaybeUninit::uninit(); 64];
    match epoll::wait(sources, &mut space, at_most.map(timespec).as_ref()) {
        Ok((events, _)) => events.iter().map(|event| event.data.u64()).collect(),
        // Interrupted by a signal that is none of ours.
        Err(_) => Vec::new(),
    }
}

pub(super) fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: duration.as_secs().cast_signed(), tv_nsec: duration.subsec_nanos().into() }
}

/// The system refused something; a process or thread, if it says "again".
pub(super) fn failed(what: &str, error: &std::io::Error) -> Error {
    let again = error.raw_os_error() == Some(rustix::io::Errno::AGAIN.raw_os_error());
    let kind = if again { ErrorKind::TooManyThreads } else { ErrorKind::Io };
    Error::new(kind, format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::io::Error as IoError;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn too_many_processes_are_told_apart_from_other_refusals() {
        for (errno, kind) in [(Errno::AGAIN, ErrorKind::TooManyThreads), (Errno::MFILE, ErrorKind::Io)] {
            assert_eq!(failed("no", &IoError::from(errno)).kind(), kind);
        }
    }

    #[test]
    fn an_alarm_rings_until_it_is_heard() {
        let alarm = Alarm::new().expect("a descriptor");
        let sources = alarm.sources().expect("a descriptor");
        assert!(ready(&sources, Some(Duration::ZERO)).is_empty());
        alarm.ring();
        alarm.ring();
        assert_eq!(ready(&sources, None), [ALARM]);
        alarm.quiet();
        assert!(ready(&sources, Some(Duration::ZERO)).is_empty());
    }
}
