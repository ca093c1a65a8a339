//! Pictures as SVG: a curve with its error band, and the adapted map of two dimensions as a grid.
//!
//! Written by hand because it is little: text, lines and polygons in one fixed layout, readable in light and dark surroundings,
//! and the same bytes for the same numbers.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 96.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 48.0;
const BOTTOM: f64 = 56.0;
const LINE: &str = "#1f77b4";
const OTHERS: [&str; 5] = ["#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"];

/// One point of a curve: where, what, and half of its interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    pub(crate) half: f64,
}

/// A curve with its band.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    /// Samples are drawn on a logarithmic axis.
    pub(crate) log_x: bool,
    /// One curve for each component of the integrand.
    pub(crate) curves: Vec<Vec<Point>>,
    /// A level to compare with.
    pub(crate) exact: Option<f64>,
}

/// Where the cells of a map of two dimensions end, in the integrand's own coordinates.
#[derive(Debug, Clone)]
pub(crate) struct Grid {
    pub(crate) x: Vec<f64>,
    pub(crate) y: Vec<f64>,
}

/// A linear or logarithmic axis from values to a place on the paper.
#[derive(Debug, Clone, Copy)]
struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    fn new(values: impl Iterator<Item = f64>, (from, to): (f64, f64), log: bool) -> Self {
        let scaled = values.map(|value| if log { value.max(1.0).log10() } else { value });
        let (mut low, mut high) = scaled
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        let spread = high - low;
        let room = if spread > 0.0 {
            0.05 * spread
        } else {
            low.abs().max(1e-300) * 0.01
        };
        Self {
            low: low - room,
            high: high + room,
            from,
            to,
            log,
        }
    }

    fn at(&self, value: f64) -> f64 {
        let scaled = if self.log {
            value.max(1.0).log10()
        } else {
            value
        };
        let share = (scaled - self.low) / (self.high - self.low);
        self.from + share.clamp(-0.5, 1.5) * (self.to - self.from)
    }

    /// Round values with their places: about six.
    fn ticks(&self) -> Vec<(f64, String)> {
        let step = nice((self.high - self.low) / 6.0, self.log);
        let first = (self.low / step).ceil();
        let mut ticks = Vec::new();
        for i in 0..20 {
            let scaled = (first + f64::from(i)) * step;
            if scaled > self.high {
                break;
            }
            let (value, text) = if self.log {
                (10_f64.powf(scaled), format!("1e{scaled:.0}"))
            } else {
                (scaled, number(scaled, step))
            };
            ticks.push((self.at(value), text));
        }
        ticks
    }
}

/// The 1, 2 or 5 times a power of ten at or above `raw`; whole decades on a logarithmic axis.
fn nice(raw: f64, log: bool) -> f64 {
    if !raw.is_finite() || raw <= 0.0 {
        return 1.0;
    }
    if log {
        return raw.ceil().max(1.0);
    }
    let decade = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .find(|step| step * decade >= raw);
    step.unwrap_or(10.0) * decade
}

/// A number with as many digits as its step needs.
fn number(value: f64, step: f64) -> String {
    let value = if value.abs() < step * 1e-9 {
        0.0
    } else {
        value
    };
    let size = value.abs().max(step);
    if !(1e-4..1e6).contains(&size) {
        let digits = (size.log10().floor() - step.log10().floor()).clamp(0.0, 12.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to 12"
        )]
        return format!("{value:.*e}", digits as usize);
    }
    let digits = (-step.log10().floor()).clamp(0.0, 12.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "0 to 12"
    )]
    let digits = digits as usize;
    format!("{value:.digits$}")
}

/// The chart, and below it the grid if there is one, as a whole SVG document.
pub(crate) fn svg(chart: &Chart, grid: Option<&Grid>) -> String {
    let height = HEIGHT + if grid.is_some() { HEIGHT + 60.0 } else { 0.0 };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    draw(&mut out, chart);
    if let Some(grid) = grid {
        _ = writeln!(out, "<g transform=\"translate(0 {HEIGHT})\">");
        draw_grid(&mut out, grid);
        out.push_str("</g>\n");
    }
    out.push_str("</svg>\n");
    out
}

fn draw(out: &mut String, chart: &Chart) {
    let points = || chart.curves.iter().flatten();
    let x = Axis::new(
        points().map(|point| point.x),
        (LEFT, WIDTH - RIGHT),
        chart.log_x,
    );
    let y = Axis::new(
        levels(chart).chain(chart.exact),
        (HEIGHT - BOTTOM, TOP),
        false,
    );
    frame(out, &x, &y, [&chart.title, &chart.x_label, &chart.y_label]);
    for (number, curve) in chart.curves.iter().enumerate() {
        let colour = number.checked_sub(1).map_or(LINE, |n| {
            OTHERS.get(n % OTHERS.len()).copied().unwrap_or(LINE)
        });
        draw_curve(out, curve, (&x, &y), colour);
    }
    if let Some(exact) = chart.exact {
        let at = y.at(exact);
        _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{:.1}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#444\" stroke-dasharray=\"6 4\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#444\">exact</text>",
            WIDTH - RIGHT,
            WIDTH - RIGHT - 4.0,
            at - 5.0
        );
    }
}

/// What the vertical axis has to show. The first estimates of a convergence may be off by orders of magnitude: they are cut, or
/// the rest would be a flat line.
fn levels(chart: &Chart) -> impl Iterator<Item = f64> + '_ {
    let mut halves: Vec<f64> = chart
        .curves
        .iter()
        .flatten()
        .map(|point| point.half)
        .filter(|half| half.is_finite())
        .collect();
    halves.sort_by(f64::total_cmp);
    let typical = halves.get(halves.len() / 2).copied().unwrap_or(0.0);
    let log_x = chart.log_x;
    chart.curves.iter().flat_map(move |curve| {
        let last = curve.last().map_or(0.0, |point| point.y);
        let (least, most) = if log_x && typical > 0.0 {
            (last - 8.0 * typical, last + 8.0 * typical)
        } else {
            (f64::MIN, f64::MAX)
        };
        let ends = |point: &Point| {
            let half = if point.half.is_finite() {
                point.half
            } else {
                0.0
            };
            [point.y - half, point.y + half]
        };
        curve
            .iter()
            .flat_map(ends)
            .filter(|level| level.is_finite())
            .map(move |level| level.max(least).min(most))
    })
}

fn draw_curve(out: &mut String, curve: &[Point], (x, y): (&Axis, &Axis), colour: &str) {
    let finite = |point: &&Point| point.y.is_finite();
    let half = |point: &Point| {
        if point.half.is_finite() {
            point.half
        } else {
            0.0
        }
    };
    let upper = curve.iter().filter(finite).map(|p| (p.x, p.y + half(p)));
    let lower = curve
        .iter()
        .rev()
        .filter(finite)
        .map(|p| (p.x, p.y - half(p)));
    let place =
        |(a, b): (f64, f64)| format!("{:.1},{:.1}", x.at(a), y.at(b).clamp(TOP, HEIGHT - BOTTOM));
    let band: Vec<String> = upper.chain(lower).map(place).collect();
    let line: Vec<String> = curve
        .iter()
        .filter(finite)
        .map(|p| place((p.x, p.y)))
        .collect();
    _ = writeln!(
        out,
        "<polygon points=\"{}\" fill=\"{colour}\" fill-opacity=\"0.18\"/>\n\
         <polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.8\"/>",
        band.join(" "),
        line.join(" ")
    );
    for point in curve.iter().filter(finite) {
        _ = writeln!(
            out,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2.6\" fill=\"{colour}\"/>",
            x.at(point.x),
            y.at(point.y).clamp(TOP, HEIGHT - BOTTOM)
        );
    }
}

/// Axes, ticks and words.
fn frame(out: &mut String, x: &Axis, y: &Axis, [title, x_label, y_label]: [&str; 3]) {
    let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
    for (at, text) in x.ticks() {
        _ = writeln!(
            out,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"#e6e6e6\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#333\">{text}</text>",
            bottom + 18.0
        );
    }
    for (at, text) in y.ticks() {
        _ = writeln!(
            out,
            "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#e6e6e6\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{text}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
    _ = writeln!(
        out,
        "<rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"none\" stroke=\"#888\"/>\n\
         <text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"15\" fill=\"#111\">{}</text>\n\
         <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#333\">{}</text>\n\
         <text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"#333\">{}</text>",
        right - LEFT,
        bottom - TOP,
        TOP - 16.0,
        escaped(title),
        (LEFT + right) / 2.0,
        bottom + 42.0,
        escaped(x_label),
        (TOP + bottom) / 2.0,
        escaped(y_label)
    );
}

fn draw_grid(out: &mut String, grid: &Grid) {
    let side = HEIGHT - TOP;
    let x = Axis::new(grid.x.iter().copied(), (LEFT, LEFT + side), false);
    let y = Axis::new(grid.y.iter().copied(), (TOP + side, TOP), false);
    _ = writeln!(
        out,
        "<text x=\"{LEFT}\" y=\"{:.1}\" font-size=\"15\" fill=\"#111\">adapted map: cells of equal probability along each axis</text>",
        TOP - 16.0
    );
    let (left, right) = ends(&grid.x, &x);
    let (bottom, top) = ends(&grid.y, &y);
    for value in thinned(&grid.x) {
        let at = x.at(value);
        _ = writeln!(
            out,
            "<line x1=\"{at:.2}\" x2=\"{at:.2}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\" stroke=\"{LINE}\" stroke-width=\"0.6\"/>"
        );
    }
    for value in thinned(&grid.y) {
        let at = y.at(value);
        _ = writeln!(
            out,
            "<line x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{at:.2}\" y2=\"{at:.2}\" stroke=\"{LINE}\" stroke-width=\"0.6\"/>"
        );
    }
    for (at, text) in x.ticks() {
        _ = writeln!(
            out,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#333\">{text}</text>",
            TOP + side + 18.0
        );
    }
    for (at, text) in y.ticks() {
        _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333\">{text}</text>",
            LEFT - 8.0,
            at + 4.0
        );
    }
}

fn ends(edges: &[f64], axis: &Axis) -> (f64, f64) {
    let at = |edge: Option<&f64>| edge.map_or(0.0, |edge| axis.at(*edge));
    (at(edges.first()), at(edges.last()))
}

/// At most 64 cells: more are a surface, not a grid.
fn thinned(edges: &[f64]) -> impl Iterator<Item = f64> + '_ {
    let every = edges.len().saturating_sub(1).div_ceil(64).max(1);
    edges.iter().copied().step_by(every)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_numbers_with_the_digits_they_need() {
        let axis = Axis::new([3.1412, 3.1419].into_iter(), (0.0, 100.0), false);
        let texts: Vec<String> = axis.ticks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["3.1412", "3.1414", "3.1416", "3.1418"]);
        let axis = Axis::new([1e3, 1e7].into_iter(), (0.0, 100.0), true);
        let texts: Vec<String> = axis.ticks().into_iter().map(|(_, text)| text).collect();
        assert_eq!(texts, ["1e3", "1e4", "1e5", "1e6", "1e7"]);
    }

    #[test]
    fn numbers_far_from_one_are_written_with_an_exponent() {
        assert_eq!(number(1.25e-9, 5e-11), "1.25e-9");
        assert_eq!(number(2e20, 1e19), "2.0e20");
        assert_eq!(number(1e-17, 0.5), "0.0");
    }

    #[test]
    fn a_picture_is_whole_whatever_the_numbers_are() {
        let point = |x, y, half| Point { x, y, half };
        for curve in [
            vec![],
            vec![point(1e4, 1.0, 0.1)],
            vec![
                point(1e4, f64::NAN, f64::NAN),
                point(1e5, 1e300, f64::INFINITY),
            ],
            vec![point(1e4, 0.0, 0.0), point(1e5, 0.0, 0.0)],
        ] {
            let chart = Chart {
                title: "a < b & c".to_owned(),
                curves: vec![curve],
                log_x: true,
                exact: Some(1.0),
                ..Chart::default()
            };
            let grid = Grid {
                x: vec![0.0, 0.1, 1.0],
                y: vec![0.0, 0.9, 1.0],
            };
            let text = svg(&chart, Some(&grid));
            assert!(text.contains("a &lt; b &amp; c"), "{text}");
            assert!(
                text.ends_with("</svg>\n") && !text.contains("NaN"),
                "{text}"
            );
        }
    }
}
