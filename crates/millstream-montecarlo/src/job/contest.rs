//! How `auto` chooses: methods compete on the integrand itself, and the one that will probably be the cheapest goes on.
//!
//! First one wave of plain Sobol points; up to five dimensions then cubature, which wins at once when it arrives soon, those
//! points agree, and random points find nothing that the rule does not explain; then more points, which win when they are near the aim. Only else is a map adapted, and Sobol points
//! through it and VEGAS+ enter. The price of going on is samples times a cost counted in operations, never time measured:
//! the choice is the same on every machine. What the winner has computed counts for its production.

use serde::{Deserialize, Serialize};

use super::judge::WARY;
use crate::Error;
use crate::domain::Domain;
use crate::estimate::{Estimate, Units};
use crate::method::adapt::Adapt;
use crate::method::pilot::Pilot;
use crate::method::{Adapted, INTEGRAND_COST, Missed, Production, cost};
use crate::partial::Partial;
use crate::request::{Method, Target};
use crate::wave::Work;

/// Evaluations within which cubature has to arrive to win without a contest.
const CUBATURE_SOON: u64 = 200_000;
/// Plain Sobol points whose error is within this factor of the aim need no map.
const NEAR: f64 = 8.0;
/// Estimates further apart than this, in standard errors, do not agree.
const APART: f64 = 5.0;
/// In one and two dimensions replicates see edges too coarsely for their error bar: they must be cheaper by this factor.
const LOW_DIMENSIONS: f64 = 10.0;
/// Most dimensions of cubature.
const CUBATURE_DIM: usize = 5;
/// Places that random points found around which the map is adapted, at most.
const HINTS: usize = 4;

/// A method on trial.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Rival {
    pub(crate) production: Production,
    pub(crate) samples: u64,
    /// Samples that are not zero.
    pub(crate) seen: u64,
    pub(crate) heaviest: Vec<f64>,
    /// Samples and half-width against the aim after each wave.
    course: Vec<(u64, f64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    FirstLook,
    Cubature,
    Check,
    SecondLook,
    Adapt,
    MapRqmc,
    Vegas,
    Decided,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Contest {
    dim: usize,
    /// Cubature before its first wave; none in dimensions that are too many for it.
    cubature: Option<Production>,
    stage: Stage,
    spread: Vec<f64>,
    /// What the pilot says; none when a few of its samples decide.
    pilot: Option<Estimate>,
    rivals: Vec<Rival>,
    adapt: Option<Box<Adapt>>,
    pub(crate) adapted: Option<Adapted>,
    /// Uniform points that test what cubature claims.
    careful: u64,
    /// What random points found that cubature has not resolved.
    pub(crate) found: Option<Missed>,
    /// Who won without a comparison, and why.
    winner: Option<(Method, String)>,
}

/// What a contest looks at beside its own state.
pub(crate) struct View<'a> {
    pub(crate) target: Target,
    pub(crate) units: &'a Units,
    /// Samples left after the wave.
    pub(crate) left: u64,
}

impl Contest {
    pub(crate) fn new(domain: &Domain, pilot: &Pilot, careful: u64) -> Self {
        let spread = pilot.spread();
        let rqmc = Rival::new(Production::rqmc(&spread));
        let visible = pilot.rms().iter().any(|rms| *rms > 0.0);
        let known = (visible && !pilot.dominated()).then(|| pilot.estimate());
        Self {
            dim: domain.dim(),
            cubature: (domain.dim() <= CUBATURE_DIM).then(|| Production::cubature(domain)),
            stage: Stage::FirstLook,
            spread,
            pilot: known,
            rivals: vec![rqmc],
            adapt: None,
            adapted: None,
            careful,
            found: None,
            winner: None,
        }
    }

    /// The same after cubature has come to its limits.
    pub(crate) fn without_cubature(mut self, found: Option<Missed>) -> Self {
        self.cubature = None;
        self.found = found;
        self
    }

    /// The work of the next wave; none when it is decided, or the budget decides.
    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        match self.stage {
            Stage::Decided => None,
            Stage::Adapt => self.adapt.as_ref()?.next(left / 2),
            Stage::SecondLook => self.rivals.first()?.production.next(left),
            Stage::Check => self.rivals.last()?.production.check(self.careful, left),
            _ => self.rivals.last()?.production.next(left),
        }
    }

    /// Takes a wave in and goes to the next stage when this one is done. `adaptation` makes one for so many samples needed.
    pub(crate) fn complete(
        &mut self,
        (work, whole): (&Work, &Partial),
        view: &View<'_>,
        adaptation: impl FnOnce(f64, &[Vec<f64>]) -> Adapt,
    ) -> Result<(), Error> {
        let runner = match self.stage {
            Stage::Adapt => None,
            Stage::SecondLook => self.rivals.first_mut(),
            _ => self.rivals.last_mut(),
        };
        if let Some(runner) = runner {
            runner.complete(work, whole, view)?;
        }
        match self.stage {
            Stage::FirstLook => match self.cubature.take() {
                Some(cubature) if self.pilot.is_some() || self.dim < 3 => {
                    self.enter(Stage::Cubature, cubature);
                }
                _ => self.stage = Stage::SecondLook,
            },
            Stage::Cubature => self.after_cubature(view),
            Stage::Check => self.after_check(view),
            Stage::SecondLook => self.after_second_look(view, adaptation),
            Stage::Adapt => self.after_iteration(whole, view)?,
            Stage::MapRqmc => self.after_map_rqmc(),
            Stage::Vegas | Stage::Decided => self.stage = Stage::Decided,
        }
        Ok(())
    }

    fn enter(&mut self, stage: Stage, production: Production) {
        self.rivals.push(Rival::new(production));
        self.stage = stage;
    }

    /// Whether the present wave is a trial of cubature. Its points lie on lines and planes where samples hardly ever do;
    /// that the integrand has no value there speaks against cubature only.
    pub(crate) fn tries_cubature(&self) -> bool {
        self.stage == Stage::Cubature
    }

    /// Cubature is out.
    pub(crate) fn drop_cubature(&mut self) {
        self.rivals.pop();
        self.stage = Stage::SecondLook;
    }

    fn after_cubature(&mut self, view: &View<'_>) {
        let Some(rival) = self.rivals.last() else {
            return;
        };
        let estimate = rival.production.estimate();
        let enough = if self.pilot.is_some() { 1.0 } else { WARY };
        let close = estimate.shortfall(view.target, view.units) <= enough
            || rival.production.is_exhausted();
        let arrived = close && rival.production.agree();
        let stuck = !rival.production.oddities().is_empty();
        if arrived && !stuck {
            let resolved = rival.production.resolved();
            let looked = self.rivals.first().map(|rival| rival.production.estimate());
            let confirmed = [looked.as_ref(), self.pilot.as_ref()]
                .into_iter()
                .flatten()
                .all(|other| estimate.agrees_but_for(&resolved, other, APART));
            if confirmed {
                self.stage = Stage::Check;
            } else {
                self.drop_cubature();
            }
        } else if stuck
            || rival.samples > CUBATURE_SOON
            || rival.production.next(view.left).is_none()
        {
            if stuck && self.dim == 1 {
                // Samples miss the end of a slow tail; halvings tell at least how slowly it falls.
                let reason = "halving towards a pole tells more of its tail than samples".into();
                return self.decide(Method::Cubature, reason);
            }
            if stuck {
                self.rivals.pop();
            }
            self.stage = Stage::SecondLook;
        }
    }

    fn after_check(&mut self, view: &View<'_>) {
        let Some(rival) = self.rivals.last() else {
            return;
        };
        if rival.production.is_confirmed() {
            let reason = format!(
                "cubature arrived within {} evaluations, and random points agree",
                rival.samples
            );
            self.found = None;
            self.decide(Method::Cubature, reason);
        } else {
            self.found = rival.production.missed();
            // What the points found is in the errors of its regions: it goes on from there.
            self.stage = Stage::Cubature;
            self.after_cubature(view);
        }
    }

    fn after_second_look(
        &mut self,
        view: &View<'_>,
        adaptation: impl FnOnce(f64, &[Vec<f64>]) -> Adapt,
    ) {
        let Some(rival) = self.rivals.first() else {
            return;
        };
        let short = rival
            .production
            .estimate()
            .shortfall(view.target, view.units);
        if self.dim > 2 && short <= NEAR && self.pilot.is_some() {
            let note = if short <= 1.0 {
                "are good enough"
            } else {
                "are near the aim"
            };
            let reason = format!(
                "plain Sobol points {note} after {} samples: no map is needed",
                rival.samples
            );
            return self.decide(Method::Rqmc, reason);
        }
        let cheapest = self
            .rivals
            .iter()
            .map(|rival| rival.needed(view))
            .fold(f64::INFINITY, f64::min);
        let found = self.found.as_ref().filter(|found| found.is_rare());
        let places = found.map_or(&[][..], |found| &found.places);
        let adapt = adaptation(cheapest, places.get(..HINTS).unwrap_or(places));
        if adapt.next(view.left / 2).is_some() {
            self.adapt = Some(Box::new(adapt));
            self.stage = Stage::Adapt;
        } else {
            self.stage = Stage::Decided;
        }
    }

    fn after_iteration(&mut self, whole: &Partial, view: &View<'_>) -> Result<(), Error> {
        let Some(adapt) = &mut self.adapt else {
            return Err(Error::Mismatch);
        };
        adapt.complete(whole)?;
        if adapt.next(view.left / 2).is_none() {
            let adapted = adapt.adapted();
            self.adapt = None;
            let production = Production::map_rqmc(adapted.map.clone(), &self.spread);
            self.adapted = Some(adapted);
            self.enter(Stage::MapRqmc, production);
        }
        Ok(())
    }

    fn after_map_rqmc(&mut self) {
        let two_waves = self
            .rivals
            .last()
            .is_some_and(|rival| rival.course.len() >= 2);
        if two_waves && let Some(adapted) = &self.adapted {
            let vegas = Production::vegas(adapted, &self.spread);
            self.enter(Stage::Vegas, vegas);
        }
    }

    fn decide(&mut self, winner: Method, reason: String) {
        self.winner = Some((winner, reason));
        self.stage = Stage::Decided;
    }

    /// The estimate of whoever has the smallest error so far, with its method.
    pub(crate) fn best(&self) -> Option<(Method, Estimate)> {
        let known = self.rivals.iter().filter(|rival| rival.samples > 0);
        let all = known.map(|rival| (rival.production.method(), rival.production.estimate()));
        all.min_by(|a, b| a.1.relative().total_cmp(&b.1.relative()))
    }

    /// Leaves out who has missed most of what another found, whatever it thinks of its error.
    fn drop_the_blind(&mut self) {
        let estimates = self.rivals.iter().map(|rival| rival.production.estimate());
        let estimates: Vec<Estimate> = estimates.collect();
        let outputs = || 0..estimates.first().map_or(0, |one| one.values.len());
        let found = outputs().map(|o| {
            let least = estimates
                .iter()
                .map(|one| one.value(o).abs() - one.half_width(o));
            least.fold(0.0, f64::max)
        });
        let found: Vec<f64> = found.collect();
        let mut sees = estimates.iter().map(|one| {
            let mut all = found.iter().enumerate();
            all.all(|(o, found)| one.value(o).abs() + APART * one.half_width(o) >= found / 2.0)
        });
        self.rivals.retain(|_| sees.next().unwrap_or(true));
    }

    /// The winner, and why.
    pub(crate) fn decision(mut self, view: &View<'_>) -> Option<(Rival, String)> {
        if let Some((method, reason)) = self.winner {
            let won = |rival: &Rival| rival.production.method() == method;
            return Some((self.rivals.into_iter().find(won)?, reason));
        }
        self.rivals.retain(|rival| rival.samples > 0);
        self.drop_the_blind();
        let handicap = |rival: &Rival| match rival.production.method() {
            Method::Rqmc | Method::MapRqmc if self.dim <= 2 => LOW_DIMENSIONS,
            _ => 1.0,
        };
        let price = |rival: &Rival| {
            rival.needed(view)
                * (cost(rival.production.method(), self.dim) + INTEGRAND_COST)
                * handicap(rival)
        };
        let prices: Vec<f64> = self.rivals.iter().map(price).collect();
        let (winner, _) = prices
            .iter()
            .enumerate()
            .min_by(|a, b| a.1.total_cmp(b.1))?;
        let told = self
            .rivals
            .iter()
            .map(|rival| format!("{} {:.1e}", rival.production.method(), rival.needed(view)));
        let reason = format!(
            "samples that the aim probably needs: {}",
            told.collect::<Vec<_>>().join(", ")
        );
        Some((self.rivals.swap_remove(winner), reason))
    }
}

impl Rival {
    fn new(production: Production) -> Self {
        Self {
            production,
            samples: 0,
            seen: 0,
            heaviest: Vec::new(),
            course: Vec::new(),
        }
    }

    fn complete(&mut self, work: &Work, whole: &Partial, view: &View<'_>) -> Result<(), Error> {
        self.production.complete(work, whole)?;
        if matches!(work, Work::Checks { .. }) {
            // A test costs the same whatever is left to do.
            return Ok(());
        }
        self.samples += whole.samples;
        self.seen += whole.nonzero;
        self.heaviest.resize(whole.heaviest.len(), 0.0);
        self.heaviest
            .iter_mut()
            .zip(&whole.heaviest)
            .for_each(|(most, more)| *most = most.max(more.first()));
        self.course.push((self.samples, self.short(view)));
        Ok(())
    }

    /// The half-width against the aim, or against the value when there is none.
    fn short(&self, view: &View<'_>) -> f64 {
        let estimate = self.production.estimate();
        let short = estimate.shortfall(view.target, view.units);
        if short.is_finite() {
            short
        } else {
            1e6 * estimate.relative()
        }
    }

    /// Samples that it probably needs in all, by how its error falls with them.
    fn needed(&self, view: &View<'_>) -> f64 {
        let short = self.short(view);
        let power = match self.production.method() {
            Method::Rqmc | Method::MapRqmc => 4.0 / 3.0,
            Method::Cubature => self.power(),
            _ => 2.0,
        };
        let factor = crate::kernels::scalar::pow(short.max(1.0), power);
        let needed = self.samples as f64 * factor;
        let too_many = self.production.capacity().is_some_and(|most| needed > most);
        if needed.is_nan() || too_many {
            f64::INFINITY
        } else {
            needed
        }
    }

    /// How samples have to grow for an error ten times smaller, as a power, from the second half of the course.
    fn power(&self) -> f64 {
        let ln = crate::kernels::scalar::ln;
        let (Some(&(samples, short)), Some(&(earlier, before))) = (
            self.course.last(),
            self.course.iter().find(|(at, _)| 4 * at >= self.samples),
        ) else {
            return f64::INFINITY;
        };
        let gained = ln(before / short);
        let power = ln(samples as f64 / earlier as f64) / gained;
        if gained > 0.0 {
            power.max(0.5)
        } else {
            f64::INFINITY
        }
    }
}
