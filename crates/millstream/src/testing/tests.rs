//! The engine in the simulation: what it promises under every fault, and that the oracle would notice if it did not.

mod cluster;
mod rebalances;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{Faults, World, simulate, simulate_with};
use crate::codec::{Json, Text};
use crate::error::{Error, ProcessError};
use crate::log::simulation::SimulatedLog;
use crate::log::{Begin, Event, Log, Outgoing, SendError, Token};
use crate::topic::NextOffset;
use crate::{
    Context, OnError, Partition, Record, Service, Start, Topic, TopicPartition, dead_letter,
};

static IN: Topic<String, u64> = Topic::new("in", &Text, &Json).partitions(4);
static OUT: Topic<String, (u64, i64)> = Topic::new("out", &Text, &Json).partitions(3);
static COUNTS: Topic<String, u64> = Topic::new("counts", &Text, &Json).partitions(2);
static DEAD: Topic<String, String> = Topic::new("in.dlq", &Text, &Text);

/// Copies with its origin, twice for every third number, and counts in its state.
fn copy(
    count: &mut u64,
    record: Record<String, u64>,
    context: &mut Context,
) -> Result<(), ProcessError> {
    *count += 1;
    let copied = (record.value, record.position.offset.get());
    context.emit(&OUT, &record.key, &copied)?;
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

fn feed(world: &mut World, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.send(&IN, &format!("key {}", number % 17), &number);
    }
}

fn copied(world: &World) -> BTreeSet<u64> {
    world
        .read(&OUT)
        .into_iter()
        .map(|record| record.value.0)
        .collect()
}

#[test]
fn without_faults_each_record_is_handled_once_and_everything_is_committed() {
    let mut world = World::new();
    let copier = world.start(copier().threads(2)).unwrap();
    feed(&mut world, 0..200);
    world.run().unwrap();
    assert_eq!(world.handled(), 200);
    assert_eq!(copied(&world), (0..200).collect());
    let committed = (0..4).map(|partition| {
        world
            .committed(copier, "in", Partition(partition))
            .unwrap()
            .get()
    });
    assert_eq!(committed.sum::<i64>(), 200);
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
        feed(world, 0..60);
        world.run().unwrap();
        feed(world, 60..90);
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
        feed(&mut world, 0..90);
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
        feed(&mut world, 0..100);
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
        feed(world, 0..10);
        world.send_bytes("in", Some(Partition(1)), Some(b"k"), Some(b"{poison"));
        feed(world, 10..20);
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
        world.send_bytes("in", Some(Partition(0)), Some(b"k"), Some(b"{poison"));
        world.record(&IN, "a", &2).partition(Partition(0)).send();
        let error = world.run().unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("service `copier` stopped at in[0]@1: "),
            "{error}"
        );
        let committed = world
            .committed(running, "in", Partition(0))
            .map(NextOffset::get);
        assert!(
            committed.is_none_or(|committed| committed <= 1),
            "{committed:?}"
        );
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
        context.emit(
            &OUT,
            &record.key,
            &(record.value, record.position.offset.get()),
        )
    }
    let service = || Service::new("flaky", || 0).input(&IN, flaky).output(&OUT);
    simulate(0..200, |world| {
        world.start(service().on_error(OnError::retry(5))).unwrap();
        feed(world, 0..40);
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
        let copies = world.read(&OUT).into_iter().map(|copy| copy.value.0);
        assert_eq!(copies.collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
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
        feed(world, 0..80);
        world.run().unwrap();
        assert!(copied(world).is_subset(&(0..80).collect()));
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
    feed(&mut world, 0..10);
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
    simulate_with(
        0..100,
        Faults {
            unknown_commit: 0.0,
            ..Faults::none()
        },
        |world| {
            let running = world.start(copier()).unwrap();
            feed(world, 0..100);
            world.advance(Duration::from_millis(5)).unwrap();
            world.stop(running).unwrap();
            let committed = |partition| {
                world
                    .committed(running, "in", Partition(partition))
                    .map_or(0, NextOffset::get)
            };
            let committed: i64 = (0..4).map(committed).sum();
            assert_eq!(u64::try_from(committed), Ok(world.handled()));
        },
    );
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
        context.emit(&OUT, &record.key, &(record.value, 0))
    }
    fn right(
        _: &mut (),
        record: Record<String, u64>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        context.emit(&OUT, &record.key, &(record.value, 1))?;
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
        feed(world, 0..60);
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
        context.emit(
            &OUT,
            &record.key,
            &(record.value, record.position.offset.get()),
        )
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
        feed(world, 0..20);
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

/// A log with a mistake planted in it.
struct Mistaken {
    log: SimulatedLog,
    /// What is committed instead.
    commits: fn(i64) -> i64,
    /// Takes what failed for delivered.
    forgives: bool,
}

impl Mistaken {
    fn offsets(
        &self,
        offsets: &[(TopicPartition, NextOffset)],
    ) -> Vec<(TopicPartition, NextOffset)> {
        let mistaken = |offset: &NextOffset| NextOffset::new((self.commits)(offset.get()));
        offsets
            .iter()
            .map(|(partition, offset)| (partition.clone(), mistaken(offset)))
            .collect()
    }
}

impl Log for Mistaken {
    type Message<'a> = <SimulatedLog as Log>::Message<'a>;

    fn poll(&self, wait: Duration) -> Result<Event<Self::Message<'_>>, Error> {
        self.log.poll(wait)
    }
    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        self.log.admit(partitions)
    }
    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.log.release(partitions)
    }
    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        self.log.send(record, token)
    }
    fn reports(&self, wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>)) {
        let forgives = self.forgives;
        self.log.reports(wait, &mut |token, result| {
            each(token, if forgives { Ok(()) } else { result })
        });
    }
    fn in_flight_bytes(&self) -> usize {
        self.log.in_flight_bytes()
    }
    fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.log.commit(&self.offsets(offsets))
    }
    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.log.commit_now(&self.offsets(offsets))
    }
    fn pause(&self, partitions: &[TopicPartition]) {
        self.log.pause(partitions);
    }
    fn resume(&self, partitions: &[TopicPartition]) {
        self.log.resume(partitions);
    }
    fn seek(&self, partition: &TopicPartition, offset: NextOffset) -> Result<(), Error> {
        self.log.seek(partition, offset)
    }
    fn end_offset(&self, partition: &TopicPartition) -> Option<NextOffset> {
        self.log.end_offset(partition)
    }
    fn partition_count(&self, topic: &str) -> Result<i32, Error> {
        self.log.partition_count(topic)
    }
    fn unread(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        self.log.unread(partitions)
    }
}

/// The text with which the simulation of a mistaken log fails.
fn verdict(dress: fn(SimulatedLog) -> Mistaken) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| {
        simulate(0..100, |world| {
            world.start_with(copier().threads(2), dress).unwrap();
            for round in 0..4 {
                feed(world, 20 * round..20 * (round + 1));
                world.run().unwrap();
            }
        });
    }));
    failed
        .unwrap_err()
        .downcast_ref::<String>()
        .unwrap()
        .clone()
}

#[test]
fn a_commit_one_too_far_is_found() {
    let said = verdict(|log| Mistaken {
        log,
        commits: |offset| offset + 1,
        forgives: false,
    });
    assert!(said.contains(" is not done: "), "{said}");
}

#[test]
fn a_commit_that_goes_back_is_found() {
    fn back(offset: i64) -> i64 {
        if offset > 9 { offset - 8 } else { offset }
    }
    let said = verdict(|log| Mistaken {
        log,
        commits: back,
        forgives: false,
    });
    assert!(
        said.contains(" committed in[") && said.contains(" back from "),
        "{said}"
    );
}

#[test]
fn a_failed_delivery_taken_for_a_success_is_found() {
    let said = verdict(|log| Mistaken {
        log,
        commits: |offset| offset,
        forgives: true,
    });
    assert!(
        said.ends_with(" of its 1 effects are acknowledged")
            || said.ends_with(" of its 2 effects are acknowledged"),
        "{said}"
    );
}
