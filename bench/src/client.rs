//! The client of the benchmarks: librdkafka with the settings that decide its speed, the same for every broker.
//!
//! Produces and consumes as fast as one process can, and makes and removes the topics of a run. The
//! settings are those of `docs/performance.md`; what is not named there is librdkafka's default.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{ClientContext, DefaultClientContext};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use crate::clock::{Clock, pause};

/// What every client of a run has: safe as Kafka's own defaults are, nothing compressed.
const SETTINGS: [(&str, &str); 4] = [
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("compression.type", "none"),
    // As the Java clients and the library: whoever spreads a batch over all partitions pays for more requests.
    ("partitioner", "murmur2_random"),
];
/// How long a whole step may take before the run gives up.
const GIVE_UP: Duration = Duration::from_secs(120);

/// How to reach `brokers`; `ssl://` before the address stands for TLS with whatever certificate there is.
fn config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    match brokers.strip_prefix("ssl://") {
        None => config.set("bootstrap.servers", brokers),
        Some(address) => config
            .set("bootstrap.servers", address)
            .set("security.protocol", "ssl")
            .set("enable.ssl.certificate.verification", "false"),
    };
    config
}

/// A configuration for a producer that waits up to `linger` for a batch to fill.
pub(crate) fn producer_config(brokers: &str, linger: Duration) -> ClientConfig {
    let mut config = config(brokers);
    for (name, value) in SETTINGS {
        config.set(name, value);
    }
    config.set("linger.ms", linger.as_millis().to_string());
    config
}

/// A configuration for a consumer; `group` only matters when it subscribes.
pub(crate) fn consumer_config(brokers: &str, group: &str) -> ClientConfig {
    let mut config = config(brokers);
    for (name, value) in [
        ("group.id", group),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("auto.offset.reset", "earliest"),
        // By default a full queue stops fetching for a whole second.
        ("fetch.queue.backoff.ms", "5"),
        ("check.crcs", "true"),
        ("queued.max.messages.kbytes", "32768"),
    ] {
        config.set(name, value);
    }
    config
}

/// Counts delivery reports; the first failure is kept.
#[derive(Default)]
pub(crate) struct Deliveries {
    failed: AtomicU64,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// A producer that counts what failed.
pub(crate) struct Sender {
    producer: BaseProducer<Deliveries>,
    context: Arc<Deliveries>,
}

impl Sender {
    /// A producer on `brokers`.
    pub(crate) fn new(brokers: &str, linger: Duration) -> Result<Self> {
        let producer: BaseProducer<Deliveries> =
            producer_config(brokers, linger).create_with_context(Deliveries::default())?;
        let context = Arc::clone(producer.context());
        Ok(Self { producer, context })
    }

    /// Hands one record to librdkafka, waiting while its queue is full.
    pub(crate) fn send(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: &[u8],
    ) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
        record.partition = partition;
        record.key = key;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.serve(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error).context("failed to send"),
            }
        }
    }

    /// Serves delivery reports.
    pub(crate) fn serve(&self, wait: Duration) {
        self.producer.poll(wait);
    }

    /// Waits until everything is delivered; an error when something was not.
    pub(crate) fn drain(&self) -> Result<()> {
        let clock = Clock::new();
        while self.producer.in_flight_count() > 0 {
            self.serve(Duration::from_millis(5));
            ensure!(
                clock.now() < GIVE_UP,
                "{} records are still not delivered",
                self.producer.in_flight_count()
            );
        }
        self.check()
    }

    /// The same with the client's own `flush`, as the tutorials have it.
    pub(crate) fn flush(&self) -> Result<()> {
        self.producer.flush(GIVE_UP).context("failed to flush")?;
        self.check()
    }

    fn check(&self) -> Result<()> {
        match self.context.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => bail!("{failed} records were not delivered"),
        }
    }
}

/// Sends `count` values of 100 bytes over all partitions; the time from the first to the last delivery report.
pub(crate) fn produce(brokers: &str, topic: &str, partitions: i32, count: u64) -> Result<Duration> {
    produce_of(brokers, topic, partitions, (count, 100))
}

/// The same with values of any size, in bytes.
pub(crate) fn produce_of(
    brokers: &str,
    topic: &str,
    partitions: i32,
    (count, bytes): (u64, usize),
) -> Result<Duration> {
    let sender = Sender::new(brokers, Duration::from_millis(5))?;
    let mut value: Vec<u8> = (0..bytes).map(|_| fastrand::u8(..)).collect();
    // The first answer of the cluster is not part of what is measured.
    sender.send(topic, Some(0), None, &value)?;
    sender.drain()?;
    let clock = Clock::new();
    let mut partition = 0;
    for number in 1..count {
        for (byte, new) in value.iter_mut().zip(number.to_le_bytes()) {
            *byte = new;
        }
        partition = if partition + 1 < partitions {
            partition + 1
        } else {
            0
        };
        sender.send(topic, Some(partition), None, &value)?;
        if number % 1024 == 0 {
            sender.serve(Duration::ZERO);
        }
    }
    sender.drain()?;
    Ok(clock.now())
}

/// Reads `count` records from the start of all partitions; the time from the request to the last record.
pub(crate) fn consume(brokers: &str, topic: &str, partitions: i32, count: u64) -> Result<Duration> {
    consume_of(brokers, topic, partitions, (count, 100))
}

/// The same with values of any size, in bytes.
pub(crate) fn consume_of(
    brokers: &str,
    topic: &str,
    partitions: i32,
    (count, size): (u64, usize),
) -> Result<Duration> {
    let consumer: BaseConsumer = consumer_config(brokers, "unused").create()?;
    // Connects, so that this is not part of what is measured.
    ends(&consumer, topic, partitions)?;
    let mut from = TopicPartitionList::new();
    for partition in 0..partitions {
        from.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    let clock = Clock::new();
    consumer.assign(&from)?;
    let (mut seen, mut bytes) = (0, 0);
    while seen < count {
        match consumer.poll(Duration::from_millis(100)) {
            Some(message) => {
                bytes += message?.payload_len();
                seen += 1;
            }
            None => ensure!(clock.now() < GIVE_UP, "only {seen} of {count} records came"),
        }
    }
    let took = clock.now();
    ensure!(
        bytes as u64 == count * size as u64,
        "{bytes} bytes came, expected {count} records of {size}"
    );
    Ok(took)
}

/// The ends of all partitions of `topic`.
pub(crate) fn ends(consumer: &BaseConsumer, topic: &str, partitions: i32) -> Result<Vec<i64>> {
    (0..partitions)
        .map(|partition| {
            let (_, end) = consumer
                .fetch_watermarks(topic, partition, Duration::from_secs(10))
                .with_context(|| format!("failed to read the end of {topic}[{partition}]"))?;
            Ok(end)
        })
        .collect()
}

/// Makes and removes topics.
pub(crate) struct Topics {
    admin: AdminClient<DefaultClientContext>,
    runtime: tokio::runtime::Runtime,
    made: std::cell::Cell<u32>,
}

impl Topics {
    /// On `brokers`.
    pub(crate) fn new(brokers: &str) -> Result<Self> {
        let admin = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .create()?;
        let runtime = tokio::runtime::Builder::new_current_thread().build()?;
        Ok(Self {
            admin,
            runtime,
            made: std::cell::Cell::new(0),
        })
    }

    /// A new topic whose name begins with `stem`; returns when the brokers know it.
    pub(crate) fn create(&self, stem: &str, partitions: i32) -> Result<String> {
        Ok(self.create_with(stem, partitions, &[])?.0)
    }

    /// The same with configs; and how long the brokers took to answer.
    pub(crate) fn create_with(
        &self,
        stem: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> Result<(String, Duration)> {
        self.made.set(self.made.get() + 1);
        let name = format!("{stem}-{}-{}", std::process::id(), self.made.get());
        let mut topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        // Connects, so that this is not part of what is measured.
        self.admin.inner().fetch_metadata(None, GIVE_UP)?;
        let clock = Clock::new();
        let answers = self
            .runtime
            .block_on(self.admin.create_topics([&topic], &options()))?;
        let took = clock.now();
        for answer in answers {
            answer.map_err(|(name, code)| anyhow::anyhow!("failed to create {name}: {code}"))?;
        }
        while !self.is_led(&name, partitions) {
            ensure!(clock.now() < GIVE_UP, "{name} has no leaders");
            pause(Duration::from_millis(20));
        }
        Ok((name, took))
    }

    /// Whether each partition's leader knows that it is one: it learns that after the metadata tell it.
    fn is_led(&self, name: &str, partitions: i32) -> bool {
        let client = self.admin.inner();
        // Without this the client would not notice that the topic is no longer unknown.
        client
            .fetch_metadata(Some(name), Duration::from_secs(10))
            .is_ok()
            && (0..partitions).all(|partition| {
                client
                    .fetch_watermarks(name, partition, Duration::from_secs(10))
                    .is_ok()
            })
    }

    /// Returns when the brokers serve groups: Kafka makes the topic of the committed offsets when first asked.
    pub(crate) fn warm_groups(&self, brokers: &str, topic: &str) -> Result<()> {
        let consumer: BaseConsumer = consumer_config(brokers, "warm-up").create()?;
        let mut asked = TopicPartitionList::new();
        asked.add_partition(topic, 0);
        let clock = Clock::new();
        while consumer
            .committed_offsets(asked.clone(), Duration::from_secs(5))
            .is_err()
        {
            ensure!(clock.now() < GIVE_UP, "the brokers serve no groups");
        }
        Ok(())
    }

    /// Removes a topic.
    pub(crate) fn delete(&self, name: &str) -> Result<()> {
        let answers = self
            .runtime
            .block_on(self.admin.delete_topics(&[name], &options()))?;
        for answer in answers {
            answer.map_err(|(name, code)| anyhow::anyhow!("failed to delete {name}: {code}"))?;
        }
        Ok(())
    }
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)))
}
