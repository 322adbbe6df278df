//! Child processes of the same executable: started, watched, heard and ended.
//!
//! ```text
//! driver                                                        child (the same executable)
//!   Spawner ── thread mobula-spawner: starts, reaps, ends ────►  before main: entered() ─► Entry
//!      │        └ Fence: a cgroup, or a look every 50 ms           fd 0: the socket, then /dev/null
//!      │                                                           MOBULA_WORKER=parent:secret
//!      └────── thread mobula-output ◄── lines ───────────────────  fd 1, fd 2: pipes
//!                └► "(mark worker=3) line" on the driver's own
//! ```
//!
//! A child gets its end of the socket as its standard input, since that is the one way that no other
//! process started at the same moment can inherit it. It takes the socket from there only if its parent
//! made it, so a variable that is set by hand, or inherited by a child's own children, does nothing.
//!
//! Invariants: a child dies with its parent, whichever way that ends, since one thread starts all of them
//! and lives as long as they may. Every child is reaped, its cgroup removed. What it prints is shown in
//! whole lines, never holds up another child, and is bounded by [`LINES_A_SECOND`](lines::LINES_A_SECOND).

mod alarm;
mod child;
mod entry;
mod fence;
mod lines;
mod output;
mod spawner;
#[cfg(test)]
mod tests;

pub(crate) use child::{Ending, Process};
pub(crate) use entry::{Entry, entered};
pub(crate) use spawner::{Launch, Spawner};
