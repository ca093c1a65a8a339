//! The testing kit: services run in a simulated cluster, without any broker, thousands of times a minute.
//!
//! A [`World`] holds topics, groups and running services. A test feeds typed records, lets the world [run](World::run)
//! until everything is processed and committed, and reads typed outputs. Time is virtual: a day passes in
//! milliseconds, and nothing sleeps.
//!
//! [`simulate`] runs a test under many seeds with [everything going wrong](Faults::all) that a cluster of machines can do:
//! workers killed, partitions moved, deliveries and commits failed or of unknown outcome. What a service then
//! owes is at-least-once delivery, and the world holds it to that by itself: a commit over a record that is not done, a
//! record skipped, a record handled by a worker that does not hold its partition end the run with the seed that
//! replays it. The test adds what its outputs must be.
//!
//! A [`TestContext`] calls one handler alone. For tests against real brokers there is [`eventually`].

mod context;
mod records;
mod scheduler;
mod seeds;
mod service;
mod world;

use std::time::Duration;

pub use context::TestContext;
pub use seeds::{simulate, simulate_with};
pub use world::{Running, World};

use crate::clock::{Clock as _, SystemClock};
pub use crate::log::simulation::Faults;

/// How long to wait between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` holds, for tests against real brokers; looks every 10 ms.
///
/// # Panics
/// It did not hold within `deadline`; `what` says what was waited for.
#[track_caller]
pub fn eventually(deadline: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    let clock = SystemClock::new();
    let end = clock.now().plus(deadline);
    while !condition() {
        assert!(
            clock.now() < end,
            "waited {deadline:?}, but not yet: {what}"
        );
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests;
