//! `CartPole-v1`: a pole stands on a cart, which is pushed left (0) or right (1) so that it does not fall.

use std::f64::consts::PI;

use super::{Dynamics, Random};

const GRAVITY: f64 = 9.8;
const MASS_POLE: f64 = 0.1;
const MASS_ALL: f64 = 0.1 + 1.0;
/// Half of the pole's.
const LENGTH: f64 = 0.5;
const MASS_LENGTH: f64 = MASS_POLE * LENGTH;
const FORCE: f64 = 10.0;
/// Seconds between two states.
const TAU: f64 = 0.02;
const POSITION_MAX: f64 = 2.4;
/// Twelve degrees.
const ANGLE_MAX: f64 = 12.0 * 2.0 * PI / 360.0;

/// Position and speed of the cart, angle and angular speed of the pole.
#[derive(Default)]
pub(super) struct CartPole([f64; 4]);

impl Dynamics for CartPole {
    const ACTIONS: usize = 2;

    fn start(&mut self, random: &mut Random) {
        self.0 = std::array::from_fn(|_| random.uniform(-0.05, 0.05));
    }

    fn advance(&mut self, action: usize) -> (f64, bool) {
        let [x, x_dot, theta, theta_dot] = self.0;
        let force = if action == 1 { FORCE } else { -FORCE };
        let (sin, cos) = (theta.sin(), theta.cos());

        let temp = (force + MASS_LENGTH * (theta_dot * theta_dot) * sin) / MASS_ALL;
        let theta_acc =
            (GRAVITY * sin - cos * temp) / (LENGTH * (4.0 / 3.0 - MASS_POLE * (cos * cos) / MASS_ALL));
        let x_acc = temp - MASS_LENGTH * theta_acc * cos / MASS_ALL;
        self.0 = [x + TAU * x_dot, x_dot + TAU * x_acc, theta + TAU * theta_dot, theta_dot + TAU * theta_acc];

        let [x, _, theta, _] = self.0;
        (1.0, x.abs() > POSITION_MAX || theta.abs() > ANGLE_MAX)
    }

    fn state(&mut self) -> &mut [f64] {
        &mut self.0
    }
}
