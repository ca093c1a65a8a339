//! Randomised Sobol points: sixteen replicates of one point set, each scrambled anew.
//!
//! A replicate's average is an independent unbiased estimate, so their scatter is the error bar, with 15 degrees of freedom
//! whatever the number of points. Points come in waves that double, always whole powers of two, for a Sobol sequence is
//! balanced there and nowhere else.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::estimate::{Estimate, packed, raise};
use crate::largest::Largest;
use crate::map::Map;
use crate::partial::{Partial, Sums};
use crate::wave::{REPLICATES, TILE_POINTS, Work};

/// Scrambled copies, and the freedom of their scatter.
const COUNT: f64 = REPLICATES as f64;
const FREEDOM: f64 = COUNT - 1.0;
/// Two waves agree when their difference is less than so many of its standard errors.
const AGREE: f64 = 5.0;
/// The variance is at least this share of what it was with half of the points. Sixteen averages may lie close together by
/// chance, and a job would stop just then; they hardly do so twice.
const SLOWEST: f64 = 0.25;
/// What lies beyond the largest samples matters from this share of a standard error on. Smooth integrands have 0.05 of it or less, those
/// without a variance 0.3 to 4 (measured on `genz_gaussian_8`, `student_5`, `three_roots` and `watson_lattice`, 16 seeds each).
const MATTERS: f64 = 0.25;
/// The freedom of the averages then: few samples decide them, so that they are skew, and a job stops rather before a large
/// sample than after it. With 15, intervals of the three had covered 80 to 88 %; three widen them by half.
const HEAVY_FREEDOM: f64 = 3.0;
/// Fewer different averages than this are the steps of a counting integrand rather than its scatter.
const FEW_LEVELS: usize = 8;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Rqmc {
    /// The map they go through, for `map-rqmc`.
    map: Option<Map>,
    /// The standard deviation of each output, as the pilot found it.
    spread: Vec<f64>,
    /// Points so far, of each replicate.
    points: u64,
    /// Sums of each replicate, outputs together.
    sums: Vec<f64>,
    outputs: usize,
    /// Squared differences of each wave to those before, in their standard errors.
    chi2: Vec<f64>,
    steps: u32,
    /// The variance of each output before the last wave.
    before: Vec<f64>,
    /// The largest values of each output.
    heaviest: Vec<Largest>,
    agreed: bool,
}

impl Rqmc {
    pub(crate) fn through(map: Option<Map>, spread: Vec<f64>) -> Self {
        Self {
            map,
            spread,
            ..Self::default()
        }
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        let points = self.points.max(TILE_POINTS);
        let samples = points.checked_mul(REPLICATES as u64)?;
        (samples <= left).then(|| Work::Replicates {
            map: self.map.clone(),
            first: self.points,
            points,
        })
    }

    pub(crate) fn complete(&mut self, _: &Work, whole: &Partial) -> Result<(), Error> {
        let Sums::Replicates { points, sums } = &whole.sums else {
            return Err(Error::Mismatch);
        };
        self.heaviest
            .resize(whole.heaviest.len(), Largest::default());
        let both = self.heaviest.iter_mut().zip(&whole.heaviest);
        both.for_each(|(all, more)| all.merge(more));
        if self.points == 0 {
            self.outputs = sums.len() / REPLICATES;
            self.sums = sums.clone();
            self.chi2 = vec![0.0; self.outputs];
        } else {
            self.before = (0..self.outputs)
                .map(|o| {
                    self.raw()
                        .covariance
                        .get(packed(o, o))
                        .copied()
                        .unwrap_or(0.0)
                })
                .collect();
            let worst = self.compare(sums, *points);
            self.agreed = worst <= AGREE * AGREE;
            self.steps += 1;
            self.sums
                .iter_mut()
                .zip(sums)
                .for_each(|(sum, more)| *sum += more);
        }
        self.points += points;
        Ok(())
    }

    /// Adds the differences of the replicates' averages between the new points and those before; gives the largest.
    fn compare(&mut self, sums: &[f64], points: u64) -> f64 {
        let mut worst = 0.0_f64;
        let freedom = FREEDOM;
        for o in 0..self.outputs {
            let differences: Vec<f64> = of(&self.sums, o, self.outputs)
                .zip(of(sums, o, self.outputs))
                .map(|(before, now)| now / points as f64 - before / self.points as f64)
                .collect();
            let (mean, m2) = mean_and_squares(&differences);
            let variance = m2 / (freedom * COUNT);
            // t squared has the mean n/(n-2) where chi squared has one.
            let square = if mean == 0.0 {
                0.0
            } else {
                mean * mean / variance * (freedom - 2.0) / freedom
            };
            worst = if square.is_nan() {
                f64::INFINITY
            } else {
                worst.max(square)
            };
            if let Some(chi2) = self.chi2.get_mut(o) {
                *chi2 += square;
            }
        }
        worst
    }

    pub(crate) fn estimate(&self) -> Estimate {
        let mut estimate = self.raw();
        for (o, before) in self.before.iter().enumerate() {
            raise(&mut estimate.covariance, self.outputs, o, before * SLOWEST);
        }
        let samples = self.points as f64 * COUNT;
        let beyond = || self.heaviest.iter().map(|all| all.beyond(samples));
        let mut errors = (0..).zip(beyond());
        if errors.any(|(o, beyond)| beyond > MATTERS * estimate.standard_error(o)) {
            estimate.dof = HEAVY_FREEDOM;
        }
        estimate.miss(beyond());
        estimate
    }

    /// What the replicates say by themselves.
    fn raw(&self) -> Estimate {
        if self.points == 0 {
            return Estimate::default();
        }
        let points = self.points as f64;
        let averages: Vec<Vec<f64>> = (0..self.outputs)
            .map(|o| {
                of(&self.sums, o, self.outputs)
                    .map(|sum| sum / points)
                    .collect()
            })
            .collect();
        let values: Vec<f64> = averages.iter().map(|all| mean_and_squares(all).0).collect();
        let mut covariance = vec![0.0; packed(self.outputs, 0)];
        for (row, (a, mean_a)) in averages.iter().zip(&values).enumerate() {
            for (column, (b, mean_b)) in averages.iter().zip(&values).enumerate().take(row + 1) {
                let products: f64 = a
                    .iter()
                    .zip(b)
                    .map(|(x, y)| (x - mean_a) * (y - mean_b))
                    .sum();
                if let Some(entry) = covariance.get_mut(packed(row, column)) {
                    *entry = products / (COUNT * FREEDOM);
                }
            }
        }
        for (o, averages) in averages.iter().enumerate() {
            let spread = self.spread.get(o).copied().unwrap_or(0.0);
            let least = step_variance(averages, 2.0 * spread / points);
            raise(&mut covariance, self.outputs, o, least);
        }
        Estimate {
            values,
            covariance,
            dof: FREEDOM,
            chi2: self.chi2.clone(),
            chi2_dof: self.steps,
            bound: false,
        }
    }

    pub(crate) fn agree(&self) -> bool {
        self.agreed
    }
}

/// The entries of output `o` of every replicate.
fn of(sums: &[f64], o: usize, outputs: usize) -> impl Iterator<Item = &f64> {
    sums.iter().skip(o).step_by(outputs.max(1))
}

fn mean_and_squares(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    (
        mean,
        values
            .iter()
            .map(|value| (value - mean) * (value - mean))
            .sum(),
    )
}

/// The variance of the mean that the steps between few different averages allow: an indicator function in one dimension
/// gives every replicate one of two neighbouring counts, and their scatter says little about where between them the
/// integral lies. A quarter of a step squared is the most such a scatter can be. `count` is the step of one point, for
/// averages that are all equal.
fn step_variance(averages: &[f64], count: f64) -> f64 {
    let mut levels = averages.to_vec();
    levels.sort_by(f64::total_cmp);
    // Averages that are equal but for rounding are one level.
    levels.dedup_by(|high, low| *high - *low <= 1e-6 * count);
    if levels.len() > FEW_LEVELS {
        return 0.0;
    }
    let steps = levels
        .iter()
        .zip(levels.iter().skip(1))
        .map(|(low, high)| high - low);
    let step = steps.fold(f64::INFINITY, f64::min).min(count);
    step * step / 4.0 / FREEDOM
}
