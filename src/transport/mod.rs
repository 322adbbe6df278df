//! Bytes between two processes: frames over a Unix stream socket, and file descriptors beside them; small
//! frames by a ring in memory that both have, which costs no system call while the other side is awake.
//!
//! ```text
//!        ┌─ small, and all before it is read or in the ring ─► ring ──── asleep? a bell by the socket ──┐
//! Sender ┤                                                                                             ├► Receiver
//!        └─ queue ─ one write carries all of it ─► socket ─ reads of 64 KiB ───────────────────────────┘
//!             └ full? the rest goes to a thread that ends with the queue
//!
//! frame:  ┌ length: u32, big-endian ┬ descriptors: u8 ┬ bytes: length - 1, at most 8 MiB ┐
//! ```
//!
//! A frame goes by the ring or by the socket; where the way changes, a signal in the old one says so, so that
//! the order is that of sending. What is in the ring survives the process that put it there.
//!
//! There is no runtime here: whoever sends writes, whoever waits reads. A sender never waits for the other
//! side, nor for another sender: one of them writes, and takes along what the others queue meanwhile.
//!
//! Invariants: frames arrive whole and in the order in which they were queued, each with exactly the
//! descriptors that it was sent with, or the stream is broken and says so once and for all. Nothing that
//! comes in panics, allocates more than one frame, or leaves a descriptor open.

mod peer;
mod receiver;
mod sender;
mod socket;
mod window;
mod wire;

pub(crate) use peer::{Load, Names, Naming, Peer, Receipt};
pub(crate) use receiver::Receiver;
pub(crate) use sender::{Sender, When};
#[cfg(test)]
use socket::pair;
pub(crate) use socket::{Traffic, connect, peer};
pub(crate) use window::Window;
#[cfg(test)]
use wire::FRAME_MAX;
pub(crate) use wire::Frame;
