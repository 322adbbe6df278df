//! Arguments: a value, a borrow of one, or a ref to an object that is there or still to come.

use std::any::Any;
use std::sync::Arc;

use super::object::{self, ObjectRef};
use super::slice::{SliceInput, TextInput};
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Object, Pins};
use crate::value::{Item, Packer, Refs, Unpacker, Value};

/// A value or a ref to one: what a parameter of a remote call holds.
#[derive(Clone, Debug)]
pub enum Arg<T: Send + Sync + 'static> {
    /// The value itself.
    Value(T),
    /// An object that is there or still to come.
    Ref(ObjectRef<T>),
}

impl<T: Clone + Send + Sync + 'static> Arg<T> {
    /// The value: a clone of it, or of what the ref comes to, waited for. Errors as [`ObjectRef::get`].
    pub fn get(&self) -> Result<T> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::Ref(object) => object.get(),
        }
    }
}

/// An object that must be there before a call starts.
#[doc(hidden)]
pub struct Need(pub(crate) Arc<dyn Object>);

/// A type that a parameter of a remote function or method can have.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a remote call",
    label = "not a Mobula value",
    note = "a value is `Send + Sync + 'static` and can be serialised: `#[derive(Serialize, Deserialize)]`"
)]
pub trait Param {
    /// What is kept of an argument until the call runs.
    type Input: Input<Self>;
}

/// What is kept of an argument until the call runs.
#[doc(hidden)]
pub trait Input<T: ?Sized>: Send + Sync + 'static {
    /// The object that must be there first.
    fn need(&self) -> Option<Need>;
    /// The value, borrowed where it lies.
    fn lend<'a>(&'a self, pins: &'a Pins) -> Result<&'a T>;
    /// What it occupies on the heap, in bytes, as far as can be told.
    fn bytes(&self) -> usize;
}

/// What can be passed for a parameter of type `T`.
///
/// A parameter takes a `T`, a `&T` that can be cloned, an [`ObjectRef<T>`] or a reference to one, or an
/// [`Arg<T>`]. For a `String` also `&str`, for a `Vec<U>` also arrays and slices; a parameter `&[U]`
/// takes refs of whatever holds such a slice.
#[diagnostic::on_unimplemented(
    message = "this parameter takes a `{T}`: pass one, an `ObjectRef<{T}>` or a `&ObjectRef<{T}>`",
    label = "not a `{T}`, nor a ref to one"
)]
pub trait IntoArg<T: ?Sized + Param> {
    /// Turns it into what the call keeps.
    #[doc(hidden)]
    fn into_arg(self) -> T::Input;
}

impl<T: Send + Sync + 'static> Param for T {
    type Input = Arg<T>;
}

impl<U: Send + Sync + 'static> Param for [U] {
    type Input = SliceInput<U>;
}

impl Param for str {
    type Input = TextInput;
}

pub(super) fn need_of<T: Send + Sync + 'static>(object: &ObjectRef<T>) -> Option<Need> {
    let object = object.object();
    let head = object.head();
    (!head.is_complete() || head.has_failed()).then(|| Need(object.clone()))
}

impl<T: Send + Sync + 'static> Input<T> for Arg<T> {
    fn need(&self) -> Option<Need> {
        match self {
            Self::Value(_) => None,
            Self::Ref(object) => need_of(object),
        }
    }

    fn lend<'a>(&'a self, pins: &'a Pins) -> Result<&'a T> {
        match self {
            Self::Value(value) => Ok(value),
            Self::Ref(object) => object.peek(pins),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Value(value) => heap_bytes(value),
            Self::Ref(_) => 0,
        }
    }
}

/// What buffers of the usual kinds hold; other values count with their own size alone.
fn heap_bytes<T: Any>(value: &T) -> usize {
    fn of<U: 'static>(value: &dyn Any) -> Option<usize> {
        value.downcast_ref::<Vec<U>>().map(|buffer| size_of_val(buffer.as_slice()))
    }
    let value: &dyn Any = value;
    let text = value.downcast_ref::<String>().map(String::len);
    text.or_else(|| of::<u8>(value))
        .or_else(|| of::<f64>(value))
        .or_else(|| of::<f32>(value))
        .or_else(|| of::<i64>(value))
        .or_else(|| of::<u64>(value))
        .or_else(|| of::<i32>(value))
        .or_else(|| of::<String>(value))
        .unwrap_or(0)
}

/// Writes the id of an object that is an argument.
pub(super) fn pack_ref<T: Send + Sync + 'static>(object: &ObjectRef<T>, packer: &mut Packer) -> Result<()> {
    let (id, kept) = object.named()?;
    packer.reference(&id, kept)
}

macro_rules! into_arg {
    ($([$($generics:tt)*] $from:ty => $param:ty, |$it:ident| $into:expr;)*) => {
        $(impl<$($generics)*> IntoArg<$param> for $from {
            fn into_arg(self) -> <$param as Param>::Input {
                let $it = self;
                $into
            }
        })*
    };
}

into_arg! {
    [T: Send + Sync + 'static] T => T, |it| Arg::Value(it);
    [T: Clone + Send + Sync + 'static] &T => T, |it| Arg::Value(it.clone());
    [T: Send + Sync + 'static] ObjectRef<T> => T, |it| Arg::Ref(it);
    [T: Send + Sync + 'static] &ObjectRef<T> => T, |it| Arg::Ref(it.clone());
    [T: Send + Sync + 'static] Arg<T> => T, |it| it;
    [T: Clone + Send + Sync + 'static] &Arg<T> => T, |it| it.clone();
    [] &str => String, |it| Arg::Value(it.into());
    [U: Send + Sync + 'static, const N: usize] [U; N] => Vec<U>, |it| Arg::Value(it.into());
    [U: Clone + Send + Sync + 'static, const N: usize] &[U; N] => Vec<U>, |it| Arg::Value(it.to_vec());
    [U: Clone + Send + Sync + 'static] &[U] => Vec<U>, |it| Arg::Value(it.to_vec());

    [U: Send + Sync + 'static] Vec<U> => [U], |it| SliceInput::own(it);
    [U: Clone + Send + Sync + 'static] &Vec<U> => [U], |it| SliceInput::own(it.clone());
    [U: Send + Sync + 'static, const N: usize] [U; N] => [U], |it| SliceInput::own(it.into());
    [U: Clone + Send + Sync + 'static, const N: usize] &[U; N] => [U], |it| SliceInput::own(it.to_vec());
    [U: Clone + Send + Sync + 'static] &[U] => [U], |it| SliceInput::own(it.to_vec());
    [U: Value, H: AsRef<[U]> + Send + Sync + 'static] ObjectRef<H> => [U],
        |it| SliceInput::of(it);
    [U: Value, H: AsRef<[U]> + Send + Sync + 'static] &ObjectRef<H> => [U],
        |it| SliceInput::of(it.clone());
    [U: Value] Arg<Vec<U>> => [U], |it| match it {
        Arg::Value(values) => SliceInput::own(values),
        Arg::Ref(object) => SliceInput::of(object),
    };

    [] &str => str, |it| Arg::Value(it.into()).into();
    [] String => str, |it| Arg::Value(it).into();
    [] &String => str, |it| Arg::Value(it.clone()).into();
    [] ObjectRef<String> => str, |it| Arg::Ref(it).into();
    [] &ObjectRef<String> => str, |it| Arg::Ref(it.clone()).into();
    [] Arg<String> => str, |it| it.into();
}

/// An argument that the call owns when it runs.
#[doc(hidden)]
pub struct Owned<T: Send + Sync + 'static>(Arg<T>);

impl<T: Send + Sync + 'static> Owned<T> {
    /// Keeps an argument.
    pub fn new(arg: impl IntoArg<T>) -> Self {
        Self(arg.into_arg())
    }

    /// The value: moved if nobody else holds it, else cloned.
    pub fn take(self) -> Result<T>
    where
        T: Clone,
    {
        match self.0 {
            Arg::Value(value) => Ok(value),
            Arg::Ref(object) => object.take_or_clone(),
        }
    }
}

/// An argument that the call borrows while it runs.
#[doc(hidden)]
pub struct Lent<T: ?Sized + Param>(LentInput<T::Input>, Pins);

enum LentInput<I> {
    Own(I),
    /// Kept for another attempt.
    Shared(Arc<I>),
}

impl<T: ?Sized + Param> Lent<T> {
    /// Keeps an argument.
    pub fn new(arg: impl IntoArg<T>) -> Self {
        Self(LentInput::Own(arg.into_arg()), Pins::default())
    }

    fn input(&self) -> &T::Input {
        match &self.0 {
            LentInput::Own(input) => input,
            LentInput::Shared(input) => input,
        }
    }

    /// The value where it lies.
    pub fn lend(&self) -> Result<&T> {
        self.input().lend(&self.1)
    }
}

/// One argument of a call.
#[doc(hidden)]
pub trait OneArg: Send + Sync + 'static {
    /// The object that must be there first.
    fn need(&self) -> Option<Need>;
    /// A copy for an attempt, the original being kept for another.
    fn fork(self) -> (Self, Self)
    where
        Self: Sized;
    /// What it occupies on the heap, in bytes.
    fn bytes(&self) -> usize;
    /// Writes it, for another process.
    fn pack(&self, packer: &mut Packer) -> Result<()>;
    /// Reads what another process wrote.
    fn unpack(from: &mut Unpacker<'_>) -> Result<Self>
    where
        Self: Sized;
}

impl<T: Value + Clone> OneArg for Owned<T> {
    fn need(&self) -> Option<Need> {
        Input::<T>::need(&self.0)
    }

    fn fork(self) -> (Self, Self) {
        (Self(self.0.clone()), self)
    }

    fn bytes(&self) -> usize {
        Input::<T>::bytes(&self.0)
    }

    fn pack(&self, packer: &mut Packer) -> Result<()> {
        T::pack(&self.0, packer)
    }

    fn unpack(from: &mut Unpacker<'_>) -> Result<Self> {
        T::unpack(from.item()?).map(Self)
    }
}

impl<T: ?Sized + Param + Travels + 'static> OneArg for Lent<T> {
    fn need(&self) -> Option<Need> {
        self.input().need()
    }

    fn fork(self) -> (Self, Self) {
        let shared = match self.0 {
            LentInput::Own(input) => Arc::new(input),
            LentInput::Shared(input) => input,
        };
        let other = Self(LentInput::Shared(shared.clone()), Pins::default());
        (other, Self(LentInput::Shared(shared), Pins::default()))
    }

    fn bytes(&self) -> usize {
        self.input().bytes()
    }

    fn pack(&self, packer: &mut Packer) -> Result<()> {
        T::pack(self.input(), packer)
    }

    fn unpack(from: &mut Unpacker<'_>) -> Result<Self> {
        T::unpack(from.item()?).map(|input| Self(LentInput::Own(input), Pins::default()))
    }
}

/// The arguments of a call.
#[doc(hidden)]
pub trait Args: Send + Sync + Sized + 'static {
    /// The objects that must be there first.
    #[doc(hidden)]
    fn needs(&self) -> Vec<Need>;
    /// Copies for an attempt, the originals being kept for another.
    fn fork(self) -> (Self, Self);
    /// What they occupy, in bytes.
    fn bytes(&self) -> usize;
    /// Writes them, for another process.
    fn pack(&self, packer: &mut Packer) -> Result<()>;
    /// Reads what another process wrote.
    fn unpack(from: &mut Unpacker<'_>) -> Result<Self>;
}

macro_rules! args {
    ($($name:ident)*) => {
        #[allow(non_snake_case, unused_mut, unused_variables, clippy::unused_unit)]
        impl<$($name: OneArg),*> Args for ($($name,)*) {
            fn needs(&self) -> Vec<Need> {
                let ($($name,)*) = self;
                let mut needs = Vec::new();
                $(needs.extend($name.need());)*
                needs
            }

            fn fork(self) -> (Self, Self) {
                let ($($name,)*) = self;
                $(let $name = $name.fork();)*
                (($($name.0,)*), ($($name.1,)*))
            }

            fn bytes(&self) -> usize {
                let ($($name,)*) = self;
                size_of::<Self>() $(+ $name.bytes())*
            }

            fn pack(&self, packer: &mut Packer) -> Result<()> {
                let ($($name,)*) = self;
                $($name.pack(packer)?;)*
                Ok(())
            }

            fn unpack(from: &mut Unpacker<'_>) -> Result<Self> {
                $(let $name = $name::unpack(from)?;)*
                if !from.is_at_end() {
                    return Err(Error::new(ErrorKind::Decode, "more arguments came than there are parameters"));
                }
                Ok(($($name,)*))
            }
        }
    };
}

args!();
args!(A);
args!(A B);
args!(A B C);
args!(A B C D);
args!(A B C D E);
args!(A B C D E F);
args!(A B C D E F G);
args!(A B C D E F G H);
args!(A B C D E F G H I);
args!(A B C D E F G H I J);
args!(A B C D E F G H I J K);
args!(A B C D E F G H I J K L);

/// What a borrowed parameter may point at.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a remote call",
    label = "not a Mobula value",
    note = "a value is `Send + Sync + 'static` and can be serialised: `#[derive(Serialize, Deserialize)]`"
)]
pub trait Travels: Param {
    /// Writes an argument, for another process.
    #[doc(hidden)]
    fn pack(input: &Self::Input, packer: &mut Packer) -> Result<()>;
    /// Reads what another process wrote.
    #[doc(hidden)]
    fn unpack(item: Item<'_>) -> Result<Self::Input>;
}

impl<T: Value> Travels for T {
    fn pack(input: &Arg<T>, packer: &mut Packer) -> Result<()> {
        match input {
            Arg::Value(value) => packer.value(value),
            Arg::Ref(object) if packer.refs() == Refs::Resolved => object.pack(packer),
            Arg::Ref(object) => pack_ref(object, packer),
        }
    }

    fn unpack(item: Item<'_>) -> Result<Arg<T>> {
        match item {
            Item::Ref(id) => object::read_ref(id).map(Arg::Ref),
            item => item.value().map(Arg::Value),
        }
    }
}

impl<U: Value> Travels for [U] {
    fn pack(input: &SliceInput<U>, packer: &mut Packer) -> Result<()> {
        input.pack(packer)
    }

    fn unpack(item: Item<'_>) -> Result<SliceInput<U>> {
        SliceInput::read(item)
    }
}

impl Travels for str {
    fn pack(input: &TextInput, packer: &mut Packer) -> Result<()> {
        input.pack(packer)
    }

    fn unpack(item: Item<'_>) -> Result<TextInput> {
        TextInput::read(item)
    }
}
