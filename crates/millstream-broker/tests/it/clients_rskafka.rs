//! rskafka: a client in pure Rust that shares no code with librdkafka nor with the broker.

use std::time::Duration;

use rskafka::client::error::{Error, ProtocolError};
use rskafka::client::partition::{Compression, OffsetAt, PartitionClient, UnknownTopicHandling};
use rskafka::client::{Client, ClientBuilder};
use rskafka::record::Record;

use crate::support::{Broker, PATIENCE, fresh};

/// Of the first record's timestamp, since 1970.
const START: Duration = Duration::from_millis(1_700_000_000_000);

async fn client(broker: &Broker) -> Client {
    let addresses = broker.address().split(',').map(str::to_owned).collect();
    ClientBuilder::new(addresses).build().await.unwrap()
}

/// Creates a topic and opens one of its partitions.
async fn partition(client: &Client, partitions: i32) -> (String, PartitionClient) {
    let topic = fresh("rskafka");
    let controller = client.controller_client().unwrap();
    controller
        .create_topic(&topic, partitions, 1, 10_000)
        .await
        .unwrap();
    let opened = client
        .partition_client(&topic, partitions - 1, UnknownTopicHandling::Retry)
        .await;
    (topic, opened.unwrap())
}

/// Waits until the topics of this name have these partitions: a change is made by one broker and known to the others later.
async fn wait_for_partitions(client: &Client, name: &str, expected: &[Vec<i32>]) {
    let waiting = async {
        loop {
            let topics = client.list_topics().await.unwrap();
            let found = topics.into_iter().filter(|topic| topic.name == name);
            let found: Vec<Vec<i32>> = found
                .map(|topic| topic.partitions.into_iter().collect())
                .collect();
            if found == expected {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    waited.unwrap_or_else(|_| panic!("`{name}` never has the partitions {expected:?}"));
}

fn record(number: u64) -> Record {
    let mut record = Record {
        key: Some(format!("k{number}").into_bytes()),
        value: (!number.is_multiple_of(10)).then(|| format!("v{number}").into_bytes()),
        headers: [
            ("n".to_owned(), number.to_string().into_bytes()),
            ("empty".to_owned(), Vec::new()),
        ]
        .into(),
        timestamp: Default::default(),
    };
    record.timestamp += START + Duration::from_millis(number);
    record
}

/// Reads everything from an offset to the high watermark.
async fn read(partition: &PartitionClient, mut from: i64) -> Vec<(i64, Record)> {
    let mut records = Vec::new();
    loop {
        let (batch, high_watermark) = partition
            .fetch_records(from, 1..100_000, 1000)
            .await
            .unwrap();
        records.extend(batch.into_iter().map(|read| (read.offset, read.record)));
        from = records.last().map_or(from, |(offset, _)| offset + 1);
        if from >= high_watermark {
            return records;
        }
    }
}

#[tokio::test]
async fn records_come_back_as_sent_in_every_compression() {
    let broker = Broker::start();
    let client = client(&broker).await;
    for compression in [
        Compression::NoCompression,
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ] {
        let (_, partition) = partition(&client, 1).await;
        let sent: Vec<_> = (0..100).map(record).collect();
        let offsets = partition.produce(sent.clone(), compression).await.unwrap();
        assert_eq!(offsets, (0..100).collect::<Vec<_>>(), "{compression:?}");
        let found: Vec<_> = read(&partition, 0).await;
        assert_eq!(
            found,
            (0..100).zip(sent).collect::<Vec<_>>(),
            "{compression:?}"
        );
    }
}

#[tokio::test]
async fn batches_of_several_producers_keep_their_order() {
    let broker = Broker::start();
    let client = client(&broker).await;
    let (topic, last) = partition(&client, 3).await;
    for number in 0..50 {
        let offsets = last
            .produce(vec![record(number)], Compression::NoCompression)
            .await
            .unwrap();
        assert_eq!(offsets, [number.cast_signed()]);
    }
    let again = client
        .partition_client(topic, 2, UnknownTopicHandling::Error)
        .await
        .unwrap();
    let found = read(&again, 7).await;
    assert_eq!(
        found,
        (7..50)
            .map(|n: u64| (n.cast_signed(), record(n)))
            .collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn offsets_are_found_by_place_and_by_time() {
    let broker = Broker::start();
    let client = client(&broker).await;
    let (_, partition) = partition(&client, 1).await;
    let sent = (0..100).map(record).collect();
    partition.produce(sent, Compression::Zstd).await.unwrap();
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 0);
    assert_eq!(partition.get_offset(OffsetAt::Latest).await.unwrap(), 100);
    let at = OffsetAt::Timestamp(record(42).timestamp);
    assert_eq!(partition.get_offset(at).await.unwrap(), 42);
    partition.delete_records(20, 10_000).await.unwrap();
    assert_eq!(partition.get_offset(OffsetAt::Earliest).await.unwrap(), 20);
}

#[tokio::test]
async fn reading_past_the_end_is_refused_by_name() {
    let broker = Broker::start();
    let client = client(&broker).await;
    let (_, partition) = partition(&client, 1).await;
    partition
        .produce(vec![record(1)], Compression::NoCompression)
        .await
        .unwrap();
    let refused = partition.fetch_records(5, 1..1000, 100).await.unwrap_err();
    let Error::ServerError { protocol_error, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(protocol_error, ProtocolError::OffsetOutOfRange);
}

#[tokio::test]
async fn topics_are_created_listed_and_deleted() {
    let broker = Broker::start();
    let client = client(&broker).await;
    let (name, _) = partition(&client, 3).await;
    let controller = client.controller_client().unwrap();
    let refused = controller
        .create_topic(&name, 3, 1, 10_000)
        .await
        .unwrap_err();
    let Error::ServerError { protocol_error, .. } = refused else {
        panic!("{refused}");
    };
    assert_eq!(protocol_error, ProtocolError::TopicAlreadyExists);
    wait_for_partitions(&client, &name, &[vec![0, 1, 2]]).await;
    controller.delete_topic(&name, 10_000).await.unwrap();
    wait_for_partitions(&client, &name, &[]).await;
}
