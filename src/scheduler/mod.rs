//! Pure decisions about who may go on: resources, the order of calls, circles of waits.
//!
//! ```text
//! books   who holds which resources, who waits for them     ask / give_back → grants
//! lines   calls held back, by caller, in order              push / open / void → calls to start
//! waits   who waits for whom                                enter → Deadlock or not / leave
//! ```
//!
//! Each is a state that takes an event and answers with what is to be done; none knows a lock, a
//! thread or the time. `embedded` drives them.

mod books;
mod lines;
mod waits;

pub(crate) use books::{Back, Books, DemandId, Grant, Granted, Holder, Verdict};
pub(crate) use lines::Lines;
pub(crate) use waits::{Call, Held, Waits};
