//! The options on attributes: which there are, where each belongs, and what it takes.
//!
//! `known` is the table of all options, `given` what the user wrote. An option becomes a call of the
//! builder `Options`. Literals are checked here; any other expression is left to the compiler, which knows
//! its type. A mistake costs its own option only: the rest, and the item, are expanded all the same.

mod given;
mod known;
mod settings;

pub(crate) use known::Place;
pub(crate) use settings::{Settings, read};
