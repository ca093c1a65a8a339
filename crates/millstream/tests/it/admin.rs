//! Administration: topics and groups, and every refusal by name.

use std::sync::mpsc::channel;
use std::time::Duration;

use millstream::admin::{Admin, Change, ResetPlan, ResetTo, ensure};
use millstream::{
    Cluster, NextOffset, Partition, Service, Shutdown, Topic, TopicPartition, TopicSpec,
};

use millstream::testing::eventually;
use millstream_broker::{Config, Fault, Faults, Server};

use crate::support::{PATIENCE, admin, cluster, numbers, unique, write};

fn spec(name: &str, partitions: i32) -> TopicSpec {
    TopicSpec {
        partitions: Some(partitions),
        ..TopicSpec::named(name)
    }
}

#[test]
fn ensure_creates_what_is_missing_and_accepts_what_is_there() {
    let name = unique("ensured");
    let wanted = TopicSpec {
        retention: Some(Duration::from_secs(3_600)),
        max_message_bytes: Some(2_000_000),
        ..spec(&name, 3)
    };
    let made = ensure(&cluster(), std::slice::from_ref(&wanted)).unwrap();
    let again = ensure(&cluster(), std::slice::from_ref(&wanted)).unwrap();
    assert_eq!(made, again);
    let numbers: Vec<i32> = made[0]
        .partitions
        .iter()
        .map(|info| info.partition.0)
        .collect();
    assert_eq!(numbers, [0, 1, 2]);
    let configs = admin().configs(&name).unwrap();
    let of = |wanted: &str| {
        configs
            .iter()
            .find(|config| config.name == wanted)
            .unwrap()
            .clone()
    };
    assert_eq!(
        (
            of("retention.ms").value.as_deref(),
            of("retention.ms").is_set_on_topic
        ),
        (Some("3600000"), true)
    );
    assert_eq!(of("max.message.bytes").value.as_deref(), Some("2000000"));
    assert!(!of("cleanup.policy").is_set_on_topic);
}

#[test]
fn a_topic_that_is_not_as_declared_is_refused_with_both_values() {
    let name = unique("other");
    admin().create(&spec(&name, 2)).unwrap();
    let said = |wanted: TopicSpec| ensure(&cluster(), &[wanted]).unwrap_err().to_string();
    assert_eq!(
        said(spec(&name, 4)),
        format!("topic `{name}` has partitions 2 on the cluster, but 4 is declared")
    );
    let hour = TopicSpec {
        retention: Some(Duration::from_secs(3_600)),
        ..TopicSpec::named(&name)
    };
    assert_eq!(
        said(hour),
        format!(
            "topic `{name}` has retention.ms 604800000 on the cluster, but 3600000 is declared"
        )
    );
    let invalid = said(TopicSpec::named("a/b"));
    assert!(
        invalid.starts_with("topic `a/b` is not valid: "),
        "{invalid}"
    );
}

#[test]
fn a_topic_lives_from_creation_to_deletion() {
    let admin = admin();
    let name = unique("life");
    assert_eq!(
        admin.create(&spec(&name, 1)).unwrap(),
        admin.topic(&name).unwrap()
    );
    let exists = admin.create(&spec(&name, 1)).unwrap_err();
    assert_eq!(exists.to_string(), format!("topic `{name}` exists already"));

    admin.raise_partitions(&name, 3).unwrap();
    let shown = || admin.topic(&name).unwrap().partitions.len() == 3;
    eventually(PATIENCE, "three partitions are shown", shown);
    let fewer = admin.raise_partitions(&name, 2).unwrap_err();
    assert!(fewer.to_string().starts_with(&format!(
        "failed to raise the partitions of topic `{name}` to 2: "
    )));

    assert!(
        admin
            .topics()
            .unwrap()
            .iter()
            .any(|topic| topic.name == name)
    );
    admin.delete(&name).unwrap();
    let gone = || {
        matches!(
            admin.topic(&name),
            Err(millstream::Error::UnknownTopic { .. })
        )
    };
    eventually(PATIENCE, "the topic is gone", gone);
    let missing = admin.delete(&name).unwrap_err();
    assert_eq!(
        missing.to_string(),
        format!("topic `{name}` does not exist")
    );
}

#[test]
fn altering_a_topic_keeps_what_was_not_named() {
    let admin = admin();
    let name = unique("altered");
    admin
        .create_with(
            &spec(&name, 1),
            &[("retention.ms", "1000"), ("segment.bytes", "2000000")],
        )
        .unwrap();
    admin
        .alter(
            &name,
            &[("retention.ms", None), ("max.message.bytes", Some("5000"))],
        )
        .unwrap();
    let set = || {
        let set = admin
            .configs(&name)
            .unwrap()
            .into_iter()
            .filter(|config| config.is_set_on_topic);
        set.map(|config| (config.name, config.value.unwrap()))
            .collect::<Vec<_>>()
    };
    let expected = [("max.message.bytes", "5000"), ("segment.bytes", "2000000")];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    eventually(PATIENCE, "the change is shown", || set() == expected);
    let refused = admin
        .alter(&name, &[("retention.ms", Some("soon"))])
        .unwrap_err();
    assert!(refused.to_string().starts_with(&format!(
        "failed to change the configuration of topic `{name}`: "
    )));
}

#[test]
fn ranges_show_start_and_end_and_records_can_be_deleted() {
    let admin = admin();
    let topic = numbers(2);
    write(&topic, 1, 0..5);
    let ranges = || -> Vec<(i32, i64, i64)> {
        let ranges = admin.ranges(topic.name()).unwrap();
        ranges
            .into_iter()
            .map(|(partition, range)| (partition.0, range.start.get(), range.end.get()))
            .collect()
    };
    assert_eq!(ranges(), [(0, 0, 0), (1, 0, 5)]);
    let partition = TopicPartition::new(topic.name(), Partition(1));
    admin
        .delete_records(&[(partition.clone(), NextOffset::new(3))])
        .unwrap();
    assert_eq!(ranges(), [(0, 0, 0), (1, 3, 5)]);
    let beyond = admin
        .delete_records(&[(partition.clone(), NextOffset::new(9))])
        .unwrap_err();
    assert!(
        beyond
            .to_string()
            .starts_with(&format!("failed to delete records of {partition}: ")),
        "{beyond}"
    );
}

/// A group without members that has committed the end of a topic with 10 and 4 numbers.
fn group_at_the_end() -> (String, Topic<String, u64>) {
    let topic = numbers(2);
    write(&topic, 0, 0..10);
    write(&topic, 1, 0..4);
    let group = unique("group");
    let plan = admin()
        .plan_reset(&group, &[topic.name()], ResetTo::Latest)
        .unwrap();
    admin().apply_reset(&plan).unwrap();
    (group, topic)
}

#[test]
fn a_reset_is_planned_applied_and_read_back() {
    let admin = admin();
    let (group, topic) = group_at_the_end();
    let at = |partition: i32| TopicPartition::new(topic.name(), Partition(partition));
    let next = NextOffset::new;
    // Without topics: those that have a committed offset. Shifts stop at the first record.
    let plan = admin.plan_reset(&group, &[], ResetTo::Shift(-6)).unwrap();
    let change = |partition, committed, target| Change {
        partition: at(partition),
        committed: Some(next(committed)),
        target: next(target),
    };
    assert_eq!(plan.changes, [change(0, 10, 4), change(1, 4, 0)]);
    let distances: Vec<_> = plan.changes.iter().map(Change::distance).collect();
    assert_eq!(distances, [Some(-6), Some(-4)]);
    let applied = admin.apply_reset(&plan).unwrap();
    assert_eq!(
        applied.into_iter().collect::<Vec<_>>(),
        [(at(0), next(4)), (at(1), next(0))]
    );

    let error = admin
        .plan_reset(&group, &[topic.name()], ResetTo::Offset(next(5)))
        .unwrap_err();
    let said = format!(
        "cannot read {} from offset 5: the cluster has 0 to 4",
        at(1)
    );
    assert_eq!(error.to_string(), said);
}

/// An outsider's commit waits for a coordinator no longer than it is told to, whatever the client's own times are.
#[test]
fn a_reset_without_a_coordinator_ends_within_its_patience() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = Config::ephemeral(folder.path());
    config.faults = Faults::new(|asked| match asked.api {
        "FindCoordinator" => Fault::Close,
        _ => Fault::None,
    });
    let server = Server::start(config).unwrap();
    let mut cluster = Cluster::new(server.address().to_string());
    for name in [
        "max.poll.interval.ms",
        "session.timeout.ms",
        "socket.timeout.ms",
    ] {
        cluster = cluster.property(name, "300000").unwrap();
    }
    let change = Change {
        partition: TopicPartition::new("topic", Partition(0)),
        committed: None,
        target: NextOffset::new(0),
    };
    let plan = ResetPlan {
        group: "group".to_owned(),
        changes: vec![change],
    };
    let (sender, answer) = channel();
    std::thread::spawn(move || {
        let admin = Admin::new(&cluster).unwrap();
        let _ = sender.send(admin.patience(Duration::from_secs(1)).apply_reset(&plan));
    });
    let error = answer
        .recv_timeout(PATIENCE)
        .unwrap()
        .unwrap_err()
        .to_string();
    let expected = "failed to commit offsets of group `group`: ";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn a_group_is_described_listed_and_deleted() {
    let admin = admin();
    let (group, topic) = group_at_the_end();
    write(&topic, 0, 10..13);
    let described = admin.group(&group).unwrap();
    assert_eq!(
        (
            described.group.state.as_str(),
            described.group.members.len()
        ),
        ("Empty", 0)
    );
    let lags: Vec<_> = described
        .offsets
        .iter()
        .map(|offset| (offset.partition.partition.0, offset.lag()))
        .collect();
    assert_eq!(lags, [(0, Some(3)), (1, Some(0))]);
    assert!(
        admin
            .groups()
            .unwrap()
            .iter()
            .any(|info| info.name == group)
    );

    admin.delete_group(&group).unwrap();
    let said = format!("group `{group}` does not exist");
    assert_eq!(admin.delete_group(&group).unwrap_err().to_string(), said);
    assert_eq!(admin.group(&group).unwrap_err().to_string(), said);
}

/// The lag of a partition without a commit is what lies in it: hidden, the sum would be too small.
#[test]
fn partitions_without_a_commit_are_described_and_reset() {
    let admin = admin();
    let (group, topic) = group_at_the_end();
    admin.raise_partitions(topic.name(), 4).unwrap();
    let shown = || admin.topic(topic.name()).unwrap().partitions.len() == 4;
    eventually(PATIENCE, "four partitions are shown", shown);
    write(&topic, 0, 10..13);
    write(&topic, 2, 0..7);

    let described = admin.group(&group).unwrap();
    let unread: Vec<_> = described
        .offsets
        .iter()
        .map(|offset| {
            let number = offset.partition.partition.0;
            (number, offset.lag(), offset.unread())
        })
        .collect();
    assert_eq!(
        unread,
        [(0, Some(3), 3), (1, Some(0), 0), (2, None, 7), (3, None, 0)]
    );
    assert_eq!(described.unread(), 10);

    let plan = admin.plan_reset(&group, &[], ResetTo::Latest).unwrap();
    admin.apply_reset(&plan).unwrap();
    let described = admin.group(&group).unwrap();
    let lags: Vec<_> = described
        .offsets
        .iter()
        .map(millstream::admin::GroupOffset::lag)
        .collect();
    assert_eq!(lags, [Some(0); 4]);
}

#[test]
fn a_group_in_use_shows_its_member_and_is_not_reset() {
    let admin = admin();
    let (group, topic) = group_at_the_end();
    let service = Service::new(&group, || ()).input(&topic, |(), _, _| Ok(()));
    let shutdown = Shutdown::new();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| service.run(&cluster(), shutdown.clone()));
        let held = || {
            let members = admin
                .group(&group)
                .map(|described| described.group.members)
                .unwrap_or_default();
            members
                .iter()
                .map(|member| member.partitions.len())
                .sum::<usize>()
                == 2
        };
        eventually(PATIENCE, "the member holds both partitions", held);
        let refused = admin.plan_reset(&group, &[], ResetTo::Earliest);
        let deleted = admin.delete_group(&group);
        shutdown.request();
        let said =
            format!("group `{group}` is in use: it is Stable and has 1 member(s); stop them first");
        assert_eq!(refused.unwrap_err().to_string(), said);
        assert_eq!(deleted.unwrap_err().to_string(), said);
        running.join().unwrap().unwrap();
    });
}

#[test]
fn the_cluster_tells_its_brokers() {
    let info = admin().cluster().unwrap();
    assert!(info.id.is_some());
    assert!(!info.brokers.is_empty());
}

#[test]
fn waiting_for_a_cluster_that_never_comes_names_its_address() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let admin = Admin::new(&Cluster::new(address.to_string())).unwrap();
    let mut tries = 0;
    let error = admin
        .reach(Duration::from_secs(60), |_| {
            tries += 1;
            tries < 3
        })
        .unwrap_err();
    assert_eq!(tries, 3);
    assert!(
        error
            .to_string()
            .starts_with(&format!("failed to reach the cluster at `{address}`: ")),
        "{error}"
    );
    assert!(error.is_retriable());
}
