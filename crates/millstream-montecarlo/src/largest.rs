//! The largest of all samples, and how much of an integral lies beyond them.
//!
//! Samples of a heavy tail are calm until the next large one comes: their scatter says nothing of what they have not reached. How
//! the largest of them fall says it. Lists of the largest merge in any order to the same list.

use serde::{Deserialize, Serialize};

use crate::kernels::scalar::ln;

/// How many are kept: they tell the growth of a tail to a quarter (one standard error, 1 / sqrt(16)).
const KEPT: usize = 16;
/// So many samples at most are expected beyond the largest of all, with a probability of 95 %: -ln(0.05), the rule of three.
const UNSEEN: f64 = 3.0;
/// The growth of a tail that has no mean is 1, and what lies beyond has no bound.
const STEEPEST: f64 = 0.9;

/// The largest absolute values of an output, with their weights, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Largest(Vec<f64>);

impl Largest {
    /// The largest of all; zero when there is none.
    pub fn first(&self) -> f64 {
        self.0.first().copied().unwrap_or(0.0)
    }

    /// The smallest that is kept; zero while there is room.
    fn last(&self) -> f64 {
        self.0.get(KEPT - 1).copied().unwrap_or(0.0)
    }

    /// Takes the values of a block in, whose largest absolute value is at most `most`.
    pub(crate) fn take(&mut self, values: &[f64], most: f64) {
        if most <= self.last() {
            return;
        }
        for value in values {
            self.add(value.abs());
        }
    }

    fn add(&mut self, value: f64) {
        if value <= self.last() {
            return;
        }
        let place = self.0.partition_point(|known| *known >= value);
        self.0.insert(place, value);
        self.0.truncate(KEPT);
    }

    /// Takes another list in.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|value| self.add(*value));
    }

    /// What may lie beyond the largest of `samples` values, of their mean, with a probability of 95 %.
    ///
    /// Where the chance of a larger value than t falls like t^(-1/g), the largest of n values grow like n^g, and g is the mean
    /// logarithm of the kept ones over the least of them (Hill 1975). At most 3/n of all values exceed the largest, M, with a
    /// probability of 95 %, by g/(1-g) M in the mean. Values with a bound crowd below it: g goes to zero.
    pub(crate) fn beyond(&self, samples: f64) -> f64 {
        let least = self.last();
        if least <= 0.0 {
            return 0.0;
        }
        let logarithms = self.0.iter().map(|value| ln(value / least));
        let growth = (logarithms.sum::<f64>() / (KEPT - 1) as f64).min(STEEPEST);
        UNSEEN * self.first() / samples * growth / (1.0 - growth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The n-th of a set of values whose chance to exceed t is t^(-1/g).
    fn of_tail(growth: f64) -> Largest {
        let mut largest = Largest::default();
        let values: Vec<f64> = (1..=10_000)
            .map(|n| (1e4 / f64::from(n)).powf(growth))
            .collect();
        largest.take(&values, f64::INFINITY);
        largest
    }

    #[test]
    fn what_lies_beyond_follows_from_how_the_largest_fall() {
        // The largest is 1e4^g. Of (k/n)^g the mean logarithm over the last of 16 is g ln(16^15 / 15!) / 15 = 0.912 g.
        for growth in [0.25, 0.5, 2.0 / 3.0] {
            let seen = 0.912 * growth;
            let expected = 3.0 * 1e4_f64.powf(growth) / 1e4 * seen / (1.0 - seen);
            let beyond = of_tail(growth).beyond(1e4);
            assert!(
                (beyond / expected - 1.0).abs() < 0.01,
                "{growth}: {beyond}, {expected}"
            );
        }
    }

    #[test]
    fn nothing_lies_beyond_values_that_are_all_alike() {
        let mut largest = Largest::default();
        largest.take(&[2.0; 100], 2.0);
        assert_eq!((largest.first(), largest.beyond(100.0)), (2.0, 0.0));
        assert_eq!(Largest::default().beyond(100.0), 0.0);
    }

    #[test]
    fn lists_merge_in_any_order() {
        let (mut left, mut right) = (of_tail(0.5), Largest::default());
        right.take(&(0..300).map(f64::from).collect::<Vec<_>>(), 300.0);
        let mut other = right.clone();
        other.merge(&left);
        left.merge(&right);
        assert_eq!(left, other);
    }
}
