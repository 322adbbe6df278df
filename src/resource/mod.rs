//! Resources as fixed-point numbers, 1/10,000 of a unit each, and sets of them.
//!
//! Fractions add up exactly: ten tenths of a GPU are one GPU.
//! Invariant: a [`Quantity`] is never negative; subtraction says when it would be.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Parts of a unit: one CPU is 10,000.
const UNIT: u64 = 10_000;

/// An amount of one resource in 1/10,000 of its unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Quantity(u64);

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One whole unit.
    pub const ONE: Self = Self(UNIT);

    /// The amount nearest to `units`, or `None` when it is negative, not finite, above 10^12, or
    /// positive and below the 1/10,000 that can be told apart.
    pub fn from_units(units: f64) -> Option<Self> {
        if !units.is_finite() || !(0.0..=1e12).contains(&units) {
            return None;
        }
        let parts = (units * UNIT as f64).round() as u64;
        (parts > 0 || units == 0.0).then_some(Self(parts))
    }

    /// The amount of `count` whole units.
    pub const fn whole(count: u64) -> Self {
        Self(count.saturating_mul(UNIT))
    }

    /// The amount in units.
    pub fn units(self) -> f64 {
        self.0 as f64 / UNIT as f64
    }

    /// How many whole units it holds.
    pub const fn whole_units(self) -> u64 {
        self.0 / UNIT
    }

    /// Whether it is a whole number of units.
    pub const fn is_whole(self) -> bool {
        self.0.is_multiple_of(UNIT)
    }

    /// Whether there is nothing of it.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, at most `u64::MAX` parts.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// What is left after taking `other`, or `None` if there is less than that.
    pub const fn minus(self, other: Self) -> Option<Self> {
        match self.0.checked_sub(other.0) {
            Some(left) => Some(Self(left)),
            None => None,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.units())
    }
}

/// The name of the CPU resource, in units of cores.
pub(crate) const CPU: &str = "CPU";
/// The name of the GPU resource, in units of devices.
pub(crate) const GPU: &str = "GPU";
/// The name of the memory resource, in bytes.
pub(crate) const MEMORY: &str = "memory";

/// Amounts by resource name; a name that is absent stands for zero.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ResourceSet(BTreeMap<Box<str>, Quantity>);

impl ResourceSet {
    /// A set of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// One CPU, what a task takes unless told otherwise.
    pub fn one_cpu() -> Self {
        Self::new().with(CPU, Quantity::ONE)
    }

    /// This set with `amount` of `name` instead of what it held of it.
    #[must_use]
    pub fn with(mut self, name: &str, amount: Quantity) -> Self {
        self.set(name, amount);
        self
    }

    /// Replaces the amount of `name`.
    pub fn set(&mut self, name: &str, amount: Quantity) {
        if amount.is_zero() {
            self.0.remove(name);
        } else {
            self.0.insert(name.into(), amount);
        }
    }

    /// The amount of `name`.
    pub fn get(&self, name: &str) -> Quantity {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Names and amounts, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Quantity)> {
        self.0.iter().map(|(name, amount)| (&**name, *amount))
    }

    /// The names of which `self` asks more than `free` has.
    pub fn short_of<'a>(&'a self, free: &'a Self) -> impl Iterator<Item = &'a str> {
        self.iter().filter(|(name, amount)| free.get(name) < *amount).map(|(name, _)| name)
    }

    /// Whether `free` has all of it.
    pub fn fits(&self, free: &Self) -> bool {
        self.short_of(free).next().is_none()
    }

    /// Takes `other` out of this set; `false`, and nothing taken, if there is less than that.
    pub fn take(&mut self, other: &Self) -> bool {
        if !other.fits(self) {
            return false;
        }
        for (name, amount) in other.iter() {
            let left = self.get(name).minus(amount).unwrap_or_default();
            self.set(name, left);
        }
        true
    }

    /// Puts `other` into this set.
    pub fn give(&mut self, other: &Self) {
        for (name, amount) in other.iter() {
            let sum = self.get(name).plus(amount);
            self.set(name, sum);
        }
    }
}

impl fmt::Display for ResourceSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        for (i, (name, amount)) in self.iter().enumerate() {
            write!(f, "{}{name}: {amount}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_tenths_are_one() {
        let tenth = Quantity::from_units(0.1).expect("a valid amount");
        let sum = (0..10).fold(Quantity::ZERO, |sum, _| sum.plus(tenth));
        assert_eq!(sum, Quantity::ONE);
    }

    #[test]
    fn what_cannot_be_an_amount_is_refused() {
        for bad in [-1.0, f64::NAN, f64::INFINITY, 1e13, 0.000_01] {
            assert_eq!(Quantity::from_units(bad), None, "{bad}");
        }
        assert_eq!(Quantity::from_units(0.0), Some(Quantity::ZERO));
    }

    #[test]
    fn taking_more_than_there_is_takes_nothing() {
        let mut free = ResourceSet::one_cpu().with("tpu", Quantity::whole(2));
        let before = free.clone();
        assert!(!free.take(&ResourceSet::one_cpu().with("tpu", Quantity::whole(3))));
        assert_eq!(free, before);
        assert!(free.take(&ResourceSet::new().with("tpu", Quantity::whole(2))));
        assert_eq!(free, ResourceSet::one_cpu());
    }

    #[test]
    fn take_and_give_cancel_out() {
        // Every pair of small sets, so that no case is left to chance.
        let sets: Vec<ResourceSet> = (0..27)
            .map(|n: u64| {
                ResourceSet::new()
                    .with(CPU, Quantity::whole(n % 3))
                    .with(GPU, Quantity::whole(n / 3 % 3))
                    .with("x", Quantity::whole(n / 9))
            })
            .collect();
        for all in &sets {
            for part in &sets {
                let mut free = all.clone();
                if free.take(part) {
                    free.give(part);
                }
                assert_eq!(&free, all);
            }
        }
    }
}
