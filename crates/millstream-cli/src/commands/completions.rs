//! `millstream completions SHELL`: the completion script of a shell, on standard output.
//!
//! Made from the command line's own definition, so it knows every command and option of this very binary.

use std::io::{self, Write};

use clap_complete::Shell;

use crate::{Outcome, args};

/// Which shell.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: millstream completions bash > ~/.local/share/bash-completion/completions/millstream"
)]
pub(crate) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    /// Prints the script.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        // The generator panics when it cannot write, as into a closed pipe: it gets memory, we write.
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut args::command(), "millstream", &mut script);
        io::stdout().write_all(&script)?;
        Ok(Outcome::Done)
    }
}
