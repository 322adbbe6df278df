//! Parameters: their names, and how a call passes them.

use super::call::Site;
use crate::errors::Errors;
use crate::text;
use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::{FnArg, Pat, PatType, Signature, Type, TypeReference};

/// The library's tuples of arguments end here.
const PARAMS_MAX: usize = 12;

/// One parameter, the receiver aside.
pub(crate) struct Param {
    /// Its name.
    pub(crate) name: Ident,
    /// How a call passes it.
    pub(crate) passing: Passing,
    /// Its type as written.
    pub(crate) text: String,
}

/// How a parameter gets its argument. `Self` is replaced in the types.
pub(crate) enum Passing {
    /// `T`
    Owned(TokenStream),
    /// `&str`
    Text(TokenStream),
    /// `&[U]`, with `U`
    Slice(TokenStream),
    /// `&T`
    Borrowed(TokenStream),
}

impl Param {
    /// The parameters of a signature, without its receiver; `None` if a call cannot pass them all.
    pub(super) fn all(signature: &Signature, site: &Site<'_>, errors: &mut Errors) -> Option<Vec<Self>> {
        let typed: Vec<_> = signature.inputs.iter().filter_map(typed).collect();
        if let Some(extra) = typed.get(PARAMS_MAX) {
            errors.at(
                extra,
                format_args!(
                    "a remote {} takes {PARAMS_MAX} parameters at most: put some of them into one struct",
                    site.kind
                ),
            );
        }
        let is_short = typed.len() <= PARAMS_MAX;
        let params: Vec<_> = typed.into_iter().map(|param| Self::new(param, site, errors)).collect();
        params.into_iter().collect::<Option<_>>().filter(|_| is_short)
    }

    fn new(param: &PatType, site: &Site<'_>, errors: &mut Errors) -> Option<Self> {
        let condition = param.attrs.iter().find(|attribute| attribute.path().is_ident("cfg"));
        if let Some(condition) = condition {
            errors.at(
                condition,
                "a parameter of a remote call cannot be conditional: write the whole item twice",
            );
        }
        let name = name(&param.pat);
        if name.is_none() {
            errors.at(&param.pat, "give this parameter a name: callers and other processes see it");
        }
        let passing = Passing::new(&param.ty, site, errors);
        let param = Self { name: name?, passing: passing?, text: text::tidy(site.named(&param.ty)) };
        condition.is_none().then_some(param)
    }
}

impl Passing {
    fn new(ty: &Type, site: &Site<'_>, errors: &mut Errors) -> Option<Self> {
        match bare(ty) {
            Type::Reference(reference) => Self::borrowed(reference, site, errors),
            Type::ImplTrait(generic) => {
                errors.at(
                    generic,
                    format_args!("`impl Trait` makes a remote {} generic: write the type", site.kind),
                );
                None
            }
            ty => is_whole(ty, site, errors).then(|| Self::Owned(site.named(ty))),
        }
    }

    fn borrowed(reference: &TypeReference, site: &Site<'_>, errors: &mut Errors) -> Option<Self> {
        let elem = bare(&reference.elem);
        if reference.mutability.is_some() {
            let owned = text::tidy(elem);
            errors.at(
                reference,
                format_args!("a remote call cannot borrow mutably: take `{owned}` and return it"),
            );
            return None;
        }
        if let Some(lifetime) = reference.lifetime.as_ref().filter(|lifetime| lifetime.ident == "static") {
            errors.at(lifetime, "a remote call lends its arguments while it runs: leave out `'static`");
            return None;
        }
        match elem {
            Type::Path(path) if path.path.is_ident("str") => Some(Self::Text(elem.to_token_stream())),
            Type::Slice(slice) => {
                is_whole(&slice.elem, site, errors).then(|| Self::Slice(site.named(&slice.elem)))
            }
            Type::TraitObject(object) => {
                errors.at(object, "a value of unknown type cannot be sent: write the type");
                None
            }
            elem => is_whole(elem, site, errors).then(|| Self::Borrowed(site.named(elem))),
        }
    }

    /// The type `T` of which an argument is an `IntoArg<T>`.
    pub(crate) fn accepts(&self) -> TokenStream {
        match self {
            Self::Owned(ty) | Self::Borrowed(ty) | Self::Text(ty) => ty.clone(),
            Self::Slice(elem) => quote!([#elem]),
        }
    }

    /// The type that must be a value, if the library does not know that it is one.
    pub(crate) fn value(&self) -> Option<&TokenStream> {
        match self {
            Self::Owned(ty) | Self::Borrowed(ty) | Self::Slice(ty) => Some(ty),
            Self::Text(_) => None,
        }
    }
}

fn typed(input: &FnArg) -> Option<&PatType> {
    match input {
        FnArg::Typed(param) => Some(param),
        FnArg::Receiver(_) => None,
    }
}

fn name(pattern: &Pat) -> Option<Ident> {
    match pattern {
        Pat::Ident(pattern) if pattern.by_ref.is_none() && pattern.subpat.is_none() => {
            Some(pattern.ident.clone())
        }
        _ => None,
    }
}

/// A type without the parentheses and invisible groups around it.
pub(super) fn bare(ty: &Type) -> &Type {
    match ty {
        Type::Paren(paren) => bare(&paren.elem),
        Type::Group(group) => bare(&group.elem),
        ty => ty,
    }
}

/// Refuses what makes a type generic or borrowed somewhere inside it; answers whether there was nothing.
pub(super) fn is_whole(ty: &Type, site: &Site<'_>, errors: &mut Errors) -> bool {
    let tokens = ty.to_token_stream();
    if let Some(token) = text::find(tokens.clone(), |token| is(token, "impl")) {
        errors.at(token, format_args!("`impl Trait` makes a remote {} generic: write the type", site.kind));
    } else if let Some(token) = text::find(tokens, |token| is(token, "&") || is(token, "_")) {
        errors.at(
            token,
            "only a whole parameter can be borrowed: write an owned type here, like `String` for `&str`",
        );
    } else {
        return true;
    }
    false
}

fn is(token: &TokenTree, text: &str) -> bool {
    match token {
        TokenTree::Ident(ident) => ident == text,
        TokenTree::Punct(punct) => text.starts_with(punct.as_char()) && text.len() == 1,
        TokenTree::Group(_) | TokenTree::Literal(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{Param, Passing, Site};
    use crate::errors::Errors;
    use crate::text::tidy;
    use syn::parse_quote;

    /// How a parameter of a type is passed, and what is wrong with it.
    fn passing(ty: &str) -> (Option<String>, Vec<String>) {
        let ty: syn::Type = syn::parse_str(ty).expect("a type");
        let class = parse_quote!(inner::Counter);
        let site = Site { kind: "method", this: Some(&class) };
        let mut errors = Errors::default();
        let passing = Passing::new(&ty, &site, &mut errors).map(|passing| match passing {
            Passing::Owned(ty) => format!("owned {}", tidy(ty)),
            Passing::Text(ty) => format!("text {}", tidy(ty)),
            Passing::Slice(elem) => format!("slice of {}", tidy(elem)),
            Passing::Borrowed(ty) => format!("borrowed {}", tidy(ty)),
        });
        (passing, errors.messages())
    }

    #[test]
    fn the_written_type_says_how_an_argument_is_passed() {
        for (ty, expected) in [
            ("i64", "owned i64"),
            ("(String)", "owned String"),
            ("ObjectRef<u8>", "owned ObjectRef<u8>"),
            ("Vec<Self>", "owned Vec<inner::Counter>"),
            ("Cow<'static, str>", "owned Cow<'static, str>"),
            ("&str", "text str"),
            ("&(str)", "text str"),
            ("&'_ str", "text str"),
            ("&[Self]", "slice of inner::Counter"),
            ("&[[u8; 4]]", "slice of [u8; 4]"),
            ("&Vec<u8>", "borrowed Vec<u8>"),
            ("&Matrix", "borrowed Matrix"),
            ("&(A, B)", "borrowed (A, B)"),
        ] {
            assert_eq!(passing(ty), (Some(expected.to_owned()), Vec::new()), "{ty}");
        }
    }

    #[test]
    fn what_cannot_be_passed_says_why() {
        for (ty, told) in [
            ("impl Display", "makes a remote method generic"),
            ("Vec<impl Display>", "makes a remote method generic"),
            ("&impl Display", "makes a remote method generic"),
            ("&mut Vec<u8>", "take `Vec<u8>` and return it"),
            ("&'static str", "leave out `'static`"),
            ("&dyn Display", "write the type"),
            ("Option<&str>", "only a whole parameter can be borrowed"),
            ("&&str", "only a whole parameter can be borrowed"),
            ("&[&str]", "only a whole parameter can be borrowed"),
            ("Cow<'_, str>", "only a whole parameter can be borrowed"),
        ] {
            let (passing, messages) = passing(ty);
            assert_eq!((passing, messages.len()), (None, 1), "{ty}: {messages:?}");
            assert!(messages[0].contains(told), "{ty}: {messages:?}");
        }
    }

    #[test]
    fn every_wrong_parameter_is_told() {
        let signature: syn::Signature =
            parse_quote!(fn f(&self, (a, b): (u8, u8), ref c: u8, mut d: u8, e: &mut u8));
        let mut errors = Errors::default();
        let site = Site { kind: "method", this: None };
        assert!(Param::all(&signature, &site, &mut errors).is_none());
        assert_eq!(errors.messages().len(), 3);
    }
}
