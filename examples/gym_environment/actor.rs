//! The actor that keeps an environment.

use mobula::prelude::*;

use crate::envs::{Env, Observation, Refused, Step, UnknownEnv, make};

/// An environment, and what has happened in it so far.
pub(crate) struct GymEnvironment {
    env: Box<dyn Env>,
}

#[remote]
impl GymEnvironment {
    /// Makes the environment of that name, and starts an episode.
    pub(crate) fn new(name: &str) -> Result<Self, UnknownEnv> {
        let mut env = make(name)?;
        env.reset(None);
        Ok(Self { env })
    }

    /// Starts the episode of a seed, or the next one.
    pub(crate) fn reset(&mut self, seed: Option<u64>) -> Observation {
        self.env.reset(seed)
    }

    /// Takes an action.
    pub(crate) fn step(&mut self, action: usize) -> Result<Step, Refused> {
        self.env.step(action)
    }
}
