//! Quotas: set, shown, kept, and paid for by waiting.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::describe_client_quotas_request::ComponentData;
use kafka_protocol::messages::{AlterClientQuotasRequest, DescribeClientQuotasRequest};

use super::Secured;
use crate::raw::{Client, batch, fetch_request, now_ms, produce_request, text};

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
