//! The adaptive map of VEGAS: a product density that follows the integrand.
//!
//! Each axis of the unit cube is cut into [`INCREMENTS`] pieces that are drawn equally often; where the integrand matters they are
//! narrow. Lepage, "Adaptive multidimensional integration: VEGAS enhanced" (2021). One thing is added: a floor of one hundredth of the
//! uniform density, so that no region that once looked empty is starved for ever and the error bar stays honest.
#![expect(
    clippy::indexing_slicing,
    reason = "pieces are below 256, the length of every table"
)]

use serde::{Deserialize, Deserializer, Serialize};

use crate::BLOCK;
use crate::isa::{Body, dispatch};
use crate::kernels::scalar::{ln, pow};

/// Pieces of each axis.
pub const INCREMENTS: usize = 256;
/// How fast the map follows: 0 not at all, 1 at once.
const ALPHA: f64 = 0.5;
/// The share of each axis' weight that is spread evenly.
const FLOOR: f64 = 0.01;

/// How much wider than its neighbour a piece may be.
const STEP: f64 = 4.0;

/// A map of the unit cube onto itself.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Map {
    /// Per axis, the left end of each piece; the last one ends at 1.
    edges: Vec<Vec<f64>>,
}

impl<'de> Deserialize<'de> for Map {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            edges: Vec<Vec<f64>>,
        }
        let Raw { edges } = Raw::deserialize(deserializer)?;
        let rises = |axis: &[f64]| axis.is_sorted_by(|left, right| left < right);
        let whole = |axis: &Vec<f64>| {
            axis.len() == INCREMENTS
                && axis.first() == Some(&0.0)
                && axis.last() < Some(&1.0)
                && rises(axis)
        };
        if edges.iter().all(whole) {
            Ok(Self { edges })
        } else {
            Err(serde::de::Error::custom(format!(
                "a map has {INCREMENTS} rising edges from 0 to below 1 per axis"
            )))
        }
    }
}

impl Map {
    /// The map that changes nothing.
    pub fn uniform(dim: usize) -> Self {
        let edges = (0..INCREMENTS)
            .map(|piece| piece as f64 / INCREMENTS as f64)
            .collect();
        Self {
            edges: vec![edges; dim],
        }
    }

    /// A map of given edges: per axis [`INCREMENTS`], rising from 0 to below 1.
    pub(crate) const fn of_edges(edges: Vec<Vec<f64>>) -> Self {
        Self { edges }
    }

    /// The number of axes.
    pub const fn dim(&self) -> usize {
        self.edges.len()
    }

    /// The left ends of the pieces of each axis, for plots.
    pub fn edges(&self) -> &[Vec<f64>] {
        &self.edges
    }

    /// The map that follows `histogram`: for each axis and piece, the sum of squared weighted samples that fell into it. An
    /// axis that saw nothing stays as it is.
    #[must_use]
    pub fn refined(&self, histogram: &[f64]) -> Self {
        let axes = self.edges.iter().zip(histogram.chunks_exact(INCREMENTS));
        Self {
            edges: axes.map(|(edges, seen)| refine(edges, seen)).collect(),
        }
    }

    /// A map that puts more pieces around given points of the unit cube: each draws a share of `weight` to its neighbourhood on
    /// every axis, a sixteenth of the axis wide at first.
    #[must_use]
    pub fn around(&self, points: &[Vec<f64>], weight: f64) -> Self {
        let axes = self.edges.iter().enumerate().map(|(axis, edges)| {
            let near = |u: f64| {
                points
                    .iter()
                    .filter_map(|point| point.get(axis))
                    .filter(|at| (u - **at).abs() < 1.0 / 32.0)
                    .count()
            };
            let weights: Vec<f64> = widths(edges)
                .zip(edges)
                .map(|(width, left)| width * weight.mul_add(near(left + width / 2.0) as f64, 1.0))
                .collect();
            equalised(edges, &weights)
        });
        Self {
            edges: axes.collect(),
        }
    }

    /// The form in which blocks are mapped.
    pub(crate) fn table(&self) -> Table {
        let axes = self.edges.iter().map(|edges| {
            let mut axis = Box::new(AxisTable {
                left: [0.0; INCREMENTS],
                width: [0.0; INCREMENTS],
            });
            for (piece, (left, width)) in
                edges.iter().zip(widths(edges)).enumerate().take(INCREMENTS)
            {
                axis.left[piece] = *left;
                axis.width[piece] = width;
            }
            axis
        });
        Table {
            axes: axes.collect(),
        }
    }
}

fn widths(edges: &[f64]) -> impl Iterator<Item = f64> {
    edges
        .iter()
        .zip(edges.iter().skip(1).chain([&1.0]))
        .map(|(left, right)| right - left)
}

fn refine(edges: &[f64], seen: &[f64]) -> Vec<f64> {
    let total: f64 = seen.iter().sum();
    if !(total > 0.0 && total.is_finite()) {
        return edges.to_vec();
    }
    // A sample's squared weight is proportional to its piece's width; smoothing keeps single samples from deciding.
    let at = |piece: usize| seen.get(piece).copied().unwrap_or(0.0);
    let smooth = (0..INCREMENTS).map(|piece| match piece {
        0 => (7.0 * at(0) + at(1)) / 8.0,
        piece if piece + 1 == INCREMENTS => (at(piece - 1) + 7.0 * at(piece)) / 8.0,
        piece => (at(piece - 1) + 6.0 * at(piece) + at(piece + 1)) / 8.0,
    });
    let damped: Vec<f64> = smooth.map(|sum| damp(sum / total)).collect();
    let all: f64 = damped.iter().sum();
    let floor = FLOOR * all;
    let weights: Vec<f64> = damped
        .iter()
        .zip(widths(edges))
        .map(|(weight, width)| floor.mul_add(width, *weight))
        .collect();
    graded(&equalised(edges, &weights))
}

/// The same pieces, none more than about [`STEP`] times as wide as its neighbour: a piece that reaches from the rim of a peak far into
/// the empty would hide the rim, of which then no sample tells for a long time.
fn graded(edges: &[f64]) -> Vec<f64> {
    let widths: Vec<f64> = widths(edges).collect();
    let neighbour = |piece: Option<usize>| piece.and_then(|piece| widths.get(piece)).copied();
    let mut finer = Vec::with_capacity(2 * INCREMENTS);
    for (piece, (left, width)) in edges.iter().zip(&widths).enumerate() {
        let mut from_left = STEP * neighbour(piece.checked_sub(1)).unwrap_or(f64::INFINITY);
        let mut from_right = STEP * neighbour(Some(piece + 1)).unwrap_or(f64::INFINITY);
        let (mut low, mut high) = (*left, left + width);
        let mut cut_right = Vec::new();
        finer.push(low);
        while from_left.min(from_right) < high - low {
            if from_left <= from_right {
                low += from_left;
                from_left *= STEP;
                finer.push(low);
            } else {
                high -= from_right;
                from_right *= STEP;
                cut_right.push(high);
            }
        }
        finer.extend(cut_right.into_iter().rev());
    }
    if finer.len() == edges.len() {
        return edges.to_vec();
    }
    let weights = vec![1.0; finer.len()];
    equalised(&finer, &weights)
}

/// Lepage's compression of a share of the total: ((1 - share) / ln(1 / share))^alpha.
fn damp(share: f64) -> f64 {
    if share <= 0.0 {
        0.0
    } else if share > 1.0 - 1e-8 {
        1.0
    } else {
        pow((1.0 - share) / -ln(share), ALPHA)
    }
}

/// New edges that cut the weight, spread evenly over each old piece, into equal parts.
fn equalised(edges: &[f64], weights: &[f64]) -> Vec<f64> {
    let part = weights.iter().sum::<f64>() / INCREMENTS as f64;
    let mut old = edges.iter().zip(widths(edges)).zip(weights);
    let mut piece = old.next();
    let mut spent = 0.0;
    let mut new = Vec::with_capacity(INCREMENTS);
    new.push(0.0);
    for number in 1..INCREMENTS {
        let goal = part * number as f64;
        while let Some((_, weight)) = piece
            && spent + weight < goal
        {
            spent += weight;
            piece = old.next();
        }
        let last: f64 = new.last().copied().unwrap_or(0.0);
        let edge = piece.map_or(1.0, |((left, width), weight)| {
            ((goal - spent) / weight).mul_add(width, *left)
        });
        // Rounding must not let two edges meet.
        new.push(edge.max(last.next_up()));
    }
    // Nor reach the end.
    let mut limit = 1.0_f64;
    for edge in new.iter_mut().rev() {
        limit = limit.next_down();
        if *edge <= limit {
            limit = *edge;
        } else {
            *edge = limit;
        }
    }
    new
}

/// A map laid out for blocks.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    axes: Vec<Box<AxisTable>>,
}

#[derive(Clone, Debug)]
struct AxisTable {
    left: [f64; INCREMENTS],
    width: [f64; INCREMENTS],
}

impl Table {
    /// Maps a block of points in place and multiplies `weights` with one over the density. With `pieces`, the piece of
    /// each point on each axis is noted, as the points are laid out.
    pub(crate) fn apply(
        &self,
        points: &mut [f64],
        weights: &mut [f64; BLOCK],
        mut pieces: Option<&mut [u16]>,
    ) {
        for (number, (axis, points)) in self
            .axes
            .iter()
            .zip(points.as_chunks_mut::<BLOCK>().0)
            .enumerate()
        {
            let pieces = pieces
                .as_deref_mut()
                .and_then(|pieces| pieces.as_chunks_mut::<BLOCK>().0.get_mut(number));
            match pieces {
                Some(pieces) => dispatch(Noted {
                    axis,
                    points,
                    weights,
                    pieces,
                }),
                None => dispatch(Mapped {
                    axis,
                    points,
                    weights,
                }),
            }
        }
    }
}

struct Mapped<'a> {
    axis: &'a AxisTable,
    points: &'a mut [f64; BLOCK],
    weights: &'a mut [f64; BLOCK],
}

impl Body for Mapped<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (point, weight) in self.points.iter_mut().zip(self.weights) {
            let (left, width, rest, _) = self.axis.find(*point);
            *point = width.mul_add(rest, left);
            *weight *= width * INCREMENTS as f64;
        }
    }
}

struct Noted<'a> {
    axis: &'a AxisTable,
    points: &'a mut [f64; BLOCK],
    weights: &'a mut [f64; BLOCK],
    pieces: &'a mut [u16; BLOCK],
}

impl Body for Noted<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for ((point, weight), piece) in self.points.iter_mut().zip(self.weights).zip(self.pieces) {
            let (left, width, rest, found) = self.axis.find(*point);
            *point = width.mul_add(rest, left);
            *weight *= width * INCREMENTS as f64;
            *piece = found as u16;
        }
    }
}

impl AxisTable {
    /// The piece that holds `y`: left end, width, how far into it, and its number.
    #[inline(always)]
    fn find(&self, y: f64) -> (f64, f64, f64, usize) {
        let scaled = y * INCREMENTS as f64;
        // 2^52 pushes the fraction out; what is left in the mantissa is the whole part of `scaled`, rounded to nearest.
        let whole = scaled.floor();
        let piece = (whole + 4_503_599_627_370_496.0).to_bits() as usize % INCREMENTS;
        (self.left[piece], self.width[piece], scaled - whole, piece)
    }
}

#[cfg(test)]
mod tests;
