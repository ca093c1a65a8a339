//! `up --detach`: the same `up` as a process of its own session, which outlives the terminal.
//!
//! The parent starts this program again, with a socket as standard input and `up.log` in the data folder as output.
//! The child leaves the terminal's session, starts, and reports on the socket that it runs, or why it does not; the
//! parent passes that on and ends. A child that dies without a word is found by the end of the socket.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail};
use millstream_broker::Error;
use serde::{Deserialize, Serialize};

use super::log_file;
use super::status::Status;
use crate::hints;

/// What the child reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Report {
    Runs(Status),
    Failed { error: String, hint: Option<String> },
}

/// Where the output of a detached `up` goes.
pub(crate) fn log_path(folder: &Path) -> PathBuf {
    folder.join("up.log")
}

/// Starts this program with `words` in the background; returns once its services are started.
pub(crate) fn start(words: &[OsString], folder: &Path) -> anyhow::Result<Status> {
    // The error that the broker would have: the hint is the same.
    std::fs::create_dir_all(folder).map_err(|source| Error::File {
        verb: "create",
        path: folder.to_owned(),
        source,
    })?;
    let path = log_path(folder);
    let log = log_file::append(&path)
        .with_context(|| format!("failed to open the log `{}`", path.display()))?;
    let program = std::env::current_exe().context("failed to find the path of this program")?;
    let (ours, theirs) = UnixStream::pair().context("failed to create a socket")?;
    let mut child = Command::new(program)
        .args(words)
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("failed to start a process in the background")?;
    let mut line = String::new();
    BufReader::new(ours)
        .read_line(&mut line)
        .context("failed to read from the process in the background")?;
    if line.is_empty() {
        let status = child
            .wait()
            .context("failed to wait for the process in the background")?;
        bail!(
            "the process in the background ended while it started ({status}); its output is in `{}`",
            path.display()
        );
    }
    match serde_json::from_str(&line)? {
        Report::Runs(status) => Ok(status),
        Report::Failed {
            error,
            hint: Some(hint),
        } => bail!("{error}\nhint: {hint}"),
        Report::Failed { error, hint: None } => bail!("{error}"),
    }
}

/// The child's side.
#[derive(Debug)]
pub(crate) struct Background;

impl Background {
    /// Leaves the session of the terminal, so that neither its end nor Ctrl-C in it reaches us.
    pub(crate) fn enter() -> anyhow::Result<Self> {
        if std::io::stdin().is_terminal() {
            bail!("--background is for `up --detach` alone; use --detach");
        }
        rustix::process::setsid().context("failed to leave the session of the terminal")?;
        Ok(Self)
    }

    /// Reports that the services are started.
    pub(crate) fn runs(&self, status: &Status) {
        Self::report(&Report::Runs(status.clone()));
    }

    /// Reports that they could not be.
    pub(crate) fn failed(&self, error: &anyhow::Error) {
        Self::report(&Report::Failed {
            error: format!("{error:#}"),
            hint: hints::hint(error),
        });
    }

    /// Our standard input is the socket. A parent that has gone needs no report.
    fn report(report: &Report) {
        if let Ok(mut line) = serde_json::to_vec(report) {
            line.push(b'\n');
            _ = Stdin.write_all(&line);
        }
    }
}

/// Standard input, which is a socket here.
struct Stdin;

impl Write for Stdin {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ok(rustix::io::write(std::io::stdin(), bytes)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
