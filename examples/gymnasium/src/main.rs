//! The real Gymnasium in an actor: `CartPole-v1` in lockstep with ours, and `ALE/Pong-v5` by its frames.
//!
//! Run it in this folder with `cargo run --release`, where Python has the packages `gymnasium` and `ale-py`
//! (in a virtual environment: activate it before). It is a crate of its own, so that all else needs no
//! Python. Two tasks run at once: one takes the same actions in the CartPole of Python and in the one of
//! the example `gym_environment`, and compares whatever is seen to 1e-6; the other plays Pong at random. It
//! prints how many steps were alike, the shape of Pong's frames and the score.

#[path = "../../gym_environment/actor.rs"]
mod actor;
#[path = "../../gym_environment/envs/mod.rs"]
#[allow(dead_code, reason = "the example needs more of it")]
mod envs;
mod python;

use std::error::Error;

use clap::Parser;
use mobula::prelude::*;

use actor::GymEnvironment;
use envs::{Random, Step};
use python::PyEnvironment;

/// Plays environments of the real Gymnasium.
#[derive(Parser)]
struct Options {
    /// How many episodes of CartPole are compared
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    episodes: u64,
    /// How many frames of Pong are played
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..))]
    frames: u64,
}

type Failure = Box<dyn Error + Send + Sync>;

/// Takes the same random actions in both, an episode for each seed: how many steps were taken, all alike.
#[remote]
fn compare(
    ours: &ActorHandle<GymEnvironment>,
    real: &ActorHandle<PyEnvironment>,
    episodes: u64,
) -> Result<u64, Failure> {
    let actions = real.actions.remote().get()?;
    let mut random = Random::from_seed(0);
    let mut steps = 0;
    for seed in 0..episodes {
        let (here, there) = (ours.reset.remote(Some(seed)), real.reset.remote(Some(seed)));
        let (here, there) = (here.get()?, there.get()?);
        if !are_near(&here, &there) {
            return Err(format!("seed {seed} starts at {here:?}, in Gymnasium at {there:?}").into());
        }
        let mut is_over = false;
        while !is_over {
            let action = random.below(actions);
            // Both are under way before one is waited for.
            let (here, there) = (ours.step.remote(action), real.step.remote(action));
            let (here, there) = (here.get()?, there.get()?);
            if !are_alike(&here, &there) {
                return Err(format!("in the episode of seed {seed}: {here:?}, in Gymnasium {there:?}").into());
            }
            steps += 1;
            is_over = there.is_last();
        }
    }
    Ok(steps)
}

fn are_alike(here: &Step, there: &Step) -> bool {
    are_near(&here.observation, &there.observation)
        && (here.reward - there.reward).abs() <= 1e-6
        && (here.terminated, here.truncated) == (there.terminated, there.truncated)
}

fn are_near(here: &[f32], there: &[f32]) -> bool {
    here.len() == there.len() && here.iter().zip(there).all(|(a, b)| f64::from(a - b).abs() <= 1e-6)
}

/// Plays so many frames at random: the score, and in how many frames something has moved.
#[remote]
fn play(pong: &ActorHandle<PyEnvironment>, frames: u64) -> mobula::Result<(f64, u64)> {
    let actions = pong.actions.remote().get()?;
    let mut random = Random::from_seed(0);
    let mut frame = pong.reset.remote(Some(0)).get()?;
    let (mut score, mut moved) = (0.0, 0);
    for _ in 0..frames {
        let step = pong.step.remote(random.below(actions)).get()?;
        score += step.reward;
        moved += u64::from(step.observation != frame);
        frame = if step.is_last() { pong.reset.remote(None).get()? } else { step.observation };
    }
    Ok((score, moved))
}

fn main() -> Result<(), Failure> {
    let options = Options::parse();
    python::leave_interrupts_alone()?;
    let _session = mobula::init()?;
    let ours = GymEnvironment::remote("CartPole-v1");
    let real = PyEnvironment::remote("CartPole-v1");
    real.ready().get()?;
    let pong = PyEnvironment::remote("ALE/Pong-v5");
    pong.ready().get()?;

    let compared = compare::remote(&ours, &real, options.episodes);
    let played = play::remote(&pong, options.frames);
    println!("CartPole-v1: {} steps in {} episodes, all alike", compared.get()?, options.episodes);
    let (score, moved) = played.get()?;
    let shape = pong.shape.remote().get()?;
    println!("ALE/Pong-v5: {} frames of {shape:?}, {moved} with a move; score {score}", options.frames);
    Ok(())
}
