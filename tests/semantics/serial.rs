//! Rule 2: one method of an actor at a time, except `&self` methods that may overlap.

use mobula::get;
use mobula::prelude::*;

use crate::common::{Env, Gauge, Journal, Latch};

/// A sync class; what it does is seen in its gauge.
struct Reader {
    gauge: Gauge,
    written: u32,
}

#[remote]
impl Reader {
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self { gauge, written: 0 }
    }

    /// Stays until the latch opens.
    pub(crate) fn read(&self, latch: Latch) -> u32 {
        let _inside = self.gauge.enter();
        latch.wait();
        self.written
    }

    pub(crate) fn write(&mut self) -> usize {
        let _inside = self.gauge.enter();
        self.written += 1;
        self.gauge.inside()
    }
}

/// The same as an async class.
struct AsyncReader {
    gauge: Gauge,
    written: u32,
}

#[remote]
impl AsyncReader {
    pub(crate) fn new(gauge: Gauge) -> Self {
        Self { gauge, written: 0 }
    }

    pub(crate) async fn read(&self, latch: Latch) -> u32 {
        let _inside = self.gauge.enter();
        latch.pass().await;
        self.written
    }

    /// Stays until the latch opens; whether nobody else was inside all the time.
    pub(crate) async fn write(&mut self, latch: Latch) -> bool {
        let _inside = self.gauge.enter();
        let was_alone = self.gauge.inside() == 1;
        latch.pass().await;
        self.written += 1;
        was_alone && self.gauge.inside() == 1
    }
}

fn open() -> Latch {
    let latch = Latch::new();
    latch.open();
    latch
}

pub(crate) fn methods_of_a_sync_class_run_one_at_a_time(env: &Env) {
    let _running = env.start();
    let gauge = Gauge::new();
    let reader = Reader::remote(gauge);
    let latch = Latch::new();
    let reads: Vec<_> = (0..4).map(|_| reader.read.remote(latch)).collect();
    gauge.expect(1);
    let writes: Vec<_> = (0..4).map(|_| reader.write.remote()).collect();
    latch.open();
    get(&reads).expect("reads");
    assert_eq!(get(&writes).expect("writes"), [1; 4]);
    assert_eq!(gauge.peak(), 1);
}

pub(crate) fn shared_methods_of_a_sync_class_overlap_up_to_max_concurrency(env: &Env) {
    let _running = env.start();
    let gauge = Gauge::new();
    let reader = Reader::options().max_concurrency(3).remote(gauge);
    let latch = Latch::new();
    let reads: Vec<_> = (0..9).map(|_| reader.read.remote(latch)).collect();
    gauge.expect(3);
    latch.open();
    get(&reads).expect("reads");
    assert_eq!(gauge.peak(), 3);
}

pub(crate) fn an_exclusive_method_waits_for_shared_ones_and_holds_later_ones_back(env: &Env) {
    let _running = env.start();
    let gauge = Gauge::new();
    let reader = Reader::options().max_concurrency(4).remote(gauge);
    let latch = Latch::new();
    let before: Vec<_> = (0..2).map(|_| reader.read.remote(latch)).collect();
    gauge.expect(2);
    let write = reader.write.remote();
    let after: Vec<_> = (0..2).map(|_| reader.read.remote(open())).collect();
    latch.open();
    assert_eq!(write.get().expect("a write"), 1);
    assert_eq!(get(&before).expect("reads"), [0, 0]);
    assert_eq!(get(&after).expect("reads"), [1, 1]);
}

pub(crate) fn shared_methods_of_an_async_class_overlap_by_themselves(env: &Env) {
    let _running = env.start();
    let gauge = Gauge::new();
    let reader = AsyncReader::remote(gauge);
    let latch = Latch::new();
    let reads: Vec<_> = (0..1_001).map(|_| reader.read.remote(latch)).collect();
    gauge.expect(1_000);
    latch.open();
    get(&reads).expect("reads");
    assert_eq!(gauge.peak(), 1_000);
}

pub(crate) fn max_concurrency_bounds_an_async_class(env: &Env) {
    let _running = env.start();
    let gauge = Gauge::new();
    let reader = AsyncReader::options().max_concurrency(2).remote(gauge);
    let latch = Latch::new();
    let reads: Vec<_> = (0..10).map(|_| reader.read.remote(latch)).collect();
    gauge.expect(2);
    latch.open();
    get(&reads).expect("reads");
    assert_eq!(gauge.peak(), 2);
}

pub(crate) fn an_exclusive_async_method_is_alone_across_its_awaits(env: &Env) {
    let _running = env.start();
    let gauge = Gauge::new();
    let reader = AsyncReader::remote(gauge);
    let (reading, writing) = (Latch::new(), Latch::new());
    let before = reader.read.remote(reading);
    gauge.expect(1);
    let writes: Vec<_> = (0..3).map(|_| reader.write.remote(writing)).collect();
    let after = reader.read.remote(open());
    reading.open();
    assert_eq!(before.get().expect("a read"), 0);
    writing.open();
    assert_eq!(get(&writes).expect("writes"), [true; 3]);
    assert_eq!(after.get().expect("a read"), 3);
    assert_eq!(gauge.peak(), 1);
}

pub(crate) fn sync_methods_of_an_async_class_follow_the_same_rule(env: &Env) {
    struct Mixed {
        journal: Journal,
    }
    #[remote]
    impl Mixed {
        pub(crate) fn new(journal: Journal) -> Self {
            Self { journal }
        }
        pub(crate) async fn read(&self, latch: Latch) {
            self.journal.note("reads");
            latch.pass().await;
            self.journal.note("has read");
        }
        pub(crate) fn look(&self) {
            self.journal.note("looks");
        }
        pub(crate) fn write(&mut self) {
            self.journal.note("writes");
        }
    }
    let _running = env.start();
    let (journal, latch) = (Journal::new(), Latch::new());
    let mixed = Mixed::remote(journal);
    let read = mixed.read.remote(latch);
    mixed.look.remote().get().expect("it overlaps");
    let write = mixed.write.remote();
    let look = mixed.look.remote();
    latch.open();
    get(&[read, write, look]).expect("all run");
    assert_eq!(journal.notes(), ["reads", "looks", "has read", "writes", "looks"]);
}

pub(crate) fn a_state_that_is_not_sync_needs_nothing(env: &Env) {
    struct Tally {
        calls: std::cell::Cell<u32>,
    }
    #[remote]
    impl Tally {
        pub(crate) fn new() -> Self {
            Self { calls: std::cell::Cell::new(0) }
        }
        pub(crate) fn call(&self) -> u32 {
            self.calls.set(self.calls.get() + 1);
            self.calls.get()
        }
    }
    let _running = env.start();
    let tally = Tally::remote();
    let calls: Vec<_> = (0..3).map(|_| tally.call.remote()).collect();
    assert_eq!(get(&calls).expect("calls"), [1, 2, 3]);
}
