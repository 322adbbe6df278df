//! An actor with methods named `set` and `get`: a method may have any name that a field can have.
//!
//! Run it with `cargo run --release --example example_set_get`. It prints the value that the actor was made
//! with, then the one that it was set to. `get` is called here both of the actor, which starts the call, and
//! of the ref, which waits for its result.

use mobula::prelude::*;

/// Keeps a value.
pub struct Example {
    x: i64,
}

#[remote]
impl Example {
    /// Keeps `x` at first.
    pub fn new(x: i64) -> Self {
        Self { x }
    }

    /// Keeps `x` from now on.
    pub fn set(&mut self, x: i64) {
        self.x = x;
    }

    /// What is kept.
    pub fn get(&self) -> i64 {
        self.x
    }
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;
    let example = Example::remote(1);
    println!("made with 1: {}", example.get.remote().get()?);

    // Nobody need wait for `set`: calls run in the order in which they were made.
    example.set.remote(2);
    println!("after set(2): {}", example.get.remote().get()?);

    // Whoever waits for it all the same learns that it has run.
    example.set.remote(3).get()?;
    println!("after set(3): {}", example.get.remote().get()?);
    Ok(())
}
