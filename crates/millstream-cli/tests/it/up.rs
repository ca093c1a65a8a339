//! Whole systems under `up`: records flow, failures are mended or told, and nothing is left behind.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
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

#[test]
fn a_cluster_that_does_not_respond_is_an_error_with_its_address() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["--brokers", "127.0.0.1:1", "up", "--for", "1s"])
        .current_dir(folder.path());
    let ended = Running::start(command).end().expect(2);
    assert!(
        ended
            .stderr
            .starts_with("error: failed to connect to `127.0.0.1:1`: connection refused\nhint: "),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("receive | "), "{}", ended.stderr);
}

/// Something listens there and is no broker.
#[test]
fn a_cluster_that_does_not_speak_is_an_error_with_its_address() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command
        .args(["--brokers", &address, "up"])
        .current_dir(folder.path());
    let ended = Running::start(command).end().expect(2);
    let expected = format!(
        "error: no response from a broker at `{address}` within 5 s; without --brokers and KAFKA_BROKERS, `up` starts a broker of its own"
    );
    assert!(ended.stderr.contains(&expected), "{}", ended.stderr);
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
    assert!(get(address, "/readyz").starts_with("HTTP/1.1 200 "));
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
