//! What complete waves say about the integral: values, covariance, degrees of freedom, and whether waves agree.
//!
//! Everything is in the units that tiles sum in; [`Units`] brings it to the user's at the very end, so that neither 1e308
//! nor 1e-308 is lost on the way.

use serde::{Deserialize, Serialize};

use crate::distribution::{chi2_q, t95};
use crate::domain::Volume;
use crate::request::Target;

/// Half the interval of a rule's bound, in standard errors.
const BOUND: f64 = 2.0;

/// An estimate of every output.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Estimate {
    pub(crate) values: Vec<f64>,
    /// Row by row up to the diagonal.
    pub(crate) covariance: Vec<f64>,
    /// Infinite when so many that the normal distribution serves.
    pub(crate) dof: f64,
    /// Chi squared of each output between waves or replicates.
    pub(crate) chi2: Vec<f64>,
    pub(crate) chi2_dof: u32,
    /// The interval is a bound of the rule rather than t standard errors.
    pub(crate) bound: bool,
}

/// Where element `(row, column)` of a symmetric matrix stands: row by row up to the diagonal.
pub(crate) const fn packed(row: usize, column: usize) -> usize {
    if row < column {
        column * (column + 1) / 2 + row
    } else {
        row * (row + 1) / 2 + column
    }
}

/// Raises the variance of output `o` to at least `least`; its correlations stay as they are.
pub(crate) fn raise(covariance: &mut [f64], outputs: usize, o: usize, least: f64) {
    let Some(variance) = covariance.get_mut(packed(o, o)) else {
        return;
    };
    if *variance >= least {
        return;
    }
    let factor = if *variance > 0.0 {
        (least / *variance).sqrt()
    } else {
        1.0
    };
    *variance = least;
    for other in (0..outputs).filter(|other| *other != o) {
        if let Some(entry) = covariance.get_mut(packed(o, other)) {
            *entry *= factor;
        }
    }
}

impl Estimate {
    /// Widens every output for what samples may miss of it, half of that as a standard error: an interval is about two of
    /// them to each side.
    pub(crate) fn miss(&mut self, missing: impl Iterator<Item = f64>) {
        let outputs = self.values.len();
        for (o, missing) in (0..outputs).zip(missing) {
            let variance = self.covariance.get(packed(o, o)).copied().unwrap_or(0.0);
            let least = variance + missing * missing / 4.0;
            raise(&mut self.covariance, outputs, o, least);
        }
    }

    pub(crate) fn value(&self, o: usize) -> f64 {
        self.values.get(o).copied().unwrap_or(f64::NAN)
    }

    /// The standard error of output `o`.
    pub(crate) fn standard_error(&self, o: usize) -> f64 {
        self.covariance
            .get(packed(o, o))
            .map_or(f64::INFINITY, |variance| variance.max(0.0).sqrt())
    }

    /// Half the width of the interval of output `o`.
    pub(crate) fn half_width(&self, o: usize) -> f64 {
        let factor = if self.bound { BOUND } else { t95(self.dof) };
        let error = self.standard_error(o);
        if error == 0.0 { 0.0 } else { factor * error }
    }

    /// The worst output's half-width against what is asked for: at most 1 when every output is good enough.
    pub(crate) fn shortfall(&self, target: Target, units: &Units) -> f64 {
        let mut worst = if self.values.is_empty() {
            f64::INFINITY
        } else {
            0.0_f64
        };
        for (o, value) in self.values.iter().enumerate() {
            let half = self.half_width(o);
            let relative = half / (target.rel * value.abs());
            let absolute = units.user(o, half) / target.abs;
            // Without one of the aims its ratio is infinite, or nan when there is no error either.
            let ratio = match half {
                // Nothing seen at all is no zero, unless a zero of the user's size is good enough.
                0.0 if *value == 0.0 && target.abs == 0.0 => f64::INFINITY,
                0.0 => 0.0,
                _ => relative.min(absolute),
            };
            worst = if ratio.is_nan() || !value.is_finite() {
                f64::INFINITY
            } else {
                worst.max(ratio)
            };
        }
        worst
    }

    /// The worst half-width as a share of its value, for jobs whose aim cannot be reached.
    pub(crate) fn relative(&self) -> f64 {
        let shares = self
            .values
            .iter()
            .enumerate()
            .map(|(o, value)| match self.half_width(o) {
                0.0 if *value != 0.0 => 0.0,
                half => half / value.abs(),
            });
        shares.fold(0.0, |worst, share| {
            if share.is_nan() {
                f64::INFINITY
            } else {
                worst.max(share)
            }
        })
    }

    /// The probability of a chi squared of output `o` as large by chance.
    pub(crate) fn q(&self, o: usize) -> Option<f64> {
        let chi2 = *self.chi2.get(o)?;
        (self.chi2_dof > 0).then(|| chi2_q(chi2, f64::from(self.chi2_dof)))
    }

    /// Whether `other`, which is independent, says the same in every output, to so many standard errors.
    pub(crate) fn agrees(&self, other: &Self, errors: f64) -> bool {
        self.agrees_but_for(&[], other, errors)
    }

    /// The same, where samples of `other` may have missed so much of each output; nothing where `missed` ends.
    pub(crate) fn agrees_but_for(&self, missed: &[f64], other: &Self, errors: f64) -> bool {
        self.values.iter().enumerate().all(|(o, value)| {
            let own = if self.bound {
                self.half_width(o)
            } else {
                errors * self.standard_error(o)
            };
            let off = (value - other.value(o)).abs() - missed.get(o).copied().unwrap_or(0.0);
            off <= own + errors * other.standard_error(o) || off <= 1e-12 * value.abs()
        })
    }
}

/// What one of the units that tiles sum in is for the user: the volume and each output's power of two.
pub(crate) struct Units {
    volume: Volume,
    scale: Vec<i32>,
}

impl Units {
    pub(crate) fn new(volume: Volume, scale: &[i32]) -> Self {
        Self {
            volume,
            scale: scale.to_vec(),
        }
    }

    fn of(&self, o: usize) -> Volume {
        self.volume.scaled(-self.scale.get(o).copied().unwrap_or(0))
    }

    /// A value or an error of output `o`.
    pub(crate) fn user(&self, o: usize, value: f64) -> f64 {
        self.of(o).times(value)
    }

    /// A covariance of two outputs.
    pub(crate) fn covariance(&self, row: usize, column: usize, value: f64) -> f64 {
        self.of(row).times(self.of(column).times(value))
    }
}
