//! Remote traits, and what implements them.

use super::call::Site;
use super::class::method_settings;
use super::docs::lints;
use super::{Call, Shape, generics, params};
use crate::errors::Errors;
use crate::parse::{Block, Member, MemberKind};
use crate::text;
use proc_macro2::{Ident, TokenStream};
use quote::ToTokens;
use syn::{Attribute, ItemImpl, ItemTrait, Path, Signature, TraitItem, Type, Visibility, WherePredicate};

/// A remote trait.
pub(crate) struct Trait {
    /// Its name.
    pub(crate) name: Ident,
    /// Its remote methods.
    pub(crate) methods: Vec<Call>,
    /// Its lint levels, for generated code that mentions its types again.
    pub(crate) lints: Vec<Attribute>,
}

impl Trait {
    /// Checks a trait and the attribute on it; `None` if nothing can be expanded.
    pub(crate) fn new(block: &Block<ItemTrait>, options: &TokenStream, errors: &mut Errors) -> Option<Self> {
        refuse_options(options, "a trait has no options: give them to the class that implements it", errors);
        let is_plain = generics::refuse(&block.header.generics, "trait", errors);
        let is_object = refuse_others(block, errors);
        let methods =
            block.members.iter().filter_map(|member| Some((member, remote_signature(member, errors)?)));
        let methods: Vec<_> = methods.collect();
        let methods: Vec<_> =
            methods.iter().map(|(member, signature)| method(member, signature, errors)).collect();
        let methods = methods.into_iter().collect::<Option<Vec<_>>>()?;
        let members = block.members.iter().flat_map(|member| &member.attributes);
        let attributes: Vec<_> = block.header.attrs.iter().chain(members).cloned().collect();
        let name = block.header.ident.clone();
        (is_plain && is_object).then(|| Self { name, methods, lints: lints(&attributes) })
    }
}

/// The signature of a method that handles have; the others stay ordinary, so that they have no options.
fn remote_signature<'a>(member: &'a Member, errors: &mut Errors) -> Option<&'a Signature> {
    let MemberKind::Callable { signature, .. } = &member.kind else { return None };
    if !needs_sized(signature) {
        return Some(signature);
    }
    for attribute in &member.remote {
        errors.at(attribute, "a method `where Self: Sized` stays ordinary: leave this out");
    }
    None
}

fn method(member: &Member, signature: &Signature, errors: &mut Errors) -> Option<Call> {
    let settings = method_settings(member, errors);
    if let Some(keyword) = &signature.asyncness {
        errors.at(keyword, "a remote trait's methods cannot be async: leave out `async` and return a value");
        return None;
    }
    if signature.receiver().is_none() {
        let message =
            "a remote trait has methods only: take `&self` or `&mut self`, or add `where Self: Sized`";
        errors.at(&signature.ident, message);
        return None;
    }
    if let Some(token) = own_type(signature) {
        errors.at(token, "a handle does not know the type behind the trait: write another type for `Self`");
        return None;
    }
    let site = Site { kind: "method", this: None };
    let call = Call::new(signature, &Visibility::Inherited, &member.attributes, &site, errors)?;
    if call.output.shape == Shape::Stream {
        errors.at(&signature.output, "a remote trait's methods cannot be streams: return a `Vec`");
        return None;
    }
    Some(Call { visibility: syn::parse_quote!(pub), ..call.with(settings) })
}

/// `Self` in a parameter, the receiver aside, or in the output.
fn own_type(signature: &Signature) -> Option<proc_macro2::TokenTree> {
    let inputs = signature.inputs.iter().filter(|input| matches!(input, syn::FnArg::Typed(_)));
    let mut types: TokenStream = inputs.map(ToTokens::to_token_stream).collect();
    types.extend(signature.output.to_token_stream());
    text::find(types, |token| token.to_string() == "Self")
}

/// Refuses constants and types in a trait; answers whether there were none.
fn refuse_others(block: &Block<ItemTrait>, errors: &mut Errors) -> bool {
    let others = block.members.iter().filter_map(|member| match &member.kind {
        MemberKind::Other(tokens) => Some(tokens),
        MemberKind::Callable { .. } => None,
    });
    others.clone().for_each(|tokens| refuse_other(tokens, errors));
    others.count() == 0
}

fn refuse_other(tokens: &TokenStream, errors: &mut Errors) {
    let message = match syn::parse2(tokens.clone()) {
        Ok(TraitItem::Const(_)) => "a remote trait has methods only: make this constant a method",
        Ok(TraitItem::Type(_)) => "a remote trait has methods only: write the type where it is used",
        _ => "a remote trait has methods only: write them out, a macro in here cannot be seen",
    };
    errors.at(tokens, message);
}

/// Whether a method asks for `Self: Sized`, so that it is not part of the trait's object.
fn needs_sized(signature: &Signature) -> bool {
    let predicates = signature.generics.where_clause.iter().flat_map(|clause| &clause.predicates);
    predicates.into_iter().any(|predicate| match predicate {
        WherePredicate::Type(predicate) => {
            predicate.bounded_ty.to_token_stream().to_string() == "Self"
                && predicate.bounds.iter().any(|bound| bound.to_token_stream().to_string() == "Sized")
        }
        _ => false,
    })
}

/// That a class implements a remote trait.
pub(crate) struct Implementation {
    /// The class.
    pub(crate) class: Type,
    /// The trait.
    pub(crate) of: Path,
}

impl Implementation {
    /// Checks an `impl` and the attribute on it; `None` if nothing can be expanded.
    pub(crate) fn new(block: &Block<ItemImpl>, options: &TokenStream, errors: &mut Errors) -> Option<Self> {
        refuse_options(options, "options of a class stand on its own `impl`, the one with `new`", errors);
        for attribute in block.members.iter().flat_map(|member| &member.remote) {
            errors.at(attribute, "options of a method stand on it in the trait");
        }
        let is_plain = generics::refuse(&block.header.generics, "class", errors);
        let (negation, of, _) = block.header.trait_.as_ref()?;
        if let Some(negation) = negation {
            errors.at(negation, "a class that does not implement the trait has nothing remote in it");
        }
        let class = params::bare(&block.header.self_ty).clone();
        (is_plain && negation.is_none()).then(|| Self { class, of: of.clone() })
    }
}

fn refuse_options(options: &TokenStream, message: &str, errors: &mut Errors) {
    if !options.is_empty() {
        errors.at(options, message);
    }
}
