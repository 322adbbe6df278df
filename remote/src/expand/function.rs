//! The remote form of a function.

use super::call;
use super::scope::scoped;
use crate::model::Function;
use crate::text;
use proc_macro2::TokenStream;
use quote::quote;

/// `struct add {}` and all that belongs to it.
pub(crate) fn function(function: &Function) -> TokenStream {
    let call = &function.call;
    let name = text::generated(&call.name);
    let plain = call.plain_name();
    let docs = call.docs.with(&format!("Remote form of the function [`{plain}`](fn@{plain})."));
    let (visibility, deprecated) = (&call.visibility, call.docs.deprecated());
    let entries = entries(function);
    let implementation = implementation(function);
    let generated = scoped(&function.lints, &quote!(#entries #implementation));
    quote! {
        #docs
        #deprecated
        #visibility struct #name {}
        #generated
    }
}

/// `add::remote(..)` and `add::options().remote(..)`.
fn entries(function: &Function) -> TokenStream {
    let call = &function.call;
    let name = text::generated(&call.name);
    let plain = call.plain_name();
    let remote = text::at("remote", call.name.span());
    let lints = call::lints(call);
    let (parameters, arguments) = (call::parameters(call), call::arguments(call));
    let (started, start) = call::started(call, "function");
    let docs = call.docs.with(&format!("Starts a task that runs `{plain}`; returns at once."));
    let options_docs = format!("Options for one call of `{plain}`, which starts with `remote` at the end.");
    quote! {
        impl #name {
            #docs
            #lints
            pub fn #remote(#parameters) -> #started {
                __m::#start::<__Body>(::core::option::Option::None, #arguments)
            }
            #[doc = #options_docs]
            pub fn options() -> __Options {
                __Options(<__Body as __m::Function>::options())
            }
        }
        #[doc = #options_docs]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        pub struct __Options(__m::Options);
        __m::task_options!(__Options);
        impl __Options {
            #docs
            #lints
            pub fn remote(self, #parameters) -> #started {
                __m::#start::<__Body>(::core::option::Option::Some(self.0), #arguments)
            }
        }
    }
}

/// What the library knows and runs.
fn implementation(function: &Function) -> TokenStream {
    let call = &function.call;
    let callee = &call.name;
    let named = text::generated(&call.name);
    let args = call::argument_types(call);
    let output = &call.output.value;
    let definition = call::definition(call, &call.plain_name(), &quote!(#named));
    let options = call::options(&call.settings);
    let body = call::body(call, &quote!(#callee));
    let checks = call::checks(call);
    quote! {
        #[doc(hidden)]
        struct __Body;
        #[automatically_derived]
        impl __m::Function for __Body {
            type Args = #args;
            type Output = #output;
            const DEFINITION: &'static __m::Definition = &#definition;
            #options
            const BODY: __m::FunctionBody<Self::Args, Self::Output> = #body;
        }
        #[__m::linkme::distributed_slice(__m::ENTRIES)]
        #[linkme(crate = __m::linkme)]
        static __ENTRY: __m::Entry = __m::function_entry::<__Body>();
        #checks
    }
}
