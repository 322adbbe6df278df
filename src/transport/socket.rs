//! The socket under both halves of a connection, and what has passed over it.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::receiver::Receiver;
use super::sender::Sender;
use crate::error::{Error, ErrorKind, Result};

/// Who is at the other end: the process that made the socket, as the kernel noted it then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) pid: u32,
    pub(crate) uid: u32,
}

/// What has passed over a connection so far; bytes are those of whole frames with their heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) frames_out: u64,
    pub(crate) bytes_out: u64,
    /// System calls that wrote.
    pub(crate) writes: u64,
    pub(crate) frames_in: u64,
    pub(crate) bytes_in: u64,
    /// System calls that read.
    pub(crate) reads: u64,
}

impl Traffic {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            frames_out: self.frames_out + other.frames_out,
            bytes_out: self.bytes_out + other.bytes_out,
            writes: self.writes + other.writes,
            frames_in: self.frames_in + other.frames_in,
            bytes_in: self.bytes_in + other.bytes_in,
            reads: self.reads + other.reads,
        }
    }
}

/// One direction's counts, the ring's frames included. They order nothing, and one thread at a time changes each: the receiver's, or
/// that which has the lock or the turn to write. So they cost next to nothing.
#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) frames: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) calls: AtomicU64,
}

impl Flow {
    pub(super) fn add(count: &AtomicU64, n: u64) {
        count.store(count.load(Ordering::Relaxed) + n, Ordering::Relaxed);
    }
}

/// What both halves share.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) stream: UnixStream,
    pub(super) out: Flow,
    pub(super) back: Flow,
    /// Bytes that went by the ring; changed under the lock of who sends.
    pub(super) by_ring: AtomicU64,
}

impl Socket {
    pub(super) fn traffic(&self) -> Traffic {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Traffic {
            frames_out: of(&self.out.frames),
            bytes_out: of(&self.out.bytes) + of(&self.by_ring),
            writes: of(&self.out.calls),
            frames_in: of(&self.back.frames),
            bytes_in: of(&self.back.bytes),
            reads: of(&self.back.calls),
        }
    }
}

/// Two connected sockets that no process started meanwhile inherits.
#[cfg(test)]
pub(crate) fn pair() -> Result<(UnixStream, UnixStream)> {
    UnixStream::pair().map_err(|error| failed("no pair of sockets", &error))
}

/// Takes a socket for frames, both ways.
pub(crate) fn connect(stream: UnixStream) -> Result<(Sender, Receiver)> {
    stream.set_nonblocking(false).map_err(|error| failed("the socket is not usable", &error))?;
    let (out, back, by_ring) = (Flow::default(), Flow::default(), AtomicU64::default());
    let socket = Arc::new(Socket { stream, out, back, by_ring });
    let sender = Sender::new(Arc::clone(&socket));
    let receiver = Receiver::new(socket, sender.line());
    Ok((sender, receiver))
}

/// Asks the kernel who is at the other end.
pub(crate) fn peer(stream: impl AsFd) -> Result<Credentials> {
    let known = rustix::net::sockopt::socket_peercred(stream);
    let known = known.map_err(|error| failed("the peer is not known", &error.into()))?;
    Ok(Credentials { pid: known.pid.as_raw_nonzero().get().cast_unsigned(), uid: known.uid.as_raw() })
}

pub(super) fn failed(what: &str, error: &std::io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("{what}: {error}"))
}
