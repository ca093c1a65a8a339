//! Planted bugs: for each kind of fault a mistake that a worker could make of it. The simulation has to find every one.
//!
//! The mistake is put between the worker and its log, so that the worker does the wrong thing as far as the cluster can see.
//! Each story also runs without the mistake, so that what is found is the mistake.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;

use super::{COUNTS, IN, assert_done_is_committed, copied, copier, feed, retrying_copier};
use crate::error::{Class, Error, ProcessError};
use crate::log::simulation::SimulatedLog;
use crate::log::{Begin, Event, Log, Message as _, Outgoing, SendError, Token};
use crate::testing::world::Running;
use crate::testing::{Faults, World, simulate_with};
use crate::topic::NextOffset;
use crate::{Context, OnError, OpenRecord, Partition, Record, Service, Start, TopicPartition};

/// What a worker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    CommitsOneTooFar,
    CommitsBack,
    CommitsWhatWasRead,
    CommitsAfterLoss,
    TakesRefusedCommitsForApplied,
    GivesUpRefusedCommits,
    ReleasesBeforeDrain,
    TakesFailedReleasesForDone,
    RepeatsRecords,
    TakesFailedSeeksForDone,
    NeverSeeks,
    NeverResumes,
    KeepsPausesOverRebalances,
    KeepsStartSecret,
    IgnoresNewPartitions,
    KeepsPositions,
    TakesFailuresForDeliveries,
    SwapsEffects,
    BlamesWholeBatches,
    BlamesRecordsForTheClient,
}

/// A log with a mistake planted in it.
struct Planted {
    log: SimulatedLog,
    mistake: Mistake,
    read: RefCell<BTreeMap<TopicPartition, NextOffset>>,
    released: RefCell<BTreeSet<TopicPartition>>,
    polls: Cell<u32>,
    /// Partitions were admitted, and none resumed since.
    is_admitted: Cell<bool>,
    held_back: RefCell<Option<HeldBack>>,
}

/// A record that is sent after the next one.
struct HeldBack {
    topic: String,
    partition: Option<Partition>,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    token: Token,
}

impl Planted {
    fn new(log: SimulatedLog, mistake: Mistake) -> Planted {
        Planted {
            log,
            mistake,
            read: RefCell::default(),
            released: RefCell::default(),
            polls: Cell::default(),
            is_admitted: Cell::default(),
            held_back: RefCell::default(),
        }
    }

    fn offsets(
        &self,
        offsets: &[(TopicPartition, NextOffset)],
    ) -> Vec<(TopicPartition, NextOffset)> {
        let read = self.read.borrow();
        let mistaken = |(partition, offset): &(TopicPartition, NextOffset)| {
            let at = offset.get();
            let offset = match self.mistake {
                Mistake::CommitsOneTooFar => NextOffset::new(at + 1),
                Mistake::CommitsBack if at > 9 => NextOffset::new(at - 8),
                Mistake::CommitsWhatWasRead => read.get(partition).copied().unwrap_or(*offset),
                _ => *offset,
            };
            (partition.clone(), offset)
        };
        offsets.iter().map(mistaken).collect()
    }

    /// The class of a failure as the mistake has it.
    fn classified(&self, error: Error) -> Error {
        let class = match (self.mistake, error.class()) {
            (Mistake::BlamesWholeBatches, Class::Abortable)
            | (Mistake::BlamesRecordsForTheClient, Class::Fatal) => Class::Refused,
            (Mistake::GivesUpRefusedCommits, _) => Class::Fenced,
            (_, class) => class,
        };
        match error {
            Error::Kafka {
                action,
                reason,
                outcome,
                ..
            } => Error::Kafka {
                action,
                reason,
                class,
                outcome,
            },
            error => error,
        }
    }

    fn committed(&self, result: Result<(), Error>) -> Result<(), Error> {
        match self.mistake {
            Mistake::TakesRefusedCommitsForApplied => Ok(()),
            Mistake::GivesUpRefusedCommits => result.map_err(|error| self.classified(error)),
            _ => result,
        }
    }

    fn took(&self, record: &<SimulatedLog as Log>::Message<'_>) {
        let partition = TopicPartition::new(record.topic(), record.partition());
        self.polls.set(self.polls.get() + 1);
        if self.mistake == Mistake::RepeatsRecords && self.polls.get().is_multiple_of(7) {
            let _ = self.log.seek(&partition, NextOffset::at(record.offset()));
        }
        let next = record.offset().next();
        self.read.borrow_mut().insert(partition, next);
    }

    fn send_held_back(&self) {
        let Some(held) = self.held_back.borrow_mut().take() else {
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

impl Log for Planted {
    type Message<'a> = <SimulatedLog as Log>::Message<'a>;

    fn poll(&self, wait: Duration) -> Result<Event<Self::Message<'_>>, Error> {
        let mut event = self.log.poll(wait)?;
        match (&mut event, self.mistake) {
            (Event::Record(record), _) => self.took(record),
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
            (Event::Assigned(partitions), Mistake::IgnoresNewPartitions) => {
                partitions.retain(|partition| partition.partition.0 < 4);
            }
            (Event::Committed { result, .. }, _) => {
                let asked = std::mem::replace(result, Ok(()));
                *result = self.committed(asked);
            }
            _ => {}
        }
        Ok(event)
    }

    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        let mut begins = self.log.admit(partitions)?;
        self.is_admitted.set(true);
        for (partition, begin) in &mut begins {
            if let (Mistake::KeepsStartSecret, Begin::Chosen(offset)) = (self.mistake, *begin) {
                *begin = Begin::Committed(offset);
            }
            if self.mistake == Mistake::KeepsPositions
                && let Some(position) = self.read.borrow().get(partition)
            {
                let _ = self.log.seek(partition, *position);
            }
        }
        Ok(begins)
    }

    fn begin_again(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        self.log.begin_again(partitions)
    }

    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut released = self.released.borrow_mut();
        if partitions
            .iter()
            .all(|partition| released.remove(partition))
        {
            return Ok(());
        }
        let result = self.log.release(partitions);
        if self.mistake == Mistake::TakesFailedReleasesForDone {
            return Ok(());
        }
        result
    }

    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        if self.mistake == Mistake::SwapsEffects && self.held_back.borrow().is_none() {
            *self.held_back.borrow_mut() = Some(HeldBack {
                topic: record.topic.to_owned(),
                partition: record.partition,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                token,
            });
            return Ok(());
        }
        let sent = self.log.send(record, token);
        sent.map_err(|error| match error {
            SendError::Failed(error) => SendError::Failed(self.classified(error)),
            SendError::Full => SendError::Full,
        })?;
        self.send_held_back();
        Ok(())
    }

    fn reports(&self, wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>)) {
        self.log.reports(wait, &mut |token, result| {
            let result = result.map_err(|error| self.classified(error));
            let is_forgiven = self.mistake == Mistake::TakesFailuresForDeliveries;
            each(token, if is_forgiven { Ok(()) } else { result });
        });
    }

    fn in_flight_bytes(&self) -> usize {
        self.log.in_flight_bytes()
    }

    fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.log.commit(&self.offsets(offsets))
    }

    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.committed(self.log.commit_now(&self.offsets(offsets)))
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        self.log.pause(partitions);
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        let after_admission = self.is_admitted.replace(false);
        match self.mistake {
            Mistake::NeverResumes => {}
            Mistake::KeepsPausesOverRebalances if after_admission => {}
            _ => self.log.resume(partitions),
        }
    }

    fn seek(&self, partition: &TopicPartition, offset: NextOffset) -> Result<(), Error> {
        match self.mistake {
            Mistake::NeverSeeks => Ok(()),
            Mistake::TakesFailedSeeksForDone => {
                let _ = self.log.seek(partition, offset);
                Ok(())
            }
            _ => self.log.seek(partition, offset),
        }
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

/// The text with which a story fails when its service has a mistake, under one of a hundred seeds. Without it, it passes.
#[track_caller]
fn found<S: 'static>(
    mistake: Mistake,
    faults: Faults,
    service: impl Fn() -> Service<S>,
    story: impl Fn(&mut World, Running),
) -> String {
    let run = |seeds: std::ops::Range<u64>, mistake| {
        simulate_with(seeds, faults, |world| {
            let running = world
                .start_with(service(), move |log| Planted::new(log, mistake))
                .unwrap();
            story(world, running);
        });
    };
    run(0..5, Mistake::None);
    let failed = catch_unwind(AssertUnwindSafe(|| run(0..100, mistake)));
    let failed = failed.expect_err("the mistake is found");
    failed.downcast_ref::<String>().unwrap().clone()
}

/// Records in four rounds, each to its end.
fn rounds(world: &mut World, _: Running) {
    for round in 0..4 {
        feed(world, &IN, 20 * round..20 * (round + 1));
        world.run().unwrap();
    }
}

/// The same, with a rebalance in the middle of each round.
fn rounds_with_rebalances(world: &mut World, running: Running) {
    for round in 0..4 {
        feed(world, &IN, 20 * round..20 * (round + 1));
        for _ in 0..4 {
            world.advance(Duration::from_millis(30)).unwrap();
            world.rebalance(running);
        }
        world.run().unwrap();
    }
}

/// Records one after the other, so that there is always something under way.
fn stream(world: &mut World, _: Running) {
    for round in 0..200 {
        feed(world, &IN, 8 * round..8 * (round + 1));
        world.advance(Duration::from_millis(5)).unwrap();
    }
}

fn two_copiers() -> Service<u64> {
    copier().threads(2)
}

fn two_retrying() -> Service<u64> {
    retrying_copier().threads(2)
}

#[test]
fn a_commit_one_too_far_is_found() {
    let text = found(
        Mistake::CommitsOneTooFar,
        Faults::all(),
        two_copiers,
        rounds,
    );
    assert!(text.contains(" is not done: "), "{text}");
}

#[test]
fn a_commit_that_goes_back_is_found() {
    let text = found(Mistake::CommitsBack, Faults::all(), two_copiers, rounds);
    assert!(
        text.contains(" committed in[") && text.contains(" back from "),
        "{text}"
    );
}

#[test]
fn a_commit_after_a_loss_is_found() {
    let mistake = Mistake::CommitsAfterLoss;
    let text = found(mistake, Faults::all(), two_retrying, rounds);
    assert!(
        text.ends_with(" without holding the partition") && text.contains(" committed in["),
        "{text}"
    );
}

#[test]
fn a_commit_refused_in_a_rebalance_and_taken_for_applied_is_found() {
    let faults = Faults {
        unsettled_group: 1.0,
        late_commit: 0.5,
        ..Faults::none()
    };
    let mistake = Mistake::TakesRefusedCommitsForApplied;
    let text = found(mistake, faults, two_copiers, rounds_with_rebalances);
    assert!(
        text.contains("not done after 4 virtual hours: group `copier` has committed "),
        "{text}"
    );
}

#[test]
fn a_commit_refused_in_a_rebalance_and_never_repeated_is_found() {
    let faults = Faults {
        unsettled_group: 1.0,
        ..Faults::none()
    };
    let service = || two_copiers().drain_within(Duration::from_secs(10));
    let text = found(
        Mistake::GivesUpRefusedCommits,
        faults,
        service,
        |world, running| {
            feed(world, &IN, 0..60);
            world.advance(Duration::from_millis(1_500)).unwrap();
            world.rebalance(running);
            world.stop(running).unwrap();
            assert_done_is_committed(world, running);
        },
    );
    assert!(text.contains("what was done is not committed"), "{text}");
}

#[test]
fn a_release_before_the_drain_is_found() {
    let mistake = Mistake::ReleasesBeforeDrain;
    let text = found(mistake, Faults::all(), two_retrying, rounds);
    assert!(
        text.ends_with(" without holding the partition") && text.contains(" committed in["),
        "{text}"
    );
}

#[test]
fn a_failed_release_taken_for_done_is_found() {
    let faults = Faults {
        failed_release: 0.5,
        ..Faults::none()
    };
    let mistake = Mistake::TakesFailedReleasesForDone;
    let text = found(mistake, faults, two_copiers, rounds_with_rebalances);
    assert!(text.contains("not done after 4 virtual hours: "), "{text}");
}

#[test]
fn a_replay_on_an_old_state_is_found() {
    let mistake = Mistake::RepeatsRecords;
    let text = found(mistake, Faults::all(), two_retrying, rounds);
    assert!(text.ends_with(" on the same state"), "{text}");
}

/// Records were left out: the next one is handled before them, or there is none and they are never committed.
fn is_a_gap(text: &str) -> bool {
    (text.contains(" was handled before in[") && text.ends_with(" ever was"))
        || text.contains("not done after 4 virtual hours: group `copier` has committed ")
}

#[test]
fn a_record_that_came_after_a_pause_and_was_dropped_is_found() {
    let faults = Faults {
        late_record: 1.0,
        ..Faults::none()
    };
    let text = found(Mistake::NeverSeeks, faults, retrying_copier, rounds);
    assert!(is_a_gap(&text), "{text}");
}

#[test]
fn a_failed_seek_taken_for_done_is_found() {
    let faults = Faults {
        late_record: 1.0,
        failed_seek: 0.5,
        ..Faults::none()
    };
    let mistake = Mistake::TakesFailedSeeksForDone;
    let text = found(mistake, faults, retrying_copier, rounds);
    assert!(is_a_gap(&text), "{text}");
}

#[test]
fn a_partition_that_stays_paused_is_found() {
    let text = found(Mistake::NeverResumes, Faults::all(), two_retrying, rounds);
    assert!(
        text.contains("not done after 4 virtual hours: group `copier` has committed "),
        "{text}"
    );
}

#[test]
fn a_pause_that_outlives_a_rebalance_is_found() {
    let mistake = Mistake::KeepsPausesOverRebalances;
    let faults = Faults::none();
    let text = found(mistake, faults, two_retrying, rounds_with_rebalances);
    assert!(
        text.contains("not done after 4 virtual hours: group `copier` has committed "),
        "{text}"
    );
}

#[test]
fn a_start_that_nobody_commits_is_found() {
    let service = || two_retrying().start_from(Start::Latest);
    let text = found(Mistake::KeepsStartSecret, Faults::all(), service, rounds);
    assert!(text.ends_with(" was handled and never committed"), "{text}");
}

#[test]
fn new_partitions_that_nobody_reads_are_found() {
    let story = |world: &mut World, _| {
        feed(world, &IN, 0..30);
        world.run().unwrap();
        world.resize("in", 7);
        feed(world, &IN, 30..60);
        world.run().unwrap();
    };
    let mistake = Mistake::IgnoresNewPartitions;
    let text = found(mistake, Faults::none(), two_copiers, story);
    assert!(
        text.contains("not done after 4 virtual hours: group `copier` has not begun with in["),
        "{text}"
    );
}

#[test]
fn a_position_kept_from_a_topic_that_vanished_is_found() {
    let story = |world: &mut World, _| {
        feed(world, &IN, 0..30);
        world.run().unwrap();
        world.resize("in", 0);
        world.advance(Duration::from_secs(5)).unwrap();
        feed(world, &IN, 30..200);
        world.resize("in", 4);
        world.run().unwrap();
    };
    let mistake = Mistake::KeepsPositions;
    let text = found(mistake, Faults::none(), two_copiers, story);
    assert!(is_a_gap(&text), "{text}");
}

fn is_an_unacknowledged_effect(text: &str) -> bool {
    text.ends_with(" of its 1 effects are acknowledged")
        || text.ends_with(" of its 2 effects are acknowledged")
}

#[test]
fn a_failed_delivery_taken_for_a_success_is_found() {
    let mistake = Mistake::TakesFailuresForDeliveries;
    let text = found(mistake, Faults::all(), two_copiers, rounds);
    assert!(is_an_unacknowledged_effect(&text), "{text}");
}

#[test]
fn a_delivery_given_up_in_a_long_outage_and_taken_for_a_success_is_found() {
    let story = |world: &mut World, _| {
        feed(world, &IN, 0..100);
        world.advance(Duration::from_millis(5)).unwrap();
        world.simulation.outage(Duration::from_secs(3_600));
        world.run().unwrap();
    };
    let mistake = Mistake::TakesFailuresForDeliveries;
    let text = found(mistake, Faults::none(), two_copiers, story);
    assert!(is_an_unacknowledged_effect(&text), "{text}");
}

#[test]
fn a_client_that_failed_for_good_and_is_used_on_is_found() {
    let faults = Faults {
        fatal_send: 0.05,
        ..Faults::none()
    };
    let mistake = Mistake::TakesFailuresForDeliveries;
    let text = found(mistake, faults, two_copiers, rounds);
    assert!(is_an_unacknowledged_effect(&text), "{text}");
}

fn dead_lettering() -> Service<u64> {
    copier().on_error(OnError::dead_letter().dead_letter_limit(1.0))
}

#[test]
fn a_record_blamed_for_a_client_that_failed_for_good_is_found() {
    let faults = Faults {
        fatal_send: 0.05,
        ..Faults::none()
    };
    let mistake = Mistake::BlamesRecordsForTheClient;
    let text = found(mistake, faults, dead_lettering, rounds);
    assert!(
        text.ends_with(" for a refusal that was not of its effects"),
        "{text}"
    );
}

#[test]
fn a_record_blamed_for_the_refusal_of_its_batch_is_found() {
    let faults = Faults {
        refused_batch: 0.2,
        ..Faults::none()
    };
    let mistake = Mistake::BlamesWholeBatches;
    let text = found(mistake, faults, dead_lettering, rounds);
    assert!(
        text.ends_with(" for a refusal that was not of its effects"),
        "{text}"
    );
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
    let service = || {
        Service::new("keeper", Vec::new)
            .input(&IN, keep)
            .commit_every(Duration::from_millis(1))
    };
    let mistake = Mistake::CommitsWhatWasRead;
    let text = found(mistake, Faults::none(), service, stream);
    assert!(text.ends_with(" is not done: it is kept open"), "{text}");
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
    let mistake = Mistake::CommitsWhatWasRead;
    let text = found(mistake, Faults::none(), service, stream);
    assert!(text.contains("the effects of a timer before "), "{text}");
}

#[test]
fn effects_in_another_order_than_they_were_emitted_are_found() {
    let text = found(Mistake::SwapsEffects, Faults::none(), copier, stream);
    assert!(text.ends_with(" after what it emitted later"), "{text}");
}

/// What no oracle can judge, a running service reports itself.
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
            .start_with(retrying_copier(), |log| {
                Planted::new(log, Mistake::NeverResumes)
            })
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

/// The story of the planted bugs alone says nothing of what the outputs must be.
#[test]
fn without_a_mistake_the_stories_lose_nothing() {
    simulate_with(0..20, Faults::all(), |world| {
        let log = |log| Planted::new(log, Mistake::None);
        let running = world.start_with(two_retrying(), log).unwrap();
        rounds_with_rebalances(world, running);
        assert_eq!(copied(world), (0..80).collect());
    });
}
