//! Responses of administration that are cut off or lie about their lengths.

use kafka_protocol::messages::consumer_group_describe_response as consumer_group;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource};
use kafka_protocol::messages::describe_cluster_response::DescribeClusterBroker;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::describe_transactions_response as transactions;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::list_transactions_response as listed;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};

use super::*;
use crate::wire::text;

/// A response with something in each array, in the newest version, as a broker sends it.
fn framed<R: Encodable + HeaderVersion>(api: Api, response: &R) -> (Api, Vec<u8>) {
    let (_, version) = api.versions();
    let mut frame = vec![0, 0, 0, 1];
    if R::header_version(version) >= 1 {
        frame.push(0);
    }
    response.encode(&mut frame, version).unwrap();
    (api, frame)
}

fn groups() -> Vec<(Api, Vec<u8>)> {
    let member = DescribedGroupMember::default().with_member_metadata(Bytes::from_static(b"m"));
    let group = DescribedGroup::default().with_members(vec![member; 2]);
    let classic = DescribeGroupsResponse::default().with_groups(vec![group; 2]);
    let topic = consumer_group::TopicPartitions::default().with_partitions(vec![1, 2]);
    let assignment = consumer_group::Assignment::default().with_topic_partitions(vec![topic]);
    let member = consumer_group::Member::default()
        .with_subscribed_topic_names(vec![Default::default()])
        .with_assignment(assignment);
    let group = consumer_group::DescribedGroup::default().with_members(vec![member; 2]);
    let newer = ConsumerGroupDescribeResponse::default().with_groups(vec![group; 2]);
    let group = ListedGroup::default().with_group_type(text("classic"));
    let list = ListGroupsResponse::default().with_groups(vec![group; 2]);
    let result = DeletableGroupResult::default().with_error_code(1);
    let delete = DeleteGroupsResponse::default().with_results(vec![result; 2]);
    let partition = OffsetDeleteResponsePartition::default().with_partition_index(3);
    let topic = OffsetDeleteResponseTopic::default()
        .with_name(text("topic").into())
        .with_partitions(vec![partition; 2]);
    let offsets = OffsetDeleteResponse::default().with_topics(vec![topic; 2]);
    vec![
        framed(Api::DescribeGroups, &classic),
        framed(Api::ConsumerGroupDescribe, &newer),
        framed(Api::ListGroups, &list),
        framed(Api::DeleteGroups, &delete),
        framed(Api::OffsetDelete, &offsets),
    ]
}

fn topics() -> Vec<(Api, Vec<u8>)> {
    let result = DeletableTopicResult::default().with_error_message(Some(text("why")));
    let delete = DeleteTopicsResponse::default().with_responses(vec![result; 2]);
    let partition = DeleteRecordsPartitionResult::default().with_low_watermark(4);
    let topic = DeleteRecordsTopicResult::default().with_partitions(vec![partition; 2]);
    let records = DeleteRecordsResponse::default().with_topics(vec![topic; 2]);
    let result = CreatePartitionsTopicResult::default().with_error_message(Some(text("why")));
    let grown = CreatePartitionsResponse::default().with_results(vec![result; 2]);
    let config = DescribeConfigsResourceResult::default().with_value(Some(text("value")));
    let result = DescribeConfigsResult::default().with_configs(vec![config; 2]);
    let configs = DescribeConfigsResponse::default().with_results(vec![result; 2]);
    let result = AlterConfigsResourceResponse::default().with_resource_name(text("name"));
    let altered = IncrementalAlterConfigsResponse::default().with_responses(vec![result; 2]);
    vec![
        framed(Api::DeleteTopics, &delete),
        framed(Api::DeleteRecords, &records),
        framed(Api::CreatePartitions, &grown),
        framed(Api::DescribeConfigs, &configs),
        framed(Api::IncrementalAlterConfigs, &altered),
    ]
}

fn others() -> Vec<(Api, Vec<u8>)> {
    let broker = DescribeClusterBroker::default().with_host(text("host"));
    let cluster = DescribeClusterResponse::default().with_brokers(vec![broker; 2]);
    let producer = ProducerState::default().with_last_sequence(4);
    let partition = PartitionResponse::default().with_active_producers(vec![producer; 2]);
    let topic = TopicResponse::default().with_partitions(vec![partition; 2]);
    let producers = DescribeProducersResponse::default().with_topics(vec![topic; 2]);
    let topic = transactions::TopicData::default().with_partitions(vec![1, 2]);
    let state = transactions::TransactionState::default().with_topics(vec![topic; 2]);
    let described = DescribeTransactionsResponse::default().with_transaction_states(vec![state; 2]);
    let state = listed::TransactionState::default().with_transaction_state(text("Ongoing"));
    let list = ListTransactionsResponse::default().with_transaction_states(vec![state; 2]);
    let acl = AclDescription::default().with_principal(text("User:a"));
    let resource = DescribeAclsResource::default().with_acls(vec![acl; 2]);
    let acls = DescribeAclsResponse::default().with_resources(vec![resource; 2]);
    vec![
        framed(Api::DescribeCluster, &cluster),
        framed(Api::DescribeProducers, &producers),
        framed(Api::DescribeTransactions, &described),
        framed(Api::ListTransactions, &list),
        framed(Api::DescribeAcls, &acls),
    ]
}

#[test]
fn a_response_of_administration_that_is_cut_off_anywhere_is_an_error() {
    for (api, frame) in [groups(), topics(), others()].concat() {
        let (_, version) = api.versions();
        let whole = api.decode(version, &Bytes::from(frame.clone()));
        assert_eq!(whole.map(drop), Ok(()), "{}", api.name());
        for length in 0..frame.len() {
            let cut = Bytes::copy_from_slice(&frame[..length]);
            let decoded = api.decode(version, &cut).map(drop);
            let error = decoded.unwrap_err();
            assert!(
                matches!(
                    error,
                    Malformed::Short | Malformed::Response | Malformed::Length { .. }
                ),
                "{} cut at {length}: {error}",
                api.name()
            );
        }
        let more = Bytes::from([&frame[..], &[0]].concat());
        let decoded = api.decode(version, &more).map(drop);
        assert_eq!(
            decoded,
            Err(Malformed::Trailing { count: 1 }),
            "{}",
            api.name()
        );
    }
}

#[test]
fn lengths_without_a_varint_are_compared_with_what_is_left_too() {
    // Correlation id, code, throttle time, then two billion topics.
    let topics = [&[0; 10][..], &[0x7f, 0xff, 0xff, 0xff]].concat();
    let refused = Api::OffsetDelete.decode(0, &Bytes::from(topics));
    let length = i64::from(i32::MAX);
    let available = 0;
    let expected = Malformed::Length { length, available };
    assert_eq!(refused.map(drop), Err(expected));
    // One topic without a name, and two billion partitions.
    let partitions = [&[0; 10][..], &[0, 0, 0, 1, 0, 0, 0x7f, 0xff, 0xff, 0xff]].concat();
    let refused = Api::OffsetDelete.decode(0, &Bytes::from(partitions));
    assert_eq!(refused.map(drop), Err(expected));
}
