//! What waits, and what is refused.

use std::time::{Duration, Instant};

use mobula::prelude::*;
use mobula::{Array, put, put_async, store_stats};

use crate::common::{Env, assert_fails};
use crate::{MIB, Small, block};

const BLOCK: usize = 1 << 20;

pub(crate) fn what_is_larger_than_the_store_is_refused_at_once(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 2 * MIB));
    let start = Instant::now();
    let error = put(block(0, 3 * BLOCK)).expect_err("it is larger");
    assert_eq!(error.kind(), ErrorKind::StoreFull);
    assert!(error.to_string().contains("2097152"), "{error}");
    assert_fails(Array::build([3 * BLOCK], |all: &mut [u8]| all.fill(1)), ErrorKind::StoreFull);
    assert!(start.elapsed() < Duration::from_secs(5));
    assert_eq!(put(block(0, BLOCK)).expect("it fits").get().expect("it is there").len(), BLOCK);
}

#[remote]
fn a_large_result() -> Vec<u8> {
    block(9, 3 * BLOCK)
}

pub(crate) fn where_all_is_pinned_a_put_waits_and_names_the_largest(env: &Env) {
    let small = Small::new();
    let wait = Duration::from_secs(1);
    let _session = env.start_with(small.config(env, 8 * MIB).store_wait(wait));
    let _result = a_large_result::remote().view().expect("it fits");
    let _views: Vec<_> =
        (0..4).map(|n| put(block(n, BLOCK)).expect("it fits").view().expect("it is there")).collect();
    let start = Instant::now();
    let error = put(block(5, 2 * BLOCK)).expect_err("all is pinned");
    let waited = start.elapsed();
    assert!(waited >= wait && waited < wait + Duration::from_secs(5), "{waited:?}");
    assert_eq!(error.kind(), ErrorKind::StoreFull);
    let text = error.to_string();
    assert!(text.contains("a_large_result") && text.matches("put").count() >= 3, "{text}");
    assert_eq!(store_stats().objects_pinned, 5);
}

pub(crate) fn a_put_that_waits_goes_on_when_room_is_made(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    let views: Vec<_> =
        (0..3).map(|n| put(block(n, BLOCK)).expect("it fits").view().expect("it is there")).collect();
    let start = Instant::now();
    let waiting = std::thread::spawn(|| put(block(9, 2 * BLOCK)));
    std::thread::sleep(Duration::from_millis(200));
    assert!(!waiting.is_finished(), "there is no room");
    drop(views);
    let object = waiting.join().expect("no panic").expect("there is room");
    assert!(start.elapsed() < Duration::from_secs(9));
    assert!(object.get().expect("it is there") == block(9, 2 * BLOCK));
}

struct Putter;

#[remote]
impl Putter {
    pub fn new() -> Self {
        Self
    }

    pub async fn at_once(&self) -> (bool, u64) {
        let start = Instant::now();
        let refused = put(block(1, 2 * BLOCK)).is_err_and(|error| error.kind() == ErrorKind::StoreFull);
        (refused, start.elapsed().as_millis() as u64)
    }

    pub async fn awaited(&self) -> ObjectRef<Vec<u8>> {
        put_async(block(2, 2 * BLOCK)).await.expect("there is room in the end")
    }

    pub async fn ping(&self) -> u8 {
        1
    }
}

pub(crate) fn an_async_put_is_refused_at_once_and_one_that_is_awaited_waits(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 4 * MIB));
    let putter = Putter::remote();
    let views: Vec<_> =
        (0..3).map(|n| put(block(n, BLOCK)).expect("it fits").view().expect("it is there")).collect();
    let (refused, waited_ms) = putter.at_once.remote().get().expect("a call");
    assert!(refused && waited_ms < 2_000, "{refused} {waited_ms}");
    let awaited = putter.awaited.remote();
    assert!(awaited.get_timeout(Duration::from_millis(200)).is_err());
    assert_eq!(putter.ping.remote().get().expect("others go on"), 1);
    drop(views);
    let object = awaited.get().expect("there is room");
    assert!(object.get().expect("it is there") == block(2, 2 * BLOCK));
}

pub(crate) fn shared_memory_counts_with_the_rest(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, 8 * MIB).store_wait(Duration::from_millis(300)));
    let build = |n: u64| Array::build([BLOCK], |all: &mut [u8]| all.copy_from_slice(&block(n, BLOCK)));
    let arrays: Vec<_> =
        (0..30).map(|n| put(build(n).expect("others leave")).expect("it is small")).collect();
    let stats = store_stats();
    assert!(stats.bytes_session <= 8 * MIB && stats.bytes_shared <= 8 * MIB, "{stats:?}");
    for (n, array) in arrays.iter().enumerate() {
        assert!(array.view().expect("it reads back")[..] == block(n as u64, BLOCK)[..]);
    }
    drop(arrays);
    let held: Vec<_> = (0..6).map(|n| build(n).expect("there is room")).collect();
    let error = build(9).and_then(|_| build(10)).and_then(|_| put(block(11, 4 * BLOCK)).map(drop));
    assert_fails(error, ErrorKind::StoreFull);
    drop(held);
}

pub(crate) fn small_values_are_let_in(env: &Env) {
    let small = Small::new();
    let _session = env.start_with(small.config(env, MIB).store_wait(Duration::from_mins(1)));
    let _view = put(block(0, BLOCK - 100_000)).expect("it fits").view().expect("it is there");
    let start = Instant::now();
    let refs: Vec<_> = (0..1_000).map(|n| put(format!("{n}").repeat(100)).expect("it is small")).collect();
    assert!(start.elapsed() < Duration::from_secs(20));
    for (n, object) in refs.iter().enumerate() {
        assert_eq!(object.get().expect("it is there"), format!("{n}").repeat(100));
    }
}

pub(crate) fn the_limit_comes_from_the_environment(env: &Env) {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let path = dir.path().to_string_lossy().into_owned();
    let variables = [
        ("MOBULA_OBJECT_STORE_MEMORY", "3000000"),
        ("MOBULA_SPILL_DIR", path.as_str()),
        ("MOBULA_STORE_WAIT", "0.2"),
    ];
    env.in_a_process_of_its_own(&variables, || {
        let refs: Vec<_> = (0..5).map(|n| put(block(n, BLOCK)).expect("others leave")).collect();
        assert_eq!(store_stats().bytes_limit, 3_000_000);
        assert!(store_stats().objects_spilled >= 2);
        let views: Vec<_> = refs[..2].iter().map(|object| object.view().expect("it reads back")).collect();
        let start = Instant::now();
        assert_fails(put(block(9, BLOCK)), ErrorKind::StoreFull);
        assert!(start.elapsed() < Duration::from_secs(5));
        drop(views);
        mobula::shutdown();
    });
}
