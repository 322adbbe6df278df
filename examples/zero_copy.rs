//! 80 MB that four processes read where they lie, and that one of them makes.
//!
//! Run it with `cargo run --release --example zero_copy`. An `Array` is built in memory that processes share; calls
//! carry a few bytes that say where. Each process prints the mapping that holds what it reads, and what it copied.

use std::fs;

use mobula::prelude::*;
use mobula::{Array, store_stats};

/// Numbers in the array.
const NUMBERS: usize = 10_000_000;

/// The name of the mapping that holds a slice.
fn mapping(numbers: &[f64]) -> String {
    let address = numbers.as_ptr().addr();
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let holds = |line: &&str| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).unwrap_or(0);
        range.is_some_and(|(start, end)| (number(start)..number(end)).contains(&address))
    };
    let name = maps.lines().find(holds).and_then(|line| line.split_whitespace().nth(5));
    name.unwrap_or("no name").to_owned()
}

#[remote(isolation = "process")]
fn sum(numbers: &[f64]) -> f64 {
    println!(
        "{} numbers in {}, {} bytes copied",
        numbers.len(),
        mapping(numbers),
        store_stats().bytes_copied
    );
    numbers.iter().sum()
}

#[remote(isolation = "process")]
fn ramp(count: usize) -> mobula::Result<Array<f64>> {
    Array::build([count], |all| all.iter_mut().enumerate().for_each(|(n, number)| *number = n as f64))
}

fn main() -> mobula::Result<()> {
    let _session = Config::new().num_cpus(4.0).init()?;

    let ones = mobula::put(Array::build([NUMBERS], |all: &mut [f64]| all.fill(1.0))?)?;
    let sums: Vec<_> = (0..4).map(|_| sum::remote(&ones)).collect();
    println!("sums: {:?}", mobula::get(&sums)?);

    let made = ramp::remote(NUMBERS);
    let view = made.view()?;
    println!("made elsewhere, read in {}, last {}", mapping(&view), view[NUMBERS - 1]);

    let stats = store_stats();
    println!("here: {} bytes written, {} bytes copied", stats.bytes_written, stats.bytes_copied);
    Ok(())
}
