//! `up --http`: one listener for all services, with `/livez`, `/readyz` and `/metrics`.
//!
//! `/readyz` returns 200 when every service is ready, has finished, or was stopped. `/metrics` holds what the services
//! showed when they were last scraped, each sample with the label `process`, and two metrics of `up` itself; a service
//! that does not respond is left out, so that no stale number is shown.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use millstream::Error;
use millstream::http::{Health, Listener, Part};

/// Whether a service is as it should be, by process.
pub(crate) const READY: &str = "millstream_up_ready";
/// Restarts after a failure, by process.
pub(crate) const RESTARTS: &str = "millstream_up_restarts_total";

/// What is published of one service.
#[derive(Debug, Default, Clone)]
struct Process {
    name: String,
    ready: bool,
    restarts: u32,
    /// Its own metrics; empty when unknown.
    metrics: String,
}

/// The listener, and what it shows.
#[derive(Debug)]
pub(crate) struct Published {
    listener: Listener,
    parts: Vec<Part>,
    processes: Arc<Mutex<Vec<Process>>>,
}

impl Published {
    /// Listens on `address` for the services called `names`.
    pub(crate) fn open<'a>(
        address: SocketAddr,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<Self, Error> {
        let health = Health::new();
        let processes: Vec<Process> = names
            .map(|name| Process {
                name: name.to_owned(),
                ..Process::default()
            })
            .collect();
        let parts = processes.iter().map(|p| health.part(&p.name)).collect();
        let processes = Arc::new(Mutex::new(processes));
        let shown = Arc::clone(&processes);
        let render = move || {
            let processes = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
            merged(&processes)
        };
        Ok(Self {
            listener: Listener::open(address, health, render)?,
            parts,
            processes,
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The service at `position` is `ready` or not, and was started again so often.
    pub(crate) fn state(&self, position: usize, ready: bool, restarts: u32) {
        if let Some(part) = self.parts.get(position) {
            part.set_ready(ready);
        }
        self.with(position, |process| {
            (process.ready, process.restarts) = (ready, restarts);
        });
    }

    /// The service at `position` shows these metrics now.
    pub(crate) fn metrics(&self, position: usize, metrics: String) {
        self.with(position, |process| process.metrics = metrics);
    }

    fn with(&self, position: usize, change: impl FnOnce(&mut Process)) {
        let mut processes = self
            .processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(process) = processes.get_mut(position) {
            change(process);
        }
    }
}

/// One metric: its comment lines, and the samples of all processes.
#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    comments: Vec<&'a str>,
    samples: String,
}

/// The texts of all processes as one: a metric stands once, with the samples of each process.
fn merged(processes: &[Process]) -> String {
    let mut families: Vec<Family<'_>> = Vec::new();
    for process in processes {
        let mut at = None;
        for line in process.metrics.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let Some(name) = comment.split(' ').nth(1) else {
                    continue;
                };
                at = Some(family(&mut families, name));
                if let Some(family) = at.and_then(|at| families.get_mut(at))
                    && !family.comments.contains(&line)
                {
                    family.comments.push(line);
                }
            } else if let Some(family) = at.and_then(|at| families.get_mut(at)) {
                family.samples.push_str(&labelled(line, &process.name));
            }
        }
    }
    let mut text = String::new();
    for family in &families {
        for comment in &family.comments {
            _ = writeln!(text, "{comment}");
        }
        text.push_str(&family.samples);
        text.push('\n');
    }
    own(
        &mut text,
        READY,
        "gauge",
        "1 if the service is as it should be",
        processes,
        |process| u32::from(process.ready),
    );
    own(
        &mut text,
        RESTARTS,
        "counter",
        "restarts after a failure",
        processes,
        |process| process.restarts,
    );
    text
}

/// The position of the metric `name`.
fn family<'a>(families: &mut Vec<Family<'a>>, name: &'a str) -> usize {
    let known = families.iter().position(|family| family.name == name);
    known.unwrap_or_else(|| {
        families.push(Family {
            name,
            ..Family::default()
        });
        families.len() - 1
    })
}

/// A sample with the label `process` before its others.
fn labelled(line: &str, process: &str) -> String {
    let end = line.find(['{', ' ']).unwrap_or(line.len());
    let (name, rest) = line.split_at(end);
    match rest.strip_prefix('{') {
        Some(labels) => format!("{name}{{process=\"{process}\",{labels}\n"),
        None if name.is_empty() => String::new(),
        None => format!("{name}{{process=\"{process}\"}}{rest}\n"),
    }
}

fn own(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    processes: &[Process],
    value: impl Fn(&Process) -> u32,
) {
    _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for process in processes {
        _ = writeln!(
            text,
            "{name}{{process=\"{}\"}} {}",
            process.name,
            value(process)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_of_two_processes_stands_once_with_a_label_each() {
        let process = |name: &str, records: u32| Process {
            name: name.to_owned(),
            ready: true,
            restarts: 1,
            metrics: format!(
                "# HELP a_total records\n# TYPE a_total counter\na_total{{topic=\"t\"}} {records}\n\n# TYPE b gauge\nb 3\n"
            ),
        };
        let expected = "# HELP a_total records\n# TYPE a_total counter\n\
            a_total{process=\"x\",topic=\"t\"} 5\na_total{process=\"y\",topic=\"t\"} 7\n\n\
            # TYPE b gauge\nb{process=\"x\"} 3\nb{process=\"y\"} 3\n\n\
            # HELP millstream_up_ready 1 if the service is as it should be\n# TYPE millstream_up_ready gauge\n\
            millstream_up_ready{process=\"x\"} 1\nmillstream_up_ready{process=\"y\"} 1\n\
            # HELP millstream_up_restarts_total restarts after a failure\n# TYPE millstream_up_restarts_total counter\n\
            millstream_up_restarts_total{process=\"x\"} 1\nmillstream_up_restarts_total{process=\"y\"} 1\n";
        assert_eq!(merged(&[process("x", 5), process("y", 7)]), expected);
    }
}
