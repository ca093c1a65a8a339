//! rdkafka: the client that the library itself is built on, with the librdkafka that comes with it.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::raw::now_ms;
use crate::support::{Broker, PATIENCE, eventually, fresh};

/// Of the first record's timestamp, in milliseconds since 1970. A record of long ago would fall to the retention.
static START: LazyLock<i64> = LazyLock::new(|| now_ms() - 60_000);
const MOMENT: Duration = Duration::from_millis(50);

fn config(broker: &Broker) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", broker.address());
    config
}

fn admin(broker: &Broker) -> AdminClient<DefaultClientContext> {
    config(broker).create().unwrap()
}

async fn topic(broker: &Broker, partitions: i32) -> String {
    let name = fresh("rdkafka");
    let new = NewTopic::new(&name, partitions, TopicReplication::Fixed(1))
        .set("max.message.bytes", "100000");
    let created = admin(broker)
        .create_topics([&new], &AdminOptions::new())
        .await
        .unwrap();
    assert_eq!(created, [Ok(name.clone())]);
    name
}

/// Sends records 0 to `count` over all partitions in turn and waits for every report.
fn produce(config: &ClientConfig, topic: &str, partitions: i32, count: i32) {
    let producer: BaseProducer = config.create().unwrap();
    for number in 0..count {
        let key = format!("k{number}");
        let value = format!("v{number} {}", "x".repeat(50));
        let header = number.to_string();
        let headers = OwnedHeaders::new()
            .insert(Header {
                key: "n",
                value: Some(&header),
            })
            .insert(Header {
                key: "null",
                value: None::<&str>,
            });
        let record = BaseRecord::to(topic)
            .partition(number % partitions)
            .key(&key)
            .payload(&value)
            .headers(headers)
            .timestamp(*START + i64::from(number));
        producer
            .send(record)
            .map_err(|(problem, _)| problem)
            .unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    assert_eq!(producer.in_flight_count(), 0);
}

fn consumer(config: &ClientConfig, group: &str) -> BaseConsumer {
    let mut config = config.clone();
    config
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "200")
        .set("fetch.wait.max.ms", "50");
    config.create().unwrap()
}

fn read(consumer: &BaseConsumer, count: usize) -> Vec<OwnedMessage> {
    let mut records = Vec::new();
    eventually("all records", || {
        while records.len() < count {
            records.push(consumer.poll(MOMENT)?.unwrap().detach());
        }
        Some(())
    });
    records
}

#[tokio::test]
async fn records_come_back_as_sent_in_every_compression() {
    let broker = Broker::start();
    for compression in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = topic(&broker, 1).await;
        let config = config(&broker).set("compression.type", compression).clone();
        produce(&config, &topic, 1, 200);
        let consumer = consumer(&config, &fresh("group"));
        consumer.subscribe(&[&topic]).unwrap();
        for (number, record) in (0..).zip(read(&consumer, 200)) {
            assert_eq!(record.offset(), number);
            assert_eq!(record.timestamp().to_millis(), Some(*START + number));
            assert_eq!(record.key(), Some(format!("k{number}").as_bytes()));
            let value = format!("v{number} {}", "x".repeat(50));
            assert_eq!(record.payload(), Some(value.as_bytes()));
            let headers = record.headers().unwrap();
            assert_eq!(headers.get(0).value, Some(number.to_string().as_bytes()));
            assert_eq!(headers.get(1).value, None);
        }
    }
}

#[tokio::test]
async fn an_idempotent_producer_numbers_its_records() {
    let broker = Broker::start();
    let topic = topic(&broker, 3).await;
    let config = config(&broker)
        .set("enable.idempotence", "true")
        .set("batch.num.messages", "7")
        .clone();
    produce(&config, &topic, 3, 3000);
    let consumer = consumer(&config, &fresh("group"));
    consumer.subscribe(&[&topic]).unwrap();
    for record in read(&consumer, 3000) {
        let number = record.offset() * 3 + i64::from(record.partition());
        assert_eq!(record.key(), Some(format!("k{number}").as_bytes()));
    }
}

#[tokio::test]
async fn offsets_are_found_by_place_and_by_time() {
    let broker = Broker::start();
    let topic = topic(&broker, 1).await;
    produce(&config(&broker), &topic, 1, 100);
    let consumer = consumer(&config(&broker), &fresh("group"));
    assert_eq!(
        consumer.fetch_watermarks(&topic, 0, PATIENCE).unwrap(),
        (0, 100)
    );
    for (time, offset) in [
        (*START + 42, Offset::Offset(42)),
        (*START + 1000, Offset::End),
    ] {
        let mut asked = TopicPartitionList::new();
        asked
            .add_partition_offset(&topic, 0, Offset::Offset(time))
            .unwrap();
        let found = consumer.offsets_for_times(asked, PATIENCE).unwrap();
        assert_eq!(found.elements()[0].offset(), offset);
    }
    let mut assigned = TopicPartitionList::new();
    assigned
        .add_partition_offset(&topic, 0, Offset::Offset(97))
        .unwrap();
    consumer.assign(&assigned).unwrap();
    let offsets: Vec<_> = read(&consumer, 3).iter().map(Message::offset).collect();
    assert_eq!(offsets, [97, 98, 99]);
}

fn owned(consumer: &BaseConsumer) -> BTreeSet<i32> {
    if let Some(polled) = consumer.poll(Duration::from_millis(10)) {
        polled.unwrap();
    }
    consumer
        .assignment()
        .unwrap()
        .elements()
        .iter()
        .map(|part| part.partition())
        .collect()
}

#[tokio::test]
async fn two_members_share_and_one_takes_over() {
    let broker = Broker::start();
    for assignor in ["range", "cooperative-sticky"] {
        let (topic, group) = (topic(&broker, 4).await, fresh("group"));
        let config = config(&broker)
            .set("partition.assignment.strategy", assignor)
            .clone();
        let (first, second) = (consumer(&config, &group), consumer(&config, &group));
        first.subscribe(&[&topic]).unwrap();
        eventually("one owns all", || (owned(&first).len() == 4).then_some(()));
        second.subscribe(&[&topic]).unwrap();
        let (one, other) = eventually("two partitions each", || {
            let (one, other) = (owned(&first), owned(&second));
            (one.len() == 2 && other.len() == 2).then_some((one, other))
        });
        assert_eq!(&one | &other, (0..4).collect(), "{assignor}");
        drop(second);
        eventually("one owns all again", || {
            (owned(&first).len() == 4).then_some(())
        });
    }
}

#[tokio::test]
async fn a_group_resumes_where_it_committed() {
    let broker = Broker::start();
    let (topic, group) = (topic(&broker, 1).await, fresh("group"));
    produce(&config(&broker), &topic, 1, 30);
    let first = consumer(&config(&broker), &group);
    first.subscribe(&[&topic]).unwrap();
    read(&first, 30);
    let mut offsets = TopicPartitionList::new();
    offsets
        .add_partition_offset(&topic, 0, Offset::Offset(12))
        .unwrap();
    offsets
        .find_partition(&topic, 0)
        .unwrap()
        .set_metadata("up to here");
    first.commit(&offsets, CommitMode::Sync).unwrap();
    drop(first);
    let second = consumer(&config(&broker), &group);
    second.subscribe(&[&topic]).unwrap();
    assert_eq!(read(&second, 18)[0].offset(), 12);
    let committed = second.committed(PATIENCE).unwrap();
    let [partition] = &committed.elements()[..] else {
        panic!("{committed:?}");
    };
    assert_eq!(partition.offset(), Offset::Offset(12));
    assert_eq!(partition.metadata(), "up to here");
}

#[tokio::test]
async fn topics_are_created_described_grown_and_deleted() {
    let broker = Broker::start();
    let topic = topic(&broker, 2).await;
    let (admin, options) = (admin(&broker), AdminOptions::new());
    let again = NewTopic::new(&topic, 2, TopicReplication::Fixed(1));
    let refused = admin.create_topics([&again], &options).await.unwrap();
    assert_eq!(
        refused,
        [Err((topic.clone(), RDKafkaErrorCode::TopicAlreadyExists))]
    );
    let described = admin
        .describe_configs([&ResourceSpecifier::Topic(&topic)], &options)
        .await
        .unwrap();
    let config = described[0].as_ref().unwrap();
    assert_eq!(
        config.get("max.message.bytes").unwrap().value.as_deref(),
        Some("100000")
    );
    let grown = admin
        .create_partitions([&NewPartitions::new(&topic, 5)], &options)
        .await
        .unwrap();
    assert_eq!(grown, [Ok(topic.clone())]);
    let partitions = |expected: usize| {
        let metadata = admin
            .inner()
            .fetch_metadata(Some(&topic), PATIENCE)
            .unwrap();
        (metadata.topics()[0].partitions().len() == expected).then_some(())
    };
    eventually("five partitions", || partitions(5));
    assert_eq!(
        admin.delete_topics(&[&topic], &options).await.unwrap(),
        [Ok(topic.clone())]
    );
    eventually("the topic is gone", || {
        let metadata = admin.inner().fetch_metadata(None, PATIENCE).unwrap();
        metadata
            .topics()
            .iter()
            .all(|found| found.name() != topic)
            .then_some(())
    });
}

#[tokio::test]
async fn groups_are_listed_and_deleted() {
    let broker = Broker::start();
    let (topic, group) = (topic(&broker, 1).await, fresh("group"));
    produce(&config(&broker), &topic, 1, 1);
    let member = consumer(&config(&broker), &group);
    member.subscribe(&[&topic]).unwrap();
    read(&member, 1);
    member.commit_consumer_state(CommitMode::Sync).unwrap();
    let found = member.fetch_group_list(Some(&group), PATIENCE).unwrap();
    assert_eq!(found.groups()[0].state(), "Stable");
    assert_eq!(found.groups()[0].members().len(), 1);
    drop(member);
    let (admin, options) = (admin(&broker), AdminOptions::new());
    assert_eq!(
        admin.delete_groups(&[&group], &options).await.unwrap(),
        [Ok(group.clone())]
    );
    let gone = admin.delete_groups(&[&group], &options).await.unwrap();
    assert_eq!(gone, [Err((group, RDKafkaErrorCode::GroupIdNotFound))]);
}

#[tokio::test]
async fn a_record_that_is_too_large_is_refused_by_name() {
    let broker = Broker::start();
    let topic = topic(&broker, 1).await;
    let producer: BaseProducer<Reports> = config(&broker)
        .create_with_context(Reports::default())
        .unwrap();
    for size in [150_000, 100] {
        let value = vec![b'x'; size];
        producer
            .send(BaseRecord::<(), _>::to(&topic).payload(&value))
            .map_err(|(problem, _)| problem)
            .unwrap();
        producer.flush(PATIENCE).unwrap();
    }
    let reports = producer.context().seen.lock().unwrap();
    let too_large = Some(KafkaError::MessageProduction(
        RDKafkaErrorCode::MessageSizeTooLarge,
    ));
    assert_eq!(*reports, [too_large, None]);
}

/// Keeps the outcome of every record.
#[derive(Default)]
struct Reports {
    seen: std::sync::Mutex<Vec<Option<KafkaError>>>,
}

impl rdkafka::ClientContext for Reports {}

impl rdkafka::producer::ProducerContext for Reports {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::producer::DeliveryResult<'_>, _: ()) {
        let outcome = result.as_ref().err().map(|(problem, _)| problem.clone());
        self.seen.lock().unwrap().push(outcome);
    }
}
