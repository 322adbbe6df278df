//! An actor with `async` methods: its calls overlap on one thread, and refs can be awaited in them.
//!
//! Run it with `cargo run --release --example async_actor`. A hundred visitors wait for each other inside
//! one actor, which a class without `async` could not do; then a task's result is awaited inside an
//! actor, and a call that takes too long is given up.

use std::time::Duration;

use mobula::prelude::*;
use tokio::sync::Barrier;

/// A place where visitors wait until all have come.
pub struct Gate {
    barrier: Barrier,
    opened: u32,
}

#[remote]
impl Gate {
    /// Opens for so many visitors at a time.
    pub fn new(visitors: usize) -> Self {
        Self { barrier: Barrier::new(visitors), opened: 0 }
    }

    /// Waits for the others. `&self`: calls of it overlap, a thousand unless told otherwise.
    pub async fn pass(&self, visitor: u64) -> u64 {
        self.barrier.wait().await;
        visitor
    }

    /// Adds up what tasks make, without holding the thread while they run. `&mut self`: it has the
    /// state for itself, across every await.
    pub async fn open(&mut self, hinges: Vec<ObjectRef<u32>>) -> mobula::Result<u32> {
        for hinge in hinges {
            self.opened += hinge.await?;
        }
        Ok(self.opened)
    }

    /// Takes its time.
    pub async fn sleep(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }
}

#[remote]
fn oil(hinge: u32) -> u32 {
    hinge * 10
}

fn main() -> mobula::Result<()> {
    let _session = mobula::init()?;
    let gate = Gate::remote(100);

    let visits: Vec<_> = (1..=100).map(|visitor| gate.pass.remote(visitor)).collect();
    println!("{} visitors were inside at once", mobula::get(&visits)?.len());

    // A list of refs is a value of its own: it is passed on as it is, not waited for.
    let hinges: Vec<_> = (1..=3).map(oil::remote).collect();
    println!("three hinges took {} drops", gate.open.remote(hinges).get()?);

    // A timeout ends async work at its next await.
    let slow = gate.sleep.options().timeout(Duration::from_millis(50)).remote(Duration::from_mins(1));
    println!("a minute in 50 ms: {:?}", slow.get().expect_err("a minute is longer").kind());
    Ok(())
}
