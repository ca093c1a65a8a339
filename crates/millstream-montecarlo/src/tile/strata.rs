//! A tile of strata: consecutive boxes, each with its own samples, mean and variance.
//!
//! A block holds the samples of as many boxes as fit; a box may go on in the next block. Values are summed less the first
//! value of their box, so that a box in which the integrand hardly varies keeps its digits.
#![expect(
    clippy::indexing_slicing,
    reason = "runs lie within a block of 256, boxes within the strata"
)]

use std::ops::Range;

use super::Prepared;
use super::block::{Buffers, Notes, products, sum};
use crate::BLOCK;
use crate::map::INCREMENTS;
use crate::partial::{StrataSums, matrix_len};
use crate::random::{Key, Purpose, Stream};
use crate::strata::Strata;

/// Samples of one box that lie in the current block.
struct Run {
    samples: Range<usize>,
    begins: bool,
    ends: bool,
    /// One over the samples of the box in all.
    share: f64,
}

/// The box being filled: where it is, and what is still to be drawn in it.
struct Cursor<'a> {
    strata: &'a Strata,
    /// The box's place along each axis.
    place: Vec<u32>,
    number: usize,
    drawn: usize,
}

impl<'a> Cursor<'a> {
    fn at(strata: &'a Strata, number: usize) -> Self {
        let mut place = vec![0; strata.dim()];
        let mut rest = number;
        for (place, boxes) in place.iter_mut().zip(strata.per_axis()).rev() {
            *place = (rest % *boxes as usize) as u32;
            rest /= *boxes as usize;
        }
        Self {
            strata,
            place,
            number,
            drawn: 0,
        }
    }

    fn advance(&mut self) {
        self.number += 1;
        self.drawn = 0;
        for (place, boxes) in self.place.iter_mut().zip(self.strata.per_axis()).rev() {
            *place += 1;
            if *place < *boxes {
                return;
            }
            *place = 0;
        }
    }

    /// Moves the block's uniform points into the boxes, up to box `end`; what lies where.
    fn place(&mut self, end: usize, points: &mut [f64], runs: &mut Vec<Run>) -> usize {
        runs.clear();
        let mut used = 0;
        while used < BLOCK && self.number < end {
            let left = self.strata.counts()[self.number] as usize - self.drawn;
            let samples = used..BLOCK.min(used + left);
            for ((points, place), boxes) in points
                .chunks_exact_mut(BLOCK)
                .zip(&self.place)
                .zip(self.strata.per_axis())
            {
                let (place, width) = (f64::from(*place), 1.0 / f64::from(*boxes));
                for u in &mut points[samples.clone()] {
                    *u = (*u + place) * width;
                }
            }
            let begins = self.drawn == 0;
            let ends = samples.len() == left;
            self.drawn += samples.len();
            used = samples.end;
            let share = 1.0 / f64::from(self.strata.counts()[self.number]);
            runs.push(Run {
                samples,
                begins,
                ends,
                share,
            });
            if ends {
                self.advance();
            }
        }
        used
    }
}

/// The sums of the box being filled.
struct Open {
    count: f64,
    shift: Vec<f64>,
    sums: Vec<f64>,
    products: Vec<f64>,
}

impl Open {
    fn new(outputs: usize) -> Self {
        Self {
            count: 0.0,
            shift: vec![0.0; outputs],
            sums: vec![0.0; outputs],
            products: vec![0.0; matrix_len(outputs)],
        }
    }

    fn begin(&mut self, out: &[f64], first: usize) {
        self.count = 0.0;
        self.sums.fill(0.0);
        self.products.fill(0.0);
        for (shift, out) in self.shift.iter_mut().zip(out.chunks_exact(BLOCK)) {
            *shift = out[first];
        }
    }

    fn add(&mut self, out: &[f64], samples: Range<usize>) {
        self.count += samples.len() as f64;
        let outputs = out.as_chunks::<BLOCK>().0;
        let mut place = 0;
        for (row, a) in outputs.iter().enumerate() {
            let (a, shift) = (&a[samples.clone()], self.shift[row]);
            if samples.len() < 16 {
                // Most boxes of many dimensions: too short for lanes.
                for value in a {
                    self.sums[row] += value - shift;
                }
            } else {
                self.sums[row] += sum(a, shift);
            }
            for (column, b) in outputs[..=row].iter().enumerate() {
                let b = &b[samples.clone()];
                let other = self.shift[column];
                if samples.len() < 16 {
                    for (a, b) in a.iter().zip(b) {
                        self.products[place] += (a - shift) * (b - other);
                    }
                } else {
                    self.products[place] += products(a, b, (shift, other));
                }
                place += 1;
            }
        }
    }

    /// Adds the box to the tile's sums; `volume` is a box's share of the cube.
    fn end(&self, volume: f64, sums: &mut StrataSums) {
        let n = self.count;
        let mut place = 0;
        let mut spread = 0.0;
        for (row, a) in self.sums.iter().enumerate() {
            sums.value[row] += (self.shift[row] + a / n) * volume;
            for (column, b) in self.sums[..=row].iter().enumerate() {
                let variance = (self.products[place] - a * b / n) / (n - 1.0);
                let variance = if row == column {
                    variance.max(0.0)
                } else {
                    variance
                };
                sums.covariance[place] += variance / n * volume * volume;
                if row == column {
                    spread += variance;
                }
                place += 1;
            }
        }
        sums.spread.push(spread.sqrt());
    }
}

impl Prepared {
    pub(super) fn strata(
        &self,
        tile: u64,
        (strata, boxes, adapt): (&Strata, Range<usize>, bool),
        buffers: &mut Buffers,
        notes: &mut Notes,
    ) -> StrataSums {
        let outputs = self.outputs();
        let key = Key::new(
            self.wave.plan.seed,
            Purpose::Strata,
            self.wave.iteration,
            tile,
        );
        let mut stream = Stream::new(key);
        let mut sums = StrataSums {
            value: vec![0.0; outputs],
            covariance: vec![0.0; matrix_len(outputs)],
            histogram: vec![0.0; if adapt { strata.dim() * INCREMENTS } else { 0 }],
            spread: Vec::with_capacity(boxes.len()),
        };
        let volume = 1.0 / strata.counts().len() as f64;
        let mut cursor = Cursor::at(strata, boxes.start);
        let mut open = Open::new(outputs);
        let mut runs = Vec::new();
        while cursor.number < boxes.end {
            stream.fill(&mut buffers.points);
            let used = cursor.place(boxes.end, &mut buffers.points, &mut runs);
            buffers.pad(used);
            self.evaluate(buffers, used, adapt, notes);
            for run in &runs {
                if run.begins {
                    open.begin(&buffers.out, run.samples.start);
                }
                open.add(&buffers.out, run.samples.clone());
                if run.ends {
                    open.end(volume, &mut sums);
                }
            }
            if adapt {
                collect(buffers, &runs, &mut sums.histogram);
            }
        }
        sums
    }
}

/// Adds each sample's square to the pieces of the map it fell into, each box as if it had one sample: where samples are
/// many because the integrand varies they must not count twice.
fn collect(buffers: &Buffers, runs: &[Run], histogram: &mut [f64]) {
    let mut squares = [0.0; BLOCK];
    for out in buffers.out.as_chunks::<BLOCK>().0 {
        for (square, value) in squares.iter_mut().zip(out) {
            *square += value * value;
        }
    }
    for run in runs {
        for square in &mut squares[run.samples.clone()] {
            *square *= run.share;
        }
    }
    let used = runs.last().map_or(0, |run| run.samples.end);
    let axes = histogram
        .as_chunks_mut::<INCREMENTS>()
        .0
        .iter_mut()
        .zip(buffers.pieces.as_chunks::<BLOCK>().0);
    for (axis, pieces) in axes {
        for (piece, square) in pieces[..used].iter().zip(&squares) {
            axis[usize::from(*piece) % INCREMENTS] += square;
        }
    }
}
