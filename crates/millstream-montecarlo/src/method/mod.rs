//! What a coordinator decides: which wave comes next, and what complete waves say.
//!
//! Every file has the same parts: a state that is part of the checkpoint, `next` (the work of the next wave, none when what
//! is left of the budget does not hold one), `complete` (takes the sums of that wave in), `estimate` and `agree`. All of
//! them are pure functions of complete waves. `pilot` and `adapt` come first and decide; the other files produce.

pub(crate) mod adapt;
pub(crate) mod cubature;
mod map_rqmc;
pub(crate) mod pilot;
mod plain;
mod rqmc;
pub(crate) mod vegas;
mod waves;

use serde::{Deserialize, Serialize};

pub(crate) use adapt::Adapted;
use cubature::Cubature;
pub(crate) use cubature::Missed;
use map_rqmc::MapRqmc;
use plain::Plain;
use rqmc::Rqmc;
use vegas::Vegas;

use crate::Error;
use crate::domain::Domain;
use crate::estimate::Estimate;
use crate::map::Map;
use crate::partial::Partial;
use crate::request::Method;
use crate::wave::Work;

/// A method at work.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Production {
    Plain(Plain),
    Vegas(Vegas),
    Rqmc(Rqmc),
    MapRqmc(MapRqmc),
    Cubature(Cubature),
}

/// Calls the method of the same name of whichever method is at work.
macro_rules! each {
    ($this:expr, $method:ident $(, $argument:expr)*) => {
        match $this {
            Production::Plain(state) => state.$method($($argument),*),
            Production::Vegas(state) => state.$method($($argument),*),
            Production::Rqmc(state) => state.$method($($argument),*),
            Production::MapRqmc(state) => state.$method($($argument),*),
            Production::Cubature(state) => state.$method($($argument),*),
        }
    };
}

impl Production {
    /// `leave_out`: bad samples do not count as zero.
    pub(crate) fn plain(leave_out: bool) -> Self {
        Self::Plain(Plain::new(leave_out))
    }

    pub(crate) fn cubature(domain: &Domain) -> Self {
        Self::Cubature(Cubature::new(domain.infinite_ends()))
    }

    /// `spread` is the standard deviation of each output.
    pub(crate) fn rqmc(spread: &[f64]) -> Self {
        Self::Rqmc(Rqmc::through(None, spread.to_vec()))
    }

    pub(crate) fn map_rqmc(map: Map, spread: &[f64]) -> Self {
        Self::MapRqmc(MapRqmc::through(map, spread.to_vec()))
    }

    pub(crate) fn vegas(adapted: &Adapted, spread: &[f64]) -> Self {
        Self::Vegas(Vegas::new(adapted, spread))
    }

    /// The work of the next wave, of at most `left` samples.
    pub(crate) fn next(&self, left: u64) -> Option<Work> {
        each!(self, next, left)
    }

    pub(crate) fn complete(&mut self, work: &Work, whole: &Partial) -> Result<(), Error> {
        each!(self, complete, work, whole)
    }

    pub(crate) fn estimate(&self) -> Estimate {
        each!(self, estimate)
    }

    /// Whether there are two waves and the last one agrees with those before.
    pub(crate) fn agree(&self) -> bool {
        each!(self, agree)
    }

    /// A test of what a rule claims, with about `points` random points in at most `left` samples; none for methods whose own
    /// samples are random.
    pub(crate) fn check(&self, points: u64, left: u64) -> Option<Work> {
        match self {
            Self::Cubature(state) if state.is_untested() => state.check(points, left),
            _ => None,
        }
    }

    /// Whether random points stand behind the present value.
    pub(crate) fn is_confirmed(&self) -> bool {
        match self {
            Self::Cubature(state) => state.is_confirmed(),
            _ => true,
        }
    }

    /// Samples at which it has no room for more; none for methods without such a limit.
    pub(crate) fn capacity(&self) -> Option<f64> {
        match self {
            Self::Cubature(state) => Some(state.capacity()),
            _ => None,
        }
    }

    /// Whether the error left is rounding.
    pub(crate) fn is_exhausted(&self) -> bool {
        match self {
            Self::Cubature(state) => state.is_exhausted(),
            _ => false,
        }
    }

    /// What random points found that a rule has not explained yet.
    pub(crate) fn missed(&self) -> Option<Missed> {
        match self {
            Self::Cubature(state) => state.missed(),
            _ => None,
        }
    }

    /// How far values moved for what random points found; empty for methods without a rule.
    pub(crate) fn resolved(&self) -> Vec<f64> {
        match self {
            Self::Cubature(state) => state.resolved(),
            _ => Vec::new(),
        }
    }

    pub(crate) const fn method(&self) -> Method {
        match self {
            Self::Plain(_) => Method::Plain,
            Self::Vegas(_) => Method::Vegas,
            Self::Rqmc(_) => Method::Rqmc,
            Self::MapRqmc(_) => Method::MapRqmc,
            Self::Cubature(_) => Method::Cubature,
        }
    }

    /// What is odd about the samples so far, said so that a user knows what to do.
    pub(crate) fn oddities(&self) -> Vec<String> {
        match self {
            Self::Vegas(state) => state.oddities(),
            Self::Cubature(state) => state.oddities(),
            _ => Vec::new(),
        }
    }
}

/// The deterministic cost of a sample, in additions: sampling alone, the integrand comes on top.
pub(crate) fn cost(method: Method, dim: usize) -> f64 {
    let per_axis = match method {
        Method::Plain | Method::Auto => 4.0,
        Method::Rqmc | Method::Cubature => 6.0,
        Method::MapRqmc => 9.0,
        Method::Vegas => 20.0,
    };
    let fixed = if method == Method::Vegas { 40.0 } else { 4.0 };
    fixed + per_axis * dim as f64
}

/// An integrand of unknown cost is taken for a few elementary functions.
pub(crate) const INTEGRAND_COST: f64 = 40.0;
