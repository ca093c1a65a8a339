//! Several jobs: those of a file, or the points of a sweep. Each is answered in the order given.
//!
//! In this process they run one after the other, on a cluster all at once. A job that fails is answered too, so that answers
//! and jobs correspond.

use std::collections::BTreeMap;

use millstream_systems::montecarlo::mathematics::{Answer, Method, Request, Status};

use super::live::{Crowd, Live};
use super::{Engine, outcome};
use crate::Outcome;
use crate::output::Output;

/// Computes all jobs; what they come to together.
pub(super) fn run(engine: &Engine, jobs: &[Request]) -> anyhow::Result<Outcome> {
    let mut output = Output::new(true);
    let mut told = Vec::new();
    let mut tell = |answer: Answer| {
        output.object(&answer)?;
        output.flush()?;
        told.push(answer);
        Ok(())
    };
    let mut order = Order::new(&mut tell);
    let requests: Vec<(usize, &Request)> = jobs.iter().enumerate().collect();
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

/// Answers in the order of their jobs, each passed on as soon as those before it are.
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
    let mut answer = Answer::refused(Some(request), "the job was not begun");
    answer.status = Status::Cancelled;
    answer
}
