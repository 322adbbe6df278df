//! Tasks side by side: four that take a second each take about a second together.
//!
//! Run it with `cargo run --release --example parallel_tasks`. Each call returns at once, so all four run
//! before the first result is asked for. It prints the results, in the order of the calls, and the time.

use std::thread::sleep;
use std::time::{Duration, Instant};

use mobula::prelude::*;

#[remote]
fn f(x: i64) -> i64 {
    sleep(Duration::from_secs(1));
    x
}

fn main() -> mobula::Result<()> {
    // CPUs are counted, not measured: say four, and four tasks run at once on any machine.
    let _session = Config::new().num_cpus(4.0).init()?;

    let start = Instant::now();
    let results: Vec<_> = (0..4).map(f::remote).collect();
    println!("calls made after {} ms", start.elapsed().as_millis());
    println!("{:?}", mobula::get(&results)?);
    println!("one after the other they take 4000 ms; they took {} ms", start.elapsed().as_millis());
    Ok(())
}
