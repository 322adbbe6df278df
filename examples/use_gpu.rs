//! GPUs in worker processes: `CUDA_VISIBLE_DEVICES` names those that were granted, and no other.
//!
//! Run it with `cargo run --release --example use_gpu`. GPUs are counted here, not driven, so it needs none; a
//! library that drives them sees in a worker what the variable names. What a worker prints appears here, marked
//! with who said it.

use mobula::prelude::*;

/// The devices that a library would see.
fn visible() -> String {
    std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_else(|_| "not set".into())
}

#[remote(num_gpus = 1, isolation = "process")]
fn use_gpu() {
    println!("gpu_ids(): {:?}, CUDA_VISIBLE_DEVICES: {}", mobula::gpu_ids(), visible());
}

/// Keeps its GPUs as long as it lives.
struct GpuActor {
    greeting: String,
}

#[remote(num_gpus = 1, isolation = "process")]
impl GpuActor {
    pub(crate) fn new() -> Self {
        Self { greeting: format!("This actor is allowed to use GPUs {:?}.", mobula::gpu_ids()) }
    }

    /// The GPUs, and the devices that a library would see.
    pub(crate) fn greet(&self) -> String {
        format!("{} CUDA_VISIBLE_DEVICES: {}", self.greeting, visible())
    }
}

fn main() -> mobula::Result<()> {
    let _session = Config::new().num_gpus(4.0).init()?;

    use_gpu::remote().get()?;
    use_gpu::options().num_gpus(2.0).remote().get()?;

    let actors = [GpuActor::remote(), GpuActor::remote()];
    for greeting in mobula::get(&actors.each_ref().map(|actor| actor.greet.remote()))? {
        println!("{greeting}");
    }
    // Two are left.
    use_gpu::options().num_gpus(2.0).remote().get()
}
