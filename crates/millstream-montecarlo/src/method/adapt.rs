//! The adaptation: a few iterations of stratified samples, after each of which the map follows what was seen.
//!
//! Its samples are thrown away, but for one thing: what they say of the integral has to agree with the production. Around
//! every hint a map of its own is adapted first, and the search for other peaks begins from all of them together.

use serde::{Deserialize, Serialize};

use super::vegas::learned;
use super::waves::{One, Waves};
use crate::Error;
use crate::estimate::{Estimate, packed};
use crate::map::Map;
use crate::partial::{Partial, Sums};
use crate::strata::Strata;
use crate::wave::{TILE, Work};

/// Iterations at least, and at most while each still helps.
const FEWEST: u32 = 5;
const MOST: u32 = 10;
/// An iteration has helped when it brought the error below this share of the one before.
const HELPED: f64 = 0.8;
/// Iterations around one hint.
const AROUND_HINT: u32 = 4;

/// What the adaptation found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Adapted {
    pub(crate) map: Map,
    pub(crate) strata: Strata,
    /// The standard deviation in each box of the strata.
    pub(crate) spread: Vec<f64>,
    /// The root mean square of all outputs together through the map, infinite when not known.
    pub(crate) rms: f64,
    /// What the last iterations say of the integral.
    pub(crate) estimate: Estimate,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Adapt {
    /// Hints that wait for a map of their own.
    hints: Vec<Vec<f64>>,
    /// Maps of the hints before.
    around: Vec<Map>,
    /// The hint being worked on, or all of the cube.
    local: bool,
    map: Map,
    strata: Strata,
    spread: Vec<f64>,
    rms: f64,
    samples: u64,
    iterations: u32,
    /// Of the worst output, relative to its value, of the last iteration.
    error: f64,
    helped: bool,
    late: Waves,
}

impl Adapt {
    /// An adaptation of about `samples` in all, from `map` when one is given, around `hints` (in the unit cube) when not.
    pub(crate) fn new(dim: usize, samples: u64, map: Option<Map>, hints: &[Vec<f64>]) -> Self {
        let hints = if map.is_some() {
            Vec::new()
        } else {
            hints.to_vec()
        };
        // A box of the strata for every combination of peaks, where that is possible: only one in `hints^(dim-1)` holds one.
        let boxes = (hints.len() as u64 + u64::from(hints.len() > 1))
            .checked_pow(dim as u32)
            .unwrap_or(u64::MAX);
        let wanted = if boxes <= 1 << 16 { 4 * boxes } else { 0 };
        let samples = (samples / u64::from(FEWEST + 1)).max(TILE).max(wanted);
        let mut adapt = Self {
            hints,
            around: Vec::new(),
            local: false,
            strata: Strata::even(dim, samples),
            map: map.unwrap_or_else(|| Map::uniform(dim)),
            spread: Vec::new(),
            rms: f64::INFINITY,
            samples,
            iterations: 0,
            error: f64::INFINITY,
            helped: true,
            late: Waves::default(),
        };
        adapt.begin();
        adapt
    }

    /// The next hint, or the whole when there is none left.
    fn begin(&mut self) {
        let dim = self.map.dim();
        self.iterations = 0;
        self.error = f64::INFINITY;
        self.helped = true;
        self.spread.clear();
        if let Some(hint) = self.hints.pop() {
            self.map = Map::towards(&hint);
            self.strata = Strata::even(dim, TILE);
            self.local = true;
        } else {
            if !self.around.is_empty() {
                self.map = Map::together(&self.around);
            }
            self.strata = Strata::even(dim, self.samples);
            self.local = false;
        }
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        let done = if self.local {
            self.iterations >= AROUND_HINT
        } else {
            self.done()
        };
        let strata = self.strata.clone();
        (!done && strata.samples() <= left).then(|| Work::Strata {
            map: self.map.clone(),
            strata,
            adapt: true,
        })
    }

    fn done(&self) -> bool {
        self.iterations >= MOST || (self.iterations >= FEWEST && !self.helped)
    }

    pub(crate) fn complete(&mut self, whole: &Partial) -> Result<(), Error> {
        let Sums::Strata(sums) = &whole.sums else {
            return Err(Error::Mismatch);
        };
        self.iterations += 1;
        self.map = self.map.refined(&sums.histogram);
        let samples = if self.local { TILE } else { self.samples };
        self.spread = learned(&self.spread, &sums.spread);
        self.strata = self.strata.allocated(samples, &self.spread);
        if self.local {
            if self.iterations >= AROUND_HINT {
                self.around.push(self.map.clone());
                self.begin();
            }
            return Ok(());
        }
        self.rms = root_mean_square(&sums.histogram, self.map.dim(), sums.spread.len());
        let error = worst(&sums.value, &sums.covariance);
        self.helped = error < HELPED * self.error;
        self.error = error;
        if self.iterations >= FEWEST - 1 {
            self.late.push(One {
                drawn: whole.samples,
                samples: whole.samples,
                values: sums.value.clone(),
                covariance: sums.covariance.clone(),
                dof: f64::INFINITY,
            });
        }
        Ok(())
    }

    pub(crate) fn adapted(&self) -> Adapted {
        Adapted {
            map: self.map.clone(),
            strata: self.strata.clone(),
            spread: self.spread.clone(),
            rms: self.rms,
            estimate: self.late.estimate(),
        }
    }
}

/// Every axis of the histogram holds the mean square of each of the boxes.
fn root_mean_square(histogram: &[f64], dim: usize, boxes: usize) -> f64 {
    (histogram.iter().sum::<f64>() / (dim * boxes.max(1)) as f64).sqrt()
}

/// The largest standard error relative to its value.
fn worst(values: &[f64], covariance: &[f64]) -> f64 {
    let relative = |(o, value): (usize, &f64)| {
        let variance = covariance.get(packed(o, o)).copied().unwrap_or(0.0);
        if *value == 0.0 {
            f64::INFINITY
        } else {
            variance.max(0.0).sqrt() / value.abs()
        }
    };
    values.iter().enumerate().map(relative).fold(0.0, f64::max)
}
