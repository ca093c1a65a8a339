//! `up` in the background, and the commands that talk to an `up` that runs.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::terminal::Terminal;
use crate::world::{Ended, Running, eventually, is_alive, program, signal_to};

/// A data folder, and what runs in the background on it.
struct Background {
    folder: tempfile::TempDir,
    data: PathBuf,
    pid: Option<i32>,
}

impl Background {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Deeper than the address of a socket can be long.
        let data = folder.path().join("d".repeat(100)).join("e".repeat(100));
        Self {
            folder,
            data,
            pid: None,
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command
            .arg("up")
            .args(words)
            .arg("--data")
            .arg(&self.data)
            .current_dir(self.folder.path());
        command
    }

    fn run(&self, words: &[&str]) -> Ended {
        Running::start(self.command(words)).end()
    }

    fn detach(&mut self, words: &[&str]) {
        let ended = self
            .run(&[&["--detach", "--listen", ":0", "--json"], words].concat())
            .expect(0);
        self.pid = ended.json()[0]["pid"].as_i64().map(|pid| pid as i32);
    }

    fn status(&self) -> Value {
        self.run(&["status", "--json"]).expect(0).json().remove(0)
    }

    /// Waits until the services are in these states.
    #[track_caller]
    fn until(&self, states: &[(&str, &str)]) {
        let mut last = Value::Null;
        let state = |status: &Value, service: &str| -> Value {
            let rows = status["services"].as_array().unwrap();
            let row = rows.iter().find(|row| row["service"] == service).unwrap();
            row["state"].clone()
        };
        eventually("the services are as wanted", || {
            last = self.status();
            states
                .iter()
                .all(|(service, wanted)| state(&last, service) == *wanted)
        });
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = self.pid.filter(|pid| is_alive(*pid)) {
            signal_to(pid, Signal::KILL);
        }
    }
}

#[test]
fn a_detached_up_is_shown_and_stopped() {
    let mut up = Background::new();
    up.detach(&[]);
    up.until(&[("receive", "running"), ("send", "running")]);
    let status = up.status();
    let health = status["services"][0]["health"].as_str().unwrap();
    assert!(
        health.starts_with("http://127.0.0.1:") && health.ends_with("/readyz"),
        "{status}"
    );
    let text = up.run(&["status"]).expect(0).stdout;
    assert!(
        text.starts_with("broker 127.0.0.1:") && text.contains("receive  running"),
        "{text}"
    );
    let again = up.run(&["--listen", ":0"]).expect(2);
    assert!(
        again.stderr.contains("is in use by process "),
        "{}",
        again.stderr
    );
    eventually("a message is received", || {
        up.status()["services"][0]["records"].as_u64() > Some(0)
    });
    let stopped = up.run(&["stop", "--json"]).expect(0).json().remove(0);
    for row in stopped["services"].as_array().unwrap() {
        assert_eq!(row["state"], "stopped", "{stopped}");
    }
    let ended = up.run(&["status"]).expect(1);
    assert!(
        ended.stderr.contains("no `millstream up` runs in "),
        "{}",
        ended.stderr
    );
    // Everything it has printed is in the log, the summary too.
    let log = std::fs::read_to_string(up.data.join("up.log")).unwrap();
    assert!(
        log.contains("message received") && log.contains("asked to stop"),
        "{log}"
    );
    // The folder is free at once.
    up.detach(&[]);
    up.run(&["stop"]).expect(0);
}

#[test]
fn a_detached_up_goes_on_when_its_terminal_is_gone() {
    let mut up = Background::new();
    let mut terminal = Terminal::start(up.command(&["--detach", "--listen", ":0"]), 200, 30);
    assert_eq!(terminal.end().code(), Some(0), "{}", terminal.text());
    terminal.shows("services in the background, process ");
    drop(terminal);
    up.pid = up.status()["pid"].as_i64().map(|pid| pid as i32);
    up.until(&[("receive", "running"), ("send", "running")]);
    up.run(&["stop"]).expect(0);
}

#[test]
fn a_detached_up_that_cannot_start_is_an_error_as_in_the_foreground() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let up = Background::new();
    let foreground = up.run(&["--listen", &address]).expect(2);
    let background = up.run(&["--detach", "--listen", &address]).expect(2);
    assert!(
        background.stderr.contains("hint: "),
        "{}",
        background.stderr
    );
    assert_eq!(background.stderr, foreground.stderr);
}

/// One service is stopped, started and restarted from another terminal; the others go on.
#[test]
fn one_service_is_stopped_and_started_from_outside() {
    let mut up = Background::new();
    up.detach(&[]);
    up.until(&[("receive", "running"), ("send", "running")]);
    up.run(&["stop", "receive"]).expect(0);
    up.until(&[("receive", "stopped"), ("send", "running")]);
    up.run(&["start", "receive"]).expect(0);
    up.until(&[("receive", "running"), ("send", "running")]);
    let pid = |status: &Value| status["services"][1]["pid"].clone();
    let before = pid(&up.status());
    up.run(&["restart", "send"]).expect(0);
    up.until(&[("receive", "running"), ("send", "running")]);
    let after = up.status();
    assert_ne!(pid(&after), before);
    assert_eq!(after["services"][1]["restarts"], 0, "{after}");
    let refused = up.run(&["stop", "recieve"]).expect(2);
    assert_eq!(
        refused.stderr,
        "error: there is no service `recieve`; did you mean `receive`?\n"
    );
    up.run(&["stop"]).expect(0);
}

/// A service that reads by hand is ready as well, and one whose work is done has finished.
#[test]
fn the_services_of_partitions_are_ready() {
    let mut up = Background::new();
    up.detach(&["partitions"]);
    up.until(&[("consume", "running"), ("produce", "finished")]);
    up.run(&["stop"]).expect(0);
}

/// When everything was stopped by hand `up` waits for somebody to start something.
#[test]
fn up_goes_on_while_everything_is_stopped_by_request() {
    let mut up = Background::new();
    up.detach(&[]);
    up.run(&["stop", "receive", "send"]).expect(0);
    up.until(&[("receive", "stopped"), ("send", "stopped")]);
    up.run(&["start", "send"]).expect(0);
    up.until(&[("receive", "stopped"), ("send", "running")]);
    up.run(&["stop"]).expect(0);
}

/// A killed `up` leaves its socket; nothing runs there, and the next one takes its place.
#[test]
fn the_socket_of_a_killed_up_is_no_obstacle() {
    let mut up = Background::new();
    up.detach(&[]);
    signal_to(up.pid.unwrap(), Signal::KILL);
    eventually("it has ended", || !is_alive(up.pid.unwrap()));
    assert!(up.data.join("up.sock").exists());
    up.run(&["status"]).expect(1);
    up.detach(&[]);
    up.run(&["stop"]).expect(0);
}

/// Somebody who stops a service again, or everything, while it still ends does not cut its work off: it gets one SIGTERM.
#[test]
fn a_service_that_is_stopped_twice_has_not_failed() {
    let mut up = Background::new();
    up.detach(&[]);
    up.until(&[("receive", "running"), ("send", "running")]);
    for _ in 0..3 {
        up.run(&["stop", "receive"]).expect(0);
    }
    up.until(&[("receive", "stopped"), ("send", "running")]);
    up.run(&["stop", "send"]).expect(0);
    let stopped = up.run(&["stop", "--json"]).expect(0).json().remove(0);
    for row in stopped["services"].as_array().unwrap() {
        assert_eq!(row["state"], "stopped", "{stopped}");
    }
}

/// A typing error in one name must not leave the others half done.
#[test]
fn a_stop_with_an_unknown_name_stops_nothing() {
    let mut up = Background::new();
    up.detach(&[]);
    up.until(&[("receive", "running"), ("send", "running")]);
    let before = up.status();
    let refused = up.run(&["stop", "receive", "sent"]).expect(2);
    assert_eq!(
        refused.stderr,
        "error: there is no service `sent`; did you mean `send`?\n"
    );
    let after = up.status();
    for service in 0..2 {
        assert_eq!(
            after["services"][service]["pid"],
            before["services"][service]["pid"]
        );
    }
    up.until(&[("receive", "running"), ("send", "running")]);
    up.run(&["stop"]).expect(0);
}
