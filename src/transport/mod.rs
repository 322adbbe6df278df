//! Bytes between two processes: frames over a Unix stream socket, and file descriptors beside them.
//!
//! ```text
//! Sender ─ send ─► queue ─ one write carries all of it ─► socket ─ reads of 64 KiB ─► Receiver ─ next ─► Frame
//!                    └ full? the rest goes to a thread that ends with the queue
//!
//! frame:  ┌ length: u32, big-endian ┬ descriptors: u8 ┬ bytes: length - 1, at most 8 MiB ┐
//! ```
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
