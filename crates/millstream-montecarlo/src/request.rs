//! What a user asks for: a function, a domain, and how good the answer has to be.
//!
//! A request is JSON with unknown fields refused. It is checked once, into a [`Checked`]; everything later trusts that.
//! Nothing in it depends on the machine: the same request gives the same bits everywhere. Only `deadline` speaks of time,
//! and it is kept by the caller, who has a clock.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::domain::{Domain, Limit, MOST_AXES};
use crate::map::Map;
use crate::{Error, Integrand, Registry};

/// Relative error aimed at when a request names none.
pub const DEFAULT_REL_ERROR: f64 = 1e-4;
/// Uniform points that look for features when a request names no number.
pub const DEFAULT_CAREFUL: u64 = 1 << 16;
/// Samples at most when a request does not say.
pub const DEFAULT_MAX_SAMPLES: u64 = 1_000_000_000;

/// One number, or one for each output of a vector integrand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Each<T> {
    /// Of the only output.
    One(T),
    /// Of every output, in order.
    Many(Vec<T>),
}

impl<T> Each<T> {
    /// `values`, as a plain one when there is only one.
    pub fn of(mut values: Vec<T>) -> Self {
        match values.pop() {
            Some(only) if values.is_empty() => Self::One(only),
            Some(last) => {
                values.push(last);
                Self::Many(values)
            }
            None => Self::Many(values),
        }
    }

    /// The numbers in order.
    pub fn as_slice(&self) -> &[T] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(all) => all,
        }
    }
}

/// How the samples are drawn and combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Method {
    /// A pilot decides; the answer says what and why.
    #[default]
    Auto,
    /// Independent uniform samples.
    Plain,
    /// An adaptive map with adaptive strata (VEGAS+).
    Vegas,
    /// Randomised Sobol points: 16 replicates give the error bar.
    Rqmc,
    /// Randomised Sobol points through an adapted map.
    MapRqmc,
    /// Adaptive cubature, up to five dimensions; its error bar is an estimate of the rule's, not a statistic.
    Cubature,
}

impl Method {
    /// Its name in requests, answers and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Plain => "plain",
            Self::Vegas => "vegas",
            Self::Rqmc => "rqmc",
            Self::MapRqmc => "map-rqmc",
            Self::Cubature => "cubature",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Method {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [
            Self::Auto,
            Self::Plain,
            Self::Vegas,
            Self::Rqmc,
            Self::MapRqmc,
            Self::Cubature,
        ];
        all.into_iter()
            .find(|method| method.name() == text)
            .ok_or_else(|| {
                refuse(
                    "method",
                    format!("`{text}`, expected auto, plain, vegas, rqmc, map-rqmc or cubature"),
                )
            })
    }
}

/// What to do with samples that are nan or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBad {
    /// The job fails and names the first such point.
    #[default]
    Fail,
    /// They count as zero.
    Zero,
    /// They are left out of the average, so the integral is that of the rest scaled up (`plain` only; elsewhere as
    /// `zero`), and counted.
    Count,
}

/// An adapted map to begin with, from [`crate::Job::map`] of an earlier job on a similar integrand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredMap {
    /// Version of the numbers that made it.
    pub numerics: u32,
    /// The map.
    pub map: Map,
}

/// One integral to compute. Every field but `expression` may be left out.
///
/// ```
/// let request: millstream_montecarlo::Request =
///     serde_json::from_str(r#"{"expression": "exp(-x0^2)", "lower": ["-inf"], "upper": ["inf"], "seed": 7}"#)?;
/// assert_eq!(request.seed, 7);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// What the answer is called.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A formula in `x0, x1, ...`, or `@name` of the registry.
    pub expression: String,
    /// Coordinates; otherwise the longest of the limits, or one more than the highest variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dim: Option<usize>,
    /// Lower limits: one for each axis, one for all, or none (zero).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lower: Vec<Limit>,
    /// Upper limits: one for each axis, one for all, or none (one).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upper: Vec<Limit>,
    /// Half-width of the interval aimed at, as a share of the value; 1e-4 when neither error is given, else zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rel_error: Option<f64>,
    /// Half-width of the interval aimed at. Either error suffices.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abs_error: Option<f64>,
    /// Samples at most, all phases together; 1e9 when not given.
    #[serde(
        default,
        deserialize_with = "whole",
        skip_serializing_if = "Option::is_none"
    )]
    pub max_samples: Option<u64>,
    /// Uniform points that look for features which a method may miss, where the method's own samples do not. A feature that
    /// fills more than 3 / `careful` of the domain is seen with a probability of 95 %. Default: 65,536.
    #[serde(
        default,
        deserialize_with = "whole",
        skip_serializing_if = "Option::is_none"
    )]
    pub careful: Option<u64>,
    /// Seconds at most. The caller's clock ends the job at its last complete wave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<f64>,
    /// Of the random streams; the same seed gives the same bits. 0 when not given.
    #[serde(default)]
    pub seed: u64,
    /// How; `auto` when not given.
    #[serde(default)]
    pub method: Method,
    /// Values of the formula's named parameters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, f64>,
    /// Points where the function is known to have a peak: sampling begins around them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<Vec<f64>>,
    /// Nan and infinite samples.
    #[serde(default)]
    pub on_bad: OnBad,
    /// A map to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map: Option<StoredMap>,
    /// The exact value, where a catalogue knows it. Never used to compute anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<Each<f64>>,
    /// Where the exact value comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// A request that can be run, every default filled in.
pub(crate) struct Checked {
    pub(crate) integrand: Arc<dyn Integrand>,
    pub(crate) domain: Domain,
    /// The hints, in the unit cube.
    pub(crate) hints: Vec<Vec<f64>>,
}

/// What an answer must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) rel: f64,
    pub(crate) abs: f64,
    pub(crate) max_samples: u64,
}

impl Request {
    /// A request for `expression` with everything else as when not given.
    pub fn new(expression: impl Into<String>) -> Self {
        Self {
            expression: expression.into(),
            ..Self::default()
        }
    }

    /// Whether the request can be run: the formula, the limits, the aims, the hints.
    ///
    /// # Errors
    /// The first thing that is wrong, by the name of its field.
    pub fn validate(&self, functions: &Registry) -> Result<(), Error> {
        self.check(functions).map(|_| ())
    }

    pub(crate) fn check(&self, functions: &Registry) -> Result<Checked, Error> {
        self.target()?;
        let integrand = functions.resolve(&self.expression, self.wanted_dim()?, &self.params)?;
        let dim = integrand.dim();
        if !(1..=MOST_AXES).contains(&dim) {
            return Err(refuse("dim", format!("{dim}, expected 1 to {MOST_AXES}")));
        }
        let domain = Domain::new(
            &limits("lower", &self.lower, dim, 0.0)?,
            &limits("upper", &self.upper, dim, 1.0)?,
        )?;
        let hints = self
            .hints
            .iter()
            .enumerate()
            .map(|(number, hint)| unit_hint(number, hint, &domain));
        let hints = hints.collect::<Result<_, _>>()?;
        if self.method == Method::Cubature && dim > 5 {
            return Err(refuse(
                "method",
                format!("cubature has up to 5 dimensions, not {dim}; try auto or map-rqmc"),
            ));
        }
        self.check_map(dim)?;
        Ok(Checked {
            integrand,
            domain,
            hints,
        })
    }

    /// The aims, with their defaults.
    pub(crate) fn target(&self) -> Result<Target, Error> {
        for (field, error) in [
            ("rel_error", self.rel_error),
            ("abs_error", self.abs_error),
            ("deadline", self.deadline),
        ] {
            if error.is_some_and(|error| !(error >= 0.0 && error.is_finite())) {
                return Err(refuse(
                    field,
                    format!("{}, expected a number from 0 up", error.unwrap_or_default()),
                ));
            }
        }
        let max_samples = self.max_samples.unwrap_or(DEFAULT_MAX_SAMPLES);
        if max_samples == 0 {
            return Err(refuse("max_samples", "0, expected at least 1".into()));
        }
        if self.careful == Some(0) {
            return Err(refuse("careful", "0, expected at least 1".into()));
        }
        let neither = self.rel_error.is_none() && self.abs_error.is_none();
        let rel = if neither {
            DEFAULT_REL_ERROR
        } else {
            self.rel_error.unwrap_or(0.0)
        };
        Ok(Target {
            rel,
            abs: self.abs_error.unwrap_or(0.0),
            max_samples,
        })
    }

    /// The dimension that the request itself names; the formula decides otherwise.
    fn wanted_dim(&self) -> Result<Option<usize>, Error> {
        let named = [("lower", self.lower.len()), ("upper", self.upper.len())];
        let longest = named.iter().map(|(_, length)| *length).max().unwrap_or(0);
        let dim = self.dim.or((longest > 1).then_some(longest));
        if let Some(dim) = dim
            && let Some((field, length)) = named
                .iter()
                .find(|(_, length)| *length > 1 && *length != dim)
        {
            return Err(refuse(
                field,
                format!("{length} limits, expected {dim}, one for each axis, or one for all"),
            ));
        }
        Ok(dim)
    }

    fn check_map(&self, dim: usize) -> Result<(), Error> {
        let Some(stored) = &self.map else {
            return Ok(());
        };
        if stored.numerics != crate::NUMERICS {
            let reason = format!(
                "of version {}, this program computes version {}",
                stored.numerics,
                crate::NUMERICS
            );
            return Err(refuse("map", reason));
        }
        if stored.map.dim() != dim {
            return Err(refuse(
                "map",
                format!("of {} dimensions, expected {dim}", stored.map.dim()),
            ));
        }
        Ok(())
    }
}

fn limits(field: &str, limits: &[Limit], dim: usize, default: f64) -> Result<Vec<Limit>, Error> {
    match limits {
        [] => Ok(vec![Limit(default); dim]),
        [one] => Ok(vec![*one; dim]),
        many if many.len() == dim => Ok(many.to_vec()),
        many => {
            let reason = format!(
                "{} limits, expected {dim}, one for each axis, or one for all",
                many.len()
            );
            Err(refuse(field, reason))
        }
    }
}

fn unit_hint(number: usize, hint: &[f64], domain: &Domain) -> Result<Vec<f64>, Error> {
    if hint.len() != domain.dim() {
        let reason = format!(
            "hint {number} has {} coordinates, expected {}",
            hint.len(),
            domain.dim()
        );
        return Err(refuse("hints", reason));
    }
    let outside = || {
        refuse(
            "hints",
            format!("hint {number} does not lie inside the limits"),
        )
    };
    domain.unit(hint).ok_or_else(outside)
}

pub(crate) fn refuse(field: &str, reason: String) -> Error {
    Error::Request {
        field: field.into(),
        reason,
    }
}

/// A count that may be written as 1e6.
fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Count {
        Whole(u64),
        Float(f64),
    }
    match Option::<Count>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Count::Whole(count)) => Ok(Some(count)),
        Some(Count::Float(count)) if count.fract() == 0.0 && (0.0..1.8e19).contains(&count) => {
            Ok(Some(count as u64))
        }
        Some(Count::Float(count)) => Err(serde::de::Error::custom(format!(
            "{count} is no count of samples"
        ))),
    }
}

#[cfg(test)]
mod tests;
