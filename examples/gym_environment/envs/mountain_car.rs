//! `MountainCar-v0`: a car in a valley is too weak to drive straight up; it is pushed left (0), not at
//! all (1) or right (2) until it has swung itself up to the flag.

use super::{Dynamics, Random};

const POSITION_MIN: f64 = -1.2;
const POSITION_MAX: f64 = 0.6;
const SPEED_MAX: f64 = 0.07;
const GOAL: f64 = 0.5;
const FORCE: f64 = 0.001;
const GRAVITY: f64 = 0.0025;

/// Position and velocity.
#[derive(Default)]
pub(super) struct MountainCar([f64; 2]);

impl Dynamics for MountainCar {
    const ACTIONS: usize = 3;

    fn start(&mut self, random: &mut Random) {
        self.0 = [random.uniform(-0.6, -0.4), 0.0];
    }

    fn advance(&mut self, action: usize) -> (f64, bool) {
        let [position, velocity] = self.0;
        let push = (action as f64 - 1.0) * FORCE;
        let velocity = velocity + (push + (3.0 * position).cos() * -GRAVITY);
        let velocity = velocity.clamp(-SPEED_MAX, SPEED_MAX);
        let position = (position + velocity).clamp(POSITION_MIN, POSITION_MAX);
        // The wall on the left stops it.
        let is_stopped = position <= POSITION_MIN && velocity < 0.0;
        self.0 = [position, if is_stopped { 0.0 } else { velocity }];
        (-1.0, position >= GOAL && velocity >= 0.0)
    }

    fn state(&mut self) -> &mut [f64] {
        &mut self.0
    }
}
