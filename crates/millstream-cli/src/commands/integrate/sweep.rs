//! A sweep: the same integral for many values of its parameters, as a table and a curve.
//!
//! All points use the same random numbers, and the method that the first point's pilot chose, so that neighbours differ by
//! what the parameter does and not by chance.

use std::collections::BTreeMap;
use std::path::Path;

use millstream_systems::montecarlo::mathematics::{Answer, Request, Sweep};
use serde::Serialize;

use super::live::shortened;
use super::plot::{self, Chart, Point};
use super::problem::Axis;
use super::report::{digits, short};
use super::{Engine, jobs, outcome, write};
use crate::Outcome;
use crate::output::Output;

/// Points that are named with a warning that several have.
const PLACES: usize = 4;

/// One point's answer, for programs.
#[derive(Serialize)]
struct Row<'a> {
    params: &'a BTreeMap<String, f64>,
    #[serde(flatten)]
    answer: &'a Answer,
}

/// Computes every point and shows all of them.
pub(super) fn run(
    engine: &Engine,
    request: &Request,
    axes: &[Axis],
    json: bool,
    plot: Option<&Path>,
) -> anyhow::Result<Outcome> {
    let points: Vec<Request> = Sweep::grid(request.clone(), axes)?.requests().collect();
    let mut output = Output::new(json);
    let mut answers: Vec<Answer> = Vec::new();
    jobs::run_all(engine, points.clone(), "point", &mut |answer| {
        if let (true, Some(point)) = (json, points.get(answers.len())) {
            output.object(&Row {
                params: &point.params,
                answer: &answer,
            })?;
            output.flush()?;
        }
        answers.push(answer);
        Ok(())
    })?;
    if !json {
        output.bytes(table(axes, &points, &answers).as_bytes())?;
        output.bytes(warnings(axes, &points, &answers).as_bytes())?;
        output.flush()?;
    }
    if let Some(path) = plot {
        let chart = chart(request, axes, &points, &answers);
        write(path, plot::svg(&chart, None).as_bytes())?;
    }
    outcome(&answers)
}

fn table(axes: &[Axis], points: &[Request], answers: &[Answer]) -> String {
    let heads: Vec<String> = axes
        .iter()
        .map(|(name, _)| name.clone())
        .chain(["VALUE", "STANDARD ERROR", "SAMPLES", "STATUS"].map(str::to_owned))
        .collect();
    let mut rows = vec![heads];
    for (point, answer) in points.iter().zip(answers) {
        let mut row: Vec<String> = axes
            .iter()
            .map(|(name, _)| parameter(point, name))
            .collect();
        let each = answer
            .value
            .as_slice()
            .iter()
            .zip(answer.standard_error.as_slice());
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for (value, error) in each {
            values.push(match (value, error) {
                (Some(value), Some(error)) => digits(*value, *error),
                (Some(value), None) => format!("{value}"),
                (None, _) => "none".to_owned(),
            });
            errors.push(error.map_or_else(|| "-".to_owned(), short));
        }
        row.extend([
            values.join(" "),
            errors.join(" "),
            answer.samples.to_string(),
            answer.status.name().to_owned(),
        ]);
        rows.push(row);
    }
    aligned(&rows)
}

fn parameter(point: &Request, name: &str) -> String {
    let value = point.params.get(name);
    let text = value.map_or_else(String::new, |value| format!("{value:.6}"));
    trimmed(&text).to_owned()
}

/// Each warning once, with the points that have it.
fn warnings(axes: &[Axis], points: &[Request], answers: &[Answer]) -> String {
    let mut found: Vec<(&str, Vec<String>)> = Vec::new();
    for (point, answer) in points.iter().zip(answers) {
        let at: Vec<String> = axes
            .iter()
            .map(|(name, _)| format!("{name}={}", parameter(point, name)))
            .collect();
        for warning in &answer.warnings {
            match found.iter_mut().find(|(text, _)| text == warning) {
                Some((_, places)) => places.push(at.join(" ")),
                None => found.push((warning, vec![at.join(" ")])),
            }
        }
    }
    let mut text = String::new();
    for (warning, places) in found {
        let more = places.len().saturating_sub(PLACES);
        let mut shown: Vec<String> = places.into_iter().take(PLACES).collect();
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        text.push_str(&format!("warning at {}: {warning}\n", shown.join(", ")));
    }
    text
}

/// A number without the zeros at its end.
fn trimmed(text: &str) -> &str {
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        text
    }
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(column, (cell, width))| {
                if column + 1 == columns {
                    cell.clone()
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The value over the last parameter, a curve for each value of the others and for each output.
fn chart(request: &Request, axes: &[Axis], points: &[Request], answers: &[Answer]) -> Chart {
    let along = axes.last();
    let length = along.map_or(1, |(_, values)| values.len()).max(1);
    let name = along.map_or("", |(name, _)| name.as_str());
    let mut curves = Vec::new();
    for (points, answers) in points.chunks(length).zip(answers.chunks(length)) {
        let outputs = answers
            .iter()
            .map(|answer| answer.value.as_slice().len())
            .max();
        for output in 0..outputs.unwrap_or(0) {
            let point = |(point, answer): (&Request, &Answer)| {
                let [low, high] = (*answer.interval.as_slice().get(output)?)?;
                Some(Point {
                    x: *point.params.get(name)?,
                    y: (*answer.value.as_slice().get(output)?)?,
                    half: 0.5 * (high - low),
                })
            };
            curves.push(points.iter().zip(answers).filter_map(point).collect());
        }
    }
    Chart {
        title: shortened(&request.expression),
        x_label: name.to_owned(),
        y_label: "integral and 95 % interval".to_owned(),
        log_x: false,
        curves,
        exact: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_shown_once_with_its_points() {
        let axes = [("a".to_owned(), vec![1.0, 2.0, 0.5])];
        let point = |a: f64| {
            let mut request = Request::new("a*x0");
            request.params.insert("a".to_owned(), a);
            request
        };
        let points = [1.0, 2.0, 0.5].map(point);
        let mut answers = points
            .clone()
            .map(|point| Answer::refused(Some(&point), "odd"));
        answers[1].warnings = vec!["odd".to_owned(), "late".to_owned()];
        answers[2].warnings.clear();
        assert_eq!(
            warnings(&axes, &points, &answers),
            "warning at a=1, a=2: odd\nwarning at a=2: late\n"
        );
    }

    #[test]
    fn columns_of_a_table_are_aligned() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        assert_eq!(
            aligned(&[row(["a", "X"]), row(["0.25", "y"])]),
            "   a  X\n0.25  y\n"
        );
        assert_eq!(
            [trimmed("0.500000"), trimmed("10"), trimmed("3.000000")],
            ["0.5", "10", "3"]
        );
    }
}
