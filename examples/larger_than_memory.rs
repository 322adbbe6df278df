//! Four times as much as the object store holds, made, kept and read at random.
//!
//! Run it with `cargo run --release --example larger_than_memory`. What was read longest ago is written to files
//! and read back when it is needed; the program does nothing about it. `--store` and `--data` are in MiB.

use clap::Parser;
use mobula::prelude::*;
use mobula::{Array, store_stats};

/// Numbers in a block: 4 MiB.
const NUMBERS: usize = 1 << 19;

#[derive(Parser)]
struct Args {
    /// What the store may have in memory, in MiB.
    #[arg(long, default_value_t = 64)]
    store: u64,
    /// What is put into it, in MiB.
    #[arg(long, default_value_t = 256)]
    data: u64,
}

#[remote]
fn block(n: u64) -> mobula::Result<Array<u64>> {
    Array::build([NUMBERS], |all| all.fill(n))
}

#[remote]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

fn main() -> mobula::Result<()> {
    let args = Args::parse();
    let _session = Config::new().num_cpus(2.0).object_store_memory(args.store << 20).init()?;
    let count = args.data / 4;
    let blocks: Vec<_> = (0..count).map(block::remote).collect();
    mobula::wait(&blocks, blocks.len(), None)?;
    let stats = store_stats();
    println!(
        "{count} blocks of 4 MiB; in memory at most {} MiB: {}",
        args.store,
        stats.bytes_session <= stats.bytes_limit
    );
    println!("some of them are in files: {}", stats.objects_spilled > 0);

    let mut random = fastrand::Rng::with_seed(1);
    let some: Vec<_> = (0..count).map(|_| random.u64(..count)).collect();
    let sums: Vec<_> = some.iter().map(|n| sum::remote(&blocks[*n as usize])).collect();
    let wrong = some.iter().zip(mobula::get(&sums)?).filter(|(n, sum)| **n * NUMBERS as u64 != *sum);
    println!("{count} read at random, {} wrong", wrong.count());
    let stats = store_stats();
    println!("some came back from files: {}", stats.restores > 0);
    eprintln!("{} left memory, {} came back", stats.spills, stats.restores);
    Ok(())
}
