//! Worker processes are killed all the time while clients go on: what was said to be done was done, once, in
//! order, and what could not be done says so.
//!
//! ```text
//! killer ──SIGKILL, each 50 ms──► a random worker process
//! 8 clients ── calls ──► workers ── a record for each execution ──► the witness, a file
//!      └ what was acknowledged ────────── compared at the end ──────────┘
//! ```
//!
//! The last line says what was found. `MOBULA_CHAOS_S` is for how long it goes on (3 s), `MOBULA_CHAOS_SEED` what
//! the dice start with. It is red with each of the planted faults: `RUSTFLAGS='--cfg mobula_fault="resent"'` sends
//! calls again that had begun, `"freed"` frees what is borrowed when it is returned for the first time.

#![allow(
    clippy::unused_self,
    clippy::unused_async,
    clippy::needless_pass_by_value,
    reason = "remote items as users write them"
)]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod client;
mod findings;
mod killer;
mod witness;

use std::env;
use std::fs::{self, File};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use client::{ANSWER_MAX, Client, Town};
use common::runtime_threads;
use fastrand::Rng;
use findings::{Book, Findings, compare};
use killer::{children, kill_until};
use mobula::{Config, Session};
use witness::{WITNESS, WITNESS_PATH};

/// How long what ends may take to be gone.
const END_MAX: Duration = Duration::from_secs(30);
const CLIENTS: u64 = 8;
/// In a minute or more there must be so many a minute, else it proves too little.
const KILLS_MIN: u64 = 1_000;
const ACKED_MIN: u64 = 100_000;

/// What this process has that outlives a session.
fn held() -> [(&'static str, usize); 3] {
    let fds = fs::read_dir("/proc/self/fd").expect("Linux lists descriptors").count();
    let maps = fs::read_to_string("/proc/self/maps").expect("Linux lists mappings");
    let maps = maps.lines().filter(|line| line.contains("memfd:")).count();
    [("descriptors", fds), ("mappings of shared memory", maps), ("children", children().len())]
}

/// What the descriptors of this process are of.
fn descriptors() -> Vec<String> {
    let all = fs::read_dir("/proc/self/fd").expect("Linux lists descriptors");
    let links = all.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.map(|link| link.display().to_string()).collect()
}

fn eventually(mut is_so: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + END_MAX;
    while !is_so() {
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Nothing is alive in a session that nobody uses any more.
fn check_left(findings: &Findings) {
    if !eventually(|| mobula::testing::leftovers().is_empty()) {
        let left = mobula::testing::leftovers();
        findings.note(|all| &all.leaked, &format!("left over: {left:?}, {:?}", mobula::testing::waits()));
    }
    if !eventually(|| mobula::store_stats().bytes_used + mobula::store_stats().bytes_borrowed == 0) {
        findings.note(|all| &all.leaked, &format!("shared memory is left: {:?}", mobula::store_stats()));
    }
}

fn session() -> Session {
    let path = WITNESS_PATH.to_str().expect("a path of letters");
    let config = Config::new().num_cpus(4.0).env(WITNESS, path);
    config.init().expect("no other session runs")
}

/// Runs clients for a time; what they know of their calls.
fn run_clients(findings: &Arc<Findings>, seed: u64, first: u64, time: Duration) -> Book {
    let town = Arc::new(Town::new(findings.clone()));
    let until = Instant::now() + time;
    let (sender, ended) = mpsc::channel();
    for number in first..first + CLIENTS {
        let (town, sender) = (town.clone(), sender.clone());
        let body = move || {
            let dice = Rng::with_seed(seed ^ number << 32);
            let mut client = Client::new(&town, number, dice);
            while Instant::now() < until {
                client.step();
            }
            let Client { book, .. } = client;
            drop(town);
            let _ = sender.send(book);
        };
        thread::Builder::new().name(format!("client-{number}")).spawn(body).expect("a thread can be had");
    }
    let mut book = Book::default();
    drop((sender, town));
    for _ in 0..CLIENTS {
        match ended.recv_timeout(time + 8 * ANSWER_MAX) {
            Ok(one) => book.merge(one),
            Err(_) => {
                findings.note(|all| &all.hung, &format!("a client hangs: {:?}", mobula::testing::waits()));
            }
        }
    }
    book
}

fn number_of(variable: &str, otherwise: u64) -> u64 {
    env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

fn main() -> ExitCode {
    // What `cargo nextest` asks of a test program.
    if env::args().any(|arg| arg == "--list") {
        if !env::args().any(|arg| arg == "--ignored") {
            println!("chaos: test");
        }
        return ExitCode::SUCCESS;
    }
    let seed = number_of("MOBULA_CHAOS_SEED", fastrand::u64(..1_000_000));
    let time = Duration::from_secs(number_of("MOBULA_CHAOS_S", 3));
    let findings = Arc::new(Findings::default());
    File::create(&*WITNESS_PATH).expect("a file can be made");

    // Once without, so that what a process makes but once is there.
    let running = session();
    let calm = run_clients(&findings, seed, 1, Duration::from_secs(1));
    check_left(&findings);
    drop(running);
    let before = held();

    let running = session();
    let is_over = Arc::new(AtomicBool::new(false));
    let killer = {
        let (is_over, dice) = (is_over.clone(), Rng::with_seed(seed));
        thread::spawn(move || kill_until(&is_over, dice))
    };
    let mut book = run_clients(&findings, seed, 1 + CLIENTS, time);
    is_over.store(true, Ordering::Relaxed);
    let kills = killer.join().expect("it does not panic");
    check_left(&findings);
    drop(running);
    if !eventually(|| held().iter().zip(&before).all(|(now, before)| now.1 <= before.1)) {
        findings.note(
            |all| &all.leaked,
            &format!("{:?} where there were {before:?}: {:?}", held(), descriptors()),
        );
    }
    if !eventually(|| runtime_threads() == 0) {
        findings.note(|all| &all.leaked, &format!("{} threads are left", runtime_threads()));
    }
    let (ops, acked) = (book.ops, book.acked.len() as u64);
    book.merge(calm);
    compare(&findings, &book);
    let _ = fs::remove_file(&*WITNESS_PATH);

    let failed: Vec<_> = book.failed.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
    println!("calls that were not acknowledged: {}", failed.join(", "));
    let seconds = time.as_secs();
    // A short run says nothing of how many there are a minute, and nothing at all without any.
    let least = |a_minute: u64| if seconds < 60 { 1 } else { seconds * a_minute / 60 };
    let (kills_min, acked_min) = (least(KILLS_MIN), least(ACKED_MIN));
    let is_storm = kills >= kills_min && acked >= acked_min;
    if !is_storm {
        println!(
            "that is less than the {kills_min} kills and {acked_min} acknowledged calls that it should be"
        );
    }
    let [lost, doubled, reordered, hung, leaked] = findings.counts();
    println!(
        "ops {ops} acked {acked} lost {lost} doubled {doubled} reordered {reordered} hung {hung} leaked {leaked} \
         kills {kills} seed {seed}"
    );
    if is_storm && [lost, doubled, reordered, hung, leaked] == [0; 5] {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
