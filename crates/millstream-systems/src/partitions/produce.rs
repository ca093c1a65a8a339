//! The producer: N threads over one shared producer, a set number of records each, then a summary.
//!
//! Every record is counted by its receipt, with the partition that it landed in; the run is done when all are
//! decided, and has gone well when all were acknowledged.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use metrics::Counter;
use millstream::Clock;
use millstream::http::Health;
use millstream::metrics::{DELIVERIES_FAILED, RECORDS_OUT};
use millstream::{Cluster, Emitter, Error, Position, Shutdown, SystemClock, Topic};
use serde::Serialize;

use super::records::{Generator, Item};
use super::topics::{ITEMS, PARTITIONS};
use crate::{arrival, number, readiness, settings};

/// How often progress is printed.
const PROGRESS: Duration = Duration::from_millis(200);
/// Bytes of a text when no size is given.
const SIZE: u32 = 100;
/// When asked to stop, what is under way gets this long, as long as the cluster acknowledges some of it.
const AFTER_STOP: Duration = Duration::from_secs(3);
/// A cluster that acknowledges nothing for this long is not waited for.
const STEP: Duration = Duration::from_millis(700);

/// Options of the producer.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Topic. Created if it does not exist
    #[arg(long, default_value = ITEMS.name())]
    pub topic: String,
    /// Number of partitions. A topic with another number is refused. Default for a new topic: 6
    #[arg(long, value_name = "NUMBER", value_parser = number::whole(1..=10_000_i32))]
    pub partitions: Option<i32>,
    /// Number of sending threads
    #[arg(long, default_value_t = 4, value_name = "NUMBER", value_parser = number::whole(1..=1024_u32))]
    pub threads: u32,
    /// Records that each thread sends
    #[arg(long, default_value_t = 1000, value_name = "NUMBER", value_parser = number::whole(0..=u64::MAX))]
    pub messages_per_thread: u64,
    /// Kind of records
    #[arg(long, value_enum, default_value_t = Generator::Orders, value_name = "KIND")]
    pub generator: Generator,
    /// Size of each record of the generator `text` [default: 100]
    #[arg(long, value_name = "BYTES", value_parser = number::whole(0..=16_000_000_u32))]
    pub size: Option<u32>,
}

/// How a run went.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The topic.
    pub topic: String,
    /// Records wanted: threads times records per thread.
    pub wanted: u64,
    /// Records acknowledged.
    pub delivered: u64,
    /// Records refused, given up, or not decided when the run was stopped. What was not sent by then is neither.
    pub failed: u64,
    /// Acknowledged records of each thread.
    pub threads: Vec<u64>,
    /// Acknowledged records of each partition.
    pub partitions: BTreeMap<i32, u64>,
    /// The time it took, in seconds: from the first record on, or all of it if the cluster was not reached.
    pub seconds: f64,
    /// Acknowledged records per second.
    pub messages_per_second: f64,
}

impl Summary {
    /// Whether every record that was sent is in the topic.
    #[must_use]
    pub fn is_delivered(&self) -> bool {
        self.failed == 0
    }
}

/// Receipts so far.
#[derive(Debug, Default)]
struct Tally {
    sent: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    partitions: Mutex<BTreeMap<i32, u64>>,
}

/// How `/metrics` shows the same.
#[derive(Debug, Clone)]
struct Meters {
    delivered: Counter,
    failed: Counter,
}

impl Meters {
    fn new(topic: &str) -> Self {
        let counter = |name: &'static str| metrics::counter!(name, "service" => "partitions-produce", "topic" => topic.to_owned());
        Self {
            delivered: counter(RECORDS_OUT),
            failed: counter(DELIVERIES_FAILED),
        }
    }
}

impl Tally {
    fn told(&self, outcome: &Result<Position, Error>, meters: &Meters) {
        match outcome {
            Ok(at) => {
                // Receipts come from one thread; the lock is for the reader at the end.
                let mut partitions = self
                    .partitions
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                *partitions.entry(at.partition.0).or_default() += 1;
                drop(partitions);
                self.delivered.fetch_add(1, Ordering::Relaxed);
                meters.delivered.increment(1);
            }
            Err(error) => {
                meters.failed.increment(1);
                if self.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "record failed; further failures are only counted");
                }
            }
        }
    }
}

/// Sends all records and waits for their outcome; `progress` is called with (decided, wanted) now and then.
///
/// # Errors
/// The cluster refuses the settings or the topic. A record that fails is no error here but a number in the summary.
pub fn run(
    options: &Options,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Summary, Error> {
    let cluster = settings::with_defaults(cluster, [("acks", "all"), ("linger.ms", "5")])?;
    let topic = ITEMS.clone().named(options.topic.clone());
    let spec = topic
        .clone()
        .partitions(options.partitions.unwrap_or(PARTITIONS))
        .spec();
    let wanted = u64::from(options.threads) * options.messages_per_thread;
    let arrived = health.part("cluster");
    let clock = SystemClock::new();
    let started = clock.now();
    let Some(found) = arrival::topic(&cluster, &spec, shutdown)? else {
        return Ok(summary(options, wanted, &[], clock.now().since(started)));
    };
    if let Some(asked) = options.partitions
        && found != asked
    {
        return Err(Error::TopicMismatch {
            topic: options.topic.clone(),
            property: "partitions",
            declared: asked.to_string(),
            actual: found.to_string(),
        });
    }
    arrived.set_ready(true);
    let emitter = Emitter::new(&cluster)?;
    let tallies: Vec<Arc<Tally>> = (0..options.threads).map(|_| Arc::default()).collect();
    let started = clock.now();
    let send = || {
        thread::scope(|scope| {
            let work = |(thread, tally): (u32, &Arc<Tally>)| {
                let (emitter, topic, tally) = (emitter.clone(), &topic, Arc::clone(tally));
                scope.spawn(move || send_all(options, thread, &emitter, topic, &tally, shutdown))
            };
            let threads: Vec<_> = (0..).zip(&tallies).map(work).collect();
            let running = || threads.iter().any(|thread| !thread.is_finished());
            while !shutdown.is_requested() && (running() || emitter.counts().pending() > 0) {
                shutdown.wait(PROGRESS);
                progress(decided(&tallies), wanted);
            }
            close(&emitter, clock);
        })
    };
    readiness::follow(
        &arrived,
        readiness::LOOK_EVERY,
        || emitter.connected(),
        send,
    );
    progress(decided(&tallies), wanted);
    Ok(summary(
        options,
        wanted,
        &tallies,
        clock.now().since(started),
    ))
}

/// Refuses what is not sent yet, also that of threads that wait for room, and waits for what is.
fn close(emitter: &Emitter, clock: SystemClock) {
    let decided = || emitter.counts().delivered + emitter.counts().failed;
    let deadline = clock.now().plus(AFTER_STOP);
    // Failures are in the tallies already; what a stop leaves undecided is missing in the sum of delivered records.
    _ = emitter.clone().close(Duration::ZERO);
    while emitter.counts().pending() > 0 && clock.now() < deadline {
        let before = decided();
        _ = emitter.flush(STEP);
        if decided() == before {
            return;
        }
    }
}

fn send_all(
    options: &Options,
    thread: u32,
    emitter: &Emitter,
    topic: &Topic<String, Item>,
    tally: &Arc<Tally>,
    shutdown: &Shutdown,
) {
    let meters = Meters::new(topic.name());
    let size = usize::try_from(options.size.unwrap_or(SIZE)).unwrap_or(usize::MAX);
    for number in 1..=options.messages_per_thread {
        if shutdown.is_requested() {
            return;
        }
        let item = options.generator.item(thread, number, size);
        let (receiver, told) = (Arc::clone(tally), meters.clone());
        tally.sent.fetch_add(1, Ordering::Relaxed);
        let sent = emitter
            .record(topic, &item.key(), &item)
            .send_then(move |outcome| receiver.told(&outcome, &told));
        if let Err(error) = sent {
            if shutdown.is_requested() {
                tally.sent.fetch_sub(1, Ordering::Relaxed);
                return;
            }
            // Refused at once, so no receipt comes: it is counted here.
            if tally.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                tracing::warn!(thread, number, %error, "record refused; further failures are only counted");
            }
        }
    }
    tracing::info!(
        thread,
        records = options.messages_per_thread,
        "thread has sent its records"
    );
}

fn decided(tallies: &[Arc<Tally>]) -> u64 {
    let of = |tally: &Arc<Tally>| {
        tally.delivered.load(Ordering::Relaxed) + tally.failed.load(Ordering::Relaxed)
    };
    tallies.iter().map(of).sum()
}

fn summary(options: &Options, wanted: u64, tallies: &[Arc<Tally>], took: Duration) -> Summary {
    let mut partitions = BTreeMap::new();
    for tally in tallies {
        let of_thread = tally
            .partitions
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for (partition, records) in of_thread.iter() {
            *partitions.entry(*partition).or_default() += records;
        }
    }
    let threads: Vec<u64> = tallies
        .iter()
        .map(|tally| tally.delivered.load(Ordering::Relaxed))
        .collect();
    let delivered = threads.iter().sum();
    let sent: u64 = tallies
        .iter()
        .map(|tally| tally.sent.load(Ordering::Relaxed))
        .sum();
    let seconds = took.as_secs_f64();
    Summary {
        topic: options.topic.clone(),
        wanted,
        delivered,
        failed: sent - delivered,
        threads,
        partitions,
        seconds,
        messages_per_second: if seconds > 0.0 {
            delivered as f64 / seconds
        } else {
            0.0
        },
    }
}
