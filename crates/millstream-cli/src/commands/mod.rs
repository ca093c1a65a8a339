//! One file a command; each has its `Args` and a `run` that answers with an [`Outcome`].
//!
//! The dispatch is a table without an idea of its own.

pub(crate) mod broker;
pub(crate) mod completions;
pub(crate) mod explain;
pub(crate) mod groups;
pub(crate) mod integrate;
pub(crate) mod man;
pub(crate) mod messages;
pub(crate) mod montecarlo;
pub(crate) mod partitions;
pub(crate) mod send;
pub(crate) mod tail;
pub(crate) mod topics;
pub(crate) mod up;

use anyhow::bail;

use crate::args::{Args, Command};
use crate::config::File;
use crate::session::Session;
use crate::telemetry::Logs;
use crate::{Outcome, reach};

/// Runs the command of `args`.
pub(crate) fn run(args: Args, file: &File, logs: &Logs) -> anyhow::Result<Outcome> {
    refuse_what_would_be_ignored(&args)?;
    let common = args.common.clone();
    let session = || Session::new(args.common, file);
    // A tool that looks into a cluster does not wait for one that is not there; a service does.
    let reached = || {
        let session = Session::new(common.clone(), file)?;
        reach::refuse_dead(&session)?;
        anyhow::Ok(session)
    };
    match args.command {
        Command::Broker(command) => command.run(logs),
        Command::Completions(command) => command.run(),
        Command::Explain(command) => command.run(file),
        Command::Groups(command) => command.run(&reached()?),
        Command::Integrate(command) => command.run(common, file),
        Command::Man(command) => command.run(),
        Command::Messages(command) => command.run(&session()?),
        Command::Montecarlo(command) => command.run(&session()?),
        Command::Partitions(command) => command.run(&session()?),
        Command::Send(command) => command.run(&reached()?),
        Command::Tail(command) => command.run(&reached()?),
        Command::Topics(command) => command.run(&reached()?),
        Command::Up(command) => command.run(&session()?, file, logs),
    }
}

/// Options that every command takes, and that mean nothing to this one. Only those on the command line: a variable or a
/// file may be meant for other commands.
fn refuse_what_would_be_ignored(args: &Args) -> anyhow::Result<()> {
    let ignored: &[&str] = match args.command {
        Command::Up(_)
        | Command::Broker(_)
        | Command::Messages(_)
        | Command::Montecarlo(_)
        | Command::Partitions(_) => &[],
        Command::Groups(_)
        | Command::Integrate(_)
        | Command::Send(_)
        | Command::Tail(_)
        | Command::Topics(_) => &["--http"],
        Command::Completions(_) | Command::Explain(_) | Command::Man(_) => {
            &["--http", "--brokers", "-X"]
        }
    };
    let given = &args.common.given;
    match given.iter().find(|option| ignored.contains(option)) {
        Some(&"--http") => {
            bail!("option `--http` is for services and `up`; this command serves nothing")
        }
        Some(option) => bail!("option `{option}` is for a cluster; this command connects to none"),
        None => Ok(()),
    }
}
