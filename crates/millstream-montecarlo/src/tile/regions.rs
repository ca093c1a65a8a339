//! A tile of regions: a deterministic rule on each, as many of them in a block as fit.
//!
//! Besides value and error each region names the axis to cut: the one with the largest fourth difference.
#![expect(
    clippy::indexing_slicing,
    reason = "a rule has fewer points than a block, and differences are numbers of its points"
)]

use super::Prepared;
use super::block::{Buffers, Notes};
use super::rules::{DIFFERENCE_RATIO, Rule};
use crate::BLOCK;
use crate::partial::RegionSum;
use crate::wave::{Region, TILE_REGIONS};

impl Prepared {
    pub(super) fn regions(
        &self,
        rule: &Rule,
        tile: u64,
        regions: &[Region],
        (buffers, notes): (&mut Buffers, &mut Notes),
    ) -> Vec<RegionSum> {
        let first = usize::try_from(tile)
            .unwrap_or(usize::MAX)
            .saturating_mul(TILE_REGIONS);
        let regions = regions
            .iter()
            .skip(first)
            .take(TILE_REGIONS)
            .collect::<Vec<_>>();
        let size = rule.points.len();
        let mut sums = Vec::with_capacity(regions.len());
        for group in regions.chunks(BLOCK / size) {
            for (place, region) in group.iter().enumerate() {
                lay_out(rule, region, place * size, &mut buffers.points);
            }
            let used = group.len() * size;
            buffers.pad(used);
            self.evaluate(buffers, used, false, notes);
            for (place, region) in group.iter().enumerate() {
                let outputs: Vec<&[f64]> = buffers
                    .out
                    .chunks_exact(BLOCK)
                    .map(|out| &out[place * size..][..size])
                    .collect();
                sums.push(apply(rule, region, &outputs));
            }
        }
        sums
    }
}

/// Writes the rule's points on `region` into the block from point `at` on.
pub(super) fn lay_out(rule: &Rule, region: &Region, at: usize, points: &mut [f64]) {
    let sides = region.lower.iter().zip(&region.upper);
    for (axis, (points, (lower, upper))) in points.chunks_exact_mut(BLOCK).zip(sides).enumerate() {
        let (middle, half) = (f64::midpoint(*lower, *upper), (upper - lower) / 2.0);
        for (point, place) in points[at..].iter_mut().zip(&rule.points) {
            *point = half.mul_add(place[axis], middle);
        }
    }
}

fn apply(rule: &Rule, region: &Region, outputs: &[&[f64]]) -> RegionSum {
    let volume: f64 = region
        .lower
        .iter()
        .zip(&region.upper)
        .map(|(lower, upper)| upper - lower)
        .product();
    let mut sum = RegionSum {
        value: Vec::new(),
        error: Vec::new(),
        size: Vec::new(),
        split: 0,
    };
    for values in outputs {
        let (mut fine, mut coarse) = (0.0, 0.0);
        for (value, weights) in values.iter().zip(&rule.weights) {
            fine = value.mul_add(weights.0, fine);
            coarse = value.mul_add(weights.1, coarse);
        }
        sum.value.push(fine * volume);
        sum.error.push((fine - coarse) * volume);
        let absolute: f64 = values.iter().map(|value| value.abs()).sum();
        sum.size.push(absolute / values.len() as f64 * volume);
    }
    sum.split = widest_difference(rule, region, outputs);
    sum
}

/// The axis with the largest fourth difference over all outputs; the widest of them when they are equal.
fn widest_difference(rule: &Rule, region: &Region, outputs: &[&[f64]]) -> u32 {
    let difference = |[left, right, far_left, far_right]: &[usize; 4]| -> f64 {
        let of = |values: &&[f64]| {
            let twice = 2.0 * values[0];
            let near = values[*left] + values[*right] - twice;
            let far = values[*far_left] + values[*far_right] - twice;
            (near - DIFFERENCE_RATIO * far).abs()
        };
        outputs.iter().map(of).sum()
    };
    let width = |axis: usize| region.upper[axis] - region.lower[axis];
    let mut best = (0, -1.0, 0.0);
    for (axis, points) in rule.differences.iter().enumerate() {
        let (seen, width) = (difference(points), width(axis));
        if seen > best.1 || (seen == best.1 && width > best.2) {
            best = (axis, seen, width);
        }
    }
    best.0 as u32
}
