//! Value ↔ bytes: [`Value`] says what can travel, [`encode`] and [`decode`] make it travel.
//!
//! ```text
//! value ──serde──► MessagePack bytes  +  the refs and handles found inside, kept alive
//! ```
//!
//! A ref or handle inside a value is written as its id, and only inside [`encode`]: any other
//! serialiser gets an error, since nobody would count that copy. While the bytes live, the
//! [`Encoded`] keeps what they name alive. Values that stay in their process never come here.

mod buffer;
mod pack;
mod weigh;

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::sync::Arc;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub(crate) use buffer::{read_buffer, write_buffer};
pub(crate) use pack::{INLINE_MAX, Opaque, Refs};
pub(crate) use pack::{Item, Packer, Unpacker};
pub(crate) use weigh::{is_weighing, weigh};

use crate::error::{Error, ErrorKind, Result};

/// What can be an argument or a result: it may cross threads and, as bytes, processes.
///
/// Blanket-implemented; derive serde's `Serialize` and `Deserialize` for your own types. What a parameter
/// owns or [`get`](crate::get) returns is `Clone` as well; what is borrowed or viewed need not be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument or a result of a remote call",
    label = "not a Mobula value",
    note = "a value is `Send + Sync + 'static` and can be serialised: `#[derive(Serialize, Deserialize)]`"
)]
pub trait Value: Serialize + DeserializeOwned + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned + Send + Sync + 'static> Value for T {}

/// Nesting beyond this is refused: a deeper value would exhaust the stack of whoever reads it.
const DEPTH_MAX: usize = 64;

/// Something that a ref or handle inside a value stands for, kept alive while its bytes are.
pub(crate) type Kept = Arc<dyn Any + Send + Sync>;

/// A value as bytes, with what those bytes name.
#[derive(Clone, Default)]
pub(crate) struct Encoded {
    pub(crate) bytes: Vec<u8>,
    /// What lies beside the bytes.
    pub(crate) buffers: Vec<Bytes>,
    pub(crate) kept: Vec<Kept>,
}

impl Encoded {
    /// The one value in it.
    pub(crate) fn read<T: Value>(self) -> Result<T> {
        let Self { bytes, mut buffers, kept } = self;
        if let Some(value) = pack::of_far(&bytes, &mut buffers) {
            return Ok(value);
        }
        if TypeId::of::<T>() == TypeId::of::<Opaque>() {
            let opaque = Opaque { bytes: bytes.into(), buffers, kept };
            return pack::as_type(opaque).ok_or_else(|| Error::new(ErrorKind::Decode, "of another type"));
        }
        with_kept(&kept, || Unpacker::new(&bytes, &buffers).value())
    }
}

thread_local! {
    /// What the bytes name that are read on this thread, where it is at hand.
    static AT_HAND: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

/// Reads bytes while what they name is at hand.
fn with_kept<R>(kept: &[Kept], f: impl FnOnce() -> R) -> R {
    struct Restore(Vec<Kept>);
    impl Drop for Restore {
        fn drop(&mut self) {
            AT_HAND.set(std::mem::take(&mut self.0));
        }
    }
    let _restore = Restore(AT_HAND.replace(kept.to_vec()));
    f()
}

/// The first of what is at hand of which `f` makes something.
pub(crate) fn at_hand<R>(f: impl FnMut(&Kept) -> Option<R>) -> Option<R> {
    AT_HAND.with_borrow(|all| all.iter().find_map(f))
}

thread_local! {
    /// The refs and handles met so far by the `encode` that runs on this thread, if one does.
    static SCOPE: RefCell<Option<Vec<Kept>>> = const { RefCell::new(None) };
    /// Whether a `decode` runs on this thread.
    static READING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Restores the scope of an outer `encode` also when a user's `serialize` panics.
struct Scope(Option<Vec<Kept>>);

impl Drop for Scope {
    fn drop(&mut self) {
        SCOPE.set(self.0.take());
    }
}

struct Reading(bool);

impl Drop for Reading {
    fn drop(&mut self) {
        READING.set(self.0);
    }
}

/// Turns a value into bytes; `Encode` if its own `Serialize` fails.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Encoded> {
    let outer = Scope(SCOPE.replace(Some(Vec::new())));
    let mut bytes = Vec::with_capacity(128);
    // By the names of their fields: a struct may leave some out, as `skip_serializing_if` says.
    let mut writer = rmp_serde::Serializer::new(&mut bytes).with_struct_map();
    let (written, buffers) = buffer::writing(|| value.serialize(&mut writer));
    written.map_err(|error| Error::new(ErrorKind::Encode, error.to_string()))?;
    let kept = SCOPE.take().unwrap_or_default();
    drop(outer);
    Ok(Encoded { bytes, buffers, kept })
}

/// Turns bytes into a value; `Decode` if they are not such a value, or nested too deeply.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    decode_with(bytes, &[])
}

/// As [`decode`], with the buffers that go with the bytes: the value has clones of them, not copies.
pub(crate) fn decode_with<T: DeserializeOwned>(bytes: &[u8], buffers: &[Bytes]) -> Result<T> {
    let _outer = Reading(READING.replace(true));
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes);
    reader.set_max_depth(DEPTH_MAX);
    let value = buffer::reading(buffers, || T::deserialize(&mut reader));
    value.map_err(|error| Error::new(ErrorKind::Decode, error.to_string()))
}

/// How a ref or handle serialises itself: its id, noting what keeps it alive.
pub(crate) fn write_counted<I: Serialize, S: Serializer>(
    id: I,
    kept: Kept,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    let inside = SCOPE.with_borrow_mut(|scope| scope.as_mut().map(|all| all.push(kept)).is_some());
    if inside {
        id.serialize(serializer)
    } else {
        Err(serde::ser::Error::custom(
            "an ObjectRef or ActorHandle can be serialised by Mobula only, which counts it",
        ))
    }
}

/// How a ref or handle reads its id.
pub(crate) fn read_counted<'de, I: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> std::result::Result<I, D::Error> {
    if READING.get() {
        I::deserialize(deserializer)
    } else {
        Err(serde::de::Error::custom(
            "an ObjectRef or ActorHandle can be deserialised by Mobula only, which counts it",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
    struct Row {
        name: String,
        cells: Vec<Option<f64>>,
    }

    #[test]
    fn a_struct_comes_back() {
        let row = Row { name: "a".into(), cells: vec![Some(1.5), None] };
        let encoded = encode(&row).expect("encodes");
        assert!(encoded.kept.is_empty());
        assert_eq!(decode::<Row>(&encoded.bytes).expect("decodes"), row);
    }

    #[test]
    fn a_field_that_is_left_out_moves_no_other() {
        #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
        struct Person {
            #[serde(default, skip_serializing_if = "Option::is_none")]
            name: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            nick: Option<String>,
        }
        let person = Person { name: None, nick: Some("x".into()) };
        assert_eq!(decode::<Person>(&encode(&person).expect("encodes").bytes).expect("decodes"), person);
    }

    #[test]
    fn cut_and_changed_bytes_are_errors_or_values_never_panics() {
        let row = Row { name: "some name".into(), cells: vec![Some(1.5), None, Some(-0.0)] };
        let bytes = encode(&row).expect("encodes").bytes;
        for length in 0..bytes.len() {
            assert_eq!(decode::<Row>(&bytes[..length]).expect_err("cut short").kind(), ErrorKind::Decode);
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let _ = decode::<Row>(&changed);
            }
        }
    }

    #[test]
    fn too_deep_is_an_error() {
        #[derive(Serialize, serde::Deserialize)]
        struct Deep(Vec<Deep>);
        let deep = (0..500).fold(Deep(Vec::new()), |inner, _| Deep(vec![inner]));
        let bytes = encode(&deep).expect("encodes").bytes;
        assert_eq!(decode::<Deep>(&bytes).err().expect("too deep").kind(), ErrorKind::Decode);
    }
}
