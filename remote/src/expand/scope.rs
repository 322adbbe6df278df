//! Where generated code stands.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Attribute;

/// `generated` in a scope of its own, under the lint levels of the item.
pub(super) fn scoped(lints: &[Attribute], generated: &TokenStream) -> TokenStream {
    quote! {
        #(#lints)*
        const _: () = {
            use ::mobula::__private as __m;
            #generated
        };
    }
}
