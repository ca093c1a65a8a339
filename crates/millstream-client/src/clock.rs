//! Time as the state machines see it, and the only place that reads a clock.
//!
//! A [`Time`] is counted from the client's start and never goes back. Machines are given it; tests and the simulation make it up.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Since the client began.
pub(crate) type Time = Duration;

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        self.began.elapsed()
    }

    #[cfg(test)]
    pub(crate) fn ahead(self, time: Duration) -> Self {
        Self {
            began: self.began.checked_sub(time).unwrap(),
        }
    }

    /// Milliseconds since 1970, for the timestamps of records.
    pub(crate) fn wall_millis() -> i64 {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()
            .and_then(|since| i64::try_from(since.as_millis()).ok())
            .unwrap_or(0)
    }
}

/// The earlier of two moments, of which either may not be there.
pub(crate) fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The pause before a retry: doubled with each attempt, from `first` to a second, with a fifth at random on top.
pub(crate) fn backoff(first: Duration, attempts: u32) -> Duration {
    let doubled = first.saturating_mul(1 << attempts.min(10));
    let bounded = doubled.min(Duration::from_secs(1).max(first));
    bounded.mul_f64(1.0 + 0.2 * fastrand::f64())
}
