//! The consumer: logs every answer, compares it with the exact value where one is known, and stores it.
//!
//! Progress records are counted and passed over; an answer is done when it stands in the file. What all partitions of one process
//! have seen is counted in one place.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use millstream::http::Health;
use millstream::{
    Clock, Cluster, Context, Moment, OnError, ProcessError, Record, Service, Shutdown, SystemClock,
};
use serde::Serialize;

use super::arrival;
use super::records::Outcome;
use super::store::Store;
use super::topics::{PREFIX, Topics};
use crate::{Error, duration, number};

const TICK: Duration = Duration::from_millis(500);
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const DRAIN: Duration = Duration::from_millis(1500);

/// Options of the consumer.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Prefix of the topic names
    #[arg(long, default_value = PREFIX)]
    pub prefix: String,
    /// File for the answers: CSV if its name ends in .csv, else JSON Lines
    #[arg(long, value_name = "FILE")]
    pub store: Option<PathBuf>,
    /// Stops after this many answers
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = number::whole(1..=u64::MAX))]
    pub count: Option<u64>,
    /// How often statistics are logged
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = duration::parse)]
    pub stats_every: Duration,
}

/// What was received.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Answers.
    pub answers: u64,
    /// Those that are converged.
    pub converged: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those whose exact value is known.
    pub compared: u64,
    /// Those of them whose 95 % interval holds it.
    pub within_interval: u64,
    /// Those of them that are converged and further off than three half-widths.
    pub far_off: u64,
    /// Answers that were stored.
    pub stored: u64,
    /// Samples of all answers.
    pub samples: u64,
}

/// What a process has received, shared by the states of its partitions.
#[derive(Debug, Clone)]
pub struct Received(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
    clock: SystemClock,
    count: Option<u64>,
    stats_every: Duration,
    shutdown: Shutdown,
}

#[derive(Debug, Default)]
struct Book {
    summary: Summary,
    store: Option<Store>,
    told: Moment,
}

/// The consumer's service; what it has received is counted in `received`.
#[must_use]
pub fn service(options: &Options, received: &Received) -> Service<Received> {
    let topics = Topics::new(&options.prefix);
    let received = received.clone();
    Service::new("montecarlo-consumer", move || received.clone())
        .group(topics.group("results"))
        .input(&topics.results, Received::on_outcome)
        .every(TICK, Received::on_tick)
        .on_error(OnError::retry(3).then_stop())
        .session_timeout(SESSION_TIMEOUT)
        .drain_within(DRAIN)
}

/// Receives until `shutdown`, or until `count` answers have come.
///
/// # Errors
/// The file cannot be opened, the topics are not what they should be, or the service cannot go on.
pub fn run(
    options: &Options,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<Summary, Error> {
    let received = Received::new(options, shutdown.clone())?;
    if arrival::arrive(&Topics::new(&options.prefix), cluster, shutdown)?.is_some() {
        tracing::info!(
            brokers = cluster.brokers(),
            store = options
                .store
                .as_deref()
                .map(|path| path.display().to_string()),
            "receiving answers"
        );
        service(options, &received)
            .health(health)
            .run(cluster, shutdown.clone())?;
    }
    let summary = received.summary();
    log("received answers", &summary);
    Ok(summary)
}

impl Received {
    /// Nothing yet; `shutdown` is requested when the count of `options` is reached.
    ///
    /// # Errors
    /// The file of `options` cannot be opened.
    pub fn new(options: &Options, shutdown: Shutdown) -> Result<Self, Error> {
        let open = |path: &PathBuf| {
            Store::open(path).map_err(|source| Error::File {
                path: path.clone(),
                source,
            })
        };
        let clock = SystemClock::new();
        let book = Book {
            store: options.store.as_ref().map(open).transpose()?,
            told: clock.now(),
            ..Book::default()
        };
        Ok(Self(Arc::new(Shared {
            book: Mutex::new(book),
            clock,
            count: options.count,
            stats_every: options.stats_every,
            shutdown,
        })))
    }

    /// The figures since the start.
    #[must_use]
    pub fn summary(&self) -> Summary {
        self.book().summary
    }

    fn on_outcome(
        &mut self,
        record: Record<String, Outcome>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        let (job, outcome) = (record.key, record.value);
        if !outcome.is_last() {
            return Ok(());
        }
        let mut book = self.book();
        if self
            .0
            .count
            .is_some_and(|count| book.summary.answers >= count)
        {
            // More than was asked for: kept open, so that it is not committed and the next consumer gets it.
            let _left = context.keep_open();
            return Ok(());
        }
        let deviation = outcome.deviation();
        if let Some(store) = &mut book.store {
            let stored = store.add(&job, &outcome.with_deviation()?)?;
            book.summary.stored += u64::from(stored);
        }
        book.count(&outcome, deviation);
        let total = book.summary.answers;
        drop(book);
        tracing::info!(
            job,
            name = outcome.text("name"),
            status = outcome.status_word(),
            value = outcome.text("value"),
            standard_error = outcome.text("standard_error"),
            exact = outcome.text("exact"),
            deviation = deviation.map(|deviation| format!("{deviation:.2}")),
            samples = outcome.answer.samples,
            method = outcome.text("method"),
            seconds = format_args!("{:.3}", outcome.answer.seconds),
            warnings = outcome.answer.warnings.len(),
            "answer received"
        );
        if self.0.count == Some(total) {
            self.0.shutdown.request();
        }
        Ok(())
    }

    fn on_tick(&mut self, _: &mut Context) -> Result<(), ProcessError> {
        let mut book = self.book();
        let now = self.0.clock.now();
        if now.since(book.told) >= self.0.stats_every {
            book.told = now;
            let summary = book.summary;
            drop(book);
            if summary.answers > 0 {
                log("receiving answers", &summary);
            }
        }
        Ok(())
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn count(&mut self, outcome: &Outcome, deviation: Option<f64>) {
        let summary = &mut self.summary;
        summary.answers += 1;
        summary.converged += u64::from(outcome.is_converged());
        summary.failed += u64::from(outcome.is_failed());
        summary.samples += outcome.answer.samples;
        if let Some(deviation) = deviation {
            summary.compared += 1;
            summary.within_interval += u64::from(deviation <= 1.0);
            summary.far_off += u64::from(outcome.is_converged() && deviation > 3.0);
        }
    }
}

fn log(event: &str, summary: &Summary) {
    tracing::info!(
        message = event,
        answers = summary.answers,
        converged = summary.converged,
        failed = summary.failed,
        compared = summary.compared,
        within_interval = summary.within_interval,
        far_off = summary.far_off,
        stored = summary.stored,
    );
}
