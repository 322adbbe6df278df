//! Messages between processes: plain versioned data, no sockets.
//!
//! ```text
//! frame   [length of the head u32 | head: MessagePack of (Message, Cargo) | inline bytes of the cargo]
//! cargo   a value or the arguments of a call: bytes, buffers beside them, ids inside them
//! ```
//!
//! A parent sends calls, a worker sends results; both send calls on, results back, and what they return
//! of what they borrowed. The first message of each side names its [`VERSION`]; a peer of another
//! version is refused. Whatever is malformed is a typed error of who reads it, and never a panic.

mod message;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

pub(crate) use message::{Cargo, Carried, Gate, Leased, Message, Said, Told, VERSION};

use rmp_serde::decode;
use serde::Deserialize;

use crate::error::{Error, ErrorKind, Result};

/// The depth of nesting beyond which a head is refused.
const DEPTH_MAX: usize = 64;

/// Writes a message with its cargo's head; the cargo's inline bytes follow it in the frame.
pub(crate) fn write(message: &Message, cargo: Option<&Cargo>, out: &mut Vec<u8>) -> Result<()> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let wrong = |error: rmp_serde::encode::Error| Error::new(ErrorKind::Encode, error.to_string());
    rmp_serde::encode::write(out, &(message, cargo)).map_err(wrong)?;
    let length = u32::try_from(out.len() - start - 4);
    let length = length.map_err(|_| Error::new(ErrorKind::Encode, "the head of a message is too large"))?;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Reads a frame: the message, the head of its cargo, and where the inline bytes begin.
pub(crate) fn read(frame: &[u8]) -> Result<(Message, Option<Cargo>, usize)> {
    let malformed = |what: &str| Error::new(ErrorKind::Decode, format!("malformed frame: {what}"));
    let (length, rest) = frame.split_first_chunk::<4>().ok_or_else(|| malformed("cut short"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let head = rest.get(..length).ok_or_else(|| malformed("cut short"))?;
    let mut reader = rmp_serde::Deserializer::from_read_ref(head);
    reader.set_max_depth(DEPTH_MAX);
    let read = <(Message, Option<Cargo>)>::deserialize(&mut reader);
    let (message, cargo) = read.map_err(|error| malformed(&error.to_string()))?;
    // At the end there is not even the marker of a value.
    match <()>::deserialize(&mut reader) {
        Err(decode::Error::InvalidMarkerRead(_)) => Ok((message, cargo, 4 + length)),
        _ => Err(malformed("more than a message in its head")),
    }
}
