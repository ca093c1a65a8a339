//! The first look: uniform samples that say how large the integrand is, how much it varies, and where it is not zero.
//!
//! One tile for most integrands. While nearly nothing was found, or one sample outweighs all others, it goes on with eight
//! times as many: what a map learns from a handful of samples is chance.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::estimate::{Estimate, packed};
use crate::partial::{Moments, Partial, Sums};
use crate::wave::{TILE, Work};

/// Samples after which a pilot that has found nothing gives up.
const MOST_FOR_NOTHING: u64 = 1 << 26;
/// Samples after which a pilot that has found little goes on to the adaptation.
const MOST_FOR_LITTLE: u64 = 1 << 18;
/// Samples not zero that are enough.
const ENOUGH: u64 = 64;
/// The sum of squares holds at least so many of the largest square, or a few samples decide everything.
const SHARED_BY: f64 = 16.0;
/// Powers of two beyond which squares of an output would soon overflow or vanish.
const FAR: i32 = 200;
/// Powers of two between outputs beyond which the larger would rule the map alone.
const APART: i32 = 10;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Pilot {
    moments: Option<Moments>,
    pub(crate) nonzero: u64,
    /// The largest weighted value of each output.
    heaviest: Vec<f64>,
    drawn: u64,
    /// A peak is known or a map given, so nothing found here is no reason to go on.
    guided: bool,
}

impl Pilot {
    pub(crate) fn new(guided: bool) -> Self {
        Self {
            guided,
            ..Self::default()
        }
    }

    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        if self.drawn > 0 && (self.enough() || self.guided) {
            return None;
        }
        let most = if self.nonzero == 0 {
            MOST_FOR_NOTHING
        } else {
            MOST_FOR_LITTLE
        };
        let wanted = if self.drawn == 0 {
            1
        } else {
            self.drawn / TILE * 8
        };
        let affordable = if self.drawn == 0 { left } else { left / 4 };
        let tiles = wanted
            .min(most.saturating_sub(self.drawn) / TILE)
            .min(affordable / TILE);
        (tiles > 0).then_some(Work::Plain { tiles, map: None })
    }

    pub(crate) fn complete(&mut self, whole: &Partial) -> Result<(), Error> {
        let Sums::Plain(moments) = &whole.sums else {
            return Err(Error::Mismatch);
        };
        self.moments = Some(match self.moments.take() {
            Some(before) => before.merge(moments)?,
            None => moments.clone(),
        });
        self.nonzero += whole.nonzero;
        self.drawn += whole.samples;
        self.heaviest.resize(whole.heaviest.len(), 0.0);
        self.heaviest
            .iter_mut()
            .zip(&whole.heaviest)
            .for_each(|(most, more)| *most = most.max(more.first()));
        Ok(())
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.drawn == 0
    }

    pub(crate) const fn is_guided(&self) -> bool {
        self.guided
    }

    pub(crate) const fn drawn(&self) -> u64 {
        self.drawn
    }

    fn enough(&self) -> bool {
        self.nonzero >= ENOUGH && !self.dominated()
    }

    /// Whether a few samples outweigh all others, in any output that is not zero everywhere.
    pub(crate) fn dominated(&self) -> bool {
        let Some(moments) = &self.moments else {
            return true;
        };
        let n = moments.count as f64;
        moments
            .mean
            .iter()
            .zip(&self.heaviest)
            .enumerate()
            .any(|(o, (mean, most))| {
                let m2 = moments.m2.get(packed(o, o)).copied().unwrap_or(0.0);
                *most > 0.0 && m2 + n * mean * mean < SHARED_BY * most * most
            })
    }

    /// The share of samples that were not zero.
    pub(crate) fn support(&self) -> f64 {
        self.nonzero as f64 / self.drawn.max(1) as f64
    }

    /// The standard deviation of each output.
    pub(crate) fn spread(&self) -> Vec<f64> {
        let Some(moments) = &self.moments else {
            return Vec::new();
        };
        let n = (moments.count as f64 - 1.0).max(1.0);
        let variance = |o: usize| {
            moments
                .m2
                .get(packed(o, o))
                .map_or(0.0, |m2| (m2 / n).max(0.0))
        };
        (0..moments.mean.len())
            .map(|o| variance(o).sqrt())
            .collect()
    }

    /// The root mean square of each output.
    pub(crate) fn rms(&self) -> Vec<f64> {
        let means = self.moments.iter().flat_map(|moments| &moments.mean);
        means
            .zip(self.spread())
            .map(|(mean, spread)| mean.mul_add(*mean, spread * spread).sqrt())
            .collect()
    }

    /// What the pilot alone says of the integral.
    pub(crate) fn estimate(&self) -> Estimate {
        let Some(moments) = &self.moments else {
            return Estimate::default();
        };
        let n = moments.count as f64;
        let covariance = moments.m2.iter().map(|m2| m2 / (n * (n - 1.0))).collect();
        Estimate {
            values: moments.mean.clone(),
            covariance,
            dof: n - 1.0,
            ..Estimate::default()
        }
    }
}

/// The powers of two that bring the outputs, whose largest values are given, near one; none when they are fine as they are.
pub(crate) fn scale(largest: &[f64]) -> Vec<i32> {
    let exponents: Vec<i32> = largest.iter().map(|value| exponent(*value)).collect();
    let known = || {
        exponents
            .iter()
            .zip(largest)
            .filter(|(_, value)| **value > 0.0)
            .map(|(exponent, _)| *exponent)
    };
    let (low, high) = (known().min().unwrap_or(0), known().max().unwrap_or(0));
    if low >= -FAR && high <= FAR && high - low <= APART {
        return Vec::new();
    }
    exponents.iter().map(|exponent| -exponent).collect()
}

/// Whether an output as large as `largest` would overflow when it is scaled by `scale`, and how to scale then.
pub(crate) fn rescaled(scale: &[i32], largest: &[f64]) -> Option<Vec<i32>> {
    let of = |o: usize| scale.get(o).copied().unwrap_or(0);
    let outputs = || (0..).zip(largest);
    let far = outputs().any(|(o, value)| *value > 0.0 && exponent(*value) + of(o) > FAR);
    far.then(|| {
        outputs()
            .map(|(o, value)| of(o).min(-exponent(*value)))
            .collect()
    })
}

/// The power of two below a positive value; 0 for others.
fn exponent(value: f64) -> i32 {
    if !(value > 0.0 && value.is_finite()) {
        return 0;
    }
    let bits = ((value.to_bits() >> 52) & 0x7ff) as i32;
    bits.max(1) - 1023
}
