//! `millstream completions SHELL`: the completion script of a shell, on standard output.
//!
//! The script asks this program at each completion, so it knows every command and option, and the topics and groups of the
//! cluster.

use std::io::{self, Write};

use clap::builder::PossibleValuesParser;

use crate::{Outcome, completion};

/// Which shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  echo 'source <(millstream completions bash)' >> ~/.bashrc\n  echo 'source <(millstream completions zsh)' >> ~/.zshrc\n  millstream completions fish > ~/.config/fish/completions/millstream.fish\n\nSystems, services, and the topics and groups of the cluster are completed, too."
)]
pub(crate) struct Args {
    /// The shell
    #[arg(value_parser = PossibleValuesParser::new(completion::shells()))]
    shell: String,
}

impl Args {
    /// Prints the script.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        // A closed pipe is an ordinary error here, and none for the generator.
        io::stdout().write_all(&completion::script(&self.shell)?)?;
        Ok(Outcome::Done)
    }
}
