//! Independent waves of one production: their combination and whether they agree.
//!
//! Waves are combined by their number of samples, never by inverse variance: a wave that happened to miss a peak reports a
//! small variance and would win. The variance is the larger of the waves' own and of what their scatter says.

use serde::{Deserialize, Serialize};

use crate::distribution::chi2_q;
use crate::estimate::{Estimate, packed};

/// Below this probability the scatter of waves is no accident, and the interval takes their number for its freedom.
const NO_ACCIDENT: f64 = 0.05;
/// Two waves that differ by less than so many standard errors agree.
const AGREE: f64 = 4.0;

/// One complete wave.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct One {
    /// Evaluations, left out samples included.
    pub(crate) drawn: u64,
    /// Samples that count.
    pub(crate) samples: u64,
    pub(crate) values: Vec<f64>,
    /// Of the values: row by row up to the diagonal.
    pub(crate) covariance: Vec<f64>,
}

/// All complete waves of a production, in order.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Waves(Vec<One>);

impl Waves {
    pub(crate) fn push(&mut self, wave: One) {
        self.0.push(wave);
    }

    pub(crate) fn drawn(&self) -> u64 {
        self.0.iter().map(|wave| wave.drawn).sum()
    }

    pub(crate) fn samples(&self) -> u64 {
        self.0.iter().map(|wave| wave.samples).sum()
    }

    /// All waves together; `dof` is that of the waves' own variance.
    pub(crate) fn estimate(&self, dof: f64) -> Estimate {
        let Some(first) = self.0.first() else {
            return Estimate::default();
        };
        let outputs = first.values.len();
        let total = self.samples() as f64;
        let mut values = vec![0.0; outputs];
        let mut covariance = vec![0.0; first.covariance.len()];
        for wave in &self.0 {
            let share = wave.samples as f64 / total;
            add(&mut values, &wave.values, share);
            add(&mut covariance, &wave.covariance, share * share);
        }
        let mut estimate = Estimate {
            values,
            covariance,
            dof,
            chi2_dof: (self.0.len() as u32).saturating_sub(1),
            ..Estimate::default()
        };
        self.widen(&mut estimate, outputs, total);
        estimate
    }

    /// Takes the scatter of the waves for the variance where it is the larger.
    fn widen(&self, estimate: &mut Estimate, outputs: usize, total: f64) {
        let freedom = f64::from(estimate.chi2_dof);
        let mut factors = vec![1.0; outputs];
        for (o, factor) in factors.iter_mut().enumerate() {
            let (mut chi2, mut scatter) = (0.0, 0.0);
            for wave in &self.0 {
                let off = get(&wave.values, o) - get(&estimate.values, o);
                let variance = get(&wave.covariance, packed(o, o));
                scatter += wave.samples as f64 / total * off * off;
                chi2 += if off == 0.0 {
                    0.0
                } else {
                    off * off / variance
                };
            }
            estimate.chi2.push(chi2);
            if estimate.chi2_dof == 0 {
                continue;
            }
            let at = packed(o, o);
            let (internal, between) = (get(&estimate.covariance, at), scatter / freedom);
            if chi2_q(chi2, freedom) < NO_ACCIDENT {
                estimate.dof = estimate.dof.min(freedom);
            }
            if between > internal && internal > 0.0 {
                *factor = (between / internal).sqrt();
            } else if between > internal
                && let Some(variance) = estimate.covariance.get_mut(at)
            {
                *variance = between;
            }
        }
        for (row, a) in factors.iter().enumerate() {
            for (column, b) in factors.iter().enumerate().take(row + 1) {
                if let Some(entry) = estimate.covariance.get_mut(packed(row, column)) {
                    *entry *= a * b;
                }
            }
        }
    }

    /// Whether the last wave agrees with all before it, in every output.
    pub(crate) fn agree(&self) -> bool {
        let Some((last, before)) = self.0.split_last() else {
            return false;
        };
        if before.is_empty() {
            return false;
        }
        let before = Self(before.to_vec()).estimate(f64::INFINITY);
        let outputs = last.values.len();
        (0..outputs).all(|o| {
            let off = get(&last.values, o) - get(&before.values, o);
            let at = packed(o, o);
            let variance = get(&last.covariance, at) + get(&before.covariance, at);
            off.abs() <= AGREE * variance.max(0.0).sqrt()
        })
    }
}

fn add(sums: &mut [f64], values: &[f64], factor: f64) {
    for (sum, value) in sums.iter_mut().zip(values) {
        *sum += factor * value;
    }
}

fn get(values: &[f64], at: usize) -> f64 {
    values.get(at).copied().unwrap_or(f64::NAN)
}
