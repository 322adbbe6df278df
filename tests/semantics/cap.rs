//! Rule 4, where all threads are in use: what may run inside of the wait for it, and what may not.

use mobula::Config;
use mobula::prelude::*;

use crate::common::{Env, assert_fails, eventually};
use crate::fixtures::add;

#[remote]
async fn answer() -> i64 {
    tokio::task::yield_now().await;
    42
}

/// One thread for all tasks, and one CPU.
fn config(env: &Env) -> Config {
    env.config().num_cpus(1.0).max_threads(1)
}

/// The pool is as it was before whatever happened.
fn assert_serves() {
    assert_eq!(add::remote(2, 2).get().expect("the pool is as before"), 4);
    assert_eq!(answer::remote().get().expect("the pool is as before"), 42);
    let free = || mobula::available_resources().expect("a session runs").get("CPU").copied();
    assert!(eventually(|| free() == Some(1.0)), "{:?}", free());
}

pub(crate) fn what_waits_for_its_arguments_does_not_run_before_they_are_there(env: &Env) {
    #[remote]
    fn add_later() -> mobula::Result<i64> {
        let first = add::remote(1, 1);
        let second = add::remote(add::remote(&first, 1), add::remote(1, &first));
        second.get()
    }
    let _running = env.start_with(config(env));
    assert_eq!(add_later::remote().get().expect("each in its turn"), 6);
    assert_serves();
}

pub(crate) fn a_task_of_a_process_does_not_run_in_its_waiters(env: &Env) {
    #[remote(isolation = "process")]
    fn own_id() -> u32 {
        std::process::id()
    }
    #[remote]
    fn other_id() -> mobula::Result<u32> {
        own_id::remote().get()
    }
    if !cfg!(feature = "process") {
        return;
    }
    let running = env.start_with(config(env));
    assert_fails(other_id::remote().get(), ErrorKind::TooManyThreads);
    assert_serves();
    drop(running);
    let _running = env.start_with(env.config().max_threads(2));
    assert_ne!(other_id::remote().get().expect("a thread is there"), std::process::id());
}

pub(crate) fn a_task_with_a_gpu_does_not_run_without(env: &Env) {
    #[remote(num_gpus = 1)]
    fn gpus() -> Vec<u32> {
        mobula::gpu_ids()
    }
    #[remote]
    fn ask_for_gpus() -> mobula::Result<Vec<u32>> {
        gpus::remote().get()
    }
    let running = env.start_with(config(env).num_gpus(1.0));
    assert_fails(ask_for_gpus::remote().get(), ErrorKind::TooManyThreads);
    assert_serves();
    drop(running);
    let _running = env.start_with(env.config().num_gpus(1.0).max_threads(2));
    assert_eq!(ask_for_gpus::remote().get().expect("a thread is there"), [0]);
}

pub(crate) fn a_task_of_several_cpus_does_not_run_on_one(env: &Env) {
    #[remote(num_cpus = 2)]
    fn cpus() -> Option<f64> {
        mobula::context().resources.get("CPU").copied()
    }
    #[remote]
    fn ask_for_cpus() -> mobula::Result<Option<f64>> {
        cpus::remote().get()
    }
    let running = env.start_with(config(env).num_cpus(2.0));
    assert_fails(ask_for_cpus::remote().get(), ErrorKind::TooManyThreads);
    drop(running);
    let _running = env.start_with(env.config().num_cpus(2.0).max_threads(2));
    assert_eq!(ask_for_cpus::remote().get().expect("a thread is there"), Some(2.0));
}

pub(crate) fn an_async_task_runs_in_the_wait_of_a_sync_one_only(env: &Env) {
    #[remote]
    fn get_answer() -> mobula::Result<i64> {
        answer::remote().get()
    }
    #[remote]
    async fn await_answer() -> mobula::Result<i64> {
        answer::remote().await
    }
    #[remote]
    async fn get_answer_in_async() -> mobula::Result<i64> {
        answer::remote().get()
    }
    #[remote]
    async fn await_sum() -> mobula::Result<i64> {
        add::remote(1, 2).await
    }
    let _running = env.start_with(config(env));
    assert_eq!(get_answer::remote().get().expect("no other future runs on the thread"), 42);
    assert_eq!(await_sum::remote().get().expect("what is sync runs inside of a future"), 3);
    for call in [await_answer::remote(), get_answer_in_async::remote()] {
        assert_fails(call.get(), ErrorKind::TooManyThreads);
        assert_serves();
    }
}

/// The first of the queue, which the waiter may not run, is there for others afterwards.
pub(crate) fn what_may_not_run_in_a_wait_lets_others_pass_and_is_not_lost(env: &Env) {
    #[remote]
    async fn await_last() -> mobula::Result<ObjectRef<i64>> {
        let first = answer::remote();
        let last = add::remote(1, add::remote(1, 1)).await?;
        assert_eq!(last, 3);
        Ok(first)
    }
    let _running = env.start_with(config(env));
    let first = await_last::remote().get().expect("what it needs may run");
    assert_eq!(first.get().expect("it had its turn"), 42);
    drop(first);
    assert_serves();
}

pub(crate) fn what_runs_in_a_wait_has_one_cpu_of_its_waiters_and_nothing_else(env: &Env) {
    type Holdings = (Vec<u32>, Option<f64>);
    #[remote]
    fn holdings() -> Holdings {
        (mobula::gpu_ids(), mobula::context().resources.get("CPU").copied())
    }
    #[remote(num_cpus = 2, num_gpus = 1)]
    fn ask_for_holdings() -> mobula::Result<[Holdings; 2]> {
        Ok([holdings::remote().get()?, holdings()])
    }
    let _running = env.start_with(config(env).num_cpus(2.0).num_gpus(1.0));
    let [inside, own] = ask_for_holdings::remote().get().expect("it runs in the wait");
    assert_eq!(inside, (vec![], Some(1.0)));
    assert_eq!(own, (vec![0], Some(2.0)));
}
