//! The answer for people: a block of a few lines, with as many digits as the error allows.
//!
//! Figures for programs are the JSON's. Here a value is written with its standard error in parentheses, in units of the last
//! digits, as tables of constants have it: 3.14159(12) is 3.14159 with a standard error of 0.00012. Every uncertainty is
//! named for what it is: a standard error, a 95 % interval, or half of one.

use millstream_systems::montecarlo::mathematics::{Answer, Request, Status};

/// The block at the end.
pub(super) fn block(request: &Request, answer: &Answer) -> String {
    let mut lines = numbers(answer);
    lines.push(("status", status(answer).to_owned()));
    lines.extend(circumstances(answer));
    for (number, warning) in answer.warnings.iter().enumerate() {
        lines.push((if number == 0 { "warning" } else { "" }, warning.clone()));
    }
    let mut text = if request.name.is_empty() {
        format!("{}\n", request.expression)
    } else {
        format!("{}: {}\n", request.name, request.expression)
    };
    for (label, value) in lines {
        text.push_str(format!("  {label:<14} {value}").trim_end());
        text.push('\n');
    }
    text
}

/// The value and how far to trust it, for each output.
fn numbers(answer: &Answer) -> Vec<(&'static str, String)> {
    let outputs = answer.value.as_slice().len();
    let first = |output: usize, label| if output == 0 { label } else { "" };
    let mut lines = Vec::new();
    for output in 0..outputs {
        let text = value_at(answer, output).unwrap_or_else(|| "none".to_owned());
        lines.push((first(output, "value"), text));
    }
    for output in 0..outputs {
        if let Some(error) = standard_error_at(answer, output) {
            lines.push((first(output, "standard error"), short(error)));
        }
    }
    for output in 0..outputs {
        if let Some(text) = interval_at(answer, output) {
            lines.push((first(output, "95 % interval"), text));
        }
    }
    if let Some((half, value)) = errors(answer)
        && value != 0.0
    {
        let text = format!(
            "{:.2e} (half the 95 % interval / value)",
            half / value.abs()
        );
        lines.push(("relative error", text));
    }
    lines
}

/// How the numbers were found.
fn circumstances(answer: &Answer) -> Vec<(&'static str, String)> {
    let mut how = format!(
        "{}, {} waves, seed {}",
        answer.method, answer.waves, answer.seed
    );
    if let Some(decision) = &answer.decision {
        how.push_str(&format!("; {decision}"));
    }
    let speed = answer.samples as f64 / answer.seconds.max(1e-9);
    let samples = format!(
        "{} in {} ({}/s)",
        grouped(answer.samples),
        seconds(answer.seconds),
        count(speed as u64)
    );
    let mut lines = vec![("method", how), ("samples", samples)];
    if let Some(text) = consistency(answer) {
        lines.push(("waves agree", text));
    }
    if answer.bad_samples > 0 {
        lines.push(("bad samples", bad(answer)));
    }
    lines.push((
        "plan",
        format!("{} numerics {}", answer.plan_hash, answer.numerics),
    ));
    lines
}

/// The first value with its standard error.
pub(super) fn estimate(answer: &Answer) -> Option<String> {
    let first = value_at(answer, 0)?;
    let more = answer.value.as_slice().len();
    Some(if more > 1 {
        format!("{first} (and {} more)", more - 1)
    } else {
        first
    })
}

/// The half-width and the value of the output that is relatively worst.
pub(super) fn errors(answer: &Answer) -> Option<(f64, f64)> {
    let values = answer
        .value
        .as_slice()
        .iter()
        .zip(answer.interval.as_slice());
    let known = values.filter_map(|(value, interval)| {
        let ([low, high], value) = ((*interval)?, (*value)?);
        Some((0.5 * (high - low), value))
    });
    known.max_by(|(a, x), (b, y)| (a / x.abs()).total_cmp(&(b / y.abs())))
}

fn value_at(answer: &Answer, output: usize) -> Option<String> {
    let value = (*answer.value.as_slice().get(output)?)?;
    Some(match standard_error_at(answer, output) {
        Some(error) => concise(value, error),
        None => format!("{value}"),
    })
}

fn standard_error_at(answer: &Answer, output: usize) -> Option<f64> {
    let errors = answer.standard_error.as_slice();
    errors.get(output).copied().flatten()
}

fn interval_at(answer: &Answer, output: usize) -> Option<String> {
    let [low, high] = (*answer.interval.as_slice().get(output)?)?;
    let error = 0.5 * (high - low);
    Some(format!("{} to {}", digits(low, error), digits(high, error)))
}

/// A value to the second digit of its error, and that error in units of the last digit: `3.14159(12)`, `12.3(2.5)`,
/// `2.50(13)e-9`.
pub(super) fn concise(value: f64, error: f64) -> String {
    let text = digits(value, error);
    if !value.is_finite() || !error.is_finite() || error <= 0.0 {
        return text;
    }
    let (mantissa, exponent) = match text.split_once('e') {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text.as_str(), None),
    };
    let decimals = mantissa.split_once('.').map_or(0, |(_, after)| after.len());
    let power = exponent
        .and_then(|exponent| exponent.parse().ok())
        .unwrap_or(0);
    let shown = error / 10_f64.powi(power);
    let error = if shown < 1.0 {
        format!("{:.0}", shown * 10_f64.powf(decimals as f64))
    } else {
        format!("{shown:.decimals$}")
    };
    match exponent {
        Some(exponent) => format!("{mantissa}({error})e{exponent}"),
        None => format!("{mantissa}({error})"),
    }
}

/// A value to the second digit of its error.
pub(super) fn digits(value: f64, error: f64) -> String {
    if !value.is_finite() || !error.is_finite() || error <= 0.0 {
        return format!("{value}");
    }
    let place = 1.0 - error.log10().floor();
    let size = value.abs().max(error).log10().floor();
    if !(-5.0..15.0).contains(&size) {
        return format!("{value:.*e}", whole(size + place).min(17));
    }
    format!("{value:.*}", whole(place).min(17))
}

fn whole(digits: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a few digits, `as` saturates"
    )]
    let digits = digits.max(0.0) as usize;
    digits
}

/// Two digits of an error.
pub(super) fn short(error: f64) -> String {
    if error == 0.0 || (1e-3..1e4).contains(&error) {
        let digits = digits(error, error);
        return digits;
    }
    format!("{error:.1e}")
}

const fn status(answer: &Answer) -> &'static str {
    match answer.status {
        Status::Running => "running",
        Status::Converged => "converged",
        Status::BudgetExhausted => "not converged: the sample budget is exhausted",
        Status::Deadline if answer.waves == 0 => {
            "not converged: the deadline passed before the first wave was complete"
        }
        Status::Deadline => "not converged: the deadline passed; this is the last complete wave",
        Status::Cancelled if answer.waves == 0 => {
            "not converged: stopped before the first wave was complete"
        }
        Status::Cancelled => "not converged: stopped; this is the last complete wave",
        Status::Failed => "failed",
        _ => "see the documentation of this version",
    }
}

fn consistency(answer: &Answer) -> Option<String> {
    let chi2 = answer
        .chi2_per_dof
        .as_slice()
        .iter()
        .flatten()
        .copied()
        .reduce(f64::max)?;
    let q = answer
        .q
        .as_slice()
        .iter()
        .flatten()
        .copied()
        .reduce(f64::min);
    Some(match q {
        Some(q) => format!("chi2/dof {chi2:.2}, Q {q:.2}"),
        None => format!("chi2/dof {chi2:.2}"),
    })
}

fn bad(answer: &Answer) -> String {
    let mut text = grouped(answer.bad_samples);
    if let Some(first) = &answer.first_bad {
        let point: Vec<String> = first.x.iter().map(|x| format!("{x}")).collect();
        text.push_str(&format!(
            ", the first is {} at ({})",
            first.value,
            point.join(", ")
        ));
    }
    text
}

/// `1.2 M`, `310 k`: a count to two or three digits.
pub(super) fn count(number: u64) -> String {
    let number = number as f64;
    for (size, unit) in [(1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")] {
        if number >= size {
            let value = number / size;
            return if value < 10.0 {
                format!("{value:.1}{unit}")
            } else {
                format!("{value:.0}{unit}")
            };
        }
    }
    format!("{number}")
}

/// `1,234,567`.
fn grouped(number: u64) -> String {
    let plain = number.to_string();
    let mut text = String::new();
    for (at, digit) in plain.chars().enumerate() {
        if at > 0 && (plain.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn seconds(seconds: f64) -> String {
    if seconds < 0.1 {
        format!("{:.2} ms", seconds * 1000.0)
    } else {
        format!("{seconds:.2} s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_digits_its_error_allows() {
        assert_eq!(digits(std::f64::consts::PI, 2.1e-6), "3.1415927");
        assert_eq!(digits(1234.5678, 12.0), "1235");
        assert_eq!(digits(9.869_604e-9, 1.5e-13), "9.86960e-9");
        assert_eq!(digits(1e300, 1e295), "1.000000e300");
        assert_eq!(digits(2.0, 0.0), "2");
        assert_eq!(
            (short(0.0123), short(1.5e-7)),
            ("0.012".to_owned(), "1.5e-7".to_owned())
        );
    }

    #[test]
    fn a_value_has_its_standard_error_in_units_of_its_last_digits() {
        assert_eq!(concise(std::f64::consts::PI, 2.1e-6), "3.1415927(21)");
        assert_eq!(concise(std::f64::consts::PI, 0.012), "3.142(12)");
        assert_eq!(concise(12.34, 2.5), "12.3(2.5)");
        assert_eq!(concise(1234.5678, 12.0), "1235(12)");
        assert_eq!(concise(123_456.0, 1200.0), "123456(1200)");
        assert_eq!(concise(9.869_604e-9, 1.5e-13), "9.86960(15)e-9");
        assert_eq!(concise(-2.775e-17, 1.2e-21), "-2.77500(12)e-17");
        assert_eq!(concise(1e300, 1e295), "1.000000(10)e300");
        assert_eq!(concise(0.000_12, 0.0123), "0.000(12)");
        assert_eq!(concise(2.0, 0.0), "2");
    }

    #[test]
    fn counts_are_short_or_grouped() {
        assert_eq!(
            [count(999), count(1500), count(310_000_000)],
            ["999", "1.5 k", "310 M"]
        );
        assert_eq!(grouped(1_234_567), "1,234,567");
    }
}
