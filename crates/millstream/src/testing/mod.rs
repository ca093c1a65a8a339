//! The testing kit: services run in a simulated cluster, without any broker, thousands of times a minute.
//!
//! A [`World`] holds topics, groups and running services. A test feeds typed records, lets the world [run](World::run)
//! until everything is processed and committed, and reads typed outputs. Time is virtual: a day passes in
//! milliseconds, and nothing sleeps.
//!
//! ```
//! use millstream::codec::{Json, Text};
//! use millstream::testing::World;
//! use millstream::{Context, ProcessError, Record, Service, Topic};
//!
//! static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json).partitions(2);
//! static ALARMS: Topic<String, f64> = Topic::new("alarms", &Text, &Json);
//!
//! fn on_reading(_: &mut (), reading: Record<String, f64>, context: &mut Context) -> Result<(), ProcessError> {
//!     if reading.value > 90.0 {
//!         context.emit(&ALARMS, &reading.key, &reading.value)?;
//!     }
//!     Ok(())
//! }
//!
//! let mut world = World::new();
//! world.start(Service::new("alarms", || ()).input(&READINGS, on_reading).output(&ALARMS))?;
//! world.send(&READINGS, &"kitchen".to_owned(), &21.5);
//! world.send(&READINGS, &"oven".to_owned(), &180.0);
//! world.run()?;
//! let alarms: Vec<f64> = world.read(&ALARMS).into_iter().map(|alarm| alarm.value).collect();
//! assert_eq!(alarms, [180.0]);
//! # Ok::<(), millstream::Error>(())
//! ```
//!
//! # Faults
//!
//! [`simulate`] runs a test under many seeds with [everything going wrong](Faults::all) that a cluster of machines can do:
//! workers killed, partitions moved, deliveries and commits failed or of unknown outcome. What a service then
//! owes is at-least-once delivery, and the world holds it to that by itself: a commit over a record that is not done, a
//! record skipped, a record handled by a worker that does not hold its partition end the run with the seed that
//! replays it. The test adds what its outputs must be.
//!
//! ```
//! # use millstream::codec::{Json, Text};
//! # use millstream::{Context, ProcessError, Record, Service, Topic};
//! use std::collections::BTreeSet;
//! use millstream::testing::simulate;
//!
//! # static NUMBERS: Topic<String, u64> = Topic::new("numbers", &Text, &Json).partitions(3);
//! # static DOUBLES: Topic<String, u64> = Topic::new("doubles", &Text, &Json);
//! # fn double(_: &mut (), number: Record<String, u64>, context: &mut Context) -> Result<(), ProcessError> {
//! #     context.emit(&DOUBLES, &number.key, &(number.value * 2))
//! # }
//! simulate(0..20, |world| {
//!     let service = Service::new("doubler", || ()).input(&NUMBERS, double).output(&DOUBLES);
//!     world.start(service.threads(2)).unwrap();
//!     for number in 0..50 {
//!         world.send(&NUMBERS, &format!("key {number}"), &number);
//!     }
//!     world.run().unwrap();
//!     let doubles: BTreeSet<u64> = world.read(&DOUBLES).into_iter().map(|record| record.value).collect();
//!     assert_eq!(doubles, (0..50).map(|number| number * 2).collect());
//! });
//! ```

mod records;
mod seat;
mod seeds;
mod world;

use std::time::Duration;

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
            "waited {deadline:?} in vain until {what}"
        );
        std::thread::park_timeout(LOOK_EVERY);
    }
}

#[cfg(test)]
mod tests;
