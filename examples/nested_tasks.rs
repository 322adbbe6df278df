//! Tasks that call tasks, and a task that waits for a task that waits for a task: ten thousand on two CPUs.
//!
//! Run it with `cargo run --release --example nested_tasks -- --depth 10000 --cpus 2`. First `g` returns the
//! refs of four calls that it made, and `h` waits for as many and returns their results. Then a task that waits
//! in `get` lends its CPU to others, so no depth starves the pool; each waiting task keeps a thread, and
//! threads go when they idle. It prints the answer, the most threads that tasks had at once, the peak of
//! the process's memory, and how many threads it has one second later.

use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use mobula::prelude::*;

/// Tasks that wait for each other, one inside the other.
#[derive(Parser)]
struct Options {
    /// How many tasks wait for each other
    #[arg(long, default_value_t = 10_000)]
    depth: u64,
    /// CPUs that they share
    #[arg(long, default_value_t = 2.0)]
    cpus: f64,
}

#[remote]
fn f() -> i64 {
    1
}

// The refs are the result: whoever has them waits for what they stand for, or passes them on.
#[remote]
fn g() -> Vec<ObjectRef<i64>> {
    (0..4).map(|_| f::remote()).collect()
}

#[remote]
fn h() -> mobula::Result<Vec<i64>> {
    let refs: Vec<_> = (0..4).map(|_| f::remote()).collect();
    mobula::get(&refs)
}

#[remote]
fn nest(depth: u64) -> mobula::Result<u64> {
    match depth {
        0 => Ok(0),
        _ => Ok(1 + nest::remote(depth - 1).get()?),
    }
}

fn main() -> mobula::Result<()> {
    let options = Options::parse();
    let _session = Config::new().num_cpus(options.cpus).init()?;

    let refs = g::remote().get()?;
    println!("g: {} refs -> {:?}", refs.len(), mobula::get(&refs)?);
    println!("h: {:?}", h::remote().get()?);

    println!("answer: {}", nest::remote(options.depth).get()?);
    println!("most threads: {}", mobula::testing::threads_peak());
    if let Some(peak) = status("VmHWM") {
        println!("peak memory: {} MB", peak * 1024 / 1_000_000);
    }
    sleep(Duration::from_secs(1));
    if let Some(threads) = status("Threads") {
        println!("threads one second later: {threads}");
    }
    Ok(())
}

/// A number of this process that Linux tells.
fn status(name: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}
