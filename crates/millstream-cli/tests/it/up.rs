//! Whole systems under `up`: records flow, failures are mended or told, and nothing is left behind.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{Ended, Running, World, eventually, free_port, is_alive, program, signal_to};

/// `up` with a broker of its own in a folder of its own.
struct Up {
    folder: tempfile::TempDir,
    address: String,
}

impl Up {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            address: format!("127.0.0.1:{}", free_port()),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = program();
        command
            .args(["up", "--listen", &self.address, "--json"])
            .args(words)
            .current_dir(self.folder.path());
        command
    }

    fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }

    fn run(&self, words: &[&str]) -> Ended {
        self.start(words).end()
    }
}

fn row<'a>(rows: &'a [Value], service: &str) -> &'a Value {
    rows.iter()
        .find(|row| row["service"] == service)
        .unwrap_or_else(|| panic!("no {service} in {rows:?}"))
}

/// The processes of a service that `up` runs, from the table of processes.
fn pid_of(up: &Running, service: &str) -> i32 {
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
    running.line("ended with killed by signal 9");
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
        ended.stderr.contains("6 times in a row: given up"),
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

#[test]
fn a_port_in_use_is_told_with_both_ways_out() {
    let up = Up::new();
    let _taken = TcpListener::bind(&up.address).unwrap();
    let ended = up.run(&[]).expect(2);
    assert!(
        ended
            .stderr
            .contains(&format!("error: failed to listen on `{}`", up.address)),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains(&format!(
            "hint: another program listens there, perhaps a broker; use it with --brokers {}",
            up.address
        )),
        "{}",
        ended.stderr
    );
}

/// Fault 41: a second one on the same folder names the first.
#[test]
fn a_folder_in_use_names_its_holder() {
    let world = World::own();
    let data = world.folder.path().join("broker");
    let mut command = program();
    command
        .args(["up", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .current_dir(world.folder.path());
    let ended = Running::start(command).end().expect(2);
    assert!(
        ended.stderr.contains("is in use by process "),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("hint: one folder has one broker"),
        "{}",
        ended.stderr
    );
}

/// Fault 40: a folder that cannot be made is told with its path.
#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let up = Up::new();
    let file = up.folder.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let ended = up.run(&["--data", file.to_str().unwrap()]).expect(2);
    assert!(
        ended.stderr.contains(file.to_str().unwrap()) && ended.stderr.contains("hint: "),
        "{}",
        ended.stderr
    );

    // The superuser writes everywhere.
    if rustix::process::geteuid().is_root() {
        return;
    }
    let locked = up.folder.path().join("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    let ended = up
        .run(&["--data", locked.join("data").to_str().unwrap()])
        .expect(2);
    assert!(
        ended.stderr.contains("cannot be written"),
        "{}",
        ended.stderr
    );
}

#[test]
fn words_that_name_nothing_are_refused() {
    let up = Up::new();
    let ended = up.run(&["mesages"]).expect(2);
    assert_eq!(
        ended.stderr,
        "error: unknown system `mesages`; there are: messages, montecarlo, partitions\n"
    );
    let ended = up.run(&["--for", "30"]).expect(2);
    assert!(
        ended
            .stderr
            .contains("`30` is not a time; write 30s, 500ms, 5m, 1h30m or 7d"),
        "{}",
        ended.stderr
    );
}
