//! ListOffsets, OffsetForLeaderEpoch and DeleteRecords.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use kafka_protocol::messages::list_offsets_request::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use crate::cluster::{Cluster, unique};
use crate::raw::{Client, topic_name};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

fn delete_records(client: &mut Client, version: i16, topic: &str, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(0)
        .with_offset(offset);
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    let result = client.call(version, &request).topics[0].partitions[0].clone();
    (result.error_code, result.low_watermark)
}

/// Two batches with times out of order: 0 at 1000, 1 at 3000, 2 at 2000, 3 at 4000.
fn timed(name: &str) -> (Cluster, Client, String) {
    let cluster = Cluster::start();
    let (mut client, name) = cluster.with_topic(name, 1);
    client.produce_at(&name, 0, &[("a", 1000), ("b", 3000)]);
    client.produce_at(&name, 0, &[("c", 2000), ("d", 4000)]);
    (cluster, client, name)
}

#[test]
fn the_ends_are_found_in_every_version() {
    let (_cluster, mut client, name) = timed("ends");
    assert_eq!(delete_records(&mut client, 2, &name, 1), (0, 1));
    for version in 1..=10 {
        let latest = client.list_offset_with(version, &name, 0, LATEST);
        assert_eq!(
            (latest.error_code, latest.offset, latest.timestamp),
            (0, 4, -1),
            "version {version}"
        );
        let earliest = client.list_offset_with(version, &name, 0, EARLIEST);
        assert_eq!(
            (earliest.error_code, earliest.offset, earliest.timestamp),
            (0, 1, -1),
            "version {version}"
        );
        let epoch = if version >= 4 { 0 } else { -1 };
        assert_eq!(
            (latest.leader_epoch, earliest.leader_epoch),
            (epoch, epoch),
            "version {version}"
        );
    }
}

#[test]
fn a_time_is_the_first_record_at_or_after_it() {
    let (_cluster, mut client, name) = timed("times");
    let cases = [
        (0, 0, 1000),
        (1000, 0, 1000),
        (1001, 1, 3000),
        (3000, 1, 3000),
        (3001, 3, 4000),
        (4000, 3, 4000),
        (4001, -1, -1),
    ];
    for (time, offset, timestamp) in cases {
        let found = client.list_offset(&name, 0, time);
        assert_eq!(
            (found.error_code, found.offset, found.timestamp),
            (0, offset, timestamp),
            "time {time}"
        );
        assert_eq!(
            found.leader_epoch,
            if offset < 0 { -1 } else { 0 },
            "time {time}"
        );
    }
}

#[test]
fn the_largest_timestamp_is_found() {
    let (_cluster, mut client, name) = timed("largest");
    let found = client.list_offset(&name, 0, MAX_TIMESTAMP);
    assert_eq!((found.offset, found.timestamp), (3, 4000));
    client.produce_at(&name, 0, &[("e", 9000), ("f", 500)]);
    let found = client.list_offset(&name, 0, MAX_TIMESTAMP);
    assert_eq!((found.offset, found.timestamp), (4, 9000));
}

#[test]
fn without_tiers_all_is_local() {
    let (_cluster, mut client, name) = timed("tiers");
    let local = client.list_offset(&name, 0, EARLIEST_LOCAL);
    assert_eq!(
        (local.error_code, local.offset, local.leader_epoch),
        (0, 0, 0)
    );
    let tiered = client.list_offset(&name, 0, LATEST_TIERED);
    assert_eq!(
        (tiered.error_code, tiered.offset, tiered.leader_epoch),
        (0, -1, -1)
    );
}

#[test]
fn an_empty_partition_has_ends_but_no_times() {
    let (mut client, name) = Cluster::start().with_topic("empty", 1);
    for (time, offset) in [
        (LATEST, 0),
        (EARLIEST, 0),
        (MAX_TIMESTAMP, -1),
        (1000, -1),
        (EARLIEST_LOCAL, 0),
    ] {
        let found = client.list_offset(&name, 0, time);
        assert_eq!(
            (found.error_code, found.offset, found.timestamp),
            (0, offset, -1),
            "time {time}"
        );
    }
}

#[test]
fn places_that_a_version_does_not_know_are_unsupported() {
    let (_cluster, mut client, name) = timed("unsupported");
    let unsupported = ResponseError::UnsupportedVersion.code();
    for (version, time) in [
        (6, MAX_TIMESTAMP),
        (7, EARLIEST_LOCAL),
        (8, LATEST_TIERED),
        (9, -6),
        (9, -99),
    ] {
        let found = client.list_offset_with(version, &name, 0, time);
        assert_eq!(
            found.error_code, unsupported,
            "version {version}, time {time}"
        );
    }
}

#[test]
fn unknown_places_and_doubled_ones_are_refused() {
    let (_cluster, mut client, name) = timed("refused");
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(
        client.list_offset(&unique("none"), 0, LATEST).error_code,
        unknown
    );
    assert_eq!(client.list_offset(&name, 9, LATEST).error_code, unknown);
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_timestamp(LATEST);
    let topic = ListOffsetsTopic::default()
        .with_name(topic_name(&name))
        .with_partitions(vec![partition.clone(), partition]);
    let request = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![topic]);
    let response = client.call(9, &request);
    let codes: Vec<i16> = response.topics[0]
        .partitions
        .iter()
        .map(|partition| partition.error_code)
        .collect();
    assert_eq!(codes, [ResponseError::InvalidRequest.code()]);
}

#[test]
fn the_end_of_the_only_epoch_is_the_end_of_the_log() {
    let (_cluster, mut client, name) = timed("epochs");
    for version in 2..=4 {
        let mut ask = |epoch: i32, current: i32| {
            let partition = OffsetForLeaderPartition::default()
                .with_partition(0)
                .with_current_leader_epoch(current)
                .with_leader_epoch(epoch);
            let topic = OffsetForLeaderTopic::default()
                .with_topic(topic_name(&name))
                .with_partitions(vec![partition]);
            let mut request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            request.replica_id = BrokerId(if version >= 3 { -1 } else { -2 });
            let answer = client.call(version, &request).topics[0].partitions[0].clone();
            (answer.error_code, answer.leader_epoch, answer.end_offset)
        };
        assert_eq!(ask(0, -1), (0, 0, 4), "version {version}");
        assert_eq!(ask(0, 0), (0, 0, 4), "version {version}");
        assert_eq!(ask(5, -1), (0, -1, -1), "version {version}");
        let unknown = ResponseError::UnknownLeaderEpoch.code();
        assert_eq!(ask(0, 7), (unknown, -1, -1), "version {version}");
    }
}

#[test]
fn deleted_records_are_gone_for_readers() {
    let (_cluster, mut client, name) = timed("records");
    for (version, offset) in (0..=2).zip([1, 2, 3]) {
        assert_eq!(
            delete_records(&mut client, version, &name, offset),
            (0, offset),
            "version {version}"
        );
    }
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    assert_eq!(client.fetch(&name, 0, 2).error_code, out_of_range);
    assert_eq!(client.fetch(&name, 0, 3).log_start_offset, 3);
    // Going back is no error and changes nothing.
    assert_eq!(delete_records(&mut client, 2, &name, 1), (0, 3));
    assert_eq!(delete_records(&mut client, 2, &name, 5), (out_of_range, -1));
    assert_eq!(delete_records(&mut client, 2, &name, -2).0, out_of_range);
    assert_eq!(delete_records(&mut client, 2, &name, -1), (0, 4));
    assert_eq!(client.produce_at(&name, 0, &[("next", 5000)]), 4);
    assert_eq!(client.values(&name, 0, 4), ["next"]);
}

#[test]
fn records_of_a_compacted_topic_are_not_deleted() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("compacted");
    client.create_topic(&name, 1, &[("cleanup.policy", "compact")]);
    assert_eq!(
        delete_records(&mut client, 2, &name, 0).0,
        ResponseError::PolicyViolation.code()
    );
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(
        delete_records(&mut client, 2, &unique("none"), 0),
        (unknown, -1)
    );
}
