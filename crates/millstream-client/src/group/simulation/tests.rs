//! The search over seeds, and proof that it would find what it looks for.

use super::world::{Faults, Planted, World};
use crate::simulation::tests::seeds;

const QUIET: Faults = Faults {
    cut: 0,
    crash: 0,
    freeze: 0,
    busy: 0,
    planted: Planted::Nothing,
};
const TROUBLE: Faults = Faults {
    cut: 20,
    crash: 10,
    freeze: 10,
    busy: 20,
    planted: Planted::Nothing,
};

fn world(seed: u64, strategy: &'static str, faults: Faults) -> World {
    let mut world = World::new(seed, strategy, faults);
    world.run();
    world
}

fn assert_right(faults: Faults) {
    for seed in 0..seeds(30) {
        for strategy in ["range", "cooperative-sticky"] {
            let world = world(seed, strategy, faults);
            assert_eq!(world.wrong, Vec::<String>::new(), "{strategy}, seed {seed}");
            assert!(
                world.coordinator.commits > 20,
                "{strategy}, seed {seed}: too few commits"
            );
        }
    }
}

#[test]
fn no_partition_ever_has_two_owners_while_members_come_and_go() {
    assert_right(QUIET);
}

#[test]
fn cut_off_and_crashed_members_commit_nothing_of_others_and_the_group_comes_to_rest() {
    assert_right(TROUBLE);
}

fn assert_found(planted: Planted) {
    let faults = Faults { planted, ..TROUBLE };
    let found = (0..200).any(|seed| !world(seed, "range", faults).wrong.is_empty());
    assert!(found, "no seed shows the planted fault");
}

/// The judge finds what it is there for.
#[test]
fn a_member_that_keeps_what_it_has_lost_is_found() {
    assert_found(Planted::Deaf);
}

#[test]
fn a_member_that_commits_for_an_ownership_that_it_has_not_seen_is_found() {
    assert_found(Planted::Hasty);
}

#[test]
fn every_fault_happens_in_some_seed() {
    let mut seen = std::collections::BTreeSet::new();
    for seed in 0..20 {
        seen.extend(world(seed, "cooperative-sticky", TROUBLE).happened);
    }
    let expected = [
        "busy", "crashed", "cut", "frozen", "left", "lost", "revoked",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
}
