//! ApiVersions, version edges, and what becomes of requests that are not served.

use bytes::{Buf, BufMut, BytesMut};
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTransaction;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Request};

use crate::cluster::Cluster;
use crate::raw::{Client, text};

/// The level of the feature `metadata.version` that Apache Kafka 4.1 has.
const METADATA_VERSION_OF_4_1: i16 = 27;

fn ask(client: &mut Client, version: i16) -> ApiVersionsResponse {
    let mut request = ApiVersionsRequest::default();
    if version >= 3 {
        request.client_software_name = text("raw-test");
        request.client_software_version = text("1.0");
    }
    client.call(version, &request)
}

fn range(response: &ApiVersionsResponse, key: ApiKey) -> Option<(i16, i16)> {
    let api = response
        .api_keys
        .iter()
        .find(|api| api.api_key == key as i16)?;
    Some((api.min_version, api.max_version))
}

#[test]
fn every_version_of_api_versions_is_answered() {
    let mut client = Cluster::start().connect();
    for version in 0..=4 {
        let response = ask(&mut client, version);
        assert_eq!(response.error_code, 0, "version {version}");
        assert_eq!(
            range(&response, ApiKey::ApiVersions),
            Some((0, 4)),
            "version {version}"
        );
    }
}

#[test]
fn versions_are_those_of_kafka() {
    let mut client = Cluster::start().connect();
    let response = ask(&mut client, 4);
    let expected = [
        (ApiKey::Produce, (0, 13)),
        (ApiKey::Fetch, (4, 18)),
        (ApiKey::ListOffsets, (1, 10)),
        (ApiKey::Metadata, (0, 13)),
        (ApiKey::FindCoordinator, (0, 6)),
        (ApiKey::JoinGroup, (0, 9)),
        (ApiKey::Heartbeat, (0, 4)),
        (ApiKey::LeaveGroup, (0, 5)),
        (ApiKey::SyncGroup, (0, 5)),
        (ApiKey::DescribeGroups, (0, 6)),
        (ApiKey::ListGroups, (0, 5)),
        (ApiKey::DeleteGroups, (0, 2)),
        (ApiKey::OffsetDelete, (0, 0)),
        (ApiKey::OffsetCommit, (2, 9)),
        (ApiKey::OffsetFetch, (1, 9)),
        (ApiKey::CreateTopics, (2, 7)),
        (ApiKey::DeleteTopics, (1, 6)),
        (ApiKey::DeleteRecords, (0, 2)),
        (ApiKey::InitProducerId, (0, 5)),
        (ApiKey::AddPartitionsToTxn, (0, 5)),
        (ApiKey::AddOffsetsToTxn, (0, 4)),
        (ApiKey::EndTxn, (0, 5)),
        (ApiKey::TxnOffsetCommit, (0, 5)),
        (ApiKey::DescribeTransactions, (0, 0)),
        (ApiKey::ListTransactions, (0, 2)),
        (ApiKey::OffsetForLeaderEpoch, (2, 4)),
        (ApiKey::DescribeConfigs, (1, 4)),
        (ApiKey::AlterConfigs, (0, 2)),
        (ApiKey::DescribeLogDirs, (1, 4)),
        (ApiKey::CreatePartitions, (0, 3)),
        (ApiKey::IncrementalAlterConfigs, (0, 1)),
        (ApiKey::DescribeCluster, (0, 2)),
        (ApiKey::DescribeProducers, (0, 0)),
        (ApiKey::ConsumerGroupHeartbeat, (0, 1)),
        (ApiKey::ConsumerGroupDescribe, (0, 1)),
        (ApiKey::DescribeTopicPartitions, (0, 0)),
    ];
    for (key, (min, max)) in expected {
        let (from, to) = range(&response, key).unwrap_or_else(|| panic!("{key:?} is not served"));
        let known = if is_newer_kafka(&response) {
            to.min(max)
        } else {
            to
        };
        assert_eq!((from, known), (min, max), "{key:?}");
    }
}

/// Whether this is an Apache Kafka after 4.1, which serves further versions too.
fn is_newer_kafka(response: &ApiVersionsResponse) -> bool {
    let mut features = response.finalized_features.iter();
    let level = features.find(|feature| feature.name.as_str() == "metadata.version");
    level.is_some_and(|level| level.max_version_level > METADATA_VERSION_OF_4_1)
}

#[test]
fn an_unknown_version_of_api_versions_is_told_the_known_ones() {
    let mut client = Cluster::start().connect();
    let mut frame = BytesMut::new();
    frame.put_i32(0);
    frame.put_slice(&[0, 18, 0, 99]);
    frame.put_i32(7);
    frame.put_slice(&[0, 1, b'x', 0]);
    let length = i32::try_from(frame.len() - 4).unwrap();
    frame[..4].copy_from_slice(&length.to_be_bytes());
    client.write(&frame);
    let mut answer = client.receive_frame().unwrap();
    assert_eq!(answer.get_i32(), 7);
    let response = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(response.error_code, 35);
    let told: Vec<_> = response
        .api_keys
        .iter()
        .map(|api| (api.api_key, api.min_version, api.max_version))
        .collect();
    assert_eq!(told, [(18, 0, 4)]);
    // The connection goes on.
    assert_eq!(ask(&mut client, 3).error_code, 0);
}

#[test]
fn a_client_without_a_proper_name_is_refused() {
    let mut client = Cluster::start().connect();
    let response = client.call(3, &ApiVersionsRequest::default());
    assert_eq!(response.error_code, 42);
}

#[test]
fn an_unknown_api_closes_its_connection_only() {
    let cluster = Cluster::start();
    let mut other = cluster.connect();
    for frame in [
        &[0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff][..],
        // Metadata of a version that does not exist.
        &[0, 0, 0, 10, 0, 3, 0, 99, 0, 0, 0, 1, 0xff, 0xff][..],
        // Produce is advertised from version 0 and served from 3.
        &[
            0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
        ][..],
    ] {
        let mut client = cluster.connect();
        client.write(frame);
        assert!(client.is_closed(), "{frame:?}");
    }
    assert_eq!(other.call(12, &MetadataRequest::default()).topics.len(), 0);
}

/// Sends an empty request in every version that is advertised and that the tests' messages know; each must be answered, whatever
/// the answer says.
fn sweep<R: Request + Default>(
    client: &mut Client,
    apis: &ApiVersionsResponse,
    change: fn(&mut R, i16),
) {
    let key = ApiKey::try_from(R::KEY).unwrap();
    let (min, max) = range(apis, key).unwrap_or_else(|| panic!("{key:?} is not advertised"));
    for version in min.max(R::VERSIONS.min)..=max.min(R::VERSIONS.max) {
        let mut request = R::default();
        change(&mut request, version);
        client.send(version, &request);
        // Decoding the answer checks that it is whole, and nothing behind it.
        client.receive::<R>(version);
    }
}

#[test]
fn every_version_of_every_api_is_answered() {
    let mut client = Cluster::start().connect();
    let apis = ask(&mut client, 4);
    sweep::<ProduceRequest>(&mut client, &apis, |request, _| request.acks = 1);
    sweep::<FetchRequest>(&mut client, &apis, |_, _| {});
    sweep::<ListOffsetsRequest>(&mut client, &apis, |_, _| {});
    sweep::<MetadataRequest>(&mut client, &apis, |_, _| {});
    sweep::<OffsetCommitRequest>(&mut client, &apis, |_, _| {});
    sweep::<OffsetFetchRequest>(&mut client, &apis, |_, _| {});
    sweep::<FindCoordinatorRequest>(&mut client, &apis, |_, _| {});
    sweep::<JoinGroupRequest>(&mut client, &apis, |_, _| {});
    sweep::<HeartbeatRequest>(&mut client, &apis, |_, _| {});
    sweep::<LeaveGroupRequest>(&mut client, &apis, |_, _| {});
    sweep::<SyncGroupRequest>(&mut client, &apis, |_, _| {});
    sweep::<DescribeGroupsRequest>(&mut client, &apis, |_, _| {});
    sweep::<ListGroupsRequest>(&mut client, &apis, |_, _| {});
    sweep::<CreateTopicsRequest>(&mut client, &apis, |_, _| {});
    sweep::<DeleteTopicsRequest>(&mut client, &apis, |_, _| {});
    sweep::<DeleteRecordsRequest>(&mut client, &apis, |_, _| {});
    sweep::<InitProducerIdRequest>(&mut client, &apis, |_, _| {});
    sweep::<AddPartitionsToTxnRequest>(&mut client, &apis, |request, version| {
        // Apache Kafka never answers a request without a transaction.
        if version >= 4 {
            request.transactions = vec![AddPartitionsToTxnTransaction::default()];
        }
    });
    sweep::<AddOffsetsToTxnRequest>(&mut client, &apis, |_, _| {});
    sweep::<EndTxnRequest>(&mut client, &apis, |_, _| {});
    sweep::<TxnOffsetCommitRequest>(&mut client, &apis, |_, _| {});
    sweep::<DescribeTransactionsRequest>(&mut client, &apis, |_, _| {});
    sweep::<ListTransactionsRequest>(&mut client, &apis, |_, _| {});
    sweep::<OffsetForLeaderEpochRequest>(&mut client, &apis, |_, _| {});
    sweep::<DescribeConfigsRequest>(&mut client, &apis, |_, _| {});
    sweep::<AlterConfigsRequest>(&mut client, &apis, |_, _| {});
    sweep::<DescribeLogDirsRequest>(&mut client, &apis, |_, _| {});
    sweep::<CreatePartitionsRequest>(&mut client, &apis, |_, _| {});
    sweep::<DeleteGroupsRequest>(&mut client, &apis, |_, _| {});
    sweep::<IncrementalAlterConfigsRequest>(&mut client, &apis, |_, _| {});
    sweep::<OffsetDeleteRequest>(&mut client, &apis, |_, _| {});
    sweep::<DescribeClusterRequest>(&mut client, &apis, |_, _| {});
    sweep::<DescribeProducersRequest>(&mut client, &apis, |_, _| {});
    sweep::<DescribeTopicPartitionsRequest>(&mut client, &apis, |_, _| {});
}
