//! What is shown of transactions: lists, descriptions, and the producers of a partition.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest,
    ListTransactionsResponse, ProducerId,
};

use super::protocol::{add, batch_of, end, init, produce, stable, transactional_id};
use crate::cluster::Cluster;
use crate::raw::{Client, text, topic_name};
use crate::support::fresh;

fn listed(response: &ListTransactionsResponse, id: &str) -> Vec<(i64, String)> {
    response
        .transaction_states
        .iter()
        .filter(|one| one.transactional_id.as_str() == id)
        .map(|one| (one.producer_id.0, one.transaction_state.to_string()))
        .collect()
}

fn list(client: &mut Client, request: ListTransactionsRequest) -> ListTransactionsResponse {
    let response = client.call(2, &request);
    assert_eq!(response.error_code, 0);
    response
}

#[test]
fn transactions_are_listed_by_state_producer_duration_and_pattern() {
    let (mut client, topic) = Cluster::start().with_topic("listed", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    let all = || ListTransactionsRequest::default().with_duration_filter(-1);
    let empty = vec![(by.0, "Empty".to_owned())];
    assert_eq!(listed(&list(&mut client, all()), &id), empty);
    add(&mut client, &id, by, &topic);
    let ongoing = vec![(by.0, "Ongoing".to_owned())];
    assert_eq!(listed(&list(&mut client, all()), &id), ongoing);
    let states = all().with_state_filters(vec![text("Empty"), text("Napping")]);
    let response = list(&mut client, states);
    assert_eq!(listed(&response, &id), []);
    assert_eq!(response.unknown_state_filters, [text("Napping")]);
    let producers = all().with_producer_id_filters(vec![ProducerId(by.0)]);
    assert_eq!(listed(&list(&mut client, producers), &id), ongoing);
    let long = all().with_duration_filter(3_600_000);
    assert_eq!(listed(&list(&mut client, long), &id), []);
    let pattern = |text_: &str| all().with_transactional_id_pattern(Some(text(text_)));
    assert_eq!(listed(&list(&mut client, pattern("txn-.*")), &id), ongoing);
    assert_eq!(listed(&list(&mut client, pattern("tx")), &id), []);
    let broken = client.call(2, &pattern("(")).error_code;
    assert_eq!(broken, ResponseError::InvalidRegularExpression.code());
}

#[test]
fn a_transaction_is_described_with_its_partitions() {
    let (mut client, topic) = Cluster::start().with_topic("described", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    let unknown = fresh("nobody");
    let request = DescribeTransactionsRequest::default()
        .with_transactional_ids(vec![transactional_id(&id), transactional_id(&unknown)]);
    add(&mut client, &id, by, &topic);
    let response = client.call(0, &request);
    let state = |id: &str| {
        let mut states = response.transaction_states.iter();
        states
            .find(|one| one.transactional_id.as_str() == id)
            .unwrap()
    };
    let (known, other) = (state(&id), state(&unknown));
    assert_eq!(
        other.error_code,
        ResponseError::TransactionalIdNotFound.code()
    );
    assert_eq!(
        (known.error_code, known.transaction_timeout_ms),
        (0, 60_000)
    );
    assert_eq!((known.producer_id.0, known.producer_epoch), by);
    assert_eq!(known.transaction_state.as_str(), "Ongoing");
    assert!(known.transaction_start_time_ms > 0);
    let topics: Vec<_> = known
        .topics
        .iter()
        .map(|one| (one.topic.to_string(), one.partitions.clone()))
        .collect();
    assert_eq!(topics, [(topic, vec![0])]);
}

#[test]
fn a_partition_shows_where_a_transaction_began() {
    let (mut client, topic) = Cluster::start().with_topic("open", 1);
    let id = fresh("txn");
    let by = init(&mut client, &id);
    client.produce_at(&topic, 0, &[("plain", crate::raw::now_ms())]);
    add(&mut client, &id, by, &topic);
    produce(&mut client, 9, &id, &topic, batch_of(by, 0, "a"));
    let request = DescribeProducersRequest::default().with_topics(vec![
        TopicRequest::default()
            .with_name(topic_name(&topic))
            .with_partition_indexes(vec![0]),
    ]);
    let state = |client: &mut Client| {
        let response = client.call(0, &request);
        let producers = &response.topics[0].partitions[0].active_producers;
        assert_eq!(producers.len(), 1);
        let one = &producers[0];
        (
            one.producer_id.0,
            one.current_txn_start_offset,
            one.last_sequence,
        )
    };
    assert_eq!(state(&mut client), (by.0, 1, 0));
    end(&mut client, &id, by, true);
    stable(&mut client, &topic, 3);
    assert_eq!(state(&mut client), (by.0, -1, 0));
}
