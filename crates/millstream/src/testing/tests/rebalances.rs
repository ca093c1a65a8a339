//! Rebalances in the simulation: what is paused, under way or just begun when partitions move.

use std::time::Duration;

use super::{
    IN, OTHER, assert_done_is_committed, committed, copied, copy_at_third_attempt, feed, retrying,
    retrying_copier,
};
use crate::testing::{Faults, simulate, simulate_with};
use crate::{Partition, Start};

#[test]
fn partitions_that_wait_when_they_move_are_read_on() {
    simulate(0..300, |world| {
        let service = retrying_copier()
            .input(&OTHER, copy_at_third_attempt)
            .threads(2);
        world.start(service).unwrap();
        let single = world.start(retrying("single").threads(2)).unwrap();
        for round in 0..3 {
            feed(world, &IN, 40 * round..40 * round + 20);
            feed(world, &OTHER, 40 * round + 20..40 * round + 40);
            world.rebalance(single);
            world.run().unwrap();
        }
        assert_eq!(copied(world), (0..120).collect());
    });
}

/// What is done when it is asked to stop is committed, although the group refuses commits at that time.
#[test]
fn a_stop_in_the_middle_of_a_rebalance_commits_what_is_done() {
    let faults = Faults {
        unsettled_group: 1.0,
        late_commit: 0.5,
        ..Faults::none()
    };
    simulate_with(0..200, faults, |world| {
        let service = retrying_copier().drain_within(Duration::from_secs(10));
        let running = world.start(service.threads(3)).unwrap();
        feed(world, &IN, 0..60);
        world.advance(Duration::from_millis(1_500)).unwrap();
        world.rebalance(running);
        world.stop(running).unwrap();
        assert_done_is_committed(world, running);
    });
}

#[test]
fn a_group_that_starts_at_the_end_loses_nothing_that_it_has_seen() {
    simulate(0..300, |world| {
        feed(world, &IN, 1_000..1_020);
        let running = world
            .start(retrying_copier().start_from(Start::Latest).threads(2))
            .unwrap();
        world.run().unwrap();
        world.advance(Duration::from_secs(300)).unwrap();
        let begun = (0..4).map(|partition| world.committed(running, "in", Partition(partition)));
        assert!(
            begun.clone().all(|begun| begun.is_some()),
            "{:?}",
            begun.collect::<Vec<_>>()
        );
        feed(world, &IN, 0..40);
        world.crash(running);
        world.run().unwrap();
        assert!(copied(world).is_superset(&(0..40).collect()));
    });
}

#[test]
fn a_topic_that_grows_is_read_whole() {
    simulate(0..100, |world| {
        world.start(retrying_copier().threads(2)).unwrap();
        feed(world, &IN, 0..30);
        world.run().unwrap();
        world.resize("in", 7);
        feed(world, &IN, 30..60);
        world.run().unwrap();
        assert_eq!(copied(world), (0..60).collect());
    });
}

#[test]
fn a_topic_that_shrinks_or_vanishes_and_comes_back_is_read_again() {
    simulate(0..100, |world| {
        world.start(retrying_copier().threads(2)).unwrap();
        feed(world, &IN, 0..30);
        world.run().unwrap();
        world.resize("in", 2);
        feed(world, &IN, 30..60);
        world.run().unwrap();
        world.resize("in", 0);
        world.advance(Duration::from_secs(5)).unwrap();
        feed(world, &IN, 60..90);
        world.resize("in", 4);
        world.run().unwrap();
        assert_eq!(copied(world), (0..90).collect());
    });
}

#[test]
fn an_input_that_grows_alone_stops_the_service_with_both_counts() {
    simulate(0..50, |world| {
        world
            .start(retrying_copier().input(&OTHER, copy_at_third_attempt))
            .unwrap();
        feed(world, &IN, 0..20);
        world.run().unwrap();
        world.resize("in", 5);
        let error = world.advance(Duration::from_secs(600)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the inputs of service `copier` must have equal partition counts: `in` has 5, `other` has 4"
        );
    });
}

/// Also from a service that starts at the end: all that is in a new partition came after the service had begun.
#[test]
fn partitions_that_are_added_are_read_from_their_start_by_a_service_that_starts_at_the_end() {
    // A process that is killed has forgotten how many partitions there were.
    let faults = Faults {
        crash: 0.0,
        failed_spawn: 0.0,
        fatal_send: 0.0,
        ..Faults::all()
    };
    simulate_with(0..100, faults, |world| {
        feed(world, &IN, 1_000..1_020);
        let service = retrying_copier().start_from(Start::Latest).threads(2);
        world.start(service).unwrap();
        world.run().unwrap();
        world.advance(Duration::from_secs(300)).unwrap();
        world.resize("in", 7);
        feed(world, &IN, 0..40);
        world.run().unwrap();
        assert_eq!(copied(world), (0..40).collect());
    });
}

/// Retention overtakes a group that starts at the end and has two inputs, while commits fail, records wait for their retries
/// and members come and go: where it begins anew is committed, never goes back, and takes no record of the other input along.
#[test]
fn a_group_at_the_end_that_retention_overtakes_skips_nothing_else() {
    let faults = Faults {
        retention: 0.03,
        ..Faults::all()
    };
    simulate_with(0..100, faults, |world| {
        let service = retrying_copier().input(&OTHER, copy_at_third_attempt);
        let service = service.start_from(Start::Latest).threads(2);
        let running = world.start(service).unwrap();
        world.run().unwrap();
        for round in 0..4 {
            feed(world, &IN, 60 * round..60 * round + 30);
            feed(world, &OTHER, 60 * round + 30..60 * round + 60);
            world.run().unwrap();
        }
        assert!(committed(world, running) > 0);
    });
}
