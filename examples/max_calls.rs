//! A function that never gives back what it takes: `max_calls = 1` ends its process after each call.
//!
//! Run it with `cargo run --release --example max_calls`. What is taken here is memory that stands for that of a
//! GPU. A worker is used again, so what one call leaks is there in the next; after `max_calls` calls it goes, and
//! the system takes everything back. What such a call made is read long after that.

use std::sync::{Mutex, PoisonError};

use mobula::prelude::*;

/// What a library keeps for ever.
static TAKEN: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// Takes another 16 MB; the megabytes that this process has taken so far.
fn take() -> usize {
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    taken.push(vec![1; 16_000_000]);
    taken.iter().map(Vec::len).sum::<usize>() / 1_000_000
}

#[remote(num_gpus = 1, isolation = "process")]
fn leak() -> (usize, u32) {
    (take(), std::process::id())
}

#[remote(num_gpus = 1, max_calls = 1)]
fn leak_and_go() -> mobula::Result<(usize, u32, ObjectRef<String>)> {
    let left = mobula::put("something".to_owned())?;
    Ok((take(), std::process::id(), left))
}

/// How many different processes there are.
fn processes(mut pids: Vec<u32>) -> usize {
    pids.sort_unstable();
    pids.dedup();
    pids.len()
}

fn main() -> mobula::Result<()> {
    let _session = Config::new().num_gpus(1.0).init()?;

    // One after the other: each needs the GPU.
    let calls: Vec<_> = (0..4).map(|_| leak::remote()).collect();
    let (taken, pids): (Vec<_>, Vec<_>) = mobula::get(&calls)?.into_iter().unzip();
    println!("megabytes taken: {taken:?} by {} process", processes(pids));

    let calls: Vec<_> = (0..4).map(|_| leak_and_go::remote()).collect();
    let (mut taken, mut pids, mut left) = (Vec::new(), Vec::new(), Vec::new());
    for (megabytes, pid, made) in mobula::get(&calls)? {
        taken.push(megabytes);
        pids.push(pid);
        left.push(made);
    }
    println!("megabytes taken: {taken:?} by {} processes", processes(pids));
    println!("what they made is left: {:?}", mobula::get(&left)?[3]);
    Ok(())
}
