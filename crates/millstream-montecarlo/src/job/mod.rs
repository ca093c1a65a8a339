//! A job: from a request to its answer, wave by wave, without a clock.
//!
//! What comes next is a pure function of the request and the complete waves before, so a job that was written down after a
//! wave and read again goes on to the same bits: serialised, it is its own checkpoint. The way: a pilot looks at the
//! integrand; `auto` lets methods compete (`contest`); the one chosen produces in doubling waves; after each the stop rule
//! (`judge`) asks whether every output is as good as wanted, the last two waves agree, and no single sample decides.

mod contest;
#[cfg(test)]
mod coverage;
#[cfg(test)]
mod features;
mod judge;
#[cfg(test)]
mod limits;
mod report;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::contest::{Contest, View};
use crate::answer::Status;
use crate::digest::Digest;
use crate::estimate::Estimate;
use crate::map::Map;
use crate::method::adapt::Adapt;
use crate::method::pilot::{self, Pilot};
use crate::method::{Adapted, Missed, Production};
use crate::partial::{Bad, Partial};
use crate::plan::Plan;
use crate::request::{DEFAULT_CAREFUL, Method, OnBad, Request, StoredMap, Target};
use crate::wave::{Wave, Work};
use crate::{Error, NUMERICS, Registry};

/// Iterations of the adaptation take this share of the samples that the aim probably needs.
const ADAPTATION_SHARE: f64 = 0.1;
/// Samples of an adaptation, at least where the budget has them, and at most.
const ADAPTATION: (f64, f64) = (1e5, 3e6);

/// An integral being computed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Job {
    request: Request,
    plan: Plan,
    /// Of all that decides bits, as asked at first.
    digest: Digest,
    outputs: usize,
    /// In the unit cube.
    hints: Vec<Vec<f64>>,
    target: Target,
    scale: Vec<i32>,
    phase: Phase,
    wave: Option<Wave>,
    status: Status,
    samples: u64,
    waves: u32,
    bad: Bad,
    pilot: Pilot,
    adapted: Option<Adapted>,
    /// The best estimate while none of the production is there.
    interim: Option<(Method, Estimate)>,
    decision: Option<String>,
    /// The largest weighted value of each output in the production.
    heaviest: Vec<f64>,
    /// What random points found that no rule has resolved.
    found: Option<Missed>,
    /// The formula has no variable.
    constant: bool,
    /// Points spread evenly over the domain, all phases.
    looked: u64,
    /// Samples of the production, and those of them that are not zero.
    produced: u64,
    seen: u64,
    failure: Option<String>,
}

/// What the present wave is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
enum Phase {
    Pilot,
    Contest(Box<Contest>),
    Adapt(Box<Adapt>),
    Produce(Box<Production>),
}

impl Job {
    /// A job for `request`; nothing is computed yet.
    ///
    /// # Errors
    /// The request cannot be run: see [`Request::validate`].
    pub fn new(request: Request, functions: &Registry) -> Result<Self, Error> {
        let checked = request.check(functions)?;
        let target = request.target()?;
        let plan = Plan {
            expression: request.expression.clone(),
            params: request.params.clone(),
            domain: checked.domain,
            seed: request.seed,
            numerics: NUMERICS,
        };
        let guided = !checked.hints.is_empty() || request.map.is_some();
        let digest = Digest::of(&(
            (&plan, request.method, request.on_bad),
            (&checked.hints, &request.map, target, request.careful),
        ));
        let mut job = Self {
            digest,
            request,
            plan,
            outputs: checked.integrand.outputs(),
            hints: checked.hints,
            target,
            scale: Vec::new(),
            phase: Phase::Pilot,
            wave: None,
            status: Status::Running,
            samples: 0,
            waves: 0,
            bad: Bad::default(),
            pilot: Pilot::new(guided),
            adapted: None,
            interim: None,
            decision: None,
            heaviest: Vec::new(),
            found: None,
            constant: checked.integrand.is_constant(),
            looked: 0,
            produced: 0,
            seen: 0,
            failure: None,
        };
        job.proceed();
        Ok(job)
    }

    /// What to compute now; none when the job has ended.
    pub fn wave(&self) -> Option<&Wave> {
        self.wave
            .as_ref()
            .filter(|_| self.status == Status::Running)
    }

    /// How it stands.
    pub const fn status(&self) -> Status {
        self.status
    }

    /// The request.
    pub const fn request(&self) -> &Request {
        &self.request
    }

    /// Samples of all complete waves.
    pub const fn samples(&self) -> u64 {
        self.samples
    }

    /// Takes the sums of the whole present wave, and decides what comes next.
    ///
    /// # Errors
    /// [`Error::Mismatch`] when there is no wave, or the sums are not those of all of it.
    pub fn complete(&mut self, whole: Partial) -> Result<(), Error> {
        let Some(wave) = self.wave() else {
            return Err(Error::Mismatch);
        };
        if whole.samples != wave.samples() || whole.heaviest.len() != self.outputs {
            return Err(Error::Mismatch);
        }
        let Some(wave) = self.wave.take() else {
            return Err(Error::Mismatch);
        };
        self.samples += whole.samples;
        self.looked += spread_evenly(&wave.work, whole.samples);
        self.waves += 1;
        if let Phase::Contest(contest) = &mut self.phase
            && contest.tries_cubature()
            && whole.bad.count > 0
        {
            contest.drop_cubature();
            self.proceed();
            return Ok(());
        }
        self.bad.count += whole.bad.count;
        if self.bad.first.is_none() {
            self.bad.first.clone_from(&whole.bad.first);
        }
        if self.bad.count > 0 && self.request.on_bad == OnBad::Fail {
            self.status = Status::Failed;
            return Ok(());
        }
        if self.waves > 1
            && let Some(scale) = pilot::rescaled(&self.scale, &whole.largest)
        {
            self.begin_again(scale);
        } else {
            self.take(&wave.work, &whole)?;
        }
        self.proceed();
        Ok(())
    }

    /// Begins with another scale: the pilot's samples were so small against a peak found since that its square overflows.
    fn begin_again(&mut self, scale: Vec<i32>) {
        self.scale = scale;
        self.pilot = Pilot::new(self.pilot.is_guided());
        self.phase = Phase::Pilot;
        self.interim = None;
        self.adapted = None;
        self.heaviest.clear();
        (self.produced, self.seen) = (0, 0);
    }

    fn take(&mut self, work: &Work, whole: &Partial) -> Result<(), Error> {
        match &mut self.phase {
            Phase::Pilot => self.take_pilot(whole)?,
            Phase::Adapt(adapt) => adapt.complete(whole)?,
            Phase::Contest(_) => self.take_contest(work, whole)?,
            Phase::Produce(production) => {
                production.complete(work, whole)?;
                self.weigh(whole);
            }
        }
        Ok(())
    }

    fn take_contest(&mut self, work: &Work, whole: &Partial) -> Result<(), Error> {
        let units = self.units();
        let view = View {
            target: self.target,
            units: &units,
            left: self.left(),
        };
        let plain = self.needed_by_plain();
        let start = (
            self.plan.domain.dim(),
            self.request.map.as_ref().map(|stored| stored.map.clone()),
        );
        let Phase::Contest(contest) = &mut self.phase else {
            return Err(Error::Mismatch);
        };
        let hints = &self.hints;
        contest.complete((work, whole), &view, |need, found| {
            let hints = [hints, found].concat();
            adaptation(need.min(plain), start, &hints)
        })
    }

    /// Notes the heaviest sample of the production.
    fn weigh(&mut self, whole: &Partial) {
        self.heaviest.resize(self.outputs, 0.0);
        self.heaviest
            .iter_mut()
            .zip(&whole.heaviest)
            .for_each(|(most, more)| *most = most.max(more.first()));
        self.produced += whole.samples;
        self.seen += whole.nonzero;
    }

    fn take_pilot(&mut self, whole: &Partial) -> Result<(), Error> {
        if self.waves == 1 {
            self.scale = pilot::scale(&whole.largest);
            if !self.scale.is_empty() {
                // What was summed may have overflowed: look again, scaled.
                return Ok(());
            }
        }
        self.pilot.complete(whole)?;
        self.interim = Some((Method::Plain, self.pilot.estimate()));
        Ok(())
    }

    fn left(&self) -> u64 {
        self.target.max_samples.saturating_sub(self.samples)
    }

    /// Puts the next wave up, passing from phase to phase as each has no more to do.
    fn proceed(&mut self) {
        while self.status == Status::Running && self.wave.is_none() {
            let left = self.left();
            let work = match &self.phase {
                Phase::Pilot => self.pilot.next(left),
                Phase::Adapt(adapt) => adapt.next(self.adaptation_left()),
                Phase::Contest(contest) => contest.next(left),
                Phase::Produce(production) => self.next_of(production, left),
            };
            match work {
                Some(work) => self.put_up(work),
                None => self.pass_on(),
            }
        }
    }

    /// What follows in a production: more of it, or the test of what it claims.
    fn next_of(&self, production: &Production, left: u64) -> Option<Work> {
        if self.good(production) || self.vanishes(production) {
            return None;
        }
        let claims = self.claims(production);
        if claims && let Some(check) = production.check(self.careful(), left) {
            return Some(check);
        }
        if claims || !self.is_exhausted(production) {
            return production.next(left);
        }
        production.check(self.careful(), left)
    }

    fn careful(&self) -> u64 {
        self.request.careful.unwrap_or(DEFAULT_CAREFUL)
    }

    /// The share of the domain that a feature fills at most, with a probability of 95 %, if no sample has seen it: the rule of
    /// three.
    fn unseen(&self) -> f64 {
        (3.0 / self.looked as f64).min(1.0)
    }

    fn put_up(&mut self, work: Work) {
        let wave = Wave {
            plan: self.plan.clone(),
            iteration: self.waves,
            scale: self.scale.clone(),
            work,
        };
        self.wave = Some(wave);
    }

    /// An adaptation leaves half of a small budget to the production.
    fn adaptation_left(&self) -> u64 {
        self.left() / 2
    }

    /// From a phase that has no more to do to the next, or to the end.
    fn pass_on(&mut self) {
        match &self.phase {
            Phase::Pilot
                if self.pilot.is_empty() || self.pilot.nonzero == 0 && !self.pilot.is_guided() =>
            {
                self.status = Status::BudgetExhausted;
            }
            Phase::Pilot => self.after_pilot(),
            Phase::Adapt(adapt) => {
                let adapted = adapt.adapted();
                self.after_adaptation(adapted);
            }
            Phase::Contest(_) => self.end_contest(),
            Phase::Produce(production) => {
                if self.good(production) {
                    self.status = Status::Converged;
                } else if self.may_change(production) {
                    let found = production.missed();
                    let contest = self.contest().without_cubature(found);
                    self.phase = Phase::Contest(Box::new(contest));
                } else {
                    self.status = Status::BudgetExhausted;
                }
            }
        }
    }

    /// Whether `auto` chose a method that has come to its own limits rather than to that of the budget.
    fn may_change(&self, production: &Production) -> bool {
        self.request.method == Method::Auto
            && production.capacity().is_some()
            && production.next(u64::MAX).is_none()
            && !self.is_exhausted(production)
            && !self.vanishes(production)
            && self.plan.domain.dim() > 1
    }

    /// Whether a rule's error left is rounding.
    fn is_exhausted(&self, production: &Production) -> bool {
        production.is_exhausted() && production.agree()
    }

    fn contest(&self) -> Contest {
        Contest::new(&self.plan.domain, &self.pilot, self.careful())
    }

    fn after_pilot(&mut self) {
        let spread = self.pilot.spread();
        let dim = self.plan.domain.dim();
        let produce = |production| Phase::Produce(Box::new(production));
        self.phase = match self.request.method {
            Method::Plain => produce(Production::plain(self.request.on_bad == OnBad::Count)),
            Method::Rqmc => produce(Production::rqmc(&spread)),
            Method::Cubature => produce(Production::cubature(&self.plan.domain)),
            Method::Vegas | Method::MapRqmc => {
                let map: Option<Map> = self.request.map.as_ref().map(|stored| stored.map.clone());
                Phase::Adapt(Box::new(adaptation(
                    self.needed_by_plain(),
                    (dim, map),
                    &self.hints,
                )))
            }
            Method::Auto => Phase::Contest(Box::new(self.contest())),
        };
    }

    /// Samples that plain sampling would need, within the budget.
    fn needed_by_plain(&self) -> f64 {
        let short = self.shortfall(&self.pilot.estimate());
        (short * short * self.pilot.drawn() as f64).min(self.left() as f64)
    }

    fn end_contest(&mut self) {
        let units = self.units();
        let view = View {
            target: self.target,
            units: &units,
            left: self.left(),
        };
        let Phase::Contest(contest) = &self.phase else {
            return;
        };
        let mut contest = contest.clone();
        self.adapted = contest.adapted.take();
        self.found = contest.found.take();
        match contest.decision(&view) {
            Some((winner, reason)) => {
                self.decision = Some(reason);
                self.produced = winner.samples;
                self.seen = winner.seen;
                self.heaviest = winner.heaviest;
                self.phase = Phase::Produce(Box::new(winner.production));
            }
            None => self.status = Status::BudgetExhausted,
        }
    }

    fn after_adaptation(&mut self, adapted: Adapted) {
        let spread = self.pilot.spread();
        let production = match self.request.method {
            Method::MapRqmc => Production::map_rqmc(adapted.map.clone(), &spread),
            _ => Production::vegas(&adapted, &spread),
        };
        self.adapted = Some(adapted);
        self.phase = Phase::Produce(Box::new(production));
    }

    /// Ends the job at its last complete wave: deadline, cancelled, failed.
    pub fn stop(&mut self, why: Status) {
        if self.status == Status::Running {
            self.status = why;
        }
    }

    /// Goes on with new aims, each kept when not given: a finished job from where it ended, an interrupted one from its
    /// last complete wave.
    ///
    /// # Errors
    /// An aim that no request could have; the job stays as it was.
    pub fn tighten(
        &mut self,
        rel_error: Option<f64>,
        abs_error: Option<f64>,
        max_samples: Option<u64>,
    ) -> Result<(), Error> {
        let mut request = self.request.clone();
        request.rel_error = rel_error.or(request.rel_error);
        request.abs_error = abs_error.or(request.abs_error);
        request.max_samples = max_samples.or(request.max_samples);
        self.target = request.target()?;
        self.request = request;
        if self.status != Status::Failed {
            self.status = Status::Running;
            self.proceed();
        }
        Ok(())
    }

    /// The method that produces the answer, once that is decided.
    pub fn method(&self) -> Option<Method> {
        match &self.phase {
            Phase::Produce(production) => Some(production.method()),
            _ => None,
        }
    }

    /// The adapted map, to begin another job with.
    pub fn map(&self) -> Option<StoredMap> {
        let map = self.adapted.as_ref()?.map.clone();
        Some(StoredMap {
            numerics: NUMERICS,
            map,
        })
    }
}

/// How many of a wave's samples are spread evenly over the domain. A map draws one in a hundred so; a rule's points are no
/// samples.
fn spread_evenly(work: &Work, samples: u64) -> u64 {
    match work {
        Work::Plain { map: None, .. } | Work::Replicates { map: None, .. } => samples,
        Work::Plain { .. } | Work::Replicates { .. } | Work::Strata { .. } => samples / 100,
        Work::Regions { .. } => 0,
        Work::Checks { checks } => checks.iter().map(|check| u64::from(check.points)).sum(),
    }
}

/// An adaptation of the size that an aim of `need` samples deserves.
fn adaptation(need: f64, (dim, map): (usize, Option<Map>), hints: &[Vec<f64>]) -> Adapt {
    let samples = (ADAPTATION_SHARE * need).clamp(ADAPTATION.0, ADAPTATION.1);
    Adapt::new(dim, samples as u64, map, hints)
}
