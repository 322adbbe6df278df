//! C code that segfaults: it ends a process of its own, and its caller gets an error, or another attempt.
//!
//! Run it with `cargo run --release --example crash_isolation`. What the C code reads lies in shared memory, where
//! each attempt finds it: nothing is copied.

#![allow(unsafe_code, reason = "that is how C is called")]

use std::ffi::{c_int, c_void};
use std::hint::black_box;
use std::ptr::null;

use mobula::prelude::*;
use mobula::{Array, context, store_stats};

unsafe extern "C" {
    fn memchr(bytes: *const c_void, byte: c_int, count: usize) -> *const c_void;
}

/// Where a byte is, as C finds it. The bug: for so many attempts it is told to look at no address at all.
#[remote(isolation = "process")]
fn find(bytes: &[u8], byte: u8, bad_attempts: u32) -> Option<usize> {
    let start = if context().attempt <= bad_attempts { black_box(null()) } else { bytes.as_ptr() };
    // SAFETY: not if there is a bug, and then this process is all that is lost.
    let found = unsafe { memchr(start.cast(), byte.into(), bytes.len()) };
    (!found.is_null()).then(|| found.addr() - start.addr())
}

/// The same with a state.
#[derive(Default)]
pub struct Finder {
    searches: u32,
}

#[remote(isolation = "process", max_restarts = 1)]
impl Finder {
    /// One that has found nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where a byte is, and how often this instance has searched.
    pub fn find(&mut self, bytes: &[u8], byte: u8, bad_attempts: u32) -> (Option<usize>, u32) {
        self.searches += 1;
        (find(bytes, byte, bad_attempts), self.searches)
    }
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;
    let bytes = mobula::put(Array::build([8_000_000], |all: &mut [u8]| all[7_999_999] = 42)?)?;

    if let Err(error) = find::options().max_retries(0).remote(&bytes, 42, 1).get() {
        println!("a function: {:?}, {}", error.kind(), error.message());
    }
    println!("in the third attempt: {:?}", find::remote(&bytes, 42, 2).get()?);

    // All three are queued before the second ends their process.
    let finder = Finder::remote();
    for call in [0, 1, 0].map(|bad_attempts| finder.find.remote(&bytes, 42, bad_attempts)) {
        match call.get() {
            Ok((found, searches)) => println!("an actor: {found:?}, search {searches} of its instance"),
            Err(error) => println!("an actor: {:?}, {}", error.kind(), error.message()),
        }
    }
    println!("bytes copied: {}", store_stats().bytes_copied);
    Ok(())
}
