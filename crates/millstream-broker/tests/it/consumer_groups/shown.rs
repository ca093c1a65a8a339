//! Groups of the new protocol as operators see them: listed, described, deleted.

use kafka_protocol::messages::{DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest};

use super::*;

/// State, type and protocol of a group in the list of consumer groups.
fn listed(client: &mut Client, group: &str) -> Option<(String, String, String)> {
    let request = ListGroupsRequest::default().with_types_filter(vec![text("Consumer")]);
    let groups = client.call(5, &request).groups;
    let found = groups.iter().find(|one| one.group_id.as_str() == group)?;
    Some((
        found.group_state.to_string(),
        found.group_type.to_string(),
        found.protocol_type.to_string(),
    ))
}

fn all(texts: [&str; 3]) -> Option<(String, String, String)> {
    let [state, kind, protocol] = texts.map(str::to_owned);
    Some((state, kind, protocol))
}

#[test]
fn a_group_is_listed_described_and_deleted() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("shown", 2);
    let group = fresh_group();
    let mut first = Member::new(&cluster, &group, &[&topic]);
    first.beat();
    let mut client = coordinator(&cluster, &group);
    let stable = all(["Stable", "consumer", "consumer"]);
    assert_eq!(listed(&mut client, &group), stable);
    let mut second = Member::fixed(&cluster, &group, &[&topic], "fixed");
    second.beat();
    let found = described(&mut client, 1, &group);
    assert_eq!(found.group_state, text("Reconciling"));
    assert_eq!((found.group_epoch, found.assignment_epoch), (2, 2));
    assert_eq!(found.assignor_name, text("uniform"));
    let mut members = found.members;
    members.sort_by_key(|member| member.instance_id.is_some());
    assert_eq!(members[0].member_id, first.id);
    assert_eq!(members[0].member_epoch, 1);
    assert_eq!(members[0].member_type, 1);
    assert_eq!(members[0].subscribed_topic_names, [topic_name(&topic)]);
    assert_eq!(
        members[0].assignment.topic_partitions[0].partitions.len(),
        2
    );
    let target = &members[0].target_assignment.topic_partitions[0];
    assert_eq!(
        (target.partitions.len(), &target.topic_name),
        (1, &topic_name(&topic))
    );
    assert_eq!(members[1].instance_id, Some(text("fixed")));
    assert_eq!(members[1].member_epoch, 2);
    assert_eq!(members[1].assignment.topic_partitions, []);
    assert_eq!(described(&mut client, 0, &group).members[0].member_type, -1);
    first.leave(-1);
    assert_eq!(
        listed(&mut client, &group),
        all(["Assigning", "consumer", "consumer"])
    );
    let delete = DeleteGroupsRequest::default().with_groups_names(vec![group_id(&group)]);
    let deleted = client.call(2, &delete).results.remove(0);
    assert_eq!(deleted.error_code, ResponseError::NonEmptyGroup.code());
    second.leave(-1);
    assert_eq!(
        listed(&mut client, &group),
        all(["Empty", "consumer", "consumer"])
    );
    assert_eq!(client.call(2, &delete).results.remove(0).error_code, 0);
    assert_eq!(listed(&mut client, &group), None);
    let gone = described(&mut client, 1, &group);
    assert_eq!(gone.error_code, ResponseError::GroupIdNotFound.code());
}

#[test]
fn each_kind_of_group_is_described_by_its_own_request() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("kinds", 1);
    let (new, old) = (fresh_group(), fresh_group());
    let mut member = Member::new(&cluster, &new, &[&topic]);
    member.beat();
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(&new)]);
    let found = member.client.call(6, &request).groups.remove(0);
    assert_eq!(found.error_code, ResponseError::GroupIdNotFound.code());
    assert_eq!(found.group_state, text("Dead"));
    let told = format!("Group {new} is not a classic group.");
    assert_eq!(found.error_message, Some(text(&told)));
    let mut classic = crate::groups::Member::new(&cluster, &old);
    classic.settle();
    let found = described(&mut classic.client, 1, &old);
    assert_eq!(found.error_code, ResponseError::GroupIdNotFound.code());
    let told = format!("Group {old} is not a consumer group.");
    assert_eq!(found.error_message, Some(text(&told)));
}
