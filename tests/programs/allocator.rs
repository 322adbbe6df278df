//! `program_allocator LOG`: a hundred isolated calls of a program that allocates in a way of its own.

use std::alloc::System;

use mobula::prelude::*;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

mod hundred;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[remote(isolation = "process")]
fn allocations() -> usize {
    ALLOCATOR.stats().allocations
}

fn main() -> mobula::Result<()> {
    let log = std::env::args().nth(1).expect("a log is named");
    hundred::note(&log);
    let _session = Config::new().num_cpus(2.0).init()?;
    hundred::hundred()?;
    println!("allocations {}", allocations::remote().get()?);
    Ok(())
}
