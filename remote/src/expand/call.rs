//! What functions, constructors and methods have in common.

use crate::model::{Call, Param, Passing, Receiver, Shape};
use crate::options::Settings;
use crate::text;
use proc_macro2::{Ident, Literal, Span, TokenStream};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::spanned::Spanned;

/// The parameters of `remote`: `x: impl __m::IntoArg<i64>,`.
pub(super) fn parameters(call: &Call) -> TokenStream {
    let parameters = call.params.iter().map(|param| {
        let name = text::generated(&param.name);
        let accepts = param.passing.accepts();
        quote_spanned!(at(param)=> #name: impl __m::IntoArg<#accepts>,)
    });
    parameters.collect()
}

/// How many parameters clippy takes to be too many: the user hears of the function, not of its remote form,
/// which has one more.
const PARAMETERS_MANY: usize = 7;

/// The lint level of `remote`.
pub(super) fn lints(call: &Call) -> Option<TokenStream> {
    (call.params.len() >= PARAMETERS_MANY).then(|| quote!(#[allow(clippy::too_many_arguments)]))
}

/// The tuple that `remote` makes of them: `(__m::Owned::new(x),)`.
pub(super) fn arguments(call: &Call) -> TokenStream {
    let arguments = call.params.iter().map(|param| {
        let name = text::generated(&param.name);
        let container = container(&param.passing);
        quote_spanned!(at(param)=> __m::#container::new(#name))
    });
    quote!((#(#arguments,)*))
}

/// The type of that tuple: `(__m::Owned<i64>,)`.
pub(super) fn argument_types(call: &Call) -> TokenStream {
    let types = call.params.iter().map(|param| {
        let container = container(&param.passing);
        let accepts = param.passing.accepts();
        quote_spanned!(at(param)=> __m::#container<#accepts>)
    });
    let span = match call.params.as_slice() {
        [only] => at(only),
        _ => text::here(call.params_span),
    };
    quote_spanned!(span=> (#(#types,)*))
}

/// The type that `remote` returns, and the library's function behind it.
pub(super) fn started(call: &Call, of: &str) -> (TokenStream, Ident) {
    let value = &call.output.value;
    match call.output.shape {
        Shape::Stream => (quote!(__m::ObjectStream<#value>), format_ident!("stream_{of}")),
        Shape::Plain | Shape::Fallible => (quote!(__m::ObjectRef<#value>), format_ident!("call_{of}")),
    }
}

/// The closure that runs a call, and the variant it belongs to: `Sync(|args| { .. })`.
pub(super) fn body(call: &Call, callee: &TokenStream) -> TokenStream {
    let this = call.receiver.map(|_| local("this"));
    let args = local("args");
    let names = locals(call);
    let run = run(call, callee, this.as_ref(), &names);
    let unpack = quote!(let (#(#names,)*) = #args;);
    let variant = variant(call);
    let this = this.map(|this| quote!(#this,));
    match call.output.shape {
        Shape::Stream => {
            let sink = local("sink");
            quote!(#variant(|#this #args, #sink| { #unpack let items = #run; __m::Sink::drain(#sink, items) }))
        }
        Shape::Plain | Shape::Fallible => {
            let finish = finish(call);
            let work = quote!(#unpack let output = #run; #finish);
            if call.is_async {
                quote!(#variant(|#this #args| ::std::boxed::Box::pin(async move { #work })))
            } else {
                quote!(#variant(|#this #args| { #work }))
            }
        }
    }
}

/// Takes the arguments out of their containers and calls: `add(a0.take()?, a1.lend()?)`.
pub(super) fn run(call: &Call, callee: &TokenStream, this: Option<&Ident>, names: &[Ident]) -> TokenStream {
    let arguments = call.params.iter().zip(names).map(|(param, name)| match param.passing {
        Passing::Owned(_) => quote_spanned!(at(param)=> #name.take()?),
        Passing::Text(_) | Passing::Slice(_) | Passing::Borrowed(_) => {
            quote_spanned!(at(param)=> #name.lend()?)
        }
    });
    let this = this.map(|this| quote!(#this,));
    let wait = call.is_async.then(|| quote!(.await));
    quote!(#callee(#this #(#arguments),*) #wait)
}

/// Makes the closure's result of `output`.
pub(super) fn finish(call: &Call) -> TokenStream {
    match call.output.shape {
        Shape::Fallible => {
            let span = text::here(call.output.error_span);
            quote_spanned!(span=> ::core::result::Result::map_err(output, __m::failed))
        }
        Shape::Plain | Shape::Stream => quote!(::core::result::Result::Ok(output)),
    }
}

/// Names for the containers inside a body. They cannot meet the user's names.
pub(super) fn locals(call: &Call) -> Vec<Ident> {
    (0..call.params.len()).map(|index| local(&format!("a{index}"))).collect()
}

pub(super) fn local(name: &str) -> Ident {
    Ident::new(name, Span::mixed_site())
}

fn variant(call: &Call) -> TokenStream {
    let borrow = match call.receiver {
        None => "",
        Some(Receiver::Shared) => "Shared",
        Some(Receiver::Exclusive) => "Exclusive",
    };
    let flow = match call.output.shape {
        Shape::Stream => "Stream",
        Shape::Plain | Shape::Fallible if call.is_async => "Async",
        Shape::Plain | Shape::Fallible if call.receiver.is_none() => "Sync",
        Shape::Plain | Shape::Fallible => "",
    };
    let bodies = if call.receiver.is_some() { quote!(__m::MethodBody) } else { quote!(__m::FunctionBody) };
    let variant = format_ident!("{flow}{borrow}");
    quote!(#bodies::#variant)
}

/// What the library knows of a call: `__m::Definition { .. }`. `named` is the type whose path identifies it.
pub(super) fn definition(call: &Call, name: &str, named: &TokenStream) -> TokenStream {
    let span = call.name.span();
    let file = quote_spanned!(span=> ::core::file!());
    let line = quote_spanned!(span=> ::core::line!());
    let column = quote_spanned!(span=> ::core::column!());
    let signature = Literal::u64_suffixed(call.signature_hash());
    let docs = call.docs.text();
    let params = call.params.iter().map(|Param { name, text, .. }| {
        let name = syn::ext::IdentExt::unraw(name).to_string();
        quote!(__m::Parameter { name: #name, ty: #text })
    });
    let output = &call.output.text;
    let is_async = call.is_async;
    let is_stream = call.output.shape == Shape::Stream;
    let has_receiver = call.receiver.is_some();
    quote! {
        __m::Definition {
            path: || ::core::any::type_name::<#named>(),
            name: #name,
            file: #file,
            line: #line,
            column: #column,
            signature: #signature,
            docs: #docs,
            params: &[#(#params),*],
            output: #output,
            is_async: #is_async,
            is_stream: #is_stream,
            has_receiver: #has_receiver,
        }
    }
}

/// The members that say what an attribute asked for.
pub(super) fn options(settings: &Settings) -> TokenStream {
    let is_plain = settings.is_plain();
    let calls = &settings.calls;
    let options = quote!(__m::Options::new() #calls);
    let options = match &settings.max_concurrency {
        Some(most) => quote_spanned!(text::here(most.span())=> __m::overlap::<Self>(#options, #most)),
        None => options,
    };
    quote! {
        const PLAIN: bool = #is_plain;
        fn options() -> __m::Options { #options }
    }
}

/// Checks that point at the types of the user's parameters. One parameter needs none: the bound of `type
/// Args` points at it.
pub(super) fn checks(call: &Call) -> Option<TokenStream> {
    let checks = call.params.iter().filter_map(|param| {
        let ty = param.passing.value()?;
        Some(quote_spanned!(at(param)=> __m::assert_value::<#ty>();))
    });
    let checks: TokenStream = checks.collect();
    (call.params.len() > 1).then(|| quote!(const _: fn() = || { #checks };))
}

fn container(passing: &Passing) -> Ident {
    match passing {
        Passing::Owned(_) => format_ident!("Owned"),
        Passing::Text(_) | Passing::Slice(_) | Passing::Borrowed(_) => format_ident!("Lent"),
    }
}

/// Where a parameter's type stands.
fn at(param: &Param) -> Span {
    text::here(param.passing.accepts().to_token_stream().span())
}
