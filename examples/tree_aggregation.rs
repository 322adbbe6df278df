//! Adds eight numbers up, in a line and as a tree: seven additions in both, but three in a row, not seven.
//!
//! Run it with `cargo run --release --example tree_aggregation`. An addition takes a unit of time. It prints
//! how long each way took, and draws the tree. The two loops differ in one place: where the new sum goes in
//! the list of what is still to be added, to the front or to the back. `tree_reduce` is the second
//! loop in one call, and adds neighbours only, so the order is kept.

use std::cell::RefCell;
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Parser;
use mobula::prelude::*;

/// Adds eight numbers up, in a line and as a tree.
#[derive(Parser)]
struct Options {
    /// Milliseconds that an addition takes
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    unit_ms: u64,
}

#[remote]
fn add(x: i64, y: i64, unit: Duration) -> i64 {
    sleep(unit);
    x + y
}

/// Values and refs in one list: numbers at first, more and more sums then.
fn numbers() -> Vec<Arg<i64>> {
    (1..=8).map(Arg::Value).collect()
}

fn main() -> mobula::Result<()> {
    let unit = Duration::from_millis(Options::parse().unit_ms);
    let _session = Config::new().num_cpus(4.0).init()?;

    // The sum goes to the front: the next addition needs it, and waits.
    let start = Instant::now();
    let mut values = numbers();
    while let [x, y, rest @ ..] = &values[..] {
        let sum = Arg::Ref(add::remote(x, y, unit));
        values = [&[sum], rest].concat();
    }
    report("in a line", values[0].get()?, start, unit);

    // The sum goes to the back: the next addition takes two others.
    let start = Instant::now();
    let mut values = numbers();
    while let [x, y, rest @ ..] = &values[..] {
        let sum = Arg::Ref(add::remote(x, y, unit));
        values = [rest, &[sum]].concat();
    }
    report("as a tree", values[0].get()?, start, unit);

    // The same in one call. The sums on the way are kept, to draw them.
    let start = Instant::now();
    let sums = RefCell::new(Vec::new());
    let sum = mobula::tree_reduce(1..=8, |x, y| {
        let sum = add::remote(x, y, unit);
        sums.borrow_mut().push(sum.clone());
        sum
    });
    report("by tree_reduce", sum.expect("eight numbers are not none").get()?, start, unit);

    let sums = mobula::get(&sums.into_inner())?;
    draw(&[(1..=8).collect(), sums[..4].to_vec(), sums[4..6].to_vec(), sums[6..].to_vec()]);
    Ok(())
}

fn report(how: &str, sum: i64, start: Instant, unit: Duration) {
    let time = start.elapsed();
    let units = time.as_secs_f64() / unit.as_secs_f64();
    println!("{how}: {sum} in {units:.0} units of time, {} ms", time.as_millis());
}

/// Draws a tree from its leaves down to its root, each level half as long as the one above.
fn draw(levels: &[Vec<i64>]) {
    const LEAF_WIDTH: usize = 6;
    for (level, values) in levels.iter().enumerate() {
        let half = (LEAF_WIDTH << level) / 2;
        if level > 0 {
            let arm = half / 2 - 1;
            let joint = format!("{:>1$}{2}┬{2}┘{3:4$}", "└", arm + 2, "─".repeat(arm), "", arm);
            println!("{}", joint.repeat(values.len()).trim_end());
        }
        let texts = values.iter().map(|value| format!("{value:>0$}{1:2$}", half + 1, "", half - 1));
        println!("{}", texts.collect::<String>().trim_end());
    }
}
