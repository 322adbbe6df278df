//! Handles are values: four tasks without end call the one actor whose handle they were given.
//!
//! Run it with `cargo run --release --example actor_handles`. It prints ten values of the counter, none
//! below the one before, and ends: what still runs when the session ends is told so and left behind. The
//! tasks send faster than the actor counts, so they are slowed down, and memory stays bounded.

use std::thread::sleep;
use std::time::Duration;

use mobula::prelude::*;

/// Counts how often it was told to.
#[derive(Default)]
pub struct Counter {
    count: u64,
}

#[remote]
impl Counter {
    /// Starts at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn inc(&mut self) {
        self.count += 1;
    }

    /// What was counted so far.
    pub fn get_counter(&self) -> u64 {
        self.count
    }
}

#[remote]
fn count_for_ever(counter: &ActorHandle<Counter>) {
    loop {
        counter.inc.remote();
    }
}

fn main() -> mobula::Result<()> {
    let _session = Config::new().num_cpus(4.0).init()?;
    let counter = Counter::remote();
    for _ in 0..4 {
        count_for_ever::remote(&counter);
    }
    for _ in 0..10 {
        sleep(Duration::from_millis(20));
        println!("{}", counter.get_counter.remote().get()?);
    }
    Ok(())
}
