//! A file of jobs: each is computed in its turn, and answered by one JSON object on a line of its own, in the order given.
//!
//! A job that cannot be begun is answered too, as failed, so that lines and jobs correspond. What the flags say holds for jobs
//! that do not say otherwise.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use millstream_systems::montecarlo::mathematics::{Answer, Method, Request, Status};
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
    let mut output = Output::new(true);
    let mut told = Vec::new();
    let mut tell = |answer: Answer| {
        output.object(&answer)?;
        output.flush()?;
        told.push(answer);
        Ok(())
    };
    let mut order = Order::new(&mut tell);
    for (number, job) in jobs.iter().enumerate() {
        if let Err(refused) = job {
            order.add(number, (**refused).clone())?;
        }
    }
    let requests = jobs.iter().enumerate();
    let requests: Vec<(usize, &Request)> = requests
        .filter_map(|(number, job)| Some((number, job.as_ref().ok()?)))
        .collect();
    compute(engine, &requests, "job", &mut order)?;
    outcome(&told)
}

/// Computes the points of a sweep, and gives the answers in order. The first decides on the method for all.
pub(super) fn run_all(
    engine: &Engine,
    mut requests: Vec<Request>,
    word: &str,
    each: &mut dyn FnMut(Answer) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut order = Order::new(each);
    let mut first = 0;
    if let Some(request) = requests.first()
        && request.method == Method::Auto
    {
        let mut method = Method::Auto;
        let mut note = |answer: Answer| {
            method = answer.method;
            order.add(0, answer)
        };
        compute(engine, &[(0, request)], word, &mut Order::new(&mut note))?;
        requests
            .iter_mut()
            .for_each(|request| request.method = method);
        first = 1;
    }
    let rest: Vec<(usize, &Request)> = requests.iter().enumerate().skip(first).collect();
    compute(engine, &rest, word, &mut order)
}

/// Computes these jobs: here one after the other, on a cluster all at once.
fn compute(
    engine: &Engine,
    requests: &[(usize, &Request)],
    word: &str,
    order: &mut Order<'_>,
) -> anyhow::Result<()> {
    match engine {
        Engine::Remote(remote) => {
            let mut live = Crowd::new();
            remote.run_all(requests, &mut live, &mut |number, answer| {
                order.add(number, answer)
            })?;
            live.close();
        }
        Engine::Local(local) => {
            for (number, request) in requests {
                let answer = if local.is_stopped() {
                    cancelled(request)
                } else {
                    let label = format!("{word} {} {}", number + 1, request.name);
                    let live = Live::new(request, label.trim_end().to_owned());
                    local.run(request, live, None).map_or_else(
                        |error| Answer::refused(Some(request), &format!("{error:#}")),
                        |finished| finished.answer,
                    )
                };
                order.add(*number, answer)?;
            }
        }
    }
    Ok(())
}

/// Answers in the order of their jobs, each told as soon as those before it are.
struct Order<'a> {
    each: &'a mut dyn FnMut(Answer) -> anyhow::Result<()>,
    waiting: BTreeMap<usize, Answer>,
    next: usize,
}

impl<'a> Order<'a> {
    fn new(each: &'a mut dyn FnMut(Answer) -> anyhow::Result<()>) -> Self {
        Self {
            each,
            waiting: BTreeMap::new(),
            next: 0,
        }
    }

    fn add(&mut self, number: usize, answer: Answer) -> anyhow::Result<()> {
        self.waiting.insert(number, answer);
        while let Some(answer) = self.waiting.remove(&self.next) {
            self.next += 1;
            (self.each)(answer)?;
        }
        Ok(())
    }
}

/// The answer to a job that was not begun because somebody asked to stop.
fn cancelled(request: &Request) -> Answer {
    let mut answer = Answer::refused(Some(request), "it was not begun");
    answer.status = Status::Cancelled;
    answer
}
