//! What a call gives back.

use super::call::Site;
use super::params::{bare, is_whole};
use crate::errors::Errors;
use crate::text;
use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::spanned::Spanned;
use syn::{
    AngleBracketedGenericArguments, GenericArgument, Path, PathArguments, ReturnType, Type, TypeImplTrait,
    TypeParamBound,
};

/// The output of a call.
pub(crate) struct Output {
    /// The type of its value, or of its items. `Self` is replaced in it.
    pub(crate) value: TokenStream,
    /// How the value arises.
    pub(crate) shape: Shape,
    /// Where its error's type stands, or what stands for it.
    pub(crate) error_span: Span,
    /// The whole type as written.
    pub(crate) text: String,
}

/// How the value of a call arises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// It is returned.
    Plain,
    /// It is in a `Result`, recognised by name.
    Fallible,
    /// The returned iterator makes one after another.
    Stream,
}

impl Output {
    pub(super) fn new(written: &ReturnType, site: &Site<'_>, errors: &mut Errors) -> Option<Self> {
        let ReturnType::Type(_, written) = written else {
            let (value, text) = (quote!(()), "()".to_owned());
            return Some(Self { value, shape: Shape::Plain, error_span: Span::call_site(), text });
        };
        let (value, shape) = match bare(written) {
            Type::ImplTrait(stream) => (item_of(stream, errors)?, Shape::Stream),
            Type::Path(path) if crate::parse::last_segment_is(&path.path, "Result") => {
                (value_of(&path.path, errors)?, Shape::Fallible)
            }
            ty => (ty, Shape::Plain),
        };
        let value = bare(value);
        if let Type::Reference(_) = value {
            errors.at(value, "the caller is elsewhere: return an owned value, like `String` for `&str`");
            return None;
        }
        if let Type::Never(_) = value {
            errors.at(
                value,
                "a remote call gives a value back: leave out `-> !`; an endless loop is a `()` too",
            );
            return None;
        }
        is_whole(value, site, errors).then(|| Self {
            value: site.named(value),
            shape,
            error_span: error_span(written),
            text: text::tidy(site.named(written)),
        })
    }
}

/// `T` of `Result<T, E>`.
fn value_of<'a>(result: &'a Path, errors: &mut Errors) -> Option<&'a Type> {
    let value = result.segments.last().and_then(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => types(arguments).next(),
        _ => None,
    });
    if value.is_none() {
        errors.at(result, "write the value's type: `Result<T, E>`");
    }
    value
}

/// Where `E` of `Result<T, E>` stands, or the whole type where it names none.
fn error_span(written: &Type) -> Span {
    let Type::Path(path) = bare(written) else { return written.span() };
    let error = path.path.segments.last().and_then(|segment| match &segment.arguments {
        PathArguments::AngleBracketed(arguments) => types(arguments).nth(1),
        _ => None,
    });
    error.unwrap_or(written).span()
}

fn types(arguments: &AngleBracketedGenericArguments) -> impl Iterator<Item = &Type> {
    arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    })
}

/// `T` of `impl Iterator<Item = T>`.
fn item_of<'a>(stream: &'a TypeImplTrait, errors: &mut Errors) -> Option<&'a Type> {
    let item = stream.bounds.iter().find_map(|bound| match bound {
        TypeParamBound::Trait(bound) => item_of_iterator(&bound.path),
        _ => None,
    });
    if item.is_none() {
        errors.at(stream, "write the type, or `impl Iterator<Item = T>` for a stream of values");
    }
    item
}

fn item_of_iterator(path: &Path) -> Option<&Type> {
    let segment = path.segments.last()?;
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
    if !segment.ident.to_string().ends_with("Iterator") {
        return None;
    }
    arguments.args.iter().find_map(|argument| match argument {
        GenericArgument::AssocType(item) if item.ident == "Item" => Some(&item.ty),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::{Output, Shape, Site};
    use crate::errors::Errors;
    use crate::text::tidy;
    use syn::parse_quote;

    fn output(written: &str) -> (Option<(String, Shape)>, Vec<String>) {
        let written: syn::ReturnType = syn::parse_str(written).expect("a return type");
        let class = parse_quote!(Counter);
        let mut errors = Errors::default();
        let output = Output::new(&written, &Site { kind: "method", this: Some(&class) }, &mut errors);
        (output.map(|output| (tidy(output.value), output.shape)), errors.messages())
    }

    #[test]
    fn the_written_type_says_what_comes_back() {
        for (written, value, shape) in [
            ("", "()", Shape::Plain),
            ("-> i64", "i64", Shape::Plain),
            ("-> (Self, ObjectRef<u8>)", "(Counter, ObjectRef<u8>)", Shape::Plain),
            ("-> Result<Vec<u8>, E>", "Vec<u8>", Shape::Fallible),
            ("-> std::io::Result<(u8)>", "u8", Shape::Fallible),
            ("-> Result<u8, &'static str>", "u8", Shape::Fallible),
            ("-> impl Iterator<Item = u8>", "u8", Shape::Stream),
            ("-> impl Send + ExactSizeIterator<Item = Vec<u8>> + '_", "Vec<u8>", Shape::Stream),
        ] {
            assert_eq!(output(written), (Some((value.to_owned(), shape)), Vec::new()), "{written}");
        }
    }

    #[test]
    fn what_cannot_come_back_says_why() {
        for (written, told) in [
            ("-> &str", "return an owned value"),
            ("-> Result<&str, E>", "return an owned value"),
            ("-> Option<&str>", "only a whole parameter can be borrowed"),
            ("-> impl Iterator<Item = &u8>", "return an owned value"),
            ("-> fmt::Result", "write the value's type"),
            ("-> impl Display", "write the type"),
            ("-> Vec<impl Display>", "write the type"),
            ("-> !", "leave out `-> !`"),
        ] {
            let (output, messages) = output(written);
            assert_eq!((output, messages.len()), (None, 1), "{written}: {messages:?}");
            assert!(messages[0].contains(told), "{written}: {messages:?}");
        }
    }
}
