//! Topics that are created, described, grown and deleted.

use std::net::TcpListener;

use millstream_client::admin::{Admin, Mode, NewTopic};
use millstream_client::{Class, Config, Outcome};

use super::{admin, away, eventually, only, refusal};
use crate::support::{Broker, fresh};

fn topic(name: &str, partitions: i32) -> NewTopic {
    NewTopic {
        partitions: Some(partitions),
        replicas: Some(1),
        ..NewTopic::named(name)
    }
}

#[test]
fn a_topic_is_created_described_grown_listed_and_deleted() {
    let broker = Broker::start();
    let mut admin = admin(&broker);
    let name = fresh("topic");
    let created = only(admin.create_topics(&[topic(&name, 2)], Mode::Apply)).unwrap();
    assert_eq!((created.partitions, created.replicas), (Some(2), Some(1)));

    let described = only(admin.describe_topics(&[&name])).unwrap();
    assert_eq!(described.name, name);
    assert_eq!(described.partitions.len(), 2);
    assert!(!described.is_internal);
    assert_ne!(described.id, [0; 16]);
    let partition = &described.partitions[&1];
    assert_eq!(partition.replicas, partition.in_sync);
    assert_eq!(partition.offline, Vec::<i32>::new());

    only(admin.add_partitions(&[(&name, 5)], Mode::ValidateOnly)).unwrap();
    only(admin.add_partitions(&[(&name, 5)], Mode::Apply)).unwrap();
    eventually("five partitions are listed", || {
        let listed = admin.topics().unwrap();
        let info = listed[&name].as_ref().unwrap();
        info.partitions.keys().copied().eq(0..5)
    });

    only(admin.delete_topics(&[&name])).unwrap();
    eventually("the topic is gone", || {
        !admin.topics().unwrap().contains_key(&name)
    });
}

#[test]
fn a_topic_that_is_only_checked_is_not_there() {
    let broker = Broker::start();
    let mut admin = admin(&broker);
    let name = fresh("topic");
    let created = only(admin.create_topics(&[topic(&name, 3)], Mode::ValidateOnly)).unwrap();
    assert_eq!(created.partitions, Some(3));
    let error = only(admin.describe_topics(&[&name])).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to describe topic `{name}`: UnknownTopicOrPartition; there is no such topic or partition; list the topics for those that there are"
        )
    );
}

#[test]
fn a_topic_that_cannot_be_created_does_not_hide_the_others() {
    let broker = Broker::start();
    let mut admin = admin(&broker);
    let (good, none, configured) = (fresh("good"), fresh("none"), fresh("configured"));
    let mut unknown = topic(&configured, 1);
    unknown
        .configs
        .insert("no.such.config".to_owned(), "1".to_owned());
    let defaults = topic(&none, -1);
    let topics = [topic(&good, 1), defaults, unknown, topic("not/a/name", 1)];
    let answers = admin.create_topics(&topics, Mode::Apply).unwrap();
    assert_eq!(answers.len(), 4);
    assert_eq!(answers[&good].as_ref().unwrap().partitions, Some(1));
    for name in [&none, &configured, "not/a/name"] {
        let error = answers[name].as_ref().unwrap_err();
        let expected = format!("failed to create topic `{name}`: ");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert_eq!(
            (error.class(), error.outcome()),
            (Class::Refused, Outcome::NotApplied)
        );
    }
    let again = refusal(admin.create_topics(&[topic(&good, 1)], Mode::Apply));
    assert!(
        again.ends_with("(TopicAlreadyExists); use another name, or delete the topic first"),
        "{again}"
    );
    let error = admin.create_topics(&[topic(&good, 1), topic(&good, 2)], Mode::Apply);
    assert_eq!(
        error.unwrap_err().to_string(),
        format!("topic {good} is named twice in one call; name it once")
    );
}

#[test]
fn topics_that_are_not_there_are_named_by_each_call() {
    let broker = Broker::start();
    let mut admin = admin(&broker);
    let name = fresh("missing");
    for (what, error) in [
        ("describe topic", refusal(admin.describe_topics(&[&name]))),
        ("delete topic", refusal(admin.delete_topics(&[&name]))),
        (
            "add partitions to topic",
            refusal(admin.add_partitions(&[(&name, 2)], Mode::Apply)),
        ),
    ] {
        let expected = format!("failed to {what} `{name}`: ");
        assert!(error.starts_with(&expected), "{error}");
        assert!(error.contains("UnknownTopicOrPartition"), "{error}");
    }
    let there = broker.topic(3);
    let fewer = refusal(admin.add_partitions(&[(&there, 2)], Mode::Apply));
    assert!(
        fewer.ends_with(
            "(InvalidPartitions); a topic has at least one partition and never loses one"
        ),
        "{fewer}"
    );
    assert!(admin.describe_topics(&[]).unwrap().is_empty());
}

#[test]
fn a_cluster_that_is_away_is_named_when_the_time_is_over_and_nothing_was_done() {
    let mut admin = away();
    let error = only(admin.create_topics(&[topic("topic", 1)], Mode::Apply)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the attempt to create topic `topic` at `127.0.0.1:1` took longer than 200 ms"
    );
    assert_eq!(
        (error.class(), error.outcome()),
        (Class::Retriable, Outcome::NotApplied)
    );
    let error = admin.topics().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the attempt to list topics at `127.0.0.1:1` took longer than 200 ms"
    );
}

#[test]
fn a_broker_that_never_answers_is_not_waited_for_longer_than_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let config = Config::new(&address.to_string()).unwrap();
    let config = config.set("default.api.timeout.ms", "300").unwrap();
    let mut admin = Admin::new(&config).unwrap();
    for _ in 0..2 {
        let error = only(admin.delete_topics(&["topic"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the attempt to delete topic `topic` at `{address}` took longer than 300 ms")
        );
        // Not even the versions were agreed on.
        assert_eq!(error.outcome(), Outcome::NotApplied);
    }
}
