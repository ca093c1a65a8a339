//! A tile of a randomised Sobol sequence: the same run of points in every replicate.
//!
//! Only sums are kept: the error bar comes from how the replicates' means differ, not from the samples within one.

use super::Prepared;
use super::block::{Buffers, Notes, sum};
use crate::BLOCK;
use crate::partial::Sums;
use crate::random::sobol::Replicate;
use crate::wave::TILE_POINTS;

impl Prepared {
    pub(super) fn replicates(
        &self,
        replicates: &[Replicate],
        first: u64,
        buffers: &mut Buffers,
        notes: &mut Notes,
    ) -> Sums {
        let outputs = self.outputs();
        let mut sums = vec![0.0; replicates.len() * outputs];
        for (replicate, sums) in replicates.iter().zip(sums.chunks_exact_mut(outputs)) {
            for block in 0..TILE_POINTS / BLOCK as u64 {
                replicate.fill(first + block * BLOCK as u64, &mut buffers.points);
                self.evaluate(buffers, BLOCK, false, notes);
                for (total, out) in sums.iter_mut().zip(buffers.out.chunks_exact(BLOCK)) {
                    *total += sum(out, 0.0);
                }
            }
        }
        Sums::Replicates {
            points: TILE_POINTS,
            sums,
        }
    }
}
