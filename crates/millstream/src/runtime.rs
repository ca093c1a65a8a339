//! A running service: its threads, its end, and the hard deadline behind the end.
//!
//! Each thread owns one worker and all it needs. The thread that called `run` watches them: when a shutdown is requested, or
//! one of them fails, all are told to stop; each drains, commits and closes its client. librdkafka's close can hang for
//! ever when the cluster is gone, so nobody waits for it beyond the deadline: `run` then returns an error that says
//! so, and the program is expected to exit. When all is committed the close is a courtesy to the group and has a second:
//! without it the group misses the member when its session ends.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use serde::Serialize;

use crate::clock::{Clock, Moment, SystemClock};
use crate::config::Cluster;
use crate::error::Error;
use crate::http::{Health, Listener, Part};
use crate::log::kafka::member::{self, Member};
use crate::metrics::Totals;
use crate::service::Definition;
use crate::shutdown::Shutdown;
use crate::startup::{co_partitioned, ready_topics};
use crate::worker::failure::panic_text;
use crate::worker::{Progress, Worker};

/// How long a worker waits for a record at most before it looks around.
const WAIT: Duration = Duration::from_millis(100);

/// What closing a client may take beyond the drain budget.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// What it may take when all is drained and committed. A member that asked to join while another one had vanished is
/// answered only when that one's session has ended, and librdkafka's close waits for the answer.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// What a service has done, told at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Records read.
    pub read: u64,
    /// Records written, dead letters included.
    pub written: u64,
    /// Attempts at records that failed.
    pub failed: u64,
    /// Records written to a dead-letter topic.
    pub dead_lettered: u64,
    /// Records that were gone from the cluster before they could be read.
    pub lost: u64,
}

impl Summary {
    const fn add(&mut self, totals: Totals) {
        self.read += totals.read;
        self.written += totals.written;
        self.failed += totals.failed;
        self.dead_lettered += totals.dead_lettered;
        self.lost += totals.lost;
    }
}

/// What a thread of a worker tells the thread that watches it.
enum Report {
    /// Its worker has drained, or failed; its client is still to be closed.
    Ended(Totals, Result<(), Error>),
    /// Its client is closed.
    Closed,
}

/// Runs a service until shutdown is requested or it cannot go on.
pub(crate) fn run<S: 'static>(
    definition: Arc<Definition<S>>,
    cluster: &Cluster,
    shutdown: Shutdown,
) -> Result<Summary, Error> {
    let health = definition.settings.health.clone().unwrap_or_default();
    let threads = definition.settings.threads;
    // Before anything is waited for: a service that waits for its cluster is not ready.
    let parts: Vec<Part> = (0..threads)
        .map(|number| health.part(&format!("worker-{number}")))
        .collect();
    let listener = match definition.settings.http {
        Some(address) => Some(Listener::open(
            address,
            health.clone(),
            crate::metrics::recorder()?,
        )?),
        None => None,
    };
    let Some(topics) = ready_topics(&definition, cluster, &shutdown)? else {
        health.drain();
        return Ok(Summary::default());
    };
    co_partitioned(&definition, &topics)?;
    let stop = Shutdown::new();
    let (sender, reports) = channel();
    for (number, part) in parts.into_iter().enumerate() {
        let thread = Thread {
            number,
            definition: Arc::clone(&definition),
            stop: stop.clone(),
            part,
        };
        thread.start(cluster.clone(), sender.clone())?;
    }
    let watch = Watch {
        service: definition.name.to_string(),
        threads,
        budget: definition.settings.drain_within + CLOSE_WITHIN,
        reports,
        shutdown,
        stop,
        health,
    };
    let result = watch.run();
    drop(listener);
    result
}

/// One thread of a service.
struct Thread<S> {
    number: usize,
    definition: Arc<Definition<S>>,
    stop: Shutdown,
    part: Part,
}

impl<S: 'static> Thread<S> {
    fn start(self, cluster: Cluster, reports: Sender<Report>) -> Result<(), Error> {
        let name = format!("{}-{}", self.definition.name, self.number);
        let service = self.definition.name.to_string();
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            let mut totals = Totals::default();
            let ended = catch_unwind(AssertUnwindSafe(|| self.work(&cluster, &mut totals)));
            let (member, result) = ended.unwrap_or_else(|panic| {
                let service = self.definition.name.to_string();
                let reason = panic_text(&*panic);
                (None, Err(Error::WorkerPanicked { service, reason }))
            });
            self.part.set_ready(false);
            // Nobody listens any more once the deadline has passed; then nobody waits for the close either.
            let _ = reports.send(Report::Ended(totals, result));
            drop(member);
            let _ = reports.send(Report::Closed);
        });
        spawned.map(drop).map_err(|error| Error::InvalidService {
            service,
            reason: format!("its thread cannot be started: {error}"),
        })
    }

    /// Drives the worker to its end; answers the client that is still to be closed.
    fn work(&self, cluster: &Cluster, totals: &mut Totals) -> (Option<Member>, Result<(), Error>) {
        let member = match Member::open(cluster, self.settings()) {
            Ok(member) => member,
            Err(error) => return (None, Err(error)),
        };
        let clock: Arc<dyn Clock + Send + Sync> = Arc::new(SystemClock::new());
        let mut worker = Worker::new(Arc::clone(&self.definition), member, clock, self.number);
        let mut stopping = false;
        let result = loop {
            if !stopping && self.stop.is_requested() {
                stopping = true;
                worker.stop();
            }
            match worker.step(WAIT) {
                Ok(Progress::Stopped) => break Ok(()),
                Ok(_) => self.part.set_ready(worker.is_ready()),
                Err(error) => break Err(error),
            }
        };
        *totals = worker.totals();
        (Some(worker.into_log()), result)
    }

    fn settings(&self) -> member::Settings {
        let definition = &*self.definition;
        let specs = definition.outputs.iter().map(|output| &output.spec);
        member::Settings {
            group: definition.group.clone(),
            topics: definition.input_names(),
            start: definition.settings.start,
            session_timeout: definition.settings.session_timeout,
            max_bytes_in_flight: definition.settings.max_bytes_in_flight,
            max_message_bytes: specs.filter_map(|spec| spec.max_message_bytes).max(),
        }
    }
}

/// Waits for the threads, and for no longer than the budget once they are to end.
struct Watch {
    service: String,
    threads: usize,
    budget: Duration,
    reports: Receiver<Report>,
    shutdown: Shutdown,
    stop: Shutdown,
    health: Health,
}

impl Watch {
    fn run(self) -> Result<Summary, Error> {
        let clock = SystemClock::new();
        let mut summary = Summary::default();
        let mut failed = None;
        let (mut ended, mut closed) = (0, 0);
        let mut deadline = None;
        while closed < self.threads {
            if deadline.is_none() && (self.shutdown.is_requested() || self.stop.is_requested()) {
                self.health.drain();
                self.stop.request();
                deadline = Some(clock.now().plus(self.budget));
            }
            match self.reports.recv_timeout(Duration::from_millis(50)) {
                Ok(Report::Ended(totals, result)) => {
                    summary.add(totals);
                    if let Err(error) = result {
                        failed.get_or_insert(error);
                    }
                    ended += 1;
                    if ended == self.threads && failed.is_none() {
                        let leave = clock.now().plus(LEAVE_WITHIN);
                        deadline = deadline.map(|deadline: Moment| deadline.min(leave));
                    }
                    // One worker alone never ends but by a failure or when told to: the others are told as well.
                    self.stop.request();
                }
                Ok(Report::Closed) => closed += 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            if deadline.is_some_and(|deadline| clock.now() >= deadline) && closed < self.threads {
                if ended == self.threads && failed.is_none() {
                    tracing::warn!(service = %self.service, "left without a farewell; the group misses the member when its session ends");
                    return Ok(summary);
                }
                return Err(self.stuck(closed, failed));
            }
        }
        failed.map_or(Ok(summary), Err)
    }

    fn stuck(&self, closed: usize, failed: Option<Error>) -> Error {
        if let Some(error) = failed {
            tracing::error!(service = %self.service, error = %error, "service had stopped for this before its client hung");
        }
        let error = Error::Stuck {
            service: self.service.clone(),
            seconds: self.budget.as_secs(),
            waiting: self.threads - closed,
        };
        tracing::error!(service = %self.service, error = %error, "service is stuck");
        error
    }
}
