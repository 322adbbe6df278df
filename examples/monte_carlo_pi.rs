//! Estimates pi by throwing darts at a square: tasks throw them and tell an actor how far they are.
//!
//! Run it with `cargo run --release --example monte_carlo_pi -- --compare`. The program asks the actor how
//! far the tasks are and prints `Progress: n%` lines, or draws a bar on a terminal. It ends with the estimate
//! and the samples per second. `--compare` does the same work with rayon, too, and prints the ratio.

use std::collections::HashMap;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use indicatif::ProgressBar;
use mobula::prelude::*;
use rayon::prelude::*;

/// Estimates pi from random samples.
#[derive(Parser)]
struct Options {
    /// Tasks that take samples; by default one for each CPU
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    workers: Option<u64>,
    /// Samples of all of them together
    #[arg(long, default_value_t = 200_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    samples: u64,
    /// Take the same samples with rayon, in turn, and print the ratio of the times
    #[arg(long)]
    compare: bool,
}

/// Samples between two reports of a task.
const REPORT_EVERY: u64 = 1_000_000;
/// How often the program asks how far the tasks are.
const POLL_EVERY: Duration = Duration::from_millis(100);
/// Pairs of runs in a comparison; the median is told.
const ROUNDS: usize = 5;

/// Knows how many samples each task has taken.
pub struct ProgressActor {
    total_samples: u64,
    samples_by_task: HashMap<u64, u64>,
}

#[remote]
impl ProgressActor {
    /// Nothing is done yet of so many samples.
    pub fn new(total_samples: u64) -> Self {
        Self { total_samples, samples_by_task: HashMap::new() }
    }

    /// A task has taken so many samples in all.
    pub fn report_progress(&mut self, task: u64, samples: u64) {
        self.samples_by_task.insert(task, samples);
    }

    /// The share of the samples that are taken, from 0 to 1.
    pub fn get_progress(&self) -> f64 {
        self.samples_by_task.values().sum::<u64>() as f64 / self.total_samples as f64
    }
}

/// Takes samples, and tells after every million how many it has. The same task takes the same samples
/// in every run.
fn count_inside(samples: u64, task: u64, report: impl Fn(u64)) -> u64 {
    let mut random = fastrand::Rng::with_seed(task);
    let mut inside = 0;
    let mut done = 0;
    while done < samples {
        let batch = REPORT_EVERY.min(samples - done);
        for _ in 0..batch {
            let (x, y) = (random.f64(), random.f64());
            inside += u64::from(x * x + y * y <= 1.0);
        }
        done += batch;
        report(done);
    }
    inside
}

#[remote]
fn sampling_task(samples: u64, task: u64, progress: &ActorHandle<ProgressActor>) -> u64 {
    count_inside(samples, task, |done| {
        progress.report_progress.remote(task, done);
    })
}

/// Shares `samples` out to `workers` as evenly as can be.
fn shares(samples: u64, workers: u64) -> Vec<u64> {
    (0..workers).map(|worker| samples / workers + u64::from(worker < samples % workers)).collect()
}

fn start(shares: &[u64], progress: &ActorHandle<ProgressActor>) -> Vec<ObjectRef<u64>> {
    shares.iter().zip(0..).map(|(&samples, task)| sampling_task::remote(samples, task, progress)).collect()
}

/// Shows how far the tasks are until all have ended.
fn watch(results: &[ObjectRef<u64>], progress: &ActorHandle<ProgressActor>) -> mobula::Result<()> {
    let bar = std::io::stdout().is_terminal().then(|| ProgressBar::new(100));
    let mut shown = None;
    let mut are_running = true;
    while are_running {
        let (_, running) = mobula::wait(results, results.len(), Some(POLL_EVERY))?;
        are_running = !running.is_empty();
        let percent = (progress.get_progress.remote().get()? * 100.0) as u64;
        match &bar {
            Some(bar) => bar.set_position(percent),
            None if shown != Some(percent) => println!("Progress: {percent}%"),
            None => {}
        }
        shown = Some(percent);
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let _session = mobula::init()?;
    let cpus = std::thread::available_parallelism().map_or(1, |cpus| cpus.get() as u64);
    let shares = shares(options.samples, options.workers.unwrap_or(cpus));

    let begin = Instant::now();
    let progress = ProgressActor::remote(options.samples);
    let results = start(&shares, &progress);
    watch(&results, &progress)?;
    let inside: u64 = mobula::get(&results)?.iter().sum();
    let seconds = begin.elapsed().as_secs_f64();

    println!("Estimated value of pi: {}", 4.0 * inside as f64 / options.samples as f64);
    println!(
        "{} samples in {seconds:.3} s: {:.0} samples/s",
        options.samples,
        options.samples as f64 / seconds
    );
    if options.compare {
        compare(&shares, inside)?;
    }
    Ok(())
}

/// Takes the same samples in turn with both, and prints both times and their ratio. Both report as often.
fn compare(shares: &[u64], expected: u64) -> Result<(), Box<dyn std::error::Error>> {
    let (mut ours, mut theirs, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let progress = ProgressActor::remote(shares.iter().sum::<u64>());
        let inside: u64 = mobula::get(&start(shares, &progress))?.iter().sum();
        let seconds = begin.elapsed().as_secs_f64();

        let begin = Instant::now();
        let taken = AtomicU64::new(0);
        let tasks = shares.par_iter().enumerate();
        let rayon_inside: u64 = tasks
            .map(|(task, &samples)| {
                count_inside(samples, task as u64, |done| {
                    taken.fetch_max(done, Ordering::Relaxed);
                })
            })
            .sum();
        let rayon_seconds = begin.elapsed().as_secs_f64();

        if (inside, rayon_inside) != (expected, expected) {
            return Err(format!("{inside} and {rayon_inside} samples inside, not {expected}").into());
        }
        ours.push(seconds);
        theirs.push(rayon_seconds);
        ratios.push(seconds / rayon_seconds);
    }
    println!(
        "mobula {:.3} s, rayon {:.3} s, ratio {:.2} (medians of {ROUNDS} rounds, same samples; the goal is 1.2 at most)",
        median(ours),
        median(theirs),
        median(ratios)
    );
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}
