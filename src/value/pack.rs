//! Values one after the other as bytes: the arguments of a call, or its result.
//!
//! ```text
//! [form u8 | buffers u32 | length u32 | body]  [form | buffers | length | body] ...   beside: buffers
//!   VALUE  body is MessagePack              REF  body is the id of an object
//!   PLAIN  body is the numbers themselves   FAR  the same, in the one buffer
//! ```

use std::any::{Any, TypeId};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Encoded, Kept, decode_with, encode};
use crate::error::{Error, ErrorKind, Result};

/// Bytes beyond this go beside a message, not inside it; as in Ray.
pub(crate) const INLINE_MAX: usize = 100 * 1024;

const VALUE: u8 = 0;
const REF: u8 = 1;
const PLAIN: u8 = 2;
const FAR: u8 = 3;
const HEAD: usize = 9;

/// A value whose type is not known in this process: its bytes as they came, and what they name.
#[derive(Clone)]
pub(crate) struct Opaque {
    pub(crate) bytes: Bytes,
    pub(crate) buffers: Vec<Bytes>,
    pub(crate) kept: Vec<Kept>,
}

impl Opaque {
    /// The value in it.
    pub(crate) fn unpacker(&self) -> Unpacker<'_> {
        Unpacker::new(&self.bytes, &self.buffers)
    }
}

/// It travels as the bytes that it is, by [`Packer::value`] alone.
impl Serialize for Opaque {
    fn serialize<S: serde::Serializer>(&self, _: S) -> std::result::Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("a value of unknown type travels by itself only"))
    }
}

impl<'de> serde::Deserialize<'de> for Opaque {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> std::result::Result<Self, D::Error> {
        Err(serde::de::Error::custom("a value of unknown type is never read as such"))
    }
}

/// Whether refs among arguments go as what they refer to, or as their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refs {
    /// To who runs the call: all that it needs is there.
    Resolved,
    /// To who will see to it that the arguments are there.
    Named,
}

/// Where large bytes are put on their way to another process.
pub(crate) type Place = fn(&[u8]) -> Result<Bytes>;

/// Writes values one after the other.
pub struct Packer {
    out: Encoded,
    refs: Refs,
    place: Place,
    /// Whether what is placed stays as long as the value.
    stays: bool,
}

impl Packer {
    pub(crate) fn new(refs: Refs, place: Place) -> Self {
        Self { out: Encoded::default(), refs, place, stays: true }
    }

    /// For bytes that are dropped before the value: what goes beside them stays where `place` says.
    pub(crate) fn passing(place: Place) -> Self {
        Self { stays: false, ..Self::new(Refs::Named, place) }
    }

    pub(crate) fn finish(self) -> Encoded {
        self.out
    }

    pub(crate) fn refs(&self) -> Refs {
        self.refs
    }

    /// Adds a value.
    pub(crate) fn value<T: Serialize + 'static>(&mut self, value: &T) -> Result<()> {
        if let Some(plain) = plain_bytes(value) {
            return self.plain(plain);
        }
        if let Some(opaque) = (value as &dyn Any).downcast_ref::<Opaque>() {
            self.out.bytes.extend_from_slice(&opaque.bytes);
            self.out.buffers.extend(opaque.buffers.iter().cloned());
            self.out.kept.extend(opaque.kept.iter().cloned());
            return Ok(());
        }
        if let Some(bytes) = (value as &dyn Any).downcast_ref::<Bytes>() {
            return self.bytes(bytes.clone());
        }
        self.serialized(value)
    }

    /// Adds a value that may be added again elsewhere: what goes beside a message is placed once, and kept
    /// where `kept` says.
    pub(crate) fn value_once<T: Serialize + 'static>(
        &mut self,
        value: &T,
        kept: impl FnOnce() -> Arc<Mutex<Option<Bytes>>>,
    ) -> Result<()> {
        let plain = plain_bytes(value).filter(|plain| self.stays && plain.len() >= INLINE_MAX);
        let Some(plain) = plain else {
            return self.value(value);
        };
        let kept = kept();
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        let far = match &*kept {
            Some(far) => far.clone(),
            None => kept.insert((self.place)(plain)?).clone(),
        };
        drop(kept);
        self.push(FAR, &[], vec![far])
    }

    /// Adds the elements of a slice.
    pub(crate) fn slice<U: Serialize>(&mut self, values: &[U]) -> Result<()> {
        self.serialized(values)
    }

    /// Adds bytes that may lie in shared memory already.
    pub(crate) fn bytes(&mut self, bytes: Bytes) -> Result<()> {
        if bytes.len() < INLINE_MAX {
            return self.push(PLAIN, &bytes, Vec::new());
        }
        self.push(FAR, &[], vec![bytes])
    }

    /// Adds the id of an object.
    pub(crate) fn reference<I: Serialize>(&mut self, id: &I, kept: Kept) -> Result<()> {
        let encoded = encode(id)?;
        self.out.kept.push(kept);
        self.push(REF, &encoded.bytes, Vec::new())
    }

    fn serialized<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        let Encoded { bytes, buffers, kept } = encode(value)?;
        self.out.kept.extend(kept);
        self.push(VALUE, &bytes, buffers)
    }

    fn plain(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.len() < INLINE_MAX {
            return self.push(PLAIN, bytes, Vec::new());
        }
        let far = (self.place)(bytes)?;
        self.push(FAR, &[], vec![far])
    }

    fn push(&mut self, form: u8, body: &[u8], buffers: Vec<Bytes>) -> Result<()> {
        let too_many = |text| move |_| Error::new(ErrorKind::Encode, text);
        let too_large = too_many("a value of 4 GiB or more cannot travel as it is");
        let length = u32::try_from(body.len()).map_err(too_large)?;
        let count = u32::try_from(buffers.len()).map_err(too_many("a value has fewer than 2^32 buffers"))?;
        let bytes = &mut self.out.bytes;
        bytes.reserve(HEAD + body.len());
        bytes.push(form);
        bytes.extend_from_slice(&count.to_le_bytes());
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(body);
        self.out.buffers.extend(buffers);
        Ok(())
    }
}

/// What stands at the place of one value.
pub enum Item<'a> {
    /// `MessagePack`, with its buffers.
    Value(&'a [u8], &'a [Bytes]),
    /// The id of an object, as `MessagePack`.
    Ref(&'a [u8]),
    /// Numbers, inside the message.
    Plain(&'a [u8]),
    /// Numbers, in a buffer of their own.
    Far(&'a Bytes),
}

/// Reads values one after the other.
pub struct Unpacker<'a> {
    bytes: &'a [u8],
    buffers: &'a [Bytes],
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Decode, format!("malformed arguments: {what}"))
}

impl<'a> Unpacker<'a> {
    pub(crate) fn new(bytes: &'a [u8], buffers: &'a [Bytes]) -> Self {
        Self { bytes, buffers }
    }

    /// Whether nothing is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn item(&mut self) -> Result<Item<'a>> {
        let (head, rest) = self.bytes.split_at_checked(HEAD).ok_or_else(|| malformed("cut short"))?;
        let number =
            |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]) as usize;
        let (count, length) = (number(1), number(5));
        let (body, rest) = rest.split_at_checked(length).ok_or_else(|| malformed("cut short"))?;
        let buffers = self.buffers.split_at_checked(count);
        let (buffers, other) = buffers.ok_or_else(|| malformed("a buffer is missing"))?;
        (self.bytes, self.buffers) = (rest, other);
        match (head[0], buffers) {
            (VALUE, buffers) => Ok(Item::Value(body, buffers)),
            (REF, []) => Ok(Item::Ref(body)),
            (PLAIN, []) => Ok(Item::Plain(body)),
            (FAR, [far]) => Ok(Item::Far(far)),
            _ => Err(malformed("no such form")),
        }
    }

    /// The next value.
    pub(crate) fn value<T: DeserializeOwned + 'static>(&mut self) -> Result<T> {
        self.item()?.value()
    }
}

impl Item<'_> {
    pub(crate) fn value<T: DeserializeOwned + 'static>(self) -> Result<T> {
        match self {
            Self::Value(bytes, buffers) => decode_with(bytes, buffers),
            Self::Plain(bytes) => of_plain(bytes, None),
            Self::Far(bytes) => of_plain(bytes, Some(bytes)),
            Self::Ref(_) => Err(malformed("a ref instead of a value")),
        }
    }
}

/// The one value in these, if it is bytes or a text that need not be copied.
pub(super) fn of_far<T: 'static>(bytes: &[u8], buffers: &mut Vec<Bytes>) -> Option<T> {
    if bytes.first() != Some(&FAR) || bytes.len() != HEAD || buffers.len() != 1 {
        return None;
    }
    if TypeId::of::<T>() == TypeId::of::<Vec<u8>>() {
        return as_type(Vec::<u8>::from(buffers.pop()?));
    }
    if TypeId::of::<T>() == TypeId::of::<String>() {
        return as_type(String::from_utf8(buffers.pop()?.into()).ok()?);
    }
    None
}

fn of_plain<T: 'static>(bytes: &[u8], far: Option<&Bytes>) -> Result<T> {
    if TypeId::of::<T>() == TypeId::of::<Bytes>() {
        let own = far.cloned().unwrap_or_else(|| Bytes::copy_from_slice(bytes));
        return as_type(own).ok_or_else(|| malformed("of another type"));
    }
    if TypeId::of::<T>() == TypeId::of::<String>() {
        let text = std::str::from_utf8(bytes).map_err(|_| malformed("text that is not UTF-8"))?;
        return as_type(text.to_owned()).ok_or_else(|| malformed("of another type"));
    }
    vec_of_plain(bytes).ok_or_else(|| malformed("numbers instead of a value"))
}

/// `value` as a `T`, which it is if the types are the same.
pub(super) fn as_type<V: 'static, T: 'static>(value: V) -> Option<T> {
    let mut value = Some(value);
    (&mut value as &mut dyn Any).downcast_mut::<Option<T>>()?.take()
}

macro_rules! plain {
    ($($number:ty)*) => {
        /// The bytes of a vector of plain numbers, or of a text.
        pub(super) fn plain_bytes<T: 'static>(value: &T) -> Option<&[u8]> {
            let value: &dyn Any = value;
            if let Some(text) = value.downcast_ref::<String>() {
                return Some(text.as_bytes());
            }
            $(if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                return Some(bytemuck::cast_slice(numbers));
            })*
            None
        }

        fn vec_of_plain<T: 'static>(bytes: &[u8]) -> Option<T> {
            $(if TypeId::of::<T>() == TypeId::of::<Vec<$number>>() {
                if bytes.len() % size_of::<$number>() != 0 {
                    return None;
                }
                let mut numbers = vec![<$number>::default(); bytes.len() / size_of::<$number>()];
                bytemuck::cast_slice_mut(&mut numbers).copy_from_slice(bytes);
                return as_type(numbers);
            })*
            None
        }

    };
}

plain!(u8 u16 u32 u64 i8 i16 i32 i64 f32 f64);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Large enough to go beside.
    const LARGE: usize = INLINE_MAX / 8 + 1;

    fn packed() -> Encoded {
        let mut packer = Packer::new(Refs::Named, |bytes| Ok(Bytes::copy_from_slice(bytes)));
        packer.value(&(7_i64, "two".to_owned(), Some(0.5))).expect("it packs");
        packer.value(&"text".to_owned()).expect("it packs");
        packer.value(&vec![1.0, 2.0]).expect("it packs");
        packer.reference(&17_u64, Arc::new(())).expect("it packs");
        packer.value(&vec![3_i64; LARGE]).expect("it packs");
        packer.bytes(Bytes::from_static(b"bytes")).expect("it packs");
        packer.bytes(Bytes::from(vec![1; INLINE_MAX])).expect("it packs");
        packer.finish()
    }

    type First = (i64, String, Option<f64>);

    /// Reads as whoever expects these values does.
    fn read(bytes: &[u8], buffers: &[Bytes]) -> Result<()> {
        let mut from = Unpacker::new(bytes, buffers);
        from.value::<First>()?;
        from.value::<String>()?;
        from.value::<Vec<f64>>()?;
        match from.item()? {
            Item::Ref(id) => drop(super::super::decode::<u64>(id)?),
            _ => return Err(malformed("no ref")),
        }
        assert!(from.value::<Vec<i64>>()?.len() <= LARGE);
        from.value::<Bytes>()?;
        from.value::<Bytes>()?;
        if from.is_at_end() { Ok(()) } else { Err(malformed("more than that")) }
    }

    /// Reads whatever stands there as any type.
    fn read_all(bytes: &[u8], buffers: &[Bytes]) {
        let mut from = Unpacker::new(bytes, buffers);
        while let Ok(Item::Value(..) | Item::Ref(_) | Item::Plain(_) | Item::Far(_)) = from.item() {
            if from.is_at_end() {
                break;
            }
        }
        let here = || Unpacker::new(bytes, buffers);
        let results = [
            here().value::<First>().err(),
            here().value::<String>().err(),
            here().value::<Vec<u8>>().err(),
            here().value::<Vec<f64>>().err(),
            here().value::<Bytes>().err(),
            here().value::<Vec<String>>().err(),
        ];
        for error in results.into_iter().flatten() {
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
        }
    }

    fn refused(bytes: &[u8], buffers: &[Bytes]) {
        assert_eq!(read(bytes, buffers).expect_err("it is malformed").kind(), ErrorKind::Decode);
    }

    #[test]
    fn values_come_back_in_their_forms() {
        let Encoded { bytes, buffers, kept } = packed();
        read(&bytes, &buffers).expect("they were packed so");
        assert_eq!((buffers.len(), kept.len()), (2, 1));
        assert!(bytes.len() < 200, "{}", bytes.len());
    }

    #[test]
    fn what_is_cut_or_flipped_is_an_error_or_another_value() {
        let Encoded { bytes, buffers, .. } = packed();
        for at in 0..bytes.len() {
            refused(&bytes[..at], &buffers);
            read_all(&bytes[at..], &buffers);
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                if let Err(error) = read(&changed, &buffers) {
                    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
                }
            }
        }
    }

    #[test]
    fn buffers_that_are_not_those_that_are_named_are_refused() {
        let Encoded { bytes, buffers, .. } = packed();
        refused(&bytes, &[]);
        refused(&bytes, &buffers[..1]);
        // No whole number of numbers, in no aligned place.
        refused(&bytes, &[buffers[0].slice(1..), buffers[1].clone()]);
        read(&bytes, &[buffers[0].slice(8..), buffers[1].clone()]).expect("one number less");
        let odd = Bytes::from([&[0], &buffers[0][..]].concat()).slice(1..);
        read(&bytes, &[odd, buffers[1].clone()]).expect("they are copied from any place");
    }

    #[test]
    fn forms_and_lengths_that_lie_are_refused() {
        let head = |form: u8, count: u32, length: u32| {
            [&[form][..], &count.to_le_bytes(), &length.to_le_bytes(), &[0; 8]].concat()
        };
        let buffers = [Bytes::from_static(b"12345678"), Bytes::new()];
        let cases = [
            (4, 0, 8),
            (255, 0, 0),
            (VALUE, 3, 8),
            (VALUE, u32::MAX, 8),
            (VALUE, 0, 9),
            (VALUE, 0, u32::MAX),
            (REF, 1, 8),
            (PLAIN, 1, 8),
            (FAR, 0, 0),
            (FAR, 2, 0),
        ];
        for (form, count, length) in cases {
            let bytes = head(form, count, length);
            let item = Unpacker::new(&bytes, &buffers).item();
            assert_eq!(
                item.err().expect("it is malformed").kind(),
                ErrorKind::Decode,
                "{form} {count} {length}"
            );
            read_all(&bytes, &buffers);
        }
        // Well-formed, and of no type that is asked for.
        let bytes = head(PLAIN, 0, 3);
        let error = Unpacker::new(&bytes, &[]).value::<Vec<u64>>().expect_err("three bytes are no number");
        assert_eq!(error.kind(), ErrorKind::Decode);
        let bytes = head(REF, 0, 1);
        let error = Unpacker::new(&bytes, &[]).value::<u8>().expect_err("a ref is no value");
        assert_eq!(error.kind(), ErrorKind::Decode);
    }
}
