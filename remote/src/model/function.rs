//! Remote functions.

use super::Call;
use super::call::Site;
use super::docs::lints;
use crate::errors::Errors;
use crate::options::Settings;
use syn::{Attribute, ItemFn};

/// A remote function.
pub(crate) struct Function {
    /// How it is called.
    pub(crate) call: Call,
    /// Its lint levels, for generated code that mentions its types again.
    pub(crate) lints: Vec<Attribute>,
}

impl Function {
    /// Checks a function; `None` if nothing can be expanded.
    pub(crate) fn new(item: &ItemFn, settings: Settings, errors: &mut Errors) -> Option<Self> {
        if let Some(receiver) = item.sig.receiver() {
            errors.at(receiver, "put `#[remote]` on the whole `impl`, not on one of its methods");
            return None;
        }
        let site = Site { kind: "function", this: None };
        let call = Call::new(&item.sig, &item.vis, &item.attrs, &site, errors)?;
        Some(Self { call: call.with(settings), lints: lints(&item.attrs) })
    }
}
