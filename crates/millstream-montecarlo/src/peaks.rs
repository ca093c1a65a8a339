//! Maps made for known peaks: one around a point, and one that serves several maps at once.
//!
//! How wide a peak is nobody says, so the map around a point draws from all scales alike, down to [`NARROWEST`].

use crate::kernels::scalar::{exp, ln};
use crate::map::{INCREMENTS, Map};

/// The narrowest scale that a hint's map looks at, as a share of an axis.
const NARROWEST: f64 = 1e-4;

impl Map {
    /// A map that on every axis draws equally from every order of magnitude of the distance to `point`, which lies in the
    /// unit cube.
    pub(crate) fn towards(point: &[f64]) -> Self {
        let axis = |at: &f64| {
            let reach = |distance: f64| ln(1.0 + distance / NARROWEST);
            let distance = |reach: f64| NARROWEST * (exp(reach) - 1.0);
            let (left, all) = (reach(*at), reach(*at) + reach(1.0 - *at));
            let place = |piece: usize| {
                let here = all * piece as f64 / INCREMENTS as f64;
                if here < left {
                    at - distance(left - here)
                } else {
                    at + distance(here - left)
                }
            };
            edges((0..INCREMENTS).map(place))
        };
        Self::of_edges(point.iter().map(axis).collect())
    }

    /// A map whose density on every axis is the mean of those of `maps`.
    pub(crate) fn together(maps: &[Self]) -> Self {
        let dim = maps.first().map_or(0, Self::dim);
        let axis = |axis: usize| {
            let all: Vec<&[f64]> = maps
                .iter()
                .filter_map(|map| map.edges().get(axis))
                .map(Vec::as_slice)
                .collect();
            let mut breaks: Vec<f64> = all
                .iter()
                .flat_map(|edges| edges.iter().copied())
                .chain([1.0])
                .collect();
            breaks.sort_by(f64::total_cmp);
            breaks.dedup();
            let below = |x: f64| {
                all.iter().map(|edges| share_below(edges, x)).sum::<f64>() / all.len().max(1) as f64
            };
            let shares: Vec<f64> = breaks.iter().map(|x| below(*x)).collect();
            let place = |piece: usize| {
                let goal = piece as f64 / INCREMENTS as f64;
                let after = shares
                    .partition_point(|share| *share < goal)
                    .clamp(1, shares.len() - 1);
                let corner = |values: &[f64], at: usize| values.get(at).copied().unwrap_or(1.0);
                let (x0, x1) = (corner(&breaks, after - 1), corner(&breaks, after));
                let (s0, s1) = (corner(&shares, after - 1), corner(&shares, after));
                if s1 > s0 {
                    x0 + (x1 - x0) * ((goal - s0) / (s1 - s0))
                } else {
                    x0
                }
            };
            edges((0..INCREMENTS).map(place))
        };
        Self::of_edges((0..dim).map(axis).collect())
    }
}

/// The share of a map's samples that lie below `x` on an axis.
fn share_below(edges: &[f64], x: f64) -> f64 {
    let piece = edges.partition_point(|edge| *edge <= x).saturating_sub(1);
    let left = edges.get(piece).copied().unwrap_or(0.0);
    let right = edges.get(piece + 1).copied().unwrap_or(1.0);
    (piece as f64 + ((x - left) / (right - left)).clamp(0.0, 1.0)) / INCREMENTS as f64
}

/// Edges from 0, rising, below 1, whatever rounding made of `places`.
fn edges(places: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut last = 0.0_f64;
    let mut edges: Vec<f64> = vec![0.0];
    for place in places.skip(1) {
        last = place.max(last.next_up());
        edges.push(last);
    }
    let mut limit = 1.0_f64;
    for edge in edges.iter_mut().rev() {
        limit = limit.next_down().min(*edge);
        *edge = limit;
    }
    edges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_towards_a_point_has_most_of_its_pieces_near_it() {
        let map = Map::towards(&[0.3, 0.0, 1.0]);
        for (axis, at) in map.edges().iter().zip([0.3, 0.0, 1.0]) {
            let near = |width: f64| {
                axis.iter()
                    .filter(|edge| (*edge - at).abs() < width)
                    .count()
            };
            // Log-uniform down to 1e-4: half of the pieces within 1e-2, to a few per cent.
            assert!(
                near(1e-2) > 110 && near(1e-3) > 50 && near(1e-2) < 180,
                "{at}: {}",
                near(1e-2)
            );
            assert!(axis.is_sorted_by(|a, b| a < b) && axis[0] == 0.0 && axis[255] < 1.0);
        }
    }

    #[test]
    fn maps_together_give_each_its_share() {
        let (left, right) = (Map::towards(&[0.2]), Map::towards(&[0.8]));
        let both = Map::together(&[left, right]);
        let below = both.edges()[0].iter().filter(|edge| **edge < 0.5).count();
        assert!((126..=130).contains(&below), "{below}");
        let same = Map::together(&[Map::uniform(1), Map::uniform(1)]);
        assert_eq!(same, Map::uniform(1));
    }
}
