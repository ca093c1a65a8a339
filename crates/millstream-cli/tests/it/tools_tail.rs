//! `tail`: which records, in which order, and what of them reaches a terminal.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::json;

use crate::world::{Ended, Running, World, program};

/// A topic of three partitions with the values 1 to 9, a second apart from 08:00:01 on, round and round.
fn nine(world: &World, name: &str) -> String {
    let topic = world.topic_without_retention(name, "3");
    let lines: String = (1..=9)
        .map(|number| {
            let record = json!({
                "key": format!("k{number}"),
                "value": number.to_string(),
                "partition": number % 3,
                "timestamp": format!("2026-11-21T08:00:0{number}Z"),
            });
            format!("{record}\n")
        })
        .collect();
    world
        .run_with(
            &["send", &topic, "--json", "--keep-partition"],
            lines.as_bytes(),
        )
        .expect(0);
    topic
}

fn words(ended: &Ended) -> String {
    ended
        .stdout
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

#[test]
fn the_past_is_shown_in_the_order_of_its_time_over_all_partitions() {
    let world = World::new();
    let topic = nine(&world, "merged");
    let tail = |options: &[&str]| {
        let all = [&["tail", topic.as_str()], options].concat();
        words(&world.run(&all).expect(0))
    };
    assert_eq!(tail(&["--from", "earliest", "--exit"]), "1 2 3 4 5 6 7 8 9");
    assert_eq!(tail(&["--from", "earliest", "-n", "4"]), "1 2 3 4");
    assert_eq!(tail(&["--from", "-5", "--exit"]), "5 6 7 8 9");
    assert_eq!(tail(&["--from", "-5", "-n", "2"]), "5 6");
    assert_eq!(
        tail(&["--from", "-100", "--until", "end"]),
        "1 2 3 4 5 6 7 8 9"
    );
    assert_eq!(tail(&["--from", "2", "--exit"]), "7 8 9");
    assert_eq!(tail(&["--from", "earliest", "--until", "1"]), "1 2 3");
    let from_to = [
        "--from",
        "2026-11-21T08:00:03Z",
        "--until",
        "2026-11-21T08:00:07Z",
    ];
    assert_eq!(tail(&from_to), "3 4 5 6");
    assert_eq!(
        tail(&["--from", "-2", "--until", "2026-11-21T08:00:07Z"]),
        "5 6"
    );
    assert_eq!(
        tail(&["-p", "1", "-p", "0", "--from", "-3", "--exit"]),
        "6 7 9"
    );
    assert_eq!(tail(&["--from", "latest", "--exit"]), "");
}

#[test]
fn several_topics_are_one_stream() {
    let world = World::new();
    let (first, second) = (nine(&world, "first"), nine(&world, "second"));
    let ended = world
        .run(&[
            "tail", &second, &first, "--from", "earliest", "-n", "4", "--format", "%t:%s\\n",
        ])
        .expect(0);
    let expected = [1, 2].map(|number| format!("{first}:{number} {second}:{number}"));
    assert_eq!(words(&ended), expected.join(" "));
    let ended = world
        .run(&["tail", &first, "missing-topic", "--exit"])
        .expect(2);
    assert!(
        ended
            .stderr
            .contains("topic `missing-topic` does not exist"),
        "{}",
        ended.stderr
    );
}

#[test]
fn records_are_chosen_by_key_and_by_a_regular_expression() {
    let world = World::new();
    let topic = nine(&world, "chosen");
    let tail = |options: &[&str]| {
        let all = [&["tail", topic.as_str(), "--from", "earliest"], options].concat();
        words(&world.run(&all).expect(0))
    };
    assert_eq!(tail(&["--exit", "--grep", "^[2-4]$"]), "2 3 4");
    assert_eq!(tail(&["--exit", "--grep", "k[78]"]), "7 8");
    assert_eq!(tail(&["--key", "k5", "-n", "1"]), "5");
}

#[test]
fn what_comes_later_follows_the_past() {
    let world = World::new();
    let topic = nine(&world, "followed");
    let tail = world.start(&["tail", &topic, "--from", "-1"]);
    tail.line("9");
    world
        .run_with(&["send", &topic, "-k", "k10"], b"ten\n")
        .expect(0);
    tail.line("ten");
    world
        .run_with(&["send", &topic, "-k", "k11"], b"eleven\n")
        .expect(0);
    tail.line("eleven");
    tail.signal(Signal::INT);
    assert_eq!(words(&tail.end().expect(0)), "9 ten eleven");
}

#[test]
fn members_of_a_group_go_on_where_the_last_one_stopped() {
    let world = World::new();
    let (topic, group) = (world.name("shared"), world.name("readers"));
    world.run(&["topics", "create", &topic]).expect(0);
    world.run_with(&["send", &topic], b"a\nb\nc\nd\n").expect(0);
    let read = |count: &str| {
        let tail = [
            "tail", &topic, "--group", &group, "--from", "earliest", "-n", count,
        ];
        let ended = world.run(&tail).expect(0);
        // A record too many is left to the next member, and is no error.
        for word in ["WARN", "ERROR"] {
            assert!(!ended.stderr.contains(word), "{}", ended.stderr);
        }
        words(&ended)
    };
    assert_eq!(read("3"), "a b c");
    assert_eq!(read("1"), "d");
    let missing = world.name("missing");
    world.run(&["tail", &missing, "--group", &group]).expect(2);
    let listed = world.run(&["topics", "list"]).expect(0);
    assert!(!listed.stdout.contains(&missing), "{}", listed.stdout);
}

/// The topics of one service would need the same number of partitions; those of a `tail` need not.
#[test]
fn a_group_reads_several_topics_whatever_their_partitions() {
    let world = World::new();
    let (one, three) = (world.name("one"), world.name("three"));
    let group = world.name("readers");
    for (topic, partitions) in [(&one, "1"), (&three, "3")] {
        world
            .run(&["topics", "create", topic, "-p", partitions])
            .expect(0);
    }
    world.run_with(&["send", &one], b"a\nb\n").expect(0);
    world
        .run_with(&["send", &three, "-p", "2"], b"c\n")
        .expect(0);
    let tail = world.start(&[
        "tail", &one, &three, "--group", &group, "--from", "earliest",
    ]);
    let mut seen: Vec<String> = Vec::new();
    while seen.len() < 3 {
        let line = tail.line("");
        if ["a", "b", "c"].contains(&line.as_str()) {
            seen.push(line);
        }
    }
    seen.sort();
    assert_eq!(seen.concat(), "abc");
    tail.signal(Signal::INT);
    tail.end().expect(0);
    let rows = world
        .run(&["groups", "describe", &group, "--json"])
        .expect(0)
        .json();
    let lag: u64 = rows.iter().map(|row| row["lag"].as_u64().unwrap()).sum();
    assert_eq!((rows.len(), lag), (4, 0));
}

/// The quiet topic gives nothing to write, so only the closed pipe itself can end the command.
#[test]
fn a_closed_pipe_ends_it_without_another_record() {
    let world = World::new();
    let topic = nine(&world, "quiet");
    for options in ["", "--group quiet-readers"] {
        let script = format!(
            "\"$0\" --brokers {} tail {topic} --from earliest {options} | head -n 1; exit ${{PIPESTATUS[0]}}",
            world.brokers
        );
        let mut command = std::process::Command::new("bash");
        command
            .args(["-c", &script, env!("CARGO_BIN_EXE_millstream")])
            .current_dir(world.folder.path());
        let ended = Running::start(command).end().expect(0);
        assert_eq!(ended.stdout.lines().count(), 1, "{}", ended.stdout);
    }
}

/// What `words` writes to a terminal.
fn on_a_terminal(world: &World, words: &[&str]) -> String {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let screen = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().unwrap())
        .unwrap();
    let mut command = world.command(words);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::from(OwnedFd::from(screen)))
        .stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    // The end of the command closes the other side of the terminal, which reads as an error.
    drop(command);
    let mut shown = Vec::new();
    let mut buffer = [0; 4096];
    let mut master = File::from(terminal);
    while let Ok(read) = master.read(&mut buffer) {
        shown.extend(&buffer[..read]);
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    String::from_utf8(shown).unwrap()
}

#[test]
fn control_characters_of_a_record_never_reach_a_terminal() {
    let world = World::new();
    let topic = world.topic_without_retention("hostile", "1");
    // Sets the window's title, clears the screen (the second by C1), turns the direction of text.
    let hostile = json!({
        "key": "\u{1b}[31mred",
        "value": "\u{1b}]0;owned\u{7} \u{9b}2J \u{202e}",
        "headers": [{"name": "\u{1b}h", "value": "\u{7f}"}],
        "timestamp": "2026-11-21T08:00:00.000Z",
    });
    world
        .run_with(
            &["send", &topic, "--json"],
            format!("{hostile}\n").as_bytes(),
        )
        .expect(0);
    let read = ["tail", &topic, "--from", "earliest", "--exit"];
    let with = |options: &[&'static str]| [&read[..], options].concat();
    for options in [
        &[][..],
        &["--format", "%k %s %h\\n"],
        &["--json"],
        &["--json", "--pretty"],
    ] {
        let shown = on_a_terminal(&world, &with(options));
        let bad: Vec<char> = shown
            .chars()
            .filter(|c| (c.is_control() && !"\r\n".contains(*c)) || *c == '\u{202e}')
            .collect();
        assert_eq!(bad, Vec::<char>::new(), "{options:?}: {shown:?}");
        assert!(shown.contains("owned"), "{options:?}: {shown:?}");
    }
    assert_eq!(
        on_a_terminal(&world, &read),
        format!(
            "2026-11-21T08:00:00.000Z  {topic}[0]@0  \\u{{1b}}[31mred  \\u{{1b}}]0;owned\\u{{7}} \\u{{9b}}2J \\u{{202e}}  \\u{{1b}}h=\\u{{7f}}\r\n"
        )
    );
    let raw = on_a_terminal(&world, &with(&["--raw", "--format", "%s\\n"]));
    assert!(raw.contains("\u{1b}]0;owned\u{7}"), "{raw:?}");
    let piped = world.run(&read).expect(0);
    assert_eq!(piped.stdout, "\u{1b}]0;owned\u{7} \u{9b}2J \u{202e}\n");
}

/// Anybody may name a group or a client as they like; the tables show these names.
#[test]
fn names_in_tables_are_escaped_too() {
    let world = World::new();
    let topic = nine(&world, "named");
    let group = format!("\u{1b}[31m{}", world.name("red"));
    let reset = [
        "groups",
        "reset",
        &group,
        "--topic",
        &topic,
        "--to-earliest",
        "--yes",
    ];
    world.run(&reset).expect(0);
    let listed = world.run(&["groups", "list"]).expect(0);
    assert!(!listed.stdout.contains('\u{1b}'), "{:?}", listed.stdout);
    assert!(listed.stdout.contains("\\u{1b}[31m"), "{:?}", listed.stdout);
}

/// Somebody listens there who never responds: Ctrl-C ends the command, not the patience of the client.
#[test]
fn a_tail_that_waits_for_its_cluster_is_ended_by_a_signal() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program();
    let address = listener.local_addr().unwrap().to_string();
    command.args(["tail", "calls", "--brokers", &address]);
    let running = Running::start(command);
    // The first connection only tries whether somebody listens; the client makes the second.
    let _tried = listener.accept().unwrap();
    let _silent = listener.accept().unwrap();
    // A suite that runs in the background of a shell inherits that SIGINT is ignored.
    running.signal(Signal::TERM);
    let ended = running.end();
    assert_eq!(ended.status.signal(), Some(15), "{}", ended.stderr);
}

/// Minus zero is the last none to some and the first offset to others.
#[test]
fn the_last_none_are_refused() {
    let world = World::new();
    for option in ["--from", "--until"] {
        let ended = world.run(&["tail", "t", option, "-0"]).expect(2);
        assert_eq!(
            ended.stderr,
            format!(
                "error: {option}: `-0` is not a place; write latest to begin at the end, or 0 for the first offset\n"
            )
        );
    }
}
