//! What options say and where.

use std::collections::BTreeMap;
use std::time::Duration;

use mobula::prelude::*;

use crate::common::{Env, assert_fails};
use crate::fixtures::{Counter, add};

pub(crate) fn every_option_of_a_function_can_be_said_in_a_call(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(1.0).resource("tpu", 1.0));
    let options = add::options()
        .num_cpus(0.5)
        .num_gpus(0.5)
        .memory(1)
        .resource("tpu", 0.5)
        .max_retries(1)
        .retry_on_error(true)
        .isolation("thread")
        .timeout(Duration::from_secs(30))
        .name("the sum")
        .placement("spread");
    assert_eq!(options.remote(1, 2).get().expect("a sum"), 3);
}

pub(crate) fn every_option_of_a_class_can_be_said_where_it_is_made(env: &Env) {
    let _running = env.start_with(env.config().num_gpus(1.0).resource("tpu", 1.0));
    let options = Counter::options()
        .num_cpus(0.5)
        .num_gpus(0.5)
        .memory(1)
        .resource("tpu", 0.5)
        .max_restarts(1)
        .max_task_retries(1)
        .retry_on_error(true)
        .max_concurrency(2)
        .max_pending_calls(10)
        .isolation("thread")
        .timeout(Duration::from_secs(30))
        .name("the counter")
        .namespace("counters")
        .get_if_exists()
        .placement("pack");
    let counter = options.remote(1);
    let increment = counter.increment.options().timeout(Duration::from_secs(30)).max_task_retries(2);
    assert_eq!(increment.retry_on_error(false).remote().get().expect("a count"), 2);
}

pub(crate) fn every_option_can_be_an_attribute(env: &Env) {
    #[remote(
        num_cpus = 0.5,
        num_gpus = 0.5,
        memory = "1KiB",
        resources(tpu = 0.5),
        max_retries = 1,
        retry_on_error,
        isolation = "thread",
        timeout = "30s",
        name = "the sum",
        placement = "spread"
    )]
    fn sum(x: i64, y: i64) -> i64 {
        x + y
    }
    struct Sums(i64);
    #[remote(
        num_cpus = 0.5,
        num_gpus = 0.5,
        memory = 1_024,
        resources(tpu = 0.5),
        max_restarts = 1,
        max_task_retries = 1,
        retry_on_error = true,
        max_concurrency = 2,
        max_pending_calls = 10,
        isolation = "thread",
        timeout = "30s",
        name = "the sums",
        namespace = "sums",
        get_if_exists,
        placement = "pack"
    )]
    impl Sums {
        pub(crate) fn new(value: i64) -> Self {
            Self(value)
        }
        #[remote(max_task_retries = 2, retry_on_error = false, timeout = "10s")]
        pub(crate) fn add(&mut self, x: i64) -> i64 {
            self.0 += x;
            self.0
        }
    }
    let _running = env.start_with(env.config().num_gpus(1.0).resource("tpu", 1.0));
    assert_eq!(sum::remote(1, 2).get().expect("a sum"), 3);
    let sums = Sums::remote(1);
    assert_eq!(sums.add.remote(1).get().expect("a sum"), 2);
    // The name stands on the class: a second one is the first.
    assert_eq!(Sums::remote(100).add.remote(1).get().expect("a sum"), 3);
}

pub(crate) fn a_timeout_for_ever_is_none(env: &Env) {
    let _running = env.start();
    assert_eq!(add::options().timeout(Duration::MAX).remote(1, 2).get().expect("a sum"), 3);
    let counter = Counter::remote(0);
    assert_eq!(counter.increment.options().timeout(Duration::MAX).remote().get().expect("a count"), 1);
}

pub(crate) fn a_wrong_option_on_an_attribute_that_compiles_fails_the_call(env: &Env) {
    const NOTHING: f64 = -1.0;
    #[remote(num_cpus = NOTHING)]
    fn negative() {}
    let _running = env.start();
    assert_fails(negative::remote().get(), ErrorKind::InvalidOption);
    negative::options().num_cpus(1.0).remote().get().expect("what is said in the call stands over it");
}

pub(crate) fn every_setting_of_a_session_can_be_made(env: &Env) {
    let config = env.config().num_cpus(1.5).num_gpus(2.0).resource("tpu", 0.5).memory(1 << 30);
    let config = config.object_store_memory(1 << 28).namespace("here").log_level("warn").env("KEY", "value");
    let running = env.start_with(config.shutdown_grace(Duration::from_secs(1)));
    let made = [("CPU", 1.5), ("GPU", 2.0), ("memory", f64::from(1 << 30)), ("tpu", 0.5)];
    let made: BTreeMap<_, _> = made.into_iter().map(|(name, amount)| (name.to_owned(), amount)).collect();
    assert_eq!(mobula::cluster_resources().expect("a session runs"), made);
    let counter = Counter::options().name("one").namespace("here").remote(1);
    assert_eq!(mobula::get_actor::<Counter>("one").expect("the session's namespace").id(), counter.id());
    drop(counter);
    drop(running);
}
