//! The remote form of a class.

use super::scope::scoped;
use super::{call, method};
use crate::model::Class;
use crate::text;
use proc_macro2::TokenStream;
use quote::quote;

/// All that belongs to a class.
pub(crate) fn class(class: &Class) -> TokenStream {
    let path = &class.path;
    let name = class.name.to_string();
    let entries = entries(class);
    let handle = method::handle(&quote!(#path), &name, &quote!(__m::Concrete), &class.methods);
    let construct = construct(class);
    let methods = class.methods.iter().map(|call| {
        let callee = &call.name;
        method::method(call, &quote!(#path), &name, &quote!(<#path>::#callee))
    });
    let methods: TokenStream = methods.collect();
    scoped(
        &class.lints,
        &quote! {
            #entries
            #handle
            #construct
            #methods
        },
    )
}

/// `Counter::remote(..)` and `Counter::options().remote(..)`.
fn entries(class: &Class) -> TokenStream {
    let (path, call) = (&class.path, &class.constructor);
    let (visibility, deprecated) = (&call.visibility, call.docs.deprecated());
    let remote = text::at("remote", call.name.span());
    let lints = call::lints(call);
    let (parameters, arguments) = (call::parameters(call), call::arguments(call));
    let docs = call.docs.with(&format!("Starts an actor of class `{}`; returns at once.", class.name));
    let options_docs =
        format!("Options for one actor of class `{}`, which starts with `remote` at the end.", class.name);
    quote! {
        impl #path {
            #docs
            #lints
            #deprecated
            #visibility fn #remote(#parameters) -> __m::ActorHandle<#path> {
                __m::create_actor::<__Constructor>(::core::option::Option::None, #arguments)
            }
            #[doc = #options_docs]
            #visibility fn options() -> __Options<#path> {
                __Options(<__Constructor as __m::Construct>::options(), ::core::marker::PhantomData)
            }
        }
        #[doc = #options_docs]
        pub struct __Options<__C = #path>(__m::Options, ::core::marker::PhantomData<fn() -> __C>);
        __m::class_options!(__Options);
        impl __Options<#path> {
            #docs
            #lints
            pub fn remote(self, #parameters) -> __m::ActorHandle<#path> {
                __m::create_actor::<__Constructor>(::core::option::Option::Some(self.0), #arguments)
            }
        }
        #[automatically_derived]
        impl<__C> ::core::clone::Clone for __Options<__C> {
            fn clone(&self) -> Self {
                Self(::core::clone::Clone::clone(&self.0), ::core::marker::PhantomData)
            }
        }
        #[automatically_derived]
        impl<__C> ::core::fmt::Debug for __Options<__C> {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                ::core::fmt::Debug::fmt(&self.0, f)
            }
        }
    }
}

/// What the library knows of the class, and how it makes an actor.
fn construct(class: &Class) -> TokenStream {
    let (path, call) = (&class.path, &class.constructor);
    let args = call::argument_types(call);
    let is_async = class.is_async();
    let flow = if is_async { quote!(__m::AsyncFlow) } else { quote!(__m::SyncFlow) };
    let definition = call::definition(call, &class.name.to_string(), &quote!(#path));
    let methods = class.methods.iter().map(|call| {
        let (conditions, body) = (call.docs.conditions(), method::body_name(call));
        quote!(#conditions <#body as __m::Method>::DEFINITION)
    });
    let options = call::options(&class.settings);
    let make = make(class);
    let checks = call::checks(call);
    quote! {
        #[doc(hidden)]
        struct __Constructor;
        #[automatically_derived]
        impl __m::Construct for __Constructor {
            type Class = #path;
            type Args = #args;
            type Flow = #flow;
            const DEFINITION: &'static __m::ClassDefinition = &__m::ClassDefinition {
                constructor: #definition,
                methods: &[#(#methods),*],
                is_async: #is_async,
            };
            #options
            fn construct(args: Self::Args) -> ::core::result::Result<#path, __m::Error> { #make }
        }
        #[automatically_derived]
        impl __m::ConcreteClass for #path {
            type Flow = #flow;
        }
        #[__m::linkme::distributed_slice(__m::ENTRIES)]
        #[linkme(crate = __m::linkme)]
        static __ENTRY: __m::Entry = {
            #[allow(unused_imports)]
            use __m::{MaybeSync as _, NotSync as _};
            __m::class_entry::<__Constructor>(|| (&__m::Probe::<#path>::NEW).sharing())
        };
        #[__m::linkme::distributed_slice(__m::ENTRIES)]
        #[linkme(crate = __m::linkme)]
        static __ITSELF: __m::Entry = __m::Entry::Implementation(&__m::Implementation::of_self::<#path>());
        #checks
    }
}

fn make(class: &Class) -> TokenStream {
    let (path, call) = (&class.path, &class.constructor);
    let names = call::locals(call);
    let callee = &call.name;
    let run = call::run(call, &quote!(<#path>::#callee), None, &names);
    let finish = call::finish(call);
    quote!(let (#(#names,)*) = args; let output = #run; #finish)
}
