//! Offsets: committed, fetched, deleted, in every version.

use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{DeleteTopicsRequest, OffsetCommitRequest, OffsetDeleteRequest};

use super::*;
use crate::raw::topic_name;

/// Of a partition that has no offset.
const NONE: i64 = -1;

pub(crate) fn commit_request(
    group: &str,
    topic: &str,
    offsets: &[(i32, i64)],
) -> OffsetCommitRequest {
    let partitions = offsets.iter().map(|(partition, offset)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*partition)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(text("note")))
    });
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(partitions.collect());
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

pub(crate) fn commit(client: &mut Client, version: i16, request: &OffsetCommitRequest) -> Vec<i16> {
    let response = client.call(version, request);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|partition| partition.error_code).collect()
}

/// The offsets of some partitions of one topic.
pub(crate) fn fetch(client: &mut Client, group: &str, topic: &str, partitions: &[i32]) -> Vec<i64> {
    let topic = OffsetFetchRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partition_indexes(partitions.to_vec());
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(vec![topic]));
    let response = client.call(5, &request);
    assert_eq!(response.error_code, 0);
    response.topics[0]
        .partitions
        .iter()
        .map(|partition| partition.committed_offset)
        .collect()
}

fn names(offsets: &[OffsetFetchRequestTopics]) -> Option<Vec<OffsetFetchRequestTopics>> {
    (!offsets.is_empty()).then(|| offsets.to_vec())
}

#[test]
fn every_version_commits_and_fetches() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("offsets", 2);
    let group = fresh_group();
    let mut client = coordinator(&cluster, &group);
    for version in 2..=9 {
        let mut request = commit_request(&group, &topic, &[(0, i64::from(version))]);
        if version >= 6 {
            request.topics[0].partitions[0].committed_leader_epoch = 0;
        }
        assert_eq!(
            commit(&mut client, version, &request),
            [0],
            "version {version}"
        );
        assert_eq!(
            fetch(&mut client, &group, &topic, &[0, 1]),
            [i64::from(version), NONE]
        );
    }
    for version in 1..=7 {
        let wanted = OffsetFetchRequestTopic::default()
            .with_name(topic_name(&topic))
            .with_partition_indexes(vec![1, 0]);
        let request = OffsetFetchRequest::default()
            .with_group_id(group_id(&group))
            .with_topics(Some(vec![wanted]))
            .with_require_stable(version >= 7);
        let response = client.call(version, &request);
        assert_eq!(response.error_code, 0, "version {version}");
        let [none, some] = &response.topics[0].partitions[..] else {
            panic!("{response:?}");
        };
        assert_eq!((none.partition_index, none.committed_offset), (1, NONE));
        assert_eq!(none.metadata, Some(StrBytes::new()));
        assert_eq!(none.error_code, 0);
        assert_eq!((some.partition_index, some.committed_offset), (0, 9));
        assert_eq!(some.metadata, Some(text("note")));
        let epoch = if version >= 5 { 0 } else { -1 };
        assert_eq!(some.committed_leader_epoch, epoch);
    }
    for version in 2..=7 {
        let all = OffsetFetchRequest::default()
            .with_group_id(group_id(&group))
            .with_topics(None);
        let response = client.call(version, &all);
        assert_eq!(response.topics.len(), 1, "version {version}");
        assert_eq!(response.topics[0].name, topic_name(&topic));
        assert_eq!(response.topics[0].partitions.len(), 1);
    }
}

#[test]
fn many_groups_are_fetched_at_once() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("offsets", 2);
    let (one, other) = (fresh_group(), fresh_group());
    let mut client = coordinator(&cluster, &one);
    commit(&mut client, 9, &commit_request(&one, &topic, &[(0, 5)]));
    let wanted = OffsetFetchRequestTopics::default()
        .with_name(topic_name(&topic))
        .with_partition_indexes(vec![0, 1]);
    let of = |group: &str, topics: &[OffsetFetchRequestTopics]| {
        OffsetFetchRequestGroup::default()
            .with_group_id(group_id(group))
            .with_topics(names(topics))
    };
    for version in 8..=9 {
        let mut groups = vec![
            of(&one, &[]),
            of(&one, std::slice::from_ref(&wanted)),
            of(&other, &[]),
        ];
        if version >= 9 {
            groups.iter_mut().for_each(|group| group.member_epoch = -1);
        }
        let request = OffsetFetchRequest::default()
            .with_groups(groups)
            .with_require_stable(true);
        let response = client.call(version, &request);
        let found: Vec<_> = response
            .groups
            .iter()
            .map(|group| {
                assert_eq!(group.error_code, 0);
                let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
                let offsets: Vec<_> = partitions
                    .map(|partition| (partition.partition_index, partition.committed_offset))
                    .collect();
                (group.group_id.to_string(), offsets)
            })
            .collect();
        let expected = [
            (one.clone(), vec![(0, 5)]),
            (one.clone(), vec![(0, 5), (1, NONE)]),
            (other.clone(), vec![]),
        ];
        assert_eq!(found, expected, "version {version}");
    }
}

#[test]
fn each_partition_of_a_commit_has_its_own_verdict() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("offsets", 3);
    let group = fresh_group();
    let mut client = coordinator(&cluster, &group);
    let mut request = commit_request(&group, &topic, &[(0, 1), (1, 2), (2, 3), (3, 4)]);
    let partitions = &mut request.topics[0].partitions;
    partitions[1].committed_metadata = Some(text(&"x".repeat(4097)));
    partitions[2].committed_metadata = Some(text(&"x".repeat(4096)));
    let mut missing = request.topics[0].clone();
    missing.name = topic_name("no-such-topic");
    missing.partitions.truncate(1);
    request.topics.push(missing);
    let codes = commit(&mut client, 9, &request);
    let unknown = code(ResponseError::UnknownTopicOrPartition);
    let too_large = code(ResponseError::OffsetMetadataTooLarge);
    // Kafka lists what it refused early first.
    let mut sorted = codes.clone();
    sorted.sort_unstable();
    let mut expected = [0, too_large, 0, unknown, unknown];
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(
        fetch(&mut client, &group, &topic, &[0, 1, 2, 3]),
        [1, NONE, 3, NONE]
    );
}

#[test]
fn an_offset_without_metadata_has_an_empty_one() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("offsets", 1);
    let group = fresh_group();
    let mut client = coordinator(&cluster, &group);
    let mut request = commit_request(&group, &topic, &[(0, 1)]);
    request.topics[0].partitions[0].committed_metadata = None;
    assert_eq!(commit(&mut client, 9, &request), [0]);
    let all = OffsetFetchRequest::default()
        .with_group_id(group_id(&group))
        .with_topics(None);
    let response = client.call(7, &all);
    assert_eq!(
        response.topics[0].partitions[0].metadata,
        Some(StrBytes::new())
    );
}

#[test]
fn commits_in_a_members_name_are_checked() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("offsets", 1);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group);
    let mut request = commit_request(&group, &topic, &[(0, 1)]);
    request.member_id = text("stranger");
    request.generation_id_or_member_epoch = 1;
    // A generation of a group that does not exist.
    assert_eq!(
        commit(&mut member.client, 8, &request),
        [code(ResponseError::IllegalGeneration)]
    );
    assert_eq!(
        commit(&mut member.client, 9, &request),
        [code(ResponseError::GroupIdNotFound)]
    );
    member.settle();
    let unknown = code(ResponseError::UnknownMemberId);
    assert_eq!(commit(&mut member.client, 9, &request), [unknown]);
    let standalone = commit_request(&group, &topic, &[(0, 1)]);
    assert_eq!(commit(&mut member.client, 9, &standalone), [unknown]);
    request.member_id = member.id.clone();
    request.generation_id_or_member_epoch = member.generation;
    assert_eq!(commit(&mut member.client, 9, &request), [0]);
    request.generation_id_or_member_epoch += 1;
    assert_eq!(
        commit(&mut member.client, 9, &request),
        [code(ResponseError::IllegalGeneration)]
    );
    // Once it has left, anybody may.
    assert_eq!(member.leave(), 0);
    assert_eq!(commit(&mut member.client, 9, &standalone), [0]);
}

#[test]
fn commits_between_join_and_sync_are_told_to_wait() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("offsets", 1);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group);
    member.join();
    let mut request = commit_request(&group, &topic, &[(0, 1)]);
    request.member_id = member.id.clone();
    request.generation_id_or_member_epoch = member.generation;
    assert_eq!(
        commit(&mut member.client, 9, &request),
        [code(ResponseError::RebalanceInProgress)]
    );
    let id = member.id.clone();
    member.assign(&[(&id, "all")]).unwrap();
    assert_eq!(commit(&mut member.client, 9, &request), [0]);
}

#[test]
fn a_fenced_static_member_cannot_commit() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("offsets", 1);
    let group = fresh_group();
    let mut zombie = Member::fixed(&cluster, &group, "one");
    zombie.settle();
    let mut successor = Member::fixed(&cluster, &group, "one");
    successor.join();
    let mut request = commit_request(&group, &topic, &[(0, 1)]);
    request.group_instance_id = Some(text("one"));
    request.member_id = zombie.id.clone();
    request.generation_id_or_member_epoch = zombie.generation;
    assert_eq!(
        commit(&mut zombie.client, 9, &request),
        [code(ResponseError::FencedInstanceId)]
    );
    request.member_id = successor.id.clone();
    assert_eq!(commit(&mut successor.client, 9, &request), [0]);
}

fn delete(client: &mut Client, group: &str, topics: &[&str]) -> (i16, Vec<i16>) {
    let topics = topics.iter().map(|topic| {
        OffsetDeleteRequestTopic::default()
            .with_name(topic_name(topic))
            .with_partitions(vec![OffsetDeleteRequestPartition::default()])
    });
    let request = OffsetDeleteRequest::default()
        .with_group_id(group_id(group))
        .with_topics(topics.collect());
    let response = client.call(0, &request);
    let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    (
        response.error_code,
        partitions.map(|partition| partition.error_code).collect(),
    )
}

#[test]
fn offsets_are_deleted_but_not_those_that_the_group_reads() {
    let cluster = Cluster::start();
    let (_, read) = cluster.with_topic("read", 1);
    let (_, given_up) = cluster.with_topic("given-up", 1);
    let group = fresh_group();
    let mut client = coordinator(&cluster, &group);
    for topic in [&read, &given_up] {
        commit(&mut client, 9, &commit_request(&group, topic, &[(0, 5)]));
    }
    let mut member = Member::new(&cluster, &group);
    member.topic = read.clone();
    member.settle();
    let subscribed = code(ResponseError::GroupSubscribedToTopic);
    let unknown = code(ResponseError::UnknownTopicOrPartition);
    let (error, mut codes) = delete(&mut client, &group, &[&read, &given_up, "no-such-topic"]);
    codes.sort_unstable();
    assert_eq!((error, codes), (0, vec![0, unknown, subscribed]));
    assert_eq!(fetch(&mut client, &group, &read, &[0]), [5]);
    assert_eq!(fetch(&mut client, &group, &given_up, &[0]), [NONE]);
    member.leave();
    assert_eq!(delete(&mut client, &group, &[&read]), (0, vec![0]));
    assert_eq!(fetch(&mut client, &group, &read, &[0]), [NONE]);
    let (error, _) = delete(&mut client, &fresh_group(), &[&read]);
    assert_eq!(error, code(ResponseError::GroupIdNotFound));
}

#[test]
fn a_deleted_topic_takes_its_offsets_along() {
    let cluster = Cluster::start();
    let (mut admin, topic) = cluster.with_topic("short-lived", 1);
    let group = fresh_group();
    let mut client = coordinator(&cluster, &group);
    commit(&mut client, 9, &commit_request(&group, &topic, &[(0, 5)]));
    let state = DeleteTopicState::default().with_name(Some(topic_name(&topic)));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![state])
        .with_timeout_ms(30_000);
    assert_eq!(admin.call(6, &request).responses[0].error_code, 0);
    eventually("the offset is forgotten", || {
        (fetch(&mut client, &group, &topic, &[0]) == [NONE]).then_some(())
    });
}
