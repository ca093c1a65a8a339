//! Whole systems under `up`: records flow, failures are mended or told, and nothing is left behind.

use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Ended, Running, World, eventually, free_port, is_alive, program, signal_to};

/// `up` with a broker of its own in a folder of its own.
pub(crate) struct Up {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: String,
}

impl Up {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            address: format!("127.0.0.1:{}", free_port()),
        }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command
            .args(["up", "--listen", &self.address, "--json"])
            .args(words)
            .current_dir(self.folder.path());
        command
    }

    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        self.start(words).end()
    }
}

pub(crate) fn row<'a>(rows: &'a [Value], service: &str) -> &'a Value {
    rows.iter()
        .find(|row| row["service"] == service)
        .unwrap_or_else(|| panic!("no {service} in {rows:?}"))
}

/// The processes of a service that `up` runs, from the table of processes.
pub(crate) fn pid_of(up: &Running, service: &str) -> i32 {
    let mut found = None;
    eventually("the service runs", || {
        let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", up.pid()))
            .unwrap_or_default();
        found = children
            .split_whitespace()
            .filter_map(|pid| pid.parse().ok())
            .find(|pid: &i32| {
                let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                words
                    .split(|byte| *byte == 0)
                    .any(|word| word == service.as_bytes())
            });
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn records_flow_and_the_run_ends_by_itself() {
    let up = Up::new();
    let ended = up.run(&["--for", "6s"]).expect(0);
    let rows = ended.json();
    for service in ["send", "receive"] {
        let row = row(&rows, service);
        assert_eq!(
            (&row["state"], &row["restarts"]),
            (&"stopped".into(), &0.into()),
            "{row}"
        );
        assert!(
            row["records"].as_u64().unwrap() > 0,
            "{row}\n{}",
            ended.stderr
        );
    }
    assert!(
        ended.stderr.contains("receive | ") && ended.stderr.contains("message received"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("up      | receive running"),
        "no status line: {}",
        ended.stderr
    );
    assert!(up.folder.path().join(".millstream").is_dir());
}

#[test]
fn services_of_two_systems_run_scaled_and_those_that_finish_are_finished() {
    let world = World::own();
    let ended = world
        .run(&[
            "up",
            "messages",
            "partitions",
            "--scale",
            "receive=2",
            "--for",
            "6s",
            "--json",
        ])
        .expect(0);
    let rows = ended.json();
    assert_eq!(row(&rows, "produce")["state"], "finished");
    assert_eq!(row(&rows, "produce")["records"], 4000);
    assert_eq!(row(&rows, "produce")["failed"], 0);
    assert_eq!(row(&rows, "consume")["records"], 4000);
    assert_eq!(
        (
            &row(&rows, "receive.1")["state"],
            &row(&rows, "receive.2")["state"]
        ),
        (&"stopped".into(), &"stopped".into())
    );
}

/// Fault 4: Ctrl-C drains everything and is success.
#[test]
fn ctrl_c_ends_everything_in_order() {
    let up = Up::new();
    let running = up.start(&[]);
    running.line("message received");
    let service = pid_of(&running, "receive");
    running.signal(Signal::INT);
    let ended = running.end().expect(0);
    assert!(
        ended.json().iter().all(|row| row["state"] == "stopped"),
        "{}",
        ended.stdout
    );
    assert!(!is_alive(service));
}

/// Fault 1: a killed service is started again and goes on.
#[test]
fn a_killed_service_comes_back() {
    let up = Up::new();
    let running = up.start(&[]);
    running.line("message received");
    signal_to(pid_of(&running, "send"), Signal::KILL);
    running.line("up      | send was killed (signal 9; out of memory?); starts again in ");
    running.line("send    | ");
    running.line("sending topic");
    running.signal(Signal::TERM);
    let ended = running.end();
    let rows = ended.json();
    let row = row(&rows, "send");
    assert_eq!(
        (&row["state"], &row["restarts"]),
        (&"stopped".into(), &1.into()),
        "{row}"
    );
}

/// Fault 8: `up` itself is killed; its services end.
#[test]
fn services_do_not_outlive_up() {
    let up = Up::new();
    let running = up.start(&[]);
    running.line("message received");
    let services = [pid_of(&running, "send"), pid_of(&running, "receive")];
    running.signal(Signal::KILL);
    eventually("the services have ended", || {
        services.iter().all(|pid| !is_alive(*pid))
    });
}

/// Fault 7: services that cannot run are given up, and the answer is no.
#[test]
fn a_crash_loop_is_given_up_and_told() {
    let up = Up::new();
    let mut command = up.command(&[]);
    command.env("KAFKA_TOPIC", "not a topic");
    let ended = Running::start(command).end().expect(1);
    assert!(
        ended
            .stderr
            .contains("exited with code 2, 6 times in a row; not started again"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("topic `not a topic` is not valid"),
        "{}",
        ended.stderr
    );
    assert!(
        ended.json().iter().all(|row| row["state"] == "failed"),
        "{}",
        ended.stdout
    );
}

/// The shortest run there is: services that were only just started are stopped, and nothing has failed.
#[test]
fn a_run_of_no_time_starts_and_stops_everything() {
    let up = Up::new();
    for _ in 0..3 {
        let ended = up.run(&["--for", "0s"]).expect(0);
        for row in ended.json() {
            assert_eq!(row["state"], "stopped", "{row}\n{}", ended.stderr);
        }
    }
}

/// Stopped while the group still shares its partitions out: no receiver waits for another that has left without a word.
#[test]
fn receivers_stopped_in_their_first_rebalances_end_in_time() {
    let up = Up::new();
    let arguments = ["--scale", "receive=2", "--for", "1s", "messages"];
    for _ in 0..2 {
        let ended = up.run(&arguments).expect(0);
        for row in ended.json() {
            assert_eq!(row["state"], "stopped", "{row}\n{}", ended.stderr);
        }
    }
}

/// A frozen process holds its place in the table of processes, and does nothing.
#[test]
fn a_frozen_service_is_unresponsive_until_it_goes_on() {
    let up = Up::new();
    let running = up.start(&["--quiet"]);
    running.line("receive running");
    let service = pid_of(&running, "send");
    signal_to(service, Signal::STOP);
    running.line("up      | send has not responded for ");
    running.line("send unresponsive");
    signal_to(service, Signal::CONT);
    running.line("up      | send responds again");
    running.line("send running");
}

/// A frozen process cannot handle SIGTERM; it is woken for that, and ends in order.
#[test]
fn a_frozen_service_is_stopped_with_the_others() {
    let up = Up::new();
    let running = up.start(&[]);
    running.line("message received");
    signal_to(pid_of(&running, "receive"), Signal::STOP);
    running.signal(Signal::TERM);
    let ended = running.end().expect(0);
    assert_eq!(row(&ended.json(), "receive")["state"], "stopped");
}
