//! Tasks side by side, tasks that wait for each other's results, and results as they come.
//!
//! Run it with `cargo run --release --example parallel_tasks`. Four tasks of 250 ms take about 250 ms
//! together, since they wait and do not compute; a product of matrices starts when both are there; eight
//! numbers are added up as a tree; and the shortest of three tasks is heard of first.

use std::thread::sleep;
use std::time::{Duration, Instant};

use mobula::prelude::*;

#[remote]
fn slow(x: i64) -> i64 {
    sleep(Duration::from_millis(250));
    x
}

#[remote]
fn create_matrix(size: usize, value: f64) -> Vec<Vec<f64>> {
    vec![vec![value; size]; size]
}

// Borrowed parameters are read where the results lie: nothing is copied.
#[remote]
fn multiply(x: &[Vec<f64>], y: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let cell = |row: &[f64], column: usize| row.iter().zip(y).map(|(a, b)| a * b[column]).sum();
    x.iter().map(|row| (0..row.len()).map(|column| cell(row, column)).collect()).collect()
}

#[remote]
fn add(x: i64, y: i64) -> i64 {
    x + y
}

#[remote]
fn nap(ms: u64) -> u64 {
    sleep(Duration::from_millis(ms));
    ms
}

fn main() -> mobula::Result<()> {
    // CPUs are counted, not measured: say four, and four tasks run at once on any machine.
    let _session = Config::new().num_cpus(4.0).init()?;

    let start = Instant::now();
    let results: Vec<_> = (0..4).map(slow::remote).collect();
    println!("four slow tasks: {:?}", mobula::get(&results)?);
    println!("one after the other they take 1000 ms; they took {} ms", start.elapsed().as_millis());

    // Refs are arguments like any other: `multiply` starts once both matrices are there.
    let x = create_matrix::remote(3, 2.0);
    let y = create_matrix::remote(3, 4.0);
    println!("first row of the product: {:?}", multiply::remote(&x, &y).get()?[0]);

    // Neighbours are added first, then their sums: three rounds for eight numbers rather than seven.
    let sum = mobula::tree_reduce(1..=8, add::remote).expect("eight numbers are not none");
    println!("1 + 2 + ... + 8 = {}", sum.get()?);

    let (ready, waiting) = mobula::wait([600, 1, 300].map(nap::remote), 1, None)?;
    println!("first of three: {} ms; still to come: {}", ready[0].get()?, waiting.len());
    for nap in mobula::as_completed(waiting) {
        println!("then: {} ms", nap.get()?);
    }
    Ok(())
}
