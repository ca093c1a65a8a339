//! Fetch sessions: what is remembered between the requests of a consumer.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::fetch_request::{FetchPartition, ForgottenTopic};
use kafka_protocol::messages::{DeleteTopicsRequest, FetchRequest, FetchResponse};

use crate::cluster::{Cluster, unique};
use crate::raw::{Client, fetch_request, records, topic_name, values};

/// A request for the first `count` partitions of a topic, from their start, that begins a session.
fn beginning(topic: &str, count: i32) -> FetchRequest {
    let mut request = fetch_request(topic, 0, 0).with_session_epoch(0);
    let first = request.topics[0].partitions[0].clone();
    let wanted = (0..count).map(|index| first.clone().with_partition(index));
    request.topics[0].partitions = wanted.collect();
    request
}

/// A request that continues a session and changes nothing.
fn continuing(session: i32, epoch: i32) -> FetchRequest {
    fetch_request("", 0, 0)
        .with_session_id(session)
        .with_session_epoch(epoch)
        .with_topics(Vec::new())
}

/// The partitions of an answer and what they hold.
fn told(response: &FetchResponse) -> Vec<(i32, Vec<String>)> {
    assert_eq!(response.error_code, 0);
    let parts = response
        .responses
        .iter()
        .flat_map(|topic| &topic.partitions);
    parts
        .map(|data| (data.partition_index, values(data)))
        .collect()
}

fn begin(client: &mut Client, topic: &str, count: i32) -> i32 {
    let response = client.call(12, &beginning(topic, count));
    assert_eq!(told(&response).len(), usize::try_from(count).unwrap());
    assert_ne!(response.session_id, 0);
    response.session_id
}

#[test]
fn a_session_tells_only_what_is_new() {
    let (mut client, name) = Cluster::start().with_topic("news", 3);
    let id = begin(&mut client, &name, 3);
    let nothing = client.call(12, &continuing(id, 1));
    assert_eq!((told(&nothing), nothing.session_id), (vec![], id));
    client.produce_at(&name, 1, &[("a", 1000)]);
    let one = told(&client.call(12, &continuing(id, 2)));
    assert_eq!(one, [(1, vec!["a".to_owned()])]);
    // Not acknowledged by a new position: told again.
    let again = told(&client.call(12, &continuing(id, 3)));
    assert_eq!(again, [(1, vec!["a".to_owned()])]);
    let mut moved = fetch_request(&name, 1, 1)
        .with_session_id(id)
        .with_session_epoch(4);
    assert_eq!(told(&client.call(12, &moved)), []);
    moved.session_epoch = 5;
    moved.topics.clear();
    let forgotten = ForgottenTopic::default()
        .with_topic(topic_name(&name))
        .with_partitions(vec![1]);
    moved.forgotten_topics_data = vec![forgotten];
    assert_eq!(told(&client.call(12, &moved)), []);
    for partition in 0..3 {
        client.produce_at(&name, partition, &[("b", 1000)]);
    }
    let b = || vec!["b".to_owned()];
    let mut two = told(&client.call(12, &continuing(id, 6)));
    two.sort();
    assert_eq!(two, [(0, b()), (2, b())]);
}

#[test]
fn topics_by_id_have_sessions_too_and_the_way_of_naming_is_kept() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("by-id");
    let id = client.create_topic(&name, 1, &[]);
    let mut request = beginning(&name, 1);
    request.topics[0].topic = Default::default();
    request.topics[0].topic_id = id;
    let session = client.call(16, &request).session_id;
    assert_ne!(session, 0);
    client.produce_at(&name, 0, &[("a", 1000)]);
    let response = client.call(16, &continuing(session, 1));
    assert_eq!(response.responses[0].topic_id, id);
    assert_eq!(told(&response), [(0, vec!["a".to_owned()])]);
    let other = client.call(12, &continuing(session, 2));
    assert_eq!(
        other.error_code,
        ResponseError::FetchSessionTopicIdError.code()
    );
}

#[test]
fn a_request_that_is_missing_or_repeated_is_noticed() {
    let (mut client, name) = Cluster::start().with_topic("epochs", 1);
    let id = begin(&mut client, &name, 1);
    let mut code = |session, epoch| client.call(12, &continuing(session, epoch)).error_code;
    let wrong = ResponseError::InvalidFetchSessionEpoch.code();
    assert_eq!(code(id, 2), wrong);
    assert_eq!(code(id, 1), 0);
    assert_eq!(code(id, 1), wrong);
    assert_eq!(code(id, 2), 0);
    let unknown = ResponseError::FetchSessionIdNotFound.code();
    assert_eq!(code(123_456, 1), unknown);
    // A request for everything ends the session that it names.
    let last = fetch_request(&name, 0, 0)
        .with_session_id(id)
        .with_session_epoch(-1);
    assert_eq!(client.call(12, &last).session_id, 0);
    assert_eq!(client.call(12, &continuing(id, 3)).error_code, unknown);
}

#[test]
fn a_new_session_takes_the_place_of_the_one_that_is_named() {
    let (mut client, name) = Cluster::start().with_topic("replaced", 1);
    let old = begin(&mut client, &name, 1);
    let response = client.call(12, &beginning(&name, 1).with_session_id(old));
    assert_ne!((response.session_id, response.session_id), (0, old));
    let unknown = ResponseError::FetchSessionIdNotFound.code();
    assert_eq!(client.call(12, &continuing(old, 1)).error_code, unknown);
    let new = continuing(response.session_id, 1);
    assert_eq!(client.call(12, &new).error_code, 0);
}

#[test]
fn an_error_is_told_each_time_and_its_end_as_well() {
    let (mut client, name) = Cluster::start().with_topic("errors", 2);
    let id = begin(&mut client, &name, 2);
    let mut beyond = fetch_request(&name, 1, 7)
        .with_session_id(id)
        .with_session_epoch(1);
    let out_of_range = ResponseError::OffsetOutOfRange.code();
    for epoch in 1..3 {
        beyond.session_epoch = epoch;
        let response = client.call(12, &beyond);
        let told = &response.responses[0].partitions;
        assert_eq!(
            (told.len(), told[0].partition_index, told[0].error_code),
            (1, 1, out_of_range)
        );
        beyond.topics.clear();
    }
    let back = fetch_request(&name, 1, 0)
        .with_session_id(id)
        .with_session_epoch(3);
    assert_eq!(told(&client.call(12, &back)), [(1, vec![])]);
    assert_eq!(told(&client.call(12, &continuing(id, 4))), []);
}

#[test]
fn a_waiting_session_learns_that_one_of_its_topics_is_deleted() {
    let cluster = Cluster::start();
    let (mut consumer, name) = cluster.with_topic("gone", 1);
    let id = begin(&mut consumer, &name, 1);
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(&name)])
        .with_timeout_ms(30_000);
    consumer.send(12, &continuing(id, 1).with_max_wait_ms(30_000));
    let mut admin = cluster.connect();
    assert_eq!(admin.call(5, &request).responses[0].error_code, 0);
    let response = consumer.receive::<FetchRequest>(12);
    assert_ne!(response.responses[0].partitions[0].error_code, 0);
}

#[test]
fn each_partition_of_a_session_has_its_turn() {
    let (mut client, name) = Cluster::start().with_topic("turns", 3);
    let value = "x".repeat(1000);
    for partition in 0..3 {
        for _ in 0..3 {
            client.produce_at(&name, partition, &[(&value, 1000)]);
        }
    }
    // Each answer has room for one batch.
    let response = client.call(12, &beginning(&name, 3).with_max_bytes(1));
    let id = response.session_id;
    let mut next = [0; 3];
    let mut seen = Vec::new();
    let mut response = response;
    for epoch in 1..9 {
        let mut request = continuing(id, epoch).with_max_bytes(1);
        for data in &response.responses[0].partitions {
            let count = i64::try_from(records(data).len()).unwrap();
            if count > 0 {
                let at = &mut next[usize::try_from(data.partition_index).unwrap()];
                *at += count;
                seen.push(data.partition_index);
                request
                    .topics
                    .extend(position(&name, data.partition_index, *at));
            }
        }
        response = client.call(12, &request);
    }
    // Kafka counts turns from the second answer on.
    seen.truncate(4);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, [0, 1, 2]);
}

fn position(
    topic: &str,
    partition: i32,
    offset: i64,
) -> Vec<kafka_protocol::messages::fetch_request::FetchTopic> {
    let mut request = fetch_request(topic, partition, offset);
    request.topics[0].partitions = vec![
        FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20),
    ];
    request.topics
}
