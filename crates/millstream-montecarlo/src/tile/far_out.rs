//! What is no number far out: infinity times zero, and the like.
//!
//! Where `exp(x)` has overflowed and `exp(-x^2)` is zero, their product is nan, though the integrand vanished long before. The
//! way back towards the middle of the infinite axes shows it: the distance is halved again and again, and the first number found
//! decides. Is it zero, the integrand is taken for zero further out; with any other number the sample stays bad.
#![expect(
    clippy::indexing_slicing,
    reason = "places are those of the outputs themselves"
)]

use super::Prepared;
use crate::BLOCK;

/// Halvings at most. A sample of an infinite axis lies within 2^52 of its middle, so that the last of them is near the middle.
const HALVINGS: u32 = 64;

impl Prepared {
    /// Sets outputs of a block to zero that are nan far out and zero on the way there. The first `used` points count.
    pub(super) fn vanish_far_out(
        &self,
        (points, outputs): (&[f64], &mut [f64]),
        used: usize,
        scratch: &mut Vec<f64>,
    ) {
        let mut open: Vec<usize> = outputs
            .iter()
            .enumerate()
            .filter(|(place, value)| value.is_nan() && place % BLOCK < used)
            .map(|(place, _)| place)
            .collect();
        let mut points = points.to_vec();
        let mut out = outputs.to_vec();
        for _ in 0..HALVINGS {
            if open.is_empty() {
                return;
            }
            self.wave.plan.domain.halve(&mut points);
            self.integrand.block(&points, &mut out, scratch);
            open.retain(|place| {
                if out[*place] == 0.0 {
                    outputs[*place] = 0.0;
                }
                out[*place].is_nan()
            });
        }
    }
}
