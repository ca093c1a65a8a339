//! What a shell is offered: the script, and the candidates that the program answers with.

use std::process::Command;

use crate::world::{Running, World, free_port, program};

/// The candidates for the last of `words`, as the script of bash asks for them.
fn candidates(command: Command, words: &[&str]) -> Vec<String> {
    candidates_at(command, words, words.len())
}

/// The candidates for word number `at` of a line.
fn candidates_at(mut command: Command, words: &[&str], at: usize) -> Vec<String> {
    command
        .args(["--", "millstream"])
        .args(words)
        .env("MILLSTREAM_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", at.to_string());
    let ended = Running::start(command).end().expect(0);
    assert_eq!(ended.stderr, "");
    ended.stdout.lines().map(str::to_owned).collect()
}

#[test]
fn systems_services_and_options_are_completed() {
    assert_eq!(
        candidates(program(), &["up", "m"]),
        ["messages", "montecarlo"]
    );
    assert_eq!(
        candidates(program(), &["up", "messages", "--scale", ""]),
        ["send=", "receive="]
    );
    assert_eq!(
        candidates(program(), &["explain", "partitions", "c"]),
        ["consume"]
    );
    assert_eq!(
        candidates(program(), &["integrate", "--rel"]),
        ["--rel-error"]
    );
}

#[test]
fn topics_and_groups_of_the_cluster_are_completed() {
    let world = World::new();
    let (topic, group) = (world.name("complete"), world.name("completers"));
    world.run(&["topics", "create", &topic]).expect(0);
    let asked = ["tail", &topic[..8], "--brokers", &world.brokers];
    // The cursor stands behind the topic, before the option.
    assert_eq!(
        candidates_at(program(), &asked, 2),
        std::slice::from_ref(&topic)
    );
    let words = ["messages", "receive", "--topic", &topic, "--group", &group];
    let receiver = world.start(&words);
    receiver.line("partitions assigned");
    let mut command = program();
    command.env("KAFKA_BROKERS", &world.brokers);
    let found = candidates(command, &["groups", "describe", ""]);
    assert!(found.contains(&group), "{found:?}");
}

#[test]
fn a_cluster_that_is_not_there_offers_nothing() {
    let mut command = program();
    command.env("KAFKA_BROKERS", format!("127.0.0.1:{}", free_port()));
    assert_eq!(candidates(command, &["tail", "a"]), [""; 0]);
}

#[test]
fn every_shell_has_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let mut command = program();
        command.args(["completions", shell]);
        let script = Running::start(command).end().expect(0).stdout;
        assert!(script.contains("MILLSTREAM_COMPLETE"), "{shell}: {script}");
    }
    let mut command = Command::new("bash");
    command.args([
        "-c",
        "source <(\"$0\" completions bash) && complete -p millstream",
        env!("CARGO_BIN_EXE_millstream"),
    ]);
    let ended = Running::start(command).end().expect(0);
    assert!(
        ended.stdout.contains("-F _clap_complete_millstream"),
        "{}",
        ended.stdout
    );
}
