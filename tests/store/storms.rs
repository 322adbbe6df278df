//! Much at once: nothing is lost, nothing is wrong, and the limit holds.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{Array, put, store_stats};

use crate::common::Env;
use crate::{MIB, Small, block};

const LIMIT: u64 = 64 * MIB;
const BLOCK: usize = 8 << 20;
/// A gigabyte of blocks, from six sides.
const BLOCKS: u64 = 128;

struct Maker;

#[remote(isolation = "process")]
impl Maker {
    pub fn new() -> Self {
        Self
    }

    pub fn make(&mut self, n: u64) -> ObjectRef<Array<u8>> {
        let array = Array::build([BLOCK], |all| all.copy_from_slice(&block(n, BLOCK)));
        put(array.expect("others leave")).expect("it is small")
    }
}

enum Stored {
    Plain(ObjectRef<Vec<u8>>),
    Shared(ObjectRef<Array<u8>>),
}

impl Stored {
    fn check(&self, n: u64, hold: Duration) {
        let wanted = block(n, BLOCK);
        match self {
            Self::Plain(object) => {
                let view = object.view().expect("it reads back");
                assert!(*view == wanted, "block {n} is wrong");
                thread::sleep(hold);
            }
            Self::Shared(object) => {
                let view = object.view().expect("it reads back");
                assert!(view[..] == wanted[..], "block {n} is wrong");
                thread::sleep(hold);
            }
        }
    }
}

/// Shared memory that this process and its workers have, by what the system says of their segments.
fn segments() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = std::collections::BTreeMap::new();
    for process in family() {
        for fd in std::fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten() {
            let name = std::fs::read_link(fd.path()).unwrap_or_default();
            if name.to_string_lossy().contains("memfd:mobula-segment")
                && let Ok(data) = std::fs::metadata(fd.path())
            {
                seen.insert(data.ino(), data.blocks() * 512);
            }
        }
    }
    seen.values().sum()
}

/// This process and its children.
fn family() -> Vec<u32> {
    let own = std::process::id();
    let children = std::fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let parent = stat.rsplit(')').next()?.split_whitespace().nth(1)?;
        (parent.parse() == Ok(own)).then_some(pid)
    });
    std::iter::once(own).chain(children).collect()
}

pub(crate) fn all_that_is_put_reads_back_within_the_limit(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, LIMIT));
    let stored: Mutex<Vec<(u64, Stored)>> = Mutex::default();
    let lock = || stored.lock().unwrap_or_else(PoisonError::into_inner);
    let next = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    let slowest_us = AtomicU64::new(0);
    let (peak, reads) = (AtomicU64::new(0), AtomicU64::new(0));
    let timed = |work: &mut dyn FnMut()| {
        let start = Instant::now();
        work();
        slowest_us.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
    };
    thread::scope(|scope| {
        let mut putters = Vec::new();
        for _ in 0..4 {
            putters.push(scope.spawn(|| {
                while let n = next.fetch_add(1, Ordering::Relaxed)
                    && n < BLOCKS
                {
                    let bytes = block(n, BLOCK);
                    let mut object = None;
                    timed(&mut || object = Some(put(bytes.clone()).expect("others leave")));
                    lock().push((n, Stored::Plain(object.expect("it was put"))));
                }
            }));
        }
        for _ in 0..2 {
            putters.push(scope.spawn(|| {
                let maker = Maker::remote();
                while let n = next.fetch_add(1, Ordering::Relaxed)
                    && n < BLOCKS
                {
                    let mut object = None;
                    timed(&mut || object = Some(maker.make.remote(n).get().expect("others leave")));
                    lock().push((n, Stored::Shared(object.expect("it was put"))));
                }
            }));
        }
        for reader in 0..4 {
            let (stored, is_over, reads, timed) = (&stored, &is_over, &reads, &timed);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(reader);
                while !is_over.load(Ordering::Relaxed) {
                    let one = {
                        let stored = stored.lock().unwrap_or_else(PoisonError::into_inner);
                        (!stored.is_empty()).then(|| match &stored[random.usize(..stored.len())] {
                            (n, Stored::Plain(object)) => (*n, Stored::Plain(object.clone())),
                            (n, Stored::Shared(object)) => (*n, Stored::Shared(object.clone())),
                        })
                    };
                    let Some((n, object)) = one else {
                        thread::yield_now();
                        continue;
                    };
                    let hold = Duration::from_millis(random.u64(..20));
                    timed(&mut || object.check(n, hold));
                    reads.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                peak.fetch_max(segments(), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(2));
            }
        });
        for putter in putters {
            putter.join().expect("no panic");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let all = stored.into_inner().unwrap_or_else(PoisonError::into_inner);
    assert_eq!(all.len() as u64, BLOCKS);
    for (n, object) in &all {
        object.check(*n, Duration::ZERO);
    }
    let (peak, slowest) = (peak.into_inner(), Duration::from_micros(slowest_us.into_inner()));
    let stats = store_stats();
    println!("peak {peak} bytes shared, slowest call {slowest:?}, {} reads, {stats:?}", reads.into_inner());
    assert!(peak <= LIMIT, "{peak} bytes of shared memory");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(stats.bytes_session <= LIMIT, "{stats:?}");
}

pub(crate) fn a_million_small_values(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, LIMIT));
    let numbers: Vec<_> = (0..500_000_u64).map(|n| put(n).expect("it is small")).collect();
    let texts: Vec<_> = (0..500_000_u64).map(|n| put(n.to_string()).expect("it is small")).collect();
    for (n, (number, text)) in numbers.iter().zip(&texts).enumerate() {
        assert_eq!(number.get().expect("it is there"), n as u64);
        assert_eq!(text.get().expect("it is there"), n.to_string());
    }
    assert!(store_stats().bytes_session > 20 * MIB, "they are counted: {:?}", store_stats());
    drop((numbers, texts));
    assert!(store_stats().bytes_session < 2 * MIB, "and counted out: {:?}", store_stats());
}

/// Memory that this process has.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux tells");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).expect("a number") * 4096
}

pub(crate) fn churn_leaves_the_store_as_it_was(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 32 * MIB));
    let mut random = fastrand::Rng::with_seed(3);
    let mut held: Vec<ObjectRef<Array<u8>>> = Vec::new();
    let mut early = None;
    let start = Instant::now();
    let seconds = std::env::var("MOBULA_CHURN_S").ok().and_then(|text| text.parse().ok()).unwrap_or(6);
    let whole = Duration::from_secs(seconds);
    let mut rounds = 0_u64;
    while start.elapsed() < whole {
        rounds += 1;
        let most = if random.u8(..8) == 0 { 4 << 20 } else { 200_000 };
        let len = 70_000 + random.usize(..most);
        let mark = random.u8(..);
        let array = Array::build([len], |all| all.fill(mark)).expect("others leave");
        held.push(put(array).expect("it is small"));
        if held.len() > 100 {
            let gone = held.swap_remove(random.usize(..held.len()));
            let view = gone.view().expect("it reads back");
            assert!(view.iter().all(|byte| *byte == view[0]));
        }
        if early.is_none() && start.elapsed() > whole / 3 {
            early = Some(resident());
        }
    }
    let (early, late, stats) = (early.expect("a third is over"), resident(), store_stats());
    println!("{rounds} rounds, resident {early} then {late}, {stats:?}");
    assert!(stats.bytes_session <= 32 * MIB, "{stats:?}");
    assert!(late < early + 16 * MIB, "{early} grew to {late}");
}
