//! What each API answers to whom no rule allows it: one table, on the embedded broker and on Apache Kafka.
//!
//! The user may describe one topic and nothing else. `KAFKA_ACLS` names an Apache Kafka with `StandardAuthorizer`, SASL PLAIN at its listener, the
//! super user `root` (password `secret`) and the user `alice` (password `wonder`); without it the broker is an embedded one.

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest as ProducersTopic;
use kafka_protocol::messages::describe_topic_partitions_request::TopicRequest;
use kafka_protocol::messages::describe_user_scram_credentials_request::UserName;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as IncrementalResource, AlterableConfig,
};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::*;

use super::Secured;
use super::acls::{DESCRIBE, TOPIC, allow, configure, log_in_at};
use crate::embedded::variable;
use crate::raw::{Client, batch, now_ms, produce_request, text, topic_name};
use crate::support::{eventually, fresh};

/// Asks about a topic; the code of the answer.
type OfTopic = fn(&mut Client, &str) -> i16;
/// Asks about nothing or about a group or transactional id of this name.
type Of = fn(&mut Client, &str) -> i16;

const TOPIC_REFUSED: i16 = 29;
const GROUP_REFUSED: i16 = 30;
const CLUSTER_REFUSED: i16 = 31;
const ID_REFUSED: i16 = 53;

/// The codes for a topic that is hidden, for one that does not exist, and for one that may be described.
const OF_TOPICS: [(&str, OfTopic, [i16; 3]); 14] = [
    ("Produce", produce, [TOPIC_REFUSED; 3]),
    (
        "Fetch",
        |client, topic| client.fetch(topic, 0, 0).error_code,
        [TOPIC_REFUSED; 3],
    ),
    (
        "ListOffsets",
        |client, topic| client.list_offset(topic, 0, -1).error_code,
        [TOPIC_REFUSED, TOPIC_REFUSED, 0],
    ),
    ("Metadata", metadata, [TOPIC_REFUSED, TOPIC_REFUSED, 0]),
    (
        "DescribeTopicPartitions",
        describe_topic_partitions,
        [TOPIC_REFUSED, TOPIC_REFUSED, 0],
    ),
    ("CreateTopics", create_topics, [TOPIC_REFUSED; 3]),
    ("DeleteTopics", delete_topics, [TOPIC_REFUSED; 3]),
    ("DeleteRecords", delete_records, [TOPIC_REFUSED; 3]),
    ("CreatePartitions", create_partitions, [TOPIC_REFUSED; 3]),
    ("DescribeConfigs", describe_configs, [TOPIC_REFUSED; 3]),
    ("AlterConfigs", alter_configs, [TOPIC_REFUSED; 3]),
    (
        "IncrementalAlterConfigs",
        incremental_alter_configs,
        [TOPIC_REFUSED; 3],
    ),
    (
        "OffsetForLeaderEpoch",
        offset_for_leader_epoch,
        [TOPIC_REFUSED, TOPIC_REFUSED, 0],
    ),
    ("DescribeProducers", describe_producers, [TOPIC_REFUSED; 3]),
];

const OTHERS: [(&str, Of, i16); 27] = [
    (
        "FindCoordinator of a group",
        |client, name| find_coordinator(client, name, 0),
        GROUP_REFUSED,
    ),
    (
        "FindCoordinator of a transaction",
        |client, name| find_coordinator(client, name, 1),
        ID_REFUSED,
    ),
    (
        "JoinGroup",
        |client, name| {
            client
                .call(5, &JoinGroupRequest::default().with_group_id(group(name)))
                .error_code
        },
        GROUP_REFUSED,
    ),
    (
        "SyncGroup",
        |client, name| {
            client
                .call(3, &SyncGroupRequest::default().with_group_id(group(name)))
                .error_code
        },
        GROUP_REFUSED,
    ),
    (
        "Heartbeat",
        |client, name| {
            client
                .call(3, &HeartbeatRequest::default().with_group_id(group(name)))
                .error_code
        },
        GROUP_REFUSED,
    ),
    (
        "LeaveGroup",
        |client, name| {
            client
                .call(2, &LeaveGroupRequest::default().with_group_id(group(name)))
                .error_code
        },
        GROUP_REFUSED,
    ),
    ("OffsetCommit", offset_commit, GROUP_REFUSED),
    ("OffsetFetch", offset_fetch, GROUP_REFUSED),
    (
        "OffsetDelete",
        |client, name| {
            client
                .call(
                    0,
                    &OffsetDeleteRequest::default().with_group_id(group(name)),
                )
                .error_code
        },
        GROUP_REFUSED,
    ),
    (
        "DescribeGroups",
        |client, name| {
            client
                .call(
                    5,
                    &DescribeGroupsRequest::default().with_groups(vec![group(name)]),
                )
                .groups[0]
                .error_code
        },
        GROUP_REFUSED,
    ),
    (
        "DeleteGroups",
        |client, name| {
            client
                .call(
                    2,
                    &DeleteGroupsRequest::default().with_groups_names(vec![group(name)]),
                )
                .results[0]
                .error_code
        },
        GROUP_REFUSED,
    ),
    (
        "ConsumerGroupHeartbeat",
        consumer_group_heartbeat,
        GROUP_REFUSED,
    ),
    (
        "ConsumerGroupDescribe",
        |client, name| {
            client
                .call(
                    0,
                    &ConsumerGroupDescribeRequest::default().with_group_ids(vec![group(name)]),
                )
                .groups[0]
                .error_code
        },
        GROUP_REFUSED,
    ),
    (
        "ListGroups",
        |client, _| client.call(4, &ListGroupsRequest::default()).error_code,
        0,
    ),
    (
        "InitProducerId",
        |client, _| init_producer_id(client, None),
        CLUSTER_REFUSED,
    ),
    (
        "InitProducerId of a transaction",
        |client, name| init_producer_id(client, Some(name)),
        ID_REFUSED,
    ),
    (
        "AddOffsetsToTxn",
        |client, name| {
            client
                .call(
                    3,
                    &AddOffsetsToTxnRequest::default()
                        .with_transactional_id(id(name))
                        .with_group_id(group(name)),
                )
                .error_code
        },
        ID_REFUSED,
    ),
    (
        "EndTxn",
        |client, name| {
            client
                .call(3, &EndTxnRequest::default().with_transactional_id(id(name)))
                .error_code
        },
        ID_REFUSED,
    ),
    (
        "DescribeTransactions",
        |client, name| {
            client
                .call(
                    0,
                    &DescribeTransactionsRequest::default().with_transactional_ids(vec![id(name)]),
                )
                .transaction_states[0]
                .error_code
        },
        ID_REFUSED,
    ),
    (
        "ListTransactions",
        |client, _| {
            client
                .call(0, &ListTransactionsRequest::default())
                .error_code
        },
        0,
    ),
    ("DescribeAcls", describe_acls, CLUSTER_REFUSED),
    ("DeleteAcls", delete_acls, CLUSTER_REFUSED),
    (
        "DescribeConfigs of a broker",
        |client, _| configs_of(client, 4, "1"),
        CLUSTER_REFUSED,
    ),
    (
        "DescribeLogDirs",
        |client, _| {
            client
                .call(4, &DescribeLogDirsRequest::default().with_topics(None))
                .error_code
        },
        CLUSTER_REFUSED,
    ),
    (
        "DescribeClientQuotas",
        |client, _| {
            client
                .call(1, &DescribeClientQuotasRequest::default())
                .error_code
        },
        CLUSTER_REFUSED,
    ),
    (
        "DescribeUserScramCredentials",
        describe_users,
        CLUSTER_REFUSED,
    ),
    (
        "DescribeCluster",
        |client, _| {
            client
                .call(1, &DescribeClusterRequest::default())
                .error_code
        },
        0,
    ),
];

#[test]
fn every_api_refuses_with_the_code_of_kafka() {
    let kafka = variable("KAFKA_ACLS");
    let embedded = kafka
        .is_none()
        .then(|| Secured::start(|config, _| configure(config)));
    let address = kafka.unwrap_or_else(|| embedded.as_ref().unwrap().address(0));
    let mut root = log_in_at(&address, "root", "secret");
    let names = [fresh("hidden"), fresh("missing"), fresh("shown")];
    root.create_topic(&names[0], 1, &[]);
    root.create_topic(&names[2], 1, &[]);
    allow(&mut root, TOPIC, &names[2], DESCRIBE);
    let mut alice = log_in_at(&address, "alice", "wonder");
    eventually("the rule holds", || {
        (metadata(&mut alice, &names[2]) == 0).then_some(())
    });
    let mut wrong = Vec::new();
    for (api, ask, wanted) in OF_TOPICS {
        let found = names.each_ref().map(|name| ask(&mut alice, name));
        if found != wanted {
            wrong.push(format!("{api}: {found:?} instead of {wanted:?}"));
        }
    }
    for (api, ask, wanted) in OTHERS {
        let found = ask(&mut alice, &names[1]);
        if found != wanted {
            wrong.push(format!("{api}: {found} instead of {wanted}"));
        }
    }
    assert_eq!(wrong, [""; 0]);
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn id(name: &str) -> TransactionalId {
    TransactionalId(text(name))
}

fn produce(client: &mut Client, topic: &str) -> i16 {
    let request = produce_request(topic, 0, batch(&[("value", now_ms())]));
    client.call(9, &request).responses[0].partition_responses[0].error_code
}

fn metadata(client: &mut Client, topic: &str) -> i16 {
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(topic)));
    let request = MetadataRequest::default()
        .with_topics(Some(vec![topic]))
        .with_allow_auto_topic_creation(false);
    client.call(12, &request).topics[0].error_code
}

fn describe_topic_partitions(client: &mut Client, topic: &str) -> i16 {
    let topic = TopicRequest::default().with_name(topic_name(topic));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(vec![topic])
        .with_response_partition_limit(10);
    client.call(0, &request).topics[0].error_code
}

fn create_topics(client: &mut Client, topic: &str) -> i16 {
    let topic = CreatableTopic::default()
        .with_name(topic_name(topic))
        .with_num_partitions(1)
        .with_replication_factor(1);
    client
        .call(
            7,
            &CreateTopicsRequest::default()
                .with_topics(vec![topic])
                .with_timeout_ms(30_000),
        )
        .topics[0]
        .error_code
}

fn delete_topics(client: &mut Client, topic: &str) -> i16 {
    let request = DeleteTopicsRequest::default()
        .with_topic_names(vec![topic_name(topic)])
        .with_timeout_ms(30_000);
    client.call(5, &request).responses[0].error_code
}

fn delete_records(client: &mut Client, topic: &str) -> i16 {
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![DeleteRecordsPartition::default()]);
    client
        .call(
            2,
            &DeleteRecordsRequest::default()
                .with_topics(vec![topic])
                .with_timeout_ms(30_000),
        )
        .topics[0]
        .partitions[0]
        .error_code
}

fn create_partitions(client: &mut Client, topic: &str) -> i16 {
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(topic))
        .with_count(3)
        .with_assignments(None);
    client
        .call(
            3,
            &CreatePartitionsRequest::default()
                .with_topics(vec![topic])
                .with_timeout_ms(30_000),
        )
        .results[0]
        .error_code
}

fn configs_of(client: &mut Client, kind: i8, name: &str) -> i16 {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    client
        .call(
            4,
            &DescribeConfigsRequest::default().with_resources(vec![resource]),
        )
        .results[0]
        .error_code
}

fn describe_configs(client: &mut Client, topic: &str) -> i16 {
    configs_of(client, 2, topic)
}

fn alter_configs(client: &mut Client, topic: &str) -> i16 {
    let resource = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic));
    client
        .call(
            2,
            &AlterConfigsRequest::default().with_resources(vec![resource]),
        )
        .responses[0]
        .error_code
}

fn incremental_alter_configs(client: &mut Client, topic: &str) -> i16 {
    let config = AlterableConfig::default()
        .with_name(text("retention.ms"))
        .with_value(Some(text("1000")));
    let resource = IncrementalResource::default()
        .with_resource_type(2)
        .with_resource_name(text(topic))
        .with_configs(vec![config]);
    client
        .call(
            1,
            &IncrementalAlterConfigsRequest::default().with_resources(vec![resource]),
        )
        .responses[0]
        .error_code
}

fn offset_for_leader_epoch(client: &mut Client, topic: &str) -> i16 {
    let partition = OffsetForLeaderPartition::default().with_current_leader_epoch(-1);
    let topic = OffsetForLeaderTopic::default()
        .with_topic(topic_name(topic))
        .with_partitions(vec![partition]);
    client
        .call(
            4,
            &OffsetForLeaderEpochRequest::default()
                .with_replica_id(BrokerId(-1))
                .with_topics(vec![topic]),
        )
        .topics[0]
        .partitions[0]
        .error_code
}

fn describe_producers(client: &mut Client, topic: &str) -> i16 {
    let topic = ProducersTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(vec![0]);
    client
        .call(
            0,
            &DescribeProducersRequest::default().with_topics(vec![topic]),
        )
        .topics[0]
        .partitions[0]
        .error_code
}

fn find_coordinator(client: &mut Client, name: &str, kind: i8) -> i16 {
    let request = FindCoordinatorRequest::default()
        .with_key_type(kind)
        .with_coordinator_keys(vec![text(name)]);
    client.call(4, &request).coordinators[0].error_code
}

fn offset_commit(client: &mut Client, name: &str) -> i16 {
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(name))
        .with_partitions(vec![OffsetCommitRequestPartition::default()]);
    client
        .call(
            8,
            &OffsetCommitRequest::default()
                .with_group_id(group(name))
                .with_topics(vec![topic]),
        )
        .topics[0]
        .partitions[0]
        .error_code
}

fn offset_fetch(client: &mut Client, name: &str) -> i16 {
    let of = OffsetFetchRequestGroup::default()
        .with_group_id(group(name))
        .with_topics(None);
    client
        .call(8, &OffsetFetchRequest::default().with_groups(vec![of]))
        .groups[0]
        .error_code
}

fn consumer_group_heartbeat(client: &mut Client, name: &str) -> i16 {
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(group(name))
        .with_member_id(text("member"))
        .with_rebalance_timeout_ms(10_000)
        .with_subscribed_topic_names(Some(vec![topic_name(name)]))
        .with_topic_partitions(Some(Vec::new()));
    client.call(0, &request).error_code
}

fn init_producer_id(client: &mut Client, name: Option<&str>) -> i16 {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(name.map(id))
        .with_transaction_timeout_ms(1000);
    client.call(4, &request).error_code
}

/// Kafka never answers a refused question for all users.
fn describe_users(client: &mut Client, name: &str) -> i16 {
    let user = UserName::default().with_name(text(name));
    let request = DescribeUserScramCredentialsRequest::default().with_users(Some(vec![user]));
    client.call(0, &request).error_code
}

fn describe_acls(client: &mut Client, _: &str) -> i16 {
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_resource_name_filter(None)
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    client.call(3, &request).error_code
}

fn delete_acls(client: &mut Client, name: &str) -> i16 {
    let filter = DeleteAclsFilter::default()
        .with_resource_type_filter(2)
        .with_pattern_type_filter(3)
        .with_resource_name_filter(Some(text(name)))
        .with_principal_filter(None)
        .with_host_filter(None)
        .with_operation(1)
        .with_permission_type(1);
    client
        .call(3, &DeleteAclsRequest::default().with_filters(vec![filter]))
        .filter_results[0]
        .error_code
}
