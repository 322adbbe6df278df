//! Environments that move, reward and end as Gymnasium's of the same name do.
//!
//! An environment is its dynamics, in a file of its own, inside a `TimeLimit`, which ends long episodes and
//! refuses what is out of order. The constants and the order of the arithmetic are Gymnasium's, so that
//! the states are the same to the last bit where the cosines of both are.

mod cart_pole;
mod mountain_car;
mod random;

use std::error::Error;
use std::fmt;

use serde::{Deserialize, Serialize};

pub(crate) use random::Random;

/// What an environment lets be seen of its state.
pub(crate) type Observation = Vec<f32>;

/// What came of an action.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) observation: Observation,
    pub(crate) reward: f64,
    /// The episode has come to its end, good or bad.
    pub(crate) terminated: bool,
    /// The episode has taken as many steps as it may.
    pub(crate) truncated: bool,
}

impl Step {
    /// Whether it was the last of its episode.
    pub(crate) fn is_last(&self) -> bool {
        self.terminated || self.truncated
    }
}

/// A simulator with a state, which actions change.
pub(crate) trait Env: Send {
    /// Starts an episode: a drawn one, or the one of the seed, which also decides those drawn after it.
    fn reset(&mut self, seed: Option<u64>) -> Observation;

    /// Takes an action, one of those below `actions`.
    fn step(&mut self, action: usize) -> Result<Step, Refused>;

    /// How many actions there are.
    fn actions(&self) -> usize;

    /// The whole state, more exact than what is observed: Gymnasium's `unwrapped.state`.
    #[allow(dead_code, reason = "whoever compares the environment with another one needs it")]
    fn state_mut(&mut self) -> &mut [f64];
}

type Make = fn() -> Box<dyn Env>;

/// The environments by name.
const ENVS: [(&str, Make); 2] = [
    ("CartPole-v1", || TimeLimit::boxed(cart_pole::CartPole::default(), 500)),
    ("MountainCar-v0", || TimeLimit::boxed(mountain_car::MountainCar::default(), 200)),
];

/// Makes an environment.
pub(crate) fn make(name: &str) -> Result<Box<dyn Env>, UnknownEnv> {
    let found = ENVS.iter().find(|(known, _)| *known == name);
    found.map(|(_, make)| make()).ok_or_else(|| UnknownEnv(name.into()))
}

/// No environment has this name.
#[derive(Debug)]
pub(crate) struct UnknownEnv(String);

impl fmt::Display for UnknownEnv {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let known = ENVS.map(|(name, _)| name).join(", ");
        write!(f, "no environment is called `{}`; there are {known}", self.0)
    }
}

impl Error for UnknownEnv {}

/// Why a step was not taken. The environment is as it was.
#[derive(Debug, PartialEq)]
pub(crate) enum Refused {
    /// The episode has not begun, or is over: `reset` starts one.
    NoEpisode,
    /// There is no such action.
    UnknownAction { action: usize, actions: usize },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::NoEpisode => write!(f, "no episode is on: call `reset` first"),
            Self::UnknownAction { action, actions } => {
                write!(f, "there is no action {action}: the actions are 0 to {}", actions - 1)
            }
        }
    }
}

impl Error for Refused {}

/// How an environment starts and moves.
trait Dynamics: Send + 'static {
    const ACTIONS: usize;

    /// Draws the state that an episode starts from.
    fn start(&mut self, random: &mut Random);

    /// Takes an action: the reward, and whether it ended the episode.
    fn advance(&mut self, action: usize) -> (f64, bool);

    fn state(&mut self) -> &mut [f64];
}

/// Dynamics in episodes of so many steps at most.
struct TimeLimit<D> {
    dynamics: D,
    random: Random,
    steps_left: u32,
    steps_max: u32,
}

impl<D: Dynamics> TimeLimit<D> {
    fn boxed(dynamics: D, steps_max: u32) -> Box<dyn Env> {
        Box::new(Self { dynamics, random: Random::from_seed(0), steps_left: 0, steps_max })
    }

    fn observe(&mut self) -> Observation {
        self.dynamics.state().iter().map(|value| *value as f32).collect()
    }
}

impl<D: Dynamics> Env for TimeLimit<D> {
    fn reset(&mut self, seed: Option<u64>) -> Observation {
        if let Some(seed) = seed {
            self.random = Random::from_seed(seed);
        }
        self.dynamics.start(&mut self.random);
        self.steps_left = self.steps_max;
        self.observe()
    }

    fn step(&mut self, action: usize) -> Result<Step, Refused> {
        if self.steps_left == 0 {
            return Err(Refused::NoEpisode);
        }
        if action >= D::ACTIONS {
            return Err(Refused::UnknownAction { action, actions: D::ACTIONS });
        }
        let (reward, terminated) = self.dynamics.advance(action);
        let truncated = self.steps_left == 1;
        self.steps_left = if terminated { 0 } else { self.steps_left - 1 };
        Ok(Step { observation: self.observe(), reward, terminated, truncated })
    }

    fn actions(&self) -> usize {
        D::ACTIONS
    }

    fn state_mut(&mut self) -> &mut [f64] {
        self.dynamics.state()
    }
}
