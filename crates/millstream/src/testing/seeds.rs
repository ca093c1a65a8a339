//! One test under many seeds.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::World;
use crate::log::simulation::Faults;

/// Runs a test once for each seed, in a world where [everything goes wrong](Faults::all) that must not lose a record.
/// See the [module](super) for an example.
///
/// # Panics
/// When the test does, or when the service broke at-least-once delivery; the seed is printed, and `simulate([seed], ..)`
/// replays exactly that run.
pub fn simulate(seeds: impl IntoIterator<Item = u64>, test: impl Fn(&mut World)) {
    simulate_with(seeds, Faults::all(), test);
}

/// As [`simulate`], with faults of one's own.
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
