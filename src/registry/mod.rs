//! What `#[remote]` registered at link time: functions, classes, methods and which class has which trait.
//!
//! ```text
//! name, parameters, docs ◄── Entry ──► open: bytes of arguments ──► the call, typed
//! ```
//!
//! The entries stand in a section of the executable, so they are there before `main` and before any
//! constructor, and never change. [`check`] refuses two functions of one identity when a session
//! starts; the gateway lists what stands here; a process that is told to run a function opens it here.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use crate::error::{Error, ErrorKind, Result};
use crate::id::{ActorId, CallerId};
use crate::spec::{ClassDefinition, Definition, Sharing};
use crate::store::Object;
use crate::value::Unpacker;

/// One thing that a `#[remote]` registered.
#[derive(Clone, Copy)]
pub enum Entry {
    /// A function.
    Function(&'static Definition, Opener),
    /// A class.
    Class(&'static ClassDefinition, ClassEntry),
    /// A method, of a class or of a remote trait.
    Method(&'static Definition, Opener),
    /// A class that has a remote trait.
    Implementation(&'static Implementation),
}

/// All entries of this executable.
#[linkme::distributed_slice]
pub static ENTRIES: [Entry];

/// Makes a call of arguments that came as bytes.
#[derive(Clone, Copy)]
pub struct Opener(pub(crate) fn(&mut Opening<'_>) -> Result<Arc<dyn Object>>);

/// What a call is made of that comes from another process.
pub(crate) struct Opening<'a> {
    pub(crate) args: Unpacker<'a>,
    pub(crate) caller: CallerId,
    /// The actor whose method it is, and its class.
    pub(crate) actor: Option<(ActorId, TypeId)>,
    /// Whether the class's `&self` calls overlap on threads.
    pub(crate) sharing: Option<Sharing>,
    /// Where items of a stream go.
    pub(crate) items: Option<Arc<dyn Items>>,
    /// The objects among the arguments that are not there, or have failed.
    pub(crate) needs: Vec<Arc<dyn Object>>,
}

/// Takes the items of a stream that another process reads.
pub(crate) trait Items: Send + Sync {
    /// Takes the next item, waiting while the reader is far behind; `Cancelled` if nobody reads.
    fn push(&self, item: crate::value::Encoded) -> Result<()>;
    /// Takes an item that came from a third process, without waiting; what is complete once there is room
    /// for more, if there is none.
    fn hand_on(&self, item: crate::value::Encoded) -> Result<Option<Arc<dyn Object>>> {
        self.push(item).map(|()| None)
    }
}

/// How a class is made of bytes.
#[derive(Clone, Copy)]
pub struct ClassEntry {
    /// Its type.
    pub class: fn() -> TypeId,
    /// Makes the constructor's call.
    pub open: Opener,
    /// How `&self` calls may overlap on threads, where the class allows it.
    pub sharing: fn() -> Option<Sharing>,
}

/// That a class has a remote trait, and how to see its state as that trait.
pub struct Implementation {
    class: fn() -> TypeId,
    target: fn() -> TypeId,
    casts: fn() -> Box<dyn Any + Send + Sync>,
}

impl Implementation {
    /// An entry; `casts` makes what [`casts_of`] hands out, a boxed `&'static Casts` of the target.
    pub const fn new(
        class: fn() -> TypeId,
        target: fn() -> TypeId,
        casts: fn() -> Box<dyn Any + Send + Sync>,
    ) -> Self {
        Self { class, target, casts }
    }
}

/// How to see an actor's state as a `D`, one of its classes or remote traits.
pub(crate) struct Casts<D: ?Sized> {
    /// For reading.
    pub(crate) by_ref: fn(&dyn Any) -> &D,
    /// For changing.
    pub(crate) by_mut: fn(&mut dyn Any) -> &mut D,
}

/// How to see the state of `class` as `target`, if `#[remote] impl` said that it can be.
pub(crate) fn casts_of(class: TypeId, target: TypeId) -> Option<Box<dyn Any + Send + Sync>> {
    ENTRIES.iter().find_map(|entry| match entry {
        Entry::Implementation(it) if (it.class)() == class && (it.target)() == target => Some((it.casts)()),
        _ => None,
    })
}

/// All functions and constructors.
pub(crate) fn definitions() -> impl Iterator<Item = &'static Definition> {
    ENTRIES.iter().filter_map(|entry| match entry {
        Entry::Function(definition, _) => Some(*definition),
        Entry::Class(class, _) => Some(&class.constructor),
        Entry::Method(..) | Entry::Implementation(_) => None,
    })
}

/// A function, class or method by the key of its definition; `FunctionNotFound` if this executable has
/// none.
pub(crate) fn find(key: u64) -> Result<&'static Entry> {
    static BY_KEY: LazyLock<HashMap<u64, &'static Entry>> = LazyLock::new(|| {
        let key = |entry: &Entry| match entry {
            Entry::Function(definition, _) | Entry::Method(definition, _) => Some(definition.key()),
            Entry::Class(class, _) => Some(class.constructor.key()),
            Entry::Implementation(_) => None,
        };
        ENTRIES.iter().filter_map(|entry| Some((key(entry)?, entry))).collect()
    });
    BY_KEY.get(&key).copied().ok_or_else(|| {
        let text = format!("this executable has no remote function of the key {key:016x}");
        Error::new(ErrorKind::FunctionNotFound, text)
    })
}

/// A class by the key of its constructor.
pub(crate) fn find_class(key: u64) -> Result<(&'static ClassDefinition, ClassEntry)> {
    match find(key)? {
        Entry::Class(class, entry) => Ok((class, *entry)),
        _ => Err(Error::new(ErrorKind::FunctionNotFound, "a class was named, and it is a function")),
    }
}

/// Refuses two definitions of one identity: a call that names it could mean either.
pub(crate) fn check() -> Result<()> {
    first_collision(definitions()).map_or(Ok(()), |(name, file, line)| {
        let text = format!("two remote functions have one identity: `{name}` at {file}:{line}");
        Err(Error::new(ErrorKind::NameTaken, text))
    })
}

fn first_collision(
    definitions: impl Iterator<Item = &'static Definition>,
) -> Option<(&'static str, &'static str, u32)> {
    let mut seen: HashMap<_, *const Definition> = HashMap::new();
    for definition in definitions {
        if let Some(other) = seen.insert(definition.identity(), definition)
            && !std::ptr::eq(other, definition)
        {
            return Some((definition.name, definition.file, definition.line));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: Definition = Definition::internal("one");
    static TWIN: Definition = Definition::internal("one");

    #[test]
    fn two_definitions_of_one_identity_are_found() {
        assert!(first_collision([&ONE, &TWIN].into_iter()).is_some());
        assert!(first_collision([&ONE, &ONE].into_iter()).is_none());
    }
}
