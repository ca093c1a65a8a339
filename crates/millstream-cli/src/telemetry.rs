//! Logs of the process: `tracing` events on standard error, level from `RUST_LOG`. Default level: `info`.
//!
//! Colours only in a terminal and never with `NO_COLOR`. A standard error that cannot be written loses log lines,
//! nothing else. A command that draws on the terminal diverts the lines, so that none is written into its drawing.

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config;

/// Takes one line; must neither block nor log.
type Sink = Box<dyn Fn(String) + Send>;

/// Where the lines go: standard error, until they are diverted.
#[derive(Clone, Default)]
pub(crate) struct Logs(Arc<Mutex<Option<Sink>>>);

impl Logs {
    /// Gives every line to `sink` from now on.
    pub(crate) fn divert(&self, sink: impl Fn(String) + Send + 'static) {
        *self.sink() = Some(Box::new(sink));
    }

    /// Writes lines to standard error again.
    pub(crate) fn restore(&self) {
        *self.sink() = None;
    }

    fn sink(&self) -> std::sync::MutexGuard<'_, Option<Sink>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> MakeWriter<'a> for Logs {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Write for Logs {
    /// One event: the subscriber writes each with one call.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &*self.sink() {
            Some(sink) => {
                sink(String::from_utf8_lossy(bytes).trim_end().to_owned());
                Ok(bytes.len())
            }
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Starts logging; called once.
pub(crate) fn start() -> anyhow::Result<Logs> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .context("failed to read RUST_LOG; try RUST_LOG=debug or RUST_LOG=millstream=debug,info")?;
    let logs = Logs::default();
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && config::colours_allowed())
        .log_internal_errors(false)
        .with_writer(logs.clone())
        .init();
    Ok(logs)
}
