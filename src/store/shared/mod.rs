//! Memory that the processes of a program share.
//!
//! ```text
//! Arena ─► Pool (numbers: what is free) ─► Region (memory: a memfd, or the heap)
//! Mark: a number that one process writes, and others read, also when it is gone
//! Board: what each process has of the session's room
//! Rings: bytes on their way, in both directions
//! ```

mod arena;
mod board;
mod mark;
mod pool;
mod region;
mod ring;

pub(crate) use arena::{Arena, Witness, arena, set_arena_owner};
pub(crate) use board::{BoardSlot, Boards, join_board};
pub(crate) use mark::{Mark, MarkView};
pub(crate) use ring::{Inlet, Outlet, RING, Rings};
