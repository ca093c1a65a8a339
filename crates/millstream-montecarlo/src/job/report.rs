//! The answer of a job, at any time: what its complete waves say, in the user's numbers.
//!
//! Before the production has a wave, it is the best of what went before: an interrupted job still has an answer, with the
//! method that it comes from.

use super::{Job, Phase};
use crate::NUMERICS;
use crate::answer::{Answer, Status};
use crate::estimate::{Estimate, packed};
use crate::request::{Each, Method};

/// The rounding of a long sum.
const ROUNDING: f64 = 1e-14;
/// Degrees of freedom beyond which a t distribution is the normal one to four digits.
const NORMAL: f64 = 1e4;

impl Job {
    /// The answer so far; final when [`Job::wave`] has none.
    pub fn answer(&self) -> Answer {
        let (method, estimate) = self.current();
        let each =
            |of: &dyn Fn(usize) -> Option<f64>| Each::of((0..self.outputs).map(of).collect());
        let units = self.units();
        let finite = |value: f64| value.is_finite().then_some(value);
        let known = estimate.values.len() == self.outputs && self.status != Status::Failed;
        let number = |o: usize, value: f64| {
            if known {
                finite(units.user(o, value))
            } else {
                None
            }
        };
        let interval = |o: usize| {
            let value = estimate.value(o);
            // Samples that are all alike say nothing of the rest: only a constant has no width.
            let least = if self.constant {
                0.0
            } else {
                ROUNDING * value.abs()
            };
            let half = estimate.half_width(o).max(least);
            Some([number(o, value - half)?, number(o, value + half)?])
        };
        let freedom = f64::from(estimate.chi2_dof);
        let covariance = |row: usize, column: usize| {
            let entry = estimate
                .covariance
                .get(packed(row, column))
                .copied()
                .unwrap_or(f64::NAN);
            finite(units.covariance(row, column, entry)).filter(|_| known)
        };
        let row = |row: usize| {
            (0..self.outputs)
                .map(|column| covariance(row, column))
                .collect()
        };
        Answer {
            name: self.request.name.clone(),
            value: each(&|o| number(o, estimate.value(o))),
            standard_error: each(&|o| number(o, estimate.standard_error(o))),
            interval: Each::of((0..self.outputs).map(interval).collect()),
            degrees_of_freedom: Some(estimate.dof).filter(|dof| known && *dof < NORMAL),
            chi2_per_dof: each(&|o| {
                estimate
                    .chi2
                    .get(o)
                    .filter(|_| freedom > 0.0)
                    .and_then(|chi2| finite(chi2 / freedom))
            }),
            q: each(&|o| estimate.q(o)),
            samples: self.samples,
            bad_samples: self.bad.count,
            first_bad: self.bad.first.clone(),
            unseen_share: (self.looked > 0 && !self.constant).then(|| self.unseen()),
            method,
            decision: self.decision.clone(),
            waves: self.waves,
            seed: self.plan.seed,
            plan_hash: self.digest.to_string(),
            numerics: NUMERICS,
            status: self.status,
            warnings: self.warnings(),
            seconds: 0.0,
            covariance: (self.outputs > 1).then(|| (0..self.outputs).map(row).collect()),
        }
    }

    /// The method at work and its estimate; before it has one, the best of what went before.
    fn current(&self) -> (Method, Estimate) {
        let interim = || self.interim.clone().unwrap_or_default();
        match &self.phase {
            Phase::Produce(production) => {
                let estimate = production.estimate();
                if estimate.values.is_empty() {
                    (production.method(), interim().1)
                } else {
                    (production.method(), estimate)
                }
            }
            Phase::Contest(contest) => contest.best().unwrap_or_else(interim),
            _ => interim(),
        }
    }
}
