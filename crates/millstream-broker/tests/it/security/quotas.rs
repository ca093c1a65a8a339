//! Quotas: set, shown, kept, and paid for by waiting.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{
    AlterClientQuotasRequest, CreateTopicsRequest, DeleteTopicsRequest,
    DescribeClientQuotasRequest, MetadataRequest,
};

use super::Secured;
use crate::raw::{Client, batch, fetch_request, now_ms, produce_request, text, topic_name};
use crate::support::eventually;

/// What every client of these tests calls itself.
const CLIENT_ID: &str = "raw-test";

fn entry(kind: &str, name: Option<&str>, ops: &[(&str, Option<f64>)]) -> EntryData {
    let entity = EntityData::default()
        .with_entity_type(text(kind))
        .with_entity_name(name.map(text));
    let ops = ops.iter().map(|(key, value)| {
        OpData::default()
            .with_key(text(key))
            .with_value(value.unwrap_or_default())
            .with_remove(value.is_none())
    });
    EntryData::default()
        .with_entity(vec![entity])
        .with_ops(ops.collect())
}

fn alter(client: &mut Client, entry: EntryData) -> i16 {
    let request = AlterClientQuotasRequest::default().with_entries(vec![entry]);
    client.call(1, &request).entries[0].error_code
}

/// The quotas of client ids: by name (`*` for the default), key and value.
fn described(client: &mut Client) -> Vec<(String, String, f64)> {
    let any = ComponentData::default()
        .with_entity_type(text("client-id"))
        .with_match_type(2)
        .with_match(None);
    let request = DescribeClientQuotasRequest::default().with_components(vec![any]);
    let entries = client.call(1, &request).entries.unwrap();
    let values = entries.iter().flat_map(|entry| {
        let name = entry.entity[0].entity_name.as_ref();
        let name = name.map_or("*".to_owned(), |name| name.to_string());
        let values = entry.values.iter();
        values.map(move |of| (name.clone(), of.key.to_string(), of.value))
    });
    values.collect()
}

#[test]
fn quotas_are_set_shown_kept_and_removed() {
    let mut secured = Secured::start(|_, _| {});
    let mut client = Client::connect(&secured.address(0));
    let named = entry(
        "client-id",
        Some("app"),
        &[("producer_byte_rate", Some(1e6))],
    );
    let default = entry("client-id", None, &[("consumer_byte_rate", Some(2e6))]);
    assert_eq!(
        [alter(&mut client, named), alter(&mut client, default)],
        [0, 0]
    );
    let invalid = ResponseError::InvalidRequest.code();
    for wrong in [
        entry("client-id", Some("app"), &[("speed", Some(1.0))]),
        entry(
            "client-id",
            Some("app"),
            &[("producer_byte_rate", Some(0.0))],
        ),
        entry("planet", Some("app"), &[("producer_byte_rate", Some(1.0))]),
    ] {
        assert_eq!(alter(&mut client, wrong), invalid);
    }
    secured.restart(|_, _| {});
    let mut client = Client::connect(&secured.address(0));
    let both = [
        ("*".to_owned(), "consumer_byte_rate".to_owned(), 2e6),
        ("app".to_owned(), "producer_byte_rate".to_owned(), 1e6),
    ];
    assert_eq!(described(&mut client), both);
    let removed = entry("client-id", None, &[("consumer_byte_rate", None)]);
    assert_eq!(alter(&mut client, removed), 0);
    assert_eq!(described(&mut client), both[1..]);
}

#[test]
fn what_goes_beyond_a_quota_is_answered_with_the_time_to_wait() {
    let secured = Secured::start(|_, _| {});
    let mut client = Client::connect(&secured.address(0));
    client.create_topic("a", 1, &[]);
    let value = "x".repeat(200_000);
    let request = produce_request("a", 0, batch(&[(&value, now_ms())]));
    assert_eq!(client.call(9, &request).throttle_time_ms, 0);
    let rates = [
        ("producer_byte_rate", Some(1000.0)),
        ("consumer_byte_rate", Some(1000.0)),
    ];
    assert_eq!(
        alter(&mut client, entry("client-id", Some(CLIENT_ID), &rates)),
        0
    );
    let response = client.call(9, &request);
    // Far more than is paid for by ten seconds: the longest wait that there is.
    assert_eq!(response.throttle_time_ms, 30_000);
    let written = &response.responses[0].partition_responses[0];
    assert_eq!((written.error_code, written.base_offset), (0, 1));
    let mut reader = Client::connect(&secured.address(0));
    let response = reader.call(12, &fetch_request("a", 0, 0));
    assert_eq!(response.throttle_time_ms, 30_000);
    // Who has to wait does not hold up the end of the broker, and neither do others wait.
    let mut other = Client::connect(&secured.address(0));
    assert_eq!(described(&mut other).len(), 2);
}

#[test]
fn the_time_that_requests_take_is_paid_for_by_waiting() {
    let secured = Secured::start(|_, _| {});
    let mut client = Client::connect(&secured.address(0));
    client.create_topic("a", 1, &[]);
    assert_eq!(
        client
            .call(12, &MetadataRequest::default())
            .throttle_time_ms,
        0
    );
    // A hundred-thousandth of one thread: ten seconds of it are a tenth of a millisecond of work.
    let percentage = [("request_percentage", Some(0.001))];
    let named = entry("client-id", Some(CLIENT_ID), &percentage);
    assert_eq!(alter(&mut client, named), 0);
    let throttled = eventually("a request that has to wait", || {
        let response = client.call(12, &MetadataRequest::default());
        (response.throttle_time_ms > 0).then_some(response)
    });
    // No longer than a second, as in Kafka, and it is answered all the same.
    assert!(throttled.throttle_time_ms <= 1000);
    assert_eq!(throttled.brokers.len(), 1);
    let request = produce_request("a", 0, batch(&[("value", now_ms())]));
    let response = client.call(9, &request);
    assert!((1..=1000).contains(&response.throttle_time_ms));
    assert_eq!(response.responses[0].partition_responses[0].error_code, 0);
}

#[test]
fn who_makes_too_many_partitions_is_refused_or_waits() {
    let secured = Secured::start(|_, _| {});
    let mut client = Client::connect(&secured.address(0));
    let rate = [("controller_mutation_rate", Some(1.0))];
    let named = entry("client-id", Some(CLIENT_ID), &rate);
    assert_eq!(alter(&mut client, named), 0);
    let create = |name: &str, partitions| {
        let topic = CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(partitions)
            .with_replication_factor(1);
        CreateTopicsRequest::default().with_topics(vec![topic])
    };
    // Ten seconds' worth, and so much more that the next ones have to wait for long.
    let response = client.call(7, &create("many", 100));
    assert_eq!(
        (response.topics[0].error_code, response.throttle_time_ms),
        (0, 30_000)
    );
    let mut other = Client::connect(&secured.address(0));
    let response = other.call(7, &create("more", 1));
    let exceeded = ResponseError::ThrottlingQuotaExceeded.code();
    assert_eq!(response.topics[0].error_code, exceeded);
    assert!(response.throttle_time_ms > 0);
    let mut other = Client::connect(&secured.address(0));
    let deletion = DeleteTopicsRequest::default().with_topics(vec![
        DeleteTopicState::default().with_name(Some(topic_name("many"))),
    ]);
    let response = other.call(6, &deletion);
    assert_eq!(response.responses[0].error_code, exceeded);
    // A version that does not know the error is served, and waits.
    let mut old = Client::connect(&secured.address(0));
    let response = old.call(5, &create("more", 1));
    assert_eq!(response.topics[0].error_code, 0);
    assert!(response.throttle_time_ms > 0);
}
