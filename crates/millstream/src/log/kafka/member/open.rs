//! How a member's two clients are configured, and why.
//!
//! `defaults` give way to the user's own properties; `forced` do not, because the worker depends on them: it decides
//! itself what is committed, and when.

use std::sync::mpsc::Sender;

use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::BaseProducer;

use super::super::config::{Role, client_config, kafka_error};
use super::Settings;
use super::deliveries::Deliveries;
use super::signals::{Signal, Signals};
use crate::config::Cluster;
use crate::error::Error;
use crate::limits::{LARGEST_REQUEST, Limits};
use crate::policy::Start;

/// The most that the client allows as the size of a record: what a topic takes is for the topic to decide. Its limit is of what
/// travels, and the records of a compressed batch may be many times as large.
const LARGEST: &str = "1000000000";

/// What a record may take that is not compressed: no broker takes a larger request by default, and one that is larger than a
/// request closes the connection each time it is sent.
pub(super) fn largest_record(cluster: &Cluster, limits: &Limits) -> usize {
    let mut properties = cluster.raw_properties();
    let is_compressed = properties.any(|(name, value)| {
        matches!(name, "compression.type" | "compression.codec") && value != "none"
    });
    if is_compressed {
        return usize::MAX;
    }
    let taken = limits.largest_batch.unwrap_or(0);
    usize::try_from(taken.max(LARGEST_REQUEST)).unwrap_or(usize::MAX)
}

/// The client's own size of a batch.
const BATCH: u32 = 1_000_000;

/// The consumer; it joins no group before it subscribes.
pub(super) fn consumer(
    cluster: &Cluster,
    settings: &Settings,
    events: Sender<Signal>,
) -> Result<BaseConsumer<Signals>, Error> {
    // One input: members keep what they have while others come and go. Several inputs: partitions of equal number must
    // come to the same member, which of librdkafka's assignors only `range` promises.
    let assignor = if settings.topics.len() == 1 {
        "cooperative-sticky"
    } else {
        "range"
    };
    let chosen = cluster
        .raw_properties()
        .find(|(name, _)| *name == "partition.assignment.strategy");
    if assignor == "range" && chosen.is_some_and(|(_, chosen)| chosen != assignor) {
        return Err(Error::InvalidProperty {
            name: "partition.assignment.strategy".to_owned(),
            reason: "a service with several inputs needs `range`: no other one keeps equal partitions together".to_owned(),
        });
    }
    let session = settings.session_timeout.as_millis().to_string();
    let heartbeat = (settings.session_timeout / 15)
        .as_millis()
        .clamp(100, 3_000)
        .to_string();
    let reset = match settings.start {
        Start::Earliest => "earliest",
        Start::Latest => "latest",
        Start::Fail => "error",
    };
    let defaults = [
        ("partition.assignment.strategy", assignor),
        ("session.timeout.ms", &session),
        ("heartbeat.interval.ms", &heartbeat),
        ("fetch.queue.backoff.ms", "5"),
        ("queued.max.messages.kbytes", "16384"),
        ("check.crcs", "true"),
        ("statistics.interval.ms", "1000"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ];
    let mut forced = vec![
        ("group.id", settings.group.as_str()),
        ("auto.offset.reset", reset),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "false"),
    ];
    if let Some(instance) = &settings.instance {
        forced.push(("group.instance.id", instance));
    }
    let signals = Signals::new(cluster.clone(), events);
    client_config(cluster, Role::Consumer, &defaults, &forced)
        .create_with_context(signals)
        .map_err(|error| kafka_error(cluster, "make a consumer", &error))
}

/// The producer.
pub(super) fn producer(
    cluster: &Cluster,
    settings: &Settings,
) -> Result<BaseProducer<Deliveries>, Error> {
    let batch = settings
        .limits
        .largest_batch
        .filter(|bytes| *bytes < BATCH)
        .map(|bytes| bytes.to_string());
    let mut defaults = vec![
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("linger.ms", "5"),
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.messages", "1000000"),
        ("message.max.bytes", LARGEST),
    ];
    // A batch that one topic would refuse is not made: a record that is too large is then alone in its own.
    if let Some(bytes) = &batch {
        defaults.push(("batch.size", bytes));
    }
    let deliveries = Deliveries {
        cluster: cluster.clone(),
    };
    client_config(cluster, Role::Producer, &defaults, &[])
        .create_with_context(deliveries)
        .map_err(|error| kafka_error(cluster, "make a producer", &error))
}
