//! Independent uniform samples: nothing to adapt, nothing to go wrong, and the slowest.
//!
//! Waves have streams of their own and double, so each is as large as all before it together.

use serde::{Deserialize, Serialize};

use super::waves::{One, Waves};
use crate::Error;
use crate::estimate::{Estimate, packed};
use crate::largest::Largest;
use crate::partial::{Partial, Sums};
use crate::wave::{TILE, Work};

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Plain {
    waves: Waves,
    /// Bad samples are left out rather than zero.
    leave_out: bool,
    /// The largest values of each output.
    heaviest: Vec<Largest>,
}

impl Plain {
    pub(crate) fn new(leave_out: bool) -> Self {
        Self {
            leave_out,
            ..Self::default()
        }
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        let tiles = (self.waves.drawn() / TILE).max(1).min(left / TILE);
        (tiles > 0).then_some(Work::Plain { tiles, map: None })
    }

    pub(crate) fn complete(&mut self, _: &Work, whole: &Partial) -> Result<(), Error> {
        let Sums::Plain(moments) = &whole.sums else {
            return Err(Error::Mismatch);
        };
        self.heaviest
            .resize(whole.heaviest.len(), Largest::default());
        let both = self.heaviest.iter_mut().zip(&whole.heaviest);
        both.for_each(|(all, more)| all.merge(more));
        let bad = if self.leave_out { whole.bad.count } else { 0 };
        let samples = moments.count.saturating_sub(bad);
        let (all, n) = (moments.count as f64, samples as f64);
        // Bad samples were summed as zero: taken out, the mean grows and the squares around it change.
        let values: Vec<f64> = moments.mean.iter().map(|mean| mean * (all / n)).collect();
        let mut covariance = moments.m2.clone();
        for (row, (a, left)) in moments.mean.iter().zip(&values).enumerate() {
            for (column, (b, right)) in moments.mean.iter().zip(&values).enumerate().take(row + 1) {
                if let Some(entry) = covariance.get_mut(packed(row, column)) {
                    let moved = if bad == 0 {
                        0.0
                    } else {
                        all * a * b - n * left * right
                    };
                    *entry = (*entry + moved) / (n * (n - 1.0));
                }
            }
        }
        self.waves.push(One {
            drawn: whole.samples,
            samples,
            values,
            covariance,
            dof: n - 1.0,
        });
        Ok(())
    }

    pub(crate) fn estimate(&self) -> Estimate {
        let samples = self.waves.samples() as f64;
        let mut estimate = self.waves.estimate();
        estimate.miss(self.heaviest.iter().map(|all| all.beyond(samples)));
        estimate
    }

    pub(crate) fn agree(&self) -> bool {
        self.waves.agree()
    }
}
