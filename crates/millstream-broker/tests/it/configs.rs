//! DescribeConfigs, AlterConfigs and IncrementalAlterConfigs.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::{self, AlterConfigsRequest};
use kafka_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::incremental_alter_configs_request::{
    self, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;

use crate::cluster::{Cluster, eventually, unique};
use crate::raw::{Client, text};

mod groups;

/// A config, what is done to it, and with which value.
pub(crate) type Change<'a> = (&'a str, i8, Option<&'a str>);

pub(crate) const TOPIC: i8 = 2;
pub(crate) const BROKER: i8 = 4;
pub(crate) const SET: i8 = 0;
pub(crate) const DELETE: i8 = 1;
pub(crate) const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) fn describe(
    client: &mut Client,
    version: i16,
    kind: i8,
    name: &str,
    keys: Option<&[&str]>,
) -> DescribeConfigsResult {
    let keys = keys.map(|keys| keys.iter().map(|key| text(key)).collect());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    let mut request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true);
    if version >= 3 {
        request.include_documentation = true;
    }
    client.call(version, &request).results[0].clone()
}

pub(crate) fn config(client: &mut Client, topic: &str, key: &str) -> DescribeConfigsResourceResult {
    let result = describe(client, 4, TOPIC, topic, Some(&[key]));
    assert_eq!((result.error_code, result.configs.len()), (0, 1), "{key}");
    result.configs[0].clone()
}

fn value(client: &mut Client, topic: &str, key: &str) -> String {
    config(client, topic, key).value.unwrap().to_string()
}

fn change(
    client: &mut Client,
    topic: &str,
    changes: &[Change<'_>],
) -> AlterConfigsResourceResponse {
    change_with(client, 1, TOPIC, topic, changes)
}

pub(crate) fn change_with(
    client: &mut Client,
    version: i16,
    kind: i8,
    name: &str,
    changes: &[Change<'_>],
) -> AlterConfigsResourceResponse {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = changes.iter().map(|(key, operation, value)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    client
        .call(
            version,
            &IncrementalAlterConfigsRequest::default().with_resources(vec![resource]),
        )
        .responses[0]
        .clone()
}

#[test]
fn every_version_describes_all_configs_of_a_topic() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("described");
    client.create_topic(&name, 1, &[("retention.ms", "1234")]);
    for version in 1..=4 {
        let result = describe(&mut client, version, TOPIC, &name, None);
        assert_eq!(result.error_code, 0, "version {version}");
        let find = |key: &str| {
            result
                .configs
                .iter()
                .find(|config| config.name == text(key))
                .unwrap()
        };
        let retention = find("retention.ms");
        assert_eq!(
            (retention.value.as_deref(), retention.config_source),
            (Some("1234"), 1),
            "version {version}"
        );
        assert_eq!(
            retention.synonyms[0].name,
            text("retention.ms"),
            "version {version}"
        );
        let policy = find("cleanup.policy");
        assert_eq!(
            (policy.value.as_deref(), policy.config_source),
            (Some("delete"), 5),
            "version {version}"
        );
        if version >= 3 {
            assert_eq!(
                (retention.config_type, policy.config_type),
                (5, 7),
                "version {version}"
            );
            assert!(retention.documentation.is_some(), "version {version}");
        }
    }
}

#[test]
fn a_topic_has_the_configs_of_kafka() {
    let (mut client, name) = Cluster::start().with_topic("all", 1);
    let result = describe(&mut client, 4, TOPIC, &name, None);
    let mut found: Vec<(String, String, i8)> = result
        .configs
        .iter()
        .map(|config| {
            (
                config.name.to_string(),
                config.value.clone().unwrap().to_string(),
                config.config_type,
            )
        })
        .collect();
    found.sort();
    let forever = i64::MAX.to_string();
    let expected = [
        ("cleanup.policy", "delete", 7),
        ("compression.gzip.level", "-1", 3),
        ("compression.lz4.level", "9", 3),
        ("compression.type", "producer", 2),
        ("compression.zstd.level", "3", 3),
        ("delete.retention.ms", "86400000", 5),
        ("file.delete.delay.ms", "60000", 5),
        ("flush.messages", &forever, 5),
        ("flush.ms", &forever, 5),
        ("follower.replication.throttled.replicas", "", 7),
        ("index.interval.bytes", "4096", 3),
        ("leader.replication.throttled.replicas", "", 7),
        ("local.retention.bytes", "-2", 5),
        ("local.retention.ms", "-2", 5),
        ("max.compaction.lag.ms", &forever, 5),
        ("max.message.bytes", "1048588", 3),
        ("message.timestamp.after.max.ms", "3600000", 5),
        ("message.timestamp.before.max.ms", &forever, 5),
        ("message.timestamp.type", "CreateTime", 2),
        ("min.cleanable.dirty.ratio", "0.5", 6),
        ("min.compaction.lag.ms", "0", 5),
        ("min.insync.replicas", "1", 3),
        ("preallocate", "false", 1),
        ("remote.log.copy.disable", "false", 1),
        ("remote.log.delete.on.disable", "false", 1),
        ("remote.storage.enable", "false", 1),
        ("retention.bytes", "-1", 5),
        ("retention.ms", "604800000", 5),
        ("segment.bytes", "1073741824", 3),
        ("segment.index.bytes", "10485760", 3),
        ("segment.jitter.ms", "0", 5),
        ("segment.ms", "604800000", 5),
        ("unclean.leader.election.enable", "false", 1),
    ];
    let expected: Vec<(String, String, i8)> = expected
        .iter()
        .map(|(name, value, kind)| ((*name).to_owned(), (*value).to_owned(), *kind))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn unknown_resources_are_refused() {
    let mut client = Cluster::start().connect();
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(
        describe(&mut client, 4, TOPIC, &unique("none"), None).error_code,
        unknown
    );
    let invalid = ResponseError::InvalidTopicException.code();
    assert_eq!(
        describe(&mut client, 4, TOPIC, "not/valid", None).error_code,
        invalid
    );
    let invalid = ResponseError::InvalidRequest.code();
    assert_eq!(
        describe(&mut client, 4, BROKER, "999", None).error_code,
        invalid
    );
    assert_eq!(
        describe(&mut client, 4, BROKER, "one", None).error_code,
        invalid
    );
}

#[test]
fn the_brokers_configs_can_be_read() {
    let mut client = Cluster::start().connect();
    let id = client
        .call(12, &kafka_protocol::messages::MetadataRequest::default())
        .brokers[0]
        .node_id
        .0
        .to_string();
    let result = describe(
        &mut client,
        4,
        BROKER,
        &id,
        Some(&["node.id", "num.partitions", "log.retention.ms"]),
    );
    assert_eq!(result.error_code, 0);
    let node = result
        .configs
        .iter()
        .find(|config| config.name == text("node.id"))
        .unwrap();
    assert_eq!(
        (node.value.as_deref(), node.read_only),
        (Some(id.as_str()), true)
    );
    // What all brokers share: nothing was ever set there.
    assert_eq!(describe(&mut client, 4, BROKER, "", None).error_code, 0);
}

#[test]
fn single_configs_are_set_and_deleted() {
    let (mut client, name) = Cluster::start().with_topic("changed", 1);
    for version in 0..=1 {
        let changes = [
            ("retention.ms", SET, Some("5000")),
            ("segment.ms", SET, Some("6000")),
        ];
        assert_eq!(
            change_with(&mut client, version, TOPIC, &name, &changes).error_code,
            0
        );
        eventually("the change", || {
            (value(&mut client, &name, "retention.ms") == "5000").then_some(())
        });
        assert_eq!(value(&mut client, &name, "segment.ms"), "6000");
        assert_eq!(
            change(&mut client, &name, &[("retention.ms", DELETE, None)]).error_code,
            0
        );
        eventually("the change", || {
            (value(&mut client, &name, "retention.ms") == "604800000").then_some(())
        });
        assert_eq!(config(&mut client, &name, "retention.ms").config_source, 5);
        assert_eq!(value(&mut client, &name, "segment.ms"), "6000");
    }
}

#[test]
fn lists_are_appended_to_and_taken_from() {
    let (mut client, name) = Cluster::start().with_topic("lists", 1);
    assert_eq!(
        change(
            &mut client,
            &name,
            &[("cleanup.policy", APPEND, Some("compact"))]
        )
        .error_code,
        0
    );
    eventually("the change", || {
        (value(&mut client, &name, "cleanup.policy") == "delete,compact").then_some(())
    });
    assert_eq!(
        change(
            &mut client,
            &name,
            &[("cleanup.policy", SUBTRACT, Some("delete"))]
        )
        .error_code,
        0
    );
    eventually("the change", || {
        (value(&mut client, &name, "cleanup.policy") == "compact").then_some(())
    });
    let refused = change(&mut client, &name, &[("retention.ms", APPEND, Some("1"))]);
    assert_eq!(refused.error_code, ResponseError::InvalidConfig.code());
}

#[test]
fn bad_changes_change_nothing() {
    let (mut client, name) = Cluster::start().with_topic("bad", 1);
    let (config, request) = (
        ResponseError::InvalidConfig.code(),
        ResponseError::InvalidRequest.code(),
    );
    let cases: [(&[Change<'_>], i16); 5] = [
        (&[("retention.ms", SET, Some("soon"))], config),
        (&[("no.such.config", SET, Some("1"))], config),
        (
            &[
                ("segment.ms", SET, Some("1000")),
                ("retention.ms", SET, Some("-5")),
            ],
            config,
        ),
        (&[("retention.ms", SET, None)], request),
        (
            &[
                ("retention.ms", SET, Some("1")),
                ("retention.ms", SET, Some("2")),
            ],
            request,
        ),
    ];
    for (changes, code) in cases {
        let refused = change(&mut client, &name, changes);
        assert_eq!(
            refused.error_code, code,
            "{changes:?}: {:?}",
            refused.error_message
        );
    }
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    assert_eq!(
        change(
            &mut client,
            &unique("none"),
            &[("retention.ms", SET, Some("1"))]
        )
        .error_code,
        unknown
    );
    assert_eq!(value(&mut client, &name, "retention.ms"), "604800000");
    assert_eq!(value(&mut client, &name, "segment.ms"), "604800000");
}

#[test]
fn altering_replaces_all_configs() {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let name = unique("replaced");
    client.create_topic(&name, 1, &[("segment.ms", "6000")]);
    for version in 0..=2 {
        let retention = format!("{}", 1000 + version);
        let mut alter = |key: &str, value: &str, dry: bool| {
            let config = AlterableConfig::default()
                .with_name(text(key))
                .with_value(Some(text(value)));
            let resource = AlterConfigsResource::default()
                .with_resource_type(TOPIC)
                .with_resource_name(text(&name))
                .with_configs(vec![config]);
            let request = AlterConfigsRequest::default()
                .with_resources(vec![resource])
                .with_validate_only(dry);
            client.call(version, &request).responses[0].error_code
        };
        assert_eq!(
            alter("retention.ms", "soon", false),
            ResponseError::InvalidConfig.code()
        );
        assert_eq!(alter("retention.ms", "77", true), 0);
        assert_eq!(alter("retention.ms", &retention, false), 0);
        eventually("the change", || {
            (value(&mut client, &name, "retention.ms") == retention).then_some(())
        });
        assert_eq!(value(&mut client, &name, "segment.ms"), "604800000");
    }
}

#[test]
fn a_changed_limit_holds_for_the_next_batch() {
    let (mut client, name) = Cluster::start().with_topic("limit", 1);
    let large = "x".repeat(2000);
    client.produce_at(&name, 0, &[(&large, 1)]);
    assert_eq!(
        change(
            &mut client,
            &name,
            &[("max.message.bytes", SET, Some("1000"))]
        )
        .error_code,
        0
    );
    eventually("the new limit", || {
        let produced = client.produce(&name, 0, crate::raw::batch(&[(&large, 1)]));
        (produced.error_code == ResponseError::MessageTooLarge.code()).then_some(())
    });
}
