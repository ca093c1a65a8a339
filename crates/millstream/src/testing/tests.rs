//! The engine in the simulation: what it promises under every fault. `planted` shows that the simulation would find it if it
//! did not.

mod cluster;
mod planted;
mod rebalances;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::time::Duration;

use super::{Faults, Running, World, simulate, simulate_with};
use crate::codec::{Json, Text};
use crate::error::ProcessError;
use crate::topic::NextOffset;
use crate::{Context, OnError, Partition, Record, Service, Start, Topic, dead_letter};

static IN: Topic<String, u64> = Topic::new("in", &Text, &Json).partitions(4);
static OTHER: Topic<String, u64> = Topic::new("other", &Text, &Json).partitions(4);
static OUT: Topic<String, u64> = Topic::new("out", &Text, &Json).partitions(3);
static COUNTS: Topic<String, u64> = Topic::new("counts", &Text, &Json).partitions(2);
static DEAD: Topic<String, String> = Topic::new("in.dlq", &Text, &Text);

/// Copies, and every third number also the count in its state.
fn copy(
    count: &mut u64,
    record: Record<String, u64>,
    context: &mut Context,
) -> Result<(), ProcessError> {
    *count += 1;
    context.emit(&OUT, &record.key, &record.value)?;
    if record.value.is_multiple_of(3) {
        context.emit(&COUNTS, &record.key, count)?;
    }
    Ok(())
}

fn copier() -> Service<u64> {
    Service::new("copier", || 0)
        .input(&IN, copy)
        .output(&OUT)
        .output(&COUNTS)
}

/// Copies; every fifth number only at the third attempt, so that partitions wait for retries when they move.
fn copy_at_third_attempt(
    _: &mut u64,
    record: Record<String, u64>,
    context: &mut Context,
) -> Result<(), ProcessError> {
    if record.value.is_multiple_of(5) && context.attempt() < 3 {
        return Err(ProcessError::new("not now"));
    }
    context.emit(&OUT, &record.key, &record.value)
}

fn retrying(name: &str) -> Service<u64> {
    Service::new(name, || 0)
        .input(&IN, copy_at_third_attempt)
        .output(&OUT)
        .on_error(OnError::retry(5))
}

fn retrying_copier() -> Service<u64> {
    retrying("copier")
}

fn feed(world: &mut World, topic: &Topic<String, u64>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.send(topic, &format!("key {}", number % 17), &number);
    }
}

/// The numbers on the output, in the order of writing.
fn copies(world: &World) -> Vec<u64> {
    let out = world.read(&OUT).into_iter();
    out.map(|record| record.value).collect()
}

fn copied(world: &World) -> BTreeSet<u64> {
    copies(world).into_iter().collect()
}

/// What is committed of the input, in all partitions together.
fn committed(world: &World, service: Running) -> u64 {
    let committed = (0..4).filter_map(|number| world.committed(service, "in", Partition(number)));
    let committed: i64 = committed.map(NextOffset::get).sum();
    u64::try_from(committed).unwrap()
}

/// Of a service that has stopped: what it has copied is committed, and that is something.
#[track_caller]
fn assert_done_is_committed(world: &World, service: Running) {
    let done = copied(world).len() as u64;
    assert!(done > 0, "seed {}: nothing was done", world.seed());
    assert_eq!(
        committed(world, service),
        done,
        "seed {}: what was done is not committed",
        world.seed()
    );
}

#[test]
fn without_faults_each_record_is_handled_once_and_everything_is_committed() {
    let mut world = World::new();
    let copier = world.start(copier().threads(2)).unwrap();
    feed(&mut world, &IN, 0..200);
    world.run().unwrap();
    assert_eq!(world.handled(), 200);
    let mut copies = copies(&world);
    copies.sort_unstable();
    assert_eq!(copies, (0..200).collect::<Vec<_>>());
    assert_eq!(committed(&world, copier), 200);
}

/// The copier with settings drawn from the world's seed.
fn any_copier(world: &World) -> Service<u64> {
    let mut random = fastrand::Rng::with_seed(world.seed());
    let mut millis = |range: std::ops::Range<u64>| Duration::from_millis(random.u64(range));
    let service = copier()
        .commit_every(millis(20..3_000))
        .drain_within(millis(50..5_000))
        .session_timeout(millis(6_000..60_000));
    service
        .max_bytes_in_flight(random.usize(1..30_000))
        .threads(random.usize(1..4))
}

#[test]
fn under_all_faults_nothing_acknowledged_is_lost() {
    simulate(0..1_000, |world| {
        let copier = world.start(any_copier(world)).unwrap();
        feed(world, &IN, 0..60);
        world.run().unwrap();
        feed(world, &IN, 60..90);
        world.crash(copier);
        world.add_worker(copier);
        world.run().unwrap();
        assert_eq!(copied(world), (0..90).collect());
    });
}

#[test]
fn the_faults_do_harm_in_most_worlds() {
    let (mut repeated, mut rewritten) = (0, 0);
    for seed in 0..100 {
        let mut world = World::seeded(seed, Faults::all());
        world.start(any_copier(&world)).unwrap();
        feed(&mut world, &IN, 0..90);
        world.run().unwrap();
        repeated += u32::from(world.handled() > 90);
        rewritten += u32::from(world.read(&OUT).len() > 90);
    }
    assert!(repeated > 50 && rewritten > 50, "{repeated} {rewritten}");
}

#[test]
fn one_seed_is_one_run() {
    let run = || {
        let mut world = World::seeded(42, Faults::all());
        world.start(copier().threads(3)).unwrap();
        feed(&mut world, &IN, 0..100);
        world.run().unwrap();
        let out = world
            .read(&OUT)
            .into_iter()
            .map(|record| (record.position, record.timestamp, record.value));
        (out.collect::<Vec<_>>(), world.now(), world.handled())
    };
    assert_eq!(run(), run());
}

#[test]
fn poison_goes_to_the_dead_letter_topic_with_its_origin_and_the_rest_goes_on() {
    simulate(0..200, |world| {
        let service =
            copier().on_error(OnError::retry(1).then_dead_letter().dead_letter_limit(1.0));
        world.start(service.threads(2)).unwrap();
        feed(world, &IN, 0..10);
        world.send_bytes("in", Some(Partition(1)), Some(b"k"), Some(b"{poison"));
        feed(world, &IN, 10..20);
        world.run().unwrap();
        assert_eq!(copied(world), (0..20).collect());
        let dead = world.read(&DEAD);
        let letter = dead.first().unwrap();
        assert_eq!(
            (letter.key.as_str(), letter.value.as_str()),
            ("k", "{poison")
        );
        assert_eq!(
            letter.headers().get(dead_letter::TOPIC),
            Some(b"in".as_slice())
        );
        assert_eq!(
            letter.headers().get(dead_letter::REASON),
            Some(b"decode".as_slice())
        );
        // At least once: more than one only because of a fault.
        assert!(dead.iter().all(|again| again.value == letter.value));
    });
}

#[test]
fn what_comes_before_a_record_that_stops_the_service_is_committed() {
    let mut world = World::new();
    let running = world.start(copier().on_error(OnError::stop())).unwrap();
    world.record(&IN, "a", &1).partition(Partition(0)).send();
    world.send_bytes("in", Some(Partition(0)), Some(b"k"), Some(b"{poison"));
    world.run().unwrap_err();
    let committed = world.committed(running, "in", Partition(0));
    assert_eq!(committed, Some(NextOffset::new(1)));
}

#[test]
fn a_record_that_stops_the_service_is_named_and_not_committed() {
    simulate(0..100, |world| {
        let running = world.start(copier().on_error(OnError::stop())).unwrap();
        world.record(&IN, "a", &1).partition(Partition(0)).send();
        world.run().unwrap();
        world.send_bytes("in", Some(Partition(0)), Some(b"k"), Some(b"{poison"));
        world.record(&IN, "a", &2).partition(Partition(0)).send();
        let error = world.run().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("service `copier` stopped at in[0]@1: "),
            "{error}"
        );
        let committed = world.committed(running, "in", Partition(0));
        assert_eq!(committed, Some(NextOffset::new(1)), "seed {}", world.seed());
    });
}

#[test]
fn failures_that_pass_are_retried_in_order() {
    fn flaky(
        seen: &mut u32,
        record: Record<String, u64>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        *seen += 1;
        if seen.is_multiple_of(3) {
            return Err(ProcessError::new("not now"));
        }
        context.emit(&OUT, &record.key, &record.value)
    }
    let service = || Service::new("flaky", || 0).input(&IN, flaky).output(&OUT);
    simulate(0..200, |world| {
        world.start(service().on_error(OnError::retry(5))).unwrap();
        feed(world, &IN, 0..40);
        world.run().unwrap();
        assert_eq!(copied(world), (0..40).collect());
    });
    // Of one key, each once and in order, as long as no delivery fails and nobody takes over.
    let faults = Faults {
        full_queue: 0.2,
        failed_commit: 0.1,
        empty_poll: 0.2,
        ..Faults::none()
    };
    simulate_with(0..100, faults, |world| {
        world.start(service().on_error(OnError::retry(5))).unwrap();
        for number in 0..40 {
            world.send(&IN, "one key", &number);
        }
        world.run().unwrap();
        assert_eq!(copies(world), (0..40).collect::<Vec<_>>());
    });
}

#[test]
fn retention_that_overtakes_a_group_is_survived() {
    let faults = Faults {
        retention: 0.02,
        ..Faults::all()
    };
    simulate_with(0..200, faults, |world| {
        world.start(copier().threads(2)).unwrap();
        feed(world, &IN, 0..80);
        world.run().unwrap();
        let copied = copied(world);
        assert!(!copied.is_empty() && copied.is_subset(&(0..80).collect()));
    });
}

#[test]
fn a_group_told_to_fail_stops_where_nothing_is_committed() {
    let mut world = World::new();
    world.start(copier().start_from(Start::Fail)).unwrap();
    world.record(&IN, "a", &1).partition(Partition(2)).send();
    let error = world.run().unwrap_err();
    let said = error.to_string();
    assert!(
        said.starts_with("service `copier` cannot read in["),
        "{said}"
    );
    assert!(
        said.contains(" from offset none: the cluster has 0 to "),
        "{said}"
    );
}

#[test]
fn timers_tick_in_virtual_time() {
    fn tick(count: &mut u64, context: &mut Context) -> Result<(), ProcessError> {
        context.emit(&COUNTS, "tick", count)
    }
    let mut world = World::new();
    world
        .start(copier().every(Duration::from_secs(60), tick))
        .unwrap();
    feed(&mut world, &IN, 0..10);
    world.run().unwrap();
    world.advance(Duration::from_secs(3_600)).unwrap();
    let ticks = world
        .read(&COUNTS)
        .into_iter()
        .filter(|record| record.key == "tick")
        .count();
    // Four partitions, each every minute, the first a minute after it was assigned.
    assert!((4 * 59..=4 * 60).contains(&ticks), "{ticks}");
}

#[test]
fn a_stopped_service_has_committed_what_it_did() {
    let handled = Cell::new(0);
    simulate_with(0..100, Faults::none(), |world| {
        let running = world.start(copier()).unwrap();
        feed(world, &IN, 0..100);
        world.advance(Duration::from_millis(5)).unwrap();
        world.stop(running).unwrap();
        handled.set(handled.get() + world.handled());
        assert_eq!(committed(world, running), world.handled());
    });
    assert!(handled.get() > 0);
}

#[test]
fn two_inputs_meet_in_the_state_of_their_partition() {
    static LEFT: Topic<String, u64> = Topic::new("left", &Text, &Json).partitions(3);
    static RIGHT: Topic<String, u64> = Topic::new("right", &Text, &Json).partitions(3);
    fn left(
        _: &mut (),
        record: Record<String, u64>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        context.emit(&OUT, &record.key, &record.value)
    }
    fn right(
        _: &mut (),
        record: Record<String, u64>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        context.emit(&OUT, &record.key, &record.value)?;
        context.emit(&COUNTS, &record.key, &record.value)
    }
    simulate(0..300, |world| {
        let service = Service::new("joiner", || ())
            .input(&LEFT, left)
            .input(&RIGHT, right)
            .output(&OUT)
            .output(&COUNTS);
        world.start(service.threads(2)).unwrap();
        for number in 0..30 {
            let key = format!("key {number}");
            world.send(&LEFT, &key, &number);
            world.send(&RIGHT, &key, &(100 + number));
        }
        world.run().unwrap();
        assert_eq!(copied(world), (0..30).chain(100..130).collect());
    });
}

#[test]
fn timers_and_records_share_the_way_out_under_faults() {
    fn tick(count: &mut u64, context: &mut Context) -> Result<(), ProcessError> {
        context.emit(&COUNTS, "tick", count)
    }
    simulate(0..200, |world| {
        world
            .start(copier().every(Duration::from_millis(300), tick).threads(2))
            .unwrap();
        feed(world, &IN, 0..60);
        world.run().unwrap();
        assert_eq!(copied(world), (0..60).collect());
    });
}

#[test]
fn a_panicking_handler_and_a_refused_effect_become_dead_letters() {
    fn touchy(
        _: &mut (),
        record: Record<String, u64>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        assert!(record.value != 7, "seven");
        // More than the cluster takes in one record.
        let size = if record.value == 8 { 2_000_000 } else { 1 };
        context.emit(&WORDS, &record.key, &"x".repeat(size))?;
        context.emit(&OUT, &record.key, &record.value)
    }
    static WORDS: Topic<String, String> = Topic::new("words", &Text, &Text);
    static LETTERS: Topic<String, u64> = Topic::new("in.dlq", &Text, &Json);
    simulate(0..100, |world| {
        let service = Service::new("touchy", || ())
            .input(&IN, touchy)
            .output(&WORDS)
            .output(&OUT);
        let policy = OnError::retry(1).then_dead_letter().dead_letter_limit(1.0);
        world.start(service.on_error(policy).threads(2)).unwrap();
        feed(world, &IN, 0..20);
        world.run().unwrap();
        assert_eq!(
            copied(world),
            (0..20).filter(|number| ![7, 8].contains(number)).collect()
        );
        let reasons: BTreeSet<(u64, &'static str)> = world
            .read(&LETTERS)
            .into_iter()
            .map(|letter| match letter.headers().get(dead_letter::REASON) {
                Some(b"panic") => (letter.value, "panic"),
                Some(b"refused") => (letter.value, "refused"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(reasons, BTreeSet::from([(7, "panic"), (8, "refused")]));
    });
}

#[test]
fn inputs_of_unequal_partition_counts_are_refused() {
    static OTHER: Topic<String, u64> = Topic::new("other", &Text, &Json).partitions(3);
    let service = Service::new("joined", || 0)
        .input(&IN, copy)
        .input(&OTHER, copy)
        .output(&OUT)
        .output(&COUNTS);
    let error = World::new().start(service).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the inputs of service `joined` must have equal partition counts: `in` has 4, `other` has 3"
    );
}
