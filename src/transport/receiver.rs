//! The reading half: blocks until a frame is there.

use std::io::{ErrorKind as IoKind, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags};

use super::sender::Line;
#[cfg(test)]
use super::socket::Traffic;
use super::socket::{Flow, Socket, failed};
use super::wire::{DESCRIPTORS_MAX, Frame, HEAD, Inflow, Piece, Signal};
use crate::error::{Error, ErrorKind, Result};
use crate::runtime;
use crate::store::{Outlet, Rings};

/// How much is read at a time. Small frames come by the thousand in one read of this size, and copying
/// them from here is far cheaper than clearing memory to read into.
const READ: usize = 64 * 1024;

/// The reading half of a connection; one thread's.
#[derive(Debug)]
pub(crate) struct Receiver {
    socket: Arc<Socket>,
    /// The other half, which is to have the other ring.
    line: Weak<Line>,
    scratch: Box<[u8]>,
    inflow: Inflow,
    ring: Option<Ring>,
    timeout: Option<Duration>,
    /// Nothing more comes by the socket.
    has_ended: bool,
}

/// The ring that the other side writes to.
#[derive(Debug)]
struct Ring {
    outlet: Outlet,
    inflow: Inflow,
    /// The next frame is in it.
    is_on: bool,
}

impl Receiver {
    pub(super) fn new(socket: Arc<Socket>, line: Weak<Line>) -> Self {
        let scratch = vec![0; READ].into();
        Self { socket, line, scratch, inflow: Inflow::new(), ring: None, timeout: None, has_ended: false }
    }

    /// Offers the other side rings, which are faster than the socket. Without memory for them all goes by
    /// the socket.
    pub(crate) fn offer_rings(&mut self) {
        let (Some(line), Ok((rings, fd))) = (self.line.upgrade(), Rings::new()) else { return };
        self.read_from(rings.outlet);
        line.offer(rings.inlet, fd);
    }

    fn read_from(&mut self, outlet: Outlet) {
        self.ring = Some(Ring { outlet, inflow: Inflow::new(), is_on: false });
    }

    /// Waits for the next frame; `None` once the other side has closed.
    ///
    /// Fails with `Decode` if what came is no frame, or only the beginning of one before the end; with
    /// `Io` if the socket failed, also when the other side went without having read everything; with
    /// `Timeout`, after which it may be called again. Any other failure is final, and comes after all that
    /// the other side has put into the ring.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let found = if self.is_by_ring() { self.next_of_ring()? } else { self.inflow.next()? };
            match found {
                Some(Piece::Frame(frame)) => {
                    Flow::add(&self.socket.back.frames, 1);
                    Flow::add(&self.socket.back.bytes, (HEAD + frame.bytes.len()) as u64);
                    return Ok(Some(frame));
                }
                Some(Piece::Signal(signal, fds)) => self.heed(signal, &fds)?,
                None if self.has_ended => return self.end().map(|()| None),
                None => self.wait(deadline)?,
            }
        }
    }

    fn is_by_ring(&self) -> bool {
        self.ring.as_ref().is_some_and(|ring| ring.is_on)
    }

    /// What is in the ring; if nothing, what the socket has to say meanwhile.
    fn next_of_ring(&mut self) -> Result<Option<Piece>> {
        let ring = self.ring.as_mut().expect("it is on");
        if let Some(piece) = ring.inflow.next()? {
            return Ok(Some(piece));
        }
        let read = ring.outlet.read(&mut self.scratch).map_err(|error| ring.inflow.break_off(error))?;
        if read > 0 {
            ring.inflow.take_in(&self.scratch[..read], Vec::new());
            return ring.inflow.next();
        }
        match self.inflow.next()? {
            bell @ (None | Some(Piece::Signal(Signal::Bell, _))) => Ok(bell),
            Some(_) => Err(self.inflow.break_off(malformed("a frame out of turn"))),
        }
    }

    fn heed(&mut self, signal: Signal, fds: &[OwnedFd]) -> Result<()> {
        Flow::add(&self.socket.back.bytes, HEAD as u64);
        match (signal, &mut self.ring) {
            (Signal::Bell, _) => {}
            (Signal::ToRing, Some(ring)) if !ring.is_on => ring.is_on = true,
            (Signal::ToSocket, Some(ring)) if ring.is_on => ring.is_on = false,
            (Signal::Rings, None) => {
                let rings = fds.first().ok_or_else(|| malformed("no rings")).and_then(Rings::open);
                let rings = rings.map_err(|error| self.inflow.break_off(error))?;
                self.read_from(rings.outlet);
                if let Some(line) = self.line.upgrade() {
                    line.write_to(rings.inlet);
                }
            }
            _ => return Err(self.inflow.break_off(malformed("a signal out of turn"))),
        }
        Ok(())
    }

    /// The other side has ended, and all that it sent was taken: whether that was whole.
    fn end(&mut self) -> Result<()> {
        if let Some(ring) = &mut self.ring {
            ring.inflow.end()?;
        }
        self.inflow.end()
    }

    /// Whether [`next`](Self::next) would return without reading.
    pub(crate) fn has_buffered(&self) -> bool {
        match &self.ring {
            Some(ring) if ring.is_on => ring.inflow.has_next() || !ring.outlet.is_empty(),
            _ => self.inflow.has_next(),
        }
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

    /// Waits until something may have come, by the ring or the socket, or nothing more will.
    fn wait(&mut self, deadline: Option<Instant>) -> Result<()> {
        let is_by_ring = self.is_by_ring();
        if let Some(ring) = self.ring.as_ref().filter(|ring| ring.is_on)
            && (runtime::spin(|| !ring.outlet.is_empty()) || !ring.outlet.fall_asleep())
        {
            return Ok(());
        }
        let read = self.read(deadline);
        if let Some(ring) = self.ring.as_ref().filter(|_| is_by_ring) {
            ring.outlet.wake();
        }
        match read {
            Ok(is_open) => self.has_ended = !is_open,
            Err(error) if error.kind() == ErrorKind::Timeout => return Err(error),
            // It is told after what the ring has.
            Err(_) => {}
        }
        Ok(())
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

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("malformed stream: {what}"))
}
