//! The receiver: a service in a consumer group that logs every message and its latency.
//!
//! Offsets are committed by hand, after the message was handled; several receivers share the partitions. What all
//! partitions of one process have received is counted in one place, so that the figures are the process's own.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use millstream::Clock;
use millstream::http::Health;
use millstream::{
    Cluster, Context, Error, OnError, ProcessError, Record, Service, Shutdown, SystemClock, Topic,
};

use super::records::Message;
use super::statistics::{Latencies, ReceiveStatistics};
use super::topics::{MESSAGES, PARTITIONS};
use crate::{arrival, duration, number, settings};

/// After so long without a sign of life a receiver's partitions go to others.
const SESSION_TIMEOUT: Duration = Duration::from_millis(6000);
/// A receiver has no effects to wait for: what is left at its end is one commit, and a supervisor kills after 8 s.
const DRAIN: Duration = Duration::from_millis(1500);
/// How often it is looked whether statistics are due.
const TICK: Duration = Duration::from_millis(500);

/// Options of the receiver.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Topic. Created with 3 partitions if it does not exist
    #[arg(long, env = "KAFKA_TOPIC", default_value = MESSAGES.name())]
    pub topic: String,
    /// Consumer group. Receivers of one group share the messages
    #[arg(long, env = "CONSUMER_GROUP", default_value = "rust-consumer-group", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub group: String,
    /// Number of receiving threads, each a member of the group
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = number::whole(1..=256_u16))]
    pub threads: u16,
    /// Stops after this many messages
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = number::whole(1..=u64::MAX))]
    pub count: Option<u64>,
    /// How often statistics are logged
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = duration::parse)]
    pub stats_every: Duration,
}

/// The receiver's service as `options` have it; what it has received is counted in `received`.
#[must_use]
pub fn service(options: &Options, received: &Received) -> Service<Received> {
    let received = received.clone();
    Service::new("messages-receive", move || received.clone())
        .group(options.group.clone())
        .input(&topic(options), Received::on_message)
        .every(
            TICK.min(options.stats_every.max(Duration::from_millis(1))),
            Received::on_tick,
        )
        .on_error(OnError::retry(3).then_dead_letter())
        .session_timeout(SESSION_TIMEOUT)
        .drain_within(DRAIN)
        .threads(usize::from(options.threads))
}

fn topic(options: &Options) -> Topic<String, Message> {
    MESSAGES.clone().named(options.topic.clone())
}

/// Receives until `shutdown`, or until `count` messages are received.
///
/// # Errors
/// The topic is not what it should be, or the service cannot go on.
pub fn run(
    options: &Options,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<ReceiveStatistics, Error> {
    let cluster = settings::with_defaults(
        cluster,
        [
            ("enable.auto.commit", "false"),
            ("auto.offset.reset", "earliest"),
        ],
    )?;
    let received = Received::new(options, shutdown.clone());
    if arrival::topic(
        &cluster,
        &topic(options).partitions(PARTITIONS).spec(),
        shutdown,
    )?
    .is_some()
    {
        tracing::info!(
            topic = options.topic,
            group = options.group,
            brokers = cluster.brokers(),
            "receiving"
        );
        service(options, &received)
            .health(health)
            .run(&cluster, shutdown.clone())?;
    }
    let statistics = received.statistics();
    log("received", &statistics);
    Ok(statistics)
}

/// What a process has received, shared by the states of its partitions.
#[derive(Debug, Clone)]
pub struct Received(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    latencies: Mutex<Latencies>,
    clock: SystemClock,
    count: Option<u64>,
    stats_every: Duration,
    shutdown: Shutdown,
}

impl Received {
    /// Nothing yet; `shutdown` is requested when the count of `options` is reached.
    #[must_use]
    pub fn new(options: &Options, shutdown: Shutdown) -> Self {
        let clock = SystemClock::new();
        let latencies = Mutex::new(Latencies::new(clock.now()));
        let (count, stats_every) = (options.count, options.stats_every);
        Self(Arc::new(Shared {
            latencies,
            clock,
            count,
            stats_every,
            shutdown,
        }))
    }

    /// The statistics since the start.
    #[must_use]
    pub fn statistics(&self) -> ReceiveStatistics {
        self.latencies().overall(self.0.clock.now())
    }

    fn on_message(
        &mut self,
        record: Record<String, Message>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        let message = record.value;
        let now = Timestamp::from_millisecond(context.now().millis())?;
        let latency = message.latency(now);
        let mut latencies = self.latencies();
        if self.0.count.is_some_and(|count| latencies.total() >= count) {
            // More than was asked for: kept open, so that it is not committed and the next receiver gets it.
            let _left = context.keep_open();
            return Ok(());
        }
        latencies.add(latency);
        let total = latencies.total();
        drop(latencies);
        tracing::info!(
            counter = message.counter,
            id = %message.id,
            content = message.content,
            latency_ms = format_args!("{:.1}", latency.as_secs_f64() * 1000.0),
            partition = record.position.partition.0,
            total,
            "message received"
        );
        if self.0.count == Some(total) {
            self.0.shutdown.request();
        }
        Ok(())
    }

    fn on_tick(&mut self, _: &mut Context) -> Result<(), ProcessError> {
        let recent = self
            .latencies()
            .take_due(self.0.clock.now(), self.0.stats_every);
        if let Some(statistics) = recent {
            log("receiving", &statistics);
        }
        Ok(())
    }

    fn latencies(&self) -> MutexGuard<'_, Latencies> {
        self.0
            .latencies
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn log(event: &str, statistics: &ReceiveStatistics) {
    tracing::info!(
        message = event,
        total = statistics.total,
        messages_per_second = format_args!("{:.1}", statistics.messages_per_second),
        latency_p50_ms = format_args!("{:.1}", statistics.latency_p50_ms),
        latency_p99_ms = format_args!("{:.1}", statistics.latency_p99_ms),
    );
}
