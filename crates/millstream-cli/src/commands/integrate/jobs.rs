//! A file of jobs: each is computed in its turn, and answered by one JSON object on a line of its own, in the order given.
//!
//! A job that cannot be begun is answered too, as failed, so that lines and jobs correspond. What the flags say holds for jobs
//! that do not say otherwise.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;
use millstream_systems::montecarlo::mathematics::{Answer, Request, Status};
use serde_json::Value;

use super::live::{Crowd, Live};
use super::problem::Problem;
use super::{Engine, outcome};
use crate::Outcome;
use crate::output::Output;

/// A job of a file, or the answer to what is none.
pub(super) type Job = Result<Request, Box<Answer>>;

/// The jobs of a file, each a request or why it is none.
pub(super) fn read(path: &Path, flags: &Problem) -> anyhow::Result<Vec<Job>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("failed to read the jobs `{}`", path.display()))?;
    let jobs: Vec<Value> = serde_json::from_str(&text)
        .with_context(|| format!("`{}` is not a JSON array of jobs", path.display()))?;
    let defaults = flags.defaults();
    let request = |mut job: Value| {
        if let Value::Object(object) = &mut job {
            for (key, value) in &defaults {
                object.entry(key).or_insert_with(|| value.clone());
            }
        }
        let name = job.get("name").and_then(Value::as_str).map(str::to_owned);
        serde_json::from_value(job).map_err(|error| {
            let mut answer = Answer::refused(None, &format!("the job is not readable: {error}"));
            answer.name = name.unwrap_or_default();
            Box::new(answer)
        })
    };
    Ok(jobs.into_iter().map(request).collect())
}

/// Computes all jobs; what they come to together.
pub(super) fn run(engine: &Engine, jobs: &[Job]) -> anyhow::Result<Outcome> {
    let mut lines = Lines {
        output: Output::new(true),
        waiting: BTreeMap::new(),
        told: Vec::new(),
    };
    for (number, job) in jobs.iter().enumerate() {
        if let Err(refused) = job {
            lines.add(number, (**refused).clone())?;
        }
    }
    let requests = jobs.iter().enumerate();
    let requests: Vec<(usize, &Request)> = requests
        .filter_map(|(number, job)| Some((number, job.as_ref().ok()?)))
        .collect();
    match engine {
        Engine::Remote(remote) => {
            let mut live = Crowd::new();
            remote.run_all(&requests, &mut live, &mut |number, answer| {
                lines.add(number, answer)
            })?;
            live.close();
        }
        Engine::Local(local) => {
            for (number, request) in requests {
                let answer = if local.is_stopped() {
                    cancelled(request)
                } else {
                    let live = Live::new(request, label(number, jobs.len(), request));
                    local.run(request, live, None).map_or_else(
                        |error| Answer::refused(Some(request), &format!("{error:#}")),
                        |finished| finished.answer,
                    )
                };
                lines.add(number, answer)?;
            }
        }
    }
    outcome(&lines.told)
}

/// Answers as lines in the order of their jobs, each as soon as those before it are told.
struct Lines {
    output: Output,
    waiting: BTreeMap<usize, Answer>,
    told: Vec<Answer>,
}

impl Lines {
    fn add(&mut self, number: usize, answer: Answer) -> anyhow::Result<()> {
        self.waiting.insert(number, answer);
        while let Some(answer) = self.waiting.remove(&self.told.len()) {
            self.output.object(&answer)?;
            self.output.flush()?;
            self.told.push(answer);
        }
        Ok(())
    }
}

fn label(number: usize, all: usize, request: &Request) -> String {
    if std::io::stderr().is_terminal() {
        format!("job {} of {all} {}", number + 1, request.name)
    } else {
        String::new()
    }
}

/// The answer to a job that was not begun because somebody asked to stop.
pub(super) fn cancelled(request: &Request) -> Answer {
    let mut answer = Answer::refused(Some(request), "it was not begun");
    answer.status = Status::Cancelled;
    answer
}
