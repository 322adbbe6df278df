//! The reading half: blocks until a frame is there.

use std::io::{ErrorKind as IoKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};

#[cfg(test)]
use super::socket::Traffic;
use super::socket::{Flow, Socket, failed};
use super::wire::{DESCRIPTORS_MAX, Frame, HEAD, Inflow};
use crate::error::{Error, ErrorKind, Result};

/// How much is read at a time. Small frames come by the thousand in one read of this size, and copying
/// them from here is far cheaper than clearing memory to read into.
const READ: usize = 64 * 1024;

/// The reading half of a connection; one thread's.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Arc<Socket>,
    scratch: Box<[u8]>,
    inflow: Inflow,
    timeout: Option<Duration>,
}

impl Receiver {
    pub(super) fn new(socket: Arc<Socket>) -> Self {
        Self { socket, scratch: vec![0; READ].into(), inflow: Inflow::new(), timeout: None }
    }

    /// Waits for the next frame; `None` once the other side has closed.
    ///
    /// Fails with `Decode` if what came is no frame, or only the beginning of one before the end; with
    /// `Io` if the socket failed, also when the other side went without having read everything; with
    /// `Timeout`, after which it may be called again. Any other failure is final.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            if let Some(frame) = self.inflow.next()? {
                Flow::add(&self.socket.back.frames, 1);
                Flow::add(&self.socket.back.bytes, (HEAD + frame.bytes.len()) as u64);
                return Ok(Some(frame));
            }
            if !self.read(deadline)? {
                self.inflow.end()?;
                return Ok(None);
            }
        }
    }

    /// Whether [`next`](Self::next) would return without reading.
    pub(crate) fn has_buffered(&self) -> bool {
        self.inflow.has_next()
    }

    #[cfg(test)]
    pub(crate) fn traffic(&self) -> Traffic {
        self.socket.traffic()
    }

    /// How long one [`next`](Self::next) waits; for ever at first.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
        // A read with a deadline sets what is left itself. A socket takes this at any time.
        let _ = self.socket.stream.set_read_timeout(None);
    }

    /// One read; `false` at the end of the stream.
    fn read(&mut self, deadline: Option<Instant>) -> Result<bool> {
        if let Some(deadline) = deadline {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::new(ErrorKind::Timeout, "no frame came in time"));
            }
            let set = self.socket.stream.set_read_timeout(Some(left));
            set.map_err(|error| failed("no time-out", &error))?;
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut buffers = [IoSliceMut::new(&mut self.scratch)];
        let read =
            rustix::net::recvmsg(&self.socket.stream, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC);
        Flow::add(&self.socket.back.calls, 1);
        let read = match read.map_err(std::io::Error::from) {
            Ok(read) => read,
            Err(error) => match error.kind() {
                // Which of the two it was, the deadline tells.
                IoKind::Interrupted | IoKind::WouldBlock => return Ok(true),
                _ => return Err(self.inflow.break_off(failed("nothing can be read", &error))),
            },
        };
        // Whatever came is owned from here on, and closed if nobody takes it.
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                fds.extend(rights);
            }
        }
        if read.flags.contains(ReturnFlags::CTRUNC) {
            let text = "descriptors were lost: too many are open here, or too many were sent";
            return Err(self.inflow.break_off(Error::new(ErrorKind::Io, text)));
        }
        self.inflow.take_in(&self.scratch[..read.bytes], fds);
        Ok(read.bytes > 0)
    }
}
