//! Simulators as actors: eight environments of Gymnasium's, each played by a task of its own, in parallel.
//!
//! Run it with `cargo run --release --example gym_environment -- --env MountainCar-v0`. An actor keeps the
//! state of an environment; a task that was given its handle plays an episode with it, step by step. It
//! prints the return of each episode, the sum of its rewards, first of a policy that acts at random, then
//! of one written by hand, and how many steps that were. `envs` has the environments: they start, move,
//! reward and end as Gymnasium's of the same name do, which `tests/gym_environment.rs` compares.

mod actor;
mod envs;
mod policy;

use std::time::Instant;

use clap::Parser;
use mobula::prelude::*;

use actor::GymEnvironment;
use envs::{Random, UnknownEnv, make};
use policy::Policy;

/// Plays environments of Gymnasium's in parallel.
#[derive(Parser)]
struct Options {
    /// Which environment: CartPole-v1 or MountainCar-v0
    #[arg(long, default_value = "CartPole-v1", value_parser = known)]
    env: String,
    /// How many of them
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=1000))]
    envs: u64,
    /// How many episodes each of them plays with each policy
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    episodes: u64,
    /// The seed of the first episode; the others have those after it
    #[arg(long, default_value_t = 0)]
    seed: u32,
}

fn known(name: &str) -> Result<String, UnknownEnv> {
    make(name).map(|_| name.into())
}

/// The return of an episode, and its steps.
#[remote]
fn play(env: &ActorHandle<GymEnvironment>, policy: Policy, seed: u64) -> mobula::Result<(f64, u64)> {
    let mut random = Random::from_seed(seed);
    let mut observation = env.reset.remote(Some(seed)).get()?;
    let (mut sum, mut steps) = (0.0, 0);
    loop {
        let action = policy.choose(&observation, &mut random);
        let step = env.step.remote(action).get()?;
        sum += step.reward;
        steps += 1;
        if step.is_last() {
            return Ok((sum, steps));
        }
        observation = step.observation;
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let options = Options::parse();
    let _session = mobula::init()?;
    let envs: Vec<_> = (0..options.envs).map(|_| GymEnvironment::remote(&options.env)).collect();
    println!("{}: {} environments, {} episodes each", options.env, options.envs, options.episodes);

    let start = Instant::now();
    let mut steps_all = 0;
    for policy in Policy::all(&options.env)? {
        println!("returns of the {policy} policy:");
        let mut sum_all = 0.0;
        for episode in 0..options.episodes {
            let seeds = u64::from(options.seed) + episode * options.envs..;
            let plays: Vec<_> =
                envs.iter().zip(seeds).map(|(env, seed)| play::remote(env, policy, seed)).collect();
            for (sum, steps) in mobula::get(&plays)? {
                print!("{sum:>6}");
                sum_all += sum;
                steps_all += steps;
            }
            println!();
        }
        println!("{:.1} on average", sum_all / (options.envs * options.episodes) as f64);
    }
    let seconds = start.elapsed().as_secs_f64();
    println!("{steps_all} steps in {seconds:.2} s: {:.0} steps/s", steps_all as f64 / seconds);
    Ok(())
}
