//! Log lines on standard error, of which those that come again and again are only counted.
//!
//! For a process that strangers can make log, such as a broker to which anybody may connect. Who uses it prints the
//! counts now and then, and at the end.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::repeats::Repeats;
use crate::telemetry::Logs;

/// The lines of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct LimitedLines(Arc<Mutex<Repeats>>);

impl LimitedLines {
    /// Takes every line of `logs` from now on.
    pub(crate) fn of(logs: &Logs) -> Self {
        let lines = Self::default();
        let sink = lines.clone();
        logs.divert(move |line| {
            if sink.repeats().admit(&line, Instant::now()) {
                print(&line);
            }
        });
        lines
    }

    /// Prints the counts that are due; `at_the_end` all there are.
    pub(crate) fn print_counts(&self, at_the_end: bool) {
        let counts = self.repeats().due(Instant::now(), at_the_end);
        counts.iter().for_each(|line| print(line));
    }

    fn repeats(&self) -> MutexGuard<'_, Repeats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A standard error that cannot be written loses lines, nothing else.
fn print(line: &str) {
    _ = writeln!(std::io::stderr(), "{line}");
}
