//! Numbers as people write them on a command line: `1e6`, `pi`, `2*pi`, `-inf` as a limit, `0.5:2.5:11` as a range.
//!
//! Only shapes are checked here; whether a limit or a parameter makes sense is decided with the whole request. What is not
//! finite is refused wherever it has no meaning, since JSON would turn it into `null` and the option would be ignored.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// Limits by commas, as a file has them: numbers, or "-inf" and "inf".
pub(super) fn limits(flag: &str, text: &str) -> anyhow::Result<Vec<Value>> {
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
pub(super) fn values(text: &str) -> anyhow::Result<Vec<f64>> {
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
pub(super) fn number(text: &str) -> anyhow::Result<f64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<f64>() {
        ensure!(number.is_finite(), "`{text}` is not a finite number");
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
    }

    #[test]
    fn what_is_not_finite_is_a_limit_and_nothing_else() {
        let refusal = |text: &str| number(text).unwrap_err().to_string();
        assert_eq!(refusal("nan"), "`nan` is not a finite number");
        assert_eq!(refusal("inf"), "`inf` is not a finite number");
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
