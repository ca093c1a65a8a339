//! The words that say what to integrate, and what they come to: a request as the mathematics knows it.
//!
//! Words become the same JSON that a file of jobs has, and are read as such: an option and a key of a file cannot mean
//! different things. Only what is for people stays here and in `numbers`: `1e6`, `pi` and `2*pi` as limits, ranges.

use std::time::Duration;

use anyhow::{Context, ensure};
use millstream_systems::montecarlo::mathematics::Request;
use millstream_systems::{duration, number};
use serde_json::{Map, Value, json};

use super::numbers::{limits, number, values};

/// What to integrate, how well, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Problem {
    /// The integrand: x0, x1, .. (or x, y, z), + - * / ^, if(a < b, c, d), exp, ln, sin, .. erf, ninv, pi, e. Separate several
    /// integrands by `;`. `-` reads standard input
    #[arg(value_name = "FORMULA", required_unless_present = "file")]
    pub(super) formula: Option<String>,
    /// Lower limits, separated by commas: numbers, pi, -inf. One limit is used for all axes [default: 0]
    #[arg(
        long,
        value_name = "LIMITS",
        allow_hyphen_values = true,
        conflicts_with = "file",
        help_heading = "Domain"
    )]
    lower: Option<String>,
    /// Upper limits, separated by commas: numbers, pi, inf. One limit is used for all axes [default: 1]
    #[arg(
        long,
        value_name = "LIMITS",
        allow_hyphen_values = true,
        conflicts_with = "file",
        help_heading = "Domain"
    )]
    upper: Option<String>,
    /// Number of dimensions [default: as many as the formula has variables]
    #[arg(
        long,
        value_name = "NUMBER",
        conflicts_with = "file",
        help_heading = "Domain",
        value_parser = number::whole(1..=64_u64)
    )]
    dim: Option<u64>,
    /// Sets a parameter of the formula. a=0.5:2.5:11 computes a sweep: 11 values from 0.5 to 2.5. May be repeated
    #[arg(
        long,
        value_name = "NAME=VALUE",
        allow_hyphen_values = true,
        conflicts_with = "file",
        help_heading = "Domain"
    )]
    param: Vec<String>,
    /// A point near which the integrand has a peak, coordinates separated by commas. May be repeated
    #[arg(
        long,
        value_name = "POINT",
        allow_hyphen_values = true,
        conflicts_with = "file",
        help_heading = "Domain"
    )]
    hint: Vec<String>,
    /// What to do with a sample that is nan or infinite: fail, count it as zero, or leave it out (`count`) [default: fail]
    #[arg(long, value_name = "POLICY", value_parser = ["fail", "zero", "count"], help_heading = "Domain")]
    on_bad: Option<String>,
    /// Target relative error: half the 95 % interval, divided by the value [default: 1e-4]
    #[arg(long, value_name = "NUMBER", value_parser = number::target_error, help_heading = "Target")]
    rel_error: Option<f64>,
    /// Target absolute error: half the 95 % interval. With both targets, reaching either is enough
    #[arg(long, value_name = "NUMBER", value_parser = number::target_error, help_heading = "Target")]
    abs_error: Option<f64>,
    /// Stops after this many samples, for example 5e8 [default: 1e9]
    #[arg(long, value_name = "NUMBER", value_parser = number::whole(0..=u64::MAX), help_heading = "Target")]
    max_samples: Option<u64>,
    /// Random points, spread evenly, that look for narrow features. A feature that fills more than 3/NUMBER of the domain is
    /// seen with a probability of 95 % [default: 65536]
    #[arg(long, value_name = "NUMBER", value_parser = number::whole(0..=u64::MAX), help_heading = "Target")]
    careful: Option<u64>,
    /// Stops after this time, for example 30s, and reports the last complete wave
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Target")]
    deadline: Option<Duration>,
    /// plain, vegas, rqmc, map-rqmc, cubature, or auto: short trials decide [default: auto]
    #[arg(long, value_name = "METHOD", value_parser = ["auto", "plain", "vegas", "rqmc", "map-rqmc", "cubature"], help_heading = "Target")]
    method: Option<String>,
    /// Seed of the random numbers. The same seed gives the same bits on any number of threads and machines [default: 0]
    #[arg(long, value_name = "NUMBER", value_parser = number::whole(0..=u64::MAX), help_heading = "Target")]
    seed: Option<u64>,
    /// A name for the answer
    #[arg(long, value_name = "TEXT", conflicts_with = "file")]
    name: Option<String>,
}

/// A parameter that takes several values.
pub(super) type Axis = (String, Vec<f64>);

impl Problem {
    /// The request; parameters that take several values have their first.
    ///
    /// `formula` is what was given as the formula, or what standard input holds.
    pub(super) fn request(&self, formula: &str) -> anyhow::Result<Request> {
        let (params, _) = self.params()?;
        let lower = self.lower.as_deref().map(|text| limits("--lower", text));
        let upper = self.upper.as_deref().map(|text| limits("--upper", text));
        let given = [
            ("expression", Some(json!(formula))),
            ("name", self.name.as_ref().map(|name| json!(name))),
            ("dim", self.dim.map(|dim| json!(dim))),
            ("lower", lower.transpose()?.map(Value::Array)),
            ("upper", upper.transpose()?.map(Value::Array)),
            (
                "params",
                (!params.is_empty()).then_some(Value::Object(params)),
            ),
            ("hints", self.hints()?),
        ];
        let mut object = present(given);
        object.extend(self.defaults());
        Ok(serde_json::from_value(Value::Object(object))?)
    }

    /// What the options say about any job: how well, and how.
    pub(super) fn defaults(&self) -> Map<String, Value> {
        let given = [
            ("rel_error", self.rel_error.map(|error| json!(error))),
            ("abs_error", self.abs_error.map(|error| json!(error))),
            ("max_samples", self.max_samples.map(|count| json!(count))),
            ("careful", self.careful.map(|count| json!(count))),
            (
                "deadline",
                self.deadline.map(|time| json!(time.as_secs_f64())),
            ),
            ("method", self.method.as_ref().map(|method| json!(method))),
            ("seed", self.seed.map(|seed| json!(seed))),
            ("on_bad", self.on_bad.as_ref().map(|policy| json!(policy))),
        ];
        present(given)
    }

    /// The parameters that take several values.
    pub(super) fn axes(&self) -> anyhow::Result<Vec<Axis>> {
        self.params().map(|(_, axes)| axes)
    }

    fn params(&self) -> anyhow::Result<(Map<String, Value>, Vec<Axis>)> {
        let (mut params, mut axes) = (Map::new(), Vec::new());
        for word in &self.param {
            let (name, text) = word.split_once('=').with_context(|| {
                format!("--param takes name=value or name=from:to:points; it was given `{word}`")
            })?;
            let values = values(text).with_context(|| format!("--param {word}"))?;
            let first = values.first().copied().unwrap_or_default();
            ensure!(
                params.insert(name.to_owned(), json!(first)).is_none(),
                "the parameter `{name}` is given twice"
            );
            if values.len() > 1 {
                axes.push((name.to_owned(), values));
            }
        }
        Ok((params, axes))
    }

    fn hints(&self) -> anyhow::Result<Option<Value>> {
        let point = |word: &String| {
            let numbers = word
                .split(',')
                .map(number)
                .collect::<anyhow::Result<Vec<f64>>>();
            numbers.with_context(|| format!("--hint {word}"))
        };
        let points = self
            .hint
            .iter()
            .map(point)
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok((!points.is_empty()).then(|| json!(points)))
    }
}

/// The keys that have a value.
fn present<const N: usize>(given: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let given = given.into_iter();
    given
        .filter_map(|(key, value)| Some((key.to_owned(), value?)))
        .collect()
}
