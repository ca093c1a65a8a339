//! `millstream man`: the manual page on standard output, or with `--dir` one page a command in a folder.
//!
//! Made from the command line's own definition, as the completions are.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::Resettable;

use crate::{Outcome, args, manual};

/// Where the pages are written.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: millstream man | man -l -")]
pub(crate) struct Args {
    /// Writes millstream.1, millstream-up.1 and so on to this folder
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
}

impl Args {
    /// Prints or writes the pages.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        match self.dir {
            Some(dir) => {
                std::fs::create_dir_all(&dir)
                    .with_context(|| format!("failed to create `{}`", dir.display()))?;
                clap_mangen::generate_to(args::command(), &dir)
                    .and_then(|()| std::fs::write(dir.join("millstream.1"), page()?))
                    .with_context(|| {
                        format!("failed to write manual pages into `{}`", dir.display())
                    })?;
            }
            None => io::stdout().write_all(&page()?)?,
        }
        Ok(Outcome::Done)
    }
}

/// The page of the whole program, with what is true for all commands.
fn page() -> io::Result<Vec<u8>> {
    let command = args::command()
        .after_help(Resettable::Reset)
        .after_long_help(Resettable::Reset);
    let mut page = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut page)?;
    page.extend(manual::roff(&command).into_bytes());
    Ok(page)
}
