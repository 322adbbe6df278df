//! Streams between processes: what their reader does with an item, and what becomes of who makes them.

use std::time::Duration;

use mobula::prelude::*;
use mobula::{kill, testing};
use serde::{Deserialize, Deserializer, Serialize};

use crate::common::{Env, Journal, Latch, SOON, assert_fails, block_on, eventually, next};
use crate::endings::children;

/// What happens where an item is read.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
enum Reading {
    IsPlain,
    Fails,
    Panics,
    /// Notes that it has begun, and waits.
    Waits(Journal, Latch),
}

/// Says in its bytes what its reading does.
#[derive(Clone, Debug, Serialize)]
struct Item(u32, Reading);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (number, reading) = Deserialize::deserialize(deserializer)?;
        match reading {
            Reading::IsPlain => {}
            Reading::Fails => return Err(serde::de::Error::custom("it is lost on the way")),
            Reading::Panics => panic!("nobody can read it"),
            Reading::Waits(begun, latch) => {
                begun.note("reading");
                latch.wait();
            }
        }
        Ok(Self(number, reading))
    }
}

/// So many items; the reading of the `at`th is a special one.
fn items(count: u32, at: u32, reading: Reading) -> impl Iterator<Item = Item> {
    (0..count).map(move |number| Item(number, if number == at { reading } else { Reading::IsPlain }))
}

/// More than anybody reads.
const ENDLESS: u32 = u32::MAX;

#[remote(isolation = "process", max_retries = 0)]
fn yield_items(count: u32, at: u32, reading: Reading, over: Journal) -> impl Iterator<Item = Item> {
    let at_drop = over.at_drop("over");
    items(count, at, reading).inspect(move |_| {
        let _ = &at_drop;
    })
}

struct Source;

#[remote(isolation = "process")]
impl Source {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn items(
        &mut self,
        count: u32,
        at: u32,
        reading: Reading,
    ) -> impl Iterator<Item = Item> + use<> {
        items(count, at, reading)
    }
    pub(crate) fn slow_items(&mut self, count: u32, reading: Reading) -> impl Iterator<Item = Item> + use<> {
        items(count, 0, reading).inspect(|_| std::thread::sleep(Duration::from_millis(10)))
    }
    pub(crate) fn pid(&self) -> u32 {
        std::process::id()
    }
}

/// The next item, if there is one soon.
#[track_caller]
fn next_of(stream: &mut ObjectStream<Item>) -> Option<mobula::Result<u32>> {
    let item = block_on(async { tokio::time::timeout(SOON, next(stream)).await }).expect("it comes soon");
    item.map(|item| item.get_timeout(SOON).map(|Item(number, _)| number))
}

pub(crate) fn an_item_that_cannot_be_read_fails_its_stream_alone(env: &Env) {
    let _running = env.start();
    let source = Source::remote();
    let pid = source.pid.remote().get_timeout(SOON).expect("a call");
    for (reading, kind, text) in [
        (Reading::Fails, ErrorKind::Decode, "it is lost on the way"),
        (Reading::Panics, ErrorKind::TaskPanicked, "nobody can read it"),
    ] {
        let of_task = yield_items::remote(4, 1, reading, Journal::new());
        for (mut stream, name) in
            [(of_task, "yield_items"), (source.items.remote(4, 1, reading), "Source.items")]
        {
            assert_eq!(next_of(&mut stream).expect("an item").expect("it can be read"), 0);
            let error = assert_fails(next_of(&mut stream).expect("the failure"), kind);
            assert!(error.message().contains(text), "{error}");
            assert_eq!(error.function(), Some(name), "{error}");
            assert!(next_of(&mut stream).is_none(), "nothing comes after the failure");
        }
        assert_eq!(source.pid.remote().get_timeout(SOON).expect("the actor lives on"), pid);
        let mut whole = yield_items::remote(1, 1, reading, Journal::new());
        assert_eq!(next_of(&mut whole).expect("an item").expect("other calls go on"), 0);
    }
}

pub(crate) fn an_item_that_cannot_be_read_stops_who_makes_them(env: &Env) {
    /// Hears of nothing once it has yielded.
    #[remote(isolation = "process", max_retries = 0)]
    fn yield_and_stay(pids: Journal) -> impl Iterator<Item = Item> {
        (0..2).map(move |number| {
            if number > 0 {
                pids.note(std::process::id().to_string());
                loop {
                    std::thread::sleep(Duration::from_mins(1));
                }
            }
            Item(number, Reading::Fails)
        })
    }
    let _running = env.start_with(env.config().shutdown_grace(Duration::from_millis(300)));
    let over = Journal::new();
    let mut stream = yield_items::remote(ENDLESS, 0, Reading::Fails, over);
    assert_fails(next_of(&mut stream).expect("the failure"), ErrorKind::Decode);
    over.expect("over");

    let pids = Journal::new();
    let mut stream = yield_and_stay::remote(pids);
    assert_fails(next_of(&mut stream).expect("the failure"), ErrorKind::Decode);
    let pid = pids.expect_count(1)[0].parse().expect("a process id");
    assert!(eventually(|| !children().contains(&pid)), "what does not stop is ended");
}

pub(crate) fn a_stream_is_cancelled_while_an_item_is_read(env: &Env) {
    let _running = env.start();
    let source = Source::remote();
    let pid = source.pid.remote().get_timeout(SOON).expect("a call");
    let (begun, latch) = (Journal::new(), Latch::new());
    let _open = latch.guard();
    let stream = source.items.remote(ENDLESS, 0, Reading::Waits(begun, latch));
    begun.expect("reading");
    drop(stream);
    latch.open();
    assert_eq!(source.pid.remote().get_timeout(SOON).expect("the call has stopped"), pid);
}

pub(crate) fn an_actor_is_killed_while_an_item_is_read(env: &Env) {
    let _running = env.start();
    let source = Source::remote();
    let (begun, latch) = (Journal::new(), Latch::new());
    let _open = latch.guard();
    let mut stream = source.items.remote(ENDLESS, 0, Reading::Waits(begun, latch));
    begun.expect("reading");
    kill(&source).expect("it is told");
    assert_fails(next_of(&mut stream).expect("the failure"), ErrorKind::ActorDied);
    latch.open();
}

pub(crate) fn a_stream_outlives_the_last_handle(env: &Env) {
    const MANY: u32 = 100;
    // They take longer than an actor has that was told to go.
    let _running = env.start_with(env.config().shutdown_grace(Duration::from_millis(300)));
    let source = Source::remote();
    let (begun, latch) = (Journal::new(), Latch::new());
    let _open = latch.guard();
    let stream = source.slow_items.remote(MANY, Reading::Waits(begun, latch));
    begun.expect("reading");
    drop(source);
    latch.open();
    let numbers: Vec<_> = stream.values().map(|item| item.map(|Item(number, _)| number)).collect();
    assert_eq!(numbers.len(), MANY as usize, "{:?}", numbers.last());
    assert!(numbers.into_iter().map(|number| number.expect("an item")).eq(0..MANY));
    assert!(eventually(|| testing::leftovers().actors == 0), "it ends after its stream");
}
