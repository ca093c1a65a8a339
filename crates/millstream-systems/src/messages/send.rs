//! The sender: a message each `interval`, every outcome counted, statistics now and then.
//!
//! A message is counted once, by its delivery report: acknowledged by all replicas, or given up after
//! `message-timeout-ms`. The pace is kept against the clock: a slow moment is caught up, and an interval of zero
//! sends as fast as the cluster takes it.

use std::time::Duration;

use jiff::Timestamp;
use metrics::Counter;
use millstream::Clock;
use millstream::http::Health;
use millstream::metrics::{DELIVERIES_FAILED, RECORDS_OUT};
use millstream::{Cluster, Emitter, Error, Headers, Moment, Position, Shutdown, SystemClock};

use super::records::Message;
use super::statistics::{Deliveries, SendStatistics};
use super::topics::{MESSAGES, PARTITIONS};
use crate::{arrival, duration, number, readiness, settings};

/// After the last message its outcome is waited for this much longer than a message may take.
const AFTER_TIMEOUT: Duration = Duration::from_secs(3);
/// So many refusals in a row are no accident: a new process has to try.
const REFUSALS: u32 = 10;
/// When asked to stop there is less time: a supervisor kills after 8 s.
const AFTER_STOP: Duration = Duration::from_secs(3);

/// Options of the sender.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Topic. Created with 3 partitions if it does not exist
    #[arg(long, env = "KAFKA_TOPIC", default_value = MESSAGES.name())]
    pub topic: String,
    /// Milliseconds between two messages. 0 sends as fast as possible
    #[arg(
        long,
        env = "SEND_INTERVAL_MS",
        default_value_t = 100,
        value_name = "MS",
        value_parser = number::whole(0..=u64::MAX)
    )]
    pub interval_ms: u64,
    /// A message not acknowledged within this many milliseconds has failed
    #[arg(long, env = "MESSAGE_TIMEOUT_MS", default_value_t = 5000, value_name = "MS", value_parser = number::whole(1..=u64::MAX))]
    pub message_timeout_ms: u64,
    /// Name of this sender: its client id, and the header `producer` of its messages
    #[arg(
        long,
        env = "PRODUCER_ID",
        default_value = "rust-sender",
        value_name = "NAME"
    )]
    pub producer_id: String,
    /// Stops after this many messages
    #[arg(long, short = 'n', value_name = "NUMBER", value_parser = number::whole(0..=u64::MAX))]
    pub count: Option<u64>,
    /// How often statistics are logged
    #[arg(long, default_value = "5s", value_name = "TIME", value_parser = duration::parse)]
    pub stats_every: Duration,
}

/// Sends until `shutdown`, or until `count` messages are sent and decided.
///
/// # Errors
/// The cluster refuses the settings or the topic. A message that fails is no error here but a number in the answer.
pub fn run(
    options: &Options,
    cluster: &Cluster,
    shutdown: &Shutdown,
    health: &Health,
) -> Result<SendStatistics, Error> {
    let clock = SystemClock::new();
    let arrived = health.part("cluster");
    let timeout = options.message_timeout_ms.to_string();
    let cluster = settings::with_defaults(
        cluster,
        [
            ("acks", "all"),
            ("retries", "3"),
            ("message.timeout.ms", &timeout),
            ("client.id", &options.producer_id),
            // At a pace there is nothing to wait for; at full speed batches pay.
            (
                "linger.ms",
                if options.interval_ms == 0 { "5" } else { "0" },
            ),
        ],
    )?;
    let topic = MESSAGES.clone().named(options.topic.clone());
    if arrival::topic(
        &cluster,
        &topic.clone().partitions(PARTITIONS).spec(),
        shutdown,
    )?
    .is_none()
    {
        return Ok(SendStatistics::new(
            Deliveries::default(),
            0,
            Duration::ZERO,
        ));
    }
    arrived.set_ready(true);
    let counter = |name: &'static str| metrics::counter!(name, "service" => "messages-send", "topic" => options.topic.clone());
    let sender = Sender {
        delivered: counter(RECORDS_OUT),
        failed: counter(DELIVERIES_FAILED),
        emitter: Emitter::new(&cluster)?,
        headers: Headers::new().with("producer", options.producer_id.as_str()),
        topic,
        started: clock.now(),
        clock,
        refused: 0,
        in_a_row: 0,
    };
    tracing::info!(
        topic = options.topic,
        brokers = cluster.brokers(),
        interval_ms = options.interval_ms,
        "sending"
    );
    let emitter = sender.emitter.clone();
    let statistics = readiness::follow(
        &arrived,
        readiness::LOOK_EVERY,
        || emitter.connected(),
        || sender.run(options, shutdown),
    );
    health.drain();
    statistics
}

struct Sender {
    emitter: Emitter,
    headers: Headers,
    topic: millstream::Topic<String, Message>,
    clock: SystemClock,
    started: Moment,
    delivered: Counter,
    failed: Counter,
    /// Messages that were refused before they were sent, the last of them in a row.
    refused: u64,
    in_a_row: u32,
}

impl Sender {
    fn run(mut self, options: &Options, shutdown: &Shutdown) -> Result<SendStatistics, Error> {
        let interval = Duration::from_millis(options.interval_ms);
        let mut reports = Reports {
            every: options.stats_every,
            at: self.started,
            delivered: 0,
        };
        let mut next = self.started;
        let mut counter = 0;
        while options.count.is_none_or(|count| counter < count) && !shutdown.is_requested() {
            let pause = next.since(self.clock.now());
            if !pause.is_zero() && shutdown.wait(pause) {
                break;
            }
            counter += 1;
            self.send(counter)?;
            next = next.plus(interval);
            reports.maybe(&self, false);
        }
        let patience = if shutdown.is_requested() {
            AFTER_STOP
        } else {
            Duration::from_millis(options.message_timeout_ms) + AFTER_TIMEOUT
        };
        // The failures that a flush tells of are already counted, each by its own receipt.
        _ = self.emitter.flush(patience);
        let mut outcomes = self.outcomes();
        let pending = counter - outcomes.known();
        if pending > 0 {
            tracing::error!(
                messages = pending,
                "stopped before the outcome of some messages was known"
            );
            outcomes.failed += pending;
        }
        let statistics = SendStatistics::new(
            outcomes,
            outcomes.delivered,
            self.clock.now().since(self.started),
        );
        log("sent", &statistics);
        // All that could be waited for was: dropping the emitter would wait again.
        _ = self.emitter.close(Duration::ZERO);
        Ok(statistics)
    }

    /// Hands one message over; an error when none is taken any more, as after a fatal error of the client.
    fn send(&mut self, counter: u64) -> Result<(), Error> {
        let now = Timestamp::from_millisecond(self.clock.wall().millis()).unwrap_or_default();
        let message = Message::new(counter, now);
        let key = message.id.to_string();
        let (delivered, failed) = (self.delivered.clone(), self.failed.clone());
        let draft = self
            .emitter
            .record(&self.topic, &key, &message)
            .headers(&self.headers);
        let sent = draft.send_then(move |outcome| told(counter, &outcome, &delivered, &failed));
        let Err(error) = sent else {
            self.in_a_row = 0;
            return Ok(());
        };
        self.refused += 1;
        self.in_a_row += 1;
        tracing::warn!(counter, %error, "message refused");
        if self.in_a_row < REFUSALS {
            Ok(())
        } else {
            Err(error)
        }
    }

    fn outcomes(&self) -> Deliveries {
        let counts = self.emitter.counts();
        Deliveries {
            delivered: counts.delivered,
            failed: counts.failed + self.refused,
        }
    }
}

fn told(counter: u64, outcome: &Result<Position, Error>, delivered: &Counter, failed: &Counter) {
    match outcome {
        Ok(_) => delivered.increment(1),
        Err(_) => failed.increment(1),
    }
    match outcome {
        Ok(at) => tracing::debug!(
            counter,
            partition = at.partition.0,
            offset = at.offset.get(),
            "message delivered"
        ),
        Err(error) => tracing::warn!(counter, %error, "message failed"),
    }
}

/// When statistics were last logged, and what was delivered by then.
struct Reports {
    every: Duration,
    at: Moment,
    delivered: u64,
}

impl Reports {
    fn maybe(&mut self, sender: &Sender, now: bool) {
        let elapsed = sender.clock.now().since(self.at);
        if elapsed < self.every && !now {
            return;
        }
        let outcomes = sender.outcomes();
        log(
            "sending",
            &SendStatistics::new(outcomes, outcomes.delivered - self.delivered, elapsed),
        );
        self.at = self.at.plus(elapsed);
        self.delivered = outcomes.delivered;
    }
}

fn log(event: &str, statistics: &SendStatistics) {
    tracing::info!(
        message = event,
        delivered = statistics.delivered,
        failed = statistics.failed,
        failure_rate = format_args!("{:.4}", statistics.failure_rate),
        messages_per_second = format_args!("{:.1}", statistics.messages_per_second),
    );
}
