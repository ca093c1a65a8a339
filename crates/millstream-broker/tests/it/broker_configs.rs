//! Configs of the broker: what can be changed while it runs, for whom, and what is said of the rest.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::MetadataRequest;
use kafka_protocol::messages::alter_configs_request::{self, AlterConfigsRequest};
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;

use crate::cluster::{Cluster, eventually, unique};
use crate::configs::{APPEND, BROKER, DELETE, SET, TOPIC, change_with, config, describe};
use crate::raw::{Client, batch, text};
use crate::security::Secured;

const DEFAULT: i8 = 5;
const AT_START: i8 = 4;
const FOR_ALL: i8 = 3;
const FOR_THIS: i8 = 2;

fn id(client: &mut Client) -> String {
    let response = client.call(12, &MetadataRequest::default());
    response.brokers[0].node_id.0.to_string()
}

/// One config of a broker, or of all when there is no name.
fn of_broker(client: &mut Client, name: &str, key: &str) -> Option<DescribeConfigsResourceResult> {
    let result = describe(client, 4, BROKER, name, Some(&[key]));
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    result.configs.into_iter().next()
}

/// Value and source.
fn counts(found: &DescribeConfigsResourceResult) -> (&str, i8) {
    (found.value.as_deref().unwrap(), found.config_source)
}

fn set(client: &mut Client, name: &str, key: &str, value: Option<&str>) {
    let operation = if value.is_some() { SET } else { DELETE };
    let changed = change_with(client, 1, BROKER, name, &[(key, operation, value)]);
    assert_eq!(changed.error_code, 0, "{:?}", changed.error_message);
}

#[test]
fn what_topics_follow_is_changed_for_all_brokers_and_for_one() {
    // Other tests that share a broker would see it.
    let (mut client, topic) = Cluster::embedded(|_| {}).with_topic("follows", 1);
    let id = id(&mut client);
    let key = "log.cleaner.delete.retention.ms";
    let expect = |client: &mut Client, value: &str, source: i8| {
        eventually("the change", || {
            let found = of_broker(client, &id, key).unwrap();
            assert!(!found.read_only);
            let follows = config(client, &topic, "delete.retention.ms");
            let both = [counts(&found), counts(&follows)];
            (both == [(value, source); 2]).then_some(())
        });
    };
    expect(&mut client, "86400000", DEFAULT);
    set(&mut client, "", key, Some("5000"));
    expect(&mut client, "5000", FOR_ALL);
    set(&mut client, &id, key, Some("6000"));
    expect(&mut client, "6000", FOR_THIS);
    let for_all = of_broker(&mut client, "", key).unwrap();
    assert_eq!(counts(&for_all), ("5000", FOR_ALL));
    let found = of_broker(&mut client, &id, key).unwrap();
    let layers: Vec<i8> = found.synonyms.iter().map(|one| one.source).collect();
    assert_eq!(layers, [FOR_THIS, FOR_ALL, DEFAULT]);
    set(&mut client, &id, key, None);
    expect(&mut client, "5000", FOR_ALL);
    set(&mut client, "", key, None);
    expect(&mut client, "86400000", DEFAULT);
    assert_eq!(of_broker(&mut client, "", key), None);
}

#[test]
fn what_is_set_only_at_the_start_is_refused_and_so_are_values_that_cannot_be() {
    let mut client = Cluster::start().connect();
    let id = id(&mut client);
    let invalid = ResponseError::InvalidRequest.code();
    for (key, value) in [
        ("node.id", "7"),
        ("log.retention.ms", "soon"),
        ("group.max.size", "1"),
    ] {
        let refused = change_with(&mut client, 1, BROKER, &id, &[(key, SET, Some(value))]);
        assert_eq!(refused.error_code, invalid, "{key}");
    }
    let both = [
        ("log.roll.ms", SET, Some("1000")),
        ("node.id", SET, Some("7")),
    ];
    let refused = change_with(&mut client, 1, BROKER, &id, &both);
    assert_eq!(refused.error_code, invalid);
    let found = of_broker(&mut client, &id, "log.roll.ms");
    assert_ne!(found.unwrap().config_source, FOR_THIS);
    for name in ["999", "one"] {
        let change = [("log.retention.ms", SET, Some("1000"))];
        let refused = change_with(&mut client, 1, BROKER, name, &change);
        assert_eq!(refused.error_code, invalid, "{name}");
    }
}

#[test]
fn a_refusal_says_what_to_do() {
    let secured = Secured::start(|_, _| {});
    let mut client = Client::connect(&secured.address(0));
    let mut refusal = |key: &str, value: &str| {
        let change = [(key, SET, Some(value))];
        let refused = change_with(&mut client, 1, BROKER, "1", &change);
        refused.error_message.unwrap().to_string()
    };
    assert_eq!(
        refusal("listeners", "PLAINTEXT://:9092"),
        "Cannot update these configs dynamically: listeners. It is set when the broker starts."
    );
    assert_eq!(
        refusal("no.such.config", "1"),
        "Cannot update these configs dynamically: no.such.config. There is no such config; describing the broker lists those that are not read-only."
    );
    assert_eq!(
        refusal("log.retention.ms", "soon"),
        "Invalid value soon for configuration log.retention.ms: Not a number of type LONG"
    );
}

#[test]
fn a_default_holds_for_topics_that_are_there_and_after_a_restart() {
    let mut secured = Secured::start(|config, _| config.retention_ms = 1000);
    let mut client = Client::connect(&secured.address(0));
    client.create_topic("there", 1, &[]);
    let start = of_broker(&mut client, "1", "log.retention.ms").unwrap();
    assert_eq!(counts(&start), ("1000", AT_START));
    set(&mut client, "", "message.max.bytes", Some("1000"));
    set(&mut client, "1", "log.retention.ms", Some("77"));
    let appended = [("log.cleanup.policy", APPEND, Some("compact"))];
    let changed = change_with(&mut client, 1, BROKER, "", &appended);
    assert_eq!(changed.error_code, 0, "{:?}", changed.error_message);
    for round in 0..2 {
        let large = "x".repeat(2000);
        let produced = client.produce("there", 0, batch(&[(&large, 1)]));
        let too_large = ResponseError::MessageTooLarge.code();
        assert_eq!(produced.error_code, too_large, "round {round}");
        let retention = config(&mut client, "there", "retention.ms");
        assert_eq!(counts(&retention), ("77", FOR_THIS));
        let policy = config(&mut client, "there", "cleanup.policy");
        assert_eq!(counts(&policy), ("delete,compact", FOR_ALL));
        secured.restart(|config, _| config.retention_ms = 1000);
        client = Client::connect(&secured.address(0));
    }
    // What replaces all keeps nothing of what was set.
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let only = AlterableConfig::default()
        .with_name(text("log.roll.ms"))
        .with_value(Some(text("5000")));
    let resource = AlterConfigsResource::default()
        .with_resource_type(BROKER)
        .with_resource_name(text("1"))
        .with_configs(vec![only]);
    let mut alter = |dry: bool| {
        let request = AlterConfigsRequest::default().with_resources(vec![resource.clone()]);
        let response = client.call(2, &request.with_validate_only(dry));
        assert_eq!(response.responses[0].error_code, 0);
        let retention = of_broker(&mut client, "1", "log.retention.ms").unwrap();
        counts(&retention).0.to_owned()
    };
    assert_eq!(alter(true), "77");
    assert_eq!(alter(false), "1000");
    let name = unique("new");
    client.create_topic(&name, 1, &[]);
    let of_new = describe(&mut client, 4, TOPIC, &name, Some(&["segment.ms"]));
    assert_eq!(counts(&of_new.configs[0]), ("5000", FOR_THIS));
}
