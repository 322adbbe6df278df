//! Nothing remote is generic: other processes find it by name.

use crate::errors::Errors;
use syn::{GenericParam, Generics};

/// Refuses generics; answers whether there were none.
pub(super) fn refuse(generics: &Generics, of: &str, errors: &mut Errors) -> bool {
    let params = &generics.params;
    let only_lifetimes = params.iter().all(|param| matches!(param, GenericParam::Lifetime(_)));
    if !params.is_empty() {
        errors.at(
            params,
            if only_lifetimes {
                format!(
                    "a remote {of} cannot have lifetimes, arguments are lent while it runs: leave them out"
                )
            } else {
                format!(
                    "a remote {of} cannot be generic, other processes find it by name: write it for one type"
                )
            },
        );
    }
    if let Some(clause) = &generics.where_clause {
        errors.at(clause, format_args!("a remote {of} cannot have a where-clause: write it for one type"));
    }
    params.is_empty() && generics.where_clause.is_none()
}
