//! Every option on attributes.
#![deny(warnings)]

use mobula::prelude::*;
use std::time::Duration;

const CPUS: usize = 3;
const NAME: &str = "a name";

#[remote(
    num_cpus = CPUS - 1,
    num_gpus = 0.25,
    memory = "1.5GiB",
    resources(tpu = 2, "accelerator:A100" = 0.5),
    max_retries = 5,
    retry_on_error = true,
    max_calls = 1,
    isolation = "process",
    timeout = "30s",
    name = NAME,
    env(RUST_LOG = "info", PATH = NAME),
    placement = "spread",
)]
fn function() {}

#[remote(memory = 1_024, timeout = Duration::from_secs(1), retry_on_error, num_cpus = 1, max_retries = u32::MAX)]
fn others() {}

struct Class;

#[remote(
    num_cpus = 1.0,
    num_gpus = 1,
    memory = 4 << 30,
    resources(tpu = CPUS),
    max_restarts = 2,
    max_task_retries = 3,
    max_concurrency = 4,
    max_pending_calls = 5,
    max_calls = 6,
    isolation = "shared",
    name = "one",
    namespace = NAME,
    detached,
    get_if_exists = false,
    env(A = "x"),
    placement = "spread",
    timeout = "1.5h",
    retry_on_error = CPUS > 2,
)]
impl Class {
    pub fn new() -> Self {
        Self
    }

    #[remote(max_task_retries = 1, retry_on_error = false, timeout = "100ms")]
    pub fn method(&self) {}

    #[mobula::remote]
    pub fn plain(&self) {}
}

struct Flags;

#[remote(detached = true, get_if_exists = true, isolation = "thread", max_concurrency = CPUS)]
impl Flags {
    fn new() -> Self {
        Self
    }
}

fn main() {
    function::remote();
    others::remote();
    Class::remote().method.remote();
    Flags::remote();
}
