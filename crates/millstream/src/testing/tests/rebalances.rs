//! Rebalances in the simulation: what is paused, under way or just begun when partitions move.
//!
//! For each story there is a mistake that a worker could make of it, planted in its log; the oracle has to find it.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::super::{Faults, World, simulate, simulate_with};
use crate::codec::{Json, Text};
use crate::error::{Error, ProcessError};
use crate::log::simulation::SimulatedLog;
use crate::log::{Begin, Event, Log, Message as _, Outgoing, SendError, Token};
use crate::topic::NextOffset;
use crate::{Context, OnError, Partition, Record, Service, Start, Topic, TopicPartition};

static IN: Topic<String, u64> = Topic::new("in", &Text, &Json).partitions(4);
static OTHER: Topic<String, u64> = Topic::new("other", &Text, &Json).partitions(4);
static OUT: Topic<String, u64> = Topic::new("out", &Text, &Json).partitions(3);

/// Copies; every fifth number only at the third attempt, so that partitions wait for retries when they move.
fn copy(
    (): &mut (),
    record: Record<String, u64>,
    context: &mut Context,
) -> Result<(), ProcessError> {
    if record.value.is_multiple_of(5) && context.attempt() < 3 {
        return Err(ProcessError::new("not now"));
    }
    context.emit(&OUT, &record.key, &record.value)
}

fn copier() -> Service<()> {
    Service::new("copier", || ())
        .input(&IN, copy)
        .output(&OUT)
        .on_error(OnError::retry(5))
}

fn feed(world: &mut World, topic: &Topic<String, u64>, numbers: std::ops::Range<u64>) {
    for number in numbers {
        world.send(topic, &format!("key {}", number % 17), &number);
    }
}

fn copied(world: &World) -> BTreeSet<u64> {
    let out = world.read(&OUT).into_iter();
    out.map(|record| record.value).collect()
}

#[test]
fn partitions_that_wait_when_they_move_are_read_on() {
    simulate(0..300, |world| {
        let service = copier().input(&OTHER, copy).threads(2);
        let single = Service::new("single", || ()).input(&IN, copy).output(&OUT);
        world.start(service).unwrap();
        let single = world
            .start(single.on_error(OnError::retry(5)).threads(2))
            .unwrap();
        for round in 0..3 {
            feed(world, &IN, 40 * round..40 * round + 20);
            feed(world, &OTHER, 40 * round + 20..40 * round + 40);
            world.rebalance(single);
            world.run().unwrap();
        }
        assert_eq!(copied(world), (0..120).collect());
    });
}

/// What is done when it is told to stop is committed, although the group refuses commits at that time.
#[test]
fn a_stop_in_the_middle_of_a_rebalance_commits_what_is_done() {
    let faults = Faults {
        unsettled_group: 1.0,
        late_commit: 0.5,
        ..Faults::none()
    };
    simulate_with(0..200, faults, |world| {
        let service = copier().drain_within(Duration::from_secs(10));
        let running = world.start(service.threads(3)).unwrap();
        feed(world, &IN, 0..60);
        world.advance(Duration::from_millis(1_500)).unwrap();
        world.rebalance(running);
        world.stop(running).unwrap();
        let committed = |partition| world.committed(running, "in", Partition(partition));
        let committed = (0..4)
            .filter_map(committed)
            .map(NextOffset::get)
            .sum::<i64>();
        let done = copied(world).len();
        assert_eq!(
            usize::try_from(committed),
            Ok(done),
            "seed {}",
            world.seed()
        );
    });
}

#[test]
fn a_group_that_starts_at_the_end_loses_nothing_that_it_has_seen() {
    simulate(0..300, |world| {
        feed(world, &IN, 1_000..1_020);
        let running = world
            .start(copier().start_from(Start::Latest).threads(2))
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
        world.start(copier().threads(2)).unwrap();
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
        world.start(copier().threads(2)).unwrap();
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
        world.start(copier().input(&OTHER, copy)).unwrap();
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

/// What is wrong with a log, or with the worker before it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mistake {
    CommitsAfterLoss,
    ReleasesBeforeDrain,
    RepeatsRecords,
    KeepsStartSecret,
    NeverResumes,
}

/// A log with a mistake planted in it.
struct Planted {
    log: SimulatedLog,
    mistake: Mistake,
    read: RefCell<BTreeMap<TopicPartition, NextOffset>>,
    released: RefCell<BTreeSet<TopicPartition>>,
    polls: Cell<u32>,
}

impl Planted {
    fn new(log: SimulatedLog, mistake: Mistake) -> Planted {
        Planted {
            log,
            mistake,
            read: RefCell::default(),
            released: RefCell::default(),
            polls: Cell::default(),
        }
    }
}

impl Log for Planted {
    type Message<'a> = <SimulatedLog as Log>::Message<'a>;

    fn poll(&self, wait: Duration) -> Result<Event<Self::Message<'_>>, Error> {
        let event = self.log.poll(wait)?;
        match (&event, self.mistake) {
            (Event::Record(message), mistake) => {
                let partition = TopicPartition::new(message.topic(), message.partition());
                self.polls.set(self.polls.get() + 1);
                if mistake == Mistake::RepeatsRecords && self.polls.get().is_multiple_of(7) {
                    let again = NextOffset::at(message.offset());
                    let _ = self.log.seek(&partition, again);
                }
                self.read
                    .borrow_mut()
                    .insert(partition, message.offset().next());
            }
            (Event::Lost(lost), Mistake::CommitsAfterLoss) => {
                let read = self.read.borrow();
                let offsets = lost
                    .iter()
                    .filter_map(|lost| Some((lost.clone(), *read.get(lost)?)));
                let _ = self.log.commit_now(&offsets.collect::<Vec<_>>());
            }
            (Event::Revoked(revoked), Mistake::ReleasesBeforeDrain) => {
                while self.log.release(revoked).is_err() {}
                self.released.borrow_mut().extend(revoked.iter().cloned());
            }
            _ => {}
        }
        Ok(event)
    }
    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        let mut begins = self.log.admit(partitions)?;
        if self.mistake == Mistake::KeepsStartSecret {
            for (_, begin) in &mut begins {
                if let Begin::Chosen(offset) = *begin {
                    *begin = Begin::Committed(offset);
                }
            }
        }
        Ok(begins)
    }
    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut released = self.released.borrow_mut();
        if partitions
            .iter()
            .all(|partition| released.remove(partition))
        {
            return Ok(());
        }
        self.log.release(partitions)
    }
    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        self.log.send(record, token)
    }
    fn reports(&self, wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>)) {
        self.log.reports(wait, each);
    }
    fn in_flight_bytes(&self) -> usize {
        self.log.in_flight_bytes()
    }
    fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.log.commit(offsets)
    }
    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.log.commit_now(offsets)
    }
    fn pause(&self, partitions: &[TopicPartition]) {
        self.log.pause(partitions);
    }
    fn resume(&self, partitions: &[TopicPartition]) {
        if self.mistake != Mistake::NeverResumes {
            self.log.resume(partitions);
        }
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
fn verdict(start: Start, mistake: Mistake) -> String {
    let failed = catch_unwind(AssertUnwindSafe(|| {
        simulate(0..100, |world| {
            let service = copier().threads(2).start_from(start);
            world
                .start_with(service, move |log| Planted::new(log, mistake))
                .unwrap();
            for round in 0..4 {
                feed(world, &IN, 20 * round..20 * (round + 1));
                world.run().unwrap();
            }
        });
    }));
    let failed = failed.unwrap_err();
    failed.downcast_ref::<String>().unwrap().clone()
}

#[test]
fn a_commit_after_a_loss_is_found() {
    let said = verdict(Start::Earliest, Mistake::CommitsAfterLoss);
    assert!(
        said.ends_with(" without holding the partition") && said.contains(" committed in["),
        "{said}"
    );
}

#[test]
fn a_release_before_the_drain_is_found() {
    let said = verdict(Start::Earliest, Mistake::ReleasesBeforeDrain);
    assert!(
        said.ends_with(" without holding the partition") && said.contains(" committed in["),
        "{said}"
    );
}

#[test]
fn a_replay_on_an_old_state_is_found() {
    let said = verdict(Start::Earliest, Mistake::RepeatsRecords);
    assert!(said.ends_with(" on the same state"), "{said}");
}

#[test]
fn a_start_that_nobody_commits_is_found() {
    let said = verdict(Start::Latest, Mistake::KeepsStartSecret);
    assert!(said.ends_with(" was handled and never committed"), "{said}");
}

#[test]
fn a_partition_that_stays_paused_is_found() {
    let said = verdict(Start::Earliest, Mistake::NeverResumes);
    assert!(
        said.contains("not done after 4 virtual hours: group `copier` has committed "),
        "{said}"
    );
}

#[test]
fn a_partition_that_has_records_and_gives_none_is_counted() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let stalled = || {
        let text = recorder.handle().render();
        let name = crate::metrics::PARTITIONS_STALLED;
        let mut lines = text.lines().filter(|line| line.starts_with(name));
        lines
            .next()
            .and_then(|line| line.rsplit(' ').next()?.parse().ok())
    };
    metrics::with_local_recorder(&recorder, || {
        let mut world = World::new();
        world
            .start_with(copier(), |log| Planted::new(log, Mistake::NeverResumes))
            .unwrap();
        world.advance(Duration::from_secs(120)).unwrap();
        assert_eq!(stalled(), Some(0.0), "nothing is there to be read");
        // The first number waits for a retry; after it nobody resumes the partition.
        world.record(&IN, "a", &5).partition(Partition(1)).send();
        world.advance(Duration::from_secs(120)).unwrap();
        assert_eq!(stalled(), Some(0.0), "all is read");
        world.record(&IN, "a", &6).partition(Partition(1)).send();
        world.advance(Duration::from_secs(120)).unwrap();
        assert_eq!(stalled(), Some(1.0));
    });
}
