//! VEGAS+: through a frozen map, with more samples in the boxes where they vary more.
//!
//! Boxes grow in number with the waves, up to the bound of the strata, and every wave is shared out by the spread that the
//! one before it saw: never by its own, for that would bias it.

use serde::{Deserialize, Serialize};

use super::adapt::Adapted;
use super::waves::{One, Waves, effective};
use crate::Error;
use crate::estimate::{Estimate, raise};
use crate::map::Map;
use crate::partial::{Partial, Sums};
use crate::strata::Strata;
use crate::wave::Work;

/// A box with more than this share of the variance is worth a word.
const ONE_BOX: f64 = 0.1;
/// No box counts for quieter than this share of the mean spread.
const QUIETEST: f64 = 0.1;
/// Dimensions up to which an edge may hide in a few boxes.
const EDGES_IN_ONE_BOX: usize = 2;
/// A wave of less than this share of all before it adds nothing worth a wave.
const SHORTEST: u64 = 16;
/// Below so many boxes one with a tenth is no surprise.
const MANY: usize = 256;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Vegas {
    map: Map,
    /// Of the last wave.
    strata: Strata,
    spread: Vec<f64>,
    /// The most boxes of a wave so far.
    boxes: usize,
    waves: Waves,
    /// The standard deviation of each output through the map, at most.
    deviation: Vec<f64>,
    /// The largest share of the last wave's variance that one box has.
    share: f64,
}

impl Vegas {
    pub(crate) fn new(adapted: &Adapted, deviation: &[f64]) -> Self {
        Self {
            deviation: deviation.iter().map(|all| all.min(adapted.rms)).collect(),
            map: adapted.map.clone(),
            strata: adapted.strata.clone(),
            spread: adapted.spread.clone(),
            boxes: 1,
            waves: Waves::default(),
            share: 0.0,
        }
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        let samples = self.waves.drawn().max(self.strata.samples()).min(left);
        let boxes = Strata::even(self.map.dim(), samples);
        let strata = if boxes.per_axis() == self.strata.per_axis() {
            self.strata.allocated(samples, &self.spread)
        } else {
            boxes.allocated(samples, &carried(&self.strata, &self.spread, &boxes))
        };
        let worth = samples > 0 && samples >= self.waves.drawn() / SHORTEST;
        (worth && strata.samples() <= left).then(|| Work::Strata {
            map: self.map.clone(),
            strata,
            adapt: false,
        })
    }

    pub(crate) fn complete(&mut self, work: &Work, whole: &Partial) -> Result<(), Error> {
        let (Work::Strata { strata, .. }, Sums::Strata(sums)) = (work, &whole.sums) else {
            return Err(Error::Mismatch);
        };
        let samples = whole.samples;
        let parts = || {
            let boxes = sums.spread.iter().zip(strata.counts());
            boxes.map(|(spread, count)| {
                let count = f64::from(*count);
                (spread * spread / count, count - 1.0)
            })
        };
        let (most, all) = parts().fold((0.0_f64, 0.0), |(most, all), (part, _)| {
            (most.max(part), all + part)
        });
        let dof = effective(parts());
        self.share = if all > 0.0 && sums.spread.len() >= MANY {
            most / all
        } else {
            0.0
        };
        let before = if strata.per_axis() == self.strata.per_axis() {
            std::mem::take(&mut self.spread)
        } else {
            carried(&self.strata, &self.spread, strata)
        };
        self.spread = learned(&before, &sums.spread);
        self.strata.clone_from(strata);
        self.boxes = self.boxes.max(strata.counts().len());
        let (values, covariance) = (sums.value.clone(), sums.covariance.clone());
        self.waves.push(One {
            drawn: samples,
            samples,
            values,
            covariance,
            dof,
        });
        Ok(())
    }

    pub(crate) fn estimate(&self) -> Estimate {
        let mut estimate = self.waves.estimate();
        if self.map.dim() <= EDGES_IN_ONE_BOX {
            widen(&mut estimate, &self.deviation, self.boxes);
        }
        estimate
    }

    pub(crate) fn agree(&self) -> bool {
        self.waves.agree()
    }

    pub(crate) fn oddities(&self) -> Vec<String> {
        if self.share <= ONE_BOX {
            return Vec::new();
        }
        let percent = 100.0 * self.share;
        vec![format!(
            "{percent:.0} % of the variance comes from one of {} strata: a peak or an edge lies there that is not resolved; give it as a hint, or integrate around it separately",
            self.spread.len()
        )]
    }
}

/// What two waves together say of the spread in each box. Two or three samples that happen to be alike make a box look
/// quiet that is not; the mean with the wave before makes that rare, and no box is taken for quieter than a share of all.
pub(crate) fn learned(before: &[f64], now: &[f64]) -> Vec<f64> {
    let both = before
        .iter()
        .zip(now)
        .map(|(a, b)| ((a * a + b * b) / 2.0).sqrt());
    let spread: Vec<f64> = if before.len() == now.len() {
        both.collect()
    } else {
        now.to_vec()
    };
    let least = QUIETEST * spread.iter().sum::<f64>() / spread.len().max(1) as f64;
    spread.into_iter().map(|spread| spread.max(least)).collect()
}

/// In few dimensions an edge may lie in a handful of boxes, none of whose samples sees it: the error bar is at least half
/// the deviation of one box.
pub(crate) fn widen(estimate: &mut Estimate, deviation: &[f64], boxes: usize) {
    for (o, deviation) in deviation.iter().enumerate() {
        let edge = deviation / (2.0 * boxes.max(1) as f64);
        let outputs = estimate.values.len();
        raise(&mut estimate.covariance, outputs, o, edge * edge);
    }
}

/// The spread of `new` boxes, each that of the old box in which its middle lies.
fn carried(old: &Strata, spread: &[f64], new: &Strata) -> Vec<f64> {
    let sides: Vec<(usize, usize)> = old
        .per_axis()
        .iter()
        .zip(new.per_axis())
        .map(|(old, new)| (*old as usize, *new as usize))
        .collect();
    let of = |mut number: usize| {
        let (mut place, mut stride) = (0, 1);
        for (old, new) in sides.iter().rev() {
            let here = number % new;
            number /= new;
            place += (2 * here + 1) * old / (2 * new) * stride;
            stride *= old;
        }
        spread.get(place).copied().unwrap_or(0.0)
    };
    (0..new.counts().len()).map(of).collect()
}
