//! Rule 4: blocking waits give the CPU away, never starve the pool, and are refused where threads are shared.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use mobula::prelude::*;
use mobula::{WaitReason, get, get_timeout, put, wait};

use crate::common::{Env, Gauge, Journal, Latch, SOON, assert_fails, eventually};
use crate::fixtures::{Counter, add, hold, hold_inside, note};

/// Waits for a task that waits for a task, and so on.
#[remote]
fn nested(depth: u32) -> mobula::Result<u32> {
    if depth == 0 { Ok(0) } else { Ok(nested::remote(depth - 1).get()? + 1) }
}

pub(crate) fn nested_waits_finish_on_one_cpu(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    assert_eq!(nested::remote(300).get().expect("all the way down"), 300);
}

pub(crate) fn a_wide_tree_of_waits_finishes_on_two_cpus(env: &Env) {
    #[remote]
    fn leaves(depth: u32) -> mobula::Result<u32> {
        if depth == 0 {
            return Ok(1);
        }
        let parts: Vec<_> = (0..3).map(|_| leaves::remote(depth - 1)).collect();
        Ok(get(&parts)?.into_iter().sum())
    }
    let _running = env.start_with(env.config().num_cpus(2.0));
    assert_eq!(leaves::remote(5).get().expect("all leaves"), 243);
}

pub(crate) fn tasks_that_have_their_cpus_all_start(env: &Env) {
    #[remote]
    fn pass(gauge: Gauge) -> Gauge {
        gauge
    }
    let _running = env.start_with(env.config().num_cpus(4.0));
    // A member that has just ended a task still looks for more when the others come.
    for round in 0..100 {
        let (gauge, latch) = (Gauge::new(), Latch::new());
        let passed = pass::remote(gauge);
        if round % 2 == 0 {
            passed.view().expect("the gauge");
        }
        let cpus = if round % 4 < 2 { 1.0 } else { 0.5 };
        let start = || hold_inside::options().num_cpus(cpus).remote(&passed, latch);
        let tasks: Vec<_> = (0..4).map(|_| start()).collect();
        gauge.expect(4);
        latch.open();
        get(&tasks).expect("all of them");
    }
}

pub(crate) fn every_wait_gives_the_cpu_away(env: &Env) {
    #[remote]
    fn wait_for_one(number: ObjectRef<i64>) -> mobula::Result<usize> {
        Ok(wait(vec![number], 1, None)?.0.len())
    }
    #[remote]
    fn iterate(number: ObjectRef<i64>) -> usize {
        as_completed(vec![number]).count()
    }
    #[remote]
    fn look(number: ObjectRef<i64>) -> mobula::Result<usize> {
        number.view().map(|_| 1)
    }
    #[remote]
    async fn wait_async(number: ObjectRef<i64>) -> mobula::Result<usize> {
        number.await.map(|_| 1)
    }
    #[remote]
    fn take_all() -> usize {
        #[remote]
        fn items() -> impl Iterator<Item = i64> {
            0..1
        }
        items::remote().count()
    }
    let _running = env.start_with(env.config().num_cpus(1.0));
    // Each runs first, and what it waits for only when it has let the only CPU go.
    let latch = Latch::new();
    let busy = hold::remote(latch, 0);
    let later = add::remote(&busy, 1);
    let waiting = [
        wait_for_one::remote(put(later.clone()).expect("put")),
        iterate::remote(put(later.clone()).expect("put")),
        look::remote(put(later.clone()).expect("put")),
        wait_async::remote(put(later).expect("put")),
        take_all::remote(),
    ];
    latch.open();
    assert_eq!(get(&waiting).expect("all of them"), [1; 5]);
}

pub(crate) fn a_task_takes_its_cpu_back_before_it_goes_on(env: &Env) {
    #[remote]
    fn go_on(journal: Journal, latch: Latch) -> mobula::Result<()> {
        let child = hold::options().num_cpus(0.0).remote(latch, 0);
        journal.note("waits");
        child.get()?;
        journal.note("goes on");
        Ok(())
    }
    #[remote]
    fn be_busy(journal: Journal, child: Latch, until: Latch) {
        journal.note("is busy");
        // The child's end wakes the one that waits, whose CPU this is now.
        child.open();
        until.wait();
        journal.note("is done");
    }
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (journal, child, until) = (Journal::new(), Latch::new(), Latch::new());
    let first = go_on::remote(journal, child);
    journal.expect("waits");
    let second = be_busy::remote(journal, child, until);
    journal.expect("is busy");
    // What takes no CPU runs meanwhile; the one that wants its CPU back does not.
    for _ in 0..50 {
        note::options().num_cpus(0.0).remote(journal, "meanwhile").get().expect("it takes no CPU");
    }
    assert!(!journal.has("goes on"), "two tasks at once on one CPU");
    until.open();
    get(&[first, second]).expect("both");
    let notes: Vec<_> = journal.notes().into_iter().filter(|note| note != "meanwhile").collect();
    assert_eq!(notes, ["waits", "is busy", "is done", "goes on"]);
}

pub(crate) fn an_actor_with_a_cpu_gives_it_away_while_it_waits(env: &Env) {
    struct Boss;
    #[remote]
    impl Boss {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) fn delegate(&self, x: i64) -> mobula::Result<i64> {
            add::remote(x, 1).get()
        }
    }
    let _running = env.start_with(env.config().num_cpus(1.0));
    let boss = Boss::options().num_cpus(1.0).remote();
    assert_eq!(boss.delegate.remote(1).get().expect("the task had a CPU"), 2);
}

/// Its calls wait side by side.
struct Pair;

#[remote(num_cpus = 1, max_concurrency = 2)]
impl Pair {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn wait(&self, journal: Journal, on: Vec<ObjectRef<i64>>) -> mobula::Result<i64> {
        journal.note("waits");
        on[0].get()
    }
}

pub(crate) fn calls_of_one_actor_that_wait_at_once_take_its_cpu_back_once(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(2.0));
    let pair = Pair::remote();
    pair.ready().get().expect("it is built");
    for _ in 0..3 {
        let (journal, gauge, latch, later) = (Journal::new(), Gauge::new(), Latch::new(), Latch::new());
        let _open = [latch.guard(), later.guard()];
        // Both wait for one object; what has both CPUs meanwhile ends when both want them back.
        let first = hold::options().num_cpus(0.0).remote(latch, 1);
        let wait = || pair.wait.remote(journal, vec![first.clone()]);
        let waiting = [wait(), wait()];
        journal.expect_count(2);
        let busy: Vec<_> = (0..2).map(|_| hold_inside::remote(gauge, later)).collect();
        gauge.expect(2);
        latch.open();
        assert!(eventually(wants_cpu_again), "{:?}", mobula::testing::waits());
        later.open();
        assert_eq!(get_timeout(&waiting, SOON).expect("both"), [1; 2]);
        get(&busy).expect("both");
        let free = || mobula::available_resources().expect("a session runs").get("CPU").copied();
        assert!(eventually(|| free() == Some(1.0)), "the actor has one of two CPUs: {:?}", free());
    }
    drop(pair);
    let sum = add::options().num_cpus(2.0).remote(1, 1);
    assert_eq!(sum.get_timeout(SOON).expect("both CPUs are there"), 2);
}

fn wants_cpu_again() -> bool {
    mobula::testing::waits().iter().any(|wait| wait.reason == WaitReason::CpuAgain)
}

/// Somebody who keeps the only CPU busy, which was given away.
struct Busy(Latch);

impl Busy {
    fn start() -> Self {
        let (gauge, latch) = (Gauge::new(), Latch::new());
        drop(hold_inside::remote(gauge, latch));
        gauge.expect(1);
        Self(latch)
    }

    /// Ends, once somebody else has gone on or wants the CPU back.
    fn end_when(self, has_gone_on: impl Fn() -> bool) {
        assert!(eventually(|| has_gone_on() || wants_cpu_again()), "{:?}", mobula::testing::waits());
        self.0.open();
    }
}

pub(crate) fn an_actors_cpu_is_away_while_one_of_its_calls_waits(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let pair = Pair::remote();
    let (journal, latch) = (Journal::new(), Latch::new());
    let soon = hold::options().num_cpus(0.0).remote(latch, 1);
    let first = pair.wait.remote(journal, vec![soon]);
    let busy = Busy::start();
    // Behind what is busy, and before its end the first call goes on.
    let later = add::remote(1, 1);
    let second = pair.wait.remote(journal, vec![later]);
    journal.expect_count(2);
    latch.open();
    busy.end_when(|| first.get_timeout(Duration::ZERO).is_ok());
    assert_eq!(first.get_timeout(SOON).expect("what it waits for is there"), 1);
    assert_eq!(second.get_timeout(SOON).expect("what it waits for had the CPU"), 2);
    drop(pair);
    assert_eq!(add::remote(1, 1).get_timeout(SOON).expect("the CPU is there"), 2);
}

pub(crate) fn a_task_that_awaits_two_takes_its_cpu_back_for_the_last(env: &Env) {
    #[remote]
    async fn await_both(journal: Journal, on: [ObjectRef<i64>; 2]) -> mobula::Result<i64> {
        let mut both = on.map(|on| (Box::pin(on.into_future()), None));
        journal.note("awaits");
        poll_fn(|cx| {
            for (future, end) in &mut both {
                if end.is_none()
                    && let Poll::Ready(value) = future.as_mut().poll(cx)
                {
                    journal.note("has one");
                    *end = Some(value);
                }
            }
            if both.iter().all(|(_, end)| end.is_some()) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        both.into_iter().filter_map(|(_, end)| end).sum()
    }
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (journal, first, second) = (Journal::new(), Latch::new(), Latch::new());
    let _open = [first.guard(), second.guard()];
    let [soon, then] = [first, second].map(|latch| hold::options().num_cpus(0.0).remote(latch, 1));
    let later = add::remote(&then, 1);
    let both = await_both::remote(journal, [soon, later]);
    journal.expect("awaits");
    let busy = Busy::start();
    // One of the two wants the CPU from now on, and the other is there.
    second.open();
    then.get().expect("it takes no CPU");
    first.open();
    busy.end_when(|| journal.has("has one"));
    assert_eq!(both.get_timeout(SOON).expect("each had a CPU"), 3);
}

pub(crate) fn at_the_cap_an_awaited_task_runs_on_its_waiters_thread(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(2.0).max_threads(8));
    assert_eq!(nested::remote(50).get().expect("inside each other"), 50);
    let free = || mobula::available_resources().expect("a session runs").get("CPU").copied();
    assert!(eventually(|| free() == Some(2.0)), "all that was lent has come back: {:?}", free());
    assert!(mobula::testing::threads_peak() <= 8, "{}", mobula::testing::threads_peak());
}

pub(crate) fn beyond_the_cap_a_wait_that_nobody_could_end_is_refused(env: &Env) {
    /// On a thread that many share.
    struct Gate {
        latch: Latch,
    }
    #[remote]
    impl Gate {
        pub(crate) fn new(latch: Latch) -> Self {
            Self { latch }
        }
        pub(crate) async fn pass(&self) -> i64 {
            self.latch.pass().await;
            1
        }
    }
    #[remote]
    fn wait_for_value(counter: ActorHandle<Counter>, number: ObjectRef<i64>) -> mobula::Result<i64> {
        // A call that waits for an argument: not something that a waiter could run itself.
        counter.add.remote(number).get()
    }
    let _running = env.start_with(env.config().num_cpus(2.0).max_threads(50));
    let (counter, latch) = (Counter::remote(0), Latch::new());
    let _open = latch.guard();
    // Not there before the first of them is refused, and made on a thread that is none of the fifty.
    let gate = Gate::remote(latch);
    let late = gate.pass.remote();
    let on_late: Vec<_> =
        (0..100).map(|_| wait_for_value::remote(&counter, put(late.clone()).expect("put"))).collect();
    let first = as_completed(&on_late).next().expect("one of a hundred");
    assert_fails(first.get(), ErrorKind::TooManyThreads);
    latch.open();
    let ends: Vec<_> = on_late.iter().map(ObjectRef::get).collect();
    assert!(ends.iter().any(Result::is_ok), "those that waited have gone on");
    for error in ends.iter().filter_map(|end| end.as_ref().err()) {
        assert_eq!(error.kind(), ErrorKind::TooManyThreads, "{error:?}");
    }
    assert!(mobula::testing::threads_peak() <= 50, "{}", mobula::testing::threads_peak());
    assert_eq!(add::remote(2, 2).get().expect("the pool is as before"), 4);
}

pub(crate) fn too_many_threads_is_a_typed_error(env: &Env) {
    #[remote]
    fn wait_for_turn(gate: ActorHandle<Gate>) -> mobula::Result<()> {
        gate.pass.remote().get()
    }
    /// Lets nobody pass until a task has opened it.
    struct Gate {
        latch: Latch,
    }
    #[remote]
    impl Gate {
        pub(crate) fn new(latch: Latch) -> Self {
            Self { latch }
        }
        pub(crate) async fn pass(&self) {
            self.latch.pass().await;
        }
        pub(crate) fn open(&self) {
            self.latch.open();
        }
    }
    let _running = env.start_with(env.config().num_cpus(2.0).max_threads(50));
    let gate = Gate::remote(Latch::new());
    let waiting: Vec<_> = (0..60).map(|_| wait_for_turn::remote(&gate)).collect();
    // Whoever would take the last thread for a wait that only the driver can end is refused.
    let first = as_completed(&waiting).next().expect("one of sixty");
    assert_fails(first.get(), ErrorKind::TooManyThreads);
    let opened = gate.open.remote();
    let ended: Vec<_> = waiting.iter().map(ObjectRef::get).collect();
    let refused = ended.iter().filter_map(|end| end.as_ref().err());
    let kinds: Vec<_> = refused.map(mobula::Error::kind).collect();
    assert!(!kinds.is_empty(), "sixty waits on fifty threads");
    assert!(kinds.iter().all(|kind| *kind == ErrorKind::TooManyThreads), "{kinds:?}");
    assert!(ended.iter().any(Result::is_ok), "those that waited have passed");
    if let Err(error) = opened.get() {
        assert_eq!(error.kind(), ErrorKind::TooManyThreads, "{error:?}");
    }
    assert!(mobula::testing::threads_peak() <= 50, "{}", mobula::testing::threads_peak());
}

pub(crate) fn on_one_thread_no_task_is_lost_however_many_wait(env: &Env) {
    /// Lets everybody pass who comes after the last.
    struct Gate;
    #[remote]
    impl Gate {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn pass(&self, latch: Latch) {
            latch.pass().await;
        }
    }
    #[remote]
    fn wait_for_turn(gate: ActorHandle<Gate>, latch: Latch) -> mobula::Result<()> {
        gate.pass.remote(latch).get()
    }
    let _running = env.start_with(env.config().num_cpus(1.0).max_threads(1));
    let (gate, latch) = (Gate::remote(), Latch::new());
    let _open = latch.guard();
    // More than run inside each other's waits.
    let waiting: Vec<_> = (0..70).map(|_| wait_for_turn::remote(&gate, latch)).collect();
    for call in waiting {
        assert_fails(call.get(), ErrorKind::TooManyThreads);
    }
}

pub(crate) fn an_actor_beyond_the_cap_fails_with_too_many_threads(env: &Env) {
    let _running = env.start_with(env.config().max_threads(4));
    let counters: Vec<_> = (0..5).map(Counter::remote).collect();
    let ends: Vec<_> = counters.iter().map(|counter| counter.value.remote().get()).collect();
    let refused: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "{ends:?}");
    assert_eq!(refused[0].kind(), ErrorKind::TooManyThreads);
}

/// Tries every blocking wait; how many were refused for being on a shared thread.
fn refusals(there: &ObjectRef<i64>) -> usize {
    let second = Duration::from_secs(1);
    let ends = [
        there.get().map(drop),
        there.get_timeout(second).map(drop),
        there.view().map(drop),
        there.clone().into_inner().map(drop),
        get(there).map(drop),
        get(std::slice::from_ref(there)).map(drop),
        get_timeout(there, second).map(drop),
        wait(vec![there.clone()], 1, Some(second)).map(drop),
        as_completed(vec![there.clone()]).next().expect("one ref").into_inner().map(drop),
    ];
    ends.into_iter().filter(|end| end.as_ref().is_err_and(is_refusal)).count()
}

fn is_refusal(error: &mobula::Error) -> bool {
    error.kind() == ErrorKind::BlockingInAsync
}

const ALL_WAITS: usize = 9;

/// Waits in its constructor, its methods and its Drop.
struct Impatient {
    journal: Journal,
    there: ObjectRef<i64>,
    in_constructor: usize,
}

#[remote]
impl Impatient {
    pub(crate) fn new(journal: Journal, there: ObjectRef<i64>) -> Self {
        let in_constructor = refusals(&there);
        Self { journal, there, in_constructor }
    }
    pub(crate) fn in_constructor(&self) -> usize {
        self.in_constructor
    }
    pub(crate) fn in_sync_method(&self) -> usize {
        refusals(&self.there)
    }
    pub(crate) async fn in_async_method(&mut self) -> usize {
        let before = refusals(&self.there);
        tokio::task::yield_now().await;
        assert_eq!(before, refusals(&self.there), "the same after an await");
        before
    }
    pub(crate) async fn awaiting(&self) -> mobula::Result<i64> {
        let owned = self.there.clone().await?;
        Ok(owned + (&self.there).await?)
    }
}

impl Drop for Impatient {
    fn drop(&mut self) {
        self.journal.note(refusals(&self.there).to_string());
    }
}

pub(crate) fn an_async_class_may_not_block_anywhere(env: &Env) {
    let _running = env.start();
    let journal = Journal::new();
    // Ready or not makes no difference.
    let there = put(20).expect("put");
    let actor = Impatient::remote(journal, put(there).expect("put"));
    assert_eq!(actor.in_constructor.remote().get().expect("a call"), ALL_WAITS);
    assert_eq!(actor.in_sync_method.remote().get().expect("a call"), ALL_WAITS);
    assert_eq!(actor.in_async_method.remote().get().expect("a call"), ALL_WAITS);
    assert_eq!(actor.awaiting.remote().get().expect("await is the way"), 40);
    drop(actor);
    journal.expect(&ALL_WAITS.to_string());
}

pub(crate) fn a_class_on_shared_threads_may_not_block(env: &Env) {
    struct Small {
        there: ObjectRef<i64>,
    }
    #[remote(isolation = "shared")]
    impl Small {
        pub(crate) fn new(there: ObjectRef<i64>) -> Self {
            Self { there }
        }
        pub(crate) fn try_all(&self) -> usize {
            refusals(&self.there)
        }
    }
    let _running = env.start();
    let small = Small::remote(put(put(1).expect("put")).expect("put"));
    assert_eq!(small.try_all.remote().get().expect("a call"), ALL_WAITS);
}

pub(crate) fn streams_are_not_read_by_blocking_in_an_async_class(env: &Env) {
    struct Consumer;
    #[remote]
    impl Consumer {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn block(&self) -> mobula::Result<i64> {
            numbers::remote().next().expect("a ref").into_future().await
        }
        pub(crate) async fn flow(&self) -> mobula::Result<i64> {
            let mut numbers = numbers::remote();
            let mut sum = 0;
            while let Some(number) = crate::common::next(&mut numbers).await {
                sum += number.await?;
            }
            Ok(sum)
        }
    }
    #[remote]
    fn numbers() -> impl Iterator<Item = i64> {
        1..4
    }
    let _running = env.start();
    let consumer = Consumer::remote();
    assert_fails(consumer.block.remote().get(), ErrorKind::BlockingInAsync);
    assert_eq!(consumer.flow.remote().get().expect("awaited"), 6);
}
