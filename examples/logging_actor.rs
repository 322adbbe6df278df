//! A log that several tasks write to: an actor keeps a dictionary of lists, one for each experiment.
//!
//! Run it with `cargo run --release --example logging_actor`. Three experiments run side by side and log each
//! of their iterations. The program looks in while they run and prints how long each list is, and the lists
//! themselves at the end: they grow three by three, since three tasks write to them, yet in turn, since
//! an actor runs one method at a time.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use clap::Parser;
use mobula::prelude::*;

/// Three experiments that log to one actor.
#[derive(Parser)]
struct Options {
    /// Iterations of each experiment
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    iterations: u32,
    /// Milliseconds that an iteration takes
    #[arg(long, default_value_t = 300)]
    iteration_ms: u64,
}

/// The messages of each experiment.
type Logs = BTreeMap<u32, Vec<String>>;

/// Keeps the messages of all experiments.
#[derive(Default)]
pub struct LoggingActor {
    logs: Logs,
}

#[remote]
impl LoggingActor {
    /// No messages yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a message to the list of an experiment.
    pub fn log(&mut self, index: u32, message: String) {
        self.logs.entry(index).or_default().push(message);
    }

    /// All messages so far.
    pub fn get_logs(&self) -> Logs {
        self.logs.clone()
    }
}

#[remote]
fn run_experiment(index: u32, logging_actor: &ActorHandle<LoggingActor>, iterations: u32, time: Duration) {
    for i in 0..iterations {
        sleep(time);
        logging_actor.log.remote(index, format!("On iteration {i}"));
    }
}

fn main() -> mobula::Result<()> {
    let options = Options::parse();
    let time = Duration::from_millis(options.iteration_ms);
    // A task holds its CPU while it sleeps: with three, all experiments run at once on any machine.
    let _session = Config::new().num_cpus(3.0).init()?;

    let logging_actor = LoggingActor::remote();
    let experiments: Vec<_> =
        (0..3).map(|i| run_experiment::remote(i, &logging_actor, options.iterations, time)).collect();

    // Half an iteration behind the experiments, so that it does not look while they write.
    sleep(time / 2);
    let mut are_running = true;
    while are_running {
        let (_, running) = mobula::wait(&experiments, experiments.len(), Some(time))?;
        are_running = !running.is_empty();
        let logs = logging_actor.get_logs.remote().get()?;
        let lengths: Vec<_> = logs.values().map(Vec::len).collect();
        println!("{} messages: {lengths:?}", lengths.iter().sum::<usize>());
    }
    mobula::get(&experiments)?;

    for (experiment, messages) in logging_actor.get_logs.remote().get()? {
        println!("experiment {experiment}: {messages:?}");
    }
    Ok(())
}
