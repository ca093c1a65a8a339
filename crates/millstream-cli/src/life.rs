//! The life of a process of ours: it ends when asked by a signal, or when the parent that supervises it is gone.
//!
//! Whoever works gets the one `Shutdown` and looks at it. The signals are the library's: the second one ends the process.
//! See `supervised` for parents.

use std::time::Duration;

use anyhow::Context;
use millstream::Shutdown;

use crate::supervised;

/// Begins to listen to signals and to the parent.
pub(crate) fn begin() -> anyhow::Result<Shutdown> {
    let shutdown = Shutdown::on_signals()?;
    let orphaned = shutdown.clone();
    supervised::follow_parent(move || orphaned.request())
        .context("failed to follow the parent process")?;
    Ok(shutdown)
}

/// Waits until `shutdown` is requested.
pub(crate) fn wait_for_end(shutdown: &Shutdown) {
    const LONG: Duration = Duration::from_secs(3600);
    while !shutdown.wait(LONG) {}
}
