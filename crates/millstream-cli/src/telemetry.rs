//! Logs of the process: `tracing` events on standard error, level from `RUST_LOG`, `info` unless it says otherwise.
//!
//! Colours only in a terminal and never with `NO_COLOR`. A standard error that cannot be written loses log lines,
//! nothing else.

use std::io::{self, IsTerminal};

use anyhow::Context;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use crate::config;

/// Starts logging; called once.
pub(crate) fn start() -> anyhow::Result<()> {
    let filter = EnvFilter::builder()
        .with_default_directive(LevelFilter::INFO.into())
        .from_env()
        .context("failed to read RUST_LOG; try RUST_LOG=debug or RUST_LOG=millstream=debug,info")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal() && config::colours_allowed())
        .log_internal_errors(false)
        .with_writer(io::stderr)
        .init();
    Ok(())
}
