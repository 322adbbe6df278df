//! Remote classes.

use super::call::Site;
use super::docs::lints;
use super::{Call, Shape, generics, params};
use crate::errors::Errors;
use crate::options::{self, Place, Settings};
use crate::parse::{Block, Member, MemberKind};
use proc_macro2::Ident;
use quote::ToTokens;
use syn::{Attribute, ItemImpl, Meta, Path, Signature, Type, Visibility};

/// A remote class.
pub(crate) struct Class {
    /// Its type as written.
    pub(crate) path: Path,
    /// The last part of its type.
    pub(crate) name: Ident,
    /// What makes its actors.
    pub(crate) constructor: Call,
    /// Its remote methods.
    pub(crate) methods: Vec<Call>,
    /// The options that its attribute gives.
    pub(crate) settings: Settings,
    /// Its lint levels, for generated code that mentions its types again.
    pub(crate) lints: Vec<Attribute>,
}

impl Class {
    /// Checks a class; `None` if nothing can be expanded.
    pub(crate) fn new(block: &Block<ItemImpl>, settings: Settings, errors: &mut Errors) -> Option<Self> {
        let is_plain = generics::refuse(&block.header.generics, "class", errors);
        let path = class_path(&block.header.self_ty, errors)?;
        let name = path.segments.last()?.ident.clone();
        let mut constructors = Vec::new();
        let mut methods = Vec::new();
        for member in &block.members {
            match Role::of(member) {
                Role::Constructor(written) => constructors.push(constructor(written, &path, errors)),
                Role::Method(written) => methods.push(method(written, &path, errors)),
                Role::Ordinary => refuse_options(member, errors),
            }
        }
        if constructors.is_empty() {
            errors.at(&path, WITHOUT_CONSTRUCTOR);
        }
        let names_are_free = refuse_taken_names(block, errors);
        let constructor = only(constructors, errors)?;
        let methods = methods.into_iter().collect::<Option<Vec<_>>>()?;
        let members = block.members.iter().flat_map(|member| &member.attributes);
        let attributes: Vec<_> = block.header.attrs.iter().chain(members).cloned().collect();
        (is_plain && names_are_free).then(|| Self {
            path,
            name,
            constructor,
            methods,
            settings,
            lints: lints(&attributes),
        })
    }

    /// Whether its actors run on an event loop.
    pub(crate) fn is_async(&self) -> bool {
        self.methods.iter().any(|method| method.is_async)
    }
}

const WITHOUT_CONSTRUCTOR: &str = "a remote class has one `impl` with its constructor and all its remote \
                                   methods: add `pub fn new() -> Self` here, or move these methods there";

/// A callable member.
#[derive(Clone, Copy)]
struct Written<'a> {
    member: &'a Member,
    visibility: &'a Visibility,
    signature: &'a Signature,
}

/// What a member is to the class.
enum Role<'a> {
    Constructor(Written<'a>),
    Method(Written<'a>),
    Ordinary,
}

impl<'a> Role<'a> {
    fn of(member: &'a Member) -> Self {
        let MemberKind::Callable { visibility, signature, .. } = &member.kind else { return Self::Ordinary };
        let written = Written { member, visibility, signature };
        match signature.receiver() {
            _ if signature.ident == "new" => Self::Constructor(written),
            Some(_) if !is_private(visibility) => Self::Method(written),
            _ => Self::Ordinary,
        }
    }
}

/// Without `pub`, or with `pub(self)`.
fn is_private(visibility: &Visibility) -> bool {
    match visibility {
        Visibility::Inherited => true,
        Visibility::Restricted(restricted) => restricted.path.is_ident("self"),
        Visibility::Public(_) => false,
    }
}

fn class_path(ty: &Type, errors: &mut Errors) -> Option<Path> {
    match params::bare(ty) {
        Type::Path(path) if path.qself.is_none() => Some(path.path.clone()),
        ty => {
            errors.at(ty, "a remote class is a struct or an enum of your own");
            None
        }
    }
}

fn constructor(written: Written<'_>, class: &Path, errors: &mut Errors) -> Option<Call> {
    let Written { member, visibility, signature } = written;
    refuse_options(member, errors);
    if let Some(keyword) = &signature.asyncness {
        errors.at(keyword, "`new` cannot be async: keep it short, and let an async method do what waits");
        return None;
    }
    if let Some(receiver) = signature.receiver() {
        errors.at(receiver, "`new` makes the actor, so that there is no `self` yet: leave it out");
        return None;
    }
    let site = Site { kind: "constructor", this: Some(class) };
    let call = Call::new(signature, visibility, &member.attributes, &site, errors)?;
    let value = call.output.value.to_string();
    if call.output.shape == Shape::Stream || value != class.to_token_stream().to_string() {
        let message = "`new` makes the actor: return `Self` or `Result<Self, E>`";
        match &signature.output {
            syn::ReturnType::Default => errors.at(&signature.ident, message),
            syn::ReturnType::Type(_, ty) => errors.at(ty, message),
        }
        return None;
    }
    Some(call)
}

/// The one constructor; `None` if there is none, if it is not right, or if there are more.
fn only(constructors: Vec<Option<Call>>, errors: &mut Errors) -> Option<Call> {
    let mut constructors = constructors.into_iter();
    let first = constructors.next()?;
    match constructors.next() {
        None => first,
        Some(second) => {
            let name = second.map(|call| call.name.to_token_stream());
            let message = "a remote class has one `new`: put what differs, and its `cfg`, inside it";
            errors.at(name.unwrap_or_default(), message);
            None
        }
    }
}

fn method(written: Written<'_>, class: &Path, errors: &mut Errors) -> Option<Call> {
    let Written { member, visibility, signature } = written;
    let settings = method_settings(member, errors);
    let site = Site { kind: "method", this: Some(class) };
    let call = Call::new(signature, visibility, &member.attributes, &site, errors)?;
    Some(call.with(settings))
}

/// The options on a method.
pub(super) fn method_settings(member: &Member, errors: &mut Errors) -> Settings {
    if let Some(second) = member.remote.get(1) {
        errors.at(second, "one `#[remote(..)]` a method: put all options into the first");
    }
    match member.remote.first().map(|attribute| &attribute.meta) {
        Some(Meta::List(list)) => options::read(list.tokens.clone(), Place::Method, errors),
        Some(Meta::NameValue(wrong)) => {
            errors.at(wrong, "write `#[remote(option = value)]`");
            Settings::default()
        }
        Some(Meta::Path(_)) | None => Settings::default(),
    }
}

/// Refuses `#[remote(..)]` on a member that is not remote.
fn refuse_options(member: &Member, errors: &mut Errors) {
    let MemberKind::Callable { signature, .. } = &member.kind else {
        for attribute in &member.remote {
            errors.at(attribute, "only methods are remote: leave this out");
        }
        return;
    };
    for attribute in &member.remote {
        let message = if signature.ident == "new" {
            "options of a class stand on its `impl`"
        } else if signature.receiver().is_none() {
            "a function without `self` stays ordinary: move it out of the `impl`, or take `&self`"
        } else {
            "a private method stays ordinary: make it `pub`"
        };
        errors.at(attribute, message);
    }
}

/// Refuses the names of what is generated beside the members; answers whether they are free.
fn refuse_taken_names(block: &Block<ItemImpl>, errors: &mut Errors) -> bool {
    let mut are_free = true;
    for member in &block.members {
        let MemberKind::Callable { signature, .. } = &member.kind else { continue };
        let name = &signature.ident;
        if name == "remote" || name == "options" {
            errors.at(
                name,
                format_args!("`#[remote]` itself makes a function `{name}` for the class: rename this one"),
            );
            are_free = false;
        }
    }
    are_free
}
