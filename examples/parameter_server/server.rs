//! The actors: one that has the weights, and those that say how to change them.

use mobula::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::network::Weights;

/// Samples that a worker looks at for one gradient.
const BATCH: usize = 32;

/// How the weights should change.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Gradient {
    /// Which worker says so.
    pub(crate) worker: usize,
    /// Of how many samples it is the sum.
    samples: usize,
    sum: Weights,
}

/// Has the weights that all workers improve.
pub(crate) struct ParameterServer {
    weights: Weights,
    rate: f32,
}

#[remote]
impl ParameterServer {
    /// Knows nothing yet of images of so many pixels; `rate` is how far one gradient moves the weights.
    pub(crate) fn new(pixels: usize, rate: f32) -> Self {
        Self { weights: Weights::random(pixels), rate }
    }

    /// The weights as they are.
    pub(crate) fn weights(&self) -> Weights {
        self.weights.clone()
    }

    /// Moves the weights against a gradient, and tells the new ones.
    pub(crate) fn apply_gradient(&mut self, gradient: &Gradient) -> Weights {
        self.weights.add(&gradient.sum, -self.rate / gradient.samples as f32);
        self.weights.clone()
    }
}

/// Computes gradients on its share of the data.
pub(crate) struct DataWorker {
    index: usize,
    workers: usize,
    data: ObjectRef<Dataset>,
    /// Samples of its share that it has looked at.
    seen: usize,
}

#[remote]
impl DataWorker {
    /// One of so many workers. It is given the ref, not a copy: all of them read the data where they lie.
    pub(crate) fn new(index: usize, workers: usize, data: ObjectRef<Dataset>) -> Self {
        Self { index, workers, data, seen: 0 }
    }

    /// The gradient on its next samples: every sample is in the share of one worker.
    pub(crate) fn compute_gradient(&mut self, weights: &Weights) -> mobula::Result<Gradient> {
        let data = self.data.view()?;
        let next = (self.seen..self.seen + BATCH).map(|n| (n * self.workers + self.index) % data.len());
        self.seen += BATCH;
        Ok(Gradient { worker: self.index, samples: BATCH, sum: weights.gradient(&data, next) })
    }
}

/// The gradient on the samples of both.
#[remote]
pub(crate) fn add(mut left: Gradient, right: &Gradient) -> Gradient {
    left.sum.add(&right.sum, 1.0);
    left.samples += right.samples;
    left
}

/// How well the weights do on images that no worker has seen.
#[remote]
pub(crate) fn accuracy(weights: &Weights, data: &Dataset) -> f64 {
    weights.accuracy(data)
}
