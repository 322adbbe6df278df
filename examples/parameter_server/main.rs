//! A parameter server: workers compute gradients, an actor applies them, and a classifier of digits learns.
//!
//! Run it with `cargo run --release --example parameter_server -- --variant sync`, or `async`. In the first
//! one all workers compute with the same weights, and the server applies the sum of what they say; in the
//! other each worker goes on as soon as its own gradient was applied, so that none waits for a slower one.
//! The digits are made by the program, or read from a folder with the four files of MNIST (`--data DIR`).
//!
//! It shows the accuracy on images that were held out (a bar on a terminal, else lines, on standard error)
//! until `--accuracy` is reached; the last line is the variant, the time, and that accuracy. If it is not
//! reached within `--gradients`, this is an error.

mod data;
mod idx;
mod network;
mod progress;
mod random;
mod server;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use mobula::prelude::*;

use data::Dataset;
use network::Weights;
use progress::Progress;
use server::{DataWorker, ParameterServer, accuracy, add};

/// Gradients from one test to the next.
const GRADIENTS_PER_TEST: usize = 100;
/// How far one gradient moves the weights.
const RATE: f32 = 0.2;

/// Trains a classifier of digits with a parameter server.
#[derive(Parser)]
struct Options {
    /// Whether the workers keep step with each other
    #[arg(long, value_enum, default_value_t = Variant::Sync)]
    variant: Variant,
    /// How many workers compute gradients
    #[arg(long, default_value_t = 4, value_parser = at_least::<1>)]
    workers: usize,
    /// A folder with the four files of MNIST, as they are or with .gz
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How many images are made where no folder is given; the last tenth is held out
    #[arg(long, default_value_t = 20_000, value_parser = at_least::<10>)]
    samples: usize,
    /// The accuracy to reach
    #[arg(long, default_value_t = 0.95, value_parser = share)]
    accuracy: f64,
    /// How many gradients are applied at most
    #[arg(long, default_value_t = 40_000, value_parser = at_least::<1>)]
    gradients: usize,
}

#[derive(Clone, Copy, ValueEnum)]
enum Variant {
    Sync,
    Async,
}

impl Variant {
    /// How far one gradient may move the weights. Without step it comes late by what the other workers have
    /// changed meanwhile: the more there are, the less it may do, or they would overshoot together.
    fn rate(self, workers: usize) -> f32 {
        match self {
            Self::Sync => RATE,
            Self::Async => RATE.min(4.0 * RATE / workers as f32),
        }
    }
}

fn at_least<const LEAST: usize>(text: &str) -> Result<usize, String> {
    let number: usize = text.parse().map_err(|_| "not a whole number".to_owned())?;
    if number < LEAST { Err(format!("at least {LEAST}")) } else { Ok(number) }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a number from 0 to 1".to_owned())
}

/// Tests the weights now and then, until they are good enough.
struct Examiner {
    images: ObjectRef<Dataset>,
    goal: f64,
    gradients: usize,
    gradients_max: usize,
    accuracy: f64,
    progress: Progress,
}

impl Examiner {
    fn is_content(&self) -> bool {
        self.accuracy >= self.goal
    }

    /// So many gradients more have led to these weights; whether to go on.
    fn wants_more(&mut self, gradients: usize, weights: &ObjectRef<Weights>) -> mobula::Result<bool> {
        let tests = self.gradients / GRADIENTS_PER_TEST;
        self.gradients += gradients;
        let is_last = self.gradients >= self.gradients_max;
        if is_last || self.gradients / GRADIENTS_PER_TEST > tests {
            self.accuracy = accuracy::remote(weights, &self.images).get()?;
            self.progress.show(self.gradients, self.accuracy);
        }
        Ok(!is_last && !self.is_content())
    }
}

/// Round by round: all workers have the same weights, and the sum of their gradients makes the next ones.
fn train_sync(
    server: &ActorHandle<ParameterServer>,
    workers: &[ActorHandle<DataWorker>],
    examiner: &mut Examiner,
) -> mobula::Result<()> {
    let mut weights = server.weights.remote();
    loop {
        let gradients = workers.iter().map(|worker| worker.compute_gradient.remote(&weights));
        let sum = mobula::tree_reduce(gradients, add::remote).expect("there is a worker");
        weights = server.apply_gradient.remote(sum);
        if !examiner.wants_more(workers.len(), &weights)? {
            return Ok(());
        }
    }
}

/// Whichever gradient is there first is applied, and its worker alone goes on with the new weights.
fn train_async(
    server: &ActorHandle<ParameterServer>,
    workers: &[ActorHandle<DataWorker>],
    examiner: &mut Examiner,
) -> mobula::Result<()> {
    let weights = server.weights.remote();
    let mut gradients: Vec<_> =
        workers.iter().map(|worker| worker.compute_gradient.remote(&weights)).collect();
    loop {
        let (ready, others) = mobula::wait(gradients, 1, None)?;
        let worker = &workers[ready[0].view()?.worker];
        let weights = server.apply_gradient.remote(&ready[0]);
        gradients = others;
        gradients.push(worker.compute_gradient.remote(&weights));
        if !examiner.wants_more(1, &weights)? {
            return Ok(());
        }
    }
}

fn train(options: &Options) -> Result<(), Box<dyn Error>> {
    let data = match &options.data {
        Some(folder) => data::open(folder)?,
        None => data::generate(options.samples),
    };
    let _session = mobula::init()?;
    let server = ParameterServer::remote(data.train.pixels, options.variant.rate(options.workers));
    let train = mobula::put(data.train)?;
    let workers: Vec<_> =
        (0..options.workers).map(|index| DataWorker::remote(index, options.workers, &train)).collect();
    let mut examiner = Examiner {
        images: mobula::put(data.test)?,
        goal: options.accuracy,
        gradients: 0,
        gradients_max: options.gradients,
        accuracy: 0.0,
        progress: Progress::new(options.gradients),
    };

    let start = Instant::now();
    let name = match options.variant {
        Variant::Sync => train_sync(&server, &workers, &mut examiner).map(|()| "sync")?,
        Variant::Async => train_async(&server, &workers, &mut examiner).map(|()| "async")?,
    };
    let seconds = start.elapsed().as_secs_f64();
    let Examiner { gradients, accuracy, goal, progress, .. } = examiner;
    drop(progress); // The bar goes before the last line comes.
    if accuracy < goal {
        return Err(format!("accuracy {accuracy:.3} after {gradients} gradients, not {goal}").into());
    }
    println!(
        "{name}: accuracy {accuracy:.3} after {seconds:.2} s, {gradients} gradients by {} workers",
        workers.len()
    );
    Ok(())
}

fn main() -> ExitCode {
    match train(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
