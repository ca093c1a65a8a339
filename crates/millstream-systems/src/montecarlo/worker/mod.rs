//! The worker: takes tasks in a consumer group, computes them on all cores, and tells what came out.
//!
//! A task is computed inside the handler, and none takes longer than a second: the poll loop is never held for long. A task
//! that fails is tried again here; one that kills its process was reported before it was begun, so that the coordinator can
//! count. Poison goes to the dead letters of the tasks, and its job ends with the reason. A worker that computes another
//! version of the numbers refuses the task and leaves it to others.

mod ended;
mod evaluator;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use millstream::http::Health;
use millstream::{
    Cluster, Context, Emitter, Error, OnError, Partition, ProcessError, Record, Service, Shutdown,
};
use millstream_montecarlo::{NUMERICS, Registry};

pub use self::ended::Ended;
pub use self::evaluator::Evaluator;
use super::topics::{PREFIX, Topics};
use super::wire::{By, Event, Task, What};
use super::{arrival, metrics};
use crate::{number, settings};

/// How often a task is tried in one process before it is taken for poison.
const TRIES: u32 = 3;
/// After a partition came here, so many of its tasks are reported before they are begun: if one of them killed its last
/// worker, it is among the first.
const WARY: u32 = 16;
/// Tasks done and not committed are done again after a crash.
const COMMIT: Duration = Duration::from_millis(100);
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const DRAIN: Duration = Duration::from_millis(1500);

/// Options of the worker.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Prefix of the topic names
    #[arg(long, default_value = PREFIX)]
    pub prefix: String,
    /// Number of computing threads [default: one per core]
    #[arg(long, value_name = "NUMBER", value_parser = number::whole(1..=1024_u16))]
    pub threads: Option<u16>,
}

/// Tells the coordinator of something at once, before the handler is done.
pub type Tell = dyn Fn(&Task, What) -> Result<(), Error> + Send + Sync;

/// What all partitions of a process share.
pub struct Shared {
    topics: Topics,
    evaluator: Evaluator,
    ended: Ended,
    tell: Box<Tell>,
    worker: u64,
    numerics: u32,
}

impl Shared {
    /// A worker's means; `worker` tells its process from others.
    #[must_use]
    pub fn new(
        topics: Topics,
        evaluator: Evaluator,
        ended: Ended,
        tell: Box<Tell>,
        worker: u64,
    ) -> Self {
        Self {
            topics,
            evaluator,
            ended,
            tell,
            worker,
            numerics: NUMERICS,
        }
    }

    /// The same as if it computed another version of the numbers.
    #[must_use]
    pub fn of_numerics(mut self, numerics: u32) -> Self {
        self.numerics = numerics;
        self
    }
}

/// What one partition knows: how many tasks it has seen here.
pub struct Worker {
    shared: Arc<Shared>,
    seen: u32,
}

/// The worker's service.
#[must_use]
pub fn service(shared: Shared) -> Service<Worker> {
    let shared = Arc::new(shared);
    let (tasks, partials) = (shared.topics.tasks.clone(), shared.topics.partials.clone());
    let group = shared.topics.group("workers");
    let init = move || Worker {
        shared: Arc::clone(&shared),
        seen: 0,
    };
    Service::new("montecarlo-worker", init)
        .group(group)
        .input(&tasks, Worker::on_task)
        .output(&partials)
        .on_error(
            OnError::retry(TRIES - 1)
                .backoff(Duration::from_millis(20), Duration::from_millis(100))
                .then_dead_letter()
                .dead_letter_limit(0.5),
        )
        .commit_every(COMMIT)
        .session_timeout(SESSION_TIMEOUT)
        .drain_within(DRAIN)
}

/// The service as it would run with these options, to be described.
///
/// # Errors
/// The threads cannot be started.
pub fn explained(options: &Options) -> Result<Service<Worker>, crate::Error> {
    let evaluator = Evaluator::new(Registry::default(), Some(1))?;
    let topics = Topics::new(&options.prefix);
    let shared = Shared::new(
        topics,
        evaluator,
        Ended::default(),
        Box::new(|_, _| Ok(())),
        0,
    );
    Ok(service(shared))
}

/// Works until `shutdown`.
///
/// # Errors
/// The topics are not what they should be, or the service cannot go on.
pub fn run(
    options: &Options,
    functions: Registry,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<(), crate::Error> {
    metrics::describe_worker();
    let topics = Topics::new(&options.prefix);
    let cluster = settings::with_defaults(cluster, [("linger.ms", "0")])?;
    if arrival::arrive(&topics, &cluster, shutdown)?.is_none() {
        return Ok(());
    }
    let evaluator = Evaluator::new(functions, options.threads)?;
    let ended = Ended::default();
    let listening = ended.listen(&topics, &cluster, shutdown)?;
    let emitter = Emitter::new(&cluster)?;
    let (told, partials) = (emitter.clone(), topics.partials.clone());
    let tell = move |task: &Task, what: What| {
        let ticket = task.ticket;
        let event = Event { ticket, what };
        told.record(&partials, &key(task), &event)
            .partition(Partition(ticket.partition))
            .send_and_wait()
            .map(drop)
    };
    tracing::info!(
        threads = evaluator.threads(),
        numerics = NUMERICS,
        brokers = cluster.brokers(),
        "working"
    );
    let worker = uuid::Uuid::new_v4().as_u64_pair().0;
    let shared = Shared::new(topics, evaluator, ended, Box::new(tell), worker);
    let outcome = service(shared)
        .health(health)
        .run(&cluster, shutdown.clone());
    // The listener must not wait for a signal when the service has ended by itself.
    shutdown.request();
    _ = listening.join();
    outcome?;
    Ok(())
}

/// The key of what is reported about a task: its job's place.
fn key(task: &Task) -> String {
    format!("{}-{}", task.ticket.partition, task.ticket.offset)
}

impl Worker {
    fn on_task(
        &mut self,
        record: Record<String, Task>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        let (task, shared) = (&record.value, Arc::clone(&self.shared));
        let by = By {
            worker: shared.worker,
            partition: record.position.partition.0,
        };
        match shared.ended.find(task.ticket) {
            None => {}
            Some(None) => return Ok(()),
            Some(Some(reason)) => return Err(ProcessError::new(reason).permanent()),
        }
        if task.numerics != shared.numerics {
            metrics::refused();
            tracing::warn!(
                numerics = shared.numerics,
                wanted = task.numerics,
                "task refused: it is of another version of the numbers"
            );
            let what = What::Refused {
                step: task.step,
                chunk: task.work.chunk(),
                numerics: shared.numerics,
                by,
            };
            return self.emit(task, what, context);
        }
        if self.seen < WARY {
            self.seen += 1;
            let (step, chunk) = (task.step, task.work.chunk());
            (shared.tell)(task, What::Began { step, chunk })?;
        }
        match catch_unwind(AssertUnwindSafe(|| shared.evaluator.work(task, by))) {
            Ok(Ok(what)) => self.emit(task, what, context),
            Ok(Err(error)) => self.failed(task, error.to_string(), true, context),
            Err(panic) => {
                let text = panic_text(&*panic);
                self.failed(
                    task,
                    format!("the integrand panicked: {text}"),
                    false,
                    context,
                )
            }
        }
    }

    /// An error of the mathematics is the same however often it is asked for; a panic may not be.
    fn failed(
        &self,
        task: &Task,
        reason: String,
        certain: bool,
        context: &Context,
    ) -> Result<(), ProcessError> {
        if !certain && context.attempt() < TRIES {
            return Err(ProcessError::new(reason));
        }
        let what = What::Failed {
            step: task.step,
            reason: reason.clone(),
        };
        (self.shared.tell)(task, what)?;
        Err(ProcessError::new(reason).permanent())
    }

    fn emit(&self, task: &Task, what: What, context: &mut Context) -> Result<(), ProcessError> {
        let ticket = task.ticket;
        let event = Event { ticket, what };
        let record = context.record(&self.shared.topics.partials, &key(task), &event);
        record.partition(Partition(ticket.partition)).emit()
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}
