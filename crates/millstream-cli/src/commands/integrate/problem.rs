//! The words that say what to integrate, and what they come to: a request as the mathematics knows it.
//!
//! Words become the same JSON that a file of jobs has, and are read as such: a flag and a key of a file cannot mean different
//! things. Only what is for people stays here: numbers like `1e6`, `pi` and `2*pi` as limits, one limit for all axes, ranges.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use millstream_systems::duration;
use millstream_systems::montecarlo::mathematics::Request;
use serde_json::{Map, Value, json};

/// What to integrate, how well, and how.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Problem {
    /// The integrand: x0, x1, .. (or x, y, z), + - * / ^, if(a < b, c, d), exp, ln, sin, .. erf, ninv, pi, e; several by `;`
    #[arg(value_name = "FORMULA", required_unless_present = "file")]
    formula: Option<String>,
    /// Lower limits by commas: numbers, pi, -inf; one stands for all axes [default: 0]
    #[arg(
        long,
        value_name = "LIMITS",
        allow_hyphen_values = true,
        help_heading = "Domain"
    )]
    lower: Option<String>,
    /// Upper limits by commas: numbers, pi, inf; one stands for all axes [default: 1]
    #[arg(
        long,
        value_name = "LIMITS",
        allow_hyphen_values = true,
        help_heading = "Domain"
    )]
    upper: Option<String>,
    /// Dimensions, when the formula and the limits do not say
    #[arg(long, value_name = "NUMBER", help_heading = "Domain", value_parser = clap::value_parser!(u64).range(1..=64))]
    dim: Option<u64>,
    /// Sets a parameter of the formula; a=0.5:2.5:11 takes 11 values from 0.5 to 2.5. May be repeated
    #[arg(
        long,
        value_name = "NAME=VALUE",
        allow_hyphen_values = true,
        help_heading = "Domain"
    )]
    param: Vec<String>,
    /// A point near which the integrand peaks, coordinates by commas. May be repeated
    #[arg(
        long,
        value_name = "POINT",
        allow_hyphen_values = true,
        help_heading = "Domain"
    )]
    hint: Vec<String>,
    /// What a sample that is not finite does: ends the job, counts as zero, or is left out
    #[arg(long, value_name = "POLICY", value_parser = ["fail", "zero", "count"], help_heading = "Domain")]
    on_bad: Option<String>,
    /// Stops when the 95 % interval's half-width is below this share of the value [default: 1e-4]
    #[arg(long, value_name = "NUMBER", help_heading = "Target")]
    rel_error: Option<f64>,
    /// Stops when the 95 % interval's half-width is below this
    #[arg(long, value_name = "NUMBER", help_heading = "Target")]
    abs_error: Option<f64>,
    /// Stops after so many samples, as in 5e8
    #[arg(long, value_name = "NUMBER", value_parser = count, help_heading = "Target")]
    max_samples: Option<u64>,
    /// Stops after this time, at the last wave that is complete
    #[arg(long, value_name = "TIME", value_parser = duration::parse, help_heading = "Target")]
    deadline: Option<Duration>,
    /// plain, vegas, rqmc, map-rqmc, cubature, or auto: a pilot decides
    #[arg(long, value_name = "METHOD", value_parser = ["auto", "plain", "vegas", "rqmc", "map-rqmc", "cubature"], help_heading = "Target")]
    method: Option<String>,
    /// The same seed gives the same bits, on any number of threads and machines [default: 0]
    #[arg(long, value_name = "NUMBER", help_heading = "Target")]
    seed: Option<u64>,
    /// A name for the answer
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
}

/// A parameter that takes several values.
pub(crate) type Axis = (String, Vec<f64>);

impl Problem {
    /// The request; parameters that take several values have their first.
    pub(crate) fn request(&self) -> anyhow::Result<Request> {
        let formula = self.formula.as_deref().context("a formula is missing")?;
        let mut object = Map::new();
        object.insert("expression".to_owned(), json!(formula));
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                object.insert(key.to_owned(), value);
            }
        };
        let (params, _) = self.params()?;
        let (lower, upper) = self.limits(formula, &params)?;
        set("lower", Some(lower));
        set("upper", Some(upper));
        set("name", self.name.as_ref().map(|name| json!(name)));
        set(
            "params",
            (!params.is_empty()).then_some(Value::Object(params)),
        );
        set("hints", self.hints()?);
        object.extend(self.defaults());
        Ok(serde_json::from_value(Value::Object(object))?)
    }

    /// What the flags say about any job: how well, and how.
    pub(crate) fn defaults(&self) -> Map<String, Value> {
        let said = [
            ("rel_error", self.rel_error.map(|error| json!(error))),
            ("abs_error", self.abs_error.map(|error| json!(error))),
            ("max_samples", self.max_samples.map(|count| json!(count))),
            (
                "deadline",
                self.deadline.map(|time| json!(time.as_secs_f64())),
            ),
            ("method", self.method.as_ref().map(|method| json!(method))),
            ("seed", self.seed.map(|seed| json!(seed))),
            ("on_bad", self.on_bad.as_ref().map(|policy| json!(policy))),
        ];
        let said = said.into_iter();
        said.filter_map(|(key, value)| Some((key.to_owned(), value?)))
            .collect()
    }

    /// The parameters that take several values.
    pub(crate) fn axes(&self) -> anyhow::Result<Vec<Axis>> {
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

    /// Lower and upper limits, as many as there are dimensions.
    fn limits(&self, formula: &str, params: &Map<String, Value>) -> anyhow::Result<(Value, Value)> {
        let lower = limits("--lower", self.lower.as_deref().unwrap_or("0"))?;
        let upper = limits("--upper", self.upper.as_deref().unwrap_or("1"))?;
        let several = [lower.len(), upper.len()]
            .into_iter()
            .filter(|n| *n > 1)
            .max();
        let said = self.dim.and_then(|dim| usize::try_from(dim).ok());
        let dim = match said.or(several) {
            Some(dim) => dim,
            None => dimensions(formula, params)?,
        };
        let spread = |name: &str, limits: Vec<Value>| match limits.as_slice() {
            [one] => Ok(vec![one.clone(); dim]),
            all if all.len() == dim => Ok(limits),
            all => bail!(
                "{name} has {} limits, but there are {dim} dimensions",
                all.len()
            ),
        };
        Ok((
            json!(spread("--lower", lower)?),
            json!(spread("--upper", upper)?),
        ))
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

/// The dimensions that a formula speaks of.
fn dimensions(formula: &str, params: &Map<String, Value>) -> anyhow::Result<usize> {
    let params = params
        .iter()
        .filter_map(|(name, value)| Some((name.clone(), value.as_f64()?)))
        .collect();
    if formula.starts_with('@') {
        bail!(
            "the dimensions of `{formula}` are not known here; say them with --dim or by the limits"
        );
    }
    let formula =
        millstream_systems::montecarlo::mathematics::Formula::parse(formula, None, &params)?;
    Ok(millstream_systems::montecarlo::mathematics::Integrand::dim(&formula).max(1))
}

/// Limits by commas, as a file has them: numbers, or "-inf" and "inf".
fn limits(flag: &str, text: &str) -> anyhow::Result<Vec<Value>> {
    let limit = |word: &str| match word.trim() {
        "inf" | "+inf" | "infinity" => Ok(json!("inf")),
        "-inf" | "-infinity" => Ok(json!("-inf")),
        other => number(other).map(|number| json!(number)),
    };
    let all = text
        .split(',')
        .map(limit)
        .collect::<anyhow::Result<Vec<_>>>();
    all.with_context(|| format!("{flag} {text}"))
}

/// `2` or `0.5:2.5:11`: one value, or so many from the first to the second.
fn values(text: &str) -> anyhow::Result<Vec<f64>> {
    let mut parts = text.split(':');
    let first = number(parts.next().unwrap_or_default())?;
    let Some(last) = parts.next() else {
        return Ok(vec![first]);
    };
    let last = number(last)?;
    let points = parts.next().context("a range is from:to:points")?;
    ensure!(parts.next().is_none(), "a range is from:to:points");
    let points: u32 = points
        .trim()
        .parse()
        .ok()
        .filter(|points| (2..=10_000).contains(points))
        .with_context(|| format!("`{points}` is not a number of points from 2 to 10000"))?;
    let share = |i: u32| f64::from(i) / f64::from(points - 1);
    // Both ends exactly, whatever is between.
    Ok((0..points)
        .map(|i| first * (1.0 - share(i)) + last * share(i))
        .collect())
}

/// A number, or one of `pi`, `-pi`, `2pi`, `2*pi`, `pi/2`, `e`.
fn number(text: &str) -> anyhow::Result<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>()
        && number.is_finite()
    {
        return Ok(number);
    }
    constant(text).with_context(|| format!("`{text}` is not a number"))
}

fn constant(text: &str) -> Option<f64> {
    let (head, divisor) = match text.split_once('/') {
        Some((head, divisor)) => (head, divisor.parse::<f64>().ok()?),
        None => (text, 1.0),
    };
    let (sign, head) = match head.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, head),
    };
    let (factor, value) = if let Some(factor) = head.strip_suffix("pi") {
        (factor, std::f64::consts::PI)
    } else {
        (head.strip_suffix('e')?, std::f64::consts::E)
    };
    let factor = factor.strip_suffix('*').unwrap_or(factor);
    let factor = if factor.is_empty() {
        1.0
    } else {
        factor.parse::<f64>().ok()?
    };
    Some(sign * factor * value / divisor)
}

/// A count as people write it: `1000000`, `1e6`, `2.5e8`.
fn count(text: &str) -> Result<u64, String> {
    if let Ok(count) = text.parse() {
        return Ok(count);
    }
    match text.parse::<f64>() {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number within the range"
        )]
        Ok(count) if count.fract() == 0.0 && (0.0..1.8e19).contains(&count) => Ok(count as u64),
        _ => Err(format!("`{text}` is not a whole number")),
    }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for (text, value) in [
            ("1e-3", 1e-3),
            ("pi", PI),
            ("-pi", -PI),
            ("2*pi", 2.0 * PI),
            ("2pi", 2.0 * PI),
            ("pi/2", PI / 2.0),
            ("e", std::f64::consts::E),
        ] {
            assert_eq!(number(text).unwrap(), value, "{text}");
        }
        assert_eq!(
            number("two").unwrap_err().to_string(),
            "`two` is not a number"
        );
        assert_eq!(count("2.5e8"), Ok(250_000_000));
        assert_eq!(count("1.5"), Err("`1.5` is not a whole number".to_owned()));
    }

    #[test]
    fn a_range_has_both_of_its_ends() {
        assert_eq!(values("0.5:2.5:5").unwrap(), [0.5, 1.0, 1.5, 2.0, 2.5]);
        assert_eq!(values("7").unwrap(), [7.0]);
        assert_eq!(
            values("1:2").unwrap_err().to_string(),
            "a range is from:to:points"
        );
        assert_eq!(
            values("1:2:1").unwrap_err().to_string(),
            "`1` is not a number of points from 2 to 10000"
        );
    }

    #[test]
    fn limits_may_be_infinite() {
        assert_eq!(
            limits("--lower", "-inf, 0,pi").unwrap(),
            [json!("-inf"), json!(0.0), json!(PI)]
        );
        assert_eq!(
            format!("{:#}", limits("--upper", "1,x").unwrap_err()),
            "--upper 1,x: `x` is not a number"
        );
    }
}
