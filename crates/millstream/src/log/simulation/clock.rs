//! The simulation's time.
//!
//! It stands still between two moves of the scheduler. The wall side starts at a fixed instant, so that a replayed
//! run writes the same timestamps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::record::Timestamp;

/// 2026-01-01 00:00:00 UTC.
const WALL_START: i64 = 1_767_225_600_000;

/// A clock that is moved by hand; clones show the same time.
#[derive(Debug, Clone, Default)]
pub(crate) struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// Moves the time on.
    pub(crate) fn advance(&self, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.0.fetch_add(micros, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Moment {
        Moment::at(Duration::from_micros(self.0.load(Ordering::Relaxed)))
    }

    fn wall(&self) -> Timestamp {
        let millis = i64::try_from(self.now().since_start().as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(WALL_START.saturating_add(millis))
    }
}
