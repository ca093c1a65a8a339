//! What a run of tiles gives, and how two neighbours become one.
//!
//! Merging is not associative to the last bit, so it is done along one fixed tree (`tree`). A partial result can be sent
//! from a worker to its coordinator; every bit arrives.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::digest::Digest;
use crate::largest::Largest;

/// The sums of a run of tiles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Samples drawn.
    pub samples: u64,
    /// Samples at which any output is not zero.
    pub nonzero: u64,
    /// Samples that are nan or infinite; each counts as zero in the sums.
    pub bad: Bad,
    /// The largest absolute value of each output at a sample, before any weight and scale.
    pub largest: Vec<f64>,
    /// The largest absolute values of each output with weight and scale, as they are summed: how much single samples decide.
    pub heaviest: Vec<Largest>,
    /// What was summed, by the kind of the wave's work.
    pub sums: Sums,
}

/// Samples at which an output is nan or infinite.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bad {
    /// How many.
    pub count: u64,
    /// The first one in the order of the wave.
    pub first: Option<BadPoint>,
}

/// A point at which the integrand is no finite number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BadPoint {
    /// Its coordinates.
    pub x: Vec<f64>,
    /// What the integrand said, as text, since JSON has neither nan nor infinity.
    pub value: String,
}

/// Sums by the kind of work. For K outputs, a matrix has K(K+1)/2 numbers: row by row up to the diagonal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sums {
    /// Of independent samples.
    Plain(Moments),
    /// Of strata.
    Strata(StrataSums),
    /// Of replicates: the sum of output k in replicate r is at `r * K + k`.
    Replicates {
        /// Points in each.
        points: u64,
        /// The sums.
        sums: Vec<f64>,
    },
    /// Of regions, in their order.
    Regions(Vec<RegionSum>),
    /// Of checks, in their order.
    Checks(Vec<CheckSum>),
}

/// The first two moments of independent samples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    /// Samples.
    pub count: u64,
    /// The mean of each output.
    pub mean: Vec<f64>,
    /// Sums of products of deviations from the mean, a matrix.
    pub m2: Vec<f64>,
}

/// What strata add up to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StrataSums {
    /// Of each output: the sum over strata of the stratum's volume times its mean.
    pub value: Vec<f64>,
    /// The covariance of `value`, a matrix.
    pub covariance: Vec<f64>,
    /// The sum over samples and outputs of (weighted output)^2 by piece of the map, axis after axis; empty when not adapting.
    pub histogram: Vec<f64>,
    /// The standard deviation in each stratum of the run: the root of the sum of the outputs' variances.
    pub spread: Vec<f64>,
}

/// What a rule gives on one region.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RegionSum {
    /// Each output's integral over the region.
    pub value: Vec<f64>,
    /// The rule's estimate of its error, with its sign.
    pub error: Vec<f64>,
    /// About the integral of each output's absolute value: what rounding is measured by.
    pub size: Vec<f64>,
    /// The axis along which the integrand varies most: where to cut.
    pub split: u32,
}

/// What random points on one region say of the rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSum {
    /// Points whose values the rule's points do not explain.
    pub unexplained: u32,
    /// The sum over these points of each output's distance from what the rule's points say.
    pub off: Vec<f64>,
    /// The point with the largest distance, in the unit cube.
    pub worst: Option<Vec<f64>>,
    /// Each output's distance there.
    pub height: Vec<f64>,
}

impl Partial {
    /// This run and the one right behind it, as one.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when they are of waves of different kinds.
    pub fn merge(self, right: Self) -> Result<Self, Error> {
        if self.largest.len() != right.largest.len() || self.heaviest.len() != right.heaviest.len()
        {
            return Err(Error::Mismatch);
        }
        let largest = self.largest.iter().zip(&right.largest);
        let mut heaviest = self.heaviest;
        let both = heaviest.iter_mut().zip(&right.heaviest);
        both.for_each(|(left, right)| left.merge(right));
        Ok(Self {
            samples: self.samples + right.samples,
            nonzero: self.nonzero + right.nonzero,
            bad: Bad {
                count: self.bad.count + right.bad.count,
                first: self.bad.first.or(right.bad.first),
            },
            largest: largest.map(|(left, right)| left.max(*right)).collect(),
            heaviest,
            sums: self.sums.merge(right.sums)?,
        })
    }

    /// Its name: two results of the same tiles must have the same one.
    pub fn digest(&self) -> Digest {
        Digest::of(self)
    }
}

impl Sums {
    fn merge(self, right: Self) -> Result<Self, Error> {
        match (self, right) {
            (Self::Plain(left), Self::Plain(right)) => left.merge(&right).map(Self::Plain),
            (Self::Strata(left), Self::Strata(right)) => left.merge(right).map(Self::Strata),
            (
                Self::Replicates { points, sums },
                Self::Replicates {
                    points: more,
                    sums: others,
                },
            ) => Ok(Self::Replicates {
                points: points + more,
                sums: added(sums, &others)?,
            }),
            (Self::Regions(mut left), Self::Regions(right)) => {
                left.extend(right);
                Ok(Self::Regions(left))
            }
            (Self::Checks(mut left), Self::Checks(right)) => {
                left.extend(right);
                Ok(Self::Checks(left))
            }
            _ => Err(Error::Mismatch),
        }
    }
}

impl Moments {
    /// Of two sets of samples as one: Chan, Golub and LeVeque (1979).
    ///
    /// # Errors
    /// [`Error::Mismatch`] when they have different outputs.
    pub fn merge(mut self, right: &Self) -> Result<Self, Error> {
        if self.mean.len() != right.mean.len() || self.m2.len() != right.m2.len() {
            return Err(Error::Mismatch);
        }
        self.absorb(right);
        Ok(self)
    }

    /// Of no samples.
    pub(crate) fn none(outputs: usize) -> Self {
        Self {
            count: 0,
            mean: vec![0.0; outputs],
            m2: vec![0.0; matrix_len(outputs)],
        }
    }

    /// [`merge`](Self::merge) in place, for equal outputs.
    pub(crate) fn absorb(&mut self, right: &Self) {
        if right.count == 0 {
            return;
        }
        let (here, there) = (self.count as f64, right.count as f64);
        let all = here + there;
        let product = here * there / all;
        let mut sums = self.m2.iter_mut().zip(&right.m2);
        let deltas = || {
            right
                .mean
                .iter()
                .zip(&self.mean)
                .map(|(right, left)| right - left)
        };
        for (row, a) in deltas().enumerate() {
            for (b, (m2, more)) in deltas().take(row + 1).zip(&mut sums) {
                *m2 = (a * b).mul_add(product, *m2 + more);
            }
        }
        let share = there / all;
        for (mean, other) in self.mean.iter_mut().zip(&right.mean) {
            *mean = (other - *mean).mul_add(share, *mean);
        }
        self.count += right.count;
    }
}

/// The numbers of a symmetric matrix of `outputs` rows.
pub(crate) const fn matrix_len(outputs: usize) -> usize {
    outputs * (outputs + 1) / 2
}

impl StrataSums {
    fn merge(mut self, right: Self) -> Result<Self, Error> {
        self.value = added(self.value, &right.value)?;
        self.covariance = added(self.covariance, &right.covariance)?;
        self.histogram = added(self.histogram, &right.histogram)?;
        self.spread.extend(right.spread);
        Ok(self)
    }
}

fn added(mut left: Vec<f64>, right: &[f64]) -> Result<Vec<f64>, Error> {
    if left.len() != right.len() {
        return Err(Error::Mismatch);
    }
    left.iter_mut()
        .zip(right)
        .for_each(|(left, right)| *left += right);
    Ok(left)
}
