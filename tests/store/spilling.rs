//! What leaves memory, and comes back as it was.

use std::collections::BTreeMap;

use mobula::prelude::*;
use mobula::{Array, Buffer, put, store_stats};
use serde::{Deserialize, Serialize};

use crate::common::Env;
use crate::{MIB, Small, block};

const BLOCK: usize = 2 << 20;

pub(crate) fn what_does_not_fit_leaves_memory_and_reads_back(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 16 * MIB));
    let before = store_stats();
    let refs: Vec<_> = (0..40).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    let stats = store_stats();
    assert!(stats.bytes_session <= 16 * MIB, "{stats:?}");
    assert!(stats.objects_spilled >= 32 && stats.spills - before.spills >= 32, "{stats:?}");
    assert_eq!(stats.objects_spilled + stats.objects_idle, 40);
    for round in 0..2 {
        for (n, object) in refs.iter().enumerate() {
            assert!(object.get().expect("it reads back") == block(n as u64, BLOCK), "{n} in round {round}");
            assert!(store_stats().bytes_session <= 16 * MIB);
        }
    }
    assert!(store_stats().restores - before.restores >= 64, "{:?}", store_stats());
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Frame {
    name: String,
    pixels: Buffer,
    depth: Vec<Array<f32>>,
    marks: BTreeMap<String, Vec<Option<u16>>>,
}

fn frame(n: u64) -> Frame {
    let depth = |m: usize| Array::build([64, 1_000], |all| all.fill((n as usize + m) as f32)).expect("room");
    Frame {
        name: format!("frame {n}"),
        pixels: block(n, 300_000).into(),
        depth: (0..2).map(depth).collect(),
        marks: (0..100).map(|m| (format!("mark {m}"), vec![Some(n as u16), None])).collect(),
    }
}

pub(crate) fn values_of_any_kind_read_back(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 8 * MIB));
    let frames: Vec<_> = (0..30).map(|n| put(frame(n)).expect("others leave")).collect();
    let texts: Vec<_> = (0..10).map(|n| put(format!("{n}").repeat(500_000)).expect("others leave")).collect();
    let numbers: Vec<_> =
        (0..10_usize).map(|n| put(vec![n as u32; 100_000]).expect("others leave")).collect();
    let arrays = (0..10).map(|n| put(Array::from_vec(vec![f64::from(n); 100_000])).expect("others leave"));
    let arrays: Vec<_> = arrays.collect();
    assert!(store_stats().objects_spilled > 20, "{:?}", store_stats());
    for (n, it) in frames.iter().enumerate() {
        assert_eq!(it.get().expect("it reads back"), frame(n as u64));
    }
    for (n, it) in texts.iter().enumerate() {
        assert!(it.get().expect("it reads back") == format!("{n}").repeat(500_000));
    }
    for (n, (numbers, array)) in numbers.iter().zip(&arrays).enumerate() {
        assert!(*numbers.view().expect("it reads back") == vec![n as u32; 100_000]);
        assert!(array.view().expect("it reads back")[..] == vec![n as f64; 100_000]);
    }
}

#[derive(Default)]
struct Counter(i64);

#[remote]
impl Counter {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn increment(&mut self) -> i64 {
        self.0 += 1;
        self.0
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Holder {
    object: ObjectRef<String>,
    counter: ActorHandle<Counter>,
    ballast: Vec<u8>,
}

pub(crate) fn what_a_spilled_value_names_stays(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    let holder = Holder {
        object: put("inner".to_owned()).expect("it is small"),
        counter: Counter::remote(),
        ballast: block(0, BLOCK / 2),
    };
    assert_eq!(holder.counter.increment.remote().get().expect("a call"), 1);
    let holder = put(holder).expect("there is room");
    let others: Vec<_> = (1..8).map(|n| put(block(n, BLOCK / 2)).expect("others leave")).collect();
    assert!(store_stats().objects_spilled >= 5, "{:?}", store_stats());
    let back = holder.get().expect("it reads back");
    assert_eq!(back.object.get().expect("it was kept"), "inner");
    assert_eq!(back.counter.increment.remote().get().expect("it lives"), 2);
    assert!(back.ballast == block(0, BLOCK / 2));
    drop((others, holder, back));
}

#[remote]
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[remote]
fn owned_sum(bytes: Vec<u8>) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

#[remote(isolation = "process")]
fn sum_apart(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

pub(crate) fn a_spilled_value_is_an_argument_like_any_other(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 16 * MIB));
    let refs: Vec<_> = (0..20).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    for (n, object) in refs.iter().enumerate() {
        let wanted: u64 = block(n as u64, BLOCK).iter().map(|byte| u64::from(*byte)).sum();
        assert_eq!(sum::remote(object).get().expect("it reads back"), wanted);
        assert_eq!(owned_sum::remote(object).get().expect("it reads back"), wanted);
        assert_eq!(sum_apart::remote(object).get().expect("it reads back"), wanted);
    }
    assert!(store_stats().bytes_session <= 16 * MIB, "{:?}", store_stats());
}

pub(crate) fn a_spilled_value_is_moved_out(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 8 * MIB));
    let refs: Vec<_> = (0..10).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    for (n, object) in refs.into_iter().enumerate() {
        assert!(object.into_inner().expect("it reads back") == block(n as u64, BLOCK));
    }
    let stats = store_stats();
    assert_eq!((stats.objects_idle, stats.objects_spilled), (0, 0), "{stats:?}");
    assert!(stats.bytes_session < MIB, "{stats:?}");
}

pub(crate) fn what_is_read_stays_and_what_is_not_goes_first(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 16 * MIB));
    let before = store_stats().restores;
    let hot = put(block(0, BLOCK)).expect("there is room");
    let view = put(block(1, BLOCK)).expect("there is room").view().expect("it is there");
    let address = view.as_ptr();
    let mut cold = Vec::new();
    for n in 2..30 {
        cold.push(put(block(n, BLOCK)).expect("others leave"));
        assert_eq!(hot.view().expect("it is there").len(), BLOCK);
    }
    assert_eq!(store_stats().restores, before, "what was read last stayed: {:?}", store_stats());
    assert!(view.as_ptr() == address && *view == block(1, BLOCK));
    assert!(cold[0].get().expect("it reads back") == block(2, BLOCK));
    assert_eq!(store_stats().restores, before + 1);
}

pub(crate) fn a_value_is_written_once(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 8 * MIB));
    let before = store_stats().spills;
    let refs: Vec<_> = (0..8).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    let size = || -> u64 {
        use std::os::unix::fs::MetadataExt;
        small.files().iter().map(|path| path.metadata().expect("it is there").blocks() * 512).sum()
    };
    for _ in 0..5 {
        for object in &refs {
            object.view().expect("it reads back");
        }
    }
    assert!(store_stats().spills - before >= 20, "{:?}", store_stats());
    assert!(size() <= 9 * BLOCK as u64, "{}", size());
}

#[remote]
fn make(n: u64) -> Vec<u8> {
    block(n, BLOCK)
}

#[remote(isolation = "process")]
fn make_apart(n: u64) -> Array<u8> {
    Array::build([BLOCK], |all| all.copy_from_slice(&block(n, BLOCK))).expect("others leave")
}

pub(crate) fn results_make_others_leave(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 16 * MIB));
    let refs: Vec<_> = (0..30).map(make::remote).collect();
    mobula::wait(&refs, 30, None).expect("all come");
    assert!(store_stats().bytes_session <= 16 * MIB, "{:?}", store_stats());
    for (n, object) in refs.iter().enumerate() {
        assert!(object.get().expect("it reads back") == block(n as u64, BLOCK));
    }
    drop(refs);
    let refs: Vec<_> = (0..30).map(make_apart::remote).collect();
    for (n, object) in refs.iter().enumerate() {
        assert!(object.view().expect("it reads back")[..] == block(n as u64, BLOCK)[..]);
        assert!(store_stats().bytes_session <= 16 * MIB, "{:?}", store_stats());
    }
    assert!(store_stats().objects_spilled >= 20, "{:?}", store_stats());
}

pub(crate) fn files_go_with_their_values_and_the_directory_with_its_session(env: &Env) {
    let small = Small::new();
    let session = env.start_with(small.config(env, 8 * MIB));
    assert!(small.files().is_empty());
    // Files are full with 64 MiB.
    let refs: Vec<_> = (0..80).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    assert_eq!(small.files().len(), 3);
    let last = refs.into_iter().next_back().expect("there are some");
    drop(last.get());
    assert!(small.files().len() <= 1, "{:?}", small.files());
    let kept = put(block(100, BLOCK)).expect("there is room");
    let _more: Vec<_> = (0..8).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
    session.shut_down();
    assert_eq!(std::fs::read_dir(small.dir.path()).expect("it is there").count(), 0);
    assert!(kept.get().expect("it reads back after the end, too") == block(100, BLOCK));
}
