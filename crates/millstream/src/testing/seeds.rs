//! One test under many seeds.
//!
//! A seed decides everything that happens in a world, so a failure is named by its seed and found again by it. Panics of
//! the test itself are passed on as they are, after the seed.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::World;
use crate::log::simulation::Faults;

/// Runs a test once for each seed, in a world where [everything goes wrong](Faults::all) that must not lose a record.
///
/// ```
/// # use millstream::codec::{Json, Text};
/// # use millstream::{Context, ProcessError, Record, Service, Topic};
/// use std::collections::BTreeSet;
/// use millstream::testing::simulate;
///
/// # static NUMBERS: Topic<String, u64> = Topic::new("numbers", &Text, &Json).partitions(3);
/// # static DOUBLES: Topic<String, u64> = Topic::new("doubles", &Text, &Json);
/// # fn double(_: &mut (), number: Record<String, u64>, context: &mut Context) -> Result<(), ProcessError> {
/// #     context.emit(&DOUBLES, &number.key, &(number.value * 2))
/// # }
/// simulate(0..20, |world| {
///     let service = Service::new("doubler", || ()).input(&NUMBERS, double).output(&DOUBLES);
///     world.start(service.threads(2)).unwrap();
///     for number in 0..50 {
///         world.send(&NUMBERS, &format!("key {number}"), &number);
///     }
///     world.run().unwrap();
///     let doubles: BTreeSet<u64> = world.read(&DOUBLES).into_iter().map(|record| record.value).collect();
///     assert_eq!(doubles, (0..50).map(|number| number * 2).collect());
/// });
/// ```
///
/// # Panics
/// When the test does, or when the service broke at-least-once delivery; the seed is printed, and `simulate([seed], ..)`
/// replays exactly that run.
pub fn simulate(seeds: impl IntoIterator<Item = u64>, test: impl Fn(&mut World)) {
    simulate_with(seeds, Faults::all(), test);
}

/// As [`simulate`], with these faults.
///
/// # Panics
/// As there.
pub fn simulate_with(
    seeds: impl IntoIterator<Item = u64>,
    faults: Faults,
    test: impl Fn(&mut World),
) {
    for seed in seeds {
        let run = || {
            let mut world = World::seeded(seed, faults);
            test(&mut world);
            world.check();
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!(
                "the simulation failed with seed {seed}; `simulate([{seed}], ..)` replays it"
            );
            resume_unwind(panic);
        }
    }
}
