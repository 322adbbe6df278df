//! What can be called: a function, a constructor or a method.

use super::{Docs, Output, Param, Shape, generics};
use crate::errors::Errors;
use crate::options::Settings;
use crate::text;
use proc_macro2::{Ident, Span, TokenStream};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Path, Signature, Type, Visibility};

/// A function, a constructor or a method that can be called from afar.
pub(crate) struct Call {
    /// Its name.
    pub(crate) name: Ident,
    /// Its docs, conditions and deprecation.
    pub(crate) docs: Docs,
    /// Who may call it.
    pub(crate) visibility: Visibility,
    /// How it borrows its actor; nothing for a function or a constructor.
    pub(crate) receiver: Option<Receiver>,
    /// Its parameters, the receiver aside.
    pub(crate) params: Vec<Param>,
    /// Where the parameters stand, with their parentheses.
    pub(crate) params_span: Span,
    /// What it gives back.
    pub(crate) output: Output,
    /// Whether it is an `async fn`.
    pub(crate) is_async: bool,
    /// The options that its attribute gives.
    pub(crate) settings: Settings,
}

/// How a method borrows its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// `&self`
    Shared,
    /// `&mut self`
    Exclusive,
}

/// What surrounds a signature.
pub(super) struct Site<'a> {
    /// What it is a signature of, in messages: "function", "constructor", "method".
    pub(super) kind: &'static str,
    /// What `Self` stands for.
    pub(super) this: Option<&'a Path>,
}

impl Site<'_> {
    /// A type with the class for `Self`.
    pub(super) fn named(&self, ty: &Type) -> TokenStream {
        match self.this {
            Some(this) => text::replace_self(ty.to_token_stream(), &this.to_token_stream()),
            None => ty.to_token_stream(),
        }
    }
}

impl Call {
    /// Reads a signature; `None` if something in it cannot be called from afar.
    pub(super) fn new(
        signature: &Signature,
        visibility: &Visibility,
        attributes: &[Attribute],
        site: &Site<'_>,
        errors: &mut Errors,
    ) -> Option<Self> {
        let is_plain =
            generics::refuse(&signature.generics, site.kind, errors) & is_safe(signature, site, errors);
        let receiver = Receiver::of(signature).map_err(|error| errors.push(error)).ok();
        let params = Param::all(signature, site, errors);
        let output = Output::new(&signature.output, site, errors);
        let (receiver, params, output) = (receiver?, params?, output?);
        if let (Shape::Stream, Some(keyword)) = (output.shape, &signature.asyncness) {
            errors.at(keyword, "a stream's items are made by an iterator: leave out `async`");
            return None;
        }
        is_plain.then(|| Self {
            name: signature.ident.clone(),
            docs: Docs::new(attributes),
            visibility: visibility.clone(),
            receiver,
            params,
            params_span: signature.paren_token.span.join(),
            output,
            is_async: signature.asyncness.is_some(),
            settings: Settings::default(),
        })
    }

    /// The same with options.
    pub(super) fn with(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The name as text.
    pub(crate) fn plain_name(&self) -> String {
        self.name.unraw().to_string()
    }

    /// A hash that changes when callers would have to.
    pub(crate) fn signature_hash(&self) -> u64 {
        let params: Vec<_> = self.params.iter().map(|param| param.text.as_str()).collect();
        text::fnv1a(&format!("{}({}) -> {}", self.plain_name(), params.join(", "), self.output.text))
    }
}

impl Receiver {
    /// The receiver of a signature, if it has one.
    fn of(signature: &Signature) -> syn::Result<Option<Self>> {
        let Some(receiver) = signature.receiver() else { return Ok(None) };
        if let Type::Reference(reference) = &*receiver.ty
            && matches!(&*reference.elem, Type::Path(path) if path.path.is_ident("Self"))
        {
            let kind = if reference.mutability.is_some() { Self::Exclusive } else { Self::Shared };
            return Ok(Some(kind));
        }
        Err(syn::Error::new_spanned(
            receiver,
            "a remote method borrows its actor: write `&mut self` or `&self`",
        ))
    }
}

fn is_safe(signature: &Signature, site: &Site<'_>, errors: &mut Errors) -> bool {
    let kind = site.kind;
    if let Some(keyword) = &signature.unsafety {
        errors.at(
            keyword,
            format_args!("a remote {kind} cannot be unsafe: check what it needs and make it safe"),
        );
    }
    if let Some(abi) = &signature.abi {
        errors.at(abi, format_args!("a remote {kind} has Rust's own ABI: leave this out"));
    }
    if let Some(dots) = &signature.variadic {
        errors.at(dots, format_args!("a remote {kind} has a fixed number of parameters: take a `Vec`"));
    }
    signature.unsafety.is_none() && signature.abi.is_none() && signature.variadic.is_none()
}
