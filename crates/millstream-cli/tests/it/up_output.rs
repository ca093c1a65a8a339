//! What `up` prints without a terminal, and what it serves over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use rustix::process::Signal;

use crate::up::{Up, pid_of};
use crate::world::{Running, eventually, program, signal_to};

/// Without a terminal too the port that was taken is printed; a name is resolved.
#[test]
fn the_address_of_the_broker_is_printed_and_may_be_a_name() {
    for listen in [":0", "localhost:0"] {
        let folder = tempfile::tempdir().unwrap();
        let mut command = program();
        command
            .args(["up", "--listen", listen, "--for", "0s"])
            .current_dir(folder.path());
        let ended = Running::start(command).end().expect(0);
        let line = ended.stderr.lines().next().unwrap();
        let address = line
            .strip_prefix("up      | broker 127.0.0.1:")
            .and_then(|rest| rest.strip_suffix(" in ./.millstream"));
        assert_ne!(
            address.and_then(|port| port.parse().ok()),
            None::<u16>,
            "{line}"
        );
    }
}

#[test]
fn every_line_has_the_name_of_its_source() {
    let up = Up::new();
    let running = up.start(&[]);
    running.line("broker  | ");
    running.line("message received");
    running.signal(Signal::TERM);
    let ended = running.end().expect(0);
    for line in ended.stderr.lines() {
        let (source, _) = line.split_once(" | ").unwrap_or_else(|| panic!("{line}"));
        assert!(
            ["up", "broker", "receive", "send"].contains(&source.trim_end()),
            "{line}"
        );
    }
}

#[test]
fn lines_are_hidden_or_filtered_and_a_failure_still_shows_its_last_ones() {
    let up = Up::new();
    let ended = up.run(&["--lines", "send", "--for", "2s"]).expect(0);
    assert!(ended.stderr.contains("send    | "), "{}", ended.stderr);
    assert!(!ended.stderr.contains("receive | "), "{}", ended.stderr);
    let ended = up.run(&["--quiet", "--for", "2s"]).expect(0);
    assert!(
        ended.stderr.lines().all(|line| line.starts_with("up ")),
        "{}",
        ended.stderr
    );

    let mut command = up.command(&["--quiet"]);
    command.env("KAFKA_TOPIC", "not a topic");
    let ended = Running::start(command).end().expect(1);
    assert!(
        ended
            .stderr
            .contains("send    | error: topic `not a topic` is not valid"),
        "{}",
        ended.stderr
    );
    let ended = up.run(&["--lines", "sent"]).expect(2);
    assert_eq!(
        ended.stderr,
        "error: --lines: there is no service `sent`; did you mean `send`?\n"
    );
}

/// Files that may not grow are as good as a full disk: thousands of records are refused, and a few lines say so.
#[test]
fn a_full_disk_is_a_few_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 64; exec \"$0\" up --listen :0 --lines broker,send",
        ])
        .arg(env!("CARGO_BIN_EXE_millstream"))
        .envs([
            ("KAFKA_TOPIC", "full"),
            ("SEND_INTERVAL_MS", "0"),
            ("RUST_LOG", "warn"),
        ])
        .current_dir(folder.path());
    let running = Running::start(command);
    running.line("append refused");
    running.line("message failed");
    running.line("more lines like this one within ");
    running.signal(Signal::TERM);
    let ended = running.end();
    let lines = ended.stderr.lines().count();
    assert!(lines < 100, "{lines} lines: {}", ended.stderr);
}

/// One address for everything: `/readyz` once all services are ready, and the metrics of each with its name.
#[test]
fn http_shows_all_services() {
    let up = Up::new();
    let running = up.start(&["--http", "127.0.0.1:0"]);
    let line = running.line("metrics and health of all services at http://");
    let address = line
        .split("http://")
        .nth(1)
        .unwrap()
        .trim_end_matches("/metrics and ");
    let mut metrics = String::new();
    eventually("all services show their records", || {
        metrics = get(address, "/metrics");
        metrics.contains("millstream_records_in_total{process=\"receive\",")
            && metrics.contains("millstream_up_ready{process=\"send\"} 1")
    });
    eventually("all are ready", || {
        get(address, "/readyz").starts_with("HTTP/1.1 200 ")
    });
    signal_to(pid_of(&running, "send"), Signal::STOP);
    eventually("it is no longer ready", || {
        get(address, "/readyz").starts_with("HTTP/1.1 503 ")
    });
    let names = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| line.split(' ').next().unwrap_or_default());
    for name in names {
        let page = include_str!("../../../../docs/metrics.md");
        assert!(
            page.contains(&format!("`{name}`")),
            "{name} is not in docs/metrics.md"
        );
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}
