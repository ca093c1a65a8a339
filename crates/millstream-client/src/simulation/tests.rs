//! The search over seeds, and proof that it would find what it looks for.

use super::world::{Faults, World};

/// More seeds, for a longer search: `MILLSTREAM_SEEDS=10000 cargo test -p millstream-client simulation`.
#[expect(
    clippy::disallowed_methods,
    reason = "the environment says how long the search takes"
)]
pub(crate) fn seeds(default: u64) -> u64 {
    let asked = std::env::var("MILLSTREAM_SEEDS");
    asked.map_or(default, |count| count.parse().unwrap())
}

#[test]
fn under_all_faults_nothing_acknowledged_is_lost_doubled_or_out_of_order() {
    for seed in 0..seeds(150) {
        let mut world = World::new(seed, Faults::default());
        world.run();
        let wrong = world.judge();
        assert_eq!(wrong, Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn without_faults_everything_is_delivered() {
    let mut world = World::new(1, Faults::none());
    world.run();
    assert_eq!(world.judge(), Vec::<String>::new());
    assert_eq!(world.counts(), (world.sent(), 0, 0));
}

/// The judge finds what it is there for: a broker that does not look at sequences writes what is sent again a second time.
#[test]
fn a_broker_that_checks_no_sequences_is_found() {
    let found = (0..seeds(150).min(150)).any(|seed| {
        let mut world = World::new(seed, Faults::default());
        world.cluster.checks_sequences = false;
        world.run();
        !world.judge().is_empty()
    });
    assert!(found, "no seed shows the planted fault");
}

/// Faults happen: a simulation without them would prove nothing.
#[test]
fn every_fault_happens_in_some_seed() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let mut world = World::new(seed, Faults::default());
        world.run();
        seen.extend(world.happened());
    }
    let expected = [
        "answer lost",
        "batch refused",
        "broker restarted",
        "connection cut",
        "delivery unknown",
        "duplicate found",
        "epoch bumped",
        "late copy",
        "leader moved",
        "out of order",
        "stale metadata",
        "tail truncated",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}
