//! Heartbeats that no group could take.

use super::*;

#[test]
fn what_a_heartbeat_must_say_is_checked() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("checked", 1);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic]);
    let full = member.full();
    let somewhere = TopicPartitions::default().with_partitions(vec![0]);
    let invalid = [
        full.clone().with_group_id(group_id("")),
        full.clone().with_member_id(text("")),
        full.clone().with_instance_id(Some(text(""))),
        full.clone().with_rack_id(Some(text(""))),
        full.clone().with_rebalance_timeout_ms(-1),
        full.clone().with_topic_partitions(None),
        full.clone().with_topic_partitions(Some(vec![somewhere])),
        full.clone().with_subscribed_topic_names(None),
        full.clone().with_member_epoch(-2),
        full.clone().with_member_epoch(-3),
    ];
    let texts = [
        "GroupId can't be empty.",
        "MemberId can't be empty.",
        "InstanceId can't be empty.",
        "RackId can't be empty.",
        "RebalanceTimeoutMs must be provided in first request.",
        "TopicPartitions must be empty when (re-)joining.",
        "TopicPartitions must be empty when (re-)joining.",
        "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        "InstanceId can't be null.",
        "MemberEpoch is invalid.",
    ];
    for (request, expected) in invalid.iter().zip(texts) {
        let answer = member.send(request);
        let told = answer.error_message.as_ref().map(StrBytes::as_str);
        let code = ResponseError::InvalidRequest.code();
        assert_eq!((answer.error_code, told), (code, Some(expected)));
    }
    let answer = member.send(&full.clone().with_server_assignor(Some(text("sticky"))));
    assert_eq!(answer.error_code, ResponseError::UnsupportedAssignor.code());
    let told = answer.error_message.unwrap();
    assert!(
        told.contains("ServerAssignor sticky is not supported"),
        "{told:?}"
    );
    // A broken regular expression.
    let answer = member.send(&full.with_subscribed_topic_regex(Some(text("a("))));
    let code = ResponseError::InvalidRegularExpression.code();
    assert_eq!(answer.error_code, code);
}

#[test]
fn the_broker_makes_the_ids_of_members_that_speak_the_first_version() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("first-version", 1);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic]);
    let request = member.full().with_member_id(text(""));
    let answer = member.client.call(0, &request);
    assert_eq!((answer.error_code, answer.member_epoch), (0, 1));
    member.id = answer.member_id.unwrap();
    assert!(!member.id.is_empty());
    let answer = member.client.call(0, &member.short().with_member_epoch(1));
    assert_eq!((answer.error_code, answer.member_epoch), (0, 1));
}
