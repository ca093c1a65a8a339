//! Sobol's sequence: points that fill the cube more evenly than random ones, randomised so that they have an error bar.
//!
//! 52 binary digits; point n is the exclusive or of the direction numbers at the ones of n, so any point is reached at once. A replicate
//! multiplies the digits of each axis with a random lower triangular matrix and adds random digits (Matousek 1998, Owen
//! 2003): every point is then uniform, and any 2^m aligned points are still a net. Point 0 is kept.
#![expect(
    clippy::indexing_slicing,
    reason = "digits are below 52, table places below 256"
)]

use super::sobol_table::DIRECTIONS;
use super::{Key, Purpose, centred};
use crate::BLOCK;
use crate::isa::{Body, dispatch};

/// Binary digits of a coordinate.
const DIGITS: usize = 52;
/// Points that one table reaches; a block.
const TABLE: usize = BLOCK;
const TABLE_DIGITS: usize = TABLE.trailing_zeros() as usize;

/// The direction numbers of axis `axis`: bit 51 is the first binary digit.
fn directions(axis: usize) -> [u64; DIGITS] {
    let mut numbers = [0_u64; DIGITS];
    let Some((polynomial, initial)) = axis.checked_sub(1).and_then(|axis| DIRECTIONS.get(axis))
    else {
        for (digit, number) in numbers.iter_mut().enumerate() {
            *number = 1 << (DIGITS - 1 - digit);
        }
        return numbers;
    };
    let degree = initial.len();
    for digit in 0..DIGITS {
        numbers[digit] = match initial.get(digit) {
            Some(initial) => initial << (DIGITS - 1 - digit),
            None => (1..degree)
                .filter(|tap| polynomial >> (degree - tap) & 1 == 1)
                .fold(
                    numbers[digit - degree] ^ numbers[digit - degree] >> degree,
                    |number, tap| number ^ numbers[digit - tap],
                ),
        };
    }
    numbers
}

/// One axis of one replicate.
#[derive(Clone, Debug)]
struct Axis {
    /// The scrambled direction numbers.
    directions: [u64; DIGITS],
    shift: u64,
    /// The exclusive ors of the first eight direction numbers, by the last eight bits of a point's number.
    table: Box<[u64; TABLE]>,
}

impl Axis {
    fn new(directions: [u64; DIGITS], shift: u64) -> Self {
        let mut table = Box::new([0; TABLE]);
        for digit in 0..TABLE_DIGITS {
            for number in 0..1 << digit {
                table[1 << digit | number] = table[number] ^ directions[digit];
            }
        }
        Self {
            directions,
            shift,
            table,
        }
    }

    /// What all points of the block that begins with point `first` have in common.
    fn base(&self, first: u64) -> u64 {
        let directions = self.directions.iter().enumerate().skip(TABLE_DIGITS);
        directions
            .filter(|(digit, _)| first >> digit & 1 == 1)
            .fold(self.shift, |base, (_, number)| base ^ number)
    }
}

/// A randomised sequence: one of the replicates behind an error bar.
#[derive(Clone, Debug)]
pub(crate) struct Replicate {
    axes: Vec<Axis>,
}

impl Replicate {
    /// Replicate `number` of the sequence of `seed` in `dim` dimensions, at most 64.
    pub(crate) fn new(dim: usize, seed: u64, number: usize) -> Self {
        let axes = (0..dim).map(|axis| {
            let place = (number as u64) << 32 | axis as u64;
            let [shift, _] = Key::new(seed, Purpose::Shift, 0, place).bits(0);
            Axis::new(
                scrambled(
                    &directions(axis),
                    Key::new(seed, Purpose::Scramble, 0, place),
                ),
                shift >> 12,
            )
        });
        Self {
            axes: axes.collect(),
        }
    }

    /// Fills a block (coordinate a of point i at `a * BLOCK + i`) with the points from `first` on, a multiple of the block.
    pub(crate) fn fill(&self, first: u64, out: &mut [f64]) {
        for (axis, out) in self.axes.iter().zip(out.chunks_exact_mut(BLOCK)) {
            dispatch(Fill {
                base: axis.base(first),
                table: &axis.table,
                out,
            });
        }
    }
}

struct Fill<'a> {
    base: u64,
    table: &'a [u64; TABLE],
    out: &'a mut [f64],
}

impl Body for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (out, bits) in self.out.iter_mut().zip(self.table) {
            *out = centred(self.base ^ bits);
        }
    }
}

/// The direction numbers, their digits multiplied with a random lower triangular matrix that has ones on its diagonal.
fn scrambled(directions: &[u64; DIGITS], key: Key) -> [u64; DIGITS] {
    let mut scrambled = [0; DIGITS];
    for digit in 0..DIGITS {
        let place = DIGITS - 1 - digit;
        let [random, _] = key.bits(digit as u16);
        // Its own digit, and a random choice of those before it.
        let row = 1 << place | (random >> 12 & !((2 << place) - 1));
        for (scrambled, direction) in scrambled.iter_mut().zip(directions) {
            *scrambled |= u64::from((direction & row).count_ones() & 1) << place;
        }
    }
    scrambled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(axis: usize, number: u64) -> u64 {
        let directions = directions(axis);
        (0..DIGITS)
            .filter(|digit| number >> digit & 1 == 1)
            .fold(0, |point, digit| point ^ directions[digit])
    }

    /// Twelve digits of points 1, 2, 3, 5, 10 and 63 in dimensions 1, 2, 3, 4, 11, 32 and 64, as SciPy 1.17 gives them; it goes
    /// through the points in Gray code order.
    #[test]
    fn unscrambled_points_are_those_of_scipy() {
        let expected = [
            (1, [2048, 2048, 2048, 2048, 2048, 2048, 2048]),
            (2, [3072, 1024, 1024, 1024, 3072, 1024, 3072]),
            (3, [1024, 3072, 3072, 3072, 1024, 3072, 1024]),
            (5, [3584, 3584, 512, 1536, 1536, 2560, 2560]),
            (10, [3840, 256, 2816, 768, 1792, 2304, 1792]),
            (63, [64, 3264, 1472, 1856, 1728, 3776, 3008]),
        ];
        for (number, point) in expected {
            let gray = number ^ number >> 1;
            assert_eq!(
                [0, 1, 2, 3, 10, 31, 63].map(|axis| plain(axis, gray) >> 40),
                point
            );
        }
    }

    fn points(replicate: &Replicate, dim: usize, first: u64, count: usize) -> Vec<Vec<f64>> {
        let mut points = vec![Vec::new(); dim];
        for block in 0..count.div_ceil(BLOCK) {
            let mut out = vec![0.0; dim * BLOCK];
            replicate.fill(first + (block * BLOCK) as u64, &mut out);
            for (axis, out) in points.iter_mut().zip(out.chunks_exact(BLOCK)) {
                axis.extend(out);
            }
        }
        points
    }

    #[test]
    fn every_aligned_power_of_two_of_scrambled_points_fills_each_cell_once() {
        for number in 0..3 {
            let replicate = Replicate::new(64, 5, number);
            let points = points(&replicate, 64, 1024, 1024);
            for axis in &points {
                let mut cells: Vec<_> = axis.iter().map(|u| (u * 1024.0) as usize).collect();
                cells.sort_unstable();
                assert_eq!(cells, (0..1024).collect::<Vec<_>>());
            }
            // The first two dimensions are a (0, m, 2)-net: any split of the ten digits fills each cell once.
            for digits in 0..=10 {
                let (across, down) = (f64::from(1 << digits), f64::from(1 << (10 - digits)));
                let cell = |i: usize| {
                    (points[0][i] * across) as usize * (1 << (10 - digits))
                        + (points[1][i] * down) as usize
                };
                let mut cells: Vec<_> = (0..1024).map(cell).collect();
                cells.sort_unstable();
                assert_eq!(cells, (0..1024).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_block_far_away_is_reached_directly_and_agrees_with_the_definition() {
        let replicate = Replicate::new(3, 5, 1);
        let first = (1 << 40) + 7 * BLOCK as u64;
        let block = points(&replicate, 3, first, BLOCK);
        for (axis, values) in replicate.axes.iter().zip(&block) {
            for (number, value) in (first..).zip(values) {
                let bits = (0..DIGITS)
                    .filter(|digit| number >> digit & 1 == 1)
                    .fold(axis.shift, |bits, digit| bits ^ axis.directions[digit]);
                assert_eq!(*value, centred(bits));
            }
        }
    }

    #[test]
    fn replicates_and_seeds_differ() {
        let first = |seed, number| points(&Replicate::new(1, seed, number), 1, 0, 1)[0][0];
        let mut seen = vec![first(1, 0), first(1, 1), first(2, 0), first(2, 1)];
        seen.sort_by(f64::total_cmp);
        seen.dedup();
        assert_eq!(seen.len(), 4);
    }
}
