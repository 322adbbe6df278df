//! The remote form of a trait, and that a class implements it.

use super::method;
use super::scope::scoped;
use crate::model::{Implementation, Trait};
use crate::text;
use proc_macro2::TokenStream;
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;

/// All that belongs to a trait.
pub(crate) fn remote_trait(remote_trait: &Trait) -> TokenStream {
    let ident = &remote_trait.name;
    let name = ident.to_string();
    let class = quote!(dyn #ident);
    let handle = method::handle(&class, &name, &quote!(__m::Abstract), &remote_trait.methods);
    let methods = remote_trait.methods.iter().map(|call| {
        let callee = &call.name;
        method::method(call, &class, &name, &quote!(<#class as #ident>::#callee))
    });
    let methods: TokenStream = methods.collect();
    scoped(&remote_trait.lints, &quote!(#handle #methods))
}

/// That a class implements a trait: how its handle becomes one of the trait.
pub(crate) fn implementation(implementation: &Implementation) -> TokenStream {
    let Implementation { class, of } = implementation;
    let span = text::here(of.span());
    let object = quote_spanned!(span=> dyn #of);
    let implements = quote_spanned!(span=> __m::Implements<#object>);
    scoped(
        &[],
        &quote! {
            #[automatically_derived]
            impl #implements for #class {
                fn cast(&self) -> &(#object + 'static) {
                    self
                }
                fn cast_mut(&mut self) -> &mut (#object + 'static) {
                    self
                }
            }
            #[__m::linkme::distributed_slice(__m::ENTRIES)]
            #[linkme(crate = __m::linkme)]
            static __ENTRY: __m::Entry =
                __m::Entry::Implementation(&__m::Implementation::of::<#class, #object>());
        },
    )
}
