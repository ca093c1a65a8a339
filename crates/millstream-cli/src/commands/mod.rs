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

use crate::Outcome;
use crate::args::{Args, Command};
use crate::config::File;
use crate::session::Session;

/// Runs the command of `args`.
pub(crate) fn run(args: Args, file: &File) -> anyhow::Result<Outcome> {
    let session = || Session::new(args.common, file);
    match args.command {
        Command::Broker(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Explain(command) => command.run(file),
        Command::Groups(command) => command.run(&session()?),
        Command::Integrate(command) => command.run(&session()?),
        Command::Man(command) => command.run(),
        Command::Messages(command) => command.run(&session()?),
        Command::Montecarlo(command) => command.run(&session()?),
        Command::Partitions(command) => command.run(&session()?),
        Command::Send(command) => command.run(&session()?),
        Command::Tail(command) => command.run(&session()?),
        Command::Topics(command) => command.run(&session()?),
        Command::Up(command) => command.run(&session()?),
    }
}
