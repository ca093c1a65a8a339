//! One block of samples: from points of the unit cube to weighted, scaled, finite outputs.
//!
//! The same few passes for every kind of tile: map, domain, integrand, a look for bad samples, weights. A thread keeps its
//! [`Buffers`], so nothing is allocated per block.
#![expect(
    clippy::indexing_slicing,
    reason = "slices of the buffers are cut to blocks of 256 by `fit`"
)]

use std::array;

use super::Prepared;
use crate::BLOCK;
use crate::isa::{Body, dispatch};
use crate::largest::Largest;
use crate::partial::{Bad, BadPoint, Partial, Sums};

/// The bits of infinity; those of every nan are above, when the sign is taken away.
const INFINITE: u64 = 0x7ff0_0000_0000_0000;
const SIGN: u64 = 1 << 63;

/// What a thread works on.
#[derive(Default)]
pub(super) struct Buffers {
    /// Points, axis after axis: of the unit cube when a block begins, of the domain when it ends.
    pub(super) points: Vec<f64>,
    /// The integrand's outputs, one after the other.
    pub(super) out: Vec<f64>,
    /// The pieces of the map that the points fell into, laid out as the points.
    pub(super) pieces: Vec<u16>,
    weights: Vec<f64>,
    scratch: Vec<f64>,
}

impl Buffers {
    /// Sizes it for an integrand.
    pub(super) fn fit(&mut self, dim: usize, outputs: usize) {
        self.points.resize(dim * BLOCK, 0.5);
        self.pieces.resize(dim * BLOCK, 0);
        self.out.resize(outputs * BLOCK, 0.0);
        self.weights.resize(BLOCK, 1.0);
    }

    /// Puts the middle of the cube where a block has no points of its own.
    pub(super) fn pad(&mut self, used: usize) {
        for axis in self.points.chunks_exact_mut(BLOCK) {
            axis[used..].fill(0.5);
        }
    }
}

/// What is noted of every sample beside its sums.
pub(super) struct Notes {
    samples: u64,
    nonzero: u64,
    bad: Bad,
    /// The bits of the largest absolute values, which are ordered as the values are.
    largest: Vec<u64>,
    /// Of the present block.
    seen: Vec<u64>,
    /// The largest values of all with weights and scale.
    heaviest: Vec<Largest>,
}

impl Notes {
    pub(super) fn new(outputs: usize) -> Self {
        Self {
            samples: 0,
            nonzero: 0,
            bad: Bad::default(),
            largest: vec![0; outputs],
            seen: vec![0; outputs],
            heaviest: vec![Largest::default(); outputs],
        }
    }

    /// Notes the largest values of a block; whether all are numbers.
    fn look(&mut self, out: &[f64], used: usize) -> bool {
        let mut finite = true;
        let outputs = out.as_chunks::<BLOCK>().0.iter();
        for ((out, largest), seen) in outputs.zip(&mut self.largest).zip(&mut self.seen) {
            *seen = dispatch(LargestBits { out, used });
            finite &= *seen < INFINITE;
            if *seen < INFINITE {
                *largest = (*seen).max(*largest);
            }
        }
        finite
    }

    /// Keeps the largest values of a weighted block.
    fn keep_heaviest(&mut self, out: &[f64], used: usize) {
        let outputs = out.as_chunks::<BLOCK>().0.iter().zip(&self.seen);
        for ((out, seen), heaviest) in outputs.zip(&mut self.heaviest) {
            heaviest.take(&out[..used], f64::from_bits(*seen));
        }
    }

    pub(super) fn partial(self, sums: Sums) -> Partial {
        Partial {
            samples: self.samples,
            nonzero: self.nonzero,
            bad: self.bad,
            largest: self.largest.into_iter().map(f64::from_bits).collect(),
            heaviest: self.heaviest,
            sums,
        }
    }
}

impl Prepared {
    /// Evaluates the block in the buffers, of which the first `used` points count.
    pub(super) fn evaluate(
        &self,
        buffers: &mut Buffers,
        used: usize,
        note_pieces: bool,
        notes: &mut Notes,
    ) {
        let domain = &self.wave.plan.domain;
        let Some(weights) = buffers.weights.first_chunk_mut::<BLOCK>() else {
            return;
        };
        let weighted = self.map.is_some() || !domain.is_finite();
        if weighted {
            weights.fill(1.0);
        }
        if let Some(map) = &self.map {
            map.apply(
                &mut buffers.points,
                weights,
                note_pieces.then_some(&mut buffers.pieces),
            );
        }
        domain.stretch(&mut buffers.points, weights);
        self.integrand
            .block(&buffers.points, &mut buffers.out, &mut buffers.scratch);
        if !notes.look(&buffers.out, used) {
            if !domain.is_finite() {
                let (points, out) = (&buffers.points, &mut buffers.out);
                self.vanish_far_out((points, out), used, &mut buffers.scratch);
            }
            take_out_bad((&buffers.points, &mut buffers.out), used, notes);
        }
        notes.samples += used as u64;
        notes.nonzero += dispatch(Nonzero {
            outputs: buffers.out.as_chunks().0,
            used,
        });
        let scale = &self.wave.scale;
        if weighted || scale.iter().any(|exponent| *exponent != 0) {
            let weights = weighted.then_some(&*weights);
            for (number, out) in buffers
                .out
                .as_chunks_mut::<BLOCK>()
                .0
                .iter_mut()
                .enumerate()
            {
                let factor = power_of_two(scale.get(number).copied().unwrap_or(0));
                notes.seen[number] = dispatch(Weigh {
                    out,
                    weights,
                    factor,
                    used,
                });
            }
        }
        notes.keep_heaviest(&buffers.out, used);
    }
}

/// Scales the outputs, and multiplies them with the weights of their points; the largest absolute value, as bits.
struct Weigh<'a> {
    out: &'a mut [f64; BLOCK],
    weights: Option<&'a [f64; BLOCK]>,
    factor: f64,
    used: usize,
}

impl Body for Weigh<'_> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        match self.weights {
            Some(weights) => {
                for (out, weight) in self.out.iter_mut().zip(weights) {
                    *out = *out * self.factor * weight;
                }
            }
            None => self.out.iter_mut().for_each(|out| *out *= self.factor),
        }
        let mut largest = [0; 8];
        let (blocks, rest) = self.out[..self.used].as_chunks::<8>();
        for block in blocks {
            for lane in 0..8 {
                largest[lane] = (block[lane].to_bits() & !SIGN).max(largest[lane]);
            }
        }
        for (largest, out) in largest.iter_mut().zip(rest) {
            *largest = (out.to_bits() & !SIGN).max(*largest);
        }
        largest.into_iter().fold(0, u64::max)
    }
}

fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((exponent.clamp(-1022, 1023) + 1023) as u64) << 52)
}

/// Sets bad outputs to zero and notes the first point that has one.
fn take_out_bad((points, outputs): (&[f64], &mut [f64]), used: usize, notes: &mut Notes) {
    let is_bad = |value: f64| !value.is_finite();
    for point in 0..used {
        let values = outputs.iter().skip(point).step_by(BLOCK);
        let Some(value) = values.copied().find(|value| is_bad(*value)) else {
            continue;
        };
        notes.bad.count += 1;
        notes.bad.first.get_or_insert_with(|| BadPoint {
            x: points.iter().skip(point).step_by(BLOCK).copied().collect(),
            value: value.to_string(),
        });
    }
    for value in outputs.iter_mut() {
        if is_bad(*value) {
            *value = 0.0;
        }
    }
    for (out, largest) in outputs
        .as_chunks::<BLOCK>()
        .0
        .iter()
        .zip(&mut notes.largest)
    {
        *largest = dispatch(LargestBits { out, used }).max(*largest);
    }
}

/// The largest absolute value of an output, as bits.
struct LargestBits<'a> {
    out: &'a [f64; BLOCK],
    used: usize,
}

impl Body for LargestBits<'_> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        let (blocks, rest) = self.out[..self.used].as_chunks::<8>();
        let mut lanes = [0_u64; 8];
        for block in blocks {
            lanes = array::from_fn(|lane| lanes[lane].max(block[lane].to_bits() & !SIGN));
        }
        let rest = rest.iter().map(|value| value.to_bits() & !SIGN);
        lanes.into_iter().chain(rest).fold(0, u64::max)
    }
}

/// The number of points at which any output is not zero.
struct Nonzero<'a> {
    outputs: &'a [[f64; BLOCK]],
    used: usize,
}

impl Body for Nonzero<'_> {
    type Output = u64;

    #[inline(always)]
    fn run(self) -> u64 {
        let mut counts = [0; 8];
        let whole = self.used / 8 * 8;
        for first in (0..whole).step_by(8) {
            let mut bits = [0; 8];
            for out in self.outputs {
                bits = array::from_fn(|lane| bits[lane] | out[first + lane].to_bits() & !SIGN);
            }
            counts = array::from_fn(|lane| counts[lane] + u64::from(bits[lane] != 0));
        }
        let any = |point: usize| self.outputs.iter().any(|out| out[point] != 0.0);
        let rest = (whole..self.used).filter(|point| any(*point)).count();
        counts.iter().sum::<u64>() + rest as u64
    }
}

/// The sum of a slice less a shift each, in eight lanes, which are then added in pairs: the same order on every processor.
pub(super) fn sum(values: &[f64], shift: f64) -> f64 {
    dispatch(Sum { values, shift })
}

struct Sum<'a> {
    values: &'a [f64],
    shift: f64,
}

impl Body for Sum<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let (blocks, rest) = self.values.as_chunks::<8>();
        let mut lanes = [0.0; 8];
        for block in blocks {
            for lane in 0..8 {
                lanes[lane] += block[lane] - self.shift;
            }
        }
        for (lane, value) in lanes.iter_mut().zip(rest) {
            *lane += value - self.shift;
        }
        pairs(lanes)
    }
}

/// Sum of products of two slices less a shift each, in the same order.
pub(super) fn products(a: &[f64], b: &[f64], shift: (f64, f64)) -> f64 {
    dispatch(Products { a, b, shift })
}

struct Products<'a> {
    a: &'a [f64],
    b: &'a [f64],
    shift: (f64, f64),
}

impl Body for Products<'_> {
    type Output = f64;

    #[inline(always)]
    fn run(self) -> f64 {
        let ((a, a_rest), (b, b_rest)) = (self.a.as_chunks::<8>(), self.b.as_chunks::<8>());
        let mut lanes = [0.0; 8];
        for (a, b) in a.iter().zip(b) {
            for lane in 0..8 {
                lanes[lane] = (a[lane] - self.shift.0).mul_add(b[lane] - self.shift.1, lanes[lane]);
            }
        }
        for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
            *lane = (a - self.shift.0).mul_add(b - self.shift.1, *lane);
        }
        pairs(lanes)
    }
}

#[inline(always)]
fn pairs(lanes: [f64; 8]) -> f64 {
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + b) + (c + d)) + ((e + f) + (g + h))
}
