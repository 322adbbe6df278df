//! What to run: definitions that `#[remote]` wrote down, and the options of a call or an actor.
//!
//! [`Options`] is what a user typed, unchecked; [`Options::demand`] and its siblings check it once,
//! where a call is made. Plain data, no behaviour beyond those checks.

mod definition;
mod options;

pub use definition::{ClassDefinition, Definition, Parameter};
pub(crate) use options::{Isolation, Retry, Sharing};
pub use options::{Options, Placement};
