//! What help and manual pages say besides commands and options: exit codes, environment variables, files.
//!
//! Variables of options are read from the command line's own definition, so none can be missing here.

use std::ffi::OsStr;
use std::fmt::Write as _;

use clap::{Arg, Command};

/// The one variable that not every command with its option obeys.
const BROKERS: &str = "KAFKA_BROKERS";

/// A section: its title, and what stands in it.
pub(crate) type Section = (&'static str, Vec<(String, String)>);

const EXIT_CODES: [(&str, &str); 4] = [
    ("0", "success"),
    (
        "1",
        "the command ran and its result is negative: an integral did not converge, a message was not delivered, a service failed, a topic already exists",
    ),
    (
        "2",
        "an error: standard error says what is wrong and what to try",
    ),
    (
        "130, 143",
        "ended at once by the second Ctrl-C or SIGTERM; the first asks for an orderly end",
    ),
];

/// Variables that belong to no option.
const VARIABLES: [(&str, &str); 4] = [
    (
        "MILLSTREAM_PROPERTY_<NAME>",
        "property of the Kafka client, as -X: MILLSTREAM_PROPERTY_SASL_PASSWORD sets sasl.password. With _FILE at the end, a secret is read from that file",
    ),
    (
        "RUST_LOG",
        "level of the log on standard error, for example debug or millstream=debug,info. Default: info",
    ),
    ("NO_COLOR", "if set, no colours"),
    ("TERM", "if dumb, no colours and no live status"),
];

const FILES: [(&str, &str); 2] = [
    (
        "./millstream.toml",
        "configuration: a table per command with its long options as keys, [kafka] with properties of the client. Environment variables override it, options override both. --config names another file",
    ),
    (
        "./.millstream",
        "data of the embedded broker. --data names another folder",
    ),
];

/// The sections for the command line `command`.
pub(crate) fn sections(command: &Command) -> [Section; 3] {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    let mut set = Vec::new();
    for option in command.get_arguments() {
        note(option, None, &mut set);
    }
    for inner in command.get_subcommands() {
        collect(inner, inner.get_name(), &mut set);
    }
    let variables = set.into_iter().map(|(variable, options)| {
        let but = if variable == BROKERS {
            "; `integrate` uses it with --cluster only"
        } else {
            ""
        };
        (variable, format!("as {}{but}", options.join(" and ")))
    });
    let mut variables: Vec<(String, String)> = variables.collect();
    variables.extend(VARIABLES.iter().map(owned));
    [
        ("Exit codes", EXIT_CODES.iter().map(owned).collect()),
        ("Environment", variables),
        ("Files", FILES.iter().map(owned).collect()),
    ]
}

/// Variables, each with the options that it sets.
type Found = Vec<(String, Vec<String>)>;

/// Those of the command at `path` and below. Options of every command are found at the top.
fn collect(command: &Command, path: &str, found: &mut Found) {
    for option in command
        .get_arguments()
        .filter(|option| !option.is_global_set())
    {
        note(option, Some(path), found);
    }
    for inner in command.get_subcommands() {
        collect(inner, &format!("{path} {}", inner.get_name()), found);
    }
}

fn note(option: &Arg, path: Option<&str>, found: &mut Found) {
    let variable = option.get_env().and_then(OsStr::to_str);
    let (Some(variable), Some(long)) = (variable, option.get_long()) else {
        return;
    };
    let text = path.map_or_else(
        || format!("--{long}"),
        |path| format!("--{long} of `{path}`"),
    );
    match found.iter_mut().find(|(name, _)| name == variable) {
        Some((_, options)) => options.push(text),
        None => found.push((variable.to_owned(), vec![text])),
    }
}

/// The sections as text, for `--help`.
pub(crate) fn text(command: &Command) -> String {
    let mut text = String::new();
    for (title, entries) in sections(command) {
        _ = writeln!(text, "{title}:");
        for (name, meaning) in entries {
            _ = writeln!(text, "  {name}\n          {meaning}");
        }
        text.push('\n');
    }
    text.trim_end().to_owned()
}

/// The sections in the language of manual pages.
pub(crate) fn roff(command: &Command) -> String {
    let mut page = String::new();
    for (title, entries) in sections(command) {
        let title = match title {
            "Exit codes" => "EXIT STATUS".to_owned(),
            other => other.to_uppercase(),
        };
        _ = writeln!(page, ".SH \"{title}\"");
        for (name, meaning) in entries {
            _ = writeln!(
                page,
                ".TP\n\\fB{}\\fR\n{}",
                escaped(&name),
                escaped(&meaning)
            );
        }
    }
    page
}

fn escaped(text: &str) -> String {
    // A line that begins with a dot would be a command.
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    if text.starts_with(['.', '\'']) {
        format!("\\&{text}")
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    #[test]
    fn every_variable_of_an_option_is_there_once() {
        let [_, (_, variables), _] = sections(&args::command());
        let count = |name: &str| {
            variables
                .iter()
                .filter(|(variable, _)| variable == name)
                .count()
        };
        for name in [
            "KAFKA_BROKERS",
            "KAFKA_TOPIC",
            "SEND_INTERVAL_MS",
            "MESSAGE_TIMEOUT_MS",
            "CONSUMER_GROUP",
            "PRODUCER_ID",
            "MILLSTREAM_CONFIG",
            "MILLSTREAM_HTTP",
            "MILLSTREAM_PROPERTY_<NAME>",
            "RUST_LOG",
            "NO_COLOR",
            "TERM",
        ] {
            assert_eq!(count(name), 1, "{name}");
        }
    }

    #[test]
    fn a_manual_page_has_no_line_that_roff_takes_for_a_command() {
        assert_eq!(escaped("./.millstream"), "\\&./.millstream");
        assert_eq!(escaped("--data"), "\\-\\-data");
        let page = roff(&args::command());
        for title in ["EXIT STATUS", "ENVIRONMENT", "FILES"] {
            assert!(page.contains(&format!(".SH \"{title}\"\n")), "{page}");
        }
    }
}
