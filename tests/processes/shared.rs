//! Large values lie in memory that processes share.

use std::fs;
use std::process::Command;

use mobula::prelude::*;
use mobula::{Array, Buffer, get, put, store_stats};
use serde::{Deserialize, Serialize};

use crate::common::Env;
use crate::executable::folder;
use crate::programs::{path_of, run_command};

/// The most bytes through sockets for a process, its greeting, one call and its end.
const SENT_MAX: u64 = 4 * 1024;

/// What a program and its workers write to sockets, as the kernel is told.
fn bytes_through_sockets(part: &[&str]) -> (u64, String) {
    let folder = folder();
    let trace = folder.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-yy", "-e", "trace=sendto,sendmsg,sendmmsg,write,writev", "-o"]).arg(&trace);
    command.arg(path_of("program_workers")).arg(folder.path().join("log")).args(part);
    let said = run_command(&mut command);
    assert!(said.has_succeeded, "{part:?}: {}", said.stderr);
    let trace = fs::read_to_string(trace).expect("it was written");
    // A call that another interrupts takes two lines of its thread, and the end is on the second.
    let mut begun = std::collections::HashSet::new();
    let mut sum = 0;
    for line in trace.lines() {
        let (thread, rest) = line.split_once(' ').expect("a thread and its call");
        let is_resumed = rest.trim_start().starts_with("<... ");
        let is_ours = if is_resumed { begun.remove(thread) } else { rest.contains("<UNIX") };
        if is_ours && rest.contains("<unfinished ...>") {
            begun.insert(thread);
        } else if is_ours && let Some((_, count)) = rest.rsplit_once(" = ") {
            sum += count.split(' ').next().and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    assert!(sum > 0, "there are sockets:\n{trace}");
    (sum, said.stdout)
}

pub(crate) fn a_large_argument_does_not_pass_through_the_socket(_: &Env) {
    let traces = Command::new("strace").args(["-o", "/dev/null", "true"]).output();
    if !traces.is_ok_and(|output| output.status.success()) {
        println!("not run: strace is not there or may not trace");
        return;
    }
    let (nothing, _) = bytes_through_sockets(&["nothing"]);
    for kind in ["array", "numbers", "buffer", "bytes", "text"] {
        let (sent, said) = bytes_through_sockets(&["move", kind]);
        assert_eq!(said, "100000000 bytes arrived\n", "{kind}");
        assert!(sent < SENT_MAX, "{kind}: {sent} bytes, {nothing} without an argument");
        eprintln!("{kind}: {sent} bytes through the socket, {nothing} without an argument");
    }
}

/// Where something lies, and what the process had copied then.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Seen {
    /// The mapping that holds it.
    mapping: String,
    copied: u64,
    borrowed: u64,
    sum: f64,
}

impl Seen {
    fn of<T>(values: &[T], sum: f64) -> Self {
        let address = values.as_ptr().addr();
        let maps = fs::read_to_string("/proc/self/maps").expect("Linux lists what is mapped");
        let holds = |line: &&str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let number = |text| usize::from_str_radix(text, 16).expect("an address");
            range.is_some_and(|(start, end)| (number(start)..number(end)).contains(&address))
        };
        let mapping = maps.lines().find(holds).expect("it is mapped").to_owned();
        let stats = store_stats();
        Self { mapping, copied: stats.bytes_copied, borrowed: stats.bytes_borrowed, sum }
    }

    /// Whether it lies in memory of another process, which cannot be written from here.
    fn is_borrowed(&self) -> bool {
        self.mapping.contains("/memfd:") && self.mapping.contains(" r--")
    }
}

#[remote(isolation = "process")]
fn see_slice(x: &[f64]) -> Seen {
    Seen::of(x, x.iter().sum())
}

#[remote(isolation = "process")]
fn see_array(x: &Array<f64>) -> Seen {
    Seen::of(x.as_slice(), x.iter().sum())
}

#[remote(isolation = "process")]
fn see_own_array(x: Array<f64>) -> Seen {
    Seen::of(x.as_slice(), x.iter().sum())
}

#[remote(isolation = "process")]
fn see_buffer(x: Buffer) -> Seen {
    Seen::of(&x[..], f64::from(x[0]) * x.len() as f64)
}

#[remote(isolation = "process")]
fn see_text(x: &str) -> Seen {
    Seen::of(x.as_bytes(), x.len() as f64)
}

#[remote(isolation = "process")]
fn see_own_numbers(x: Vec<f64>) -> Seen {
    Seen::of(&x, x.iter().sum())
}

#[remote(isolation = "process")]
fn make_array(count: usize) -> mobula::Result<Array<f64>> {
    Array::build([count / 1000, 1000], |all| all.fill(0.5))
}

/// Passes on what it never reads.
#[remote(isolation = "process")]
fn pass_on(array: ObjectRef<Array<f64>>, numbers: ObjectRef<Vec<f64>>) -> mobula::Result<[Seen; 2]> {
    Ok([see_slice::remote(&array).get()?, see_slice::remote(&numbers).get()?])
}

#[derive(Clone, Serialize, Deserialize)]
struct Layers {
    name: String,
    layers: Vec<Array<f64>>,
}

#[remote(isolation = "process")]
fn see_layers(x: &Layers) -> Vec<Seen> {
    x.layers.iter().map(|layer| Seen::of(layer.as_slice(), layer.iter().sum())).collect()
}

const COUNT: usize = 1_000_000;

#[track_caller]
fn assert_in_place(seen: &Seen, sum: f64) {
    assert!(seen.is_borrowed(), "{seen:?}");
    assert_eq!(seen.copied, 0, "{seen:?}");
    assert!((seen.sum - sum).abs() < 1e-6, "{seen:?}");
}

pub(crate) fn slices_are_read_in_place(env: &Env) {
    let _running = env.start();
    let array =
        put(Array::build([COUNT], |all: &mut [f64]| all.fill(2.0)).expect("there is room")).expect("put");
    let before = store_stats().bytes_copied;
    assert_in_place(&see_array::remote(&array).get().expect("a call"), 2e6);
    assert_in_place(&see_own_array::remote(&array).get().expect("a call"), 2e6);
    assert_in_place(&see_slice::remote(&array).get().expect("a call"), 2e6);
    let layers = Layers {
        name: "all".into(),
        layers: (1..4)
            .map(|n| Array::build([COUNT], |all| all.fill(f64::from(n))).expect("there is room"))
            .collect(),
    };
    for (n, seen) in see_layers::remote(layers).get().expect("a call").iter().enumerate() {
        assert_in_place(seen, (n + 1) as f64 * 1e6);
    }
    assert_eq!(store_stats().bytes_copied, before, "what was built in place is copied by nobody");

    // What lies on the heap goes there once.
    let numbers = put(vec![1.0; COUNT]).expect("put");
    assert_in_place(&see_slice::remote(&numbers).get().expect("a call"), 1e6);
    let array_of_ones = put(Array::from_vec(vec![1.0; COUNT])).expect("put");
    for seen in pass_on::remote(array_of_ones.clone(), numbers.clone()).get().expect("a call") {
        assert_in_place(&seen, 1e6);
    }
    drop(array_of_ones);
    assert_in_place(&see_text::remote("x".repeat(8 * COUNT)).get().expect("a call"), 8e6);
    assert_in_place(&see_buffer::remote(Buffer::from(vec![1; 8 * COUNT])).get().expect("a call"), 8e6);
    let copied = store_stats().bytes_copied - before;
    assert!((32_000_000..32_100_000).contains(&copied), "{copied} bytes for four of 8 MB");
    let seen = see_own_numbers::remote(&numbers).get().expect("a call");
    assert!(!seen.is_borrowed() && seen.copied <= 8_000_000, "a `Vec` is the call's own: {seen:?}");

    // And back: a result is read where its worker wrote it.
    let before = store_stats().bytes_copied;
    let made = make_array::remote(COUNT);
    let view = made.view().expect("a call");
    let seen = Seen::of(view.as_slice(), view.iter().sum());
    assert!(seen.is_borrowed() && view.shape() == [COUNT / 1000, 1000], "{seen:?}");
    assert_eq!(store_stats().bytes_copied, before, "nor is it copied here");
    drop(view);
    let seen = see_array::remote(&made).get().expect("a call");
    assert!(seen.mapping.contains("/memfd:"), "in the segment of this worker or of another: {seen:?}");
}

pub(crate) fn a_ref_is_stored_once_for_all_who_read_it(env: &Env) {
    let _running = env.start();
    let numbers = put(vec![1.0; COUNT]).expect("put");
    let before = store_stats();
    let calls: Vec<_> = (0..10).map(|_| see_slice::remote(&numbers)).collect();
    for seen in get(&calls).expect("calls") {
        assert!(seen.is_borrowed(), "{seen:?}");
    }
    let after = store_stats();
    assert_eq!(after.bytes_written - before.bytes_written, 8_000_000, "once for ten");
    drop((calls, numbers));
    let is_free = || store_stats().bytes_used <= before.bytes_used;
    assert!(crate::common::eventually(is_free), "{:?} beside {before:?}", store_stats());
}

/// What a process has of segments, and altogether.
#[derive(Clone, Copy, Debug)]
struct Held {
    /// Segments that are mapped, own or others'.
    segments: usize,
    descriptors: usize,
    /// Of its address space, in bytes.
    size: u64,
}

/// Ordinary segments that a process keeps for good, and then some.
const KEPT_MAX: usize = 4;
/// By how much an address space may grow: by what is kept, and by what threads have for themselves.
const SIZE_MORE_MAX: u64 = 1 << 30;

impl Held {
    fn by(pid: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).expect("it runs");
        let segments = read("maps").lines().filter(|line| line.contains("/memfd:mobula-segment")).count();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs").count();
        let status = read("status");
        let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")?.trim().strip_suffix(" kB"));
        let size = size.and_then(|size| size.parse::<u64>().ok()).expect("a number of kilobytes") * 1024;
        Self { segments, descriptors, size }
    }

    /// Whether it is more than `before` by no more than what processes keep, of which there are so many.
    fn is_bounded(self, before: Self, writers: usize) -> bool {
        let more = writers * KEPT_MAX;
        self.segments <= more
            && self.descriptors <= before.descriptors + more
            && self.size <= before.size + SIZE_MORE_MAX
    }
}

const MIB: usize = 1 << 20;
/// The largest that lies in an ordinary segment.
const LARGE_MAX: usize = 64 * MIB;
/// How many calls there are, one after the other.
const ROUNDS: usize = 200;
/// Every so many of them, a few are held at once: more than is kept for good, so that segments are given back.
const BURST: usize = 50;
const AT_ONCE: usize = 6;

/// The lengths of what is held at the same time in a round.
fn lengths(round: usize) -> Vec<usize> {
    if round.is_multiple_of(BURST) { vec![LARGE_MAX; AT_ONCE] } else { vec![(8 + round * 7 % 57) * MIB] }
}

/// Marked at both ends; what lies between is not touched.
fn marked(len: usize, mark: u8) -> mobula::Result<Array<u8>> {
    Array::build([len], |all| {
        all[0] = mark;
        all[len - 1] = mark;
    })
}

fn is_marked(array: &Array<u8>, len: usize, mark: u8) -> bool {
    (array.len(), array[0], array[len - 1]) == (len, mark, mark)
}

struct Press;

#[remote(isolation = "process")]
impl Press {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }
    pub(crate) fn make(&self, len: usize, mark: u8) -> mobula::Result<Array<u8>> {
        marked(len, mark)
    }
    pub(crate) fn check(&self, array: &Array<u8>, len: usize, mark: u8) -> bool {
        is_marked(array, len, mark)
    }
}

/// Runs all rounds; after each burst, those processes come to hold what they held at first.
fn rounds(pids: &[u32], writers: usize, round: impl Fn(&[usize], u8)) {
    let held = || pids.iter().map(|pid| Held::by(*pid)).collect::<Vec<_>>();
    let before = held();
    for n in 0..ROUNDS {
        round(&lengths(n), n as u8);
        if n.is_multiple_of(BURST) || n + 1 == ROUNDS {
            let is_bounded =
                || held().iter().zip(&before).all(|(now, before)| now.is_bounded(*before, writers));
            assert!(crate::common::eventually(is_bounded), "round {n}: {:#?} after {before:#?}", held());
        }
    }
}

pub(crate) fn what_is_given_back_is_unmapped_by_who_read_it(env: &Env) {
    let _running = env.start();
    let press = Press::remote();
    let pids = [std::process::id(), press.pid.remote().get().expect("a call")];
    rounds(&pids, 2, |lengths, mark| {
        let made: Vec<_> = lengths.iter().map(|len| press.make.remote(*len, mark)).collect();
        for (made, len) in made.iter().zip(lengths) {
            assert!(is_marked(&made.view().expect("a call"), *len, mark));
        }
        drop(made);
        let sent: Vec<_> = lengths.iter().map(|len| marked(*len, mark).expect("there is room")).collect();
        for (sent, len) in sent.into_iter().zip(lengths) {
            assert!(press.check.remote(sent, *len, mark).get().expect("a call"));
        }
    });
}

pub(crate) fn what_is_given_back_is_unmapped_by_whom_it_was_passed_on_to(env: &Env) {
    let _running = env.start();
    let (press, reader) = (Press::remote(), Press::remote());
    let here = std::process::id();
    let pids = [&press, &reader].map(|actor| actor.pid.remote().get().expect("a call"));
    // Of the reader, which writes nothing itself, it is what the other wrote.
    rounds(&[here, pids[0], pids[1]], 2, |lengths, mark| {
        let made: Vec<_> = lengths.iter().map(|len| press.make.remote(*len, mark)).collect();
        let calls = made.iter().zip(lengths).map(|(made, len)| reader.check.remote(made, *len, mark));
        let calls: Vec<_> = calls.collect();
        assert!(get(&calls).expect("calls").iter().all(|is_so| *is_so));
    });
    assert!(Held::by(pids[1]).segments > 0, "some are kept warm");
    drop(press);
    let is_forgotten = || Held::by(pids[1]).segments == 0;
    assert!(crate::common::eventually(is_forgotten), "its writer has gone: {:?}", Held::by(pids[1]));
    assert_eq!(reader.pid.remote().get().expect("the reader lives on"), pids[1]);
}
