//! The options on attributes: which there are, where each belongs, and what it takes.
//!
//! An option becomes a call of the builder `Options`. Literals are checked here; any other expression is left to the
//! compiler, which knows its type.

use crate::errors::Errors;
use crate::units;
use proc_macro2::{Ident, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use std::fmt::{self, Display};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, ExprUnary, Lit, LitStr, Result, Token, UnOp, token};

/// What options are given to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A function.
    Function,
    /// A class.
    Class,
    /// A method of a class or a trait.
    Method,
}

impl Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Function => "function",
            Self::Class => "class",
            Self::Method => "method",
        })
    }
}

/// Options that were read.
#[derive(Default)]
pub(crate) struct Settings {
    /// Calls of the builder, in the order written: `.num_cpus(2.0_f64)`.
    pub(crate) calls: TokenStream,
    /// How many calls may overlap; apart, because it asks something of the class.
    pub(crate) max_concurrency: Option<TokenStream>,
}

impl Settings {
    /// Whether nothing was set.
    pub(crate) fn is_plain(&self) -> bool {
        self.calls.is_empty() && self.max_concurrency.is_none()
    }
}

/// What the value of an option may be.
#[derive(Clone, Copy)]
enum Takes {
    /// A number with a fraction, not negative.
    Number,
    /// A whole number of 32 bits; many there stand for "without limit".
    Count,
    /// A whole number of the machine's size.
    Size,
    /// The same, at least 1, and not for the builder.
    Concurrency,
    /// Bytes, or a text with a unit.
    Bytes,
    /// A duration, or a text with a unit.
    Duration,
    /// A text.
    Text,
    /// `"thread"`, `"shared"` or `"process"`.
    Isolation,
    /// Nothing, or a literal `true` or `false`; the builder's method takes nothing.
    Flag,
    /// Nothing, or a `bool`.
    Switch,
    /// Named numbers, one call of the builder's `resource` each.
    Resources,
    /// Named texts, one call of the builder's `env` each.
    Environment,
}

struct Known {
    name: &'static str,
    places: &'static [Place],
    takes: Takes,
}

const fn known(name: &'static str, places: &'static [Place], takes: Takes) -> Known {
    Known { name, places, takes }
}

/// The most that an option of the builder's type `u32` takes.
const COUNT_MAX: u64 = u32::MAX as u64;
/// The most that an option of the builder's type `usize` takes.
const SIZE_MAX: u64 = usize::MAX as u64;

const EVERYWHERE: &[Place] = &[Place::Function, Place::Class, Place::Method];
const STARTED: &[Place] = &[Place::Function, Place::Class];
const FUNCTIONS: &[Place] = &[Place::Function];
const CLASSES: &[Place] = &[Place::Class];
const ACTORS: &[Place] = &[Place::Class, Place::Method];

const KNOWN: &[Known] = &[
    known("num_cpus", STARTED, Takes::Number),
    known("num_gpus", STARTED, Takes::Number),
    known("memory", STARTED, Takes::Bytes),
    known("resources", STARTED, Takes::Resources),
    known("max_retries", FUNCTIONS, Takes::Count),
    known("retry_on_error", EVERYWHERE, Takes::Switch),
    known("max_restarts", CLASSES, Takes::Count),
    known("max_task_retries", ACTORS, Takes::Count),
    known("max_concurrency", CLASSES, Takes::Concurrency),
    known("max_pending_calls", CLASSES, Takes::Size),
    known("max_calls", STARTED, Takes::Count),
    known("isolation", STARTED, Takes::Isolation),
    known("timeout", EVERYWHERE, Takes::Duration),
    known("name", STARTED, Takes::Text),
    known("namespace", CLASSES, Takes::Text),
    known("detached", CLASSES, Takes::Flag),
    known("get_if_exists", CLASSES, Takes::Flag),
    known("env", STARTED, Takes::Environment),
    known("placement", STARTED, Takes::Text),
];

/// What Ray calls it, and what to write here.
const NAMES_IN_RAY: &[(&str, &str)] = &[
    ("lifetime", "write `detached`"),
    ("num_returns", "return a tuple and call `split()` on its ref"),
    ("retry_exceptions", "write `retry_on_error`"),
    ("runtime_env", "write `env(NAME = \"value\")`"),
    ("scheduling_strategy", "write `placement`"),
    ("concurrency_groups", "`&self` methods overlap, `&mut self` methods do not"),
    ("resource", "write `resources(name = amount)`"),
];

/// Reads the options of one attribute. What is wrong is left out of the answer and told in `errors`.
pub(crate) fn read(tokens: TokenStream, place: Place, errors: &mut Errors) -> Settings {
    let mut settings = Settings::default();
    let given = match Given::list.parse2(tokens) {
        Ok(given) => given,
        Err(error) => {
            errors.push(error);
            return settings;
        }
    };
    for (at, option) in given.iter().enumerate() {
        if given[..at].iter().any(|earlier| earlier.name == option.name) {
            errors.at(&option.name, format_args!("`{}` is given twice: keep one", option.name));
        } else if let Err(error) = option.apply(place, &mut settings) {
            errors.push(error);
        }
    }
    settings
}

/// One option as written.
struct Given {
    name: Ident,
    value: Value,
}

enum Value {
    /// `detached`
    Nothing,
    /// `num_cpus = 2`
    Single(Expr),
    /// `resources(a = 1)`, still unread: only some options take it
    Table(TokenStream),
}

/// `key = value` in a table; a key that is no word stands in quotes.
struct Row {
    key: LitStr,
    value: Expr,
}

impl Given {
    fn list(input: ParseStream<'_>) -> Result<Vec<Self>> {
        let list = input.parse_terminated(Self::parse, Token![,])?;
        Ok(list.into_iter().collect())
    }

    /// Adds the option to `settings`, if it is known, belongs here, and has a value that fits.
    fn apply(&self, place: Place, settings: &mut Settings) -> Result<()> {
        let name = self.name.to_string();
        let Some(known) = KNOWN.iter().find(|known| known.name == name) else {
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
        crate::text::generated(&self.name)
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
            None => return Ok(quote_spanned!(value.span()=> ((#value) as f64))),
        };
        match number {
            Ok(_) if negative => Err(Error::new_spanned(value, format!("`{}` cannot be negative", self.name))),
            Ok(number) if number.is_finite() => Ok(quote_spanned!(value.span()=> #number)),
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
                let mut plain = proc_macro2::Literal::u64_unsuffixed(count);
                plain.set_span(value.span());
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
                Ok(quote_spanned!(value.span()=> #bytes))
            }
            Some((Lit::Int(_), _)) => self.whole(value, 0, u64::MAX),
            Some(_) => Err(self.wrong_value(value, "bytes, like `\"2GiB\"` or `1024`")),
            None => Ok(value.to_token_stream()),
        }
    }

    fn duration(&self, value: &Expr) -> Result<TokenStream> {
        match literal(value) {
            Some((Lit::Str(text), false)) => {
                let time = units::milliseconds(&text.value()).map_err(|wrong| Error::new_spanned(value, wrong))?;
                Ok(quote_spanned!(value.span()=> ::core::time::Duration::from_millis(#time)))
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
                Takes::Number | Takes::Count | Takes::Size | Takes::Concurrency => format!("write `{name} = 2`"),
                Takes::Bytes => format!("write `{name} = \"2GiB\"`"),
                Takes::Duration => format!("write `{name} = \"30s\"`"),
                Takes::Isolation => format!("write `{name} = \"process\"`"),
                Takes::Text => format!("write `{name} = \"one\"`"),
            },
        )
    }

    fn unknown(&self, place: Place) -> Error {
        let name = self.name.to_string();
        let advice = if let Some((_, advice)) = NAMES_IN_RAY.iter().find(|(ray, _)| *ray == name) {
            (*advice).to_owned()
        } else if let Some(near) = nearest(&name) {
            format!("did you mean `{near}`?")
        } else {
            String::new()
        };
        let advice = if advice.is_empty() { advice } else { format!(": {advice}") };
        self.error(format!("there is no option `{name}`{advice}\n{}", list(place)))
    }

    fn misplaced(&self, known: &Known, place: Place) -> Error {
        let owners: Vec<_> = known.places.iter().map(|owner| format!("a {owner}")).collect();
        let owners = owners.join(" or ");
        self.error(format!("`{}` is an option of {owners}, not of a {place}\n{}", known.name, list(place)))
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
            Value::Single(input.parse()?)
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

/// "a function takes `num_cpus`, ..."
fn list(place: Place) -> String {
    let names: Vec<_> = KNOWN
        .iter()
        .filter(|known| known.places.contains(&place))
        .map(|known| format!("`{}`", known.name))
        .collect();
    format!("a {place} takes {}", names.join(", "))
}

/// The option whose name is nearest, if one is near.
fn nearest(name: &str) -> Option<&'static str> {
    let near = KNOWN.iter().map(|known| (distance(name, known.name), known.name)).min()?;
    (near.0 <= name.len().min(9) / 3).then_some(near.1)
}

/// How many letters to add, drop or change to get from one word to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, letter) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for j in 0..to.len() {
            let change = diagonal + usize::from(letter != to[j]);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}
