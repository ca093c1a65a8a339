//! Adaptive cubature: regions with the largest errors are halved until their sum is small enough.
//!
//! No chance in it: the rule's own error estimate, summed over all regions, is the bound of the interval. Where a sampling
//! method sees a narrow peak with some probability, a rule sees it or not, so the job compares the result with independent
//! samples before it believes it. A region is not halved beyond [`DEEPEST`]: towards a pole halves would go on for ever,
//! each adding its share to a value that grows without end.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::estimate::{Estimate, packed};
use crate::partial::{Partial, Sums};
use crate::tile::rule_points;
use crate::wave::{Region, Work};

/// Halvings of one region at most.
const DEEPEST: u32 = 60;
/// A half with more than this share of the whole's error has not gained by the halving: towards x^-0.95 each half next to
/// the pole keeps 0.966 of it, towards 1/x all.
const STUBBORN: f64 = 0.97;
/// So many such halvings in a row are a pole.
const POLE: u32 = 4;
/// Poles matter when they hold this share of the error.
const POLE_SHARE: f64 = 0.2;
/// Regions kept at most; each is a few hundred bytes of a checkpoint.
const MOST: usize = 1 << 16;
/// Regions halved in one wave at most.
const HALVED: usize = 1 << 12;
/// A region is halved with the worst one when its error is at least this share of the worst.
const ALSO: f64 = 0.25;

/// A region and what the rule says of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Leaf {
    region: Region,
    depth: u32,
    /// Halvings in a row that did not make the error smaller.
    stubborn: u32,
    values: Vec<f64>,
    errors: Vec<f64>,
    /// The axis to halve.
    axis: usize,
}

/// A region to evaluate.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Asked {
    region: Region,
    depth: u32,
    stubborn: u32,
    /// The largest error of the region that it was half of.
    error: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Cubature {
    dim: usize,
    leaves: Vec<Leaf>,
    /// The regions of the present wave.
    asked: Vec<Asked>,
    /// Values and errors after the wave before the last.
    before: Option<(Vec<f64>, Vec<f64>)>,
    waves: u32,
}

impl Cubature {
    pub(crate) fn new(dim: usize) -> Self {
        let pieces: usize = match dim {
            1 => 8,
            2 => 4,
            3 => 3,
            _ => 2,
        };
        let mut regions = vec![Region {
            lower: vec![0.0; dim],
            upper: vec![1.0; dim],
        }];
        for axis in 0..dim {
            regions = regions
                .iter()
                .flat_map(|region| cut(region, axis, pieces))
                .collect();
        }
        let first = |region| Asked {
            region,
            depth: 0,
            stubborn: 0,
            error: f64::INFINITY,
        };
        let asked = regions.into_iter().map(first).collect();
        Self {
            dim,
            leaves: Vec::new(),
            asked,
            before: None,
            waves: 0,
        }
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        let samples = (self.asked.len() as u64).saturating_mul(rule_points(self.dim));
        let regions = || {
            self.asked
                .iter()
                .map(|asked| asked.region.clone())
                .collect()
        };
        (samples > 0 && samples <= left).then(|| Work::Regions { regions: regions() })
    }

    pub(crate) fn complete(&mut self, _: &Work, whole: &Partial) -> Result<(), Error> {
        let Sums::Regions(results) = &whole.sums else {
            return Err(Error::Mismatch);
        };
        if self.waves > 0 {
            let estimate = self.sums();
            self.before = Some(estimate);
        }
        let asked = std::mem::take(&mut self.asked);
        if self.waves > 0 {
            // The parents of what was asked stood last.
            self.leaves
                .truncate(self.leaves.len().saturating_sub(asked.len() / 2));
        }
        for (asked, result) in asked.into_iter().zip(results) {
            let (values, errors) = (result.value.clone(), result.error.clone());
            let stubborn = if largest(&errors) > STUBBORN * asked.error {
                asked.stubborn + 1
            } else {
                0
            };
            let Asked { region, depth, .. } = asked;
            self.leaves.push(Leaf {
                region,
                depth,
                stubborn,
                values,
                errors,
                axis: result.split as usize,
            });
        }
        self.waves += 1;
        self.choose();
        Ok(())
    }

    /// Puts the regions to halve last, and asks for their halves.
    fn choose(&mut self) {
        let (values, errors) = self.sums();
        // Every output counts by its share of the whole error, or of the whole value when there is no error yet.
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
        let mut order: Vec<(f64, usize)> = self.leaves.iter().map(key).zip(0..).collect();
        order.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let worst = order.last().map_or(0.0, |(error, _)| *error);
        let room = MOST.saturating_sub(self.leaves.len()).min(HALVED);
        let chosen = order
            .iter()
            .rev()
            .take(room)
            .take_while(|(error, _)| *error > 0.0 && *error >= ALSO * worst)
            .count();
        let mut places = vec![0; order.len()];
        for (place, (_, leaf)) in order.iter().enumerate() {
            if let Some(entry) = places.get_mut(*leaf) {
                *entry = place;
            }
        }
        let mut placed: Vec<(usize, Leaf)> =
            places.into_iter().zip(self.leaves.drain(..)).collect();
        placed.sort_by_key(|(place, _)| *place);
        self.leaves = placed.into_iter().map(|(_, leaf)| leaf).collect();
        let halved = self.leaves.iter().skip(self.leaves.len() - chosen);
        let halves = |leaf: &Leaf| {
            let (depth, stubborn, error) = (leaf.depth + 1, leaf.stubborn, largest(&leaf.errors));
            cut(&leaf.region, leaf.axis, 2).map(move |region| Asked {
                region,
                depth,
                stubborn,
                error,
            })
        };
        self.asked = halved.flat_map(halves).collect();
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
        for (o, (value, error)) in values.iter().zip(&errors).enumerate() {
            if let Some(entry) = covariance.get_mut(packed(o, o)) {
                // The bound is two standard errors, and never below the rounding of a long sum.
                let error = error.max(value.abs() * 1e-14) / 2.0;
                *entry = error * error;
            }
        }
        Estimate {
            values,
            covariance,
            dof: f64::INFINITY,
            chi2: Vec::new(),
            chi2_dof: 0,
            bound: true,
        }
    }

    /// Whether the last wave moved every value by less than the bound before it said.
    pub(crate) fn agree(&self) -> bool {
        let Some((before, bounds)) = &self.before else {
            return false;
        };
        let (values, errors) = self.sums();
        let moved = values
            .iter()
            .zip(before)
            .map(|(now, before)| (now - before).abs());
        moved
            .zip(bounds.iter().zip(&errors))
            .all(|(moved, (bound, now))| moved <= bound + now)
            || values
                .iter()
                .zip(before)
                .all(|(now, before)| (now - before).abs() <= 1e-13 * now.abs())
    }
}

impl Cubature {
    /// Whether halving does not help where most of the error is.
    pub(crate) fn stuck(&self) -> bool {
        let (_, errors) = self.sums();
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
            .any(|(o, error)| *error > 0.0 && worst(o) > POLE_SHARE * error)
    }

    pub(crate) fn oddities(&self) -> Vec<String> {
        if !self.stuck() {
            return Vec::new();
        }
        vec!["the error does not shrink however small the regions are: there is a pole, and the integral may not exist; check the integrand there, or cut the pole off".into()]
    }
}

fn largest(errors: &[f64]) -> f64 {
    errors.iter().copied().fold(0.0, f64::max)
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
