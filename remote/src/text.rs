//! Tokens as text, and small changes of tokens.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::ToTokens;

/// Tokens as a person writes a type: `Result<Vec<i64>, MyErr>`. The text does not depend on the compiler's
/// version, so hashes may be made of it.
pub(crate) fn tidy(tokens: impl ToTokens) -> String {
    let mut text = String::new();
    write(tokens.to_token_stream(), &mut text);
    text
}

fn write(tokens: TokenStream, text: &mut String) {
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = brackets(group.delimiter());
                text.push_str(open);
                write(group.stream(), text);
                text.truncate(text.trim_end().len());
                text.push_str(close);
            }
            TokenTree::Punct(punct) => write_punct(punct.as_char(), text),
            TokenTree::Ident(ident) => write_word(&ident.to_string(), text),
            TokenTree::Literal(literal) => write_word(&literal.to_string(), text),
        }
    }
}

fn brackets(delimiter: Delimiter) -> (&'static str, &'static str) {
    match delimiter {
        Delimiter::Parenthesis => ("(", ")"),
        Delimiter::Brace => ("{", "}"),
        Delimiter::Bracket => ("[", "]"),
        Delimiter::None => ("", ""),
    }
}

fn write_punct(punct: char, text: &mut String) {
    match punct {
        ',' | ';' => text.extend([punct, ' ']),
        '+' | '=' => text.extend([' ', punct, ' ']),
        '>' if text.ends_with('-') => {
            text.insert(text.len() - 1, ' ');
            text.push_str("> ");
        }
        '>' => {
            text.truncate(text.trim_end_matches([',', ' ']).len());
            text.push('>');
        }
        _ => text.push(punct),
    }
}

fn write_word(word: &str, text: &mut String) {
    if text.ends_with(|last: char| last.is_alphanumeric() || "_>".contains(last)) {
        text.push(' ');
    }
    text.push_str(word);
}

/// FNV-1a, 64 bits.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The first token, at any depth, that `wanted` accepts.
pub(crate) fn find(tokens: TokenStream, wanted: fn(&TokenTree) -> bool) -> Option<TokenTree> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Group(group) => find(group.stream(), wanted),
        token => wanted(&token).then_some(token),
    })
}

/// `tokens` with `this` for every `Self`.
pub(crate) fn replace_self(tokens: TokenStream, this: &TokenStream) -> TokenStream {
    let mut replaced = TokenStream::new();
    for token in tokens {
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), replace_self(group.stream(), this));
                inner.set_span(group.span());
                replaced.extend([TokenTree::Group(inner)]);
            }
            TokenTree::Ident(ident) if ident == "Self" => {
                replaced.extend(this.clone().into_iter().map(|mut token| {
                    token.set_span(token.span().located_at(ident.span()));
                    token
                }));
            }
            token => replaced.extend([token]),
        }
    }
    replaced
}

/// `ident` as generated code names it: it stands where the user wrote it, for editors and messages, but
/// belongs to the expansion, so that lints about names do not fire a second time.
pub(crate) fn generated(ident: &Ident) -> Ident {
    let mut ident = ident.clone();
    ident.set_span(here(ident.span()));
    ident
}

/// A word of generated code that leads an editor to `span`.
pub(crate) fn at(word: &str, span: Span) -> Ident {
    Ident::new(word, here(span))
}

/// A span of generated code that stands at `span`.
pub(crate) fn here(span: Span) -> Span {
    span.resolved_at(Span::call_site())
}

#[cfg(test)]
mod tests {
    use super::{find, fnv1a, replace_self, tidy};
    use proc_macro2::{TokenStream, TokenTree};
    use quote::quote;

    #[test]
    fn types_read_as_written() {
        for text in [
            "i64",
            "&str",
            "&[f64]",
            "&mut T",
            "Result<Vec<i64>, MyErr>",
            "(A, B)",
            "[u8; 4]",
            "HashMap<String, Vec<(u8, u16)>>",
            "impl Iterator<Item = u8> + Send",
            "Box<dyn Fn(u8) -> u8 + Send>",
            "crate::inner::Matrix<{ N }>".replace("{ N }", "{N}").as_str(),
            "&'static str",
            "Option<r#type>",
            "(A,)",
            "<Vec<u8> as Trait>::Item",
            "dyn for<'a> Fn(&'a T)",
        ] {
            let tokens: TokenStream = text.parse().expect("a type");
            assert_eq!(tidy(tokens), text);
        }
    }

    #[test]
    fn hash_is_fnv1a() {
        assert_eq!(fnv1a(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn self_is_replaced_at_any_depth() {
        let tokens = replace_self(quote!(Result<(Self, [u8; Self::N]), E>), &quote!(inner::Counter));
        assert_eq!(tidy(tokens), "Result<(inner::Counter, [u8; inner::Counter::N]), E>");
    }

    #[test]
    fn tokens_are_found_at_any_depth() {
        let is_impl = |token: &TokenTree| token.to_string() == "impl";
        assert!(find(quote!((u8, Box<impl Copy>)), is_impl).is_some());
        assert!(find(quote!((u8, implement)), is_impl).is_none());
    }
}
