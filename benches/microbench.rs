//! The speed of the library, each row beside its floor in the same run.
//!
//! `cargo bench --bench microbench [-- FILTER] [--json]`. Floor and row alternate for 15 rounds; what is
//! printed is the median of the pairs' ratios, with the least and the greatest. Rows named after another
//! crate have that crate's calls in the place of the floor. Both do the same work
//! and add up what the calls returned; a row whose sum differs from its floor's is an error.

pub mod apart;
pub mod floor;
pub mod peers;
pub mod socket;

use std::time::{Duration, Instant};

use floor::{Floors, IN_FLIGHT, SILENCE, sum_of};
use mobula::prelude::*;

const ROUNDS: usize = 15;
/// Live actors in the row of that name.
const LIVE: u64 = 100_000;

#[derive(Default)]
struct Sync {
    calls: u64,
}

#[remote]
impl Sync {
    fn new() -> Self {
        Self::default()
    }

    pub(crate) fn echo(&mut self, i: u64) -> u64 {
        self.calls += 1;
        i
    }
}

#[derive(Default)]
struct Async {
    calls: u64,
}

#[remote]
impl Async {
    fn new() -> Self {
        Self::default()
    }

    #[allow(clippy::unused_async, reason = "what is measured is an async method that is ready at once")]
    pub(crate) async fn echo(&mut self, i: u64) -> u64 {
        self.calls += 1;
        i
    }
}

#[remote]
fn echo(i: u64) -> u64 {
    i
}

#[remote]
fn work(i: u64) -> u64 {
    peers::work(i)
}

#[remote]
fn wait_for(gate: &[ObjectRef<u64>]) -> usize {
    gate.len()
}

#[remote(num_cpus = 2)]
fn occupy(millis: u64) {
    std::thread::sleep(Duration::from_millis(millis));
}

/// What a measurement took, and the sum of what its calls returned.
type Measured = (Duration, u64);

fn timed(f: impl FnOnce() -> u64) -> Measured {
    let start = Instant::now();
    let sum = f();
    (start.elapsed(), sum)
}

/// Sends `IN_FLIGHT` calls, gets them all, sends the next.
fn in_batches(count: u64, call: impl Fn(u64) -> ObjectRef<u64>) -> Measured {
    timed(|| batches(0..count, call))
}

fn batches(calls: impl Iterator<Item = u64>, call: impl Fn(u64) -> ObjectRef<u64>) -> u64 {
    let mut calls = calls.peekable();
    let mut sum = 0;
    let mut refs = Vec::with_capacity(usize::try_from(IN_FLIGHT).unwrap_or(0));
    while calls.peek().is_some() {
        refs.extend(calls.by_ref().take(refs.capacity()).map(&call));
        sum += mobula::get(&refs).expect("the calls succeed").iter().sum::<u64>();
        refs.clear();
    }
    sum
}

fn one_at_a_time(count: u64, call: impl Fn(u64) -> ObjectRef<u64>) -> Measured {
    timed(|| (0..count).map(|i| call(i).get().expect("the call succeeds")).sum())
}

fn after_silence(count: u64, call: impl Fn(u64) -> ObjectRef<u64>) -> Measured {
    (0..count).fold((Duration::ZERO, 0), |(all, sum), i| {
        std::thread::sleep(SILENCE);
        let (took, answer) = timed(|| call(i).get().expect("the call succeeds"));
        (all + took, sum + answer)
    })
}

/// How a row is judged.
enum Target {
    /// At most so many times its floor.
    Ratio(f64),
    /// At most so many of its own unit.
    AtMost(f64),
    /// At least so many of its own unit.
    AtLeast(f64),
}

struct Line {
    row: &'static str,
    unit: &'static str,
    value: f64,
    floor: Option<f64>,
    ratio: Option<(f64, f64, f64)>,
    target: Target,
    ray: Option<f64>,
}

impl Line {
    fn met(&self) -> bool {
        match self.target {
            Target::Ratio(most) => self.ratio.is_some_and(|(median, ..)| median <= most),
            Target::AtMost(most) => self.value <= most,
            Target::AtLeast(least) => self.value >= least,
        }
    }

    fn limit(&self) -> f64 {
        match self.target {
            Target::Ratio(limit) | Target::AtMost(limit) | Target::AtLeast(limit) => limit,
        }
    }

    fn print(&self, json: bool) {
        let met = self.met();
        if json {
            let number = |number: Option<f64>| number.map_or("null".into(), |number| format!("{number:.3}"));
            println!(
                r#"{{"row": "{}", "unit": "{}", "value": {:.3}, "floor": {}, "ratio": {}, "target": {}, "met": {met}, "ray": {}}}"#,
                self.row,
                self.unit,
                self.value,
                number(self.floor),
                number(self.ratio.map(|(median, ..)| median)),
                self.limit(),
                number(self.ray),
            );
            return;
        }
        let ratio = self
            .ratio
            .map_or(String::new(), |(median, least, most)| format!("{median:5.2} x ({least:.2}-{most:.2})"));
        let floor = self.floor.map_or(String::new(), |floor| format!("{floor:.0}"));
        let sign = match self.target {
            Target::Ratio(_) => "x ",
            Target::AtMost(_) => "<=",
            Target::AtLeast(_) => ">=",
        };
        let ray = self.ray.map_or(String::new(), |ray| format!("{ray:.0}"));
        println!(
            "{:<46} {:>12.0} {:<9} {floor:>12} {ratio:<22} {sign}{:<8} {:<4} {ray:>8}",
            self.row,
            self.value,
            self.unit,
            self.limit(),
            if met { "met" } else { "MISS" },
        );
    }
}

/// Alternates floor and row; calls per second of both, and the ratios of their times.
fn pairs(
    row: &'static str,
    count: u64,
    most: f64,
    ray: Option<f64>,
    floor: impl Fn(u64) -> Measured,
    mine: impl Fn(u64) -> Measured,
) -> Line {
    floor(count.min(10_000));
    mine(count.min(10_000));
    let mut ratios = Vec::new();
    let mut speeds = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (floor_took, floor_sum) = floor(count);
        let (took, sum) = mine(count);
        assert_eq!(sum, floor_sum, "row and floor do the same work");
        assert_eq!(sum, sum_of(count), "and all of it");
        ratios.push(took.as_secs_f64() / floor_took.as_secs_f64());
        speeds.0.push(count as f64 / floor_took.as_secs_f64());
        speeds.1.push(count as f64 / took.as_secs_f64());
    }
    let ratio = (median(&mut ratios), ratios[0], ratios[ROUNDS - 1]);
    Line {
        row,
        unit: "calls/s",
        value: median(&mut speeds.1),
        floor: Some(median(&mut speeds.0)),
        ratio: Some(ratio),
        target: Target::Ratio(most),
        ray,
    }
}

/// The median; sorts.
fn median(numbers: &mut [f64]) -> f64 {
    numbers.sort_unstable_by(f64::total_cmp);
    numbers[numbers.len() / 2]
}

fn single(
    row: &'static str,
    unit: &'static str,
    target: Target,
    ray: Option<f64>,
    mut f: impl FnMut() -> f64,
) -> Line {
    let mut values: Vec<f64> = (0..ROUNDS).map(|_| f()).collect();
    Line { row, unit, value: median(&mut values), floor: None, ratio: None, target, ray }
}

/// Async actors made and called once while all of them live.
fn live_actors(count: u64, make: impl Fn() -> ActorHandle<Async>) -> Measured {
    let mut handles = Vec::new();
    let measured = timed(|| {
        handles.extend((0..count).map(|_| make()));
        let call = |i: u64| handles[usize::try_from(i).unwrap_or(0)].echo.remote(i);
        batches(0..count, call)
    });
    drop(handles);
    measured
}

/// Bytes by which a process of its own grows for each live actor.
fn bytes_each(of: &str) -> f64 {
    let own = std::env::current_exe().expect("the benchmark has a path");
    let child = std::process::Command::new(own).args(["--memory", of]).output().expect("it starts again");
    String::from_utf8_lossy(&child.stdout).trim().parse().expect("it prints a number")
}

fn print_memory(of: &str) {
    if of == "million" {
        return print_million();
    }
    let bytes = if of == "floor" {
        let floors = Floors::new(1, cores());
        floors.live_actors_from_outside(LIVE).2
    } else {
        let _session = mobula::init().expect("a session");
        let warm = Async::remote();
        warm.echo.remote(1).get().expect("it answers");
        let before = floor::resident_bytes();
        let handles: Vec<_> = (0..LIVE).map(|_| Async::remote()).collect();
        let refs: Vec<_> = handles.iter().map(|actor| actor.echo.remote(1)).collect();
        mobula::get(&refs).expect("they answer");
        drop(refs);
        (floor::resident_bytes() - before) / LIVE
    };
    println!("{bytes}");
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Rows with floors.
#[allow(clippy::too_many_lines, clippy::items_after_statements, reason = "one table")]
fn with_floors(wanted: &dyn Fn(&str) -> bool, show: &dyn Fn(&Line)) {
    let floors = Floors::new(cores(), cores());
    let actor = Sync::remote();
    let other = Async::remote();
    let four: Vec<_> = (0..floor::CALLEES).map(|_| Sync::remote()).collect();
    let many = |count: u64| {
        timed(|| {
            std::thread::scope(|scope| {
                let callers = floor::CALLERS as u64;
                let running: Vec<_> = (0..callers)
                    .map(|k| {
                        let four = &four;
                        let calls = count * k / callers..count * (k + 1) / callers;
                        let call = move |i: u64| four[i as usize % four.len()].echo.remote(i);
                        scope.spawn(move || batches(calls, call))
                    })
                    .collect();
                running.into_iter().map(|caller| caller.join().expect("no panic")).sum()
            })
        })
    };
    let sync_echo = |i| actor.echo.remote(i);
    let async_echo = |i| other.echo.remote(i);
    type Row<'a> = (
        &'static str,
        u64,
        f64,
        Option<f64>,
        Box<dyn Fn(u64) -> Measured + 'a>,
        Box<dyn Fn(u64) -> Measured + 'a>,
    );
    let rows: Vec<Row<'_>> = vec![
        (
            "sync-actor calls, 1,000 in flight",
            100_000,
            1.5,
            Some(2_996.0),
            Box::new(|n| floors.sync_calls(n)),
            Box::new(move |n| in_batches(n, sync_echo)),
        ),
        (
            "async-actor calls, 1,000 in flight",
            100_000,
            1.5,
            Some(2_280.0),
            Box::new(|n| floors.async_calls(n)),
            Box::new(move |n| in_batches(n, async_echo)),
        ),
        (
            "tasks, 1,000 in flight",
            100_000,
            1.5,
            Some(2_486.0),
            Box::new(|n| floors.pool_calls(n)),
            Box::new(|n| in_batches(n, echo::remote)),
        ),
        (
            "one call and get, sync actor",
            20_000,
            1.5,
            Some(1_702.0),
            Box::new(|n| floors.ping_pong(n)),
            Box::new(move |n| one_at_a_time(n, sync_echo)),
        ),
        (
            "one call and get, task",
            20_000,
            1.5,
            Some(689.0),
            Box::new(|n| floors.ping_pong(n)),
            Box::new(|n| one_at_a_time(n, echo::remote)),
        ),
        (
            "the same after 5 ms of silence, sync actor",
            40,
            1.5,
            None,
            Box::new(|n| floors.ping_pong_after_silence(n)),
            Box::new(move |n| after_silence(n, sync_echo)),
        ),
        (
            "the same after 5 ms of silence, task",
            40,
            1.5,
            None,
            Box::new(|n| floors.ping_pong_after_silence(n)),
            Box::new(|n| after_silence(n, echo::remote)),
        ),
        (
            "one call and get, async actor",
            5_000,
            1.1,
            Some(844.0),
            Box::new(|n| floors.async_one_at_a_time(n)),
            Box::new(move |n| one_at_a_time(n, async_echo)),
        ),
        (
            "n:n: 2 callers, 4 sync actors, 1,000 in flight",
            100_000,
            1.5,
            Some(6_500.0),
            Box::new(|n| floors.many_to_many(n)),
            Box::new(many),
        ),
        (
            "100,000 live async actors, made and called",
            LIVE,
            2.0,
            None,
            Box::new(|n| {
                let (took, sum, _) = floors.live_actors_from_outside(n);
                (took, sum)
            }),
            Box::new(|n| live_actors(n, Async::remote)),
        ),
    ];
    for (row, count, most, ray, floor, mine) in rows {
        if wanted(row) {
            show(&pairs(row, count, most, ray, floor, mine));
        }
    }
}

/// The same work by other crates, in the place of the floor: up to 1 x is as fast as they are.
#[allow(clippy::type_complexity, reason = "one table")]
fn with_peers(wanted: &dyn Fn(&str) -> bool, show: &dyn Fn(&Line)) {
    const ROWS: [&str; 5] = [
        "kameo: actor calls, 1,000 in flight",
        "kameo: one call and get",
        "ractor: actor calls, 1,000 in flight",
        "ractor: one call and get",
        "rayon: tasks of 100 us",
    ];
    if !ROWS.iter().any(|row| wanted(row)) {
        return;
    }
    let peers = peers::Peers::new(cores());
    let actor = Sync::remote();
    let many = |n| in_batches(n, |i| actor.echo.remote(i));
    let one = |n| one_at_a_time(n, |i| actor.echo.remote(i));
    let tasks = |n| in_batches(n, work::remote);
    let rows: [(u64, f64, Box<dyn Fn(u64) -> Measured + '_>, &dyn Fn(u64) -> Measured); 5] = [
        (50_000, 1.0, Box::new(|n| peers.kameo_many(n)), &many),
        (5_000, 1.0, Box::new(|n| peers.kameo_one(n)), &one),
        (50_000, 1.0, Box::new(|n| peers.ractor_many(n)), &many),
        (5_000, 1.0, Box::new(|n| peers.ractor_one(n)), &one),
        (2_000, 1.2, Box::new(peers::rayon), &tasks),
    ];
    for (row, (count, most, peer, mine)) in ROWS.into_iter().zip(rows) {
        if wanted(row) {
            show(&pairs(row, count, most, None, peer, mine));
        }
    }
}

/// Rows that stand by themselves.
#[allow(clippy::too_many_lines, clippy::type_complexity, reason = "one table")]
fn without_floors(wanted: &dyn Fn(&str) -> bool, show: &dyn Fn(&Line)) {
    let memory = "100,000 live async actors, bytes each";
    if wanted(memory) {
        let mut floors: Vec<f64> = (0..3).map(|_| bytes_each("floor")).collect();
        let mut mine: Vec<f64> = (0..3).map(|_| bytes_each("row")).collect();
        let (floor, value) = (median(&mut floors), median(&mut mine));
        let ratio = value / floor;
        show(&Line {
            row: memory,
            unit: "bytes",
            value,
            floor: Some(floor),
            ratio: Some((ratio, ratio, ratio)),
            target: Target::Ratio(2.0),
            ray: None,
        });
    }
    let millions: [(&str, &str, Target); 2] = [
        ("1,000,000 queued tasks", "ms", Target::AtMost(5_000.0)),
        ("1,000,000 queued tasks, bytes each", "bytes", Target::AtMost(400.0)),
    ];
    if millions.iter().any(|(row, ..)| wanted(row)) {
        let (took, bytes) = million();
        for ((row, unit, target), value) in millions.into_iter().zip([took, bytes]) {
            show(&Line { row, unit, value, floor: None, ratio: None, target, ray: None });
        }
    }
    let thousand = || {
        let refs: Vec<_> = (0..1_000).map(|i| mobula::put(i).expect("a session runs")).collect();
        refs
    };
    let micros = |took: Duration| took.as_secs_f64() * 1e6;
    let rows: [(&'static str, Target, Option<f64>, Box<dyn Fn() -> f64>); 3] = [
        (
            "wait on 1,000 refs, one at a time, by value",
            Target::AtMost(1_000.0),
            Some(1e6 / 1.35),
            Box::new(move || {
                let mut refs = thousand();
                let (took, sum) = timed(|| {
                    let mut sum = 0;
                    while !refs.is_empty() {
                        let (ready, rest) = mobula::wait(refs, 1, None).expect("they are there");
                        sum += ready.len() as u64;
                        refs = rest;
                    }
                    sum
                });
                assert_eq!(sum, 1_000);
                micros(took)
            }),
        ),
        (
            "wait on 1,000 refs, one at a time, by reference",
            Target::AtMost(10_000.0),
            Some(1e6 / 1.35),
            Box::new(move || {
                let mut refs = thousand();
                let (took, sum) = timed(|| {
                    let mut sum = 0;
                    while !refs.is_empty() {
                        let (ready, rest) = mobula::wait(&refs, 1, None).expect("they are there");
                        sum += ready.len() as u64;
                        refs = rest;
                    }
                    sum
                });
                assert_eq!(sum, 1_000);
                micros(took)
            }),
        ),
        (
            "as_completed of 1,000 refs",
            Target::AtMost(1_000.0),
            Some(1e6 / 1.35),
            Box::new(move || {
                let refs = thousand();
                let (took, sum) =
                    timed(|| as_completed(refs).map(|object| u64::from(object.get().is_ok())).sum());
                assert_eq!(sum, 1_000);
                micros(took)
            }),
        ),
    ];
    for (row, target, ray, f) in rows {
        if wanted(row) {
            show(&single(row, "us", target, ray, f));
        }
    }
    let holding = "reads of an object that holds 10,000 refs";
    if wanted(holding) {
        let refs: Vec<_> = (0..10_000).map(|i| mobula::put(i).expect("a session runs")).collect();
        let object = mobula::put(refs).expect("a session runs");
        show(&single(holding, "reads/s", Target::AtLeast(1_000.0), Some(8.3), || {
            let (took, read) =
                timed(|| (0..20).map(|_| object.get().expect("it is there").len() as u64).sum());
            assert_eq!(read, 200_000);
            20.0 / took.as_secs_f64()
        }));
        let passed = wait_for::remote(&object).get().expect("it is there");
        assert_eq!(passed, 10_000);
    }
}

/// A million tasks queued behind one that has the machine: milliseconds to queue and run them once it
/// has gone, and bytes each. Memory that was used before is used again, so this is the first big row of
/// a process of its own.
fn million() -> (f64, f64) {
    let own = std::env::current_exe().expect("the benchmark has a path");
    let child =
        std::process::Command::new(own).args(["--memory", "million"]).output().expect("it starts again");
    let text = String::from_utf8_lossy(&child.stdout).into_owned();
    let mut numbers = text.split_whitespace().map(|number| number.parse().expect("it prints numbers"));
    (numbers.next().unwrap_or(f64::NAN), numbers.next().unwrap_or(f64::NAN))
}

fn print_million() {
    const COUNT: u64 = 1_000_000;
    let _session = mobula::Config::new().num_cpus(2.0).init().expect("a session");
    let gate = occupy::remote(1_000);
    let before = floor::resident_bytes();
    let start = Instant::now();
    let refs: Vec<_> = (0..COUNT).map(echo::remote).collect();
    let queued = start.elapsed();
    // The refs themselves are the caller's own.
    let bytes = (floor::resident_bytes() - before) / COUNT - size_of::<ObjectRef<u64>>() as u64;
    gate.get().expect("it returns");
    let start = Instant::now();
    let sum: u64 = mobula::get(&refs).expect("they succeed").iter().sum();
    assert_eq!(sum, sum_of(COUNT));
    println!("{} {bytes}", (queued + start.elapsed()).as_millis());
}

fn main() -> mobula::Result<()> {
    if std::env::args().any(|arg| arg == socket::ECHO) {
        socket::echo();
        return Ok(());
    }
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if args.first().is_some_and(|arg| arg == "--memory") {
        print_memory(args.get(1).map_or("row", |of| of));
        return Ok(());
    }
    let json = args.iter().any(|arg| arg == "--json");
    args.retain(|arg| !arg.starts_with("--"));
    let wanted = move |row: &str| args.is_empty() || args.iter().any(|filter| row.contains(filter.as_str()));
    if !json {
        println!(
            "{:<46} {:>12} {:<9} {:>12} {:<22} {:<10} {:<4} {:>8}",
            "row", "value", "unit", "floor", "ratio (least-most)", "target", "", "Ray"
        );
    }
    let show = |line: &Line| line.print(json);
    let _session = mobula::Config::new().num_cpus(cores() as f64).init()?;
    with_floors(&wanted, &show);
    apart::rows(&wanted, &show);
    with_peers(&wanted, &show);
    without_floors(&wanted, &show);
    Ok(())
}
