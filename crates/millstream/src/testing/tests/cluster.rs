//! What the cluster does to a service: batches refused, no broker for long, a producer that fails for good. And planted mistakes
//! about open records, timers and order, which the oracle has to find.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::{COUNTS, IN, OUT, copied, copier, feed};
use crate::codec::Text;
use crate::error::{Error, ProcessError};
use crate::log::simulation::SimulatedLog;
use crate::log::{Begin, Event, Log, Message as _, Outgoing, SendError, Token};
use crate::testing::{Faults, World, simulate_with};
use crate::topic::NextOffset;
use crate::{
    Context, Headers, OnError, OpenRecord, Partition, Record, Service, Topic, TopicPartition,
};

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
        let copied = (record.value, record.position.offset.get());
        context
            .record(&OUT, &record.key, &copied)
            .headers(&headers)
            .emit()
    };
    let mut world = World::new();
    let service = Service::new("heavy", || ()).input(&IN, heavy).output(&OUT);
    world.start(service.max_bytes_in_flight(BOUND)).unwrap();
    feed(&mut world, 0..100);
    world.advance(Duration::from_millis(5)).unwrap();
    world.simulation.outage(Duration::from_secs(3_600));
    feed(&mut world, 100..300);
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
        feed(world, 0..90);
        world.run().unwrap();
        assert_eq!(copied(world), (0..90).collect());
    });
}

/// A log with a mistake about what is done, or in which order.
struct Mistaken {
    log: SimulatedLog,
    /// Commits what was read instead of what is done.
    commits_what_was_read: bool,
    /// Sends every second record after the next one.
    swaps: bool,
    read: RefCell<BTreeMap<TopicPartition, NextOffset>>,
    held: RefCell<Option<Held>>,
}

/// A record that is sent after the next one.
struct Held {
    topic: String,
    partition: Option<Partition>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    token: Token,
}

impl Mistaken {
    fn new(log: SimulatedLog) -> Self {
        Self {
            log,
            commits_what_was_read: false,
            swaps: false,
            read: RefCell::default(),
            held: RefCell::default(),
        }
    }

    fn offsets(
        &self,
        offsets: &[(TopicPartition, NextOffset)],
    ) -> Vec<(TopicPartition, NextOffset)> {
        let read = self.read.borrow();
        let mistaken = |(partition, offset): &(TopicPartition, NextOffset)| {
            let read = read.get(partition).filter(|_| self.commits_what_was_read);
            (partition.clone(), read.copied().unwrap_or(*offset))
        };
        offsets.iter().map(mistaken).collect()
    }

    fn send_held(&self) {
        let Some(held) = self.held.borrow_mut().take() else {
            return;
        };
        let record = Outgoing {
            topic: &held.topic,
            partition: held.partition,
            key: held.key.as_deref(),
            value: held.value.as_deref(),
            headers: None,
            timestamp: None,
        };
        self.log.send(record, held.token).unwrap();
    }
}

impl Log for Mistaken {
    type Message<'a> = <SimulatedLog as Log>::Message<'a>;

    fn poll(&self, wait: Duration) -> Result<Event<Self::Message<'_>>, Error> {
        let event = self.log.poll(wait)?;
        if let Event::Record(record) = &event {
            let partition = TopicPartition::new(record.topic(), record.partition());
            self.read
                .borrow_mut()
                .insert(partition, record.offset().next());
        }
        Ok(event)
    }
    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        self.log.admit(partitions)
    }
    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        self.log.release(partitions)
    }
    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        if self.swaps && self.held.borrow().is_none() {
            *self.held.borrow_mut() = Some(Held {
                topic: record.topic.to_owned(),
                partition: record.partition,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                token,
            });
            return Ok(());
        }
        self.log.send(record, token)?;
        self.send_held();
        Ok(())
    }
    fn reports(&self, wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>)) {
        self.log.reports(wait, each);
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
    fn partition_count(&self, topic: &str) -> Result<i32, Error> {
        self.log.partition_count(topic)
    }
    fn unread(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        self.log.unread(partitions)
    }
    fn end_offset(&self, partition: &TopicPartition) -> Option<NextOffset> {
        self.log.end_offset(partition)
    }
}

/// The text with which a world fails in which everything works but the log of `service`.
fn verdict<S: 'static>(
    service: impl Fn() -> Service<S>,
    dress: fn(SimulatedLog) -> Mistaken,
) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| {
        simulate_with(0..100, Faults::none(), |world| {
            world.start_with(service(), dress).unwrap();
            // Records come in one after the other, so that there is always something under way.
            for round in 0..200 {
                feed(world, 8 * round..8 * (round + 1));
                world.advance(Duration::from_millis(5)).unwrap();
            }
        });
    }));
    failed
        .unwrap_err()
        .downcast_ref::<String>()
        .unwrap()
        .clone()
}

fn reads_too_far(log: SimulatedLog) -> Mistaken {
    Mistaken {
        commits_what_was_read: true,
        ..Mistaken::new(log)
    }
}

#[test]
fn a_commit_over_an_open_record_is_found() {
    /// Every fourth record is kept open until the next fourth.
    fn keep(
        open: &mut Vec<OpenRecord>,
        record: Record<String, u64>,
        context: &mut Context,
    ) -> Result<(), ProcessError> {
        if record.value.is_multiple_of(4) {
            open.drain(..).for_each(|open| context.close(open));
            open.push(context.keep_open());
        }
        Ok(())
    }
    let said = verdict(
        || {
            Service::new("keeper", Vec::new)
                .input(&IN, keep)
                .commit_every(Duration::from_millis(1))
        },
        reads_too_far,
    );
    assert!(said.ends_with(" is not done: it is kept open"), "{said}");
}

#[test]
fn a_commit_past_the_effects_of_a_timer_is_found() {
    let tick = |_: &mut (), context: &mut Context| context.emit(&COUNTS, "tick", &1);
    let service = || {
        Service::new("ticker", || ())
            .input(&IN, |(), _, _| Ok(()))
            .output(&COUNTS)
            .every(Duration::from_millis(2), tick)
            .commit_every(Duration::from_millis(1))
    };
    let said = verdict(service, reads_too_far);
    assert!(said.contains("the effects of a timer before "), "{said}");
}

#[test]
fn effects_in_another_order_than_they_were_emitted_are_found() {
    let said = verdict(copier, |log| Mistaken {
        swaps: true,
        ..Mistaken::new(log)
    });
    assert!(said.ends_with(" after what it emitted later"), "{said}");
}
