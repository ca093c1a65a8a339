//! Time, injected.
//!
//! The worker never asks the machine what time it is; it asks its [`Clock`], so that the simulation can run
//! a day in a millisecond. Durations are measured on the monotonic side ([`Moment`]), record times are read
//! from the wall side ([`Timestamp`]): a wall clock that jumps moves no deadline.
//!
//! This is the one module that reads the machine's clocks and that may put a thread to sleep.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::record::Timestamp;

/// A point on a monotonic clock: the time since that clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(Duration);

impl Moment {
    /// The moment `since_start` after the clock was made.
    pub const fn at(since_start: Duration) -> Self {
        Self(since_start)
    }

    /// The time since the clock was made.
    pub const fn since_start(self) -> Duration {
        self.0
    }

    /// The moment `duration` later; the end of time when that overflows.
    #[must_use]
    pub const fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// How long after `earlier` this moment is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Where a worker reads the time.
pub trait Clock {
    /// The monotonic time, for durations and deadlines.
    fn now(&self) -> Moment;

    /// The wall time, for record timestamps and latencies against them.
    fn wall(&self) -> Timestamp;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// A clock whose [`Moment`]s count from now.
    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    pub fn new() -> Self {
        Self {
            start: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment(self.start.elapsed())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the clock module")]
    fn wall(&self) -> Timestamp {
        let millis = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_millis());
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn wall(&self) -> Timestamp {
        (**self).wall()
    }
}

impl<C: Clock + ?Sized> Clock for std::sync::Arc<C> {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn wall(&self) -> Timestamp {
        (**self).wall()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_never_a_negative_time_after_a_later_one() {
        let early = Moment::at(Duration::from_secs(1));
        let late = early.plus(Duration::from_secs(2));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
    }

    #[test]
    fn the_system_clock_counts_from_its_making() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.wall().millis() > 1_700_000_000_000);
    }
}
