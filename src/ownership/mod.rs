//! Pure decisions: what keeps an object, an actor or an extent alive that several processes use.
//!
//! ```text
//!   lender                                   borrower
//!   Loans  lend ──► message with the id ──►  Claims  receive     count + 1 with each message
//!     ▲                                        │ user ... user   whoever holds it there
//!     └──────────── returned, count ◄──────────┘ the last user goes: the whole count goes back
//! ```
//!
//! The lender counts messages, not users; the borrower gives back as many as it has received when its
//! last user goes. So a message that crosses a return is never forgotten: the count that comes back is
//! smaller than what was lent, and the loan stays. A process that dies returns all at once.
//!
//! Who makes a ref owns the object, until its id leaves the process: with the id goes the object, and
//! whoever it goes to owns it from then on and lends it back. So an object that anybody else knows of
//! is never lost with the process that made it.
//!
//! Invariants: what is lent is held; a count is never zero; nothing is given back that was not lent.

mod claims;
mod loans;
#[cfg(test)]
mod tests;

pub(crate) use claims::Claims;
pub(crate) use loans::Loans;
#[cfg(test)]
use loans::NeverLent;
