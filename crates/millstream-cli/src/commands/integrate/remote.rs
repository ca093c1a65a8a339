//! Jobs on the workers of a cluster: a request starts each, the results report it, a control record cancels it.
//!
//! The answer has the bits that this process would have computed. Ctrl-C ends the command within a second, whatever the
//! cluster does: what may block runs under [`interruptible`], and the answer to a cancellation is awaited for less than that.
//! If it does not come, the last report is the answer, and says so.

use std::collections::HashMap;
use std::io::Write;
use std::process;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use millstream::{Clock, Cluster, Moment, Shutdown, SystemClock};
use millstream_systems::montecarlo::arrival;
use millstream_systems::montecarlo::client::{Answers, Client};
use millstream_systems::montecarlo::mathematics::{Answer, Request, Status};
use millstream_systems::montecarlo::topics::Topics;

use super::Finished;
use super::live::{Crowd, Live};
use super::missing::{self, Patience};

const POLL: Duration = Duration::from_millis(50);
/// How long a cluster may take to answer at all.
const REACH: Duration = Duration::from_secs(15);
/// How long the answer to a cancellation is awaited.
const LAST_WORD: Duration = Duration::from_millis(700);

const UNCONFIRMED: &str = "the coordinator did not confirm the cancellation in time; the job may still run on the cluster";

/// Runs jobs on a cluster.
pub(super) struct Remote {
    client: Client,
    cluster: Cluster,
    prefix: String,
    clock: SystemClock,
    stop: Shutdown,
}

/// What is awaited besides the answers: that nothing is computed, that somebody asks to stop.
struct Watch<'a> {
    remote: &'a Remote,
    started: Moment,
    patience: Patience,
    missing: Option<Receiver<String>>,
    cancelled: Option<Moment>,
}

impl Remote {
    /// A client of the system under `prefix`; topics that are missing are created.
    pub(super) fn new(cluster: &Cluster, prefix: &str, stop: Shutdown) -> anyhow::Result<Self> {
        let topics = Topics::new(prefix);
        interruptible(&stop, "stopped before a job was sent", || {
            arrival::look(&topics, cluster, REACH, |_| true)
        })?;
        Ok(Self {
            client: Client::new(topics, cluster)?,
            cluster: cluster.clone(),
            prefix: prefix.to_owned(),
            clock: SystemClock::new(),
            stop,
        })
    }

    /// Asks for a job and follows it to its end.
    pub(super) fn run(&self, request: &Request, mut live: Live) -> anyhow::Result<Finished> {
        let (mut answers, ids) = self.submit(&[(0, request)])?;
        let id = ids.get(&0).context("the job has no id")?;
        let answer = self.follow(id, request, &mut answers, &mut live)?;
        Ok(Finished {
            answer,
            course: live.close(),
            map: None,
        })
    }

    /// Sends the requests; their answers, and the id of each.
    fn submit(
        &self,
        requests: &[(usize, &Request)],
    ) -> anyhow::Result<(Answers, HashMap<usize, String>)> {
        let message = "stopped while jobs were sent; some of them may run on the cluster";
        interruptible(&self.stop, message, || {
            let mut answers = self.client.listen()?;
            let mut ids = HashMap::new();
            for (number, request) in requests {
                let id = uuid::Uuid::new_v4().to_string();
                answers.want(&id, *number);
                self.client.submit(&id, request)?;
                ids.insert(*number, id);
            }
            self.client.flush(REACH)?;
            Ok((answers, ids))
        })
    }

    /// Asks for all jobs at once, so that all workers have something to do, and passes each answer to `each` as it comes.
    pub(super) fn run_all(
        &self,
        requests: &[(usize, &Request)],
        live: &mut Crowd,
        each: &mut dyn FnMut(usize, Answer) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let (mut answers, mut ids) = self.submit(requests)?;
        let mut watch = Watch::new(self);
        let mut computed = false;
        while answers.open() > 0 && !watch.is_over() {
            if let Some((number, outcome)) = answers.poll(POLL)? {
                computed |= outcome.is_last() || outcome.answer.waves > 0;
                if outcome.is_last() {
                    ids.remove(&number);
                    each(number, outcome.answer)?;
                }
            }
            if let Some(note) = watch.note(computed) {
                live.note(note);
            }
            let done = requests.len() - answers.open();
            live.tell(done, requests.len(), watch.elapsed());
            watch.cancel(ids.values())?;
        }
        for number in ids.keys() {
            if let Some((_, request)) = requests.iter().find(|(other, _)| other == number) {
                each(*number, unheard(request))?;
            }
        }
        Ok(())
    }

    fn follow(
        &self,
        id: &str,
        request: &Request,
        answers: &mut Answers,
        live: &mut Live,
    ) -> anyhow::Result<Answer> {
        let mut watch = Watch::new(self);
        let mut known: Option<Answer> = None;
        while !watch.is_over() {
            if let Some((_, outcome)) = answers.poll(POLL)? {
                live.wave(&outcome.answer);
                if outcome.is_last() {
                    return Ok(outcome.answer);
                }
                known = Some(outcome.answer);
            }
            if let Some(known) = &known {
                live.tell(known, known.samples, watch.elapsed());
            }
            let computed = known.as_ref().is_some_and(|known| known.waves > 0);
            if let Some(note) = watch.note(computed) {
                live.note(note);
            }
            watch.cancel([id])?;
        }
        Ok(known.map_or_else(|| unheard(request), unconfirmed))
    }
}

impl<'a> Watch<'a> {
    fn new(remote: &'a Remote) -> Self {
        let started = remote.clock.now();
        Self {
            remote,
            started,
            patience: Patience::new(started),
            missing: None,
            cancelled: None,
        }
    }

    fn elapsed(&self) -> Duration {
        self.remote.clock.now().since(self.started)
    }

    /// What the cluster lacks, once that is known.
    fn note(&mut self, computed: bool) -> Option<String> {
        if self.patience.runs_out(computed, self.remote.clock.now()) {
            self.missing = Some(missing::look(&self.remote.cluster, &self.remote.prefix));
        }
        let note = self.missing.as_ref()?.try_recv().ok();
        note.filter(|_| !computed)
    }

    /// Cancels these jobs when somebody has asked to stop.
    fn cancel(&mut self, ids: impl IntoIterator<Item = impl AsRef<str>>) -> anyhow::Result<()> {
        if self.cancelled.is_none() && self.remote.stop.is_requested() {
            self.cancelled = Some(self.remote.clock.now());
            for id in ids {
                self.remote.client.cancel(id.as_ref())?;
            }
        }
        Ok(())
    }

    /// Whether the answer to the cancellation was awaited long enough.
    fn is_over(&self) -> bool {
        let now = self.remote.clock.now();
        self.cancelled.is_some_and(|at| now.since(at) >= LAST_WORD)
    }
}

/// Does `work`, which may block for long; meanwhile Ctrl-C ends the process with `message` and exit code 1.
fn interruptible<T>(
    stop: &Shutdown,
    message: &'static str,
    work: impl FnOnce() -> Result<T, millstream::Error>,
) -> anyhow::Result<T> {
    let done = Arc::new(Mutex::new(false));
    let (stop, seen) = (stop.clone(), Arc::clone(&done));
    let wait = move || {
        loop {
            let stopped = stop.wait(POLL);
            let done = seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *done {
                return;
            }
            if stopped {
                _ = writeln!(std::io::stderr(), "{message}");
                process::exit(1);
            }
        }
    };
    thread::Builder::new()
        .name("interrupt".to_owned())
        .spawn(wait)
        .context("failed to start a thread")?;
    let result = work();
    *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
    Ok(result?)
}

/// What was reported last of a job whose cancellation was not confirmed.
fn unconfirmed(mut answer: Answer) -> Answer {
    answer.status = Status::Cancelled;
    answer.warnings.push(UNCONFIRMED.to_owned());
    answer
}

/// The answer to a job of which nothing was reported.
fn unheard(request: &Request) -> Answer {
    let mut answer = Answer::refused(Some(request), UNCONFIRMED);
    answer.status = Status::Cancelled;
    answer
}
