//! Buffers: bytes of a value that do not go through its serialiser.
//!
//! ```text
//! inside of encode     bytes ─► buffers[3], and 3 is written      decode: a clone of buffers[3]
//! any other format     bytes are written where they stand         and read there
//! ```

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use bytes::Bytes;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serializer};

/// What is taken at once for inline bytes, whose announced number may be a lie.
const INLINE_STEP: usize = 64 * 1024;

/// The buffers met so far by an `encode`, and where each stands: a value may hold one many times.
#[derive(Default)]
struct Met {
    buffers: Vec<Bytes>,
    places: HashMap<(usize, usize), u32>,
}

thread_local! {
    /// Of the `encode` that runs on this thread, if one does.
    static WRITING: RefCell<Option<Met>> = const { RefCell::new(None) };
    /// Given to the `decode` that runs on this thread, if one does.
    static READING: RefCell<Option<Vec<Bytes>>> = const { RefCell::new(None) };
}

/// Restores the outer `encode`'s also when a user's `serialize` panics.
struct OuterWriting(Option<Met>);

impl Drop for OuterWriting {
    fn drop(&mut self) {
        WRITING.set(self.0.take());
    }
}

struct OuterReading(Option<Vec<Bytes>>);

impl Drop for OuterReading {
    fn drop(&mut self) {
        READING.set(self.0.take());
    }
}

/// Runs an `encode`; returns the buffers that it met.
pub(super) fn writing<R>(encode: impl FnOnce() -> R) -> (R, Vec<Bytes>) {
    let outer = OuterWriting(WRITING.replace(Some(Met::default())));
    let result = encode();
    let met = WRITING.take().unwrap_or_default();
    drop(outer);
    (result, met.buffers)
}

/// Runs a `decode` that finds its buffers.
pub(super) fn reading<R>(buffers: &[Bytes], decode: impl FnOnce() -> R) -> R {
    let _outer = OuterReading(READING.replace(Some(buffers.to_vec())));
    decode()
}

/// How a type that holds a buffer serialises it: inside of `encode` as its place among the buffers, to be
/// moved as it is; with any other serialiser as bytes.
pub(crate) fn write_buffer<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    let place = WRITING.with_borrow_mut(|met| met.as_mut().map(|met| met.place(bytes)));
    match place {
        Some(Some(place)) => serializer.serialize_u32(place),
        Some(None) => Err(S::Error::custom("a value has fewer than 2^32 buffers")),
        None if super::weigh::met_buffer(bytes) => serializer.serialize_unit(),
        None => serializer.serialize_bytes(bytes),
    }
}

impl Met {
    fn place(&mut self, bytes: &Bytes) -> Option<u32> {
        let next = u32::try_from(self.buffers.len()).ok()?;
        let place = *self.places.entry((bytes.as_ptr().addr(), bytes.len())).or_insert(next);
        if place == next {
            self.buffers.push(bytes.clone());
        }
        Some(place)
    }
}

/// How it is read; what lies inline is copied.
pub(crate) fn read_buffer<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Bytes, D::Error> {
    if READING.with_borrow(Option::is_none) {
        return deserializer.deserialize_byte_buf(Inline);
    }
    let place = u32::deserialize(deserializer)?;
    let found = READING.with_borrow(|all| all.as_ref()?.get(place as usize).cloned());
    found.ok_or_else(|| D::Error::custom(format_args!("there is no buffer {place}")))
}

/// Bytes in whatever form a format has for them.
struct Inline;

impl<'de> Visitor<'de> for Inline {
    type Value = Bytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes")
    }

    fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
        Ok(Bytes::copy_from_slice(bytes))
    }

    fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
        Ok(bytes.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bytes, A::Error> {
        let mut bytes = Vec::with_capacity(items.size_hint().unwrap_or(0).min(INLINE_STEP));
        while let Some(byte) = items.next_element()? {
            bytes.push(byte);
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::super::{decode, decode_with, encode};
    use super::*;
    use crate::error::ErrorKind;

    #[derive(Debug, PartialEq)]
    struct Raw(Bytes);

    impl Serialize for Raw {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            write_buffer(&self.0, serializer)
        }
    }

    impl<'de> Deserialize<'de> for Raw {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            read_buffer(deserializer).map(Self)
        }
    }

    fn raw(bytes: &'static [u8]) -> Raw {
        Raw(Bytes::from_static(bytes))
    }

    type Message = (Raw, Vec<(String, Raw)>, Option<Raw>);

    fn message() -> Message {
        let first = raw(b"first");
        let again = Raw(first.0.clone());
        (first, vec![("a".into(), raw(b"second")), ("b".into(), raw(b""))], Some(again))
    }

    #[test]
    fn buffers_go_beside_the_bytes_once_each_and_come_back_without_a_copy() {
        let sent = message();
        let encoded = encode(&sent).expect("encodes");
        assert_eq!(encoded.buffers, [&b"first"[..], b"second", b""]);
        let read: Message = decode_with(&encoded.bytes, &encoded.buffers).expect("decodes");
        assert_eq!(read, sent);
        assert_eq!(read.1[0].1.0.as_ptr(), sent.1[0].1.0.as_ptr());
    }

    #[test]
    fn an_encode_inside_of_an_encode_has_its_own() {
        struct Nested(Raw);
        impl Serialize for Nested {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                assert_eq!(encode(&raw(b"inner")).expect("encodes").buffers, [&b"inner"[..]]);
                self.0.serialize(serializer)
            }
        }
        assert_eq!(encode(&Nested(raw(b"outer"))).expect("encodes").buffers, [&b"outer"[..]]);
        assert!(encode(&1).expect("encodes").buffers.is_empty());
    }

    #[test]
    fn any_other_format_has_the_bytes_inline() {
        let bytes = rmp_serde::to_vec(&message()).expect("encodes");
        assert_eq!(rmp_serde::from_slice::<Message>(&bytes).expect("decodes"), message());
        // As a format without bytes has them.
        let numbers = rmp_serde::to_vec(&[1_u8, 2, 3]).expect("encodes");
        assert_eq!(rmp_serde::from_slice::<Raw>(&numbers).expect("decodes"), raw(&[1, 2, 3]));
    }

    #[test]
    fn a_wrong_place_or_form_is_an_error() {
        let one = [Bytes::from_static(b"one")];
        let read = |bytes: &[u8]| decode_with::<Raw>(bytes, &one);
        assert_eq!(read(&[0]).expect("it is there"), raw(b"one"));
        // Place 1, -1, 2^32 - 1, 2^32, the bytes inline, a text, nothing.
        let wrong: [&[u8]; 7] = [
            &[1],
            &[0xff],
            &[0xce, 255, 255, 255, 255],
            &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0],
            b"\xc4\x01x",
            b"\xa10",
            &[],
        ];
        for bytes in wrong {
            assert_eq!(read(bytes).expect_err("it is wrong").kind(), ErrorKind::Decode, "{bytes:?}");
        }
        assert_eq!(decode::<Raw>(&[0]).expect_err("there is none").kind(), ErrorKind::Decode);
        rmp_serde::from_slice::<Raw>(&[0]).expect_err("a place is no bytes");
    }

    #[test]
    fn an_announced_number_of_bytes_is_not_believed() {
        struct Lie;
        impl Iterator for Lie {
            type Item = u8;

            fn next(&mut self) -> Option<u8> {
                None
            }

            fn size_hint(&self) -> (usize, Option<usize>) {
                (usize::MAX, Some(usize::MAX))
            }
        }
        let lie = serde::de::value::SeqDeserializer::<_, serde::de::value::Error>::new(Lie);
        assert_eq!(Raw::deserialize(lie), Ok(raw(b"")));
    }

    #[test]
    fn cut_and_changed_bytes_are_errors_or_values_never_panics() {
        let encoded = encode(&message()).expect("encodes");
        for at in 0..encoded.bytes.len() {
            decode_with::<Message>(&encoded.bytes[..at], &encoded.buffers).expect_err("cut short");
            for bit in 0..8 {
                let mut changed = encoded.bytes.clone();
                changed[at] ^= 1 << bit;
                let _ = decode_with::<Message>(&changed, &encoded.buffers);
            }
        }
    }
}
