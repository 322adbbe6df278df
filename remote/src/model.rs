//! Items as plain data, checked: what is here can be expanded. All rules about items, and their messages, stand in
//! this room.
//!
//! ```text
//! Function ─ Call          Class ─ Call (the constructor)       Trait ─ Call ..      Implementation
//!                                └ Call (a remote method) ..
//! ```

mod call;
mod class;
mod docs;
mod output;
mod params;
mod remote_trait;

pub(crate) use call::{Call, Receiver};
pub(crate) use class::Class;
pub(crate) use docs::Docs;
pub(crate) use output::{Output, Shape};
pub(crate) use params::{Param, Passing};
pub(crate) use remote_trait::{Implementation, Trait};

use crate::errors::Errors;
use crate::options::Settings;
use call::Site;
use syn::{Attribute, GenericParam, Generics, ItemFn};

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
        let site = Site { kind: "function", this: None };
        let call = Call::new(&item.sig, &item.vis, &item.attrs, &site, errors)?;
        if let Some(receiver) = &call.receiver {
            errors.at(receiver, "put `#[remote]` on the whole `impl`, not on one of its methods");
            return None;
        }
        Some(Self { call: call.with(settings), lints: lints(&item.attrs) })
    }
}

/// The levels that attributes set for lints, without a promise that the lints fire. What is deprecated is allowed: the
/// generated code of a deprecated item names it.
fn lints(attributes: &[Attribute]) -> Vec<Attribute> {
    let named = |attribute: &&Attribute, names: &[&str]| names.iter().any(|name| attribute.path().is_ident(name));
    let deprecated = attributes.iter().find(|attribute| named(attribute, &["deprecated"]));
    let deprecated = deprecated.map(|_| syn::parse_quote!(#[allow(deprecated)]));
    let levels = attributes.iter().filter(|attribute| named(attribute, &["allow", "expect"])).filter_map(|attribute| {
        let levels = &attribute.meta.require_list().ok()?.tokens;
        Some(syn::parse_quote!(#[allow(#levels)]))
    });
    levels.chain(deprecated).collect()
}

/// Refuses generics; answers whether there were none.
fn refuse_generics(generics: &Generics, of: &str, errors: &mut Errors) -> bool {
    let only_lifetimes = generics.params.iter().all(|param| matches!(param, GenericParam::Lifetime(_)));
    if !generics.params.is_empty() && only_lifetimes {
        let message = format_args!("a remote {of} cannot have lifetimes, arguments are lent while it runs: leave them out");
        errors.at(&generics.params, message);
    } else if !generics.params.is_empty() {
        let message = format_args!("a remote {of} cannot be generic, other processes find it by name: write it for one type");
        errors.at(&generics.params, message);
    }
    if let Some(clause) = &generics.where_clause {
        errors.at(clause, format_args!("a remote {of} cannot have a where-clause: write it for one type"));
    }
    generics.params.is_empty() && generics.where_clause.is_none()
}
