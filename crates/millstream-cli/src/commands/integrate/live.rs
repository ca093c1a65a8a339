//! What is known of a job while it runs: the line in a terminal, and the course of the estimate for a plot.
//!
//! Nothing here touches the job. Without a terminal there is no line, and the course is still kept.

use std::time::Duration;

use millstream_systems::montecarlo::mathematics::{Answer, Request};

use super::plot::{Chart, Point};
use super::report::{count, errors, estimate};
use crate::screen::Screen;

/// Between two drawings of the line.
const REFRESH: Duration = Duration::from_millis(100);
/// A job that is done by then is never announced.
const PATIENCE: Duration = Duration::from_millis(150);

/// The live line of one job, and its course.
pub(super) struct Live {
    screen: Screen,
    label: String,
    rel_error: f64,
    abs_error: f64,
    max_samples: u64,
    drawn: Option<Duration>,
    course: Course,
}

/// How the estimate has come about, wave by wave.
#[derive(Debug, Clone, Default)]
pub(super) struct Course {
    /// One list of points for each output.
    outputs: Vec<Vec<Point>>,
}

impl Live {
    /// For the only job.
    pub(super) fn one(request: &Request) -> Self {
        Self::new(request, String::new())
    }

    /// For one of several, called `label`.
    pub(super) fn new(request: &Request, label: String) -> Self {
        let neither = request.rel_error.is_none() && request.abs_error.is_none();
        Self {
            screen: Screen::stderr(),
            label,
            rel_error: if neither {
                1e-4
            } else {
                request.rel_error.unwrap_or(0.0)
            },
            abs_error: request.abs_error.unwrap_or(0.0),
            max_samples: request.max_samples.unwrap_or(1_000_000_000),
            drawn: None,
            course: Course::default(),
        }
    }

    /// A wave is complete.
    pub(super) fn wave(&mut self, answer: &Answer) {
        self.course.add(answer);
    }

    /// Some time has passed; `samples` counts those of the wave that is not complete too.
    pub(super) fn tell(&mut self, answer: &Answer, samples: u64, elapsed: Duration) {
        if !self.screen.is_terminal() || elapsed < PATIENCE {
            return;
        }
        if self
            .drawn
            .is_some_and(|drawn| elapsed.saturating_sub(drawn) < REFRESH)
        {
            return;
        }
        self.drawn = Some(elapsed);
        let line = self.line(answer, samples, elapsed);
        self.screen.refresh(&line);
    }

    /// A line that stays.
    pub(super) fn note(&mut self, line: String) {
        self.screen.line(line);
        self.screen.refresh("");
    }

    /// Takes the line away; the course stays.
    pub(super) fn close(mut self) -> Course {
        self.screen.close();
        self.course
    }

    fn line(&self, answer: &Answer, samples: u64, elapsed: Duration) -> String {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        let speed = samples as f64 / seconds;
        let mut parts = Vec::new();
        if !self.label.is_empty() {
            parts.push(self.label.clone());
        }
        parts.push(estimate(answer).unwrap_or_else(|| "exploring".to_owned()));
        if let Some((half, value)) = errors(answer) {
            if value != 0.0 {
                parts.push(format!("rel {:.1e}", half / value.abs()));
            }
            if let Some(left) = self.left(half, value, answer.samples, speed) {
                parts.push(left);
            }
        }
        parts.push(format!("{} samples", count(samples)));
        parts.push(format!("{}/s", count(speed as u64)));
        parts.push(format!("{} wave {}", answer.method, answer.waves));
        parts.push(format!("{seconds:.1} s"));
        parts.push("Ctrl-C stops".to_owned());
        parts.join(" · ")
    }

    /// How long until the target, if the error goes on to fall with the root of the samples; most methods are faster.
    fn left(&self, half: f64, value: f64, samples: u64, speed: f64) -> Option<String> {
        let target = self.abs_error.max(self.rel_error * value.abs());
        if target <= 0.0 || samples == 0 || half <= target {
            return None;
        }
        let needed = samples as f64 * (half / target).powi(2);
        if needed > self.max_samples as f64 {
            let left = (self.max_samples as f64 - samples as f64).max(0.0) / speed;
            return Some(format!("budget in {}", time(left)));
        }
        Some(format!(
            "target in {} or less",
            time((needed - samples as f64) / speed)
        ))
    }
}

/// The live line of many jobs at once.
pub(super) struct Crowd {
    screen: Screen,
    drawn: Option<Duration>,
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self {
            screen: Screen::stderr(),
            drawn: None,
        }
    }

    /// Some of all are done.
    pub(super) fn tell(&mut self, done: usize, all: usize, elapsed: Duration) {
        let lately = |drawn: Duration| elapsed.saturating_sub(drawn) < REFRESH;
        if self.screen.is_terminal() && elapsed >= PATIENCE && !self.drawn.is_some_and(lately) {
            self.drawn = Some(elapsed);
            let seconds = elapsed.as_secs_f64();
            let line = format!("{done} of {all} jobs · {seconds:.1} s · Ctrl-C stops");
            self.screen.refresh(&line);
        }
    }

    /// A line that stays.
    pub(super) fn note(&mut self, line: String) {
        self.screen.line(line);
        self.screen.refresh("");
    }

    /// Takes the line away.
    pub(super) fn close(mut self) {
        self.screen.close();
    }
}

impl Course {
    fn add(&mut self, answer: &Answer) {
        let values = answer
            .value
            .as_slice()
            .iter()
            .zip(answer.interval.as_slice());
        for (output, (value, interval)) in values.enumerate() {
            let (Some(value), Some([low, high])) = (value, interval) else {
                continue;
            };
            if self.outputs.len() <= output {
                self.outputs.resize_with(output + 1, Vec::new);
            }
            let point = Point {
                x: answer.samples as f64,
                y: *value,
                half: 0.5 * (high - low),
            };
            if let Some(points) = self.outputs.get_mut(output) {
                // While the map is adapted the estimate stays, and the end is told with the samples of the last wave.
                let same = |last: &Point| last.y == point.y && last.half == point.half;
                if !points.last().is_some_and(same) {
                    points.push(point);
                }
            }
        }
    }

    /// The convergence as a picture.
    pub(super) fn chart(&self, request: &Request) -> Chart {
        let exact = request
            .exact
            .as_ref()
            .and_then(|exact| match exact.as_slice() {
                [one] => Some(*one),
                _ => None,
            });
        let name = if request.name.is_empty() {
            &request.expression
        } else {
            &request.name
        };
        Chart {
            title: shortened(name),
            x_label: "samples".to_owned(),
            y_label: "estimate and 95 % interval".to_owned(),
            log_x: true,
            curves: self.outputs.clone(),
            exact,
        }
    }
}

/// At most as much as fits over a picture.
pub(super) fn shortened(text: &str) -> String {
    const MOST: usize = 80;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    let head: String = text.chars().take(MOST - 2).collect();
    format!("{head}..")
}

fn time(seconds: f64) -> String {
    if seconds < 60.0 {
        format!("{seconds:.0} s")
    } else if seconds < 3600.0 {
        format!("{:.0} min", seconds / 60.0)
    } else {
        format!("{:.1} h", seconds / 3600.0)
    }
}
