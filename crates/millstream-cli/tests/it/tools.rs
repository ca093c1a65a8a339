//! The everyday tools: topics, groups, send, tail, explain, completions, man.

use std::os::unix::process::ExitStatusExt as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::world::{Running, World, free_port, program};

#[test]
fn a_topic_is_created_described_altered_and_deleted() {
    let world = World::new();
    let topic = world.name("life");
    world
        .run(&[
            "topics",
            "create",
            &topic,
            "--partitions",
            "2",
            "--retention",
            "1h",
        ])
        .expect(0);
    let again = world.run(&["topics", "create", &topic]).expect(1);
    assert!(
        again.stderr.contains("topic exists already") && again.stderr.contains(&topic),
        "{}",
        again.stderr
    );
    world
        .run(&["topics", "create", &topic, "--if-missing"])
        .expect(0);

    let described = world
        .run(&["topics", "describe", &topic, "--json"])
        .expect(0)
        .json();
    assert_eq!(described[0]["configuration"]["retention.ms"], "3600000");
    world
        .run(&[
            "topics",
            "alter",
            &topic,
            "--set",
            "retention.ms=60000",
            "--partitions",
            "5",
        ])
        .expect(0);
    let described = world
        .run(&["topics", "describe", &topic, "--json"])
        .expect(0)
        .json();
    assert_eq!(described[0]["configuration"]["retention.ms"], "60000");
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 5);

    let listed = world.run(&["topics", "list", "--json"]).expect(0).json();
    assert!(
        listed.contains(&json!({"topic": topic, "partitions": 5, "replication": 1, "records": 0})),
        "{listed:?}"
    );
}

#[test]
fn a_topic_is_deleted_once_it_was_asked_for_and_not_by_a_dry_run() {
    let world = World::new();
    let topic = world.name("deleted");
    world.run(&["topics", "create", &topic]).expect(0);
    world
        .run(&["topics", "delete", &topic, "--dry-run"])
        .expect(0);
    world.run(&["topics", "delete", &topic, "--yes"]).expect(0);
    let gone = world.run(&["topics", "describe", &topic]).expect(2);
    assert!(
        gone.stderr
            .contains(&format!("topic `{topic}` does not exist")),
        "{}",
        gone.stderr
    );
    assert!(
        gone.stderr.contains("hint: `millstream topics list`"),
        "{}",
        gone.stderr
    );
}

/// Fault 53: nobody is there to answer the question, so nothing is deleted.
#[test]
fn deleting_without_a_terminal_needs_yes() {
    let world = World::new();
    let topic = world.name("kept");
    world.run(&["topics", "create", &topic]).expect(0);
    let ended = world.run(&["topics", "delete", &topic]).expect(2);
    assert!(ended.stderr.contains("pass --yes"), "{}", ended.stderr);
    world.run(&["topics", "describe", &topic]).expect(0);
}

#[test]
fn lines_with_keys_and_headers_come_out_as_they_went_in() {
    let world = World::new();
    let topic = world.name("lines");
    world.run(&["topics", "create", &topic]).expect(0);
    world
        .run_with(
            &["send", &topic, "-K", ":", "-H", "from=test", "-Z"],
            b"a:one\nb:\n\xff:\xfe\n",
        )
        .expect(0);
    let records = world
        .run(&["tail", &topic, "--from", "earliest", "--exit", "--json"])
        .expect(0)
        .json();
    let pick = |record: &Value| {
        json!([
            record["key"],
            record["key_hex"],
            record["value"],
            record["value_hex"],
            record["headers"][0]["value"]
        ])
    };
    let picked: Vec<Value> = records.iter().map(pick).collect();
    assert_eq!(
        picked,
        [
            json!(["a", null, "one", null, "test"]),
            json!(["b", null, null, null, "test"]),
            json!([null, "ff", null, "fe", "test"]),
        ]
    );
    let text = world
        .run(&[
            "tail",
            &topic,
            "--from",
            "1",
            "-n",
            "1",
            "--format",
            "%p@%o %k=%S\\n",
        ])
        .expect(0);
    assert_eq!(text.stdout, "0@1 b=-1\n");
    let last = world
        .run(&["tail", &topic, "--from", "-3", "-n", "1"])
        .expect(0);
    assert_eq!(last.stdout, "one\n");
}

#[test]
fn a_line_without_a_key_is_refused_by_its_number() {
    let world = World::new();
    let topic = world.name("keyless");
    let ended = world
        .run_with(&["send", &topic, "-K", ":"], b"a:1\nplain\n")
        .expect(2);
    assert!(
        ended
            .stderr
            .contains("error: line 2: there is no `:` in it"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_group_is_moved_back_after_a_look_at_what_would_change() {
    let world = World::new();
    let (topic, group) = (world.name("reset"), world.name("group"));
    world
        .run(&[
            "messages",
            "send",
            "--topic",
            &topic,
            "--count",
            "9",
            "--interval-ms",
            "0",
        ])
        .expect(0);
    world
        .run(&[
            "messages", "receive", "--topic", &topic, "--group", &group, "--count", "9",
        ])
        .expect(0);
    // A partition that got none of the nine has no committed offset.
    let committed = || {
        let rows = world
            .run(&["groups", "describe", &group, "--json"])
            .expect(0)
            .json();
        rows.iter()
            .map(|row| row["committed"].as_i64().unwrap_or(0))
            .sum::<i64>()
    };
    let plan = world
        .run(&[
            "groups",
            "reset",
            &group,
            "--to-earliest",
            "--dry-run",
            "--json",
        ])
        .expect(0)
        .json();
    assert_eq!(
        plan.iter()
            .map(|row| row["distance"].as_i64().unwrap_or(0))
            .sum::<i64>(),
        -9
    );
    assert!(plan.iter().all(|row| row["applied"] == false));
    assert_eq!(committed(), 9);
    world
        .run(&["groups", "reset", &group, "--to-earliest", "--yes"])
        .expect(0);
    assert_eq!(committed(), 0);
    let groups = world.run(&["groups", "list", "--json"]).expect(0).json();
    assert!(
        groups
            .iter()
            .any(|row| row["group"] == group.as_str() && row["members"] == 0),
        "{groups:?}"
    );
}

#[test]
fn a_group_with_members_is_not_moved() {
    let world = World::new();
    let (topic, group) = (world.name("active"), world.name("group"));
    world
        .run(&[
            "messages",
            "send",
            "--topic",
            &topic,
            "--count",
            "1",
            "--interval-ms",
            "0",
        ])
        .expect(0);
    let receiver = world.start(&["messages", "receive", "--topic", &topic, "--group", &group]);
    receiver.line("total=1");
    let ended = world
        .run(&[
            "groups",
            "reset",
            &group,
            "--topic",
            &topic,
            "--to-earliest",
            "--yes",
        ])
        .expect(2);
    assert!(
        ended
            .stderr
            .contains("hint: stop the members of the group first"),
        "{}",
        ended.stderr
    );
    receiver.signal(Signal::TERM);
    receiver.end().expect(0);
}

#[test]
fn an_unknown_group_is_a_negative_answer() {
    let world = World::new();
    let group = world.name("nobody");
    assert_eq!(
        world
            .run(&["groups", "describe", &group, "--json"])
            .expect(1)
            .stdout,
        ""
    );
}

/// Fault 53: a reader that has seen enough closes the pipe; that is no failure.
#[test]
fn a_closed_output_is_success() {
    let world = World::new();
    let topic = world.name("pipe");
    world
        .run(&[
            "messages",
            "send",
            "--topic",
            &topic,
            "--count",
            "2000",
            "--interval-ms",
            "0",
        ])
        .expect(0);
    let script = format!(
        "\"$0\" --brokers {} tail {topic} --from earliest --json | head -n 1; exit ${{PIPESTATUS[0]}}",
        world.brokers
    );
    let mut command = std::process::Command::new("bash");
    command
        .args(["-c", &script, env!("CARGO_BIN_EXE_millstream")])
        .current_dir(world.folder.path());
    let ended = Running::start(command).end().expect(0);
    assert_eq!(
        (ended.stdout.lines().count(), ended.stderr.as_str()),
        (1, "")
    );
}

/// Faults 4 and 5: a service that cannot take leave of its group, because the broker does not answer, ends at the second signal.
#[test]
fn the_second_signal_ends_at_once() {
    let world = World::own();
    let running = world.start(&["messages", "receive"]);
    running.line("partitions assigned");
    world.signal_broker(Signal::STOP);
    running.signal(Signal::TERM);
    running.signal(Signal::INT);
    let code = running.end().code();
    assert!([128 + 2, 128 + 15].contains(&code), "{code}");
}

#[test]
fn a_question_to_a_silent_cluster_ends_with_the_first_signal() {
    // A listener that accepts and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let mut command = program();
    command
        .args(["-b", &address, "tail", "topic", "--group", "g"])
        .current_dir(std::env::temp_dir());
    let running = Running::start(command);
    // The first connection looks whether somebody listens, the second is the client's.
    let _connections = [silent.accept().unwrap(), silent.accept().unwrap()];
    running.signal(Signal::TERM);
    assert_eq!(running.end().status.signal(), Some(15));
}

#[test]
fn a_cluster_that_is_not_there_is_an_error_with_a_hint() {
    let nowhere = format!("127.0.0.1:{}", free_port());
    let mut command = program();
    command
        .args(["-b", &nowhere, "topics", "list"])
        .current_dir(std::env::temp_dir());
    let ended = Running::start(command).end().expect(2);
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.contains("hint: is the cluster running?"),
        "{}",
        ended.stderr
    );
}

#[test]
fn explain_needs_no_cluster() {
    let run = |words: &[&str]| {
        let mut command = program();
        command.args(words).current_dir(std::env::temp_dir());
        Running::start(command).end().expect(0)
    };
    let text = run(&["explain", "messages", "receive", "--topic", "mine"]).stdout;
    assert!(
        text.contains("reads         mine, key text, value json\n"),
        "{text}"
    );
    assert!(text.contains("dead letters  mine.dlq\n"), "{text}");
    let described = run(&["explain", "messages", "receive", "--json"]).json();
    assert_eq!(
        (&described[0]["group"], &described[0]["delivery"]),
        (&"rust-consumer-group".into(), &"at-least-once".into())
    );
    assert!(run(&["completions", "bash"]).stdout.contains("millstream"));
    assert!(run(&["man"]).stdout.contains(".TH millstream 1"));
}

/// A name that stands there twice is one topic.
#[test]
fn a_topic_named_twice_is_created_and_deleted_once() {
    let world = World::new();
    let topic = world.name("twice");
    world.run(&["topics", "create", &topic, &topic]).expect(0);
    world
        .run(&["topics", "delete", &topic, &topic, "--yes"])
        .expect(0);
}

/// The client passes on no refusal of a change: it was reported as a setting that the cluster did not set.
#[test]
fn altering_a_missing_topic_says_that_it_does_not_exist() {
    let world = World::new();
    let topic = world.name("missing");
    let ended = world
        .run(&["topics", "alter", &topic, "--set", "retention.ms=5"])
        .expect(2);
    assert_eq!(
        ended.stderr,
        format!(
            "error: topic `{topic}` does not exist\nhint: `millstream topics list` shows the topics there are\n"
        )
    );
}
