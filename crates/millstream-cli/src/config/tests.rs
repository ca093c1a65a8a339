//! Configuration files, good and bad (fault 54).

use clap::{Arg, ArgAction, Command, value_parser};

use super::*;

fn command() -> Command {
    let topic = Arg::new("topic")
        .long("topic")
        .default_value("rust-messages");
    let interval = Arg::new("interval_ms")
        .long("interval-ms")
        .value_parser(value_parser!(u64))
        .default_value("100");
    let scale = Arg::new("scale").long("scale").action(ArgAction::Append);
    Command::new("millstream")
        .arg(Arg::new("brokers").long("brokers").global(true))
        .arg(Arg::new("config").long("config").global(true))
        .subcommand(
            Command::new("messages").subcommand(Command::new("send").arg(topic).arg(interval)),
        )
        .subcommand(Command::new("up").arg(scale))
}

fn parse(text: &str) -> anyhow::Result<File> {
    File::parse(Path::new("millstream.toml"), text, false)
}

fn refusal(text: &str) -> String {
    match parse(text).and_then(|file| file.apply(command())) {
        Ok(_) => panic!("accepted"),
        Err(error) => format!("{error:#}"),
    }
}

fn interval(file: &str, arguments: &[&str]) -> u64 {
    let command = parse(file).unwrap().apply(command()).unwrap();
    let matches = command
        .try_get_matches_from(["millstream", "messages", "send"].iter().chain(arguments))
        .unwrap();
    let send = matches.subcommand().unwrap().1.subcommand().unwrap().1;
    *send.get_one("interval_ms").unwrap()
}

#[test]
fn the_file_stands_above_defaults_and_below_flags() {
    assert_eq!(interval("", &[]), 100);
    assert_eq!(interval("[messages.send]\ninterval-ms = 5", &[]), 5);
    assert_eq!(
        interval("[messages.send]\ninterval-ms = 5", &["--interval-ms", "7"]),
        7
    );
}

#[test]
fn lists_and_global_options_are_taken() {
    let command = parse("brokers = \"a:1\"\n[up]\nscale = [\"send=2\", \"receive=3\"]")
        .unwrap()
        .apply(command())
        .unwrap();
    let matches = command.try_get_matches_from(["millstream", "up"]).unwrap();
    let up = matches.subcommand().unwrap().1;
    assert_eq!(up.get_one::<String>("brokers").unwrap(), "a:1");
    let scale: Vec<&String> = up.get_many("scale").unwrap().collect();
    assert_eq!(scale, ["send=2", "receive=3"]);
}

/// Fault 54: an unknown key is refused with its place and the nearest name.
#[test]
fn unknown_keys_are_refused_with_the_nearest_name() {
    assert_eq!(
        refusal("[messages.send]\ninterval_ms = 5"),
        "unknown key `messages.send.interval_ms` in `millstream.toml`; did you mean `interval-ms`?"
    );
    assert_eq!(
        refusal("[mesages.send]\ntopic = \"x\""),
        "unknown key `mesages` in `millstream.toml`; did you mean `messages`?"
    );
    assert_eq!(
        refusal("[kafak]\nx = 1"),
        "unknown key `kafak` in `millstream.toml`; did you mean `kafka`?"
    );
    assert_eq!(
        refusal("zzz = 1"),
        "unknown key `zzz` in `millstream.toml`; known here: brokers, messages, up, kafka"
    );
    assert_eq!(
        refusal("config = \"other\""),
        "unknown key `config` in `millstream.toml`; known here: brokers, messages, up, kafka"
    );
}

/// Fault 54: a wrong type names the key.
#[test]
fn wrong_types_are_refused_by_name() {
    assert_eq!(
        refusal("[messages.send]\ntopic = { a = 1 }"),
        "`messages.send.topic` in `millstream.toml`: a text, a number, true or false is expected here"
    );
    assert_eq!(
        refusal("[messages.send]\ntopic = [\"a\", \"b\"]"),
        "`messages.send.topic` in `millstream.toml` takes one value, not a list"
    );
    assert_eq!(
        refusal("messages = 1"),
        "`messages` in `millstream.toml` must be a table: [messages]"
    );
    assert_eq!(
        refusal("kafka = 3"),
        "`kafka` in `millstream.toml` must be a table: [kafka]"
    );
}

/// Fault 54: syntax errors and duplicates name line and column and never repeat the line.
#[test]
fn syntax_errors_do_not_show_the_line() {
    let text = refusal("[kafka]\n\"sasl.password\" = hunter2\n");
    assert!(
        text.starts_with("`millstream.toml` is not valid TOML at line 2, column "),
        "{text}"
    );
    assert!(!text.contains("hunter2"), "{text}");
    let text =
        refusal("[kafka]\n\"sasl.password\" = \"hunter2\"\n\"sasl.password\" = \"hunter3\"\n");
    assert!(
        text.contains("line 3") && !text.contains("hunter"),
        "{text}"
    );
}

#[test]
fn kafka_properties_may_be_dotted_or_quoted() {
    let file = parse(
        "[kafka]\nsasl.username = \"me\"\n\"socket.timeout.ms\" = 10000\nenable.idempotence = true",
    )
    .unwrap();
    let mut found: Vec<(&str, &str)> = file
        .properties
        .iter()
        .map(|p| (p.name.as_str(), p.value.as_str()))
        .collect();
    found.sort_unstable();
    assert_eq!(
        found,
        [
            ("enable.idempotence", "true"),
            ("sasl.username", "me"),
            ("socket.timeout.ms", "10000")
        ]
    );
}

/// Fault 54: secrets never come from flags and are never printed.
#[test]
fn secrets_are_refused_in_flags_and_masked() {
    let error = properties::from_flags(&["sasl.password=hunter2".to_owned()])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("MILLSTREAM_PROPERTY_SASL_PASSWORD") && !error.contains("hunter2"),
        "{error}"
    );
    let error = properties::from_flags(&["hunter2".to_owned()])
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "option `-X` takes name=value, as in -X socket.timeout.ms=10000"
    );
    let file = parse("[kafka]\nsasl.password = \"hunter2\"").unwrap();
    assert_eq!(format!("{:?}", file.properties), "[sasl.password=***]");
}

#[test]
fn the_environment_names_properties_in_capitals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    std::fs::write(&path, "hunter2\n").unwrap();
    let variables = [
        (
            "MILLSTREAM_PROPERTY_SOCKET_TIMEOUT_MS".into(),
            "10000".into(),
        ),
        (
            "MILLSTREAM_PROPERTY_SASL_PASSWORD_FILE".into(),
            path.into_os_string(),
        ),
        ("KAFKA_BROKERS".into(), "x:1".into()),
    ];
    let found = properties::from_environment(variables.into_iter()).unwrap();
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|p| (p.name.as_str(), p.value.as_str()))
        .collect();
    assert_eq!(
        found,
        [("sasl.password", "hunter2"), ("socket.timeout.ms", "10000")]
    );
}

#[test]
fn a_file_that_was_only_found_cannot_load_code() {
    let text = "[kafka]\nplugin.library.paths = \"/tmp/evil.so\"";
    assert!(refusal(text).contains("name the file with --config if you trust it"));
    let file = File::parse(Path::new("mine.toml"), text, true).unwrap();
    assert_eq!(file.properties.len(), 1);
}

/// A log in a terminal without colours, and no status that is drawn over: what `TERM=dumb` and `NO_COLOR` ask for.
#[test]
fn a_dumb_terminal_has_no_colours_and_no_redrawing() {
    let text = |text: &str| Some(OsString::from(text));
    assert!(has_colours(None, text("xterm")));
    assert!(has_colours(text(""), None));
    assert!(!has_colours(text("1"), text("xterm")));
    assert!(!has_colours(None, text("dumb")));
    assert!(can_redraw(None) && can_redraw(text("xterm")));
    assert!(!can_redraw(text("dumb")));
}

#[test]
fn the_file_named_on_the_command_line_is_found_before_the_parse() {
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    assert_eq!(
        named_in(&words(&["up", "--config", "a.toml"])),
        Some("a.toml".into())
    );
    assert_eq!(
        named_in(&words(&["--config=b.toml", "up"])),
        Some("b.toml".into())
    );
    assert_eq!(
        named_in(&words(&["send", "t", "--", "--config", "c.toml"])),
        None
    );
}
