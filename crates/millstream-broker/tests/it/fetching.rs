//! Fetch: what is read, how long it waits, how much it gives.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest};
use uuid::Uuid;

use crate::cluster::{Cluster, Deadline, unique};
use crate::raw::{batch, fetch_request, produce_request, records, topic_name, values};

#[test]
fn every_version_gives_the_records() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("versions");
    let id = client.create_topic(&name, 1, &[]);
    client.produce_at(&name, 0, &[("a", 1000), ("b", 2000)]);
    for version in 4..=18 {
        let mut request = fetch_request(&name, 0, 1);
        if version >= 13 {
            request.topics[0].topic = Default::default();
            request.topics[0].topic_id = id;
        }
        let response = client.call(version, &request);
        let data = &response.responses[0].partitions[0];
        assert_eq!(
            (
                data.error_code,
                data.high_watermark,
                data.last_stable_offset
            ),
            (0, 2, 2),
            "version {version}"
        );
        // The batch is given whole; the client skips what lies before its offset.
        assert_eq!(values(data), ["a", "b"], "version {version}");
    }
}

#[test]
fn large_answers_are_whole_in_every_encoding() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("large");
    let id = client.create_topic(&name, 3, &[]);
    let value = "x".repeat(10_000);
    for partition in 0..3 {
        for _ in 0..20 {
            client.produce_at(&name, partition, &[(&value, 1000)]);
        }
    }
    for version in [4, 11, 12, 13, 18] {
        let mut request = fetch_request(&name, 0, 0);
        for partition in 1..3 {
            let more = FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(5)
                .with_partition_max_bytes(1 << 20);
            request.topics[0].partitions.push(more);
        }
        if version >= 13 {
            request.topics[0].topic = Default::default();
            request.topics[0].topic_id = id;
        }
        let response = client.call(version, &request);
        let counts: Vec<usize> = response.responses[0]
            .partitions
            .iter()
            .map(|data| records(data).len())
            .collect();
        assert_eq!(counts, [20, 15, 15], "version {version}");
    }
}

#[test]
fn offsets_outside_the_log_are_out_of_range() {
    let (mut client, name) = Cluster::start().with_topic("range", 1);
    client.produce_at(&name, 0, &[("a", 1000)]);
    let data = client.fetch(&name, 0, 1);
    assert_eq!(
        (data.error_code, data.high_watermark, records(&data).len()),
        (0, 1, 0)
    );
    for offset in [2, -1] {
        let data = client.fetch(&name, 0, offset);
        assert_eq!(
            data.error_code,
            ResponseError::OffsetOutOfRange.code(),
            "offset {offset}"
        );
        assert_eq!(data.high_watermark, -1, "offset {offset}");
    }
}

#[test]
fn unknown_places_are_refused() {
    let (mut client, name) = Cluster::start().with_topic("places", 1);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(client.fetch(&unique("none"), 0, 0).error_code, unknown);
    assert_eq!(client.fetch(&name, 5, 0).error_code, unknown);
    let mut request = fetch_request("", 0, 0);
    request.topics[0].topic_id = Uuid::new_v4();
    let data = client.call(13, &request).responses[0].partitions[0].clone();
    assert_eq!(data.error_code, ResponseError::UnknownTopicId.code());
}

#[test]
fn a_leader_epoch_from_the_future_is_unknown() {
    let (mut client, name) = Cluster::start().with_topic("epoch", 1);
    let mut request = fetch_request(&name, 0, 0);
    request.topics[0].partitions[0].current_leader_epoch = 99;
    let data = client.call(12, &request).responses[0].partitions[0].clone();
    assert_eq!(data.error_code, ResponseError::UnknownLeaderEpoch.code());
}

#[test]
fn limits_hold_but_for_the_first_batch() {
    let (mut client, name) = Cluster::start().with_topic("limits", 2);
    let value = "x".repeat(1000);
    for partition in 0..2 {
        for _ in 0..5 {
            client.produce_at(&name, partition, &[(&value, 1000)]);
        }
    }
    let mut ask = |max_bytes: i32, partition_max_bytes: i32| {
        let mut request = fetch_request(&name, 0, 0).with_max_bytes(max_bytes);
        let second = FetchPartition::default().with_partition(1);
        request.topics[0].partitions.push(second);
        for partition in &mut request.topics[0].partitions {
            partition.partition_max_bytes = partition_max_bytes;
        }
        let response = client.call(11, &request);
        let counts = response.responses[0]
            .partitions
            .iter()
            .map(|data| records(data).len());
        counts.collect::<Vec<usize>>()
    };
    assert_eq!(ask(1 << 20, 1 << 20), [5, 5]);
    assert_eq!(ask(1, 1), [1, 0]);
    assert_eq!(ask(1 << 20, 2300), [2, 2]);
    assert_eq!(ask(2300, 1 << 20), [2, 0]);
}

#[test]
fn a_fetch_waits_for_records_and_is_woken_by_them() {
    let cluster = Cluster::start();
    let (mut consumer, name) = cluster.with_topic("woken", 2);
    let mut producer = cluster.connect();
    let mut request = fetch_request(&name, 0, 0).with_max_wait_ms(30_000);
    request.topics[0].partitions.push(
        FetchPartition::default()
            .with_partition(1)
            .with_partition_max_bytes(1 << 20),
    );
    let deadline = Deadline::in_seconds(20);
    consumer.send(12, &request);
    producer.produce_at(&name, 1, &[("awaited", 1000)]);
    let response = consumer.receive::<FetchRequest>(12);
    assert!(!deadline.passed(), "the fetch slept over the record");
    assert_eq!(values(&response.responses[0].partitions[1]), ["awaited"]);
}

#[test]
fn an_unknown_place_beside_a_good_one_does_not_end_the_wait() {
    let cluster = Cluster::start();
    let (mut consumer, name) = cluster.with_topic("beside", 1);
    let mut producer = cluster.connect();
    let mut request = fetch_request(&name, 0, 0).with_max_wait_ms(30_000);
    let missing = request.topics[0].partitions[0].clone().with_partition(7);
    request.topics[0].partitions.push(missing);
    let gone = fetch_request(&unique("gone"), 0, 0).topics.remove(0);
    request.topics.push(gone);
    consumer.send(12, &request);
    producer.produce_at(&name, 0, &[("awaited", 1000)]);
    let response = consumer.receive::<FetchRequest>(12);
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    // Kafka lists what it does not know first.
    let parts = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    let mut told: Vec<_> = parts
        .map(|data| (data.partition_index, data.error_code, values(data)))
        .collect();
    told.sort();
    let awaited = vec!["awaited".to_owned()];
    assert_eq!(
        told,
        [(0, 0, awaited), (0, unknown, vec![]), (7, unknown, vec![])]
    );
}

#[test]
fn what_is_out_of_range_beside_a_good_one_is_told_at_once() {
    let (mut consumer, name) = Cluster::start().with_topic("at-once", 2);
    // Longer than the client waits for an answer.
    let mut request = fetch_request(&name, 0, 0).with_max_wait_ms(600_000);
    let beyond = request.topics[0].partitions[0].clone();
    request.topics[0]
        .partitions
        .push(beyond.with_partition(1).with_fetch_offset(5));
    let response = consumer.call(12, &request);
    let codes = response.responses[0].partitions.iter();
    let codes: Vec<_> = codes
        .map(|data| (data.partition_index, data.error_code))
        .collect();
    assert_eq!(codes, [(0, 0), (1, ResponseError::OffsetOutOfRange.code())]);
}

#[test]
fn a_fetch_waits_for_min_bytes_in_total() {
    let cluster = Cluster::start();
    let (mut consumer, name) = cluster.with_topic("minimum", 2);
    let mut producer = cluster.connect();
    let value = "x".repeat(1000);
    let mut request = fetch_request(&name, 0, 0)
        .with_max_wait_ms(30_000)
        .with_min_bytes(3000);
    request.topics[0].partitions.push(
        FetchPartition::default()
            .with_partition(1)
            .with_partition_max_bytes(1 << 20),
    );
    consumer.send(12, &request);
    for partition in [0, 1, 0] {
        producer.produce_at(&name, partition, &[(&value, 1000)]);
    }
    let response = consumer.receive::<FetchRequest>(12);
    let counts: Vec<usize> = response.responses[0]
        .partitions
        .iter()
        .map(|data| records(data).len())
        .collect();
    assert_eq!(counts, [2, 1]);
}

#[test]
fn a_fetch_does_not_wait_for_more_than_it_may_be_given() {
    let cluster = Cluster::start();
    let (mut client, name) = cluster.with_topic("contradictory", 2);
    let value = "x".repeat(1000);
    for _ in 0..3 {
        client.produce_at(&name, 0, &[(&value, 1000)]);
        client.produce_at(&name, 1, &[(&value, 1000)]);
    }
    let mut request = fetch_request(&name, 0, 0)
        .with_max_wait_ms(30_000)
        .with_min_bytes(1 << 20)
        .with_max_bytes(2500);
    let second = FetchPartition::default()
        .with_partition(1)
        .with_partition_max_bytes(1 << 20);
    request.topics[0].partitions.push(second);
    let deadline = Deadline::in_seconds(20);
    let response = client.call(12, &request);
    assert!(
        !deadline.passed(),
        "the fetch waited for what it must not be given"
    );
    assert_eq!(records(&response.responses[0].partitions[0]).len(), 2);
}

#[test]
fn a_partition_at_its_limit_is_not_read_again_and_again() {
    let cluster = Cluster::start();
    let (mut consumer, name) = cluster.with_topic("full", 1);
    let mut producer = cluster.connect();
    let value = "x".repeat(1000);
    let mut request = fetch_request(&name, 0, 0)
        .with_max_wait_ms(300)
        .with_min_bytes(1 << 20);
    request.topics[0].partitions[0].partition_max_bytes = 2500;
    consumer.send(12, &request);
    for _ in 0..5 {
        producer.produce_at(&name, 0, &[(&value, 1000)]);
    }
    let response = consumer.receive::<FetchRequest>(12);
    assert_eq!(records(&response.responses[0].partitions[0]).len(), 2);
}

#[test]
fn a_fetch_returns_empty_when_its_time_is_up() {
    let (mut client, name) = Cluster::start().with_topic("time", 1);
    let response = client.call(12, &fetch_request(&name, 0, 0).with_max_wait_ms(50));
    let data = &response.responses[0].partitions[0];
    assert_eq!(
        (data.error_code, data.high_watermark, records(data).len()),
        (0, 0, 0)
    );
}

#[test]
fn a_waiting_fetch_learns_that_its_topic_is_deleted() {
    let cluster = Cluster::start();
    let (mut consumer, name) = cluster.with_topic("deleted", 1);
    let mut admin = cluster.connect();
    let deadline = Deadline::in_seconds(20);
    consumer.send(12, &fetch_request(&name, 0, 0).with_max_wait_ms(30_000));
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(&name)])
        .with_timeout_ms(30_000);
    assert_eq!(admin.call(5, &request).responses[0].error_code, 0);
    let response = consumer.receive::<FetchRequest>(12);
    assert!(!deadline.passed(), "the fetch slept over the deletion");
    let code = response.responses[0].partitions[0].error_code;
    let gone = [
        ResponseError::UnknownTopicOrPartition.code(),
        ResponseError::NotLeaderOrFollower.code(),
    ];
    assert!(gone.contains(&code), "{code}");
}

#[test]
fn a_session_that_was_never_given_is_not_found() {
    let (mut client, name) = Cluster::start().with_topic("session", 1);
    let request = fetch_request(&name, 0, 0)
        .with_session_id(123_456)
        .with_session_epoch(5);
    assert_eq!(
        client.call(12, &request).error_code,
        ResponseError::FetchSessionIdNotFound.code()
    );
    // Asking for a session gives all that was asked for, with a session or without.
    let request = fetch_request(&name, 0, 0).with_session_epoch(0);
    let response = client.call(12, &request);
    assert_eq!((response.error_code, response.responses.len()), (0, 1));
}

#[test]
fn committed_reads_have_a_list_of_aborted_transactions() {
    let (mut client, name) = Cluster::start().with_topic("isolation", 1);
    client.produce_at(&name, 0, &[("a", 1000)]);
    let data = client.call(12, &fetch_request(&name, 0, 0).with_isolation_level(1));
    assert_eq!(
        data.responses[0].partitions[0].aborted_transactions,
        Some(Vec::new())
    );
    let data = client.call(12, &fetch_request(&name, 0, 0));
    assert_eq!(data.responses[0].partitions[0].aborted_transactions, None);
}

#[test]
fn records_appended_behind_a_pending_fetch_of_the_same_connection_are_served_after_it() {
    let (mut client, name) = Cluster::start().with_topic("muted", 1);
    client.send(12, &fetch_request(&name, 0, 0).with_max_wait_ms(100));
    client.send(9, &produce_request(&name, 0, batch(&[("later", 1)])));
    let first = client.receive_frame().unwrap();
    let second = client.receive_frame().unwrap();
    // The ids count up: the answer to the fetch comes first, though the produce could have been served at once.
    let id = |frame: &bytes::Bytes| i32::from_be_bytes(*frame.first_chunk().unwrap());
    assert_eq!(id(&first) + 1, id(&second));
    assert_eq!(client.values(&name, 0, 0), ["later"]);
}

#[test]
fn a_fetch_of_nothing_is_answered_at_once() {
    let mut client = Cluster::start().connect();
    let deadline = Deadline::in_seconds(20);
    let request = FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(30_000)
        .with_min_bytes(1)
        .with_session_epoch(-1);
    assert_eq!(client.call(12, &request).responses.len(), 0);
    assert!(!deadline.passed());
}
