//! Files, environment, flags and the surroundings of the process (faults 53 and 54).

use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use crate::world::{Ended, Running, program};

fn in_folder(file: &str, words: &[&str], variables: &[(&str, &str)]) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    if !file.is_empty() {
        std::fs::write(folder.path().join("millstream.toml"), file).unwrap();
    }
    let mut command = program();
    command
        .args(words)
        .current_dir(folder.path())
        .envs(variables.iter().copied());
    Running::start(command).end()
}

const EXPLAIN: [&str; 3] = ["explain", "messages", "receive"];

/// Fault 54: every mistake in the file is told by name, with the exit code of an error.
#[test]
fn mistakes_in_the_file_are_told_by_name() {
    let cases = [
        (
            "[messages.send]\ninterval = 5",
            "error: unknown key `messages.send.interval` in `millstream.toml`; did you mean `interval-ms`?",
        ),
        (
            "[messages.send]\ninterval-ms = [1, 2]",
            "error: `messages.send.interval-ms` in `millstream.toml` takes one value, not a list",
        ),
        (
            "brokers = 5",
            "error: `brokers` in `millstream.toml` must be a text: brokers = \"host:port\"",
        ),
        (
            "[up]\nlisten = 9092",
            "error: `up.listen` in `millstream.toml` must be a text: listen = \"host:port\"",
        ),
        (
            "a = 1\na = 2",
            "error: `millstream.toml` is not valid TOML at line 2, column 1: duplicate key",
        ),
    ];
    for (file, text) in cases {
        let ended = in_folder(file, &EXPLAIN, &[]).expect(2);
        assert_eq!(ended.stderr.trim_end(), text);
    }
}

/// File, words, environment, a line of the error.
type Refusal = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
    &'static str,
);
const REFUSALS: [Refusal; 8] = [
    (
        "[messages.send]\ninterval-ms = \"soon\"",
        &["messages", "send"],
        &[],
        "note: the value comes from `messages.send.interval-ms` in `millstream.toml`",
    ),
    (
        "[messages.send]\ninterval-ms = 5",
        &["messages", "send"],
        &[("SEND_INTERVAL_MS", "soon")],
        "note: the value comes from environment variable `SEND_INTERVAL_MS`",
    ),
    (
        "",
        &["topics", "list"],
        &[("KAFKA_BROKERS", "kafka:port")],
        "error: environment variable `KAFKA_BROKERS`: invalid broker address `kafka:port`: the port is not a number from 1 to 65535",
    ),
    (
        "brokers = \"kafka:port\"",
        &["topics", "list"],
        &[],
        "error: `brokers` in `millstream.toml`: invalid broker address `kafka:port`: the port is not a number from 1 to 65535",
    ),
    (
        "",
        &["topics", "list", "--brokers", "kafka:port"],
        &[("KAFKA_BROKERS", "kafka:1")],
        "error: option `--brokers`: invalid broker address `kafka:port`: the port is not a number from 1 to 65535",
    ),
    (
        "",
        &["topics", "list"],
        &[("MILLSTREAM_PROPERTY_DIR", "/tmp")],
        "error: environment variable `MILLSTREAM_PROPERTY_DIR`: unknown property `dir`",
    ),
    (
        "[kafka]\nlinger.ms = \"soon\"",
        &["topics", "list"],
        &[],
        "error: `kafka.linger.ms` in `millstream.toml`: invalid value for property `linger.ms`: `soon` is refused: ",
    ),
    (
        "",
        &["topics", "list"],
        &[("MILLSTREAM_CONFIG", "absent.toml")],
        "error: environment variable `MILLSTREAM_CONFIG`: failed to read the configuration file `absent.toml`: ",
    ),
];

/// Fault 54: an error about a value names the place where the value was given.
#[test]
fn a_refused_value_is_told_with_its_origin() {
    for (file, words, variables, text) in REFUSALS {
        let ended = in_folder(file, words, variables).expect(2);
        assert!(
            ended.stderr.lines().any(|line| line.starts_with(text)),
            "{text}\n{}",
            ended.stderr
        );
    }
}

/// What is on the command line can be seen there, so nothing is said of other places.
#[test]
fn a_refused_value_of_the_command_line_has_no_note() {
    let words = ["messages", "send", "--interval-ms", "soon"];
    let file = "[messages.send]\ninterval-ms = 5";
    let ended = in_folder(file, &words, &[("SEND_INTERVAL_MS", "7")]).expect(2);
    assert!(!ended.stderr.contains("note:"), "{}", ended.stderr);
}

/// The project's own script has a variable for its folder; it is none of the program's.
#[test]
fn the_variables_of_the_script_do_not_reach_the_client() {
    let script = include_str!("../../../../scripts/kafka");
    let variables: Vec<&str> = script
        .split("${")
        .skip(1)
        .filter_map(|rest| rest.split_once(":-"))
        .map(|(name, _)| name)
        .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        .collect();
    assert!(variables.contains(&"KAFKA_STATE_DIR"), "{variables:?}");
    for variable in variables {
        let words = ["topics", "list", "--brokers", "kafka:port"];
        let ended = in_folder("", &words, &[(variable, "/tmp")]).expect(2);
        assert!(
            ended.stderr.contains("invalid broker address"),
            "{variable}: {}",
            ended.stderr
        );
        assert!(!variable.starts_with("MILLSTREAM_"), "{variable}");
    }
}

/// Fault 54: the environment stands above the file, flags above both.
#[test]
fn the_environment_wins_over_the_file_and_flags_over_both() {
    let group = |variables: &[(&str, &str)], words: &[&str]| {
        let words = [&EXPLAIN[..], &["--json"], words].concat();
        let ended = in_folder(
            "[messages.receive]\ngroup = \"from-file\"",
            &words,
            variables,
        );
        ended.expect(0).json()[0]["group"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let environment = [("CONSUMER_GROUP", "from-environment")];
    assert_eq!(group(&[], &[]), "from-file");
    assert_eq!(group(&environment, &[]), "from-environment");
    assert_eq!(group(&environment, &["--group", "from-flag"]), "from-flag");
}

/// Fault 54: a secret stands in no error, wherever it was misplaced.
#[test]
fn secrets_are_in_no_error() {
    /// File, words, environment.
    type Case = (
        &'static str,
        &'static [&'static str],
        &'static [(&'static str, &'static str)],
    );
    let cases: [Case; 5] = [
        ("", &["-X", "sasl.password=hunter2", "topics", "list"], &[]),
        ("", &["-X", "hunter2", "topics", "list"], &[]),
        (
            "[kafka]\nsasl.pasword = \"hunter2\"",
            &["topics", "list"],
            &[],
        ),
        ("[kafka]\nsasl.password = hunter2", &["topics", "list"], &[]),
        (
            "",
            &["topics", "list"],
            &[("MILLSTREAM_PROPERTY_SASL_PASWORD", "hunter2")],
        ),
    ];
    for (file, words, variables) in cases {
        let ended = in_folder(file, words, variables).expect(2);
        assert!(
            ended.stderr.starts_with("error: ") && !ended.stderr.contains("hunter2"),
            "{file} {words:?}: {}",
            ended.stderr
        );
    }
    let ended = in_folder(
        "[kafka]\nsasl.pasword = \"hunter2\"",
        &["topics", "list"],
        &[],
    );
    assert!(
        ended.stderr.contains("did you mean `sasl.password`?"),
        "{}",
        ended.stderr
    );
}

/// Fault 53: words that are not UTF-8, no HOME, a working directory that cannot be written.
#[test]
fn odd_surroundings_are_no_reason_to_panic() {
    let mut command = program();
    command
        .arg(std::ffi::OsStr::from_bytes(b"\xff\xfe"))
        .current_dir("/");
    let ended = Running::start(command).end().expect(2);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);

    let mut command = program();
    command
        .args(EXPLAIN)
        .env_remove("HOME")
        .current_dir("/proc");
    Running::start(command).end().expect(0);
}

/// Fault 53: no colours where no terminal is, and an unreadable RUST_LOG is told.
#[test]
fn logs_without_a_terminal_have_no_colours() {
    let ended = in_folder(
        "",
        &["tail", "t", "-b", "127.0.0.1:1", "--from", "nowhere"],
        &[],
    )
    .expect(2);
    assert!(!ended.stderr.contains('\x1b'), "{}", ended.stderr);
    let ended = in_folder("", &EXPLAIN, &[("RUST_LOG", "=,=")]).expect(2);
    assert!(ended.stderr.contains("RUST_LOG"), "{}", ended.stderr);
}

/// Fault 53: standard output or error closed from the start.
#[test]
fn closed_outputs_are_no_reason_to_panic() {
    for redirection in [">&-", "2>&-", ">&- 2>&-"] {
        let mut command = Command::new("bash");
        command.args([
            "-c",
            &format!("\"$0\" explain messages receive {redirection}; exit $?"),
            env!("CARGO_BIN_EXE_millstream"),
        ]);
        command.current_dir(std::env::temp_dir());
        let ended = Running::start(command).end();
        assert!(
            [0, 2].contains(&ended.code()),
            "{redirection}: {}",
            ended.status
        );
    }
}

/// An option that would have no effect is a mistake, and is named.
#[test]
fn an_option_without_effect_is_refused() {
    let cases: [(&[&str], &str); 7] = [
        (
            &["partitions", "produce", "--size", "5"],
            "error: --size is for the generator `text`; remove it, or add --generator text",
        ),
        (
            &["partitions", "consume", "--group", "--from", "latest"],
            "cannot be used with '--from <FROM>'",
        ),
        (
            &["montecarlo", "producer", "--file", "a", "--seed", "1"],
            "cannot be used with '--seed <NUMBER>'",
        ),
        (
            &["montecarlo", "producer", "--rel-error", "nan"],
            "error: invalid value 'nan' for '--rel-error <NUMBER>': expected a finite number, 0 or more",
        ),
        (
            &["topics", "list", "--http", "127.0.0.1:0"],
            "error: option `--http` is for services and `up`; this command serves nothing",
        ),
        (
            &["completions", "bash", "--brokers", "a:1"],
            "error: option `--brokers` is for a cluster; this command connects to none",
        ),
        (
            &["man", "-X", "linger.ms=5"],
            "error: option `-X` is for a cluster; this command connects to none",
        ),
    ];
    for (words, text) in cases {
        let ended = in_folder("", words, &[]).expect(2);
        assert!(ended.stderr.contains(text), "{words:?}: {}", ended.stderr);
    }
    // The same in the environment is meant for other commands.
    let variables = [("KAFKA_BROKERS", "a:1"), ("MILLSTREAM_HTTP", "127.0.0.1:0")];
    in_folder("", &["man"], &variables).expect(0);
}

/// Refused before anything is started or connected to.
#[test]
fn empty_names_are_refused() {
    let commands: [&[&str]; 4] = [
        &["messages", "receive", "--group", ""],
        &["partitions", "consume", "--group="],
        &["tail", "calls", "--group", ""],
        &["send", "calls", "--key-separator", ""],
    ];
    for command in commands {
        let ended = in_folder("", command, &[]).expect(2);
        assert!(
            ended.stderr.starts_with("error: a value is required for '"),
            "{command:?}: {}",
            ended.stderr
        );
    }
}

/// `background` is for the process that `--detach` starts.
#[test]
fn a_hidden_option_is_no_key() {
    let ended = in_folder("[up]\nbackground = true", &["up", "status"], &[]).expect(2);
    assert!(
        ended.stderr.contains("unknown key `up.background`")
            && !ended.stderr.contains("detach, background"),
        "{}",
        ended.stderr
    );
    let ended = in_folder("[up.status]\njson = true", &["up", "status"], &[]).expect(2);
    assert_eq!(
        ended.stderr.lines().next().unwrap(),
        "error: unknown key `up.status.json` in `millstream.toml`; this command has no options of its own"
    );
}

/// Words, and what is wrong with the number among them.
const NUMBERS: [(&[&str], &str); 7] = [
    (
        &["messages", "send", "--count", "-1"],
        "invalid value '-1' for '--count <NUMBER>': `-1` is too small; the smallest value is 0",
    ),
    (
        &["messages", "receive", "--count", "0"],
        "invalid value '0' for '--count <NUMBER>': `0` is too small; the smallest value is 1",
    ),
    (
        &["integrate", "x0", "--max-samples", "1e30"],
        "invalid value '1e30' for '--max-samples <NUMBER>': `1e30` is too large; the largest value is 18446744073709551615",
    ),
    (
        &["partitions", "consume", "--processes", "257"],
        "invalid value '257' for '--processes <NUMBER>': `257` is too large; the largest value is 256",
    ),
    (
        &["tail", "t", "-n", "1.5"],
        "invalid value '1.5' for '--count <NUMBER>': `1.5` is not a whole number",
    ),
    (
        &["topics", "create", "t", "-p", "some"],
        "invalid value 'some' for '--partitions <NUMBER>': `some` is not a whole number",
    ),
    (
        &["groups", "reset", "g", "-t", "t", "--to-offset", "inf"],
        "invalid value 'inf' for '--to-offset <OFFSET>': `inf` is not a whole number",
    ),
];

#[test]
fn a_number_that_is_refused_is_told_why() {
    for (words, text) in NUMBERS {
        let ended = in_folder("", words, &[]).expect(2);
        assert_eq!(
            ended.stderr.lines().next(),
            Some(&*format!("error: {text}")),
            "{words:?}"
        );
    }
}
