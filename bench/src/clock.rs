//! The clock of the benchmarks: time since the run began, and waiting.
//!
//! The one place that reads the machine's clock and that may put a thread to sleep. Latencies are taken
//! between two readings of the same monotonic clock, in one process.

use std::thread;
use std::time::{Duration, Instant};

/// A monotonic clock that started with the run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }

    /// The time since it started.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Sleeps until `moment`; returns at once when it is over.
    pub(crate) fn sleep_until(&self, moment: Duration) {
        if let Some(left) = moment.checked_sub(self.now()) {
            pause(left);
        }
    }
}

/// Sleeps for `duration`.
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub(crate) fn pause(duration: Duration) {
    thread::sleep(duration);
}
