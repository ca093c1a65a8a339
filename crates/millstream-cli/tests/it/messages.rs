//! Sender and receiver: the contract of the records, exact counts, shared load, and their faults.

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{World, eventually, free_port};

fn send(world: &World, topic: &str, count: &str) {
    world
        .run(&[
            "messages",
            "send",
            "--topic",
            topic,
            "--count",
            count,
            "--interval-ms",
            "0",
        ])
        .expect(0);
}

/// Records that a group has committed, over all partitions. All topics here begin at offset 0.
fn committed(world: &World, group: &str) -> i64 {
    let rows = world.run(&["groups", "describe", group, "--json"]).json();
    rows.iter()
        .filter_map(|row| row["committed"].as_i64())
        .sum()
}

#[test]
fn what_is_sent_stands_in_three_partitions_with_the_four_fields() {
    let world = World::new();
    let topic = world.name("messages");
    let ended = world
        .run(&[
            "messages",
            "send",
            "--topic",
            &topic,
            "--count",
            "25",
            "--interval-ms",
            "1",
            "--json",
        ])
        .expect(0);
    let statistics = &ended.json()[0];
    assert_eq!(
        (&statistics["delivered"], &statistics["failed"]),
        (&Value::from(25), &Value::from(0))
    );
    assert_eq!(statistics["failure_rate"], 0.0);

    let described = world
        .run(&["topics", "describe", &topic, "--json"])
        .expect(0)
        .json();
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 3);
    let records = world
        .run(&["tail", &topic, "--from", "earliest", "--exit", "--json"])
        .expect(0)
        .json();
    let mut counters = Vec::new();
    for record in &records {
        let message: Value = serde_json::from_str(record["value"].as_str().unwrap()).unwrap();
        let counter = message["counter"].as_u64().unwrap();
        assert_eq!(
            message["content"],
            format!("Hello from Rust sender! Message #{counter}")
        );
        assert_eq!(message["id"], record["key"]);
        assert_eq!(message["id"].as_str().unwrap().chars().nth(14), Some('4'));
        let timestamp = message["timestamp"].as_str().unwrap();
        assert_eq!(
            (timestamp.len(), timestamp.ends_with('Z')),
            ("2026-11-21T02:39:33.120Z".len(), true),
            "{timestamp}"
        );
        assert_eq!(record["headers"][0]["value"], "rust-sender");
        counters.push(counter);
    }
    counters.sort_unstable();
    assert_eq!(counters, (1..=25).collect::<Vec<_>>());
}

#[test]
fn the_environment_names_topic_interval_and_producer_and_flags_win() {
    let world = World::new();
    let (topic, other) = (world.name("named"), world.name("other"));
    let mut command = world.command(&["messages", "send", "--count", "3"]);
    command.envs([
        ("KAFKA_TOPIC", topic.as_str()),
        ("SEND_INTERVAL_MS", "0"),
        ("PRODUCER_ID", "me"),
    ]);
    crate::world::Running::start(command).end().expect(0);
    let records = world
        .run(&["tail", &topic, "--from", "earliest", "--exit", "--json"])
        .expect(0)
        .json();
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["headers"][0]["value"], "me");

    let mut command = world.command(&["messages", "send", "--count", "1", "--topic", &other]);
    command.env("KAFKA_TOPIC", &topic);
    crate::world::Running::start(command).end().expect(0);
    assert_eq!(
        world
            .run(&["tail", &other, "--from", "earliest", "--exit"])
            .expect(0)
            .stdout
            .lines()
            .count(),
        1
    );
}

#[test]
fn a_receiver_with_a_count_takes_exactly_so_many_and_the_next_gets_the_rest() {
    let world = World::new();
    let (topic, group) = (world.name("counted"), world.name("group"));
    send(&world, &topic, "20");
    let receive = |count: &str| {
        let ended = world.run(&[
            "messages", "receive", "--topic", &topic, "--group", &group, "--count", count, "--json",
        ]);
        let ended = ended.expect(0);
        assert!(
            ended.stderr.contains("message received counter="),
            "{}",
            ended.stderr
        );
        for word in ["WARN", "ERROR"] {
            assert!(!ended.stderr.contains(word), "{}", ended.stderr);
        }
        ended.json()[0]["total"].as_u64().unwrap()
    };
    assert_eq!(receive("7"), 7);
    assert_eq!(committed(&world, &group), 7);
    assert_eq!(receive("13"), 13);
    assert_eq!(committed(&world, &group), 20);
}

#[test]
fn two_receivers_of_a_group_share_the_load() {
    let world = World::new();
    let (topic, group) = (world.name("shared"), world.name("group"));
    send(&world, &topic, "1");
    let receiver = || {
        world.start(&[
            "messages", "receive", "--topic", &topic, "--group", &group, "--json",
        ])
    };
    let (first, second) = (receiver(), receiver());
    let members = || {
        let rows = world.run(&["groups", "describe", &group, "--json"]).json();
        let mut members: Vec<String> = rows
            .iter()
            .filter_map(|row| row["member"].as_str().map(str::to_owned))
            .collect();
        members.sort();
        members.dedup();
        members.len()
    };
    eventually("both receivers have partitions", || members() == 2);
    send(&world, &topic, "300");
    eventually("everything is received", || {
        committed(&world, &group) == 301
    });
    first.signal(Signal::TERM);
    second.signal(Signal::TERM);
    let totals: Vec<u64> = [first, second]
        .map(|one| one.end().expect(0).json()[0]["total"].as_u64().unwrap())
        .into();
    assert_eq!(totals.iter().sum::<u64>(), 301);
    assert!(totals.iter().all(|total| *total > 0), "{totals:?}");
}

/// Fault 4: asked to end, a receiver commits what it has, leaves its group, and ends with 0.
#[test]
fn a_receiver_that_is_asked_to_end_has_committed_and_left() {
    let world = World::new();
    let (topic, group) = (world.name("drained"), world.name("group"));
    send(&world, &topic, "50");
    let receiver = world.start(&["messages", "receive", "--topic", &topic, "--group", &group]);
    receiver.line("total=50");
    receiver.signal(Signal::TERM);
    let ended = receiver.end().expect(0);
    assert!(ended.stdout.starts_with("received 50 "), "{}", ended.stdout);
    let rows = world
        .run(&["groups", "describe", &group, "--json"])
        .expect(0)
        .json();
    assert!(
        rows.iter()
            .all(|row| row["lag"] == 0 && row["state"] == "Empty" && row["member"].is_null()),
        "{rows:?}"
    );
}

/// Fault 1: a receiver that is killed loses nothing; the next one begins after the last commit.
#[test]
fn a_killed_receiver_loses_nothing() {
    let world = World::new();
    let (topic, group) = (world.name("killed"), world.name("group"));
    send(&world, &topic, "100");
    let receiver = world.start(&["messages", "receive", "--topic", &topic, "--group", &group]);
    receiver.line("total=10");
    receiver.signal(Signal::KILL);
    drop(receiver);
    let next = world.start(&["messages", "receive", "--topic", &topic, "--group", &group]);
    eventually("everything is received", || {
        committed(&world, &group) == 100
    });
    next.signal(Signal::TERM);
    next.end().expect(0);
}

/// Fault 13: a broker that is not there at the start is waited for, and named.
#[test]
fn a_sender_waits_for_its_broker_and_says_so() {
    let mut world = World::own();
    let address = format!("127.0.0.1:{}", free_port());
    let (topic, old) = (
        world.name("late"),
        std::mem::replace(&mut world.brokers, address.clone()),
    );
    assert_ne!(old, address);
    world.kill_broker();
    let sender = world.start(&[
        "messages",
        "send",
        "--topic",
        &topic,
        "--count",
        "3",
        "--interval-ms",
        "0",
        "--json",
    ]);
    let line = sender.line("waiting for the cluster");
    assert!(line.contains(&address), "{line}");
    world.start_broker(&address);
    assert_eq!(sender.end().expect(0).json()[0]["delivered"], 3);
}

/// Fault 5: asked to end while no broker is there, a service ends, and well: there was nothing to lose.
#[test]
fn services_end_when_asked_though_no_broker_is_there() {
    let world = World::own();
    let nowhere = format!("127.0.0.1:{}", free_port());
    let services = [
        ["messages", "send"],
        ["messages", "receive"],
        ["partitions", "produce"],
        ["partitions", "consume"],
    ];
    for service in services {
        let mut command = crate::world::program();
        command
            .args(["-b", &nowhere])
            .args(service)
            .current_dir(world.folder.path());
        let running = crate::world::Running::start(command);
        running.line("waiting for the cluster");
        running.signal(Signal::TERM);
        running.end().expect(0);
    }
}

/// Faults 5 and 12: the broker goes away for good; each message that fails is told and counted, and the answer is no.
#[test]
fn messages_that_cannot_be_delivered_are_counted() {
    let mut world = World::own();
    let topic = world.name("gone");
    let words = [
        "messages",
        "send",
        "--topic",
        &topic,
        "--interval-ms",
        "10",
        "--message-timeout-ms",
        "1000",
        "--json",
    ];
    let sender = world.start(&words);
    sender.line("sending");
    world.kill_broker();
    sender.line("message failed");
    sender.signal(Signal::TERM);
    let ended = sender.end().expect(1);
    let statistics = &ended.json()[0];
    assert!(
        statistics["failed"].as_u64().unwrap() > 0
            && statistics["failure_rate"].as_f64().unwrap() > 0.0,
        "{statistics}"
    );
}

/// Fault 5: what was under way when the sender was asked to end, and is not acknowledged, was not delivered.
#[test]
fn messages_under_way_at_the_stop_count_as_failed() {
    let mut world = World::own();
    let topic = world.name("under-way");
    let words = [
        "messages",
        "send",
        "--topic",
        &topic,
        "--message-timeout-ms",
        "300000",
        "--json",
    ];
    let sender = world.start(&words);
    sender.line("sending");
    world.kill_broker();
    // The first statistics come after 5 s: messages were sent that nobody can acknowledge.
    sender.line("sending");
    sender.signal(Signal::TERM);
    let ended = sender.end().expect(1);
    let failed = &ended.json()[0]["failed"];
    assert!(failed.as_u64().unwrap() > 0, "{failed}");
}

/// Fault 3: a receiver that is frozen for longer than its session loses its partitions, commits nothing of them when it
/// wakes, and joins again.
#[test]
fn a_frozen_receiver_is_fenced_and_joins_again() {
    let world = World::new();
    let (topic, group) = (world.name("frozen"), world.name("group"));
    let receiver = || {
        world.start(&[
            "messages", "receive", "--topic", &topic, "--group", &group, "--json",
        ])
    };
    send(&world, &topic, "30");
    let frozen = receiver();
    frozen.line("total=30");
    eventually("the first messages are committed", || {
        committed(&world, &group) == 30
    });
    frozen.signal(Signal::STOP);
    let other = receiver();
    send(&world, &topic, "30");
    eventually("the other receiver has taken over", || {
        committed(&world, &group) == 60
    });
    frozen.signal(Signal::CONT);
    frozen.line("partitions lost");
    frozen.line("partitions assigned");
    send(&world, &topic, "300");
    eventually("everything is received", || {
        committed(&world, &group) == 360
    });
    let totals = [frozen, other].map(|receiver| {
        receiver.signal(Signal::TERM);
        receiver.end().expect(0).json()[0]["total"]
            .as_u64()
            .unwrap()
    });
    // Nothing is lost; what the frozen one had fetched and could not commit any more may have come twice.
    let sum = totals.iter().sum::<u64>();
    assert!((360..=720).contains(&sum), "{totals:?}");
}

/// Fault 10: of two receivers with one instance id the later one goes on, the earlier one ends and says why.
#[test]
fn the_earlier_of_two_with_one_instance_id_ends_and_says_so() {
    let world = World::new();
    let (topic, group) = (world.name("twins"), world.name("group"));
    let words = [
        "-X",
        "group.instance.id=one",
        "messages",
        "receive",
        "--topic",
        &topic,
    ];
    let receiver = || world.start(&[&words[..], &["--group", &group]].concat());
    let earlier = receiver();
    earlier.line("partitions assigned");
    let later = receiver();
    later.line("partitions assigned");
    let ended = earlier.end().expect(2);
    assert!(
        ended.stderr.contains("group.instance.id"),
        "{}",
        ended.stderr
    );
    send(&world, &topic, "10");
    later.line("total=10");
    later.signal(Signal::TERM);
    later.end().expect(0);
}
