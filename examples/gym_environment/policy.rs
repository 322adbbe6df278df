//! How an agent acts.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::envs::{Random, UnknownEnv, make};

/// Chooses actions by what is observed.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) enum Policy {
    /// Any of so many actions.
    Random { actions: usize },
    /// Moves the cart to where the pole falls.
    Balance,
    /// Pushes the car to where it rolls, so that it swings higher each time.
    Swing,
}

impl Policy {
    /// Those for an environment: at random first, then by hand if there is one.
    pub(crate) fn all(env: &str) -> Result<Vec<Self>, UnknownEnv> {
        let by_hand = match env {
            "CartPole-v1" => Some(Self::Balance),
            "MountainCar-v0" => Some(Self::Swing),
            _ => None,
        };
        let random = Self::Random { actions: make(env)?.actions() };
        Ok([random].into_iter().chain(by_hand).collect())
    }

    /// What it does next.
    pub(crate) fn choose(self, seen: &[f32], random: &mut Random) -> usize {
        match self {
            Self::Random { actions } => random.below(actions),
            Self::Balance => usize::from(seen[2] + 0.25 * seen[3] > 0.0),
            Self::Swing if seen[1] < 0.0 => 0,
            Self::Swing => 2,
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Random { .. } => "random",
            Self::Balance | Self::Swing => "hand-written",
        })
    }
}
