//! The suites `transactions` and `tls`: what exactly-once and encryption cost.
//!
//! A transactional copy runs beside Apache Kafka; TLS beside plain text on the same broker. Both alternate round by round, and the first
//! round is the warm-up.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::brokers::{self, KAFKA, MILLSTREAM};
use crate::client::{Topics, consume, consumer_config, produce, producer_config};
use crate::clock::Clock;
use crate::crew::Crew;
use crate::report::{Bound, Report, Target};
use crate::usage;

const TRANSACTIONS: &str = "transactions";
const TLS: &str = "tls";
const COPIED: &str = "copied, ends each 100 ms";
const GIVE_UP: Duration = Duration::from_secs(120);

/// Copies in transactions on both brokers.
pub(crate) fn transactions(crew: &Crew, quick: bool, report: &mut Report) -> Result<()> {
    let (records, rounds) = if quick { (100_000, 1) } else { (1_000_000, 3) };
    let both = [
        brokers::start_millstream(crew)?,
        brokers::start_kafka(crew)?,
    ];
    // The first round is the warm-up.
    for round in 0..=rounds {
        for broker in &both {
            eprintln!("transactions: round {round}, {}", broker.name);
            let topics = Topics::new(&broker.address)?;
            let (input, output) = (topics.create("input", 4)?, topics.create("output", 4)?);
            topics.warm_groups(&broker.address, &input)?;
            produce(&broker.address, &input, 4, records)?;
            let before = usage::cpu(broker.pid)?;
            let took = copy(&broker.address, &input, &output, records)?;
            let used = usage::cpu(broker.pid)? - before;
            if round > 0 {
                let rate = records as f64 / 1000.0 / took.as_secs_f64();
                report.add(TRANSACTIONS, COPIED, broker.name, "K records/s", rate);
                let each = used.as_secs_f64() * 1e6 / records as f64;
                report.add(
                    TRANSACTIONS,
                    "processor time",
                    broker.name,
                    "s/M records",
                    each,
                );
            }
            topics.delete(&input)?;
            topics.delete(&output)?;
        }
    }
    Ok(())
}

/// Reads all records and writes each to the output, in transactions with the offsets; how long it takes.
fn copy(brokers: &str, input: &str, output: &str, records: u64) -> Result<Duration> {
    let consumer: BaseConsumer = consumer_config(brokers, &format!("copy-{input}"))
        .set("isolation.level", "read_committed")
        .create()?;
    let mut from = TopicPartitionList::new();
    for partition in 0..4 {
        from.add_partition_offset(input, partition, Offset::Beginning)?;
    }
    let group = consumer.group_metadata().context("no group")?;
    let producer: BaseProducer = producer_config(brokers, Duration::from_millis(5))
        .set("transactional.id", format!("copy-{input}"))
        .create()?;
    producer.init_transactions(GIVE_UP)?;
    consumer.assign(&from)?;
    let clock = Clock::new();
    let mut copied = 0;
    let mut next = [0; 4];
    while copied < records {
        producer.begin_transaction()?;
        let end = clock.now() + Duration::from_millis(100);
        let mut polled = 0_u32;
        while copied < records {
            polled = polled.wrapping_add(1);
            if polled.is_multiple_of(64) && clock.now() >= end {
                break;
            }
            let Some(message) = consumer.poll(Duration::from_millis(10)) else {
                ensure!(
                    clock.now() < GIVE_UP,
                    "only {copied} of {records} records came"
                );
                continue;
            };
            let message = message?;
            put(&producer, output, message.payload().unwrap_or_default())?;
            if let Some(next) = usize::try_from(message.partition())
                .ok()
                .and_then(|at| next.get_mut(at))
            {
                *next = message.offset() + 1;
            }
            copied += 1;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in (0..).zip(next) {
            offsets.add_partition_offset(input, partition, Offset::Offset(next))?;
        }
        producer.send_offsets_to_transaction(&offsets, &group, GIVE_UP)?;
        producer.commit_transaction(GIVE_UP)?;
    }
    Ok(clock.now())
}

fn put(producer: &BaseProducer, topic: &str, value: &[u8]) -> Result<()> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(value);
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                record = back;
                producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(error).context("failed to send"),
        }
    }
}

/// Writes and reads with TLS and without, on one broker.
pub(crate) fn tls(crew: &Crew, quick: bool, report: &mut Report) -> Result<()> {
    let (records, rounds) = if quick { (200_000, 1) } else { (2_000_000, 3) };
    let (broker, encrypted) = brokers::start_with_tls(crew)?;
    let topics = Topics::new(&broker.address)?;
    let both = [("plain", &broker.address), ("tls", &encrypted)];
    for round in 0..=rounds {
        for (name, address) in both {
            eprintln!("tls: round {round}, {name}");
            let topic = topics.create("tls", 4)?;
            let before = usage::cpu(broker.pid)?;
            let produced = produce(address, &topic, 4, records)?;
            let consumed = consume(address, &topic, 4, records)?;
            let used = usage::cpu(broker.pid)? - before;
            topics.delete(&topic)?;
            if round == 0 {
                continue;
            }
            for (row, took) in [("produced", produced), ("consumed", consumed)] {
                let rate = records as f64 / 1000.0 / took.as_secs_f64();
                report.add(TLS, row, name, "K records/s", rate);
            }
            let each = used.as_secs_f64() * 1e6 / records as f64;
            report.add(TLS, "processor time", name, "s/M records", each);
        }
    }
    Ok(())
}

/// What both suites must reach.
pub(crate) fn targets() -> Vec<Target> {
    let target = |suite, row: &str, peer, by, bound| Target {
        suite,
        row: row.to_owned(),
        peer,
        by,
        bound,
    };
    vec![
        target(
            TRANSACTIONS,
            COPIED,
            MILLSTREAM,
            Some(KAFKA),
            Bound::AtLeast(1.0),
        ),
        target(
            TRANSACTIONS,
            "processor time",
            MILLSTREAM,
            Some(KAFKA),
            Bound::AtMost(0.5),
        ),
        target(TLS, "produced", "tls", Some("plain"), Bound::AtLeast(0.7)),
        target(TLS, "consumed", "tls", Some("plain"), Bound::AtLeast(0.7)),
    ]
}
