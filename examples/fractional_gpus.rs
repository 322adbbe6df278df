//! A GPU shared by four tasks, a quarter each: the fifth waits until one of them has ended.
//!
//! Run it with `cargo run --release --example fractional_gpus`. GPUs are counted, not driven, so it needs none.
//! It prints when each task started, beside the first one, and which GPU it was given.

use std::thread::sleep;
use std::time::{Duration, SystemTime};

use mobula::prelude::*;

/// How long each task keeps its part of the GPU.
const TIME: Duration = Duration::from_millis(400);

#[remote(num_gpus = 0.25)]
fn use_gpu() -> (SystemTime, Vec<u32>) {
    let start = SystemTime::now();
    sleep(TIME);
    (start, mobula::gpu_ids())
}

fn main() -> mobula::Result<()> {
    // CPUs for all five: it is the GPU that the fifth waits for.
    let _session = Config::new().num_cpus(5.0).num_gpus(1.0).init()?;

    let tasks: Vec<_> = (0..5).map(|_| use_gpu::remote()).collect();
    let mut starts = mobula::get(&tasks)?;
    starts.sort();
    let first = starts[0].0;
    for (start, gpus) in &starts {
        let later = start.duration_since(first).unwrap_or_default();
        println!("started after {} ms on GPU {gpus:?}", later.as_millis());
    }
    Ok(())
}
