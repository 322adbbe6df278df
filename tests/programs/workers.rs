//! `program_workers LOG PART`: what the tests of worker processes look at from outside.
//!
//! The first thing in `main` is a line in LOG; what runs in workers never comes there.

#![allow(
    clippy::needless_pass_by_value,
    clippy::ptr_arg,
    clippy::unused_self,
    reason = "parameters as users write them"
)]

use std::fs::File;
use std::thread::sleep;
use std::time::Duration;

use mobula::prelude::*;
use mobula::{Array, Buffer, get, put};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

mod hundred;

/// Bytes of a large argument.
const LARGE: usize = 100_000_000;

fn main() -> mobula::Result<()> {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [log, part, more @ ..] = &args[..] else { panic!("a log and a part are named") };
    hundred::note(log);
    match part.as_str() {
        "lazy" => return hundred::hundred(),
        "folder" => std::env::set_current_dir(&more[0]).expect("there is such a folder"),
        _ => {}
    }
    let _session = Config::new().num_cpus(8.0).init()?;
    match part.as_str() {
        "explicit" => hundred::hundred(),
        "folder" => folder(),
        "lines" => lines(),
        "flood" => flood(),
        "sleepers" => sleepers(),
        "descriptors" => {
            descriptors();
            Ok(())
        }
        "nothing" => nothing::remote().get(),
        "move" => large(&more[0]),
        other => panic!("no part is named {other}"),
    }
}

#[remote(isolation = "process")]
fn folder_here() -> String {
    std::env::current_dir().map(|path| path.display().to_string()).unwrap_or_default()
}

fn folder() -> mobula::Result<()> {
    println!("{}", folder_here::remote().get()?);
    Ok(())
}

#[remote(isolation = "process")]
fn speak(name: &str) {
    println!("hello {name}\nand again");
    eprintln!("no good, {name}");
    print!("no newline");
}

struct Speaker;

#[remote(isolation = "process")]
impl Speaker {
    pub(crate) fn new() -> Self {
        println!("born");
        Self
    }
    pub(crate) fn speak(&self) {
        println!("speaking");
    }
}

fn lines() -> mobula::Result<()> {
    speak::remote("world").get()?;
    Speaker::remote().speak.remote().get()
}

#[remote(isolation = "process")]
fn babble(lines: u32) {
    for n in 0..lines {
        println!("{n}");
    }
}

fn flood() -> mobula::Result<()> {
    babble::remote(20_000).get()
}

#[remote(isolation = "process")]
fn slumber(large: &[f64]) {
    println!("asleep over {} numbers", large.len());
    sleep(Duration::from_mins(10));
}

fn sleepers() -> mobula::Result<()> {
    let large = put(vec![1.0; 1_000_000])?;
    let calls: Vec<_> = (0..8).map(|_| slumber::remote(&large)).collect();
    get(&calls).map(drop)
}

#[remote(isolation = "process", max_retries = 0)]
fn double(x: u64) -> u64 {
    2 * x
}

#[remote(isolation = "process", max_retries = 0)]
fn sum(numbers: &[f64]) -> f64 {
    numbers.iter().sum()
}

#[remote(isolation = "process", max_retries = 0)]
fn ones_without_descriptors(count: usize) -> Vec<f64> {
    all_descriptors().into_iter().for_each(std::mem::forget);
    vec![1.0; count]
}

/// Whatever descriptors are left to this process.
fn all_descriptors() -> Vec<File> {
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

/// What can be said of a call, in a word.
fn word<T: std::fmt::Debug>(result: mobula::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!("{:?}", error.kind()),
    }
}

/// What becomes of calls when descriptors run out, here and in a worker.
fn descriptors() {
    // The workers have the same limit.
    let limit = Rlimit { current: Some(100), ..getrlimit(Resource::Nofile) };
    setrlimit(Resource::Nofile, limit).expect("a lower limit is given");
    let time = Duration::from_secs(20);
    let other = || double::options().env("OTHER", "yes");
    println!("before: {}", word(double::remote(1).get_timeout(time)));

    let all = all_descriptors();
    println!("{} taken", all.len());
    println!("a warm worker: {}", word(double::remote(2).get_timeout(time)));
    println!("a new worker: {}", word(other().remote(3).get_timeout(time)));
    println!("a large argument: {}", word(sum::remote(vec![1.0; 1_000_000]).get_timeout(time)));
    drop(all);

    println!("a new worker after: {}", word(other().remote(4).get_timeout(time)));
    println!("a large argument after: {}", word(sum::remote(vec![1.0; 1_000_000]).get_timeout(time)));
    let ones = ones_without_descriptors::remote(1_000_000).get_timeout(time);
    println!("a large result without: {}", word(ones.map(|ones| ones.len())));
    println!("after all: {}", word(double::remote(5).get_timeout(time)));
}

#[remote(isolation = "process")]
fn nothing() {}

#[remote(isolation = "process")]
fn of_array(x: &Array<f64>) -> usize {
    x.len() * size_of::<f64>()
}

#[remote(isolation = "process")]
fn of_numbers(x: Vec<f64>) -> usize {
    x.len() * size_of::<f64>()
}

#[remote(isolation = "process")]
fn of_buffer(x: Buffer) -> usize {
    x.len()
}

#[remote(isolation = "process")]
fn of_bytes(x: Vec<u8>) -> usize {
    x.len()
}

#[remote(isolation = "process")]
fn of_text(x: String) -> usize {
    x.len()
}

/// One call with a large argument.
fn large(kind: &str) -> mobula::Result<()> {
    let count = LARGE / size_of::<f64>();
    let bytes = match kind {
        "array" => of_array::remote(Array::build([count], |all: &mut [f64]| all.fill(1.0))?),
        "numbers" => of_numbers::remote(vec![1.0; count]),
        "buffer" => of_buffer::remote(Buffer::from(vec![1; LARGE])),
        "bytes" => of_bytes::remote(vec![1; LARGE]),
        "text" => of_text::remote("x".repeat(LARGE)),
        other => panic!("no argument is named {other}"),
    };
    println!("{} bytes arrived", bytes.get()?);
    Ok(())
}
