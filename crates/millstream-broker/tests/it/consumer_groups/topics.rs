//! Topics that appear, grow and are deleted under a group that reads them.

use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};

use super::*;
use crate::cluster::unique;

fn grow(client: &mut Client, topic: &str, count: i32) {
    let topic = CreatePartitionsTopic::default()
        .with_name(topic_name(topic))
        .with_count(count)
        .with_assignments(None);
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    assert_eq!(client.call(3, &request).results[0].error_code, 0);
}

fn delete(client: &mut Client, topic: &str) {
    let topic = DeleteTopicState::default().with_name(Some(topic_name(topic)));
    let request = DeleteTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(10_000);
    assert_eq!(client.call(6, &request).responses[0].error_code, 0);
}

#[test]
fn partitions_that_a_topic_gets_and_topics_that_appear_are_assigned() {
    let cluster = Cluster::start();
    let (mut client, topic) = cluster.with_topic("growing", 1);
    let later = unique("later");
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic, &later]);
    member.beat_until(1);
    grow(&mut client, &topic, 3);
    member.beat_until(3);
    client.create_topic(&later, 2, &[]);
    member.beat_until(5);
    delete(&mut client, &later);
    member.beat_until(3);
    // Nobody reads it while it is deleted and made again: the new one is another one.
    delete(&mut client, &topic);
    member.beat_until(0);
    client.create_topic(&topic, 2, &[]);
    member.beat_until(2);
}

#[test]
fn a_regular_expression_finds_topics_by_their_whole_name() {
    let cluster = Cluster::start();
    let word = unique("pattern");
    let names = [
        format!("{word}-1"),
        format!("{word}-2"),
        format!("x{word}-3"),
    ];
    let mut client = cluster.connect();
    for name in &names[..1] {
        client.create_topic(name, 1, &[]);
    }
    client.create_topic(&names[2], 1, &[]);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[]);
    member.names = None;
    member.pattern = Some(format!("{word}-\\d"));
    member.beat_until(1);
    client.create_topic(&names[1], 2, &[]);
    member.beat_until(3);
    let shown = described(&mut client, 1, &group);
    let pattern = &shown.members[0].subscribed_topic_regex;
    assert_eq!(pattern.as_ref().map(|one| one.to_string()), member.pattern);
    // By name beside it.
    member.names = Some(vec![names[2].clone()]);
    member.beat_until(4);
    // An empty one is none. Apache Kafka notices it only beside other names.
    member.names = Some(vec![names[0].clone()]);
    member.pattern = Some(String::new());
    member.beat_until(1);
}
