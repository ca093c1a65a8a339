//! What a user gets: the value, how far to trust it, how it was found, and what is odd about it.
//!
//! The names of the fields are those of the JSON, here and on the results topic. A number that does not exist, because no
//! wave is complete or because it is not finite, is null.

use serde::{Deserialize, Serialize};

use crate::partial::BadPoint;
use crate::request::{Each, Method, Request};

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// More waves follow.
    Running,
    /// Every output is as good as asked for.
    Converged,
    /// The samples allowed did not suffice, or more of them would not help; the warnings say which.
    BudgetExhausted,
    /// The deadline came first; the answer is that of the last complete wave.
    Deadline,
    /// Someone ended it; the answer is that of the last complete wave.
    Cancelled,
    /// There is no answer; the warnings say why.
    Failed,
}

impl Status {
    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Converged => "converged",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Deadline => "deadline",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// From where to where.
pub type Interval = [f64; 2];

/// The answer to a request, or how far it has come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// As the request is called.
    pub name: String,
    /// The integral.
    pub value: Each<Option<f64>>,
    /// Of the value.
    pub standard_error: Each<Option<f64>>,
    /// Holds the integral with 95 % confidence.
    pub interval: Each<Option<Interval>>,
    /// Of the t distribution behind the interval; null when they are so many that it is the normal one, and for
    /// cubature, which has none.
    pub degrees_of_freedom: Option<f64>,
    /// How far waves differ against how far they should: near 1 when all is well. Null before there are two.
    pub chi2_per_dof: Each<Option<f64>>,
    /// The probability of a chi squared as large by chance; below 0.01 the error bar is doubtful.
    pub q: Each<Option<f64>>,
    /// Evaluations of the integrand, all phases.
    pub samples: u64,
    /// Samples that were nan or infinite.
    pub bad_samples: u64,
    /// The first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_bad: Option<BadPoint>,
    /// The share of the domain that a feature fills at most, with a probability of 95 %, if no sample has seen it: 3 over the
    /// number of samples that were spread evenly. Null before the first wave.
    #[serde(default)]
    pub unseen_share: Option<f64>,
    /// The method used.
    pub method: Method,
    /// Why that method, when `auto` chose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<String>,
    /// Complete waves, all phases.
    pub waves: u32,
    /// Of the random streams.
    pub seed: u64,
    /// Names all that decides bits (integrand, domain, seed, numerics, method, hints, map, aims as first asked): equal hashes after
    /// equally many waves and samples mean equal bits.
    pub plan_hash: String,
    /// The version of the numbers.
    pub numerics: u32,
    /// How it ended.
    pub status: Status,
    /// What to know before trusting it, and what to do.
    pub warnings: Vec<String>,
    /// Time taken, filled in by whoever has a clock.
    pub seconds: f64,
    /// Of the values of a vector integrand, row by row; absent for one output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub covariance: Option<Vec<Vec<Option<f64>>>>,
}

impl Answer {
    /// The answer to a request that cannot be run.
    pub fn refused(request: Option<&Request>, reason: &str) -> Self {
        Self {
            name: request
                .map(|request| request.name.clone())
                .unwrap_or_default(),
            value: Each::One(None),
            standard_error: Each::One(None),
            interval: Each::One(None),
            degrees_of_freedom: None,
            chi2_per_dof: Each::One(None),
            q: Each::One(None),
            samples: 0,
            bad_samples: 0,
            first_bad: None,
            unseen_share: None,
            method: request.map(|request| request.method).unwrap_or_default(),
            decision: None,
            waves: 0,
            seed: request.map_or(0, |request| request.seed),
            plan_hash: String::new(),
            numerics: crate::NUMERICS,
            status: Status::Failed,
            warnings: vec![reason.to_owned()],
            seconds: 0.0,
            covariance: None,
        }
    }
}
