//! Rule 10: every wait has a reason out of one list, and it can be asked for.

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use mobula::prelude::*;
use mobula::testing::waits;
use mobula::{Wait, WaitReason};

use crate::common::{Env, Gauge, Latch, eventually};
use crate::fixtures::{Counter, hold, hold_inside};

/// The name of a reason. A new one does not compile until it stands here, and in `NAMES`.
fn name(reason: &WaitReason) -> &'static str {
    match reason {
        WaitReason::Results { .. } => "results",
        WaitReason::Items { .. } => "items",
        WaitReason::Reader { .. } => "reader",
        WaitReason::Arguments { .. } => "arguments",
        WaitReason::Turn => "turn",
        WaitReason::Constructor => "constructor",
        WaitReason::Actor => "actor",
        WaitReason::Resources { .. } => "resources",
        WaitReason::Cpu => "cpu",
        WaitReason::CpuAgain => "cpu again",
        WaitReason::Thread => "thread",
        WaitReason::QueueRoom => "queue room",
        WaitReason::Ending => "ending",
    }
}

const NAMES: [&str; 13] = [
    "results",
    "items",
    "reader",
    "arguments",
    "turn",
    "constructor",
    "actor",
    "resources",
    "cpu",
    "cpu again",
    "thread",
    "queue room",
    "ending",
];

/// The reasons that were seen.
#[derive(Default)]
struct Seen(BTreeSet<&'static str>);

impl Seen {
    /// Waits until somebody waits so, and says what that wait says of itself.
    #[track_caller]
    fn sees(&mut self, who: &str, is_it: impl Fn(&WaitReason) -> bool) -> String {
        let found = || waits().into_iter().find(|wait| wait.who == who && is_it(&wait.reason));
        let mut wait: Option<Wait> = None;
        assert!(
            eventually(|| {
                wait = found();
                wait.is_some()
            }),
            "`{who}` does not wait so: {:?}",
            waits()
        );
        let wait = wait.expect("it was found");
        self.0.insert(name(&wait.reason));
        wait.to_string()
    }
}

/// Is made once it is let.
struct Late;

#[remote]
impl Late {
    pub(crate) fn new(latch: Latch) -> Self {
        latch.wait();
        Self
    }
    pub(crate) fn hello(&self) {}
}

#[remote]
fn numbers(latch: Latch) -> impl Iterator<Item = i64> {
    (0..2_000).inspect(move |number| {
        if *number == 1 {
            latch.wait();
        }
    })
}

#[remote(num_cpus = 0.5)]
fn half(latch: Latch) {
    latch.wait();
}

#[remote]
fn weigh(bytes: &[u8]) -> usize {
    bytes.len()
}

#[remote]
fn ask(counter: &ActorHandle<Counter>, latch: Latch) -> mobula::Result<i64> {
    counter.hold.remote(latch).get()
}

pub(crate) fn every_reason_to_wait_is_entered_and_left(env: &Env) {
    let mut seen = Seen::default();
    calls_and_results(env, &mut seen);
    streams(env, &mut seen);
    resources(env, &mut seen);
    queue(env, &mut seen);
    end(env, &mut seen);
    assert_eq!(seen.0, BTreeSet::from(NAMES));
    assert_eq!(waits(), [], "nothing waits after the end");
}

fn calls_and_results(env: &Env, seen: &mut Seen) {
    let _running = env.start();
    let (first, second) = (Latch::new(), Latch::new());
    let _open = (first.guard(), second.guard());
    let held = hold::remote(first, 1);
    let waiting = held.clone();
    let getter = thread::spawn(move || waiting.get());
    let text = seen.sees("driver", |reason| matches!(reason, WaitReason::Results { calls: 1, .. }));
    assert!(
        text.starts_with("`driver` waits for the result of `hold`, 0.") || text.contains(" s so far"),
        "{text}"
    );

    let counter = Counter::remote(0);
    let occupies = counter.hold.remote(second);
    let behind = counter.value.remote();
    seen.sees("Counter", |reason| *reason == WaitReason::Actor);
    let unready = counter.add.remote(&held);
    let turn = counter.increment.remote();
    let text =
        seen.sees("Counter.add", |reason| matches!(reason, WaitReason::Arguments { of: "hold", calls: 1 }));
    assert_eq!(text, "`Counter.add` waits for its argument, the result of `hold`");
    seen.sees("Counter.increment", |reason| *reason == WaitReason::Turn);

    let third = Latch::new();
    let late = Late::remote(third);
    let hello = late.hello.remote();
    seen.sees("Late", |reason| *reason == WaitReason::Constructor);

    for latch in [first, second, third] {
        latch.open();
    }
    assert_eq!(getter.join().expect("no panic").expect("a value"), 1);
    for call in [occupies, behind, unready, turn] {
        call.get().expect("a value");
    }
    hello.get().expect("it was made");
    drop((counter, late, held));
}

fn streams(env: &Env, seen: &mut Seen) {
    let _running = env.start();
    let latch = Latch::new();
    let _open = latch.guard();
    let mut items = numbers::remote(latch);
    items.next().expect("an item").get().expect("a number");
    let reader = thread::spawn(move || {
        let second = items.next().map(|item| item.get());
        (items, second)
    });
    seen.sees("driver", |reason| matches!(reason, WaitReason::Items { of: "numbers" }));
    latch.open();
    let (items, second) = reader.join().expect("no panic");
    assert_eq!(second.expect("an item").expect("a number"), 1);
    seen.sees("numbers", |reason| matches!(reason, WaitReason::Reader { of: "numbers" }));
    assert_eq!(items.count(), 1_998);
}

fn resources(env: &Env, seen: &mut Seen) {
    let _running = env.start_with(env.config().num_cpus(1.0).max_threads(3));
    let (first, second) = (Latch::new(), Latch::new());
    let _open = (first.guard(), second.guard());
    // Its actor has a thread, and no CPU; it waits for it, and lends its CPU to the next one.
    let counter = Counter::remote(0);
    let asks = ask::remote(&counter, first);
    seen.sees("ask", |reason| matches!(reason, WaitReason::Results { of: "Counter.hold", .. }));
    let gauge = Gauge::new();
    let holds = hold_inside::remote(gauge, second);
    assert!(eventually(|| gauge.inside() == 1), "it runs on the CPU that was lent");
    let queued = hold::remote(second, 0);
    seen.sees("tasks", |reason| *reason == WaitReason::Cpu);
    let needs = half::remote(second);
    let text = seen.sees("half", |reason| matches!(reason, WaitReason::Resources { .. }));
    assert!(text.contains("CPU"), "{text}");
    first.open();
    seen.sees("ask", |reason| *reason == WaitReason::CpuAgain);
    second.open();
    asks.get().expect("a value");
    holds.get().expect("it ran");
    queued.get().expect("a value");
    needs.get().expect("it ran");

    // A thread for the actor, and two for tasks: the third one has its resources, and no thread.
    let third = Latch::new();
    let _open = third.guard();
    let small = || half::options().num_cpus(0.1).remote(third);
    let tasks = [small(), small(), small()];
    seen.sees("tasks", |reason| *reason == WaitReason::Thread);
    third.open();
    mobula::get(&tasks).expect("all ran");
}

fn queue(env: &Env, seen: &mut Seen) {
    let _running = env.start_with(env.config().num_cpus(1.0).queue_memory(4 << 20));
    let latch = Latch::new();
    let _open = latch.guard();
    let held = hold::remote(latch, 0);
    let sender = thread::spawn(|| (0..200).map(|_| weigh::remote(vec![0; 64 << 10])).collect::<Vec<_>>());
    seen.sees("driver", |reason| *reason == WaitReason::QueueRoom);
    latch.open();
    let sent = sender.join().expect("no panic");
    assert_eq!(mobula::get(&sent).expect("all were weighed"), vec![64 << 10; 200]);
    held.get().expect("a value");
}

fn end(env: &Env, seen: &mut Seen) {
    let running = env.start_with(env.config().shutdown_grace(Duration::from_secs(30)));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let _open = latch.guard();
    hold_inside::remote(gauge, latch);
    assert!(eventually(|| gauge.inside() == 1));
    let ender = thread::spawn(move || running.shut_down());
    seen.sees("driver", |reason| *reason == WaitReason::Ending);
    latch.open();
    ender.join().expect("no panic");
}
