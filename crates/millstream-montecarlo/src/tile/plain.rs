//! A tile of independent samples: blocks of a stream, folded into moments.
//!
//! Each block has its mean taken first and its squares around it, so nothing cancels however far the mean is from zero.
#![expect(
    clippy::indexing_slicing,
    reason = "slices of the buffers are blocks of 256, one per output"
)]

use super::Prepared;
use super::block::{Buffers, Notes, products, sum};
use crate::BLOCK;
use crate::partial::Moments;
use crate::random::{Key, Purpose, Stream};
use crate::wave::TILE;

impl Prepared {
    pub(super) fn plain(&self, tile: u64, buffers: &mut Buffers, notes: &mut Notes) -> Moments {
        let key = Key::new(
            self.wave.plan.seed,
            Purpose::Plain,
            self.wave.iteration,
            tile,
        );
        let mut stream = Stream::new(key);
        let mut all = Moments::none(self.outputs());
        let mut block = all.clone();
        for _ in 0..TILE / BLOCK as u64 {
            stream.fill(&mut buffers.points);
            self.evaluate(buffers, BLOCK, false, notes);
            block_moments(&buffers.out, &mut block);
            all.absorb(&block);
        }
        all
    }
}

fn block_moments(out: &[f64], block: &mut Moments) {
    block.count = BLOCK as u64;
    let mut place = 0;
    let outputs = out.as_chunks::<BLOCK>().0;
    for (row, a) in outputs.iter().enumerate() {
        block.mean[row] = sum(a, 0.0) / BLOCK as f64;
        for (column, b) in outputs[..=row].iter().enumerate() {
            block.m2[place] = products(a, b, (block.mean[row], block.mean[column]));
            place += 1;
        }
    }
}
