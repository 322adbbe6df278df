//! How large a value is, without writing it: exactly if it has few parts, else estimated from the first.
//!
//! A serialiser that counts and writes nothing. It gives up after [`PARTS_MAX`] parts; what a sequence has
//! beyond them is taken to be like those that were seen.

use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use serde::{Serialize, ser};

use super::pack::{Opaque, plain_bytes};

/// How many parts are looked at.
const PARTS_MAX: usize = 64;

/// What a value holds beside what its type says.
#[derive(Clone, Debug, Default)]
pub(crate) struct Weight {
    /// Bytes on the heap, without buffers.
    pub(crate) heap: u64,
    /// What can be shared with other processes, if it is not yet.
    pub(crate) buffers: Vec<Bytes>,
}

thread_local! {
    /// The buffers met so far by the weighing that runs on this thread, if one does.
    static MET: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

struct Outer(Option<Vec<Bytes>>);

impl Drop for Outer {
    fn drop(&mut self) {
        MET.set(self.0.take());
    }
}

/// Notes a buffer if a value is being weighed on this thread.
pub(super) fn met_buffer(bytes: &Bytes) -> bool {
    MET.with_borrow_mut(|met| met.as_mut().map(|met| met.push(bytes.clone())).is_some())
}

/// Whether a value is being weighed on this thread: refs and handles in it need no ids then.
pub(crate) fn is_weighing() -> bool {
    MET.with_borrow(Option::is_some)
}

/// Weighs a value. One whose `Serialize` fails or panics weighs what was seen until then.
pub(crate) fn weigh<T: Serialize + 'static>(value: &T) -> Weight {
    if !std::mem::needs_drop::<T>() {
        return Weight::default();
    }
    let any: &dyn Any = value;
    if let Some(plain) = plain_bytes(value) {
        return Weight { heap: plain.len() as u64, buffers: Vec::new() };
    }
    if let Some(bytes) = any.downcast_ref::<Bytes>() {
        return Weight { heap: 0, buffers: vec![bytes.clone()] };
    }
    if let Some(Opaque { bytes, buffers, .. }) = any.downcast_ref() {
        return Weight { heap: bytes.len() as u64, buffers: buffers.clone() };
    }
    let outer = Outer(MET.replace(Some(Vec::new())));
    let mut scale = Scale { bytes: 0, parts: 0 };
    let _ = catch_unwind(AssertUnwindSafe(|| value.serialize(&mut scale)));
    let buffers = MET.take().unwrap_or_default();
    drop(outer);
    Weight { heap: scale.bytes, buffers }
}

/// Counts the bytes of what is serialised.
struct Scale {
    bytes: u64,
    parts: usize,
}

/// Enough was seen, or the value cannot be serialised.
#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("enough was seen")
    }
}

impl std::error::Error for Enough {}

impl ser::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

impl Scale {
    fn part(&mut self, bytes: usize) -> Result<(), Enough> {
        self.bytes += bytes as u64;
        self.parts += 1;
        if self.parts < PARTS_MAX { Ok(()) } else { Err(Enough) }
    }
}

/// The parts of something that has several.
struct Parts<'a> {
    scale: &'a mut Scale,
    /// How many it said it has.
    len: Option<usize>,
    seen: usize,
    /// What was counted before.
    before: u64,
}

impl<'a> Parts<'a> {
    fn new(scale: &'a mut Scale, len: Option<usize>) -> Self {
        let before = scale.bytes;
        Self { scale, len, seen: 0, before }
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Enough> {
        let result = value.serialize(&mut *self.scale);
        self.seen += 1;
        if result.is_err()
            && let Some(len) = self.len
        {
            // Those that were not seen are like those that were.
            let each = (self.scale.bytes - self.before) / self.seen as u64;
            self.scale.bytes += each.saturating_mul(len.saturating_sub(self.seen) as u64);
        }
        result
    }
}

macro_rules! numbers {
    ($($name:ident: $number:ty),*) => {
        $(fn $name(self, _: $number) -> Result<(), Enough> {
            self.part(size_of::<$number>())
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Scale {
    type Ok = ();
    type Error = Enough;
    type SerializeSeq = Parts<'a>;
    type SerializeTuple = Parts<'a>;
    type SerializeTupleStruct = Parts<'a>;
    type SerializeTupleVariant = Parts<'a>;
    type SerializeMap = Parts<'a>;
    type SerializeStruct = Parts<'a>;
    type SerializeStructVariant = Parts<'a>;

    numbers! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_f32: f32, serialize_f64: f64, serialize_char: char
    }

    fn serialize_str(self, text: &str) -> Result<(), Enough> {
        self.part(size_of::<String>() + text.len())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Enough> {
        self.part(size_of::<Vec<u8>>() + bytes.len())
    }

    fn serialize_none(self) -> Result<(), Enough> {
        self.part(1)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Enough> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Enough> {
        self.part(0)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Enough> {
        self.part(0)
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Enough> {
        self.part(1)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Enough> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Enough> {
        value.serialize(self)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Parts<'a>, Enough> {
        self.bytes += size_of::<Vec<u8>>() as u64;
        Ok(Parts::new(self, len))
    }

    fn serialize_tuple(self, len: usize) -> Result<Parts<'a>, Enough> {
        Ok(Parts::new(self, Some(len)))
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Enough> {
        Ok(Parts::new(self, None))
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Enough> {
        Ok(Parts::new(self, None))
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Parts<'a>, Enough> {
        Ok(Parts::new(self, len.map(|len| len.saturating_mul(2))))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Parts<'a>, Enough> {
        Ok(Parts::new(self, None))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Parts<'a>, Enough> {
        Ok(Parts::new(self, None))
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, text: &T) -> Result<(), Enough> {
        struct Count(usize);
        impl fmt::Write for Count {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0 += text.len();
                Ok(())
            }
        }
        let mut count = Count(0);
        fmt::Write::write_fmt(&mut count, format_args!("{text}")).map_err(|_| Enough)?;
        self.part(count.0)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! parts {
    ($($kind:ident $element:ident,)*) => {
        $(impl ser::$kind for Parts<'_> {
            type Ok = ();
            type Error = Enough;

            fn $element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Enough> {
                self.part(value)
            }

            fn end(self) -> Result<(), Enough> {
                Ok(())
            }
        })*
    };
}

parts! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

macro_rules! fields {
    ($($kind:ident,)*) => {
        $(impl ser::$kind for Parts<'_> {
            type Ok = ();
            type Error = Enough;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                _: &'static str,
                value: &T,
            ) -> Result<(), Enough> {
                self.part(value)
            }

            fn end(self) -> Result<(), Enough> {
                Ok(())
            }
        })*
    };
}

fields! {
    SerializeStruct,
    SerializeStructVariant,
}

impl ser::SerializeMap for Parts<'_> {
    type Ok = ();
    type Error = Enough;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Enough> {
        self.part(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Enough> {
        self.part(value)
    }

    fn end(self) -> Result<(), Enough> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn heap<T: Serialize + 'static>(value: T) -> u64 {
        weigh(&value).heap
    }

    #[test]
    fn plain_values_weigh_what_they_are() {
        assert_eq!((heap(7_i64), heap([1.0; 30]), heap((1_u8, 'c'))), (0, 0, 0));
        assert_eq!((heap(vec![1.0; 1_000]), heap("text".to_owned())), (8_000, 4));
        assert!(weigh(&Bytes::from_static(b"bytes")).buffers == [&b"bytes"[..]]);
    }

    #[test]
    fn what_has_few_parts_is_weighed_exactly_and_what_has_many_by_the_first() {
        #[derive(Serialize)]
        struct Row {
            name: String,
            cells: Vec<Option<u32>>,
        }
        let row = |cells| Row { name: "12345".into(), cells: vec![Some(1); cells] };
        assert_eq!(heap(row(3)), 24 + 5 + 24 + 3 * 4);
        let many = heap(row(1_000_000));
        assert!((4_000_000..4_100_000).contains(&many), "{many}");
        let nested = heap((0..1_000).map(|_| vec![vec![0_u16; 500]]).collect::<Vec<_>>());
        assert!((1_000_000..1_100_000).contains(&nested), "{nested}");
        let map: BTreeMap<u64, Vec<u8>> = (0..1_000).map(|n| (n, vec![0; 10])).collect();
        let weight = heap(map);
        assert!((40_000..50_000).contains(&weight), "{weight}");
    }

    #[test]
    fn a_value_that_cannot_be_written_weighs_what_was_seen() {
        struct Broken(bool);
        impl Serialize for Broken {
            fn serialize<S: ser::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                assert!(!self.0, "as it means to");
                Err(ser::Error::custom("no"))
            }
        }
        impl Drop for Broken {
            fn drop(&mut self) {}
        }
        assert_eq!(heap(("abc".to_owned(), Broken(false))), 27);
        assert_eq!(heap(("abc".to_owned(), Broken(true))), 27);
        assert!(!is_weighing());
    }
}
