//! Arguments for parameters `&[U]` and `&str`: the call's own, inside an object, or in shared memory.

use std::any::{Any, TypeId};

use bytes::Bytes;

use super::arg::{Arg, Input, Need, Travels, need_of};
use super::array::Array;
use super::object::{self, ObjectRef};
use crate::error::{Error, ErrorKind, Result};
use crate::id::ObjectId;
use crate::store::Pins;
use crate::value::{self, Item, Packer, Refs, Value};

/// A slice: owned, or where it lies.
#[doc(hidden)]
pub struct SliceInput<U>(Source<U>);

enum Source<U> {
    Own(Vec<U>),
    There(Box<dyn Holder<U>>),
}

/// What holds a slice.
trait Holder<U>: Send + Sync {
    fn need(&self) -> Option<Need>;
    fn lend<'a>(&'a self, pins: &'a Pins) -> Result<&'a [U]>;
    fn pack(&self, packer: &mut Packer) -> Result<()>;
}

impl<U: Value, H: AsRef<[U]> + Send + Sync + 'static> Holder<U> for ObjectRef<H> {
    fn need(&self) -> Option<Need> {
        need_of(self)
    }

    fn lend<'a>(&'a self, pins: &'a Pins) -> Result<&'a [U]> {
        self.peek(pins).map(AsRef::as_ref)
    }

    fn pack(&self, packer: &mut Packer) -> Result<()> {
        if packer.refs() == Refs::Named {
            // Who reads the slice is not told otherwise what holds it.
            let (id, kept) = self.named()?;
            return packer.reference(&(id, is_array::<H>()), kept);
        }
        let pins = Pins::default();
        let holder: &dyn Any = self.peek(&pins)?;
        if let Some(numbers) = array_bytes(holder) {
            return packer.bytes(numbers);
        }
        if holder.is::<Vec<U>>() {
            return ObjectRef::pack(self, packer);
        }
        packer.slice(self.lend(&pins)?)
    }
}

impl<U: Value> SliceInput<U> {
    /// Reads what another process wrote.
    pub(super) fn read(item: Item<'_>) -> Result<Self> {
        let source = match item {
            Item::Ref(id) => match value::decode(id)? {
                (id, true) => Source::There(array_in(id)?),
                (id, false) => Source::There(Box::new(object::find::<Vec<U>>(id)?)),
            },
            Item::Far(bytes) => Source::There(array_over(bytes)?),
            item => Source::Own(item.value()?),
        };
        Ok(Self(source))
    }

    /// Writes it, for another process.
    pub(super) fn pack(&self, packer: &mut Packer) -> Result<()> {
        match &self.0 {
            Source::Own(values) => packer.value(values),
            Source::There(holder) => holder.pack(packer),
        }
    }

    pub(super) fn of<H: AsRef<[U]> + Send + Sync + 'static>(object: ObjectRef<H>) -> Self {
        Self(Source::There(Box::new(object)))
    }
}

impl<U> SliceInput<U> {
    pub(super) fn own(values: Vec<U>) -> Self {
        Self(Source::Own(values))
    }
}

impl<U: Send + Sync + 'static> Input<[U]> for SliceInput<U> {
    fn need(&self) -> Option<Need> {
        match &self.0 {
            Source::Own(_) => None,
            Source::There(holder) => holder.need(),
        }
    }

    fn lend<'a>(&'a self, pins: &'a Pins) -> Result<&'a [U]> {
        match &self.0 {
            Source::Own(values) => Ok(values),
            Source::There(holder) => holder.lend(pins),
        }
    }

    fn bytes(&self) -> usize {
        match &self.0 {
            Source::Own(values) => size_of_val(values.as_slice()),
            Source::There(_) => 0,
        }
    }
}

/// A text: a `String`, or where it lies in shared memory.
#[doc(hidden)]
pub struct TextInput(Text);

enum Text {
    Arg(Arg<String>),
    There(Bytes),
}

impl TextInput {
    /// Reads what another process wrote.
    pub(super) fn read(item: Item<'_>) -> Result<Self> {
        let text = match item {
            Item::Far(bytes) => Text::There(bytes.clone()),
            Item::Ref(id) => Text::Arg(Arg::Ref(object::read_ref(id)?)),
            item => Text::Arg(Arg::Value(item.value()?)),
        };
        Ok(Self(text))
    }

    /// Writes it, for another process.
    pub(super) fn pack(&self, packer: &mut Packer) -> Result<()> {
        match &self.0 {
            Text::Arg(arg) => String::pack(arg, packer),
            Text::There(bytes) => packer.bytes(bytes.clone()),
        }
    }
}

impl From<Arg<String>> for TextInput {
    fn from(arg: Arg<String>) -> Self {
        Self(Text::Arg(arg))
    }
}

impl Input<str> for TextInput {
    fn need(&self) -> Option<Need> {
        match &self.0 {
            Text::Arg(arg) => Input::<String>::need(arg),
            Text::There(_) => None,
        }
    }

    fn lend<'a>(&'a self, pins: &'a Pins) -> Result<&'a str> {
        match &self.0 {
            Text::Arg(arg) => Input::<String>::lend(arg, pins).map(String::as_str),
            Text::There(bytes) => std::str::from_utf8(bytes).map_err(|_| wrong::<str>()),
        }
    }

    fn bytes(&self) -> usize {
        match &self.0 {
            Text::Arg(arg) => Input::<String>::bytes(arg),
            Text::There(_) => 0,
        }
    }
}

fn wrong<U: ?Sized>() -> Error {
    let text = format!("what came is no such slice: `{}`", std::any::type_name::<U>());
    Error::new(ErrorKind::Decode, text)
}

/// `holder` of `V`s as one of `U`s, which are the same.
fn same<V: 'static, U: 'static>(holder: Box<dyn Holder<V>>) -> Option<Box<dyn Holder<U>>> {
    let mut holder = Some(holder);
    (&mut holder as &mut dyn Any).downcast_mut::<Option<Box<dyn Holder<U>>>>()?.take()
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Holder<$number> for Array<$number> {
            fn need(&self) -> Option<Need> {
                None
            }

            fn lend<'a>(&'a self, _: &'a Pins) -> Result<&'a [$number]> {
                Ok(self.as_slice())
            }

            fn pack(&self, packer: &mut Packer) -> Result<()> {
                packer.bytes(self.bytes())
            }
        })*

        fn is_array<H: 'static>() -> bool {
            [$(TypeId::of::<Array<$number>>()),*].contains(&TypeId::of::<H>())
        }

        /// The numbers of an array, whichever they are.
        fn array_bytes(holder: &dyn Any) -> Option<Bytes> {
            $(if let Some(array) = holder.downcast_ref::<Array<$number>>() {
                return Some(array.bytes());
            })*
            None
        }

        /// Numbers in memory of another process, read where they lie.
        fn array_over<U: 'static>(bytes: &Bytes) -> Result<Box<dyn Holder<U>>> {
            $(if TypeId::of::<U>() == TypeId::of::<$number>() {
                let array = Array::<$number>::of_bytes(bytes.clone()).ok_or_else(wrong::<U>)?;
                let array: Box<dyn Holder<$number>> = Box::new(array);
                return same(array).ok_or_else(wrong::<U>);
            })*
            Err(wrong::<U>())
        }

        /// An object of another process that holds an array.
        fn array_in<U: 'static>(id: ObjectId) -> Result<Box<dyn Holder<U>>> {
            $(if TypeId::of::<U>() == TypeId::of::<$number>() {
                let object: Box<dyn Holder<$number>> = Box::new(object::find::<Array<$number>>(id)?);
                return same(object).ok_or_else(wrong::<U>);
            })*
            Err(wrong::<U>())
        }
    };
}

numbers!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);
