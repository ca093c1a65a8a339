//! Produce: what is appended, what is answered, what is refused.

use bytes::{Buf, Bytes};
use kafka_protocol::ResponseError;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{
    InitProducerIdRequest, MetadataRequest, ProduceRequest, ProducerId, TransactionalId,
};
use kafka_protocol::records::Compression;
use uuid::Uuid;

use crate::cluster::{Cluster, unique};
use crate::raw::{batch, encode, produce_request, record, records, sequenced, text, topic_name};

#[test]
fn every_version_appends_and_tells_the_offset() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("versions");
    let id = client.create_topic(&name, 1, &[]);
    for version in 3..=13 {
        let mut request = produce_request(&name, 0, batch(&[("value", 1000)]));
        if version >= 13 {
            request.topic_data[0].name = Default::default();
            request.topic_data[0].topic_id = id;
        }
        let response = client.call(version, &request);
        let partition = &response.responses[0].partition_responses[0];
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (0, i64::from(version) - 3),
            "version {version}"
        );
        assert_eq!(partition.log_append_time_ms, -1, "version {version}");
        assert_eq!(
            partition.log_start_offset,
            if version >= 5 { 0 } else { -1 },
            "version {version}"
        );
    }
    assert_eq!(client.values(&name, 0, 0).len(), 11);
}

#[test]
fn several_topics_and_partitions_are_answered_in_their_order() {
    let cluster = Cluster::start();
    let (mut client, one) = cluster.with_topic("one", 2);
    let other = unique("other");
    client.create_topic(&other, 1, &[]);
    let part = |index| {
        PartitionProduceData::default()
            .with_index(index)
            .with_records(Some(batch(&[("v", 1)])))
    };
    let topic = |name: &str, parts| {
        TopicProduceData::default()
            .with_name(topic_name(name))
            .with_partition_data(parts)
    };
    let request = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![
            topic(&one, vec![part(1), part(7), part(0)]),
            topic(&other, vec![part(0)]),
        ]);
    let response = client.call(9, &request);
    let answers: Vec<_> = response
        .responses
        .iter()
        .flat_map(|topic| {
            topic
                .partition_responses
                .iter()
                .map(|part| (topic.name.to_string(), part.index, part.error_code))
        })
        .collect();
    let (one, other) = (one.as_str(), other.as_str());
    let mut expected = [(one, 1, 0), (one, 7, 3), (one, 0, 0), (other, 0, 0)]
        .map(|(name, index, code)| (name.to_owned(), index, code));
    // Apache Kafka answers in an order of its own.
    let mut answers = answers;
    answers.sort();
    expected.sort();
    assert_eq!(answers, expected);
}

#[test]
fn acks_1_is_answered_and_acks_0_is_not() {
    let (mut client, name) = Cluster::start().with_topic("acks", 1);
    let one = client.call(
        9,
        &produce_request(&name, 0, batch(&[("one", 1)])).with_acks(1),
    );
    assert_eq!(one.responses[0].partition_responses[0].error_code, 0);
    client.send(
        9,
        &produce_request(&name, 0, batch(&[("zero", 1)])).with_acks(0),
    );
    // The next answer on the connection is that to the next request.
    assert_eq!(
        client.produce(&name, 0, batch(&[("all", 1)])).base_offset,
        2
    );
    assert_eq!(client.values(&name, 0, 0), ["one", "zero", "all"]);
    let odd = client.call(
        9,
        &produce_request(&name, 0, batch(&[("odd", 1)])).with_acks(2),
    );
    let refused = ResponseError::InvalidRequiredAcks.code();
    assert_eq!(odd.responses[0].partition_responses[0].error_code, refused);
}

#[test]
fn a_failure_without_acknowledgement_closes_the_connection() {
    let mut client = Cluster::start().connect();
    client.send(
        9,
        &produce_request(&unique("none"), 0, batch(&[("v", 1)])).with_acks(0),
    );
    assert!(client.is_closed());
}

#[test]
fn unknown_places_are_refused() {
    let (mut client, name) = Cluster::start().with_topic("places", 1);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(
        client
            .produce(&unique("none"), 0, batch(&[("v", 1)]))
            .error_code,
        unknown
    );
    assert_eq!(
        client.produce(&name, 1, batch(&[("v", 1)])).error_code,
        unknown
    );
    assert_eq!(
        client.produce(&name, -1, batch(&[("v", 1)])).error_code,
        unknown
    );
    let mut request = produce_request("", 0, batch(&[("v", 1)]));
    request.topic_data[0].topic_id = Uuid::new_v4();
    let response = client.call(13, &request);
    let unknown = ResponseError::UnknownTopicId.code();
    assert_eq!(
        response.responses[0].partition_responses[0].error_code,
        unknown
    );
}

#[test]
fn bytes_that_are_no_batch_are_refused_and_not_stored() {
    let (mut client, name) = Cluster::start().with_topic("corrupt", 1);
    let good = batch(&[("value", 1000)]);
    let mut flipped = good.to_vec();
    *flipped.last_mut().unwrap() ^= 1;
    let corrupt = ResponseError::CorruptMessage.code();
    assert_eq!(
        client.produce(&name, 0, Bytes::from(flipped)).error_code,
        corrupt
    );
    let cut = good.slice(..good.len() - 1);
    let code = client.produce(&name, 0, cut).error_code;
    assert!(
        [corrupt, ResponseError::InvalidRecord.code()].contains(&code),
        "{code}"
    );
    assert_eq!(client.produce(&name, 0, good).base_offset, 0);
}

#[test]
fn a_batch_above_the_topics_limit_is_too_large() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("small");
    client.create_topic(&name, 1, &[("max.message.bytes", "1000")]);
    let large = "x".repeat(1000);
    let refused = client.produce(&name, 0, batch(&[(&large, 1)]));
    assert_eq!(refused.error_code, ResponseError::MessageTooLarge.code());
    assert_eq!(
        client.produce(&name, 0, batch(&[("small", 1)])).base_offset,
        0
    );
}

#[test]
fn compressed_batches_come_back_as_they_were() {
    let (mut client, name) = Cluster::start().with_topic("compressed", 1);
    let codecs = [
        Compression::Gzip,
        Compression::Snappy,
        Compression::Lz4,
        Compression::Zstd,
    ];
    for codec in codecs {
        let made: Vec<_> = (0..50)
            .map(|offset| record(offset, "the same again", 1000))
            .collect();
        assert_eq!(
            client.produce(&name, 0, encode(&made, codec)).error_code,
            0,
            "{codec:?}"
        );
    }
    let fetched = client.fetch(&name, 0, 0);
    let offsets: Vec<i64> = records(&fetched)
        .iter()
        .map(|record| record.offset)
        .collect();
    assert_eq!(offsets, (0..200).collect::<Vec<i64>>());
    assert!(fetched.records.unwrap().len() < 200 * 14);
}

#[test]
fn the_broker_stamps_records_when_the_topic_says_so() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("stamped");
    client.create_topic(&name, 1, &[("message.timestamp.type", "LogAppendTime")]);
    let before = crate::raw::now_ms();
    let produced = client.produce(&name, 0, batch(&[("value", 1000)]));
    let after = crate::raw::now_ms();
    assert!(
        (before..=after).contains(&produced.log_append_time_ms),
        "{}",
        produced.log_append_time_ms
    );
    // The batch says so in its header: its type of timestamp, and the time as the largest one. Records stay as sent.
    let fetched = client.fetch(&name, 0, 0).records.unwrap();
    assert_eq!(fetched[22] & 0b1000, 0b1000);
    assert_eq!(fetched[35..43], produced.log_append_time_ms.to_be_bytes());
}

#[test]
fn timestamps_far_in_the_future_are_refused() {
    let (mut client, name) = Cluster::start().with_topic("future", 1);
    let late = crate::raw::now_ms() + 2 * 3_600_000;
    assert_eq!(
        client.produce(&name, 0, batch(&[("v", late)])).error_code,
        ResponseError::InvalidTimestamp.code()
    );
}

#[test]
fn idempotent_producers_write_once_and_in_order() {
    let cluster = Cluster::start();
    let (mut client, name) = cluster.with_topic("idempotent", 1);
    let producer = client.call(
        4,
        &InitProducerIdRequest::default()
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000),
    );
    assert_eq!((producer.error_code, producer.producer_epoch), (0, 0));
    let id = producer.producer_id.0;
    let mut send = |values: &[&str], epoch, first| {
        let produced = client.produce(&name, 0, sequenced(values, id, epoch, first));
        (produced.error_code, produced.base_offset)
    };
    assert_eq!(send(&["a", "b"], 0, 0), (0, 0));
    assert_eq!(send(&["c"], 0, 2), (0, 2));
    // Sent again: the old offsets are the answer.
    assert_eq!(send(&["a", "b"], 0, 0), (0, 0));
    assert_eq!(send(&["c"], 0, 2), (0, 2));
    assert_eq!(
        send(&["e"], 0, 4).0,
        ResponseError::OutOfOrderSequenceNumber.code()
    );
    assert_eq!(send(&["f"], 1, 0), (0, 3));
    assert_eq!(
        send(&["g"], 0, 3).0,
        ResponseError::InvalidProducerEpoch.code()
    );
    assert_eq!(client.values(&name, 0, 0), ["a", "b", "c", "f"]);
}

#[test]
fn producer_ids_are_given_once_in_every_version() {
    let mut client = Cluster::start().connect();
    let mut given = std::collections::HashSet::new();
    for version in 0..=5 {
        let mut request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000);
        if version >= 3 {
            request = request
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1);
        }
        let response = client.call(version, &request);
        assert_eq!(
            (response.error_code, response.producer_epoch),
            (0, 0),
            "version {version}"
        );
        assert!(given.insert(response.producer_id), "version {version}");
    }
}

#[test]
fn an_empty_transactional_id_is_no_id() {
    let mut client = Cluster::start().connect();
    let id = Some(TransactionalId(text("")));
    let request = InitProducerIdRequest::default()
        .with_transactional_id(id)
        .with_transaction_timeout_ms(60_000);
    assert_eq!(
        client.call(2, &request).error_code,
        ResponseError::InvalidRequest.code()
    );
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (mut client, name) = Cluster::start().with_topic("pipelined", 1);
    for _ in 0..20 {
        client.send(9, &produce_request(&name, 0, batch(&[("v", 1)])));
    }
    let ids: Vec<i32> = (1..20)
        .map(|_| client.receive_frame().unwrap().get_i32())
        .collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1), "{ids:?}");
    let response = client.receive::<ProduceRequest>(9);
    assert_eq!(response.responses[0].partition_responses[0].base_offset, 19);
    assert_eq!(
        client.call(12, &MetadataRequest::default()).brokers.len(),
        1
    );
}
