//! Rule 8: resources are counted: what is held, shared, waited for, given back, and never to be had.

use std::collections::{BTreeMap, BTreeSet};

use mobula::prelude::*;
use mobula::{available_resources, cluster_resources, get, gpu_ids, kill};

use crate::common::{Dice, Env, Gauge, Journal, Latch, SOON, assert_fails, eventually, logged, logged_lines};
use crate::fixtures::{Counter, add, hold, hold_inside};

/// How much there is of a resource; what is absent is zero.
fn of(resources: &BTreeMap<String, f64>, name: &str) -> f64 {
    resources.get(name).copied().unwrap_or(0.0)
}

fn free(name: &str) -> f64 {
    of(&available_resources().expect("a session runs"), name)
}

fn is(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-9
}

/// The GPUs it was given, once the latch is open.
#[remote]
fn gpus_held(gauge: Gauge, latch: Latch) -> Vec<u32> {
    let _inside = gauge.enter();
    latch.wait();
    gpu_ids()
}

#[remote]
fn cpus_held() -> f64 {
    of(&mobula::context().resources, "CPU")
}

struct Device;

#[remote]
impl Device {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) fn gpus(&self) -> Vec<u32> {
        gpu_ids()
    }
    pub(crate) fn held(&self) -> BTreeMap<String, f64> {
        mobula::context().resources
    }
    pub(crate) fn crash(&mut self) {
        panic!("on {:?}", gpu_ids())
    }
}

pub(crate) fn a_task_takes_one_cpu(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(3.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let tasks: Vec<_> = (0..12).map(|_| hold_inside::remote(gauge, latch)).collect();
    gauge.expect(3);
    assert!(is(free("CPU"), 0.0));
    latch.open();
    get(&tasks).expect("all run");
    assert_eq!(gauge.peak(), 3);
    assert!(is(cpus_held::remote().get().expect("a call"), 1.0));
    assert!(eventually(|| is(free("CPU"), 3.0)), "{}", free("CPU"));
}

pub(crate) fn an_actor_takes_no_cpu_while_it_lives(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let latch = Latch::new();
    let counters: Vec<_> = (0..10).map(Counter::remote).collect();
    let held: Vec<_> = counters.iter().map(|counter| counter.hold.remote(latch)).collect();
    assert_eq!(add::remote(1, 2).get().expect("the only CPU is free"), 3);
    latch.open();
    assert_eq!(get(&held).expect("all at once"), (0..10).collect::<Vec<_>>());
}

pub(crate) fn an_actor_holds_what_it_asks_for_until_it_ends(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(2.0));
    let device = Device::options().num_cpus(1.5).remote();
    assert!(is(of(&device.held.remote().get().expect("a call"), "CPU"), 1.5));
    assert!(is(free("CPU"), 0.5));
    let blocked = add::remote(1, 1);
    assert_fails(blocked.get_timeout(std::time::Duration::from_millis(30)), ErrorKind::Timeout);
    drop(device);
    assert_eq!(blocked.get().expect("its CPU came free"), 2);
}

pub(crate) fn fractions_of_a_cpu_run_side_by_side(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let tenth = || hold_inside::options().num_cpus(0.1).remote(gauge, latch);
    let tasks: Vec<_> = (0..11).map(|_| tenth()).collect();
    // Ten tenths are one, exactly.
    gauge.expect(10);
    assert!(is(free("CPU"), 0.0));
    latch.open();
    get(&tasks).expect("all run");
    assert_eq!(gauge.peak(), 10);
}

pub(crate) fn tasks_of_several_cpus_and_of_one_share_them(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(4.0));
    let gauge = Gauge::new();
    let latches: Vec<_> = (0..30).map(|_| Latch::new()).collect();
    let tasks: Vec<_> = latches
        .iter()
        .zip([1.0, 2.0, 4.0, 0.5, 3.0].into_iter().cycle())
        .map(|(latch, cpus)| {
            latch.open();
            hold_inside::options().num_cpus(cpus).remote(gauge, *latch)
        })
        .collect();
    get(&tasks).expect("all run");
    assert!(eventually(|| is(free("CPU"), 4.0)), "{}", free("CPU"));
}

pub(crate) fn gpus_are_handed_out_by_id(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(4.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let one = gpus_held::options().num_gpus(1.0).remote(gauge, latch);
    let two = gpus_held::options().num_gpus(2.0).remote(gauge, latch);
    let none = gpus_held::remote(gauge, latch);
    gauge.expect(3);
    assert!(is(free("GPU"), 1.0));
    latch.open();
    let ids = get(&[one, two, none]).expect("ids");
    assert_eq!(ids.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 0]);
    let all: BTreeSet<_> = ids.into_iter().flatten().collect();
    assert_eq!(all.len(), 3, "nobody shares");
    assert!(all.iter().all(|id| *id < 4));
    assert_eq!(gpu_ids(), [0_u32; 0], "none in the driver");
}

pub(crate) fn fractions_of_a_gpu_share_one_id(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(9.0).num_gpus(2.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let quarter = || gpus_held::options().num_gpus(0.25).remote(gauge, latch);
    let tasks: Vec<_> = (0..9).map(|_| quarter()).collect();
    gauge.expect(8);
    assert!(is(free("GPU"), 0.0));
    latch.open();
    let mut by_id = BTreeMap::<u32, u32>::new();
    for ids in &get(&tasks).expect("ids")[..8] {
        assert_eq!(ids.len(), 1);
        *by_id.entry(ids[0]).or_default() += 1;
    }
    assert_eq!(by_id, BTreeMap::from([(0, 4), (1, 4)]));
    assert_eq!(gauge.peak(), 8);
}

pub(crate) fn fractions_leave_whole_gpus_to_others(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(9.0).num_gpus(2.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let parts: Vec<_> =
        [0.25, 0.5, 0.25].map(|part| gpus_held::options().num_gpus(part).remote(gauge, latch)).into();
    let whole = gpus_held::options().num_gpus(1.0).remote(gauge, latch);
    gauge.expect(4);
    latch.open();
    let ids: BTreeSet<_> = get(&parts).expect("ids").into_iter().flatten().collect();
    assert_eq!(ids.len(), 1, "they share one");
    assert!(ids.is_disjoint(&whole.get().expect("ids").into_iter().collect()));
}

pub(crate) fn a_whole_gpu_is_not_made_of_two_halves(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(2.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    // Two of 0.6 stand on two devices; a whole one is free on neither.
    let parts: Vec<_> = (0..2).map(|_| gpus_held::options().num_gpus(0.6).remote(gauge, latch)).collect();
    gauge.expect(2);
    let whole = gpus_held::options().num_gpus(1.0).remote(gauge, latch);
    let small = gpus_held::options().num_gpus(0.4).remote(gauge, latch);
    assert_fails(whole.get_timeout(std::time::Duration::from_millis(30)), ErrorKind::Timeout);
    latch.open();
    let ids: BTreeSet<_> = get(&parts).expect("ids").into_iter().flatten().collect();
    assert_eq!(ids, BTreeSet::from([0, 1]));
    assert_eq!(whole.get().expect("in the end").len(), 1);
    assert_eq!(small.get().expect("in the end").len(), 1);
}

pub(crate) fn an_actor_keeps_its_gpus_over_calls_and_restarts(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(2.0));
    let device = Device::options().num_gpus(1.0).max_restarts(1).remote();
    let before = device.gpus.remote().get().expect("ids");
    assert_eq!(before.len(), 1);
    let other = Device::options().num_gpus(1.0).remote();
    assert_ne!(other.gpus.remote().get().expect("ids"), before);
    assert_fails(device.crash.remote().get(), ErrorKind::TaskPanicked);
    assert_eq!(device.gpus.remote().get().expect("ids"), before);
    // A third has to wait, until one ends.
    let third = Device::options().num_gpus(1.0).remote();
    let gpus = third.gpus.remote();
    assert_fails(gpus.get_timeout(std::time::Duration::from_millis(30)), ErrorKind::Timeout);
    kill(&other).expect("a session runs");
    assert_ne!(gpus.get().expect("ids"), before);
}

pub(crate) fn an_overlapping_call_sees_what_its_actor_holds(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(1.0));
    let device = Device::options().num_gpus(1.0).max_concurrency(2).remote();
    assert_eq!(device.gpus.remote().get().expect("ids"), [0]);
    assert!(is(of(&device.held.remote().get().expect("a call"), "GPU"), 1.0));
}

pub(crate) fn an_async_method_sees_what_its_actor_holds(env: &Env) {
    struct Model;
    #[remote(num_gpus = 0.5, num_cpus = 1)]
    impl Model {
        pub(crate) fn new() -> Self {
            Self
        }
        pub(crate) async fn gpus(&self) -> Vec<u32> {
            let before = gpu_ids();
            tokio::task::yield_now().await;
            assert_eq!(before, gpu_ids());
            before
        }
    }
    let _running = env.start_with(env.config().num_gpus(1.0));
    let models = [Model::remote(), Model::remote()];
    let gpus: Vec<_> = models.iter().map(|model| model.gpus.remote()).collect();
    assert_eq!(get(&gpus).expect("ids"), [[0], [0]]);
    assert!(is(free("GPU"), 0.0) && is(free("CPU"), 2.0));
}

pub(crate) fn resources_of_ones_own_bound_what_runs(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(8.0).resource("tpu", 2.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let tasks: Vec<_> =
        (0..5).map(|_| hold_inside::options().resource("tpu", 1.0).remote(gauge, latch)).collect();
    gauge.expect(2);
    assert!(is(free("tpu"), 0.0));
    assert_eq!(add::remote(1, 1).get().expect("it needs none"), 2);
    latch.open();
    get(&tasks).expect("all run");
    assert_eq!(gauge.peak(), 2);
}

pub(crate) fn memory_is_counted_like_the_others(env: &Env) {
    let _running = env.start_with(env.config().memory(1_000));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let tasks: Vec<_> = (0..4).map(|_| hold_inside::options().memory(400).remote(gauge, latch)).collect();
    gauge.expect(2);
    assert!(is(free("memory"), 200.0), "{}", free("memory"));
    latch.open();
    get(&tasks).expect("all run");
    assert_eq!(gauge.peak(), 2);
}

pub(crate) fn what_could_never_be_had_is_infeasible_at_once(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(1.0).memory(1_000).resource("tpu", 1.0));
    let (open, nothing) = (Latch::new(), 0);
    open.open();
    let asked = [
        ("CPU: 5", "CPU: 4", hold::options().num_cpus(5.0)),
        ("GPU: 2", "GPU: 1", hold::options().num_gpus(2.0)),
        ("memory: 1001", "memory: 1000", hold::options().memory(1_001)),
        ("tpu: 2", "tpu: 1", hold::options().resource("tpu", 2.0)),
        ("fpga: 0.5", "CPU: 4", hold::options().resource("fpga", 0.5)),
    ];
    for (wanted, there, options) in asked {
        let error = assert_fails(options.remote(open, nothing).get(), ErrorKind::Infeasible);
        let text = error.message();
        assert!(text.contains(wanted) && text.contains(there), "asked {wanted}, there {there}: {text}");
    }
    // So does an actor, with each call.
    let device = Device::options().num_gpus(2.0).remote();
    for error in [
        device.gpus.remote().get().expect_err("no such device"),
        device.ready().get().expect_err("no such device"),
    ] {
        assert_eq!(error.kind(), ErrorKind::Infeasible);
        assert!(error.message().contains("GPU: 2"), "{error}");
    }
    // What is there, but not now, is waited for instead.
    let held = hold::options().num_cpus(4.0).remote(open, 7);
    assert_eq!(held.get().expect("all of them"), 7);
}

pub(crate) fn attributes_and_options_ask_alike(env: &Env) {
    #[remote(num_cpus = 2, num_gpus = 0.5, memory = "1KiB", resources(tpu = 3))]
    fn by_attribute() -> BTreeMap<String, f64> {
        mobula::context().resources
    }
    #[remote]
    fn by_options() -> BTreeMap<String, f64> {
        mobula::context().resources
    }
    let _running = env.start_with(env.config().num_gpus(1.0).memory(4_096).resource("tpu", 3.0));
    let options = by_options::options().num_cpus(2.0).num_gpus(0.5).memory(1_024).resource("tpu", 3.0);
    let (first, second) = (by_attribute::remote().get(), options.remote().get());
    let expected = [("CPU", 2.0), ("GPU", 0.5), ("memory", 1_024.0), ("tpu", 3.0)];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
    assert_eq!(first.expect("a call"), expected);
    assert_eq!(second.expect("a call"), expected);
    // What is said in the call stands over what is said on the function; the rest of that stays.
    let other = by_attribute::options().num_cpus(1.0).remote().get().expect("a call");
    assert!(is(of(&other, "CPU"), 1.0) && is(of(&other, "tpu"), 3.0), "{other:?}");
}

pub(crate) fn a_task_without_cpus_runs_where_all_are_taken(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(1.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let busy = hold_inside::remote(gauge, latch);
    gauge.expect(1);
    assert!(is(cpus_held::options().num_cpus(0.0).remote().get().expect("a call"), 0.0));
    latch.open();
    busy.get().expect("it ran");
}

pub(crate) fn the_cluster_says_what_it_has_and_what_is_free(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(2.0).memory(500).resource("tpu", 1.5));
    let expected = [("CPU", 4.0), ("GPU", 2.0), ("memory", 500.0), ("tpu", 1.5)];
    let expected: BTreeMap<_, _> = expected.into_iter().map(|(name, n)| (name.to_owned(), n)).collect();
    assert_eq!(cluster_resources().expect("a session runs"), expected);
    assert_eq!(available_resources().expect("a session runs"), expected);
    let device = Device::options().num_gpus(2.0).resource("tpu", 1.0).remote();
    device.ready().get().expect("it is built");
    assert_eq!(cluster_resources().expect("a session runs"), expected);
    assert!(is(free("GPU"), 0.0) && is(free("tpu"), 0.5));
    let nodes = mobula::nodes().expect("a session runs");
    assert_eq!(nodes.len(), 1);
    assert!(nodes[0].is_alive && nodes[0].id == mobula::context().node);
    assert_eq!(nodes[0].resources, expected);
    assert_eq!(nodes[0].ip, mobula::node_ip());
    drop(device);
    assert!(eventually(|| available_resources().expect("a session runs") == expected));
}

pub(crate) fn what_a_failed_task_or_actor_held_comes_back(env: &Env) {
    #[remote]
    fn crash() {
        panic!("with everything");
    }
    let _running = env.start_with(env.config().num_gpus(1.0));
    for _ in 0..5 {
        let failed = crash::options().num_cpus(4.0).num_gpus(1.0).remote();
        assert_fails(failed.get(), ErrorKind::TaskPanicked);
        let device = Device::options().num_gpus(1.0).num_cpus(4.0).remote();
        assert_fails(device.crash.remote().get(), ErrorKind::TaskPanicked);
    }
    assert!(eventually(|| is(free("GPU"), 1.0) && is(free("CPU"), 4.0)), "{:?}", available_resources());
}

pub(crate) fn a_demand_that_must_wait_lets_others_pass(env: &Env) {
    #[remote]
    fn parent(gauge: Gauge, latch: Latch) -> mobula::Result<i64> {
        let inside = gauge.enter();
        latch.wait();
        drop(inside);
        add::options().num_gpus(0.25).remote(1, 1).get()
    }
    let _running = env.start_with(env.config().num_gpus(2.0));
    let (gauge, latch) = (Gauge::new(), Latch::new());
    let parent = parent::options().num_gpus(0.5).remote(gauge, latch);
    gauge.expect(1);
    let all_of_them = add::options().num_gpus(2.0).remote(2, 2);
    latch.open();
    // The large one waits for the parent, which waits for a child, for which there is room.
    assert_eq!(parent.get_timeout(SOON).expect("its child came to its turn"), 2);
    assert_eq!(all_of_them.get().expect("in the end"), 4);
}

pub(crate) fn whatever_happens_all_resources_come_back(env: &Env) {
    #[remote]
    fn end_somehow(how: usize, latch: Latch) -> Result<usize, String> {
        latch.wait();
        match how % 3 {
            0 => Ok(how),
            1 => Err("it failed".into()),
            _ => panic!("it crashed"),
        }
    }
    #[remote]
    fn wait_for_a_child() -> mobula::Result<i64> {
        add::remote(1, 1).get()
    }
    let _running = env.start_with(env.config().num_gpus(2.0).resource("tpu", 3.0).memory(1_000));
    let before = available_resources().expect("a session runs");
    let (mut dice, mut calls, mut actors) = (Dice(3), Vec::new(), Vec::new());
    let mut parents = Vec::new();
    for n in 0..600_usize {
        let latch = Latch::new();
        let options = end_somehow::options().num_cpus([0.5, 1.0, 2.0, 4.0][dice.roll(4)]);
        let options = options.num_gpus([0.0, 0.25, 0.5, 1.0, 2.0][dice.roll(5)]);
        let options =
            options.resource("tpu", [0.0, 1.0, 3.0][dice.roll(3)]).memory([0, 300, 1_000][dice.roll(3)]);
        let options = match dice.roll(4) {
            0 => options.timeout(std::time::Duration::from_millis(1)),
            1 => options.retry_on_error(true).max_retries(1),
            _ => options,
        };
        let call = options.remote(n, latch);
        if dice.roll(3) == 0 {
            mobula::cancel(&call).expect("a session runs");
        }
        if dice.roll(6) == 0 {
            actors.push(Device::options().num_gpus(0.5).num_cpus(0.5).remote());
        }
        if dice.roll(6) == 0 {
            parents.push(wait_for_a_child::options().num_gpus(0.5).remote());
        }
        if dice.roll(5) == 0 {
            actors.clear();
        }
        latch.open();
        calls.push(call);
    }
    drop(actors);
    mobula::wait(&calls, calls.len(), None).expect("each ends somehow");
    get(&parents).expect("none of them failed");
    drop((calls, parents));
    let is_as_before = || available_resources().expect("a session runs") == before;
    assert!(eventually(is_as_before), "{:?}", available_resources());
}

pub(crate) fn gpus_on_threads_are_spoken_of_once(env: &Env) {
    // Once in the life of a process, so in one of its own.
    env.in_a_process_of_its_own(&[], || {
        let _running = env.start_with(env.config().num_gpus(1.0));
        let (gauge, open) = (Gauge::new(), Latch::new());
        open.open();
        gpus_held::remote(gauge, open).get().expect("a call without");
        assert_eq!(logged_lines("CUDA_VISIBLE_DEVICES"), 0, "{}", logged());
        for _ in 0..3 {
            gpus_held::options().num_gpus(1.0).remote(gauge, open).get().expect("a call");
            Device::options().num_gpus(0.5).remote().gpus.remote().get().expect("a call");
        }
        assert_eq!(logged_lines("CUDA_VISIBLE_DEVICES"), 1, "{}", logged());
    });
}

pub(crate) fn a_cancelled_wait_for_resources_lets_others_go_first(env: &Env) {
    let _running = env.start_with(env.config().num_cpus(2.0));
    let (gauge, latch, journal) = (Gauge::new(), Latch::new(), Journal::new());
    let first = hold_inside::remote(gauge, latch);
    gauge.expect(1);
    // It stands first in line and can not be served; what comes later must not wait for it for ever.
    let large = crate::fixtures::note::options().num_cpus(2.0).remote(journal, "large");
    let small = add::options().num_cpus(0.5).remote(1, 1);
    mobula::cancel(&large).expect("a session runs");
    assert_fails(large.get(), ErrorKind::Cancelled);
    assert_eq!(small.get().expect("it has room"), 2);
    latch.open();
    first.get().expect("it ran");
    assert!(journal.notes().is_empty());
}
