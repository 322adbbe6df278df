//! One array for ten tasks: stored once and borrowed by all, or copied for each.
//!
//! Run it with `cargo run --release --example shared_array`. It prints what both ways allocate, as counted by
//! the program's allocator. A value given to a call is the call's own; a ref names what lies in the store, and
//! a borrowing parameter, like `&[f64]`, reads it there.

use std::alloc::System;

use mobula::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Numbers in the array: 8 MB.
const NUMBERS: usize = 1_000_000;

#[remote]
fn sum(x: &[f64]) -> f64 {
    x.iter().sum()
}

/// Prints what was allocated since `start`.
fn report(how: &str, sums: &[f64], start: &Region<'_, System>) {
    let megabytes = start.change().bytes_allocated as f64 / 1e6;
    println!("{how}: {} sums of {}, {megabytes:.1} MB allocated", sums.len(), sums[0]);
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;
    let x = vec![1.0; NUMBERS];

    let start = Region::new(ALLOCATOR);
    let sums: Vec<_> = (0..10).map(|_| sum::remote(&x)).collect();
    report("ten copies", &mobula::get(&sums)?, &start);

    let start = Region::new(ALLOCATOR);
    let x = mobula::put(x)?;
    let sums: Vec<_> = (0..10).map(|_| sum::remote(&x)).collect();
    report("one put", &mobula::get(&sums)?, &start);
    Ok(())
}
