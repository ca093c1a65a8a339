//! Jobs on the workers of a cluster: asked for by a request, followed by the results, cancelled by a word of control.
//!
//! The answer has the bits that this process would have computed. Ctrl-C cancels and waits for the answer; when it does not
//! come, what was last heard is told as what it is.

use std::time::Duration;

use millstream::{Clock, Cluster, Shutdown, SystemClock};
use millstream_systems::montecarlo::arrival;
use millstream_systems::montecarlo::client::{Answers, Client};
use millstream_systems::montecarlo::mathematics::{Request, Status};
use millstream_systems::montecarlo::topics::Topics;

use super::Finished;
use super::live::Live;

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

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_requested()
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

    fn follow(
        &self,
        id: &str,
        request: &Request,
        answers: &mut Answers,
        live: &mut Live,
    ) -> anyhow::Result<millstream_systems::montecarlo::mathematics::Answer> {
        let started = self.clock.now();
        let mut known = millstream_systems::montecarlo::mathematics::Answer::refused(
            Some(request),
            "nobody has answered",
        );
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
                live.note(format!(
                    "nobody has answered yet; do `millstream montecarlo coordinator` and `worker` run on {}?",
                    self.brokers
                ));
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
