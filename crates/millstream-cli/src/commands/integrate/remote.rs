//! Jobs on the workers of a cluster: asked for by a request, followed by the results, cancelled by a word of control.
//!
//! The answer has the bits that this process would have computed. Ctrl-C cancels and waits for the answer; when it does not
//! come, what was last heard is told as what it is.

use std::collections::HashMap;
use std::time::Duration;

use millstream::{Clock, Cluster, Shutdown, SystemClock};
use millstream_systems::montecarlo::arrival;
use millstream_systems::montecarlo::client::{Answers, Client};
use millstream_systems::montecarlo::mathematics::{Answer, Request, Status};
use millstream_systems::montecarlo::topics::Topics;

use super::Finished;
use super::live::{Crowd, Live};

const POLL: Duration = Duration::from_millis(50);
/// How long a cluster may take to answer at all.
const REACH: Duration = Duration::from_secs(5);
/// After so long without a word it is told that nobody has answered.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the answer to a cancellation is waited for.
const LAST_WORD: Duration = Duration::from_secs(10);

/// Runs jobs on a cluster.
pub(super) struct Remote {
    client: Client,
    brokers: String,
    clock: SystemClock,
    stop: Shutdown,
}

impl Remote {
    /// A client of the system under `prefix`; its topics are made if they are missing.
    pub(super) fn new(cluster: &Cluster, prefix: &str, stop: Shutdown) -> anyhow::Result<Self> {
        let topics = Topics::new(prefix);
        arrival::look(&topics, cluster, REACH)?;
        Ok(Self {
            client: Client::new(topics, cluster)?,
            brokers: cluster.brokers().to_owned(),
            clock: SystemClock::new(),
            stop,
        })
    }

    /// Asks for a job and follows it to its end.
    pub(super) fn run(&self, request: &Request, mut live: Live) -> anyhow::Result<Finished> {
        let id = uuid::Uuid::new_v4().to_string();
        let mut answers = self.client.listen()?;
        answers.want(&id, 0);
        self.client.submit(&id, request)?;
        self.client.flush(REACH)?;
        self.follow(&id, request, &mut answers, &mut live)
            .map(|answer| Finished {
                answer,
                course: live.close(),
                map: None,
            })
    }

    /// Asks for all jobs at once, so that all workers have something to do, and gives each answer to `each` as it comes.
    pub(super) fn run_all(
        &self,
        requests: &[(usize, &Request)],
        live: &mut Crowd,
        each: &mut dyn FnMut(usize, Answer) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut answers = self.client.listen()?;
        let mut ids = HashMap::new();
        for (number, request) in requests {
            let id = uuid::Uuid::new_v4().to_string();
            answers.want(&id, *number);
            self.client.submit(&id, request)?;
            ids.insert(*number, id);
        }
        self.client.flush(REACH)?;
        let started = self.clock.now();
        let (mut heard, mut cancelled) = (started, None);
        while answers.open() > 0 {
            let news = answers.poll(POLL)?;
            let now = self.clock.now();
            if let Some((number, outcome)) = news {
                heard = now;
                if outcome.is_last() {
                    ids.remove(&number);
                    each(number, outcome.answer)?;
                }
            }
            if now.since(heard) >= SILENCE && heard == started {
                heard = now;
                live.note(self.silence());
            }
            live.tell(
                requests.len() - answers.open(),
                requests.len(),
                now.since(started),
            );
            if cancelled.is_none() && self.stop.is_requested() {
                cancelled = Some(now);
                ids.values().try_for_each(|id| self.client.cancel(id))?;
            }
            if cancelled.is_some_and(|at| now.since(at) >= LAST_WORD) {
                break;
            }
        }
        for number in ids.keys() {
            if let Some((_, request)) = requests.iter().find(|(other, _)| other == number) {
                each(*number, unheard(request))?;
            }
        }
        Ok(())
    }

    fn silence(&self) -> String {
        format!(
            "nobody has answered yet; do `millstream montecarlo coordinator` and `worker` run on {}?",
            self.brokers
        )
    }

    fn follow(
        &self,
        id: &str,
        request: &Request,
        answers: &mut Answers,
        live: &mut Live,
    ) -> anyhow::Result<Answer> {
        let started = self.clock.now();
        let mut known = Answer::refused(Some(request), "nobody has answered");
        let (mut heard, mut told, mut cancelled) = (false, false, None);
        loop {
            let news = answers.poll(POLL)?;
            let now = self.clock.now();
            let elapsed = now.since(started);
            if let Some((_, outcome)) = news {
                heard = true;
                known = outcome.answer.clone();
                live.wave(&known);
                if outcome.is_last() {
                    return Ok(known);
                }
            }
            if heard {
                live.tell(&known, known.samples, elapsed);
            } else if !told && elapsed >= SILENCE {
                told = true;
                live.note(self.silence());
            }
            if cancelled.is_none() && self.stop.is_requested() {
                cancelled = Some(now);
                self.client.cancel(id)?;
            }
            if cancelled.is_some_and(|at| now.since(at) >= LAST_WORD) {
                if heard {
                    known.status = Status::Cancelled;
                    known.warnings.push("the coordinator did not confirm the cancellation; this is the last it told".to_owned());
                }
                return Ok(known);
            }
        }
    }
}

/// The answer to a job that was cancelled and of which nothing was heard any more.
fn unheard(request: &Request) -> Answer {
    let mut answer = Answer::refused(
        Some(request),
        "the coordinator did not confirm the cancellation",
    );
    answer.status = Status::Cancelled;
    answer
}
