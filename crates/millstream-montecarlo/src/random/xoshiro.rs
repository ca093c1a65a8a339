//! Eight lanes of xoshiro256++, one beside the other.
//!
//! Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2021). The lanes are logical: a processor with shorter vectors
//! steps them in several goes and gets the same numbers. Each lane's state comes from Philox, so no two tiles share a stream.
#![expect(clippy::indexing_slicing, reason = "lanes are below 8")]

use super::{Key, centred};
use crate::isa::{Body, dispatch};

const LANES: usize = 8;

/// The random numbers of one tile.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    state: [[u64; LANES]; 4],
}

impl Stream {
    /// The stream of `key`.
    pub(crate) fn new(key: Key) -> Self {
        let mut state = [[0; LANES]; 4];
        let [a, b, c, d] = &mut state;
        let lanes = a.iter_mut().zip(b).zip(c).zip(d);
        for (lane, (((a, b), c), d)) in (0u16..).zip(lanes) {
            [*a, *b] = key.bits(2 * lane);
            [*c, *d] = key.bits(2 * lane + 1);
        }
        Self { state }
    }

    /// Fills `out`, whose length is a multiple of eight, with numbers uniform in (0, 1).
    pub(crate) fn fill(&mut self, out: &mut [f64]) {
        dispatch(Fill { stream: self, out });
    }
}

struct Fill<'a> {
    stream: &'a mut Stream,
    out: &'a mut [f64],
}

impl Body for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let [mut a, mut b, mut c, mut d] = self.stream.state;
        for out in self.out.as_chunks_mut::<LANES>().0 {
            // One operation on all lanes at a time, which becomes one instruction.
            let sum = both(a, d, u64::wrapping_add);
            let rotated = each(sum, |sum| sum.rotate_left(23));
            let bits = both(rotated, a, |rotated, a| rotated.wrapping_add(a) >> 12);
            for (out, bits) in out.iter_mut().zip(bits) {
                *out = centred(bits);
            }
            let shifted = each(b, |b| b << 17);
            c = both(c, a, |c, a| c ^ a);
            d = both(d, b, |d, b| d ^ b);
            b = both(b, c, |b, c| b ^ c);
            a = both(a, d, |a, d| a ^ d);
            c = both(c, shifted, |c, shifted| c ^ shifted);
            d = each(d, |d| d.rotate_left(45));
        }
        self.stream.state = [a, b, c, d];
    }
}

type Lanes = [u64; LANES];

#[inline(always)]
fn each(a: Lanes, operation: impl Fn(u64) -> u64) -> Lanes {
    a.map(operation)
}

#[inline(always)]
fn both(a: Lanes, b: Lanes, operation: impl Fn(u64, u64) -> u64) -> Lanes {
    std::array::from_fn(|lane| operation(a[lane], b[lane]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Level, force};
    use crate::random::Purpose;

    /// The authors' reference with the state 1, 2, 3, 4 in every lane; the first outputs are those that rand_xoshiro tests against.
    #[test]
    fn known_answers_of_the_authors_come_out_in_every_lane() {
        let mut stream = Stream {
            state: [[1; 8], [2; 8], [3; 8], [4; 8]],
        };
        let mut out = [0.0; 40];
        stream.fill(&mut out);
        let expected = [
            41943041,
            58720359,
            3588806011781223,
            3591011842654386,
            9228616714210784205_u64,
        ];
        for (step, bits) in expected.into_iter().enumerate() {
            assert_eq!(out[step * 8..][..8], [centred(bits >> 12); 8]);
        }
    }

    #[test]
    fn numbers_are_the_same_at_every_level_and_lie_strictly_between_0_and_1() {
        let fill = || {
            let mut out = vec![0.0; 1 << 16];
            Stream::new(Key::new(7, Purpose::Plain, 3, 11)).fill(&mut out);
            out
        };
        let best = fill();
        assert!(best.iter().all(|u| *u > 0.0 && *u < 1.0));
        for level in Level::available() {
            let _forced = force(level);
            assert_eq!(fill(), best);
        }
        // The mean of 65,536 uniform numbers has a standard error of 0.0011.
        let mean = best.iter().sum::<f64>() / best.len() as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
    }
}
