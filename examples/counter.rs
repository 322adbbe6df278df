//! Remote functions and actors: the first program of the README, then several actors at once.
//!
//! Run it with `cargo run --release --example counter`. It prints the squares of four numbers, counted by
//! tasks, and then what counters say that are called in turn and side by side: ten of them once each, and
//! the first of the ten five times more.

use mobula::prelude::*;

#[remote]
fn square(x: i64) -> i64 {
    x * x
}

/// Counts the calls of its one method.
#[derive(Default)]
pub struct Counter {
    value: i64,
}

#[remote]
impl Counter {
    /// Starts at zero.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one and tells the sum.
    pub fn increment(&mut self) -> i64 {
        self.value += 1;
        self.value
    }
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;

    // Four tasks, each called by the one line that an ordinary function needs.
    let squares: Vec<_> = (0..4).map(square::remote).collect();
    println!("squares: {:?}", mobula::get(&squares)?);

    // An actor. Calls return at once; its methods run one at a time, in the order of the calls.
    let counter = Counter::remote();
    counter.increment.remote();
    println!("after two calls: {}", counter.increment.remote().get()?);

    // Ten actors. What is called on different ones runs side by side.
    let counters: Vec<_> = (0..10).map(|_| Counter::remote()).collect();
    let results: Vec<_> = counters.iter().map(|counter| counter.increment.remote()).collect();
    println!("{:?}", mobula::get(&results)?);

    // Five calls of one actor run in turn and share its state.
    let results: Vec<_> = (0..5).map(|_| counters[0].increment.remote()).collect();
    println!("{:?}", mobula::get(&results)?);

    // A handle is a value: tasks take it, and call the actor that it names.
    let total = call_many::remote(&counter, 1_000).get()?;
    println!("after a task called it 1000 times: {total}");
    Ok(())
}

#[remote]
fn call_many(counter: &ActorHandle<Counter>, times: u32) -> mobula::Result<i64> {
    for _ in 1..times {
        counter.increment.remote();
    }
    counter.increment.remote().get()
}
