//! The words of the command line: what every command takes, and the table of commands.
//!
//! Each command's own options stand in its file under `commands`; those of a service in its system. Names of long
//! options are also the keys of `millstream.toml`, so renaming one breaks files that people have.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

use crate::config::Origin;
use crate::{commands, manual};

/// What somebody who has just built the program may want to see.
const TRY: &str =
    "Try `millstream up`: a broker and a running system in this folder. Ctrl-C stops it.";

/// Builds, runs, watches and load-tests Kafka microservices. One binary, a Kafka-protocol broker included.
#[derive(Debug, Parser)]
#[command(
    name = "millstream",
    version,
    arg_required_else_help = true,
    propagate_version = true
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Common {
    /// Bootstrap brokers of the cluster, host:port, separated by commas [default: 127.0.0.1:9092]
    #[arg(
        long,
        short,
        global = true,
        env = "KAFKA_BROKERS",
        value_name = "HOST:PORT",
        help_heading = "Cluster"
    )]
    pub(crate) brokers: Option<String>,
    /// Where `brokers` was given.
    #[arg(skip)]
    pub(crate) brokers_origin: Option<Origin>,
    /// Which of these options are on the command line.
    #[arg(skip)]
    pub(crate) given: Vec<&'static str>,
    /// Sets a property of the Kafka client. May be repeated. Give secrets in the file or the environment instead
    #[arg(
        short = 'X',
        global = true,
        value_name = "NAME=VALUE",
        help_heading = "Cluster"
    )]
    pub(crate) properties: Vec<String>,
    /// Configuration file to read instead of ./millstream.toml
    #[arg(
        long,
        global = true,
        env = "MILLSTREAM_CONFIG",
        value_name = "FILE",
        help_heading = "Cluster"
    )]
    pub(crate) config: Option<PathBuf>,
    /// For services: serves /metrics, /livez and /readyz at this address. Port 0 takes a free port
    #[arg(
        long,
        global = true,
        env = "MILLSTREAM_HTTP",
        value_name = "ADDRESS",
        help_heading = "Cluster"
    )]
    pub(crate) http: Option<SocketAddr>,
}

impl Common {
    /// These options as words for another process of this program.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = Vec::new();
        let mut push = |name: &str, value: OsString| words.extend([name.into(), value]);
        if let Some(brokers) = &self.brokers {
            push("--brokers", brokers.into());
        }
        if let Some(config) = &self.config {
            push("--config", config.into());
        }
        if let Some(http) = &self.http {
            push("--http", http.to_string().into());
        }
        for property in &self.properties {
            push("-X", property.into());
        }
        words
    }
}

/// `names` without those that stand there before.
pub(crate) fn distinct(names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut names = names;
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs systems: an embedded broker and every service as a supervised process, with live status
    Up(commands::up::Args),
    /// Runs the embedded broker alone
    Broker(commands::broker::Args),
    /// Computes an integral or a file of them: in this process, or with --brokers on the workers of a cluster
    Integrate(Box<commands::integrate::Args>),
    /// Runs a service of the system `messages`: send or receive
    Messages(commands::messages::Args),
    /// Runs a service of the system `partitions`: produce with many threads, or consume with many processes
    Partitions(commands::partitions::Args),
    /// Runs a service of the system `montecarlo`: producer, coordinator, worker or consumer
    Montecarlo(commands::montecarlo::Args),
    /// Lists, describes, creates, deletes and alters topics
    Topics(commands::topics::Args),
    /// Lists, describes and resets consumer groups
    Groups(commands::groups::Args),
    /// Sends each line of standard input as a record
    Send(commands::send::Args),
    /// Shows the records of a topic as they come
    Tail(commands::tail::Args),
    /// Shows what a service reads, writes and guarantees
    Explain(commands::explain::Args),
    /// Prints the completion script of a shell
    Completions(commands::completions::Args),
    /// Prints the manual page, or writes the pages of all commands to a folder
    Man(commands::man::Args),
}

/// The command line as `clap` knows it, before the file's values have become its defaults.
pub(crate) fn command() -> clap::Command {
    let command = Args::command();
    let more = format!("{TRY}\n\n{}", manual::text(&command));
    with_negative_numbers(command.after_help(TRY).after_long_help(more))
}

/// Lets every option take a number that begins with a minus: it is refused, where it is, for what it is.
fn with_negative_numbers(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| {
        if arg.get_action().takes_values() && !arg.is_positional() {
            arg.allow_negative_numbers(true)
        } else {
            arg
        }
    });
    command.mut_subcommands(with_negative_numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn common_options_reach_another_process_unchanged() {
        let words = [
            "millstream",
            "up",
            "-b",
            "a:1",
            "-X",
            "socket.timeout.ms=1",
            "--config",
            "c.toml",
            "--http",
            "127.0.0.1:0",
        ];
        let common = Args::try_parse_from(words).unwrap().common;
        let expected = [
            "--brokers",
            "a:1",
            "--config",
            "c.toml",
            "--http",
            "127.0.0.1:0",
            "-X",
            "socket.timeout.ms=1",
        ];
        assert_eq!(common.words(), expected);
    }
}
