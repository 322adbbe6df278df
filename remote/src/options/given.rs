//! One option as written, and what it becomes.

use super::known::{self, Known, Place, Takes};
use super::settings::Settings;
use crate::text::{generated, here};
use crate::units;
use proc_macro2::{Ident, Literal, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use std::fmt::Display;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitStr, Result, Token, UnOp, token};

/// The most that an option of the builder's type `u32` takes.
const COUNT_MAX: u64 = u32::MAX as u64;
/// The most that an option of the builder's type `usize` takes.
const SIZE_MAX: u64 = usize::MAX as u64;

/// One option as written.
pub(super) struct Given {
    /// Its name.
    pub(super) name: Ident,
    value: Value,
}

enum Value {
    /// `detached`
    Nothing,
    /// `num_cpus = 2`
    Single(Box<Expr>),
    /// `resources(a = 1)`, still unread: only some options take it
    Table(TokenStream),
}

/// `key = value` in a table; a key that is no word stands in quotes.
struct Row {
    key: LitStr,
    value: Expr,
}

impl Given {
    /// All options of one attribute.
    pub(super) fn list(input: ParseStream<'_>) -> Result<Vec<Self>> {
        let list = input.parse_terminated(Self::parse, Token![,])?;
        Ok(list.into_iter().collect())
    }

    /// Adds the option to `settings`, if it is known, belongs here, and has a value that fits.
    pub(super) fn apply(&self, place: Place, settings: &mut Settings) -> Result<()> {
        let name = self.name.to_string();
        let Some(known) = known::find(&name) else {
            return Err(self.unknown(place));
        };
        if !known.places.contains(&place) {
            return Err(self.misplaced(known, place));
        }
        match known.takes {
            Takes::Concurrency => {
                let value = self.single(known.takes)?;
                settings.max_concurrency = Some(self.whole(value, 1, SIZE_MAX)?);
            }
            takes => settings.calls.extend(self.calls(takes, place)?),
        }
        Ok(())
    }

    /// The calls of the builder that stand for the option.
    fn calls(&self, takes: Takes, place: Place) -> Result<TokenStream> {
        let argument = match takes {
            Takes::Resources => return self.each(takes, &quote!(resource), Self::number),
            Takes::Environment => return self.each(takes, &quote!(env), Self::text),
            Takes::Flag => {
                let method = self.method();
                return Ok(if self.flag()? { quote!(.#method()) } else { TokenStream::new() });
            }
            Takes::Switch => match &self.value {
                Value::Nothing => quote!(true),
                _ => self.boolean(self.single(takes)?)?,
            },
            Takes::Number => self.number(self.single(takes)?)?,
            Takes::Count => self.whole(self.single(takes)?, 0, COUNT_MAX)?,
            Takes::Size | Takes::Concurrency => self.whole(self.single(takes)?, 0, SIZE_MAX)?,
            Takes::Bytes => self.bytes(self.single(takes)?)?,
            Takes::Duration => self.duration(self.single(takes)?)?,
            Takes::Text => self.text(self.single(takes)?)?,
            Takes::Isolation => self.isolation(self.single(takes)?, place)?,
        };
        let method = self.method();
        Ok(quote!(.#method(#argument)))
    }

    /// The builder's method: it has the option's name.
    fn method(&self) -> Ident {
        generated(&self.name)
    }

    /// The value of an option that takes one.
    fn single(&self, takes: Takes) -> Result<&Expr> {
        match &self.value {
            Value::Single(value) => Ok(value),
            Value::Nothing | Value::Table(_) => Err(self.wrong_form(takes)),
        }
    }

    /// One call of `method` for each row of a table.
    fn each(
        &self,
        takes: Takes,
        method: &TokenStream,
        read: fn(&Self, &Expr) -> Result<TokenStream>,
    ) -> Result<TokenStream> {
        let Value::Table(rows) = &self.value else {
            return Err(self.wrong_form(takes));
        };
        let rows = Row::list.parse2(rows.clone())?;
        let calls = rows.iter().map(|Row { key, value }| {
            let value = read(self, value)?;
            Ok(quote!(.#method(#key, #value)))
        });
        calls.collect()
    }

    fn flag(&self) -> Result<bool> {
        match &self.value {
            Value::Nothing => Ok(true),
            Value::Single(value) => match literal(value) {
                Some((Lit::Bool(value), false)) => Ok(value.value),
                _ => Err(self.wrong_value(value, "`true` or `false`, or stands alone")),
            },
            Value::Table(_) => Err(self.wrong_form(Takes::Flag)),
        }
    }

    fn boolean(&self, value: &Expr) -> Result<TokenStream> {
        match literal(value) {
            Some((Lit::Bool(_), false)) | None => Ok(value.to_token_stream()),
            Some(_) => Err(self.wrong_value(value, "`true` or `false`, or stands alone")),
        }
    }

    fn number(&self, value: &Expr) -> Result<TokenStream> {
        let (number, negative) = match literal(value) {
            Some((Lit::Int(number), negative)) => (number.base10_digits().parse::<f64>(), negative),
            Some((Lit::Float(number), negative)) => (number.base10_digits().parse::<f64>(), negative),
            Some(_) => return Err(self.wrong_value(value, "a number, like `2` or `0.5`")),
            None => return Ok(quote_spanned!(here(value.span())=> ((#value) as f64))),
        };
        match number {
            Ok(_) if negative => {
                Err(Error::new_spanned(value, format!("`{}` cannot be negative", self.name)))
            }
            Ok(number) if number.is_finite() => Ok(quote_spanned!(here(value.span())=> #number)),
            _ => Err(self.wrong_value(value, "a number that is not beyond all measure")),
        }
    }

    /// A whole number from `least` to `most`.
    fn whole(&self, value: &Expr, least: u64, most: u64) -> Result<TokenStream> {
        let number = match literal(value) {
            Some((Lit::Int(_) | Lit::Float(_), true)) => return Err(self.negative(value, most)),
            Some((Lit::Int(number), false)) => number,
            Some(_) => return Err(self.wrong_value(value, "a whole number, like `3`")),
            None => return Ok(value.to_token_stream()),
        };
        match number.base10_parse::<u64>() {
            Ok(count) if count < least => Err(self.wrong_value(value, format_args!("at least {least}"))),
            Ok(count) if count <= most => {
                let mut plain = Literal::u64_unsuffixed(count);
                plain.set_span(here(value.span()));
                Ok(plain.to_token_stream())
            }
            _ => Err(self.wrong_value(value, format_args!("at most {most}"))),
        }
    }

    fn negative(&self, value: &Expr, most: u64) -> Error {
        let without_limit = if most == COUNT_MAX { ": for no limit write `u32::MAX`" } else { "" };
        Error::new_spanned(value, format!("`{}` cannot be negative{without_limit}", self.name))
    }

    fn bytes(&self, value: &Expr) -> Result<TokenStream> {
        match literal(value) {
            Some((Lit::Str(text), false)) => {
                let bytes = units::bytes(&text.value()).map_err(|wrong| Error::new_spanned(value, wrong))?;
                Ok(quote_spanned!(here(value.span())=> #bytes))
            }
            Some((Lit::Int(_), _)) => self.whole(value, 0, u64::MAX),
            Some(_) => Err(self.wrong_value(value, "bytes, like `\"2GiB\"` or `1024`")),
            None => Ok(value.to_token_stream()),
        }
    }

    fn duration(&self, value: &Expr) -> Result<TokenStream> {
        match literal(value) {
            Some((Lit::Str(text), false)) => {
                let time =
                    units::milliseconds(&text.value()).map_err(|wrong| Error::new_spanned(value, wrong))?;
                Ok(quote_spanned!(here(value.span())=> ::core::time::Duration::from_millis(#time)))
            }
            Some(_) => Err(self.wrong_value(value, "a time with its unit, like `\"30s\"`")),
            None => Ok(value.to_token_stream()),
        }
    }

    fn text(&self, value: &Expr) -> Result<TokenStream> {
        match literal(value) {
            Some((Lit::Str(_), false)) | None => Ok(value.to_token_stream()),
            Some(_) => Err(self.wrong_value(value, "a text, like `\"one\"`")),
        }
    }

    fn isolation(&self, value: &Expr, place: Place) -> Result<TokenStream> {
        let text = match literal(value) {
            Some((Lit::Str(text), false)) => text.value(),
            Some(_) => String::new(),
            None => return Ok(value.to_token_stream()),
        };
        match (text.as_str(), place) {
            ("thread" | "process", _) | ("shared", Place::Class) => Ok(value.to_token_stream()),
            ("shared", _) => Err(Error::new_spanned(
                value,
                "`\"shared\"` is for classes: a function runs with `\"thread\"` or `\"process\"`",
            )),
            (_, Place::Class) => Err(self.wrong_value(value, "`\"thread\"`, `\"shared\"` or `\"process\"`")),
            _ => Err(self.wrong_value(value, "`\"thread\"` or `\"process\"`")),
        }
    }

    fn wrong_value(&self, value: &Expr, takes: impl Display) -> Error {
        Error::new_spanned(value, format!("`{}` takes {takes}", self.name))
    }

    fn wrong_form(&self, takes: Takes) -> Error {
        let name = &self.name;
        Error::new(
            name.span(),
            match takes {
                Takes::Flag | Takes::Switch => format!("write `{name}` or `{name} = false`"),
                Takes::Resources => format!("write `{name}(tpu = 2)`"),
                Takes::Environment => format!("write `{name}(RUST_LOG = \"info\")`"),
                Takes::Number | Takes::Count | Takes::Size | Takes::Concurrency => {
                    format!("write `{name} = 2`")
                }
                Takes::Bytes => format!("write `{name} = \"2GiB\"`"),
                Takes::Duration => format!("write `{name} = \"30s\"`"),
                Takes::Isolation => format!("write `{name} = \"process\"`"),
                Takes::Text => format!("write `{name} = \"one\"`"),
            },
        )
    }

    fn unknown(&self, place: Place) -> Error {
        let name = self.name.to_string();
        let advice = known::advice(&name).map_or(String::new(), |advice| format!(": {advice}"));
        self.error(format!("there is no option `{name}`{advice}\n{}", known::list(place)))
    }

    fn misplaced(&self, known: &Known, place: Place) -> Error {
        let owners: Vec<_> = known.places.iter().map(|owner| format!("a {owner}")).collect();
        let owners = owners.join(" or ");
        self.error(format!(
            "`{}` is an option of {owners}, not of a {place}\n{}",
            known.name,
            known::list(place)
        ))
    }

    fn error(&self, message: String) -> Error {
        Error::new(self.name.span(), message)
    }
}

impl Parse for Given {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.call(Ident::parse_any)?;
        let value = if input.peek(Token![=]) {
            input.parse::<Token![=]>()?;
            Value::Single(Box::new(input.parse()?))
        } else if input.peek(token::Paren) {
            let rows;
            syn::parenthesized!(rows in input);
            Value::Table(rows.parse()?)
        } else {
            Value::Nothing
        };
        Ok(Self { name, value })
    }
}

impl Row {
    fn list(input: ParseStream<'_>) -> Result<Vec<Self>> {
        let list = input.parse_terminated(Self::parse, Token![,])?;
        Ok(list.into_iter().collect())
    }
}

impl Parse for Row {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let key = if input.peek(LitStr) {
            input.parse()?
        } else {
            let key = input.call(Ident::parse_any)?;
            LitStr::new(&key.unraw().to_string(), key.span())
        };
        input.parse::<Token![=]>()?;
        Ok(Self { key, value: input.parse()? })
    }
}

/// The literal that an expression is, and whether it is negated.
fn literal(value: &Expr) -> Option<(&Lit, bool)> {
    match value {
        Expr::Lit(ExprLit { lit, .. }) => Some((lit, false)),
        Expr::Group(group) => literal(&group.expr),
        Expr::Paren(paren) => literal(&paren.expr),
        Expr::Unary(ExprUnary { op: UnOp::Neg(_), expr, .. }) => {
            literal(expr).map(|(lit, negative)| (lit, !negative))
        }
        _ => None,
    }
}
