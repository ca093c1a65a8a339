//! The page of the broker says how to secure it: its commands are run as they stand there, on a free port.

use std::process::Command;

use super::world::{Running, program};

const PAGE: &str = include_str!("../../../../docs/broker.md");

/// The commands of a section of the page.
fn commands(heading: &str) -> Vec<&'static str> {
    let section = PAGE.split_once(heading).unwrap().1;
    let section = section.split("\n### ").next().unwrap();
    let lines = section.lines();
    lines.filter_map(|line| line.strip_prefix("$ ")).collect()
}

#[test]
fn the_broker_is_secured_by_the_commands_of_its_page() {
    let folder = tempfile::tempdir().unwrap();
    let millstream = program().get_program().to_str().unwrap().to_owned();
    let mut exports = String::new();
    let mut broker: Option<Running> = None;
    // The address of the page, and where the broker listens here instead.
    let (mut written, mut address) = (String::new(), String::new());
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(folder.path());
        Running::start(command).end()
    };
    for line in commands("### Step by step") {
        if let Some(words) = line.strip_prefix("millstream broker ") {
            let (_, place) = words.split_once("://").unwrap();
            place.split(' ').next().unwrap().clone_into(&mut written);
            let words = words.replace(&written, "127.0.0.1:0");
            let mut command = program();
            command.arg("broker").args(words.split(' '));
            command.current_dir(folder.path());
            let running = Running::start(command);
            let listening = running.line("listening on ");
            address = listening.trim_start_matches("listening on ").to_owned();
            broker = Some(running);
        } else if line.starts_with("export ") {
            exports.push_str(line);
            exports.push('\n');
        } else if !line.starts_with("kafka-") {
            let line = match written.as_str() {
                "" => line.to_owned(),
                written => line.replace(written, &address),
            };
            let line = line.replace("millstream ", &format!("{millstream} "));
            shell(&format!("{exports}{line}")).expect(0);
        }
    }
    let list = format!("{millstream} topics list --brokers {address}");
    let listed = shell(&format!("{exports}{list}")).expect(0);
    assert!(listed.stdout.contains("calls"), "{}", listed.stdout);
    let wrong = "export MILLSTREAM_PROPERTY_SASL_PASSWORD=wrong";
    let refused = shell(&format!("{exports}{wrong}\n{list}")).expect(2);
    assert!(!refused.stdout.contains("calls"), "{}", refused.stdout);
    drop(broker);
}

#[test]
fn a_broker_that_would_let_anyone_in_says_what_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = program();
    command.args([
        "broker",
        "--listen",
        "0.0.0.0:0",
        "--advertised",
        "localhost:1",
    ]);
    command.current_dir(folder.path());
    let refused = Running::start(command).end().expect(2);
    assert_eq!(
        refused.stderr,
        "error: listening on `0.0.0.0:0` would let anyone in who reaches it: there are no logins and no client certificates\n\
         hint: let clients log in with `millstream broker --listen sasl_ssl://HOST:PORT`, or say that anyone may connect with --allow-anyone\n"
    );
}

#[test]
fn a_line_of_the_users_that_cannot_be_read_is_not_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("users"),
        "# all\n\nadmin:secret\nhunter2\n",
    )
    .unwrap();
    let mut command = program();
    command.args([
        "broker",
        "--listen",
        "sasl_plaintext://:0",
        "--users",
        "users",
    ]);
    command.current_dir(folder.path());
    let refused = Running::start(command).end().expect(2);
    assert_eq!(
        refused.stderr,
        "error: line 4 of `users` is not NAME:PASSWORD\n"
    );
}
