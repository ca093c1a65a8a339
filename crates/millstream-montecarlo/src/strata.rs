//! Strata: the unit cube before the map, cut into equal boxes that each have samples of their own.
//!
//! VEGAS+ (Lepage 2021): boxes whose samples vary more get more samples, as the power [`BETA`] of their share of the spread. The
//! number of boxes is bounded, so their state is; each has at least two samples, so that each has a variance.

use serde::{Deserialize, Deserializer, Serialize};

use crate::kernels::scalar::pow;
use crate::wave::TILE;

/// The most boxes.
pub(crate) const MOST_STRATA: usize = 1 << 16;
/// How strongly samples follow the spread: 0 not at all, 1 as is best for a spread that is known exactly.
const BETA: f64 = 0.75;
/// The fewest samples of a box.
const LEAST: u32 = 2;

/// Boxes and their samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Strata {
    /// Boxes along each axis.
    per_axis: Vec<u32>,
    /// Samples of each box; the last axis runs fastest.
    counts: Vec<u32>,
}

impl<'de> Deserialize<'de> for Strata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            per_axis: Vec<u32>,
            counts: Vec<u32>,
        }
        let Raw { per_axis, counts } = Raw::deserialize(deserializer)?;
        let boxes = per_axis
            .iter()
            .try_fold(1_usize, |boxes, axis| boxes.checked_mul(*axis as usize));
        let fits = boxes == Some(counts.len()) && (1..=MOST_STRATA).contains(&counts.len());
        if fits && counts.iter().all(|count| (LEAST..1 << 31).contains(count)) {
            Ok(Self { per_axis, counts })
        } else {
            Err(serde::de::Error::custom(
                "strata have 1 to 65536 boxes with two samples or more each",
            ))
        }
    }
}

impl Strata {
    /// As many boxes as about `samples` samples allow, four each at first, evenly filled.
    pub fn even(dim: usize, samples: u64) -> Self {
        let wanted = usize::try_from(samples / 4)
            .unwrap_or(usize::MAX)
            .clamp(1, MOST_STRATA);
        let mut per_axis = vec![1_u32; dim];
        let mut boxes = 1;
        // Axis after axis one cut more, as long as the boxes are not too many.
        'full: loop {
            for axis in &mut per_axis {
                let more = boxes / *axis as usize * (*axis as usize + 1);
                if more > wanted {
                    break 'full;
                }
                *axis += 1;
                boxes = more;
            }
        }
        let mut strata = Self {
            per_axis,
            counts: vec![LEAST; boxes],
        };
        strata.share(samples, &vec![1.0; boxes]);
        strata
    }

    /// The same boxes with `samples` samples, shared out by the spread (the standard deviation) seen in each.
    #[must_use]
    pub fn allocated(&self, samples: u64, spread: &[f64]) -> Self {
        let mut strata = self.clone();
        let weights: Vec<f64> = spread.iter().map(|spread| pow(*spread, BETA)).collect();
        let usable =
            weights.len() == strata.counts.len() && weights.iter().all(|weight| weight.is_finite());
        if usable && weights.iter().any(|weight| *weight > 0.0) {
            strata.share(samples, &weights);
        } else {
            strata.share(samples, &vec![1.0; self.counts.len()]);
        }
        strata
    }

    fn share(&mut self, samples: u64, weights: &[f64]) {
        let boxes = self.counts.len() as u64;
        let free = samples.saturating_sub(boxes * u64::from(LEAST)) as f64;
        let per_weight = free / weights.iter().sum::<f64>();
        for (count, weight) in self.counts.iter_mut().zip(weights) {
            let more = (weight * per_weight).min(f64::from(1 << 30));
            *count = LEAST + more as u32;
        }
    }

    /// The number of axes.
    pub const fn dim(&self) -> usize {
        self.per_axis.len()
    }

    /// Boxes along each axis.
    pub fn per_axis(&self) -> &[u32] {
        &self.per_axis
    }

    /// Samples of each box.
    pub fn counts(&self) -> &[u32] {
        &self.counts
    }

    /// Samples in all.
    pub fn samples(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// How many tiles there are.
    pub fn tiles(&self) -> u64 {
        self.tile_starts().len() as u64
    }

    /// The first box of each tile: consecutive boxes until there are [`TILE`] samples or more.
    pub(crate) fn tile_starts(&self) -> Vec<usize> {
        let mut starts = Vec::new();
        let mut filled = TILE;
        for (number, count) in self.counts.iter().enumerate() {
            if filled >= TILE {
                starts.push(number);
                filled = 0;
            }
            filled += u64::from(*count);
        }
        starts
    }
}
