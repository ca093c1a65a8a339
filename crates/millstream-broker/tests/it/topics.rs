//! Topics: created, found by name and id, grown, deleted.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use uuid::Uuid;

use crate::cluster::{Cluster, eventually, unique};
use crate::raw::{Client, text, topic_name};

fn wanted(name: &str) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(topic_name(name))
        .with_num_partitions(1)
        .with_replication_factor(1)
}

fn create(client: &mut Client, topic: CreatableTopic) -> CreatableTopicResult {
    create_with(client, 7, topic, false)
}

fn create_with(
    client: &mut Client,
    version: i16,
    topic: CreatableTopic,
    dry: bool,
) -> CreatableTopicResult {
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
        .with_validate_only(dry);
    client.call(version, &request).topics[0].clone()
}

fn describe(client: &mut Client, name: &str) -> MetadataResponseTopic {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(false);
    client.call(12, &request).topics[0].clone()
}

fn delete(client: &mut Client, state: DeleteTopicState) -> (i16, Option<String>) {
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![state])
        .with_timeout_ms(30_000);
    let result = client.call(6, &request).responses[0].clone();
    (
        result.error_code,
        result.error_message.map(|text| text.to_string()),
    )
}

fn code(error: ResponseError) -> i16 {
    error.code()
}

#[test]
fn a_created_topic_is_found_by_name_and_by_id() {
    let mut client = Cluster::start().connect();
    let name = unique("found");
    let id = client.create_topic(&name, 3, &[]);
    let topic = describe(&mut client, &name);
    assert_eq!((topic.error_code, topic.topic_id), (0, id));
    let mut indexes: Vec<i32> = topic
        .partitions
        .iter()
        .map(|partition| partition.partition_index)
        .collect();
    indexes.sort_unstable();
    assert_eq!(indexes, [0, 1, 2]);
    for partition in &topic.partitions {
        assert_eq!(partition.error_code, 0);
        assert_eq!(partition.isr_nodes, [partition.leader_id]);
        assert_eq!(partition.replica_nodes, [partition.leader_id]);
    }
    let by_id = MetadataRequestTopic::default()
        .with_topic_id(id)
        .with_name(None);
    let request = MetadataRequest::default().with_topics(Some(vec![by_id]));
    assert_eq!(
        client.call(12, &request).topics[0].name,
        Some(topic_name(&name))
    );
}

#[test]
fn every_version_of_metadata_tells_the_same() {
    let cluster = Cluster::start();
    let (mut client, name) = cluster.with_topic("metadata", 2);
    for version in 0..=13 {
        let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
        let response = client.call(
            version,
            &MetadataRequest::default().with_topics(Some(vec![topic])),
        );
        assert_eq!(response.brokers.len(), 1, "version {version}");
        let address = format!("{}:{}", response.brokers[0].host, response.brokers[0].port);
        assert_eq!(address, cluster.address, "version {version}");
        assert_eq!(
            response.topics[0].name,
            Some(topic_name(&name)),
            "version {version}"
        );
        assert_eq!(response.topics[0].partitions.len(), 2, "version {version}");
    }
}

#[test]
fn no_topics_asked_for_means_all_in_version_0_and_none_later() {
    let (mut client, name) = Cluster::start().with_topic("all", 1);
    let none = MetadataRequest::default().with_topics(Some(Vec::new()));
    let all = client.call(0, &none);
    assert!(
        all.topics
            .iter()
            .any(|topic| topic.name == Some(topic_name(&name)))
    );
    assert_eq!(client.call(1, &none).topics.len(), 0);
    let all = client.call(1, &MetadataRequest::default().with_topics(None));
    assert!(
        all.topics
            .iter()
            .any(|topic| topic.name == Some(topic_name(&name)))
    );
}

#[test]
fn unknown_topics_are_told_apart() {
    let mut client = Cluster::start().connect();
    assert_eq!(
        describe(&mut client, &unique("none")).error_code,
        code(ResponseError::UnknownTopicOrPartition)
    );
    assert_eq!(
        describe(&mut client, "not/valid").error_code,
        code(ResponseError::InvalidTopicException)
    );
    let by_id = MetadataRequestTopic::default()
        .with_topic_id(Uuid::new_v4())
        .with_name(None);
    let response = client.call(
        12,
        &MetadataRequest::default().with_topics(Some(vec![by_id])),
    );
    assert_eq!(
        response.topics[0].error_code,
        code(ResponseError::UnknownTopicId)
    );
}

#[test]
fn a_topic_is_created_when_the_client_allows_it() {
    let mut client = Cluster::start().connect();
    let name = unique("auto");
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(true);
    eventually("the created topic", || {
        let topic = client.call(12, &request).topics[0].clone();
        (topic.error_code == 0 && !topic.partitions.is_empty()).then_some(())
    });
}

#[test]
fn bad_topics_are_refused_as_by_kafka() {
    let (mut client, name) = Cluster::start().with_topic("taken.name", 1);
    let cases = [
        (wanted(&name), ResponseError::TopicAlreadyExists),
        (
            wanted(&name.replace('.', "_")),
            ResponseError::InvalidTopicException,
        ),
        (wanted("not/valid"), ResponseError::InvalidTopicException),
        (wanted(".."), ResponseError::InvalidTopicException),
        (wanted(""), ResponseError::InvalidTopicException),
        (
            wanted(&"x".repeat(250)),
            ResponseError::InvalidTopicException,
        ),
        (
            wanted(&unique("new")).with_num_partitions(0),
            ResponseError::InvalidPartitions,
        ),
        (
            wanted(&unique("new")).with_num_partitions(-2),
            ResponseError::InvalidPartitions,
        ),
        (
            wanted(&unique("new")).with_replication_factor(0),
            ResponseError::InvalidReplicationFactor,
        ),
        (
            wanted(&unique("new")).with_replication_factor(9),
            ResponseError::InvalidReplicationFactor,
        ),
        (config("no.such.config", "1"), ResponseError::InvalidConfig),
        (config("retention.ms", "soon"), ResponseError::InvalidConfig),
        (config("retention.ms", "-2"), ResponseError::InvalidConfig),
        (
            config("cleanup.policy", "keep"),
            ResponseError::InvalidConfig,
        ),
        (config("segment.bytes", "100"), ResponseError::InvalidConfig),
    ];
    for (topic, error) in cases {
        let what = format!("{topic:?}");
        let result = create(&mut client, topic);
        assert_eq!(
            result.error_code,
            error.code(),
            "{what}: {:?}",
            result.error_message
        );
        assert!(result.error_message.is_some(), "{what}");
    }
}

fn config(name: &str, value: &str) -> CreatableTopic {
    let config = CreatableTopicConfig::default()
        .with_name(text(name))
        .with_value(Some(text(value)));
    wanted(&unique("configured")).with_configs(vec![config])
}

#[test]
fn every_version_of_create_topics_works() {
    let mut client = Cluster::start().connect();
    for version in 2..=7 {
        let name = unique("created");
        let result = create_with(
            &mut client,
            version,
            wanted(&name).with_num_partitions(2),
            false,
        );
        assert_eq!(
            result.error_code, 0,
            "version {version}: {:?}",
            result.error_message
        );
        if version >= 5 {
            assert_eq!(
                (result.num_partitions, result.replication_factor),
                (2, 1),
                "version {version}"
            );
            let configs = result.configs.unwrap();
            let policy = configs
                .iter()
                .find(|config| config.name == text("cleanup.policy"))
                .unwrap();
            assert_eq!(policy.value, Some(text("delete")));
        }
        assert_eq!(result.topic_id.is_nil(), version < 7, "version {version}");
    }
}

#[test]
fn validating_creates_nothing() {
    let mut client = Cluster::start().connect();
    let name = unique("validated");
    assert_eq!(
        create_with(&mut client, 7, wanted(&name), true).error_code,
        0
    );
    assert_eq!(
        describe(&mut client, &name).error_code,
        code(ResponseError::UnknownTopicOrPartition)
    );
    let refused = create_with(&mut client, 7, wanted("not/valid"), true);
    assert_eq!(
        refused.error_code,
        code(ResponseError::InvalidTopicException)
    );
}

#[test]
fn the_same_name_twice_in_one_request_is_refused() {
    let mut client = Cluster::start().connect();
    let name = unique("twice");
    let request = CreateTopicsRequest::default()
        .with_topics(vec![wanted(&name), wanted(&name)])
        .with_timeout_ms(30_000);
    let response = client.call(7, &request);
    assert_eq!(response.topics.len(), 1);
    assert_eq!(
        response.topics[0].error_code,
        code(ResponseError::InvalidRequest)
    );
}

#[test]
fn partitions_may_be_assigned_to_the_one_broker_only() {
    let mut client = Cluster::start().connect();
    let id = client.call(12, &MetadataRequest::default()).brokers[0].node_id;
    let assigned = |partitions: &[(i32, BrokerId)]| {
        let assignments = partitions.iter().map(|(index, broker)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(*index)
                .with_broker_ids(vec![*broker])
        });
        wanted(&unique("assigned"))
            .with_num_partitions(-1)
            .with_replication_factor(-1)
            .with_assignments(assignments.collect())
    };
    let created = create(&mut client, assigned(&[(0, id), (1, id)]));
    assert_eq!((created.error_code, created.num_partitions), (0, 2));
    let invalid = code(ResponseError::InvalidReplicaAssignment);
    assert_eq!(
        create(&mut client, assigned(&[(0, BrokerId(77))])).error_code,
        invalid
    );
    assert_eq!(
        create(&mut client, assigned(&[(0, id), (2, id)])).error_code,
        invalid
    );
    assert_eq!(
        create(&mut client, assigned(&[(0, id), (0, id)])).error_code,
        invalid
    );
    let both = assigned(&[(0, id)]).with_num_partitions(1);
    assert_eq!(
        create(&mut client, both).error_code,
        code(ResponseError::InvalidRequest)
    );
}

#[test]
fn a_topic_gets_more_partitions_but_never_fewer() {
    let (mut client, name) = Cluster::start().with_topic("grown", 2);
    client.produce_at(&name, 1, &[("kept", 1)]);
    let mut grow = |count: i32, dry: bool| {
        let topic = CreatePartitionsTopic::default()
            .with_name(topic_name(&name))
            .with_count(count);
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic.with_assignments(None)])
            .with_timeout_ms(30_000)
            .with_validate_only(dry);
        client.call(3, &request).results[0].clone()
    };
    assert_eq!(
        grow(2, false).error_code,
        code(ResponseError::InvalidPartitions)
    );
    assert_eq!(
        grow(1, false).error_code,
        code(ResponseError::InvalidPartitions)
    );
    assert_eq!(grow(4, true).error_code, 0);
    assert_eq!(grow(4, false).error_code, 0);
    eventually("the new partitions", || {
        (describe(&mut client, &name).partitions.len() == 4).then_some(())
    });
    eventually("a leader of the new partition", || {
        let produced = client.produce(&name, 3, crate::raw::batch(&[("new", 1)]));
        (produced.error_code == 0).then_some(())
    });
    assert_eq!(client.values(&name, 1, 0), ["kept"]);
}

#[test]
fn growing_refuses_unknown_topics_and_assignments() {
    let (mut client, name) = Cluster::start().with_topic("refused", 1);
    let mut grow = |topic: CreatePartitionsTopic| {
        let request = CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000);
        client.call(3, &request).results[0].error_code
    };
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(&unique("none")))
        .with_count(2);
    assert_eq!(
        grow(topic.with_assignments(None)),
        code(ResponseError::UnknownTopicOrPartition)
    );
    let elsewhere = CreatePartitionsAssignment::default().with_broker_ids(vec![BrokerId(77)]);
    let topic = CreatePartitionsTopic::default().with_name(topic_name(&name));
    let assigned = topic
        .clone()
        .with_count(2)
        .with_assignments(Some(vec![elsewhere.clone()]));
    assert_eq!(
        grow(assigned),
        code(ResponseError::InvalidReplicaAssignment)
    );
    let too_few = topic.with_count(3).with_assignments(Some(vec![elsewhere]));
    assert_eq!(grow(too_few), code(ResponseError::InvalidReplicaAssignment));
}

#[test]
fn a_deleted_topic_is_gone_and_its_name_is_free_again() {
    let (mut client, name) = Cluster::start().with_topic("deleted", 1);
    client.produce_at(&name, 0, &[("old", 1)]);
    let first = describe(&mut client, &name).topic_id;
    assert_eq!(
        delete(
            &mut client,
            DeleteTopicState::default().with_name(Some(topic_name(&name)))
        )
        .0,
        0
    );
    eventually("the deletion", || {
        (describe(&mut client, &name).error_code == 3).then_some(())
    });
    let second = client.create_topic(&name, 1, &[]);
    assert_ne!(first, second);
    assert_eq!(client.values(&name, 0, 0), [""; 0]);
}

#[test]
fn topics_are_deleted_by_id() {
    let (mut client, name) = Cluster::start().with_topic("deleted", 1);
    let id = describe(&mut client, &name).topic_id;
    let by_id = DeleteTopicState::default()
        .with_name(None)
        .with_topic_id(id);
    assert_eq!(delete(&mut client, by_id.clone()).0, 0);
    assert_eq!(
        delete(&mut client, by_id).0,
        code(ResponseError::UnknownTopicId)
    );
    let unknown = DeleteTopicState::default().with_name(Some(topic_name(&unique("none"))));
    assert_eq!(
        delete(&mut client, unknown).0,
        code(ResponseError::UnknownTopicOrPartition)
    );
    let both = DeleteTopicState::default()
        .with_name(Some(topic_name(&name)))
        .with_topic_id(id);
    assert_eq!(
        delete(&mut client, both).0,
        code(ResponseError::InvalidRequest)
    );
}

#[test]
fn every_version_of_delete_topics_works() {
    let cluster = Cluster::start();
    for version in 1..=6 {
        let (mut client, name) = cluster.with_topic("deleted", 1);
        let mut request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
        if version >= 6 {
            request.topics = vec![DeleteTopicState::default().with_name(Some(topic_name(&name)))];
        } else {
            request.topic_names = vec![topic_name(&name)];
        }
        assert_eq!(
            client.call(version, &request).responses[0].error_code,
            0,
            "version {version}"
        );
    }
}

#[test]
fn all_topics_of_a_request_together_have_a_limit_too() {
    let mut client = Cluster::start().connect();
    let many = |name: &str| wanted(&unique(name)).with_num_partitions(6000);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![many("many-a"), many("many-b")])
        .with_timeout_ms(30_000)
        .with_validate_only(true);
    let codes = client.call(7, &request).topics;
    let codes: Vec<i16> = codes.iter().map(|topic| topic.error_code).collect();
    assert_eq!(codes, [ResponseError::PolicyViolation.code(); 2]);
}
