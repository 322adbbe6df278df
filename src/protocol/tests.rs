//! What is no frame is a typed error of who reads it, and never a panic.

use super::samples::messages;
use super::*;
use crate::id::Extent;
use crate::id::{ActorId, ObjectId, Place, WorkerId};

/// Deeper than any stack could follow.
const DEEP: usize = 100_000;

fn cargo() -> Cargo {
    let owner = WorkerId(7);
    let place = Place { index: 3, generation: 1 };
    let extent = Extent { segment: samples::SEGMENT, offset: 64, len: 1 << 20 };
    Cargo {
        body: Carried::Inline(5),
        buffers: vec![Carried::Far(extent), Carried::Inline(3), Carried::Far(extent)],
        objects: vec![ObjectId { owner, place }; 2],
        actors: vec![ActorId { owner, place }],
    }
}

fn written(message: &Message, cargo: Option<&Cargo>) -> Vec<u8> {
    let mut frame = Vec::new();
    write(message, cargo, &mut frame).expect("it is small");
    frame
}

/// A frame with any bytes as its head.
fn framed(head: &[u8]) -> Vec<u8> {
    [&(head.len() as u32).to_le_bytes()[..], head].concat()
}

fn frames() -> Vec<Vec<u8>> {
    let all = messages();
    let cargo = cargo();
    all.iter().flat_map(|message| [written(message, None), written(message, Some(&cargo))]).collect()
}

fn refused(frame: &[u8]) -> Error {
    let error = read(frame).err().unwrap_or_else(|| panic!("{} bytes are read", frame.len()));
    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
    error
}

#[test]
fn each_kind_comes_back_with_its_cargo() {
    let cargo = cargo();
    for message in messages() {
        let mut frame = written(&message, Some(&cargo));
        let end = frame.len();
        frame.extend_from_slice(b"inline");
        let (back, with, at) = read(&frame).expect("it was written so");
        assert_eq!(format!("{back:?}"), format!("{message:?}"));
        assert_eq!((with, at), (Some(cargo.clone()), end));
        let (back, without, _) = read(&written(&message, None)).expect("it was written so");
        assert_eq!((format!("{back:?}"), without), (format!("{message:?}"), None));
    }
}

#[test]
fn what_is_cut_short_at_any_byte_is_refused() {
    for frame in frames() {
        for end in 0..frame.len() {
            refused(&frame[..end]);
            // As long as it says, but of half a head.
            if end >= 4 {
                refused(&framed(&frame[4..end]));
            }
        }
    }
}

#[test]
fn what_stands_behind_the_message_in_its_head_is_refused() {
    for behind in [&b"\xc0"[..], b"\x91", b"\xc1", &[0x91; 1_000]] {
        for frame in frames() {
            let error = refused(&framed(&[&frame[4..], behind].concat()));
            assert!(error.message().contains("more than a message"), "{error}");
        }
    }
}

#[test]
fn any_flipped_bit_is_an_error_or_another_message() {
    for frame in frames() {
        for at in 0..frame.len() {
            for bit in 0..8 {
                let mut changed = frame.clone();
                changed[at] ^= 1 << bit;
                if let Err(error) = read(&changed) {
                    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
                }
            }
        }
    }
}

#[test]
fn a_head_of_four_gigabytes_is_refused() {
    for length in [[255; 4], [0, 0, 0, 128], [0, 0, 128, 0]] {
        let mut frame = written(&Message::Leave, None);
        frame[..4].copy_from_slice(&length);
        assert!(refused(&frame).message().contains("cut short"));
    }
}

#[test]
fn lengths_that_lie_are_refused_and_nothing_is_allocated_for_them() {
    // Arrays, maps, texts and bytes of 4 GiB at each place of each frame.
    for marker in [0xdd_u8, 0xdf, 0xdb, 0xc6, 0xc9] {
        for frame in frames() {
            for at in 4..frame.len() {
                let lie = [&frame[4..at], &[marker, 255, 255, 255, 255][..], &frame[at + 1..]].concat();
                if let Err(error) = read(&framed(&lie)) {
                    assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
                }
            }
        }
    }
}

#[test]
fn nesting_without_an_end_is_refused_at_any_place() {
    let nests: [&[u8]; 4] = [b"\x91", b"\x81\xa0", b"\x81", b"\xdc\x00\x02"];
    for nest in nests {
        let deep = nest.repeat(DEEP / nest.len());
        refused(&framed(&deep));
        for frame in frames() {
            for at in 4..frame.len() {
                refused(&framed(&[&frame[4..at], &deep].concat()));
            }
        }
    }
    // Where what is named is not known, and would be skipped.
    for nest in nests {
        let deep = nest.repeat(DEEP);
        let error = refused(&framed(&[&b"\x92\x81\xa4Over\x82\xa4skip"[..], &deep].concat()));
        assert!(error.message().contains("depth"), "{error}");
    }
}

#[test]
fn another_version_is_read_so_that_it_can_be_refused_by_name() {
    for version in [0, VERSION + 1, u32::MAX] {
        let (message, ..) = read(&written(&Message::Hello { version }, None)).expect("it is a greeting");
        assert!(matches!(message, Message::Hello { version: told } if told == version), "{message:?}");
    }
}

#[test]
fn unknown_kinds_are_refused_by_name() {
    for head in [&b"\x92\xa4Nope\xc0"[..], b"\x92\x81\xa4Nope\xc0\xc0", b"\x92\xa0\xc0"] {
        assert!(refused(&framed(head)).message().contains("unknown variant"));
    }
    for head in [&b""[..], b"\xc0", b"\x90", b"\x91\xa5Leave", b"\x92\x07\xc0", b"\x93\xa5Leave\xc0\xc0"] {
        refused(&framed(head));
    }
}
