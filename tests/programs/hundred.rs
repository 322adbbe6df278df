//! What the programs of the tests share: a line at the top of `main`, and a hundred isolated calls.

use std::fs::OpenOptions;
use std::io::Write;

use mobula::prelude::*;

/// Appends a line: whoever counts them knows how often `main` ran.
pub(crate) fn note(log: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
    writeln!(file, "main of {}", std::process::id()).expect("the log can be written");
}

#[remote(isolation = "process")]
fn square(x: u64) -> (u64, u32) {
    (x * x, std::process::id())
}

/// Makes a hundred isolated calls, and prints the sum of what they returned.
pub(crate) fn hundred() -> mobula::Result<()> {
    let calls: Vec<_> = (1..=100).map(square::remote).collect();
    let squares = mobula::get(&calls)?;
    let elsewhere = squares.iter().filter(|(_, pid)| *pid != std::process::id()).count();
    println!("sum {}", squares.iter().map(|(square, _)| square).sum::<u64>());
    println!("elsewhere {elsewhere}");
    Ok(())
}
