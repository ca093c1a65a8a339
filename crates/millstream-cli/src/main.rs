//! The binary `millstream`: reads command line and configuration, runs one command, answers with its exit code.
//!
//! 0: done. 1: the result is negative. 2: an error, with what to try next. A closed standard output is no error.

mod args;
mod closed_output;
mod commands;
mod completion;
mod config;
mod escape;
mod figures;
mod hints;
mod life;
mod limited_lines;
mod listen;
mod manual;
mod output;
mod place;
mod prompt;
mod reach;
mod record_format;
mod record_json;
mod repeats;
mod screen;
mod session;
mod supervised;
mod telemetry;
mod up;

use std::io::{ErrorKind, Write};
use std::process::ExitCode;

use clap::FromArgMatches;

/// How a command ended that did what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The answer is yes.
    Done,
    /// The answer is no.
    Negative,
}

fn main() -> ExitCode {
    match run() {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            _ = writeln!(std::io::stderr(), "error: {error:#}");
            if let Some(hint) = hints::hint(&error) {
                _ = writeln!(std::io::stderr(), "hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}

fn run() -> anyhow::Result<Outcome> {
    let words: Vec<_> = std::env::args_os().collect();
    if completion::answer(&words)? {
        return Ok(Outcome::Done);
    }
    let file = config::File::find(&words)?;
    let mut command = file.apply(args::command())?;
    let parsed = command.try_get_matches_from_mut(&words);
    let parsed = parsed.and_then(|matches| {
        let mut args = args::Args::from_arg_matches(&matches)?;
        args.common.brokers_origin = file.origin_of_brokers(&matches);
        args.common.given = config::given(&matches);
        Ok(args)
    });
    let args = match parsed {
        Ok(args) => args,
        Err(mut error) => {
            let origin = file.origin_of_refused(&error, &command, &words);
            let hint = hints::for_a_minus(&mut error, &words);
            let note = origin.map(|origin| format!("note: the value comes from {origin}"));
            return told(&error, note.or(hint));
        }
    };
    let logs = telemetry::start()?;
    commands::run(args, &file, &logs)
}

/// Prints help, version or what is wrong with the command line.
fn told(error: &clap::Error, more: Option<String>) -> anyhow::Result<Outcome> {
    error.print()?;
    if error.exit_code() == 0 {
        return Ok(Outcome::Done);
    }
    if let Some(more) = more {
        _ = writeln!(std::io::stderr(), "{more}");
    }
    std::process::exit(error.exit_code())
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let is = |error: &std::io::Error| error.kind() == ErrorKind::BrokenPipe;
    error
        .chain()
        .any(|cause| cause.downcast_ref().is_some_and(is))
}
