//! `send`: what is written, and what is said when not everything can be.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::world::{Running, World, program};

/// Keys, headers, nulls, bytes that are no text, and times, with everything that JSON and terminals find difficult.
fn difficult() -> Vec<Value> {
    vec![
        json!({"topic": "a", "partition": 2, "offset": 0, "timestamp": "2001-02-03T04:05:06.789Z",
            "key": "plain", "value": "text", "headers": []}),
        json!({"topic": "a", "partition": 0, "offset": 0, "timestamp": "2026-11-21T08:00:00.001Z",
            "key": null, "value": null, "headers": [{"name": "h", "value": null}, {"name": "h", "value": ""}]}),
        json!({"topic": "a", "partition": 1, "offset": 0, "timestamp": "2026-11-21T08:00:00.002Z",
            "key_hex": "ff00", "value_hex": "80fe00", "headers": [{"name": "binary", "value_hex": "c3"}]}),
        json!({"topic": "a", "partition": 1, "offset": 1, "timestamp": "2026-11-21T08:00:00.003Z",
            "key": "", "value": "", "headers": [{"name": "", "value": "\u{1b}[0m"}]}),
        json!({"topic": "a", "partition": 2, "offset": 1, "timestamp": "2026-11-21T08:00:00.004Z",
            "key": "line\nfeed\r\n", "value": "\u{0}\u{9b}\u{202e}\"\\", "headers": []}),
    ]
}

fn lines(records: &[Value]) -> String {
    records.iter().fold(String::new(), |mut lines, record| {
        writeln!(lines, "{record}").unwrap();
        lines
    })
}

#[test]
fn a_copy_by_a_pipe_is_the_same_to_the_byte() {
    let world = World::new();
    let [source, copy] = ["source", "copy"].map(|name| world.topic_without_retention(name, "3"));
    world
        .run_with(
            &["send", &source, "--json", "--keep-partition"],
            lines(&difficult()).as_bytes(),
        )
        .expect(0);
    let read = |topic: &str| {
        world
            .run(&["tail", topic, "--from", "earliest", "--exit", "--json"])
            .expect(0)
    };
    let written = read(&source);
    world
        .run_with(
            &["send", &copy, "--json", "--keep-partition"],
            written.stdout.as_bytes(),
        )
        .expect(0);
    let named = |topic: &str| {
        let mut records = difficult();
        for record in &mut records {
            record["topic"] = json!(topic);
        }
        records
    };
    assert_eq!(written.json(), named(&source));
    assert_eq!(read(&copy).json(), named(&copy));
}

#[test]
fn a_bad_line_says_how_many_before_it_were_delivered() {
    let world = World::new();
    let topic = world.name("bad");
    world.run(&["topics", "create", &topic]).expect(0);
    let ended = world
        .run_with(&["send", &topic, "-K", ":"], b"a:1\nb:2\nc:3\nplain\nd:4\n")
        .expect(2);
    let said = "error: line 4: there is no `:` in it; every line needs a key with --key-separator; \
        of the 3 lines before it 3 delivered, and none after it was read";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let records = world
        .run(&["tail", &topic, "--from", "earliest", "--exit"])
        .expect(0);
    assert_eq!(records.stdout, "1\n2\n3\n");
    let wrong = world
        .run_with(
            &["send", &topic, "--json"],
            b"{\"value\":\"v\"}\n{\"vlaue\":\"v\"}\n",
        )
        .expect(2);
    assert!(
        wrong.stderr.contains(
            "error: line 2: not a record as `tail --json` writes it: unknown field `vlaue`"
        ),
        "{}",
        wrong.stderr
    );
}

/// The producer id in the first batch of a topic; -1 is none. An id costs half a second at the start of a client.
fn producer_id(world: &World, topic: &str) -> i64 {
    let partition = world
        .folder
        .path()
        .join("broker/topics")
        .join(topic)
        .join("0");
    let segment = partition.join("00000000000000000000.log");
    let bytes = fs::read(segment).unwrap();
    // Base offset 8, length 4, epoch 4, magic 1, checksum 4, attributes 2, last offset 4, two times of 8.
    i64::from_be_bytes(bytes[43..51].try_into().unwrap())
}

#[test]
fn a_short_input_does_not_wait_for_a_producer_id_and_a_long_one_has_one() {
    let world = World::own();
    let (short, long, decided) = (
        world.name("short"),
        world.name("long"),
        world.name("decided"),
    );
    for topic in [&short, &long, &decided] {
        world.run(&["topics", "create", topic, "-p", "1"]).expect(0);
    }
    world
        .run_with(&["send", &long], "0123456789\n".repeat(10_000).as_bytes())
        .expect(0);
    assert!(producer_id(&world, &long) >= 0);
    let idempotent = ["send", &decided, "-X", "enable.idempotence=true"];
    world.run_with(&idempotent, b"one\n").expect(0);
    assert!(producer_id(&world, &decided) >= 0);
    // A busy machine may deliver the end of the input too late for it to count as short.
    crate::world::eventually("a short input is sent without a producer id", || {
        let topic = world.name("short");
        world
            .run(&["topics", "create", &topic, "-p", "1"])
            .expect(0);
        world.run_with(&["send", &topic], b"one\n").expect(0);
        producer_id(&world, &topic) == -1
    });
}

#[test]
fn the_lines_of_a_long_input_all_arrive_in_their_order() {
    let world = World::new();
    let topic = world.name("many");
    world
        .run(&["topics", "create", &topic, "-p", "1"])
        .expect(0);
    let input = (0..20_000).fold(String::new(), |mut input, number| {
        writeln!(input, "line {number}").unwrap();
        input
    });
    world
        .run_with(&["send", &topic], input.as_bytes())
        .expect(0);
    let read = world
        .run(&["tail", &topic, "--from", "earliest", "--exit"])
        .expect(0);
    assert!(
        read.stdout == input,
        "{} bytes came back",
        read.stdout.len()
    );
}

/// The client repeats what the cluster does not acknowledge until the time is over, and then knows no reason.
#[test]
fn a_line_without_an_acknowledgement_points_to_the_log_of_the_cluster() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = program();
    command
        .args(["send", "t", "-X", "enable.idempotence=true"])
        .args(["-X", "message.timeout.ms=1000", "--brokers"])
        .arg(silent.local_addr().unwrap().to_string());
    let mut running = Running::start(command);
    running.input.take().unwrap().write_all(b"a\n").unwrap();
    let ended = running.end().expect(1);
    assert!(
        ended
            .stderr
            .contains("the cluster did not acknowledge all lines in time; its log may say why"),
        "{}",
        ended.stderr
    );
}
