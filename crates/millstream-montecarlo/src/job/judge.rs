//! The stop rule, and what makes an answer doubtful.
//!
//! Nothing is called converged on its error bar alone: two waves have to agree, and no single sample may carry a share of
//! the value that a tail without variance would. The sums of such a tail look calm until the next large sample comes.

use super::{Job, Phase};
use crate::answer::Status;
use crate::estimate::{Estimate, Units};
use crate::method::vegas::widen;
use crate::method::{Missed, Production};
use crate::request::{Method, OnBad, Target};

/// One sample may carry at most this share of a value, or else the absolute error aimed at.
const HEAVY: f64 = 0.01;
/// Where a few samples outweigh all others a pole may hide from a rule by a stroke of luck, though hardly down to this
/// share of the aim.
pub(super) const WARY: f64 = 1.0 / 16.0;
/// Fewer samples than this that are not zero say nothing.
const SEEN: u64 = 32;
/// Below this probability waves differ by more than their errors.
const DOUBTFUL: f64 = 0.01;
/// Adaptation and production further apart than this, in standard errors, contradict each other.
const CONTRADICTION: f64 = 4.0;
/// A rule further from the pilot than this is not believed.
const APART: f64 = 5.0;
/// Fewer samples than this share that are not zero: the domain is mostly empty.
const EMPTY: f64 = 0.001;
/// An interval narrower than this share of the value is rounding.
const FLAT: f64 = 1e-12;

impl Job {
    pub(super) fn units(&self) -> Units {
        Units::new(self.plan.domain.volume(), &self.scale)
    }

    pub(super) fn shortfall(&self, estimate: &Estimate) -> f64 {
        estimate.shortfall(self.target, &self.units())
    }

    /// Whether the production is as good as asked for, believable, and confirmed.
    pub(super) fn good(&self, production: &Production) -> bool {
        self.claims(production) && production.is_confirmed()
    }

    /// Whether the production claims to be as good as asked for; a rule's claim is yet to be tested.
    pub(super) fn claims(&self, production: &Production) -> bool {
        let estimate = production.estimate();
        let enough = if estimate.bound && self.pilot.dominated() {
            WARY
        } else {
            1.0
        };
        self.shortfall(&estimate) <= enough
            && production.agree()
            && self.seen >= SEEN.min(self.produced)
            && match production {
                Production::Cubature(state) => !state.stuck() && self.is_confirmed(&estimate),
                _ => self.is_light(&estimate),
            }
    }

    /// Whether every output is known well enough or is zero within an error that is small against the integrand: a relative
    /// error says nothing then, however many samples follow.
    pub(super) fn vanishes(&self, production: &Production) -> bool {
        let Target { rel, abs, .. } = self.target;
        let estimate = production.estimate();
        let mut any = false;
        let known = (self.pilot.rms().iter().enumerate()).all(|(o, rms)| {
            let (value, half) = (estimate.value(o).abs(), estimate.half_width(o));
            let zero = value <= half && half <= rel * rms;
            any |= zero;
            zero || half <= rel * value
        });
        known && any && abs == 0.0 && production.agree() && !self.pilot.dominated()
    }

    /// Whether the error bar alone would do.
    fn is_narrow(&self) -> bool {
        let Phase::Produce(production) = &self.phase else {
            return false;
        };
        let estimate = production.estimate();
        self.shortfall(&estimate) <= 1.0 && self.is_light(&estimate)
    }

    /// Whether the pilot's samples do not contradict a rule, which sees a peak or not.
    fn is_confirmed(&self, estimate: &Estimate) -> bool {
        let resolved = match &self.phase {
            Phase::Produce(production) => production.resolved(),
            _ => Vec::new(),
        };
        self.pilot.dominated() || estimate.agrees_but_for(&resolved, &self.pilot.estimate(), APART)
    }

    /// Whether no single sample decides.
    fn is_light(&self, estimate: &Estimate) -> bool {
        let units = self.units();
        let drawn = self.produced.max(1) as f64;
        estimate
            .values
            .iter()
            .zip(&self.heaviest)
            .enumerate()
            .all(|(o, (value, heaviest))| {
                let share = heaviest / drawn;
                share <= HEAVY * value.abs() || units.user(o, share) <= self.target.abs
            })
    }

    /// What a user should know before trusting the answer.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.warn_of_bad(&mut warnings);
        if self.status == Status::Failed {
            return warnings;
        }
        self.warn_of_little(&mut warnings);
        if let Phase::Produce(production) = &self.phase {
            let estimate = production.estimate();
            warnings.extend(production.oddities());
            self.warn_of_contradictions(&estimate, &mut warnings);
            self.warn_of_features(production, &mut warnings);
            if !matches!(**production, Production::Cubature(_))
                && self.produced > 0
                && !self.is_light(&estimate)
            {
                warnings.push("single samples carry more than 1 % of the value: the integrand has a heavy tail or a pole, the error bar is not to be trusted, and the integral may not exist; more samples or a change of variables help only when it does".into());
            }
            let whole = estimate.values.iter().all(|value| value.is_finite());
            if self.produced > 0 && !whole {
                warnings
                    .push("the sums left the range of numbers: scale the integrand down".into());
            }
        }
        self.warn_of_constancy(&mut warnings);
        if self.status == Status::BudgetExhausted && self.waves > 0 && self.pilot.nonzero > 0 {
            warnings.push(self.why_it_ended());
        }
        warnings
    }

    /// Why a job ended short of its target, and what helps.
    fn why_it_ended(&self) -> String {
        let most = self.target.max_samples;
        if let Phase::Produce(production) = &self.phase {
            if self.vanishes(production) {
                return "the value is zero within its error, so no relative error can be reached: give an absolute one (abs_error)".into();
            }
            if production.is_exhausted() && !self.claims(production) {
                return "the error left is the rounding of the sum, whose terms cancel or whose target is below the precision of doubles: ask for a larger error, or shift the integrand".into();
            }
        }
        if self.is_narrow() {
            format!(
                "the error bar is as narrow as asked for, but no further wave confirmed it within max_samples = {most}: allow more samples"
            )
        } else {
            format!(
                "target error not reached within max_samples = {most}: allow more samples or a larger error"
            )
        }
    }

    /// A formula that depends on its variables and yet has one value wherever it was sampled hides what it depends on.
    fn warn_of_constancy(&self, warnings: &mut Vec<String>) {
        let same =
            self.pilot.nonzero > 0 && self.pilot.spread().iter().all(|spread| *spread == 0.0);
        if !same || self.constant {
            return;
        }
        let Phase::Produce(production) = &self.phase else {
            return;
        };
        let estimate = production.estimate();
        if (0..self.outputs).all(|o| estimate.half_width(o) <= FLAT * estimate.value(o).abs()) {
            warnings.push(format!("the integrand has one value at all of {} uniform points, though its formula depends on its variables: what makes it differ fills less than {:.1e} of the domain and is not in the value; give a point of it as a hint, narrow the limits, or look at more points (careful)", self.looked, self.unseen()));
        }
    }

    /// A narrow feature that random points found and no rule has resolved since.
    fn warn_of_features(&self, production: &Production, warnings: &mut Vec<String>) {
        let text = |point: &[f64]| {
            let point = self.plan.domain.point(point);
            let point = point.iter().map(f64::to_string).collect::<Vec<_>>();
            point.join(", ")
        };
        let place = |missed: &Missed| {
            missed
                .places
                .first()
                .map_or(String::new(), |place| text(place))
        };
        if let Some(missed) = production.missed() {
            let (count, point) = (missed.points, place(&missed));
            warnings.push(format!("the rule does not explain the values at {count} random points, one of them ({point}): a narrow feature lies there that is not resolved; use method auto, give the point as a hint, or allow more samples"));
        } else if let Some(missed) = &self.found
            && missed.is_rare()
            && !missed.is_in(&production.estimate().values)
        {
            let (count, point, method) = (missed.points, place(missed), production.method());
            warnings.push(format!("{count} random points lie on a narrow feature, one of them ({point}), and samples of method {method} may have missed a part of it: give the point as a hint"));
        }
    }

    fn warn_of_bad(&self, warnings: &mut Vec<String>) {
        let (Some(first), count) = (&self.bad.first, self.bad.count) else {
            return;
        };
        let x = first
            .x
            .iter()
            .map(f64::to_string)
            .collect::<Vec<_>>()
            .join(", ");
        let what = match (self.request.on_bad, self.request.method) {
            (OnBad::Fail, _) => {
                "exclude such points from the domain, or ask for on_bad \"zero\" or \"count\""
            }
            (OnBad::Count, Method::Plain) => "they are left out of the average",
            _ => "they count as zero",
        };
        warnings.push(format!(
            "the integrand is {} at ({x}), the first of {count} such samples: {what}",
            first.value
        ));
    }

    fn warn_of_little(&self, warnings: &mut Vec<String>) {
        if self.waves == 0 {
            if self.status == Status::BudgetExhausted {
                let least = crate::wave::TILE;
                warnings.push(format!("max_samples = {} is less than one tile, nothing was computed: allow {least} samples or more", self.target.max_samples));
            }
            return;
        }
        let drawn = self.pilot.drawn();
        if self.pilot.nonzero == 0 && drawn > 0 {
            let guided = if self.pilot.is_guided() {
                ""
            } else {
                "; give a point where it is not as a hint, or narrow the limits"
            };
            warnings.push(format!(
                "the integrand is zero at all of {drawn} uniform samples{guided}"
            ));
        } else if drawn > 0 && (self.pilot.dominated() || self.pilot.support() < EMPTY) {
            warnings.push(format!("a few of {drawn} uniform samples outweigh all others: the integrand lives in a small part of the domain, and further peaks may be missed; give the peaks that you know as hints, or narrow the limits"));
        }
        if !self.hints.is_empty()
            && matches!(
                self.request.method,
                Method::Plain | Method::Rqmc | Method::Cubature
            )
        {
            warnings.push(format!(
                "method {} does not use hints; auto, vegas and map-rqmc do",
                self.request.method
            ));
        }
    }

    fn warn_of_contradictions(&self, estimate: &Estimate, warnings: &mut Vec<String>) {
        let doubtful = (0..self.outputs)
            .filter_map(|o| estimate.q(o))
            .fold(1.0, f64::min);
        if doubtful < DOUBTFUL {
            warnings.push(format!("waves differ by more than their errors (q = {doubtful:.1e}): a part of the integrand was missed at first, or its tail is heavy; use more samples, another seed or hints to see which"));
        }
        if estimate.bound && !self.is_confirmed(estimate) {
            warnings.push("cubature and the pilot's samples contradict each other: the rule misses a peak or an edge; use method auto or map-rqmc".into());
        }
        let Some(adapted) = &self.adapted else {
            return;
        };
        let mut adaptation = adapted.estimate.clone();
        widen(
            &mut adaptation,
            &self.pilot.spread(),
            adapted.strata.counts().len(),
        );
        if !adaptation.values.is_empty()
            && !estimate.values.is_empty()
            && !estimate.agrees(&adaptation, CONTRADICTION)
        {
            warnings.push("the adaptation and the production contradict each other: a peak was missed by one of them; give the peaks that you know as hints, or use another seed".into());
        }
    }
}
