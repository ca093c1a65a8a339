//! librdkafka's transactional producer and its readers of committed records.

use std::time::Duration;

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::support::{PATIENCE, eventually, fresh};

const MOMENT: Duration = Duration::from_millis(50);

fn producer(address: &str, id: &str) -> BaseProducer {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("transactional.id", id)
        .set("linger.ms", "1")
        .create()
        .unwrap();
    producer.init_transactions(PATIENCE).unwrap();
    producer
}

fn send(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    let record = BaseRecord::<(), str>::to(topic)
        .partition(partition)
        .payload(value);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

/// The values of a partition, up to where a reader of this level gets.
pub(crate) fn read(address: &str, level: &str, topic: &str, partition: i32) -> Vec<String> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", fresh("audit"))
        .set("isolation.level", level)
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Beginning)
        .unwrap();
    consumer.assign(&list).unwrap();
    let mut values = Vec::new();
    loop {
        match consumer.poll(PATIENCE).expect("records or the end") {
            Ok(message) => values.push(message.payload_view::<str>().unwrap().unwrap().to_owned()),
            Err(KafkaError::PartitionEOF(_)) => return values,
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn committed_records_are_read_and_aborted_ones_are_not() {
    let cluster = Cluster::start();
    let (_client, topic) = cluster.with_topic("committed", 2);
    let producer = producer(&cluster.address, &fresh("copy"));
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "a");
    send(&producer, &topic, 1, "b");
    producer.commit_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "lost");
    send(&producer, &topic, 1, "lost too");
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "c");
    producer.commit_transaction(PATIENCE).unwrap();
    let committed = |partition| read(&cluster.address, "read_committed", &topic, partition);
    let all = |partition| read(&cluster.address, "read_uncommitted", &topic, partition);
    assert_eq!(
        (committed(0), committed(1)),
        (texts(&["a", "c"]), texts(&["b"]))
    );
    assert_eq!(
        (all(0), all(1)),
        (texts(&["a", "lost", "c"]), texts(&["b", "lost too"]))
    );
}

fn texts(values: &[&str]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

#[test]
fn an_open_transaction_is_hidden_until_it_ends() {
    let cluster = Cluster::start();
    let (mut client, topic) = cluster.with_topic("hidden", 1);
    let producer = producer(&cluster.address, &fresh("copy"));
    client.produce_at(&topic, 0, &[("plain", crate::raw::now_ms())]);
    producer.begin_transaction().unwrap();
    send(&producer, &topic, 0, "open");
    producer.flush(PATIENCE).unwrap();
    client.produce_at(&topic, 0, &[("behind", crate::raw::now_ms())]);
    let committed = || read(&cluster.address, "read_committed", &topic, 0);
    assert_eq!(committed(), ["plain"]);
    assert_eq!(
        read(&cluster.address, "read_uncommitted", &topic, 0),
        ["plain", "open", "behind"]
    );
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(committed(), ["plain", "open", "behind"]);
}

/// A group's consumer that has been assigned everything and has read `count` records.
fn member(address: &str, group: &str, topic: &str, count: usize) -> (BaseConsumer, Vec<String>) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .create()
        .unwrap();
    consumer.subscribe(&[topic]).unwrap();
    let mut values = Vec::new();
    eventually("the group's records", || {
        if let Some(message) = consumer.poll(MOMENT) {
            let message = message.unwrap();
            values.push(message.payload_view::<str>().unwrap().unwrap().to_owned());
        }
        (values.len() >= count).then_some(())
    });
    (consumer, values)
}

fn metadata(consumer: &BaseConsumer) -> ConsumerGroupMetadata {
    consumer.group_metadata().unwrap()
}

/// What the group has committed, as a reader that wants stable offsets is told.
fn committed(address: &str, group: &str, topic: &str) -> Offset {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address)
        .set("group.id", group)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, 0);
    let found = consumer.committed_offsets(list, PATIENCE).unwrap();
    found.find_partition(topic, 0).unwrap().offset()
}

#[test]
fn offsets_count_when_their_transaction_commits() {
    let cluster = Cluster::start();
    let (mut client, input) = cluster.with_topic("input", 1);
    let output = fresh("output");
    client.create_topic(&output, 1, &[]);
    let now = crate::raw::now_ms();
    client.produce_at(&input, 0, &[("a", now), ("b", now)]);
    let group = fresh("copiers");
    let (consumer, values) = member(&cluster.address, &group, &input, 2);
    assert_eq!(values, ["a", "b"]);
    let producer = producer(&cluster.address, &fresh("copy"));
    let offsets = || consumer.position().unwrap();

    producer.begin_transaction().unwrap();
    send(&producer, &output, 0, "aborted");
    producer
        .send_offsets_to_transaction(&offsets(), &metadata(&consumer), PATIENCE)
        .unwrap();
    producer.flush(PATIENCE).unwrap();
    producer.abort_transaction(PATIENCE).unwrap();
    assert_eq!(committed(&cluster.address, &group, &input), Offset::Invalid);

    producer.begin_transaction().unwrap();
    send(&producer, &output, 0, "copied");
    producer
        .send_offsets_to_transaction(&offsets(), &metadata(&consumer), PATIENCE)
        .unwrap();
    producer.commit_transaction(PATIENCE).unwrap();
    assert_eq!(
        committed(&cluster.address, &group, &input),
        Offset::Offset(2)
    );
    assert_eq!(
        read(&cluster.address, "read_committed", &output, 0),
        ["copied"]
    );
}

#[test]
fn a_second_producer_of_the_same_id_fences_the_first() {
    let cluster = Cluster::start();
    let (_client, topic) = cluster.with_topic("fenced", 1);
    let id = fresh("copy");
    let first = producer(&cluster.address, &id);
    first.begin_transaction().unwrap();
    send(&first, &topic, 0, "first");
    first.flush(PATIENCE).unwrap();
    let second = producer(&cluster.address, &id);
    second.begin_transaction().unwrap();
    send(&second, &topic, 0, "second");
    second.commit_transaction(PATIENCE).unwrap();
    let error = first.commit_transaction(PATIENCE).unwrap_err();
    let code = match error {
        KafkaError::Transaction(error) => error.code(),
        other => panic!("{other}"),
    };
    assert_eq!(code, RDKafkaErrorCode::Fenced);
    assert_eq!(
        read(&cluster.address, "read_committed", &topic, 0),
        ["second"]
    );
}
