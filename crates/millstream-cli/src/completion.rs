//! What a shell offers at the cursor: commands and options, and names that only the cluster knows.
//!
//! The script of `millstream completions SHELL` runs this program with [`VARIABLE`] set and the line so far as its words;
//! candidates go to standard output. Topics and groups are asked of the cluster that the line, the environment or the file
//! names. A cluster that does not answer has no names to offer: completion never fails and never waits for long.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::time::Duration;

use clap::{Command, FromArgMatches};
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::Shells;

use crate::args::{self, Common};
use crate::config::{self, File};
use crate::reach;
use crate::session::Session;
use millstream::admin::Admin;

/// Set by the script to the name of its shell; such a process completes and does nothing else.
const VARIABLE: &str = "MILLSTREAM_COMPLETE";
/// How long somebody who pressed a key may wait.
const PATIENCE: Duration = Duration::from_secs(1);
/// The name that is completed.
const PROGRAM: &str = "millstream";

/// The shells that have a script.
pub(crate) fn shells() -> Vec<&'static str> {
    Shells::builtins().names().collect()
}

/// The script for `shell`.
pub(crate) fn script(shell: &str) -> io::Result<Vec<u8>> {
    let mut script = Vec::new();
    let shells = Shells::builtins();
    let shell = shells
        .completer(shell)
        .ok_or_else(|| io::Error::other(format!("unknown shell `{shell}`")))?;
    shell.write_registration(VARIABLE, PROGRAM, PROGRAM, PROGRAM, &mut script)?;
    Ok(script)
}

/// Answers a shell that asks for candidates; false if this process is an ordinary one.
pub(crate) fn answer(words: &[OsString]) -> anyhow::Result<bool> {
    let Some(shell) = config::completing(VARIABLE) else {
        return Ok(false);
    };
    let shells = Shells::builtins();
    let Some(shell) = shell.to_str().and_then(|shell| shells.completer(shell)) else {
        anyhow::bail!("environment variable `{VARIABLE}`: unknown shell");
    };
    let line = line(words).to_vec();
    let mut command = with_candidates(args::command(), &line);
    command.build();
    let mut candidates = Vec::new();
    shell.write_complete(&mut command, line, None, &mut candidates)?;
    io::stdout().write_all(&candidates)?;
    Ok(true)
}

/// The line that is completed: the words after `--`.
fn line(words: &[OsString]) -> &[OsString] {
    let mut parts = words.splitn(2, |word| word == "--");
    parts.nth(1).unwrap_or_default()
}

/// The command line whose arguments offer what this program and the cluster of `line` know.
fn with_candidates(command: Command, line: &[OsString]) -> Command {
    let systems: Vec<(String, Vec<String>)> = crate::up::systems()
        .map(|system| {
            let found = command.find_subcommand(system);
            let services = found.into_iter().flat_map(Command::get_subcommands);
            let services = services.map(|service| service.get_name().to_owned());
            (system.to_owned(), services.collect())
        })
        .collect();
    offer(command, line, &systems)
}

fn offer(command: Command, line: &[OsString], systems: &[(String, Vec<String>)]) -> Command {
    let named: Vec<&(String, Vec<String>)> = systems
        .iter()
        .filter(|(system, _)| line.iter().any(|word| word == OsStr::new(system)))
        .collect();
    let services: Vec<String> = if named.is_empty() {
        systems.iter().flat_map(|(_, all)| all.clone()).collect()
    } else {
        named.iter().flat_map(|(_, all)| all.clone()).collect()
    };
    let systems_ = systems.to_vec();
    let command = command.mut_args(|arg| {
        let line = line.to_vec();
        let candidates = match arg.get_id().as_str() {
            "topic" => ArgValueCandidates::new(move || of_cluster(&line, topics)),
            "group" => ArgValueCandidates::new(move || of_cluster(&line, groups)),
            "system" | "systems" => {
                let systems = systems_.clone();
                ArgValueCandidates::new(move || {
                    texts(systems.iter().map(|(system, _)| system.clone()))
                })
            }
            "service" => {
                let services = services.clone();
                ArgValueCandidates::new(move || texts(services.iter().cloned()))
            }
            "scale" => {
                let services = services.clone();
                ArgValueCandidates::new(move || {
                    texts(services.iter().map(|service| format!("{service}=")))
                })
            }
            _ => return arg,
        };
        arg.add(candidates)
    });
    command.mut_subcommands(|inner| offer(inner, line, systems))
}

fn texts(all: impl Iterator<Item = String>) -> Vec<CompletionCandidate> {
    all.map(CompletionCandidate::new).collect()
}

fn topics(admin: &Admin) -> Result<Vec<String>, millstream::Error> {
    let topics = admin.topics()?.into_iter();
    Ok(topics.map(|topic| topic.name).collect())
}

fn groups(admin: &Admin) -> Result<Vec<String>, millstream::Error> {
    let groups = admin.groups()?.into_iter();
    Ok(groups.map(|group| group.name).collect())
}

fn of_cluster(
    line: &[OsString],
    names: fn(&Admin) -> Result<Vec<String>, millstream::Error>,
) -> Vec<CompletionCandidate> {
    let found = || {
        let session = session(line)?;
        reach::refuse_dead(&session)?;
        let admin = Admin::new(&session.cluster)?.patience(PATIENCE);
        anyhow::Ok(names(&admin)?)
    };
    // Whoever presses a key wants names or nothing.
    texts(found().unwrap_or_default().into_iter())
}

/// The cluster that a line would talk to; what is missing or wrong elsewhere in the line does not matter yet.
fn session(line: &[OsString]) -> anyhow::Result<Session> {
    let file = File::find(line)?;
    let command = file.apply(args::command())?.ignore_errors(true);
    let matches = command.try_get_matches_from(line)?;
    Session::new(Common::from_arg_matches(&matches)?, &file)
}
