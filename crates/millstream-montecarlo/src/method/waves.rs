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
    /// The degrees of freedom of the covariance.
    pub(crate) dof: f64,
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

    /// All waves together.
    pub(crate) fn estimate(&self) -> Estimate {
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
            dof: self.freedom(outputs),
            chi2_dof: (self.0.len() as u32).saturating_sub(1),
            ..Estimate::default()
        };
        self.widen(&mut estimate, outputs, total);
        estimate
    }

    /// The degrees of freedom of the waves' own variances together, by the output that has fewest.
    fn freedom(&self, outputs: usize) -> f64 {
        let of = |o: usize| {
            let part = |wave: &One| {
                let samples = wave.samples as f64;
                let variance = get(&wave.covariance, packed(o, o));
                (samples * samples * variance, wave.dof)
            };
            effective(self.0.iter().map(part))
        };
        (0..outputs).map(of).fold(f64::INFINITY, f64::min)
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
        let before = Self(before.to_vec()).estimate();
        let outputs = last.values.len();
        (0..outputs).all(|o| {
            let off = get(&last.values, o) - get(&before.values, o);
            let at = packed(o, o);
            let variance = get(&last.covariance, at) + get(&before.covariance, at);
            off.abs() <= AGREE * variance.max(0.0).sqrt()
        })
    }
}

/// The degrees of freedom of a sum of independent variances, each given with its own: Satterthwaite (1946). Where one of
/// the variances outweighs all others, it is that one's.
pub(crate) fn effective(parts: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, squares) = parts.fold((0.0, 0.0), |(sum, squares), (variance, dof)| {
        (sum + variance, squares + variance * variance / dof)
    });
    if sum > 0.0 && squares > 0.0 {
        sum * sum / squares
    } else {
        f64::INFINITY
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

#[cfg(test)]
mod tests {
    use super::effective;

    #[test]
    fn a_variance_that_outweighs_all_others_has_its_own_freedom() {
        let equal = effective([(1.0, 3.0); 8].into_iter());
        assert!((equal - 24.0).abs() < 1e-12, "{equal}");
        let one = effective([(1.0, 1.0), (1e-9, 1e6), (0.0, 5.0)].into_iter());
        assert!((one - 1.0).abs() < 1e-6, "{one}");
        assert_eq!(effective([(0.0, 1.0)].into_iter()), f64::INFINITY);
    }
}
