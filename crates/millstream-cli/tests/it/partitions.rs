//! Many threads, many processes: complete summaries, who reads what, and what becomes of processes.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Running, World, eventually, free_port, is_alive, program, signal_to};

fn produce(world: &World, topic: &str) -> Value {
    let words = [
        "partitions",
        "produce",
        "--topic",
        topic,
        "--threads",
        "4",
        "--messages-per-thread",
        "250",
        "--json",
    ];
    world.run(&words).expect(0).json().remove(0)
}

/// The partitions of each process of a final table.
fn reads(table: &[Value]) -> Vec<Vec<i64>> {
    table
        .iter()
        .map(|row| {
            row["reads"]
                .as_array()
                .unwrap()
                .iter()
                .map(|one| one.as_i64().unwrap())
                .collect()
        })
        .collect()
}

fn total(table: &[Value]) -> u64 {
    table
        .iter()
        .flat_map(|row| row["records"].as_object().unwrap().values())
        .map(|one| one.as_u64().unwrap())
        .sum()
}

/// The ids of the processes as the lines `process 0 (pid 17) reads ..` tell them.
fn pids(parent: &Running, processes: usize) -> Vec<i32> {
    (0..processes)
        .map(|_| {
            let line = parent.line("(pid ");
            line.split("(pid ")
                .nth(1)
                .and_then(|rest| rest.split(')').next())
                .unwrap()
                .parse()
                .unwrap()
        })
        .collect()
}

#[test]
fn every_record_of_every_thread_is_acknowledged_and_counted() {
    let world = World::new();
    let topic = world.name("items");
    let summary = produce(&world, &topic);
    assert_eq!(
        (
            &summary["wanted"],
            &summary["delivered"],
            &summary["failed"]
        ),
        (&1000.into(), &1000.into(), &0.into())
    );
    assert_eq!(summary["threads"], Value::from(vec![250, 250, 250, 250]));
    let partitions: BTreeMap<String, u64> =
        serde_json::from_value(summary["partitions"].clone()).unwrap();
    assert_eq!(partitions.len(), 6);
    assert_eq!(partitions.values().sum::<u64>(), 1000);
    let described = world
        .run(&["topics", "describe", &topic, "--json"])
        .expect(0)
        .json();
    for row in described[0]["partitions"].as_array().unwrap() {
        assert_eq!(
            row["end"].as_u64().unwrap(),
            partitions[&row["partition"].to_string()]
        );
    }
}

#[test]
fn a_topic_with_another_number_of_partitions_is_refused_only_when_a_number_is_asked_for() {
    let world = World::new();
    let topic = world.name("other");
    world
        .run(&["topics", "create", &topic, "--partitions", "2"])
        .expect(0);
    let words = [
        "partitions",
        "produce",
        "--topic",
        &topic,
        "--messages-per-thread",
        "1",
    ];
    let ended = world
        .run(&[&words[..], &["--partitions", "3"]].concat())
        .expect(2);
    assert!(
        ended.stderr.contains(&format!(
            "topic `{topic}` has partitions 2 on the cluster, but 3 is declared"
        )),
        "{}",
        ended.stderr
    );
    assert!(
        ended
            .stderr
            .contains("hint: remove --partitions to use the topic as it is"),
        "{}",
        ended.stderr
    );
    world.run(&words).expect(0);
}

#[test]
fn processes_share_the_partitions_by_hand_and_read_everything_once() {
    let world = World::new();
    let topic = world.name("shared");
    produce(&world, &topic);
    let words = [
        "partitions",
        "consume",
        "--topic",
        &topic,
        "--processes",
        "4",
        "--count",
        "1000",
        "--json",
    ];
    let table = world.run(&words).expect(0).json();
    assert_eq!(reads(&table), [vec![0, 1], vec![2, 3], vec![4], vec![5]]);
    assert_eq!(total(&table), 1000);
}

#[test]
fn processes_beyond_the_partitions_are_shown_as_idle() {
    let world = World::new();
    let topic = world.name("idle");
    world
        .run(&["topics", "create", &topic, "--partitions", "2"])
        .expect(0);
    world
        .run(&[
            "partitions",
            "produce",
            "--topic",
            &topic,
            "--messages-per-thread",
            "5",
        ])
        .expect(0);
    let ended = world
        .run(&[
            "partitions",
            "consume",
            "--topic",
            &topic,
            "--processes",
            "3",
            "--count",
            "20",
        ])
        .expect(0);
    assert!(
        ended
            .stderr
            .contains("idles: there are fewer partitions than processes"),
        "{}",
        ended.stderr
    );
    let rows: Vec<&str> = ended.stdout.lines().collect();
    assert!(
        rows[1].contains(" 0:") && rows[2].contains(" 1:") && rows[3].ends_with("  idle"),
        "{}",
        ended.stdout
    );
}

#[test]
fn a_group_shares_the_partitions_by_itself() {
    let world = World::new();
    let (topic, group) = (world.name("grouped"), world.name("group"));
    produce(&world, &topic);
    let option = format!("--group={group}");
    let words = [
        "partitions",
        "consume",
        "--topic",
        &topic,
        "--processes",
        "2",
        &option,
        "--count",
        "1000",
        "--json",
    ];
    let table = world.run(&words).expect(0).json();
    assert_eq!(total(&table), 1000);
    let rows = world
        .run(&["groups", "describe", &group, "--json"])
        .expect(0)
        .json();
    let committed: i64 = rows
        .iter()
        .map(|row| row["committed"].as_i64().unwrap())
        .sum();
    assert_eq!(committed, 1000);
}

/// Fault 4: Ctrl-C ends all processes and leaves a table.
#[test]
fn asked_to_end_the_parent_ends_all_processes_and_shows_the_table() {
    let world = World::new();
    let topic = world.name("stopped");
    world
        .run(&["topics", "create", &topic, "--partitions", "3"])
        .expect(0);
    let parent = world.start(&[
        "partitions",
        "consume",
        "--topic",
        &topic,
        "--processes",
        "2",
        "--json",
    ]);
    let children = pids(&parent, 2);
    parent.signal(Signal::INT);
    let table = parent.end().expect(0).json();
    assert_eq!(reads(&table), [vec![0, 1], vec![2]]);
    assert!(children.iter().all(|pid| !is_alive(*pid)));
}

/// Fault 1: a process that is killed is told with what nobody reads any more; the answer is no.
#[test]
fn a_killed_process_is_told_and_the_others_go_on() {
    let world = World::new();
    let topic = world.name("killed");
    world
        .run(&["topics", "create", &topic, "--partitions", "3"])
        .expect(0);
    let parent = world.start(&[
        "partitions",
        "consume",
        "--topic",
        &topic,
        "--processes",
        "2",
        "--json",
    ]);
    let children = pids(&parent, 2);
    signal_to(children[0], Signal::KILL);
    parent.line("nobody reads its partitions now: 0, 1");
    parent.signal(Signal::TERM);
    let table = parent.end().expect(1).json();
    assert_eq!(
        (&table[0]["state"], &table[1]["state"]),
        (&"died".into(), &"ended".into())
    );
}

/// Fault 8: the parent is killed; no process stays behind.
#[test]
fn processes_do_not_outlive_their_parent() {
    let world = World::new();
    let topic = world.name("orphans");
    world
        .run(&["topics", "create", &topic, "--partitions", "3"])
        .expect(0);
    let parent = world.start(&[
        "partitions",
        "consume",
        "--topic",
        &topic,
        "--processes",
        "3",
    ]);
    let children = pids(&parent, 3);
    parent.signal(Signal::KILL);
    eventually("the processes have ended", || {
        children.iter().all(|pid| !is_alive(*pid))
    });
}

/// A frozen process is told, and woken at the end, so that it ends in order.
#[test]
fn a_frozen_process_is_told_and_woken_at_the_end() {
    let world = World::new();
    let topic = world.name("frozen");
    world
        .run(&["topics", "create", &topic, "--partitions", "2"])
        .expect(0);
    let words = ["partitions", "consume", "--topic", &topic, "--json"];
    let parent = world.start(&words);
    let children = pids(&parent, 2);
    signal_to(children[0], Signal::STOP);
    parent.line(&format!(
        "process 0 (pid {}) has not responded for 3 s: frozen, or overloaded",
        children[0]
    ));
    parent.signal(Signal::INT);
    let table = parent.end().expect(0).json();
    assert_eq!(table[0]["state"], "ended");
}

/// Its threads wait for room in the queue, which nobody empties any more.
#[test]
fn a_producer_ends_though_its_queue_is_full() {
    let mut world = World::own();
    let topic = world.name("full");
    let words = ["partitions", "produce", "--topic", &topic, "--json"];
    let more = ["--messages-per-thread", "1000000000"];
    let small = ["-X", "queue.buffering.max.messages=10"];
    let running = world.start(&[&words[..], &more, &small].concat());
    eventually("records are written", || {
        let ended = world.run(&["topics", "offsets", &topic, "--json"]);
        ended.code() == 0 && ended.json().iter().any(|row| row["end"] != 0)
    });
    world.kill_broker();
    running.line("onnection refused");
    running.signal(Signal::INT);
    let summary = running.end().expect(1).json().remove(0);
    let failed = summary["failed"].as_u64().unwrap();
    assert!((1..=10).contains(&failed), "{summary}");
}

#[test]
fn the_time_that_a_producer_has_waited_for_the_cluster_is_told() {
    let mut command = program();
    command.args(["partitions", "produce", "--json", "--brokers"]);
    command.arg(format!("127.0.0.1:{}", free_port()));
    let running = Running::start(command);
    running.line("waiting for the cluster");
    // A pause of 250 ms is between the two.
    running.line("waiting for the cluster");
    running.signal(Signal::INT);
    let summary = running.end().expect(0).json().remove(0);
    assert!(summary["seconds"].as_f64().unwrap() >= 0.25, "{summary}");
}
