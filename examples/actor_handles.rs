//! Handles are values: a task returns one, an object and an actor hold it, and four endless tasks use it.
//!
//! Run it with `cargo run --release --example actor_handles`. One counter goes from hand to hand and counts at
//! each stop: nobody but the present holder keeps it alive. Then it prints ten values of the counter, none
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

/// Holds a counter in its state.
pub struct Keeper {
    counter: ActorHandle<Counter>,
}

#[remote]
impl Keeper {
    /// Keeps a counter.
    pub fn new(counter: ActorHandle<Counter>) -> Self {
        Self { counter }
    }

    /// Tells the counter to count, and gives it away.
    pub fn count_and_share(&self) -> ActorHandle<Counter> {
        self.counter.inc.remote();
        self.counter.clone()
    }
}

#[remote]
fn make_counter() -> ActorHandle<Counter> {
    let counter = Counter::remote();
    counter.inc.remote();
    counter
}

#[remote]
fn count_for_ever(counter: &ActorHandle<Counter>) {
    loop {
        counter.inc.remote();
    }
}

fn main() -> mobula::Result<()> {
    let _session = Config::new().num_cpus(4.0).init()?;

    let counter = make_counter::remote().into_inner()?;
    println!("returned from a task: {}", counter.get_counter.remote().get()?);

    let stored = mobula::put(counter)?;
    let counter = stored.view()?;
    counter.inc.remote();
    println!("put into the object store: {}", counter.get_counter.remote().get()?);

    let keeper = Keeper::remote(&stored);
    let counter = keeper.count_and_share.remote().get()?;
    println!("kept in another actor: {}", counter.get_counter.remote().get()?);

    for _ in 0..4 {
        count_for_ever::remote(&counter);
    }
    for _ in 0..10 {
        sleep(Duration::from_millis(20));
        println!("{}", counter.get_counter.remote().get()?);
    }
    Ok(())
}
