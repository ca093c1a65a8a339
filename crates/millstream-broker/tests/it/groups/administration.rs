//! Groups as operators see them: found, listed, described, deleted.

use kafka_protocol::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest, OffsetCommitRequest,
};

use super::*;
use crate::cluster::eventually;

fn names(client: &mut Client, version: i16, request: &ListGroupsRequest) -> Vec<String> {
    let response = client.call(version, request);
    assert_eq!(response.error_code, 0, "version {version}");
    let groups = response.groups.iter();
    groups.map(|group| group.group_id.to_string()).collect()
}

fn texts(all: &[&str]) -> Vec<StrBytes> {
    all.iter().map(|one| text(one)).collect()
}

/// A group without members, that only keeps an offset.
fn offsets_only(cluster: &Cluster, group: &str) -> Client {
    use kafka_protocol::messages::offset_commit_request::{
        OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    };
    let (_, name) = cluster.with_topic("kept", 1);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(crate::raw::topic_name(&name))
        .with_partitions(vec![OffsetCommitRequestPartition::default()]);
    let request = OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    let mut client = coordinator(cluster, group);
    let response = client.call(9, &request);
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    client
}

#[test]
fn every_version_finds_the_coordinator() {
    let cluster = Cluster::start();
    let group = fresh_group();
    coordinator(&cluster, &group);
    let mut client = cluster.connect();
    let address = |host: &StrBytes, port: i32| format!("{}:{port}", host.as_str());
    for version in 0..4 {
        let request = FindCoordinatorRequest::default().with_key(text(&group));
        let found = client.call(version, &request);
        assert_eq!(found.error_code, 0, "version {version}");
        Client::connect(&address(&found.host, found.port));
    }
    for version in 4..=6 {
        let keys = texts(&[&group, "another"]);
        let request = FindCoordinatorRequest::default().with_coordinator_keys(keys.clone());
        let found = client.call(version, &request).coordinators;
        let told: Vec<_> = found
            .iter()
            .map(|coordinator| (coordinator.key.clone(), coordinator.error_code))
            .collect();
        assert_eq!(told, [(keys[0].clone(), 0), (keys[1].clone(), 0)]);
        Client::connect(&address(&found[0].host, found[0].port));
    }
}

#[test]
fn a_coordinator_of_an_unknown_kind_is_an_invalid_request() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let request = FindCoordinatorRequest::default()
        .with_key_type(9)
        .with_key(text("key"));
    assert_eq!(
        client.call(3, &request).error_code,
        code(ResponseError::InvalidRequest)
    );
}

#[test]
fn groups_are_listed_in_every_version_by_state_and_by_type() {
    let cluster = Cluster::start();
    let (stable, empty) = (fresh_group(), fresh_group());
    let mut member = Member::new(&cluster, &stable);
    member.settle();
    let mut client = offsets_only(&cluster, &empty);
    for version in 0..=5 {
        let all = names(&mut client, version, &ListGroupsRequest::default());
        assert!(all.contains(&stable) && all.contains(&empty), "{version}");
    }
    let listed = client.call(5, &ListGroupsRequest::default()).groups;
    let one = |name: &String| {
        listed
            .iter()
            .find(|group| group.group_id.as_str() == name)
            .unwrap()
    };
    assert_eq!(one(&stable).protocol_type, text("consumer"));
    assert_eq!(one(&stable).group_state, text("Stable"));
    assert_eq!(one(&stable).group_type, text("classic"));
    assert_eq!(one(&empty).protocol_type, StrBytes::new());
    assert_eq!(one(&empty).group_state, text("Empty"));
    let by_state = |states: &[&str]| ListGroupsRequest::default().with_states_filter(texts(states));
    for version in 4..=5 {
        let found = names(&mut client, version, &by_state(&["stable"]));
        assert!(found.contains(&stable) && !found.contains(&empty));
        let found = names(&mut client, version, &by_state(&["Empty", "Dead"]));
        assert!(!found.contains(&stable) && found.contains(&empty));
    }
    let by_type = |types: &[&str]| ListGroupsRequest::default().with_types_filter(texts(types));
    assert!(names(&mut client, 5, &by_type(&["Classic"])).contains(&stable));
    assert!(!names(&mut client, 5, &by_type(&["consumer"])).contains(&stable));
}

#[test]
fn groups_are_described_in_every_version() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut member = Member::fixed(&cluster, &group, "one");
    member.settle();
    for version in 0..=6 {
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![group_id(&group)])
            .with_include_authorized_operations(version >= 3);
        let described = member.client.call(version, &request).groups.remove(0);
        assert_eq!(described.error_code, 0, "version {version}");
        assert_eq!(described.group_state, text("Stable"));
        assert_eq!(described.protocol_type, text("consumer"));
        assert_eq!(described.protocol_data, text("range"));
        let operations = if version >= 3 { 3400 } else { i32::MIN };
        assert_eq!(described.authorized_operations, operations);
        let [one] = &described.members[..] else {
            panic!("{described:?}");
        };
        assert_eq!(one.member_id, member.id);
        let instance = (version >= 4).then(|| text("one"));
        assert_eq!(one.group_instance_id, instance);
        assert_eq!(one.client_id, text("raw-test"));
        assert_eq!(one.client_host, text("/127.0.0.1"));
        assert_eq!(one.member_metadata, subscription("calls"));
        assert_eq!(one.member_assignment, "all".as_bytes());
    }
}

#[test]
fn a_group_that_does_not_exist_is_dead() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut client = coordinator(&cluster, &group);
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    for version in 0..=6 {
        let described = client.call(version, &request).groups.remove(0);
        assert_eq!(described.group_state, text("Dead"), "version {version}");
        match version {
            ..6 => assert_eq!(described.error_code, 0),
            _ => {
                assert_eq!(described.error_code, code(ResponseError::GroupIdNotFound));
                let message = format!("Group {group} not found.");
                assert_eq!(described.error_message, Some(text(&message)));
            }
        }
    }
}

#[test]
fn a_group_that_gathers_tells_no_subscriptions() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group);
    member.join();
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&group)]);
    // Apache Kafka describes a group as it was when it was last written to its journal, which may be before the join.
    let described = eventually("the group is there", || {
        let described = member.client.call(6, &request).groups.remove(0);
        (described.group_state != text("Dead")).then_some(described)
    });
    assert_eq!(described.group_state, text("CompletingRebalance"));
    assert_eq!(described.protocol_data, StrBytes::new());
    assert_eq!(described.members[0].member_metadata, Bytes::new());
}

#[test]
fn groups_are_deleted_only_without_members() {
    let cluster = Cluster::start();
    for version in 0..=2 {
        let group = fresh_group();
        let mut member = Member::new(&cluster, &group);
        member.settle();
        let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
        let verdict = |member: &mut Member| {
            let results = member.client.call(version, &request).results;
            assert_eq!(results[0].group_id, group_id(&group));
            results[0].error_code
        };
        assert_eq!(verdict(&mut member), code(ResponseError::NonEmptyGroup));
        assert_eq!(member.leave(), 0);
        assert_eq!(verdict(&mut member), 0);
        assert_eq!(verdict(&mut member), code(ResponseError::GroupIdNotFound));
    }
}

#[test]
fn a_deleted_group_takes_its_offsets_along() {
    let cluster = Cluster::start();
    let group = fresh_group();
    let mut client = offsets_only(&cluster, &group);
    let all = OffsetFetchRequest::default()
        .with_group_id(group_id(&group))
        .with_topics(None);
    assert_eq!(client.call(7, &all).topics.len(), 1);
    let request = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
    assert_eq!(client.call(2, &request).results[0].error_code, 0);
    assert_eq!(client.call(7, &all).topics.len(), 0);
}
