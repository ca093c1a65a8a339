//! A region of a cubature: what the rule says of it, and how its error falls as it is halved.
//!
//! Where random points found what the rule did not see, the half with the point keeps it as its error until a rule sees
//! it too.

use serde::{Deserialize, Serialize};

use super::DEEPEST;
use super::check::{Group, volume};
use crate::partial::RegionSum;
use crate::wave::Region;

/// A half with more than this share of the whole's error has not gained by the halving: towards x^-0.95 each half next to
/// the pole keeps 0.966 of it, towards 1/x all.
const STUBBORN: f64 = 0.97;
/// The factor by which the movement falls from halving to halving when the integrand is smooth, at least; and when nothing
/// is gained by halving, at most.
const SMOOTH: f64 = 1.0 / 32.0;
const ENDLESS: f64 = 0.98;
/// From this factor and so many halvings on the movements may fall like a power of their number.
const SLOW: f64 = 0.95;
const FAR: u32 = 32;
/// A power this near to 1 is not distinguished from 1 by some two hundred halvings.
const NEARLY_ENDLESS: f64 = 0.02;
/// What a half has of the other's error, at least.
const BESIDE: f64 = 0.25;
/// The factor while there is only one halving to judge by: that of a kink.
const UNKNOWN: f64 = 0.25;
/// A side shorter than this share of its distance from zero cannot be halved.
const FINEST: f64 = 1e-12;

/// A rule whose own error is this share of what random points found has seen it.
const VISIBLE: f64 = 0.1;
/// A region and what is known of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Leaf {
    pub(super) region: Region,
    pub(super) depth: u32,
    /// Halvings that did not make the error smaller, less those that did.
    pub(super) stubborn: u32,
    pub(super) values: Vec<f64>,
    pub(super) errors: Vec<f64>,
    /// What the rule says of its error, with the sign.
    pub(super) signed: Vec<f64>,
    /// About the integral of the outputs' absolute values.
    pub(super) sizes: Vec<f64>,
    /// How far the values moved when the region that this was half of was halved.
    pub(super) moved: Vec<f64>,
    /// The factor by which that falls from halving to halving.
    pub(super) pace: Vec<f64>,
    /// A random point in it whose value no rule here has explained yet.
    pub(super) seen: Option<Seen>,
    /// The axis to halve.
    pub(super) axis: usize,
}

/// What random points found in a region and its rule did not see.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The point with the most of it, in the unit cube.
    pub(super) point: Vec<f64>,
    /// What it may be of each output's integral.
    pub(super) off: Vec<f64>,
    /// The share of the unit cube that the points stand for.
    pub(super) share: f64,
    /// How far each output is off at the point.
    height: Vec<f64>,
}

impl Seen {
    pub(super) fn nothing(outputs: usize) -> Self {
        Self {
            point: Vec::new(),
            off: vec![0.0; outputs],
            share: 0.0,
            height: vec![0.0; outputs],
        }
    }

    /// Whether a rule whose error is `errors` sees it too.
    fn is_visible(&self, errors: &[f64]) -> bool {
        let mut all = self.off.iter().zip(errors);
        all.any(|(off, error)| *off > 0.0 && error.abs() >= VISIBLE * off)
    }

    /// In a region of so small a volume it is no more than the distance at the point allows.
    fn fit(&mut self, volume: f64) {
        let off = self.off.iter_mut().zip(&self.height);
        off.for_each(|(off, height)| *off = off.min(height * volume));
    }

    /// Adds what a group of points found, each of which stands for `weight` of the cube.
    pub(super) fn take(&mut self, group: Group, weight: f64) {
        let Some(worst) = group.worst else { return };
        let here: f64 = group.off.iter().sum::<f64>() * weight;
        if here > self.off.iter().sum() {
            self.point = worst;
            self.height = group.height;
        }
        let all = self.off.iter_mut().zip(&group.off);
        all.for_each(|(all, one)| *all += weight * one);
        self.share += weight * group.unexplained as f64;
    }
}

impl Leaf {
    /// Whether `point` lies in it.
    pub(super) fn covers(&self, point: &[f64]) -> bool {
        let sides = self.region.lower.iter().zip(&self.region.upper);
        sides
            .zip(point)
            .all(|((lower, upper), x)| (lower..upper).contains(&x))
    }

    /// Takes what random points found for its error, until a rule on a part of it sees the same.
    pub(super) fn note(&mut self, seen: Seen) {
        let errors = self.errors.iter_mut().zip(&seen.off);
        errors.for_each(|(error, off)| *error = error.max(*off));
        self.seen = Some(seen);
        // Along the axis in which the rest varies halves might never come near the point.
        self.axis = widest(&self.region);
    }

    pub(super) fn first(region: Region, sum: &RegionSum) -> Self {
        let moved = vec![f64::NAN; sum.value.len()];
        let pace = vec![UNKNOWN; sum.value.len()];
        let (values, errors) = (sum.value.clone(), absolute(&sum.error));
        Self {
            region,
            depth: 0,
            stubborn: 0,
            values,
            errors,
            signed: sum.error.clone(),
            sizes: sum.size.clone(),
            moved,
            pace,
            seen: None,
            axis: sum.split as usize,
        }
    }

    /// Its halves. What the rule says of its own error may be far too small by chance, next to an edge or a pole; how far
    /// the value moved at this halving and at the one before tells how the series of halvings will go on.
    pub(super) fn halves(&self, regions: &[Region; 2], sums: &[RegionSum; 2]) -> [Self; 2] {
        let [left, right] = sums;
        let mut errors = [absolute(&left.error), absolute(&right.error)];
        let mut moved = Vec::with_capacity(self.values.len());
        let mut paces = Vec::with_capacity(self.values.len());
        let known = self.moved.iter().zip(&self.pace);
        for (o, (value, (before, pace))) in self.values.iter().zip(known).enumerate() {
            let get = |values: &[f64]| values.get(o).copied().unwrap_or(0.0);
            let now = (get(&left.value) + get(&right.value) - value).abs();
            let ratio = now / before;
            // One small step between large ones is chance.
            let ratio = if ratio.is_nan() {
                *pace
            } else {
                ratio.max(pace / 2.0).clamp(SMOOTH, 1.0)
            };
            paces.push(ratio);
            let rest = now * beyond(ratio, self.depth);
            moved.push(now);
            let [a, b] = &mut errors;
            if let (Some(a), Some(b)) = (a.get_mut(o), b.get_mut(o)) {
                let (worse, better) = if *a >= *b { (a, b) } else { (b, a) };
                *worse = worse.max(rest);
                // A half that looks fine beside one that moved much may look so by chance.
                *better = better.max(BESIDE * rest);
            }
        }
        let [a, b] = errors;
        let half = |region: &Region, sum: &RegionSum, errors: Vec<f64>| {
            let stubborn = if largest(&errors) > STUBBORN * largest(&self.errors) {
                self.stubborn + 1
            } else {
                self.stubborn.saturating_sub(1)
            };
            let mut errors = errors;
            let mut depth = self.depth + 1;
            if is_finest(region) {
                // The rule's points fall together here: nothing is known but the size.
                depth = DEEPEST;
                errors
                    .iter_mut()
                    .zip(&sum.value)
                    .for_each(|(error, value)| *error = error.max(value.abs()));
            }
            let (values, moved, pace) = (sum.value.clone(), moved.clone(), paces.clone());
            let (region, axis) = (region.clone(), sum.split as usize);
            let mut half = Self {
                region,
                depth,
                stubborn,
                values,
                errors,
                signed: sum.error.clone(),
                sizes: sum.size.clone(),
                moved,
                pace,
                seen: None,
                axis,
            };
            if let Some(seen) = &self.seen
                && half.covers(&seen.point)
            {
                // On the way to a feature the error grows: that is no pole.
                half.stubborn = 0;
                let mut seen = seen.clone();
                seen.fit(volume(&half.region));
                if !seen.is_visible(&sum.error) {
                    half.note(seen);
                }
            }
            half
        };
        let [first, second] = regions;
        [half(first, left, a), half(second, right, b)]
    }
}

/// What follows after a movement, as a multiple of it, when movements fall by `ratio` from halving to halving: a geometric
/// series. Where they hardly fall, as towards 1/(x ln(x)^2), the k-th is rather like k^-p, with p = k (1 - ratio), and k/(p - 1)
/// of them follow; below p = 1 the sum has no end.
fn beyond(ratio: f64, depth: u32) -> f64 {
    let falling = ratio.min(ENDLESS);
    let geometric = falling / (1.0 - falling);
    if ratio < SLOW || depth < FAR {
        return geometric;
    }
    let depth = f64::from(depth + 1);
    let power = depth * (1.0 - ratio);
    geometric.max(depth / (power - 1.0).max(NEARLY_ENDLESS))
}

/// Whether a side is so short, seen from zero, that its points have few digits of their own.
fn is_finest(region: &Region) -> bool {
    let sides = region.lower.iter().zip(&region.upper);
    sides
        .into_iter()
        .any(|(low, high)| high - low < FINEST * high)
}

fn widest(region: &Region) -> usize {
    let sides = region.lower.iter().zip(&region.upper).enumerate();
    let widths = sides.map(|(axis, (lower, upper))| (axis, upper - lower));
    widths
        .fold(
            (0, 0.0),
            |most, side| if side.1 > most.1 { side } else { most },
        )
        .0
}

fn absolute(errors: &[f64]) -> Vec<f64> {
    errors.iter().map(|error| error.abs()).collect()
}

fn largest(errors: &[f64]) -> f64 {
    errors.iter().copied().fold(0.0, f64::max)
}
