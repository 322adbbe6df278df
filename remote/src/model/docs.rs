//! What attributes say about an item: docs, conditions, deprecation, lint levels.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// The attributes of an item that its remote form repeats.
pub(crate) struct Docs {
    /// `#[doc ..]`.
    lines: Vec<Meta>,
    /// `#[cfg(..)]`.
    conditions: Vec<Attribute>,
    /// `#[deprecated ..]`.
    deprecated: Option<Attribute>,
}

impl Docs {
    /// Picks them out of all attributes of an item.
    pub(crate) fn new(attributes: &[Attribute]) -> Self {
        let named =
            |name| attributes.iter().filter(move |attribute| attribute.path().is_ident(name)).cloned();
        Self {
            lines: named("doc").map(|attribute| attribute.meta).filter(is_repeated).collect(),
            conditions: named("cfg").collect(),
            deprecated: named("deprecated").next(),
        }
    }

    /// The docs as plain text, without the blank that follows `///`.
    pub(crate) fn text(&self) -> String {
        let lines: Vec<_> = self.lines.iter().filter_map(text).collect();
        let lines: Vec<_> =
            lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end()).collect();
        lines.join("\n").trim().to_owned()
    }

    /// The docs, then one sentence on what the generated item is.
    ///
    /// Examples in docs are tests, and run once, where the user wrote them: `doctest` keeps them out of the
    /// copies.
    pub(crate) fn with(&self, sentence: &str) -> TokenStream {
        let lines = &self.lines;
        let blank = (!lines.is_empty()).then(|| quote!(#[doc = ""]));
        quote!(#(#[cfg_attr(not(doctest), #lines)])* #blank #[doc = #sentence])
    }

    /// The docs, or a sentence where there are none.
    pub(crate) fn or(&self, sentence: &str) -> TokenStream {
        if self.lines.is_empty() {
            return quote!(#[doc = #sentence]);
        }
        let lines = &self.lines;
        quote!(#(#[cfg_attr(not(doctest), #lines)])*)
    }

    /// The conditions under which the item exists.
    pub(crate) fn conditions(&self) -> TokenStream {
        let conditions = &self.conditions;
        quote!(#(#conditions)*)
    }

    /// The item's mark of deprecation.
    pub(crate) fn deprecated(&self) -> Option<&Attribute> {
        self.deprecated.as_ref()
    }
}

/// The levels that attributes set for lints, without a promise that the lints fire. What is deprecated is
/// allowed: the generated code of a deprecated item names it.
pub(super) fn lints(attributes: &[Attribute]) -> Vec<Attribute> {
    let has_name =
        |attribute: &&Attribute, names: &[&str]| names.iter().any(|name| attribute.path().is_ident(name));
    let deprecated = attributes.iter().find(|attribute| has_name(attribute, &["deprecated"]));
    let deprecated = deprecated.map(|_| syn::parse_quote!(#[allow(deprecated)]));
    let levels = attributes.iter().filter(|attribute| has_name(attribute, &["allow", "expect"]));
    let levels = levels.filter_map(|attribute| {
        let levels = &attribute.meta.require_list().ok()?.tokens;
        Some(syn::parse_quote!(#[allow(#levels)]))
    });
    levels.chain(deprecated).collect()
}

/// Whether a copy says it too: the text, and that the item is hidden.
fn is_repeated(doc: &Meta) -> bool {
    match doc {
        Meta::NameValue(_) => true,
        Meta::List(list) => list.tokens.to_string() == "hidden",
        Meta::Path(_) => false,
    }
}

fn text(doc: &Meta) -> Option<String> {
    match &doc.require_name_value().ok()?.value {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Docs, lints};
    use quote::ToTokens;
    use syn::parse_quote;

    #[test]
    fn text_is_what_was_written() {
        let item: syn::ItemFn = parse_quote! {
            /// Adds.
            ///
            ///     indented
            #[inline]
            #[doc(alias = "plus")]
            #[doc = include_str!("x.md")]
            fn add() {}
        };
        let docs = Docs::new(&item.attrs);
        assert_eq!(docs.text(), "Adds.\n\n    indented");
        let copy = docs.with("Remote.").to_string();
        assert!(
            copy.contains("include_str") && copy.contains("Remote.") && !copy.contains("alias"),
            "{copy}"
        );
    }

    #[test]
    fn a_sentence_stands_in_for_missing_docs() {
        let docs = Docs::new(&[]);
        assert_eq!(docs.text(), "");
        assert_eq!(docs.or("Remote.").to_string(), docs.with("Remote.").to_string());
    }

    #[test]
    fn lint_levels_are_repeated_and_expect_nothing() {
        let item: syn::ItemFn = parse_quote! {
            #[expect(clippy::all)]
            #[deny(warnings)]
            #[deprecated]
            #[allow(unused)]
            fn old() {}
        };
        let levels: Vec<_> =
            lints(&item.attrs).iter().map(|level| crate::text::tidy(level.to_token_stream())).collect();
        assert_eq!(levels, ["#[allow(clippy::all)]", "#[allow(unused)]", "#[allow(deprecated)]"]);
    }
}
