//! Rows of calls into other processes, and of what goes through shared memory.

use std::hint::black_box;
use std::time::Instant;

use mobula::Array;
use mobula::prelude::*;

use super::socket::Socket;
use super::{Line, ROUNDS, Target, batches, in_batches, median, one_at_a_time, pairs, single, timed};

/// The same in a process of its own.
struct Apart {
    calls: u64,
}

#[remote(isolation = "process")]
impl Apart {
    fn new() -> Self {
        Self { calls: 0 }
    }

    pub(crate) fn echo(&mut self, i: u64) -> u64 {
        self.calls += 1;
        i
    }

    #[allow(clippy::unused_self, reason = "where it runs, whatever its state")]
    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }
}

#[remote(isolation = "process")]
fn echo_apart(i: u64) -> u64 {
    i
}

#[remote(max_calls = 1)]
fn echo_afresh(i: u64) -> u64 {
    i
}

/// An actor in a process of its own that calls others.
struct Caller {
    calls: u64,
}

#[remote(isolation = "process")]
impl Caller {
    fn new() -> Self {
        Self { calls: 0 }
    }

    /// What the calls of these numbers returned, summed.
    pub(crate) fn call(&mut self, others: &[ActorHandle<Apart>], from: u64, to: u64) -> u64 {
        self.calls += to - from;
        batches(from..to, |i| others[i as usize % others.len()].echo.remote(i))
    }
}

#[remote(isolation = "process")]
fn length(numbers: &[f64]) -> usize {
    numbers.len()
}

#[remote(isolation = "process")]
fn length_of_array(numbers: &Array<f64>) -> usize {
    numbers.len()
}

/// All of them.
pub(super) fn rows(wanted: &dyn Fn(&str) -> bool, show: &dyn Fn(&Line)) {
    let socket = Socket::start();
    let apart = Apart::remote();
    let call = |i: u64| apart.echo.remote(i);
    let row = "call into another process, 1,000 in flight";
    if wanted(row) {
        show(&pairs(row, 20_000, 2.0, Some(6_500.0), |n| socket.in_flight(n), |n| in_batches(n, call)));
    }
    let row = "call into another process, one at a time";
    if wanted(row) {
        show(&pairs(row, 2_000, 2.0, Some(1_702.0), |n| socket.one_at_a_time(n), |n| one_at_a_time(n, call)));
    }
    let row = "task in another process beside a call, one at a time";
    if wanted(row) {
        let floor = |n| one_at_a_time(n, call);
        show(&pairs(row, 2_000, 2.0, Some(689.0), floor, |n| one_at_a_time(n, echo_apart::remote)));
    }
    let row = "start of a worker, and a call in it";
    if wanted(row) {
        show(&single(row, "ms", Target::AtMost(30.0), None, || {
            one_at_a_time(1, echo_afresh::remote).0.as_secs_f64() * 1e3
        }));
    }
    let row = "memory of an idle worker that it shares with none";
    if wanted(row) {
        let pid = apart.pid.remote().get().expect("it lives");
        show(&single(row, "bytes", Target::AtMost(16e6), None, || own_bytes(pid) as f64));
    }
    let row = "n:n: 2 workers call 2 others, 1,000 in flight";
    if wanted(row) {
        show(&between_workers(row));
    }
    large(wanted, show);
}

/// What is resident of a process and is no file's, in bytes.
fn own_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux says so");
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kilobytes.expect("a number") * 1024
}

/// Callers in processes of their own that call actors in others, beside as many raw sockets at once.
fn between_workers(row: &'static str) -> Line {
    const CALLERS: u64 = 2;
    let callers: Vec<_> = (0..CALLERS).map(|_| Caller::remote()).collect();
    let others: Vec<_> = (0..2).map(|_| Apart::remote()).collect();
    let sockets: Vec<_> = (0..CALLERS).map(|_| Socket::start()).collect();
    let floor = |count: u64| {
        timed(|| {
            let (first, all) = (count / 2, count);
            std::thread::scope(|scope| {
                let running = [(0, first), (first, all)].map(|(from, to)| {
                    let socket = &sockets[usize::from(from > 0)];
                    scope.spawn(move || socket.in_flight(to - from).1 + from * (to - from))
                });
                running.into_iter().map(|caller| caller.join().expect("no panic")).sum()
            })
        })
    };
    let mine = |count: u64| {
        timed(|| {
            let parts = callers.iter().zip([(0, count / 2), (count / 2, count)]);
            let sums: Vec<_> =
                parts.map(|(caller, (from, to))| caller.call.remote(others.clone(), from, to)).collect();
            mobula::get(&sums).expect("they succeed").iter().sum()
        })
    };
    pairs(row, 20_000, 2.0, Some(6_500.0), floor, mine)
}

/// Row and floor by turns, in seconds; in units a second.
fn alternate(
    row: &'static str,
    unit: &'static str,
    units: f64,
    most: f64,
    ray: Option<f64>,
    mut floor: impl FnMut() -> f64,
    mut mine: impl FnMut() -> f64,
) -> Line {
    let (mut ratios, mut speeds, mut floors) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (floor, took) = (floor(), mine());
        ratios.push(took / floor);
        speeds.push(units / took);
        floors.push(units / floor);
    }
    Line {
        row,
        unit,
        value: median(&mut speeds),
        floor: Some(median(&mut floors)),
        ratio: Some((median(&mut ratios), ratios[0], ratios[ROUNDS - 1])),
        target: Target::Ratio(most),
        ray,
    }
}

fn seconds(f: impl FnOnce() -> u64) -> f64 {
    let (took, _) = timed(|| black_box(f()));
    took.as_secs_f64()
}

/// What lies in shared memory, beside copies into memory that is warm.
fn large(wanted: &dyn Fn(&str) -> bool, show: &dyn Fn(&Line)) {
    const NUMBERS: usize = 100_000_000;
    const FEW: usize = NUMBERS / 8;
    let [put_row, two, view, vector] = [
        "put of 800 MB",
        "put of 800 MB on two threads",
        "view of 800 MB",
        "call with a Vec<f64> of 100 MB beside an Array",
    ];
    if ![put_row, two, view, vector].iter().any(|row| wanted(row)) {
        return;
    }
    let data = vec![1.5_f64; NUMBERS];
    let put = |data: &[f64]| {
        let array = Array::build([data.len()], |into| into.copy_from_slice(data)).expect("there is room");
        mobula::put(array).expect("a session")
    };
    let mut copy = vec![0.5_f64; if wanted(put_row) || wanted(two) { NUMBERS } else { FEW }];
    if wanted(put_row) {
        drop(put(&data));
        let floor = || {
            seconds(|| {
                copy.copy_from_slice(black_box(&data));
                black_box(&mut copy).len() as u64
            })
        };
        let mine = || {
            let mut kept = None;
            let took = seconds(|| {
                kept = Some(put(&data));
                0
            });
            drop(kept);
            took
        };
        show(&alternate(put_row, "GB/s", 0.8, 1.0 / 0.9, Some(2.28), floor, mine));
    }
    if wanted(two) {
        let half = NUMBERS / 2;
        let (one, other) = data.split_at(half);
        drop((put(one), put(other)));
        let floor = || {
            seconds(|| {
                let (to_one, to_other) = copy.split_at_mut(half);
                std::thread::scope(|scope| {
                    scope.spawn(|| to_one.copy_from_slice(black_box(one)));
                    to_other.copy_from_slice(black_box(other));
                });
                black_box(&mut copy).len() as u64
            })
        };
        let mine = || {
            let mut kept = None;
            let took = seconds(|| {
                kept = Some(std::thread::scope(|scope| {
                    let first = scope.spawn(|| put(one));
                    (put(other), first.join().expect("no panic"))
                }));
                0
            });
            drop(kept);
            took
        };
        show(&alternate(two, "GB/s", 0.8, 1.0 / 0.9, Some(2.28), floor, mine));
    }
    if wanted(view) {
        let object = put(&data);
        show(&single(view, "ns", Target::AtMost(1_000.0), None, || {
            let start = Instant::now();
            let seen = object.view().expect("it is there");
            let took = start.elapsed();
            assert_eq!(seen.len(), NUMBERS);
            took.as_secs_f64() * 1e9
        }));
    }
    if wanted(vector) {
        let call = |numbers: ObjectRef<usize>| numbers.get().expect("it succeeds") as u64;
        let array = Array::build([FEW], |into| into.copy_from_slice(&data[..FEW])).expect("there is room");
        // What must be copied once is copied in the floor, too.
        let floor = || {
            seconds(|| {
                copy[..FEW].copy_from_slice(black_box(&data[..FEW]));
                black_box(&mut copy);
                call(length_of_array::remote(array.clone()))
            })
        };
        let mine = || {
            let vector = data[..FEW].to_vec();
            seconds(|| call(length::remote(vector)))
        };
        show(&alternate(vector, "calls/s", 1.0, 1.5, None, floor, mine));
    }
}
