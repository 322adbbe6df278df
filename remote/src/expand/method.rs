//! The remote form of a method, of a class or of a trait.

use super::call;
use crate::model::Call;
use crate::text;
use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};

/// The type of a handle's field.
fn field_type(call: &Call) -> Ident {
    Ident::new(&format!("__Method_{}", call.plain_name()), text::here(call.name.span()))
}

fn options_name(call: &Call) -> Ident {
    format_ident!("__Options_{}", call.plain_name())
}

/// The type that implements `Method`.
pub(super) fn body_name(call: &Call) -> Ident {
    format_ident!("__Body_{}", call.plain_name())
}

/// What a handle shows: one field for each method.
pub(super) fn handle(path: &TokenStream, name: &str, kind: &TokenStream, methods: &[Call]) -> TokenStream {
    let docs = format!("The remote methods of `{name}`.");
    let fields = methods.iter().map(|call| {
        let docs = call.docs.or(&format!("The remote form of `{name}::{}`.", call.plain_name()));
        let (conditions, deprecated) = (call.docs.conditions(), call.docs.deprecated());
        let (visibility, field, ty) = (&call.visibility, text::generated(&call.name), field_type(call));
        quote!(#docs #conditions #deprecated #visibility #field: #ty)
    });
    let values = methods.iter().map(|call| {
        let (conditions, field, ty) = (call.docs.conditions(), text::generated(&call.name), field_type(call));
        quote!(#conditions #field: #ty(::core::clone::Clone::clone(link)))
    });
    let link = if methods.is_empty() { quote!(_) } else { quote!(link) };
    quote! {
        #[doc = #docs]
        pub struct __Methods { #(#fields),* }
        #[automatically_derived]
        impl __m::Class for #path {
            type Kind = #kind;
            type Methods = __Methods;
            const NAME: &'static str = #name;
            fn methods(#link: &__m::Link<Self>) -> __Methods {
                __Methods { #(#values),* }
            }
        }
    }
}

/// The types of one method. `class` is what it is a method of, `callee` is how it is called.
pub(super) fn method(
    call: &Call,
    class: &TokenStream,
    class_name: &str,
    callee: &TokenStream,
) -> TokenStream {
    let entries = entries(call, class, class_name);
    let implementation = implementation(call, class, class_name, callee);
    quote!(#entries #implementation)
}

/// `counter.increment.remote(..)` and `counter.increment.options().remote(..)`.
fn entries(call: &Call, class: &TokenStream, class_name: &str) -> TokenStream {
    let (field, options, body) = (field_type(call), options_name(call), body_name(call));
    let full = format!("{class_name}::{}", call.plain_name());
    let remote = text::at("remote", call.name.span());
    let lints = call::lints(call);
    let (parameters, arguments) = (call::parameters(call), call::arguments(call));
    let (started, start) = call::started(call, "method");
    let conditions = call.docs.conditions();
    let field_docs = format!("The method `{full}` of one actor.");
    let docs = call.docs.with(&format!("Calls `{full}`; returns at once."));
    let options_docs = format!("Options for one call of `{full}`, which starts with `remote` at the end.");
    quote! {
        #[doc = #field_docs]
        #conditions
        pub struct #field(__m::Link<#class>);
        #conditions
        impl #field {
            #docs
            #lints
            pub fn #remote(&self, #parameters) -> #started {
                __m::#start::<#body>(&self.0, ::core::option::Option::None, #arguments)
            }
            #[doc = #options_docs]
            pub fn options(&self) -> #options<'_> {
                #options(&self.0, <#body as __m::Method>::options())
            }
        }
        #[doc = #options_docs]
        #conditions
        pub struct #options<'a>(&'a __m::Link<#class>, __m::Options);
        #conditions
        __m::method_options!(#options);
        #conditions
        impl #options<'_> {
            #docs
            #lints
            pub fn remote(self, #parameters) -> #started {
                __m::#start::<#body>(self.0, ::core::option::Option::Some(self.1), #arguments)
            }
        }
    }
}

/// What the library knows and runs.
fn implementation(call: &Call, class: &TokenStream, class_name: &str, callee: &TokenStream) -> TokenStream {
    let (name, conditions) = (body_name(call), call.docs.conditions());
    let entry = format_ident!("__ENTRY_{}", call.plain_name());
    let args = call::argument_types(call);
    let output = &call.output.value;
    let full = format!("{class_name}.{}", call.plain_name());
    let definition = call::definition(call, &full, class);
    let options = call::options(&call.settings);
    let body = call::body(call, callee);
    let checks = call::checks(call).map(|checks| quote!(#conditions #checks));
    quote! {
        #[doc(hidden)]
        #conditions
        struct #name;
        #[automatically_derived]
        #conditions
        impl __m::Method for #name {
            type Class = #class;
            type Args = #args;
            type Output = #output;
            const DEFINITION: &'static __m::Definition = &#definition;
            #options
            const BODY: __m::MethodBody<#class, Self::Args, Self::Output> = #body;
        }
        #conditions
        #[__m::linkme::distributed_slice(__m::ENTRIES)]
        #[linkme(crate = __m::linkme)]
        static #entry: __m::Entry = __m::method_entry::<#name>();
        #checks
    }
}
