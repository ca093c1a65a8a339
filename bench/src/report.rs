//! What was measured, and what it is held against: one readable table a suite, or one JSON object a line.
//!
//! A measure is a row (what), a peer (whose) and the values of all rounds; shown is their median. A target is a
//! ratio of two medians or a bound on one.

use std::fmt;

use serde::Serialize;

/// All measures and targets of a run, in the order in which they came.
#[derive(Default)]
pub(crate) struct Report {
    measures: Vec<Measure>,
}

/// The values of one row for one peer.
#[derive(Serialize)]
struct Measure {
    suite: &'static str,
    row: String,
    peer: &'static str,
    unit: &'static str,
    median: f64,
    values: Vec<f64>,
}

/// What a measure must reach.
pub(crate) struct Target {
    /// The suite and the row.
    pub(crate) suite: &'static str,
    pub(crate) row: String,
    /// Whose measure it is.
    pub(crate) peer: &'static str,
    /// Whom it is divided by; `None` for the value itself.
    pub(crate) by: Option<&'static str>,
    /// The bound.
    pub(crate) bound: Bound,
}

/// On which side the value must lie.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// A target and what was reached.
#[derive(Serialize)]
struct Verdict {
    suite: &'static str,
    row: String,
    ratio_of: &'static str,
    to: Option<&'static str>,
    value: f64,
    target: String,
    met: bool,
}

impl Report {
    /// Adds one value.
    pub(crate) fn add(
        &mut self,
        suite: &'static str,
        row: impl Into<String>,
        peer: &'static str,
        unit: &'static str,
        value: f64,
    ) {
        let row = row.into();
        let known = self
            .measures
            .iter_mut()
            .find(|m| m.suite == suite && m.row == row && m.peer == peer);
        if let Some(measure) = known {
            measure.values.push(value);
            measure.median = median(&measure.values);
        } else {
            self.measures.push(Measure {
                suite,
                row,
                peer,
                unit,
                median: value,
                values: vec![value],
            });
        }
    }

    /// One JSON object a line: the measures, then the verdicts.
    pub(crate) fn print_json(&self, targets: &[Target]) -> serde_json::Result<()> {
        for measure in &self.measures {
            println!("{}", serde_json::to_string(measure)?);
        }
        for verdict in targets.iter().filter_map(|target| self.judge(target)) {
            println!("{}", serde_json::to_string(&verdict)?);
        }
        Ok(())
    }

    /// A table for each suite, and below it its targets.
    pub(crate) fn print(&self, targets: &[Target]) {
        for suite in unique(self.measures.iter().map(|m| m.suite)) {
            self.print_table(suite);
            let verdicts = targets
                .iter()
                .filter(|target| target.suite == suite)
                .filter_map(|target| self.judge(target));
            for verdict in verdicts {
                println!("{verdict}");
            }
        }
    }

    fn print_table(&self, suite: &str) {
        let of_suite = || self.measures.iter().filter(|m| m.suite == suite);
        let peers = unique(of_suite().map(|m| m.peer));
        let rows = unique(of_suite().map(|m| m.row.as_str()));
        let width = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let head: String = peers.iter().map(|peer| format!(" {peer:>14}")).collect();
        println!("\n{suite:<width$} {:<12}{head}", "unit");
        for row in rows {
            let cells: String = peers
                .iter()
                .map(
                    |peer| match of_suite().find(|m| m.row == row && m.peer == *peer) {
                        Some(measure) => format!(" {:>14}", number(measure.median)),
                        None => format!(" {:>14}", "-"),
                    },
                )
                .collect();
            let unit = of_suite().find(|m| m.row == row).map_or("", |m| m.unit);
            println!("{row:<width$} {unit:<12}{cells}");
        }
        println!();
    }

    fn judge(&self, target: &Target) -> Option<Verdict> {
        let median = |peer: &str| {
            self.measures
                .iter()
                .find(|m| m.suite == target.suite && m.row == target.row && m.peer == peer)
                .map(|m| m.median)
        };
        let value = match target.by {
            None => median(target.peer)?,
            Some(by) => median(target.peer)? / median(by)?,
        };
        let (met, target_text) = match target.bound {
            Bound::AtLeast(least) => (value >= least, format!("at least {least}")),
            Bound::AtMost(most) => (value <= most, format!("at most {most}")),
        };
        Some(Verdict {
            suite: target.suite,
            row: target.row.clone(),
            ratio_of: target.peer,
            to: target.by,
            value,
            target: target_text,
            met,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let met = if self.met { "met   " } else { "MISSED" };
        write!(f, "{met} {}: {}", self.row, self.ratio_of)?;
        if let Some(to) = self.to {
            write!(f, " / {to}")?;
        }
        write!(f, " = {}, target {}", number(self.value), self.target)
    }
}

/// The middle value; of an even number, the mean of the two in the middle.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        return upper;
    }
    let lower = middle.checked_sub(1).and_then(|at| sorted.get(at));
    lower.map_or(upper, |lower| f64::midpoint(*lower, upper))
}

/// Three significant digits or so.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::{Bound, Report, Target, median, number};

    #[test]
    fn the_median_of_an_even_number_lies_between_the_two_in_the_middle() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
    }

    #[test]
    fn a_ratio_is_taken_of_medians_and_judged() {
        let mut report = Report::default();
        for value in [1.0, 9.0, 2.0] {
            report.add("copy", "rate", "library", "K/s", value);
        }
        report.add("copy", "rate", "by hand", "K/s", 4.0);
        let verdict = report
            .judge(&Target {
                suite: "copy",
                row: "rate".to_owned(),
                peer: "library",
                by: Some("by hand"),
                bound: Bound::AtLeast(0.8),
            })
            .unwrap();
        assert_eq!(
            verdict.to_string(),
            "MISSED rate: library / by hand = 0.50, target at least 0.8"
        );
    }

    #[test]
    fn numbers_are_shown_with_about_three_digits() {
        let shown = [1234.5, 12.34, 1.234, 0.0, 0.0123].map(number);
        assert_eq!(shown, ["1234", "12.3", "1.23", "0.00", "0.0123"]);
    }
}
