//! Results one by one, while the function that makes them still runs.
//!
//! Run it with `cargo run --release --example streaming`. A remote function that returns an iterator gives
//! a stream of refs. It prints the first ten of the primes, of which there is no end: nobody reads on, so their
//! producer is cancelled. Then it prints five results, each as it comes, 100 ms after the one before.

use std::thread::sleep;
use std::time::{Duration, Instant};

use mobula::prelude::*;

#[remote]
fn primes() -> impl Iterator<Item = u64> {
    (2..).filter(|n| (2..*n).all(|divisor| n % divisor != 0))
}

#[remote]
fn slow_squares(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(|x| {
        sleep(Duration::from_millis(100));
        x * x
    })
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;

    let first_ten: Vec<_> = primes::remote().values().take(10).collect::<mobula::Result<_>>()?;
    println!("primes: {first_ten:?}");

    let start = Instant::now();
    for square in slow_squares::remote(5) {
        println!("{} after {} ms", square.get()?, start.elapsed().as_millis());
    }
    Ok(())
}
