//! The item under the attribute, taken apart as far as its signatures.
//!
//! Bodies stay unread tokens: nothing here depends on what stands in them, and an editor keeps its help
//! while one is half typed.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::{
    Attribute, Error, ImplItem, ItemFn, ItemImpl, ItemTrait, Result, Signature, TraitItem, Visibility,
};

/// What the attribute stands on.
pub(crate) enum Item {
    /// A function; its body is empty here.
    Function(ItemFn),
    /// An `impl` without a trait.
    Class(Block<ItemImpl>),
    /// An `impl` of a trait.
    Implementation(Block<ItemImpl>),
    /// A trait.
    Trait(Block<ItemTrait>),
}

/// An item with members in braces.
pub(crate) struct Block<H> {
    /// The item with nothing in its braces.
    pub(crate) header: H,
    /// What stands in the braces.
    pub(crate) members: Vec<Member>,
    /// The tokens before the braces, as written.
    before: TokenStream,
    /// Attributes of the form `#![..]` that the braces begin with.
    inner_attributes: Vec<Attribute>,
    /// Where the braces stand.
    braces: Span,
}

/// One member of an `impl` or a trait.
pub(crate) struct Member {
    /// Its attributes without those named `remote`.
    pub(crate) attributes: Vec<Attribute>,
    /// Its attributes named `remote`, which must not stay in the output.
    pub(crate) remote: Vec<Attribute>,
    /// The rest of it.
    pub(crate) kind: MemberKind,
}

/// A member without its attributes.
pub(crate) enum MemberKind {
    /// A function or method.
    Callable {
        /// Its visibility; inherited in a trait.
        visibility: Visibility,
        /// Its name, parameters and output.
        signature: Box<Signature>,
        /// Its body, or a semicolon in a trait.
        body: TokenTree,
    },
    /// A constant, a type, a macro call.
    Other(TokenStream),
}

/// Reads the item, or says why it cannot be a remote one.
pub(crate) fn item(tokens: TokenStream) -> Result<Item> {
    let (before, body) = split_body(tokens.clone());
    let Some(body) = body else {
        return Err(Error::new_spanned(tokens, WRONG_ITEM));
    };
    match syn::parse2(quote!(#before {}))? {
        syn::Item::Fn(function) => Ok(Item::Function(function)),
        syn::Item::Trait(header) => Ok(Item::Trait(block::<_, TraitItem>(header, before, &body)?)),
        syn::Item::Impl(header) => {
            let is_class = header.trait_.is_none();
            let block = block::<_, ImplItem>(header, before, &body)?;
            Ok(if is_class { Item::Class(block) } else { Item::Implementation(block) })
        }
        _ => Err(Error::new_spanned(before, WRONG_ITEM)),
    }
}

const WRONG_ITEM: &str = "`#[remote]` goes on a function, on the `impl` of a class, on a trait, or on the \
                          `impl` of a remote trait";

/// The braces that end the item, and everything before them.
fn split_body(tokens: TokenStream) -> (TokenStream, Option<Group>) {
    let mut before: Vec<_> = tokens.into_iter().collect();
    match before.pop() {
        Some(TokenTree::Group(body)) if body.delimiter() == Delimiter::Brace => {
            (before.into_iter().collect(), Some(body))
        }
        last => (before.into_iter().chain(last).collect(), None),
    }
}

fn block<H, M: Parse + ToTokens>(header: H, before: TokenStream, body: &Group) -> Result<Block<H>> {
    let parser = |input: ParseStream<'_>| {
        let inner_attributes = input.call(Attribute::parse_inner)?;
        let mut members = Vec::new();
        while !input.is_empty() {
            members.push(member::<M>(input)?);
        }
        Ok((inner_attributes, members))
    };
    let (inner_attributes, members) = parser.parse2(body.stream())?;
    Ok(Block { header, members, before, inner_attributes, braces: body.span() })
}

/// Reads one member; `M` reads those that are not callable.
fn member<M: Parse + ToTokens>(input: ParseStream<'_>) -> Result<Member> {
    let (remote, attributes) = input
        .call(Attribute::parse_outer)?
        .into_iter()
        .partition(|attribute| last_segment_is(attribute.path(), "remote"));
    let kind = if let Ok((visibility, signature)) = callable(&input.fork()) {
        callable(input)?;
        MemberKind::Callable { visibility, signature: Box::new(signature), body: input.parse()? }
    } else {
        MemberKind::Other(input.parse::<M>()?.to_token_stream())
    };
    Ok(Member { attributes, remote, kind })
}

fn callable(input: ParseStream<'_>) -> Result<(Visibility, Signature)> {
    Ok((input.parse()?, input.parse()?))
}

/// Whether a path ends in `name`, however it is qualified.
pub(crate) fn last_segment_is(path: &syn::Path, name: &str) -> bool {
    path.segments.last().is_some_and(|segment| segment.ident == name)
}

impl<H> ToTokens for Block<H> {
    /// The item as the user wrote it, without the attributes that are meant for us.
    fn to_tokens(&self, tokens: &mut TokenStream) {
        self.before.to_tokens(tokens);
        let (attributes, members) = (&self.inner_attributes, &self.members);
        let mut body = Group::new(Delimiter::Brace, quote!(#(#attributes)* #(#members)*));
        body.set_span(self.braces);
        body.to_tokens(tokens);
    }
}

impl ToTokens for Member {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        let attributes = &self.attributes;
        tokens.extend(quote!(#(#attributes)*));
        match &self.kind {
            MemberKind::Callable { visibility, signature, body } => {
                tokens.extend(quote!(#visibility #signature #body));
            }
            MemberKind::Other(other) => other.to_tokens(tokens),
        }
    }
}
