//! What the cluster and the machine do to a service: batches refused, no broker for long, a producer that fails for good, a
//! thread that cannot be started.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{IN, OUT, copied, copier, feed};
use crate::codec::Text;
use crate::testing::{Faults, World, simulate_with};
use crate::topic::NextOffset;
use crate::{Context, Headers, OnError, Partition, Record, Service, Topic};

static TEXTS: Topic<String, String> = Topic::new("texts", &Text, &Text).partitions(4);
static NARROW: Topic<String, String> = Topic::new("narrow", &Text, &Text)
    .partitions(1)
    .max_message_bytes(2_000);

/// Four partitions into one whose topic takes less than a batch of them, and less than one of the records.
#[test]
fn a_topic_that_takes_little_refuses_one_record_and_delays_no_other_partition() {
    let mut world = World::new();
    let service = Service::new("narrower", || ())
        .input(
            &TEXTS,
            |(), text: Record<String, String>, context: &mut Context| {
                context.emit(&NARROW, &text.key, &text.value)
            },
        )
        .output(&NARROW);
    let policy = OnError::dead_letter();
    let running = world.start(service.on_error(policy)).unwrap();
    for number in 0..400 {
        let partition = Partition(number % 4);
        let text = format!("text {number}");
        world.record(&TEXTS, "k", &text).partition(partition).send();
    }
    let large = "x".repeat(5_000);
    world
        .record(&TEXTS, "k", &large)
        .partition(Partition(0))
        .send();
    world.run().unwrap();
    let texts: BTreeSet<String> = world
        .read(&NARROW)
        .into_iter()
        .map(|text| text.value)
        .collect();
    assert_eq!(
        texts,
        (0..400).map(|number| format!("text {number}")).collect()
    );
    let dead: Topic<String, String> = TEXTS.clone().named("texts.dlq");
    let sizes: Vec<usize> = world
        .read(&dead)
        .iter()
        .map(|letter| letter.value.len())
        .collect();
    assert_eq!(sizes, [5_000]);
    assert_eq!(
        world.committed(running, "texts", Partition(0)),
        Some(NextOffset::new(101))
    );
    // One by one it was a round trip for each of the 401, and more for those that were refused with others.
    let batches = world.simulation.batches();
    assert!(batches < 200, "{batches} batches");
}

#[test]
fn no_broker_for_an_hour_costs_no_memory_and_no_record() {
    const BOUND: usize = 100_000;
    let heavy = |(): &mut (), record: Record<String, u64>, context: &mut Context| {
        let headers = Headers::new().with("large", vec![0; 10_000]);
        context
            .record(&OUT, &record.key, &record.value)
            .headers(&headers)
            .emit()
    };
    let mut world = World::new();
    let service = Service::new("heavy", || ()).input(&IN, heavy).output(&OUT);
    world.start(service.max_bytes_in_flight(BOUND)).unwrap();
    feed(&mut world, &IN, 0..100);
    world.advance(Duration::from_millis(5)).unwrap();
    world.simulation.outage(Duration::from_secs(3_600));
    feed(&mut world, &IN, 100..300);
    world.run().unwrap();
    assert_eq!(copied(&world), (0..300).collect());
    let most = world.simulation.most_in_flight();
    assert!((10_000..=BOUND).contains(&most), "{most} bytes");
}

#[test]
fn outages_refused_batches_and_broken_producers_lose_nothing() {
    let faults = Faults {
        outage: 0.005,
        refused_batch: 0.1,
        fatal_send: 0.01,
        ..Faults::none()
    };
    simulate_with(0..100, faults, |world| {
        world.start(copier().threads(2)).unwrap();
        feed(world, &IN, 0..90);
        world.run().unwrap();
        assert_eq!(copied(world), (0..90).collect());
    });
}

/// Half of the threads cannot be started: a process that lacks one ends, and the supervisor starts another.
#[test]
fn processes_whose_threads_cannot_all_be_started_lose_nothing() {
    let faults = Faults {
        failed_spawn: 0.5,
        crash: 0.01,
        ..Faults::none()
    };
    let mut ended_by_a_failed_spawn = 0;
    for seed in 0..100 {
        let mut world = World::seeded(seed, faults);
        let running = world.start(copier().threads(3)).unwrap();
        feed(&mut world, &IN, 0..60);
        ended_by_a_failed_spawn += usize::from(!world.restarts.is_empty());
        world.run().unwrap();
        assert_eq!(world.restarts.len(), 0, "seed {seed}");
        assert_eq!(copied(&world), (0..60).collect(), "seed {seed}");
        world.stop(running).unwrap();
    }
    // Three of three are started once in eight times.
    assert!(
        ended_by_a_failed_spawn > 70,
        "{ended_by_a_failed_spawn} of 100"
    );
}

/// A timer emits several records at once, and their topic never takes one of them: no record beside them is lost, or waits for ever.
#[test]
fn timers_whose_batches_are_refused_lose_nothing_else() {
    let on_tick = |_: &mut u64, context: &mut Context| {
        context.emit(&NARROW, "tick", "fine")?;
        context.emit(&NARROW, "tick", &"x".repeat(5_000))
    };
    simulate_with(0..40, Faults::all(), |world| {
        let service = copier()
            .output(&NARROW)
            .every(Duration::from_secs(2), on_tick);
        world.start(service.threads(2)).unwrap();
        feed(world, &IN, 0..60);
        world.run().unwrap();
        assert_eq!(copied(world), (0..60).collect());
    });
}
