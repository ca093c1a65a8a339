//! What a rule's points say of the points between them: a polynomial through the values at the rule's points on a region.
//!
//! A rule claims more than its value: that the integrand is as smooth as its points say. A random point that lies far from
//! the polynomial contradicts that claim, however small its share of the integral is. One dimension: the interpolant through
//! all fifteen points. Two to five: quartics along the axes and products of powers up to two for each pair of axes; they pass
//! through all points but the corners, whose deviation says how far the polynomial can be trusted.

use super::rules::{DIFFERENCE_RATIO, Rule};

/// A value off by so many times the deviation that the rule's points show is not explained by them. A term of degree 9, the
/// first that neither rule sees, grows by (1 / 0.688)^9 = 29 from the corners of the rule to the edge of the region.
const UNEXPLAINED: f64 = 32.0;
/// Rounding of the polynomial, as a share of the largest value at the rule's points.
const ROUNDING: f64 = 1e-11;

/// The polynomial of one output on one region, from -1 to 1 along each axis.
pub(super) struct Model {
    shape: Shape,
    /// A residual beyond this is not explained.
    tolerance: f64,
}

enum Shape {
    /// Nodes, barycentric weights and values.
    Line(Vec<(f64, f64, f64)>),
    Axes {
        middle: f64,
        /// Of each axis: the coefficients of t, t^2, t^3, t^4.
        axes: Vec<[f64; 4]>,
        /// Of each pair of axes (a, b): the coefficients of ab, ab^2, a^2b, a^2b^2.
        pairs: Vec<(usize, usize, [f64; 4])>,
    },
}

impl Model {
    /// The polynomial through `values`, one at each of the rule's points.
    pub(super) fn new(rule: &Rule, values: &[f64]) -> Self {
        let largest = values
            .iter()
            .fold(0.0_f64, |most, value| most.max(value.abs()));
        let (shape, deviation) = if rule.differences.is_empty() {
            line(rule, values)
        } else {
            axes(rule, values)
        };
        Self {
            shape,
            tolerance: UNEXPLAINED * deviation + ROUNDING * largest,
        }
    }

    /// How far `value` at `place` is from the polynomial; zero when the rule's points explain it.
    pub(super) fn unexplained(&self, place: &[f64], value: f64) -> f64 {
        let off = (value - self.shape.at(place)).abs();
        if off <= self.tolerance { 0.0 } else { off }
    }
}

impl Shape {
    fn at(&self, place: &[f64]) -> f64 {
        match self {
            Self::Line(nodes) => interpolated(nodes, coordinate(place, 0)),
            Self::Axes {
                middle,
                axes,
                pairs,
            } => {
                let along = axes
                    .iter()
                    .zip(place)
                    .map(|([a, b, c, d], t)| t * (a + t * (b + t * (c + t * d))));
                let across = pairs.iter().map(|(first, second, [ab, abb, aab, aabb])| {
                    let (a, b) = (coordinate(place, *first), coordinate(place, *second));
                    a * b * (ab + b * abb + a * aab + a * b * aabb)
                });
                middle + along.sum::<f64>() + across.sum::<f64>()
            }
        }
    }
}

/// The interpolant through all points, and how far the one through the coarse rule's points alone is from the others.
fn line(rule: &Rule, values: &[f64]) -> (Shape, f64) {
    let nodes = || {
        let weights = rule.weights.iter().map(|(_, coarse)| *coarse);
        rule.points
            .iter()
            .map(|point| coordinate(point, 0))
            .zip(values.iter().copied())
            .zip(weights)
    };
    let all = barycentric(&nodes().map(|(node, _)| node).collect::<Vec<_>>());
    let coarse = barycentric(
        &nodes()
            .filter(|(_, weight)| *weight != 0.0)
            .map(|(node, _)| node)
            .collect::<Vec<_>>(),
    );
    let deviation = nodes()
        .filter(|(_, weight)| *weight == 0.0)
        .map(|((x, value), _)| (value - interpolated(&coarse, x)).abs())
        .fold(0.0, f64::max);
    (Shape::Line(all), deviation)
}

/// Node, weight and value of each; Berrut and Trefethen, "Barycentric Lagrange interpolation" (2004).
fn barycentric(nodes: &[(f64, f64)]) -> Vec<(f64, f64, f64)> {
    let weight = |at: usize, x: f64| {
        let others = nodes.iter().enumerate().filter(|(other, _)| *other != at);
        1.0 / others.map(|(_, (other, _))| x - other).product::<f64>()
    };
    let weighted = nodes.iter().enumerate();
    weighted
        .map(|(at, (x, value))| (*x, weight(at, *x), *value))
        .collect()
}

fn interpolated(nodes: &[(f64, f64, f64)], x: f64) -> f64 {
    let (mut above, mut below) = (0.0, 0.0);
    for (node, weight, value) in nodes {
        let off = x - node;
        if off == 0.0 {
            return *value;
        }
        let share = weight / off;
        above += share * value;
        below += share;
    }
    above / below
}

/// Quartics along the axes and the pairs' products; how far they are from the corners, or the quartic content where more.
fn axes(rule: &Rule, values: &[f64]) -> (Shape, f64) {
    let value = |at: usize| values.get(at).copied().unwrap_or(0.0);
    let middle = value(0);
    let mut deviation = 0.0_f64;
    let mut axes = Vec::new();
    for (axis, points) in rule.differences.iter().enumerate() {
        let [left, right, far_left, far_right] = points.map(value);
        let place = |point: usize| {
            rule.points
                .get(point)
                .map_or(0.0, |point| coordinate(point, axis))
        };
        let (near, far) = (place(points[1]), place(points[3]));
        let even = |low: f64, high: f64| f64::midpoint(low, high) - middle;
        let odd = |low: f64, high: f64| (high - low) / 2.0;
        // The even part is a s + b s^2 with s = t^2, the odd part t (a + b s): both are straight in s after a division.
        let (square, fourth) = straight(
            (near * near, even(left, right) / (near * near)),
            (far * far, even(far_left, far_right) / (far * far)),
        );
        let (first, third) = straight(
            (near * near, odd(left, right) / near),
            (far * far, odd(far_left, far_right) / far),
        );
        axes.push([first, square, third, fourth]);
        let content = 2.0 * even(left, right) - DIFFERENCE_RATIO * 2.0 * even(far_left, far_right);
        deviation = deviation.max(content.abs());
    }
    let mut shape = Shape::Axes {
        middle,
        axes,
        pairs: Vec::new(),
    };
    let residual = |shape: &Shape, at: usize| {
        let place = rule.points.get(at).map_or(&[][..], Vec::as_slice);
        value(at) - shape.at(place)
    };
    let dim = rule.differences.len();
    let mut at = 1 + 4 * dim;
    let mut found = Vec::new();
    for first in 0..dim {
        for second in 0..first {
            // In the order of the rule: (-,-), (-,+), (+,-), (+,+) of (first, second).
            let rest: [f64; 4] = std::array::from_fn(|corner| residual(&shape, at + corner));
            let far = rule
                .points
                .get(at)
                .map_or(1.0, |point| coordinate(point, first).abs());
            let [ll, lh, hl, hh] = rest;
            let odd_odd = (ll - lh - hl + hh) / 4.0 / far.powi(2);
            let odd_even = (-ll - lh + hl + hh) / 4.0 / far.powi(3);
            let even_odd = (-ll + lh - hl + hh) / 4.0 / far.powi(3);
            let even_even = (ll + lh + hl + hh) / 4.0 / far.powi(4);
            found.push((first, second, [odd_odd, odd_even, even_odd, even_even]));
            at += 4;
        }
    }
    if let Shape::Axes { pairs, .. } = &mut shape {
        *pairs = found;
    }
    for corner in at..values.len() {
        deviation = deviation.max(residual(&shape, corner).abs());
    }
    (shape, deviation)
}

/// a and b of v = a + b s through two points (s, v).
fn straight((s, v): (f64, f64), (t, w): (f64, f64)) -> (f64, f64) {
    let slope = (w - v) / (t - s);
    (v - slope * s, slope)
}

fn coordinate(point: &[f64], axis: usize) -> f64 {
    point.get(axis).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(rule: &Rule, function: impl Fn(&[f64]) -> f64) -> Model {
        let values: Vec<f64> = rule.points.iter().map(|point| function(point)).collect();
        Model::new(rule, &values)
    }

    /// Points spread over the cube, edges included.
    fn places(dim: usize) -> Vec<Vec<f64>> {
        let value = |number: usize, axis: usize| {
            // The fractional parts of multiples of square roots of primes: spread, and the same each time.
            let root = [2.0_f64, 3.0, 5.0, 7.0, 11.0][axis].sqrt();
            2.0 * (number as f64 * root).fract() - 1.0
        };
        let inside = (1..2000).map(|number| (0..dim).map(|axis| value(number, axis)).collect());
        inside.chain([vec![1.0; dim], vec![-1.0; dim]]).collect()
    }

    #[test]
    fn what_the_rule_resolves_is_explained_up_to_the_edges() {
        for dim in 1..=5 {
            let rule = Rule::new(dim).unwrap();
            let functions: [fn(&[f64]) -> f64; 5] = [
                |_| 3.0,
                |x| 1.0 + x.iter().sum::<f64>(),
                |x| x.iter().map(|x| (0.4 * x).exp()).product(),
                |x| (x.iter().sum::<f64>() + 0.3).cos(),
                |x| 1.0 / (2.0 + x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64),
            ];
            for (number, function) in functions.iter().enumerate() {
                let model = model(&rule, function);
                for place in places(dim) {
                    let off = model.unexplained(&place, function(&place));
                    assert_eq!(off, 0.0, "{dim} dimensions, function {number}, {place:?}");
                }
            }
        }
    }

    #[test]
    fn a_feature_between_the_points_is_not_explained() {
        for dim in 1..=5 {
            let rule = Rule::new(dim).unwrap();
            let smooth = |x: &[f64]| (0.1 * x.iter().sum::<f64>()).exp();
            let place = vec![0.05; dim];
            let off = model(&rule, smooth).unexplained(&place, smooth(&place) + 1.0);
            assert!((off - 1.0).abs() < 1e-3, "{dim}: {off}");
        }
    }

    #[test]
    fn an_edge_that_the_points_see_is_explained_by_its_own_height() {
        let rule = Rule::new(2).unwrap();
        let step = |x: &[f64]| f64::from(x[0] > 0.1);
        let model = model(&rule, step);
        assert!(
            places(2)
                .iter()
                .all(|place| model.unexplained(place, step(place)) == 0.0)
        );
    }
}
