//! Adaptive cubature: regions with the largest errors are halved until their sum is small enough.
//!
//! The rule's own error estimate, summed over all regions, is the bound of the interval. Where a sampling method sees a
//! narrow peak with some probability, a rule sees it or not. So a claim is tested before it is believed: random points, spread
//! evenly, are compared with what the rule's points say of their regions. What they do not explain must fit into the bound;
//! where it does not, the error of these regions is what was found there, and they are halved. A region is not halved beyond
//! [`DEEPEST`]: towards a pole halves would go on for ever, each adding its share to a value that grows without end.

mod check;
mod leaf;

use serde::{Deserialize, Serialize};

pub(crate) use self::check::Missed;
use self::check::Remembered;
use self::leaf::Leaf;

use crate::Error;
use crate::estimate::{Estimate, packed};
use crate::partial::{Partial, Sums};
use crate::tile::rule_points;
use crate::wave::{Region, Work};

/// Halvings of one region at most.
const DEEPEST: u32 = 200;
/// So many such halvings more than others are a pole.
const POLE: u32 = 3;
/// The rounding of a long sum.
const ROUNDING: f64 = 1e-14;
/// Poles matter when they hold this share of the error.
const POLE_SHARE: f64 = 0.2;
/// Regions kept at most; each is a few hundred bytes of a checkpoint.
const MOST: usize = 1 << 16;
/// Regions halved in one wave at most.
const HALVED: usize = 1 << 12;
/// A region is halved with the worst one when its error is at least this share of the worst.
const ALSO: f64 = 0.25;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cubature {
    dim: usize,
    /// For each axis, whether its ends are infinite.
    infinite: Vec<[bool; 2]>,
    leaves: Vec<Leaf>,
    /// The leaves whose halves are the present wave; none for the first.
    halved: Vec<usize>,
    asked: Vec<Region>,
    /// Values and errors before the last wave.
    before: Option<(Vec<f64>, Vec<f64>)>,
    test: Test,
    /// Points that a rule once did not explain.
    remembered: Vec<Remembered>,
    /// What the last test found, if it failed.
    open: Option<Missed>,
    /// Values when a test failed for the first time.
    unresolved: Option<Vec<f64>>,
}

/// Whether random points have confirmed the present value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Test {
    Open,
    /// The remembered points are explained, new ones have not been drawn yet.
    Recalled,
    Passed,
    Failed,
}

impl Cubature {
    pub(crate) fn new(infinite: Vec<[bool; 2]>) -> Self {
        let dim = infinite.len();
        let pieces: usize = match dim {
            1 => 8,
            2 => 4,
            3 => 3,
            _ => 2,
        };
        let mut asked = vec![Region {
            lower: vec![0.0; dim],
            upper: vec![1.0; dim],
        }];
        for axis in 0..dim {
            asked = asked
                .iter()
                .flat_map(|region| cut(region, axis, pieces))
                .collect();
        }
        Self {
            dim,
            infinite,
            leaves: Vec::new(),
            halved: Vec::new(),
            asked,
            before: None,
            test: Test::Open,
            remembered: Vec::new(),
            open: None,
            unresolved: None,
        }
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        let samples = (self.asked.len() as u64).saturating_mul(rule_points(self.dim));
        (samples > 0 && samples <= left).then(|| Work::Regions {
            regions: self.asked.clone(),
        })
    }

    pub(crate) fn complete(&mut self, work: &Work, whole: &Partial) -> Result<(), Error> {
        let results = match (&whole.sums, work) {
            (Sums::Regions(results), _) => results,
            (_, Work::Checks { checks }) => return self.judge(checks, whole),
            _ => return Err(Error::Mismatch),
        };
        self.test = Test::Open;
        let asked = std::mem::take(&mut self.asked);
        if self.leaves.is_empty() {
            self.leaves = asked
                .into_iter()
                .zip(results)
                .map(|(region, sum)| Leaf::first(region, sum))
                .collect();
        } else {
            self.before = Some(self.sums());
            let halves = asked
                .as_chunks::<2>()
                .0
                .iter()
                .zip(results.as_chunks::<2>().0);
            for (parent, (regions, sums)) in
                std::mem::take(&mut self.halved).into_iter().zip(halves)
            {
                let Some(slot) = self.leaves.get_mut(parent) else {
                    return Err(Error::Mismatch);
                };
                let [left, right] = slot.halves(regions, sums);
                *slot = left;
                self.leaves.push(right);
            }
        }
        self.choose();
        Ok(())
    }

    /// About the integral of each output's absolute value.
    fn sizes(&self) -> Vec<f64> {
        let mut sizes = vec![0.0; self.leaves.first().map_or(0, |leaf| leaf.sizes.len())];
        for leaf in &self.leaves {
            sizes
                .iter_mut()
                .zip(&leaf.sizes)
                .for_each(|(sum, size)| *sum += size);
        }
        sizes
    }

    /// Whether the error of every output is the rounding of its sum: no halving makes it smaller.
    pub(crate) fn is_exhausted(&self) -> bool {
        let (_, errors) = self.sums();
        let mut both = errors.iter().zip(self.sizes());
        let mut any = false;
        both.all(|(error, size)| {
            any |= size > 0.0;
            *error <= ROUNDING * size
        }) && any
    }

    /// Evaluations that fill all regions.
    pub(crate) fn capacity(&self) -> f64 {
        2.0 * MOST as f64 * rule_points(self.dim) as f64
    }

    /// Chooses the regions to halve, and asks for their halves.
    fn choose(&mut self) {
        let (values, errors) = self.sums();
        // Every output counts by its error's share of its value, or of the whole error when that is larger.
        let sizes: Vec<f64> = values
            .iter()
            .zip(&errors)
            .map(|(value, error)| value.abs().max(*error))
            .collect();
        let key = |leaf: &Leaf| {
            let shares = leaf
                .errors
                .iter()
                .zip(&sizes)
                .map(|(error, size)| if *size > 0.0 { error / size } else { 0.0 });
            let worst = shares.fold(0.0_f64, |worst, share| {
                if share.is_nan() {
                    f64::INFINITY
                } else {
                    worst.max(share)
                }
            });
            if leaf.depth >= DEEPEST { 0.0 } else { worst }
        };
        let keys: Vec<f64> = self.leaves.iter().map(key).collect();
        let worst = keys.iter().copied().fold(0.0, f64::max);
        let mut chosen: Vec<(f64, usize)> = keys
            .into_iter()
            .zip(0..)
            .filter(|(error, _)| *error > 0.0 && *error >= ALSO * worst)
            .collect();
        chosen.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        chosen.truncate(MOST.saturating_sub(self.leaves.len()).min(HALVED));
        self.halved = chosen.into_iter().map(|(_, leaf)| leaf).collect();
        let leaves = self.halved.iter().filter_map(|leaf| self.leaves.get(*leaf));
        self.asked = leaves
            .flat_map(|leaf| cut(&leaf.region, leaf.axis, 2))
            .collect();
    }

    /// Values and errors of all regions together.
    fn sums(&self) -> (Vec<f64>, Vec<f64>) {
        let outputs = self.leaves.first().map_or(0, |leaf| leaf.values.len());
        let mut values = vec![0.0; outputs];
        let mut errors = vec![0.0; outputs];
        for leaf in &self.leaves {
            values
                .iter_mut()
                .zip(&leaf.values)
                .for_each(|(sum, value)| *sum += value);
            errors
                .iter_mut()
                .zip(&leaf.errors)
                .for_each(|(sum, error)| *sum += error);
        }
        (values, errors)
    }

    pub(crate) fn estimate(&self) -> Estimate {
        let (values, errors) = self.sums();
        let outputs = values.len();
        let mut covariance = vec![0.0; packed(outputs, 0)];
        for (o, (size, error)) in self.sizes().iter().zip(&errors).enumerate() {
            if let Some(entry) = covariance.get_mut(packed(o, o)) {
                // The bound, two standard errors, is twice what the rule says, and never below the rounding of a long sum,
                // whose terms may cancel.
                let error = error.max(size * ROUNDING);
                *entry = error * error;
            }
        }
        self.correlate(&mut covariance, outputs);
        Estimate {
            values,
            covariance,
            dof: f64::INFINITY,
            chi2: Vec::new(),
            chi2_dof: 0,
            bound: true,
        }
    }

    /// Outputs whose errors have the same sign wherever they are large have the same error.
    fn correlate(&self, covariance: &mut [f64], outputs: usize) {
        for row in 1..outputs {
            for column in 0..row {
                let mut products = [0.0; 3];
                for leaf in &self.leaves {
                    let (a, b) = (at(&leaf.signed, row), at(&leaf.signed, column));
                    let terms = [a * a, b * b, a * b];
                    let sums = products.iter_mut().zip(terms);
                    sums.for_each(|(sum, term)| *sum += term);
                }
                let [a, b, both] = products;
                let correlation = if a * b > 0.0 {
                    both / (a * b).sqrt()
                } else {
                    0.0
                };
                let variances = [packed(row, row), packed(column, column)];
                let [a, b] = variances.map(|place| at(covariance, place));
                set(
                    covariance,
                    packed(row, column),
                    correlation * (a * b).sqrt(),
                );
            }
        }
    }

    /// Whether the last wave moved every value by no more than the bounds before and after say.
    pub(crate) fn agree(&self) -> bool {
        let Some((before, bounds)) = &self.before else {
            return self.asked.is_empty();
        };
        let (values, errors) = self.sums();
        let moved = values
            .iter()
            .zip(before)
            .map(|(now, before)| (now - before).abs());
        let bounds = bounds.iter().zip(&errors).zip(self.sizes());
        moved
            .zip(bounds)
            .all(|(moved, ((bound, now), size))| moved <= bound + now + ROUNDING * size)
    }
}

impl Cubature {
    /// Whether halving does not help where most of the error is.
    pub(crate) fn stuck(&self) -> bool {
        let (_, errors) = self.sums();
        let sizes = self.sizes();
        let worst = |o: usize| {
            let poles = self
                .leaves
                .iter()
                .filter(|leaf| leaf.stubborn >= POLE || leaf.depth >= DEEPEST);
            poles.filter_map(|leaf| leaf.errors.get(o)).sum::<f64>()
        };
        errors
            .iter()
            .enumerate()
            .zip(sizes)
            .any(|((o, error), size)| *error > ROUNDING * size && worst(o) > POLE_SHARE * error)
    }

    pub(crate) fn oddities(&self) -> Vec<String> {
        if !self.stuck() {
            return Vec::new();
        }
        vec!["the error does not shrink however small the regions are: there is a pole, and the integral may not exist; check the integrand there, or cut the pole off".into()]
    }
}

/// `region` in `pieces` equal parts along `axis`.
fn cut(region: &Region, axis: usize, pieces: usize) -> impl Iterator<Item = Region> + use<> {
    let (low, high) = (at(&region.lower, axis), at(&region.upper, axis));
    let bound = move |piece: usize| match piece {
        0 => low,
        piece if piece == pieces => high,
        piece => low + (high - low) * (piece as f64 / pieces as f64),
    };
    let region = region.clone();
    (0..pieces).map(move |piece| {
        let mut part = region.clone();
        set(&mut part.lower, axis, bound(piece));
        set(&mut part.upper, axis, bound(piece + 1));
        part
    })
}

fn at(values: &[f64], index: usize) -> f64 {
    values.get(index).copied().unwrap_or(0.0)
}

fn set(values: &mut [f64], index: usize, value: f64) {
    if let Some(entry) = values.get_mut(index) {
        *entry = value;
    }
}
