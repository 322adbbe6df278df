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
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use mobula::prelude::*;
use mobula::{Array, Buffer, get, put, store_stats};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Serialize};

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
        "lack" => lack(&more[0]),
        "threads" => {
            threads();
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

/// Of what a process can be short when it makes a segment.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Lack {
    /// Sizes of files: `ftruncate` fails, and a signal would follow.
    Sizes,
    /// Addresses: `mmap` fails.
    Addresses,
    /// Descriptors: `memfd_create` fails.
    Descriptors,
}

/// As long as it lives, this process can make no segment.
struct Lacking(Resource, Rlimit);

impl Lacking {
    fn begin(lack: Lack) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows the process");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
        let size = size.and_then(|size| size.parse::<u64>().ok()).expect("a number of kilobytes") * 1024;
        let (resource, most) = match lack {
            Lack::Sizes => (Resource::Fsize, 1 << 20),
            // Enough for all but a segment.
            Lack::Addresses => (Resource::As, size + (32 << 20)),
            // Those that are open stay so.
            Lack::Descriptors => (Resource::Nofile, 3),
        };
        let before = getrlimit(resource);
        setrlimit(resource, Rlimit { current: Some(most), ..before }).expect("a lower limit is given");
        Self(resource, before)
    }
}

impl Drop for Lacking {
    fn drop(&mut self) {
        setrlimit(self.0, self.1).expect("it was so before");
    }
}

/// Too many for a message.
const MANY: usize = 100_000;
/// Longer than any of these calls takes.
const TIME: Duration = Duration::from_secs(20);

struct Maker {
    lacking: Option<Lacking>,
}

#[remote(isolation = "process")]
impl Maker {
    pub(crate) fn new() -> Self {
        Self { lacking: None }
    }
    pub(crate) fn lack(&mut self, lack: Option<Lack>) -> u32 {
        self.lacking = None;
        self.lacking = lack.map(Lacking::begin);
        std::process::id()
    }
    pub(crate) fn of_numbers(&self, x: Vec<f64>) -> usize {
        x.len()
    }
    pub(crate) fn of_array(&self, x: &Array<f64>) -> usize {
        x.len()
    }
    pub(crate) fn numbers(&self) -> Vec<f64> {
        vec![1.0; MANY]
    }
    pub(crate) fn array(&self) -> Array<f64> {
        Array::from_vec(vec![1.0; MANY])
    }
    pub(crate) fn items(&self) -> impl Iterator<Item = Array<f64>> + use<> {
        (0..2).map(|_| Array::from_vec(vec![1.0; MANY]))
    }
    pub(crate) fn shared(&self) -> mobula::Result<ObjectRef<Array<f64>>> {
        put(Array::from_vec(vec![1.0; MANY]))
    }
    pub(crate) fn call(&self) -> String {
        word(length::remote(Array::from_vec(vec![1.0; MANY])).get_timeout(TIME))
    }
    pub(crate) fn make(&self) -> String {
        let keeper = Keeper::remote(Array::from_vec(vec![1.0; MANY]));
        word(keeper.length.remote().get_timeout(TIME))
    }
    pub(crate) fn refused(&self) -> u64 {
        store_stats().writes_refused
    }
}

struct Keeper(Array<f64>);

#[remote(isolation = "process")]
impl Keeper {
    pub(crate) fn new(x: Array<f64>) -> Self {
        Self(x)
    }
    pub(crate) fn length(&self) -> usize {
        self.0.len()
    }
}

#[remote(isolation = "process", max_retries = 0)]
fn length(x: &Array<f64>) -> usize {
    x.len()
}

/// What becomes of large values where there is no shared memory to be had: here, and then in a worker.
fn lack(what: &str) -> mobula::Result<()> {
    let what = match what {
        "sizes" => Lack::Sizes,
        "addresses" => Lack::Addresses,
        "descriptors" => Lack::Descriptors,
        other => panic!("nothing is named {other}"),
    };
    let maker = Maker::remote();
    let numbers = || vec![1.0; MANY];
    let array = || Array::from_vec(numbers());
    println!("before: {}", word(double::remote(1).get_timeout(TIME)));
    println!("same before: {}", maker.lack.remote(None).get_timeout(TIME)?);

    let lacking = Lacking::begin(what);
    println!("numbers to a task: {}", word(sum::remote(numbers()).get_timeout(TIME)));
    println!("array to a task: {}", word(length::remote(array()).get_timeout(TIME)));
    println!("numbers to an actor: {}", word(maker.of_numbers.remote(numbers()).get_timeout(TIME)));
    println!("array to an actor: {}", word(maker.of_array.remote(array()).get_timeout(TIME)));
    println!("small: {}", word(double::remote(2).get_timeout(TIME)));
    println!("refused here: {}", store_stats().writes_refused);
    drop(lacking);
    println!("numbers to a task again: {}", word(sum::remote(numbers()).get_timeout(TIME)));
    println!("array to an actor again: {}", word(maker.of_array.remote(array()).get_timeout(TIME)));

    for (lack, when) in [(Some(what), ""), (None, " again")] {
        maker.lack.remote(lack).get_timeout(TIME)?;
        let numbers = maker.numbers.remote().get_timeout(TIME);
        println!("numbers of an actor{when}: {}", word(numbers.map(|all| all.len())));
        let array = maker.array.remote().get_timeout(TIME);
        println!("array of an actor{when}: {}", word(array.map(|all| all.len())));
        let items = maker.items.remote().map(|item| item.get_timeout(TIME).map(|all| all.len()));
        println!("items of an actor{when}: {}", word(items.collect::<mobula::Result<Vec<_>>>()));
        let shared = maker.shared.remote().get_timeout(TIME).and_then(|shared| shared.get_timeout(TIME));
        println!("shared by an actor{when}: {}", word(shared.map(|all| all.len())));
        println!("called by an actor{when}: {}", maker.call.remote().get_timeout(TIME)?);
        println!("made by an actor{when}: {}", maker.make.remote().get_timeout(TIME)?);
        println!("small of an actor{when}: {}", word(maker.of_numbers.remote(vec![1.0]).get_timeout(TIME)));
        println!("refused there{when}: {}", maker.refused.remote().get_timeout(TIME)?);
    }
    println!("same after: {}", maker.lack.remote(None).get_timeout(TIME)?);
    Ok(())
}

/// Where a task of this process stands until it may go on.
#[derive(Default)]
struct Door {
    /// Whether somebody stands there, and whether it is open.
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Door {
    const fn new() -> Self {
        Self { state: Mutex::new((false, false)), changed: Condvar::new() }
    }
    fn wait_until(&self, change: impl FnOnce(&mut (bool, bool)), is_so: impl Fn(&(bool, bool)) -> bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        self.changed.notify_all();
        let state = self.changed.wait_while(state, |state| !is_so(state));
        drop(state.unwrap_or_else(PoisonError::into_inner));
    }
    fn pass(&self) {
        self.wait_until(|(is_there, _)| *is_there = true, |(_, is_open)| *is_open);
    }
    fn expect(&self) {
        self.wait_until(|_| {}, |(is_there, _)| *is_there);
    }
    fn open(&self) {
        self.wait_until(|(_, is_open)| *is_open = true, |_| true);
    }
}

static AWAITED: Door = Door::new();
static HOLDING: Door = Door::new();

#[remote(isolation = "thread", num_cpus = 0)]
fn stand() -> u32 {
    AWAITED.pass();
    1
}

#[remote(isolation = "thread", num_cpus = 8)]
fn hold() -> u32 {
    HOLDING.pass();
    2
}

struct Greedy;

#[remote(isolation = "process", num_cpus = 8)]
impl Greedy {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn wait(&self) -> mobula::Result<u32> {
        stand::remote().get()
    }
}

/// A call goes on after a wait where others have its CPUs, and no thread is to be had on which to wait for them.
fn threads() {
    let greedy = Greedy::remote();
    let waiting = greedy.wait.remote();
    AWAITED.expect();
    let holding = hold::remote();
    HOLDING.expect();
    let lacking = Lacking::begin(Lack::Addresses);
    println!("a thread: {}", std::thread::Builder::new().spawn(|| {}).is_ok());
    AWAITED.open();
    println!("the call: {}", word(waiting.get_timeout(TIME)));
    drop(lacking);
    println!("a thread again: {}", std::thread::Builder::new().spawn(|| {}).is_ok());
    HOLDING.open();
    println!("who had the CPUs: {}", word(holding.get_timeout(TIME)));
    println!("the call again: {}", word(greedy.wait.remote().get_timeout(TIME)));
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
