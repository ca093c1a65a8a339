//! VEGAS+: through a frozen map, with more samples in the boxes where they vary more.
//!
//! Boxes grow in number with the waves, up to the bound of the strata, and every wave is shared out by the spread that the
//! one before it saw: never by its own, for that would bias it.

use serde::{Deserialize, Serialize};

use super::adapt::Adapted;
use super::waves::{One, Waves};
use crate::Error;
use crate::estimate::{Estimate, packed};
use crate::map::Map;
use crate::partial::{Partial, Sums};
use crate::strata::Strata;
use crate::wave::Work;

/// A box with more than this share of the variance is worth a word.
const ONE_BOX: f64 = 0.1;
/// Dimensions up to which an edge may hide in a few boxes.
const EDGES_IN_ONE_BOX: usize = 2;
/// Below so many boxes one with a tenth is no surprise.
const MANY: usize = 256;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Vegas {
    map: Map,
    /// Of the last wave.
    strata: Strata,
    spread: Vec<f64>,
    waves: Waves,
    /// The standard deviation of each output over the whole cube.
    deviation: Vec<f64>,
    /// The largest share of the last wave's variance that one box has.
    share: f64,
}

impl Vegas {
    pub(crate) fn new(adapted: &Adapted, deviation: &[f64]) -> Self {
        Self {
            deviation: deviation.to_vec(),
            map: adapted.map.clone(),
            strata: adapted.strata.clone(),
            spread: adapted.spread.clone(),
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
        (strata.samples() <= left && samples > 0).then(|| Work::Strata {
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
        let parts = sums
            .spread
            .iter()
            .zip(strata.counts())
            .map(|(spread, count)| spread * spread / f64::from(*count));
        let (most, all) = parts.fold((0.0_f64, 0.0), |(most, all), part| {
            (most.max(part), all + part)
        });
        self.share = if all > 0.0 && sums.spread.len() >= MANY {
            most / all
        } else {
            0.0
        };
        self.strata.clone_from(strata);
        self.spread.clone_from(&sums.spread);
        let (values, covariance) = (sums.value.clone(), sums.covariance.clone());
        self.waves.push(One {
            drawn: samples,
            samples,
            values,
            covariance,
        });
        Ok(())
    }

    pub(crate) fn estimate(&self) -> Estimate {
        let freedom = self
            .strata
            .samples()
            .saturating_sub(self.strata.counts().len() as u64);
        let mut estimate = self.waves.estimate(freedom as f64);
        if self.map.dim() <= EDGES_IN_ONE_BOX {
            widen(&mut estimate, &self.deviation, self.strata.counts().len());
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

/// In few dimensions an edge may lie in a handful of boxes, none of whose samples sees it: the error bar is at least half
/// the deviation of one box.
pub(crate) fn widen(estimate: &mut Estimate, deviation: &[f64], boxes: usize) {
    for (o, deviation) in deviation.iter().enumerate() {
        if let Some(variance) = estimate.covariance.get_mut(packed(o, o)) {
            let edge = deviation / (2.0 * boxes.max(1) as f64);
            *variance = variance.max(edge * edge);
        }
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
