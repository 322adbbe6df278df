//! The classifier: pixels, one hidden layer, one output for each digit.

use serde::{Deserialize, Serialize};

use crate::data::Dataset;
use crate::random::Random;

/// The digits.
pub(crate) const CLASSES: usize = 10;
/// Width of the hidden layer.
const HIDDEN: usize = 32;

type Hidden = [f32; HIDDEN];
type Output = [f32; CLASSES];

/// The weights of all layers, or how each of them should change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Weights {
    /// For each pixel what it adds to each hidden value.
    pixels: Vec<f32>,
    /// For each digit what each hidden value adds to it.
    digits: Vec<f32>,
    hidden_bias: Hidden,
    digit_bias: Output,
}

impl Weights {
    /// Weights of nothing.
    fn zero(pixels: usize) -> Self {
        Self {
            pixels: vec![0.0; pixels * HIDDEN],
            digits: vec![0.0; CLASSES * HIDDEN],
            hidden_bias: [0.0; HIDDEN],
            digit_bias: [0.0; CLASSES],
        }
    }

    /// Small weights, no two alike: hidden values that start equal would stay equal.
    pub(crate) fn random(pixels: usize) -> Self {
        let mut random = Random::new(1);
        let mut weights = Self::zero(pixels);
        for weight in &mut weights.pixels {
            *weight = 2.0 / (pixels as f32).sqrt() * random.sign();
        }
        for weight in &mut weights.digits {
            *weight = 1.0 / (HIDDEN as f32).sqrt() * random.sign();
        }
        weights
    }

    /// Adds `other`, so many times.
    pub(crate) fn add(&mut self, other: &Self, times: f32) {
        add(&mut self.pixels, &other.pixels, times);
        add(&mut self.digits, &other.digits, times);
        add(&mut self.hidden_bias, &other.hidden_bias, times);
        add(&mut self.digit_bias, &other.digit_bias, times);
    }

    /// The hidden values of an image, and what they say of each digit.
    fn forward(&self, image: &[u8]) -> (Hidden, Output) {
        let mut hidden = self.hidden_bias;
        for (weights, pixel) in self.pixels.chunks_exact(HIDDEN).zip(image) {
            // Most pixels of such images are black.
            if *pixel > 0 {
                add(&mut hidden, weights, light(*pixel));
            }
        }
        for value in &mut hidden {
            *value = value.max(0.0);
        }
        let mut output = self.digit_bias;
        for (value, weights) in output.iter_mut().zip(self.digits.chunks_exact(HIDDEN)) {
            *value += weights.iter().zip(&hidden).map(|(weight, value)| weight * value).sum::<f32>();
        }
        (hidden, output)
    }

    /// The sum over some samples of how the weights should change, uphill: the gradient of the cross entropy.
    pub(crate) fn gradient(&self, data: &Dataset, samples: impl Iterator<Item = usize>) -> Self {
        let mut gradient = Self::zero(data.pixels);
        for (image, digit) in samples.map(|index| data.sample(index)) {
            let (hidden, output) = self.forward(image);
            let mut error = softmax(&output);
            error[digit] -= 1.0;
            let mut hidden_error = [0.0; HIDDEN];
            for (class, error) in error.into_iter().enumerate() {
                let row = class * HIDDEN..(class + 1) * HIDDEN;
                add(&mut gradient.digits[row.clone()], &hidden, error);
                add(&mut hidden_error, &self.digits[row], error);
            }
            for (error, value) in hidden_error.iter_mut().zip(hidden) {
                *error = if value > 0.0 { *error } else { 0.0 };
            }
            for (row, pixel) in gradient.pixels.chunks_exact_mut(HIDDEN).zip(image) {
                if *pixel > 0 {
                    add(row, &hidden_error, light(*pixel));
                }
            }
            add(&mut gradient.hidden_bias, &hidden_error, 1.0);
            add(&mut gradient.digit_bias, &error, 1.0);
        }
        gradient
    }

    /// The share of the images in which the right digit is seen.
    pub(crate) fn accuracy(&self, data: &Dataset) -> f64 {
        let is_right = |index: &usize| {
            let (image, digit) = data.sample(*index);
            let (_, output) = self.forward(image);
            (0..CLASSES).max_by(|a, b| output[*a].total_cmp(&output[*b])) == Some(digit)
        };
        (0..data.len()).filter(is_right).count() as f64 / data.len() as f64
    }
}

fn add(to: &mut [f32], values: &[f32], times: f32) {
    for (to, value) in to.iter_mut().zip(values) {
        *to += value * times;
    }
}

fn light(pixel: u8) -> f32 {
    f32::from(pixel) / 255.0
}

fn softmax(output: &Output) -> Output {
    let most = output.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers = output.map(|value| (value - most).exp());
    let sum: f32 = powers.iter().sum();
    powers.map(|power| power / sum)
}
