//! Members of both protocols in one group: one by one they move over, and back.

use kafka_protocol::messages::ListGroupsRequest;

use super::*;
use crate::groups::commits::{commit, commit_request};
use crate::groups::{Member as Classic, code};

/// An assignment as clients of the classic protocol write it.
fn assignment(topic: &str, partitions: &[u8]) -> String {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    bytes.extend(topic.as_bytes());
    bytes.extend([0, 0, 0, u8::try_from(partitions.len()).unwrap()]);
    for partition in partitions {
        bytes.extend([0, 0, 0, *partition]);
    }
    bytes.extend([0, 0, 0, 0]);
    String::from_utf8(bytes).unwrap()
}

/// How many partitions an assignment of one topic has.
fn count(assignment: &[u8]) -> u8 {
    let name = usize::from(assignment[7]);
    assignment.get(8 + name + 3).copied().unwrap_or(0)
}

fn type_of(client: &mut Client, group: &str) -> String {
    let groups = client.call(5, &ListGroupsRequest::default()).groups;
    let found = groups.iter().find(|one| one.group_id.as_str() == group);
    found.unwrap().group_type.to_string()
}

/// A classic group of one member that reads all four partitions.
fn classic(cluster: &Cluster, group: &str, topic: &str) -> Classic {
    let mut member = Classic::new(cluster, group);
    topic.clone_into(&mut member.topic);
    member.join();
    let id = member.id.clone();
    let all = assignment(topic, &[0, 1, 2, 3]);
    member.assign(&[(&id, &all)]).unwrap();
    member
}

/// Joins again as long as there is a rebalance; gives the number of its partitions.
fn rejoin(member: &mut Classic) -> u8 {
    eventually("an assignment", || {
        let joined = member.join();
        assert_eq!(joined.error_code, 0);
        member.sync().ok().map(|assignment| count(&assignment))
    })
}

#[test]
fn a_classic_group_is_upgraded_and_downgraded_while_its_members_work() {
    let cluster = Cluster::start();
    let (mut client, topic) = cluster.with_topic("moved", 4);
    let group = fresh_group();
    let mut old = classic(&cluster, &group, &topic);
    assert_eq!(type_of(&mut client, &group), "classic");
    let mut new = Member::new(&cluster, &group, &[&topic]);
    new.beat();
    assert_eq!((new.epoch, new.count()), (2, 0));
    assert_eq!(type_of(&mut client, &group), "consumer");
    // The classic member may commit until it joins again.
    let request = commit_request(&group, &topic, &[(0, 7)])
        .with_member_id(old.id.clone())
        .with_generation_id_or_member_epoch(old.generation);
    assert_eq!(commit(&mut old.client, 7, &request), [0]);
    old.beat_until(ResponseError::RebalanceInProgress);
    assert_eq!(rejoin(&mut old), 2);
    assert_eq!(old.generation, 2);
    assert_eq!(old.beat(), 0);
    let illegal = [code(ResponseError::IllegalGeneration)];
    assert_eq!(commit(&mut old.client, 7, &request), illegal);
    new.beat_until(2);
    let shown = described(&mut client, 1, &group);
    let mut types: Vec<i8> = shown.members.iter().map(|one| one.member_type).collect();
    types.sort_unstable();
    assert_eq!(types, [0, 1]);
    // The last member of the new protocol goes.
    new.leave(-1);
    assert_eq!(type_of(&mut client, &group), "classic");
    old.beat_until(ResponseError::RebalanceInProgress);
    let joined = old.join();
    assert_eq!((&joined.leader, joined.members.len()), (&old.id, 1));
    assert!(joined.generation_id > 2);
}

#[test]
fn a_classic_member_joins_a_consumer_group_and_leaves_it() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("joined-by-old", 4);
    let group = fresh_group();
    let mut new = Member::new(&cluster, &group, &[&topic]);
    new.beat();
    let mut old = Classic::new(&cluster, &group);
    topic.clone_into(&mut old.topic);
    old.join();
    assert_eq!(count(&old.sync().unwrap()), 0);
    // It waits for the other one.
    assert_eq!(old.beat(), 0);
    new.beat_until(2);
    new.beat();
    old.beat_until(ResponseError::RebalanceInProgress);
    assert_eq!(rejoin(&mut old), 2);
    assert_eq!(old.leave(), 0);
    new.beat_until(4);
    assert_eq!(old.beat(), code(ResponseError::UnknownMemberId));
}

#[test]
fn a_group_that_is_not_of_consumers_is_not_upgraded() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("connect", 1);
    let group = fresh_group();
    let mut worker = Classic::new(&cluster, &group);
    let mut request = worker.join_request();
    request.protocol_type = text("connect");
    let told = worker.client.call(9, &request);
    request.member_id = told.member_id;
    assert_eq!(worker.client.call(9, &request).error_code, 0);
    let mut new = Member::new(&cluster, &group, &[&topic]);
    assert_eq!(new.full_code(), Some(ResponseError::GroupIdNotFound));
}
