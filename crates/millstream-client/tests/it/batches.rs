//! Batches exchanged with librdkafka through a broker, with every codec, both ways.

use std::time::Duration;

use millstream_client::wire::compression::Compression;
use millstream_client::{Event, Outbound, Start};
use rdkafka::Message as _;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::{Broker, PATIENCE, deliver, until};

const RECORDS: usize = 300;

/// Key, value and timestamp of a record; some have no key, some no value.
fn record(number: usize) -> (Option<String>, Option<String>, i64) {
    let key = (!number.is_multiple_of(3)).then(|| format!("key-{number}"));
    let value = (!number.is_multiple_of(7)).then(|| "value ".repeat(number % 50 + 1));
    (
        key,
        value,
        1_700_000_000_000 + i64::try_from(number).unwrap(),
    )
}

type Seen = (Option<String>, Option<String>, i64, Option<Vec<u8>>);

fn expected() -> Vec<Seen> {
    let one = |number| {
        let (key, value, timestamp) = record(number);
        (key, value, timestamp, Some(b"h".to_vec()))
    };
    (0..RECORDS).map(one).collect()
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

#[test]
fn librdkafka_reads_what_this_client_writes() {
    let broker = Broker::start();
    for compression in Compression::ALL {
        let name = broker.topic(1);
        let mut client = broker.client(&[
            ("compression.type", compression.name()),
            ("batch.size", "5000"),
        ]);
        let topic = client.topic(&name);
        for number in 0..RECORDS {
            let (key, value, timestamp) = record(number);
            let record = Outbound {
                key: key.as_ref().map(String::as_bytes),
                value: value.as_ref().map(String::as_bytes),
                headers: &[("header", Some(b"h"))],
                timestamp: Some(timestamp),
                partition: Some(0),
            };
            client.send(topic, &record).unwrap();
        }
        deliver(&mut client);
        let consumer: BaseConsumer = broker
            .rdkafka()
            .set("group.id", "unused")
            .set("check.crcs", "true")
            .create()
            .unwrap();
        let mut assignment = TopicPartitionList::new();
        assignment
            .add_partition_offset(&name, 0, Offset::Beginning)
            .unwrap();
        consumer.assign(&assignment).unwrap();
        let mut seen: Vec<Seen> = Vec::new();
        while seen.len() < RECORDS {
            let message = consumer.poll(PATIENCE).unwrap().unwrap();
            let header = message.headers().unwrap().get(0);
            assert_eq!(header.key, "header");
            seen.push((
                text(message.key()),
                text(message.payload()),
                message.timestamp().to_millis().unwrap(),
                header.value.map(<[u8]>::to_vec),
            ));
        }
        assert_eq!(seen, expected(), "{}", compression.name());
    }
}

#[test]
fn this_client_reads_what_librdkafka_writes() {
    let broker = Broker::start();
    for compression in Compression::ALL {
        let name = broker.topic(1);
        let producer: BaseProducer = broker
            .rdkafka()
            .set("compression.type", compression.name())
            .set("batch.num.messages", "100")
            .set("linger.ms", "50")
            // Otherwise a batch that is sent again comes after those behind it.
            .set("enable.idempotence", "true")
            .create()
            .unwrap();
        for number in 0..RECORDS {
            let (key, value, timestamp) = record(number);
            let header = Header {
                key: "header",
                value: Some("h"),
            };
            let mut message: BaseRecord<'_, str, str> = BaseRecord::to(&name)
                .partition(0)
                .timestamp(timestamp)
                .headers(OwnedHeaders::new().insert(header));
            message.key = key.as_deref();
            message.payload = value.as_deref();
            producer.send(message).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        let mut client = broker.client(&[]);
        let topic = client.topic(&name);
        client.assign(topic, 0, Start::Earliest);
        let mut seen: Vec<Seen> = Vec::new();
        until(&mut client, "all records", |_, event| {
            if let Some(Event::Records(chunk)) = event {
                for record in chunk.records() {
                    let record = record.unwrap();
                    let headers: Vec<_> = record.headers.into_iter().collect();
                    assert_eq!(headers, [("header", Some(&b"h"[..]))]);
                    seen.push((
                        text(record.key),
                        text(record.value),
                        record.timestamp,
                        headers[0].1.map(<[u8]>::to_vec),
                    ));
                }
            }
            (seen.len() == RECORDS).then_some(())
        });
        assert_eq!(seen, expected(), "{}", compression.name());
    }
}

/// A key meets the same partition whoever writes it.
#[test]
fn keys_go_to_the_partitions_to_which_librdkafka_takes_them() {
    let broker = Broker::start();
    let name = broker.topic(7);
    let mut client = broker.client(&[]);
    let topic = client.topic(&name);
    let producer: BaseProducer = broker
        .rdkafka()
        .set("partitioner", "murmur2_random")
        .create()
        .unwrap();
    let keys: Vec<String> = (0..200).map(|number| format!("key {number}")).collect();
    let mut own = Vec::new();
    for key in &keys {
        let record = Outbound {
            key: Some(key.as_bytes()),
            value: Some(b"own"),
            ..Outbound::default()
        };
        own.push((key.clone(), client.send(topic, &record).unwrap().partition));
        let theirs: BaseRecord<'_, str, str> =
            BaseRecord::to(&name).key(key.as_str()).payload("theirs");
        producer.send(theirs).unwrap();
    }
    deliver(&mut client);
    producer.flush(Duration::from_secs(60)).unwrap();
    for partition in 0..7 {
        client.assign(topic, partition, Start::Earliest);
    }
    let mut theirs = Vec::new();
    until(&mut client, "their records", |_, event| {
        if let Some(Event::Records(chunk)) = event {
            for record in chunk.records() {
                let record = record.unwrap();
                if record.value == Some(b"theirs") {
                    theirs.push((text(record.key).unwrap(), chunk.partition));
                }
            }
        }
        (theirs.len() == keys.len()).then_some(())
    });
    own.sort();
    theirs.sort();
    assert_eq!(own, theirs);
}
