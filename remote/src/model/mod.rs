//! Items as plain data, checked: what is here can be expanded. All rules about items, and their messages,
//! stand in this room.
//!
//! ```text
//! Function ─ Call     Class ┬ Call (its constructor)     Trait ─ Call ..     Implementation
//!                           └ Call (a remote method) ..
//!
//! Call ┬ Docs
//!      ├ Param ─ Passing ..
//!      └ Output ─ Shape
//! ```
//!
//! Invariants: a type in here names no `Self`, borrows nothing inside itself and is not generic; a class
//! has exactly one constructor; a call has no more parameters than the library has tuples for. Mistakes in
//! options are told and leave the item as it is; any other mistake leaves no item.

mod call;
mod class;
mod docs;
mod function;
mod generics;
mod output;
mod params;
mod remote_trait;

pub(crate) use call::{Call, Receiver};
pub(crate) use class::Class;
pub(crate) use docs::Docs;
pub(crate) use function::Function;
pub(crate) use output::{Output, Shape};
pub(crate) use params::{Param, Passing};
pub(crate) use remote_trait::{Implementation, Trait};
