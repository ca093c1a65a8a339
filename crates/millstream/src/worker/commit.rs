//! When and what is committed.
//!
//! On schedule, the watermark of every partition is handed to the client and the flow goes on; the answer comes as an
//! event. One commit is under way at a time, so that answers cannot overtake each other. Before a partition is given
//! away, and at the end, its watermark is committed and waited for.

use std::time::Duration;

use crate::clock::Moment;
use crate::error::{Class, Error};
use crate::log::Log;
use crate::metrics::COMMITS_FAILED;
use crate::topic::{NextOffset, TopicPartition};

use super::Core;
use super::partition::StartOfGroup;

/// A commit that was not answered for so long is taken for lost; the next one covers it.
const LOST_AFTER: Duration = Duration::from_secs(60);

/// Between two attempts to commit where the group begins.
const START_AGAIN: Duration = Duration::from_millis(500);

/// When to commit next, and whether an answer is outstanding.
pub(super) struct Commits {
    next: Moment,
    every: Duration,
    asked: Option<Moment>,
}

impl Commits {
    pub(super) fn new(now: Moment, every: Duration) -> Self {
        Self {
            next: now.plus(every),
            every,
            asked: None,
        }
    }

    pub(super) const fn next(&self) -> Moment {
        self.next
    }
}

impl<S> Core<S> {
    /// Commits what is done, when it is time, without waiting.
    pub(super) fn commit_when_due<L: Log>(&mut self, log: &L) {
        if self.now < self.schedule.commits.next {
            return;
        }
        self.schedule.commits.next = self.now.plus(self.schedule.commits.every);
        if self.is_any_starting() {
            self.commit_soon();
        }
        let asked = self.schedule.commits.asked;
        if asked.is_some_and(|asked| self.now.since(asked) < LOST_AFTER) {
            return;
        }
        self.moved();
        let offsets = self.to_commit();
        if offsets.is_empty() {
            return;
        }
        match log.commit(&offsets) {
            Ok(()) => self.schedule.commits.asked = Some(self.now),
            Err(error) => self.commit_failed(&error),
        }
    }

    /// Commits what is done in some partitions and waits for the answer.
    ///
    /// # Errors
    /// What the cluster answered.
    pub(super) fn commit_and_wait<L: Log>(
        &mut self,
        log: &L,
        which: &[TopicPartition],
    ) -> Result<(), Error> {
        let slots = which
            .iter()
            .filter_map(|source| self.slot_of_source(source));
        let offsets: Vec<_> = slots
            .filter_map(|slot| Some((slot.source.clone(), slot.to_commit()?)))
            .collect();
        if offsets.is_empty() {
            return Ok(());
        }
        let result = log.commit_now(&offsets);
        match &result {
            Ok(()) => self.note(&offsets),
            Err(error) => self.commit_failed(error),
        }
        result
    }

    /// A start that is not committed does not wait for the schedule.
    pub(super) fn commit_soon(&mut self) {
        let soon = self.now.plus(START_AGAIN);
        self.schedule.commits.next = self.schedule.commits.next.min(soon);
    }

    /// An asynchronous commit was answered.
    pub(super) fn committed<L: Log>(
        &mut self,
        log: &L,
        offsets: &[(TopicPartition, NextOffset)],
        result: Result<(), Error>,
    ) {
        self.schedule.commits.asked = None;
        match result {
            Ok(()) => {
                self.note(offsets);
                let partitions = offsets.iter().map(|(source, _)| source.partition);
                self.started(log, &partitions.collect::<Vec<_>>());
            }
            Err(error) if error.class() == Class::Fatal && self.is_any_starting() => {
                self.fail(error);
            }
            Err(error) => {
                // Whatever was taken for committed goes with the next one.
                for slot in self.table.slots_mut() {
                    slot.positions.committed = None;
                }
                self.commit_failed(&error);
            }
        }
    }

    fn note(&mut self, offsets: &[(TopicPartition, NextOffset)]) {
        for (source, offset) in offsets {
            let id = self.slot_of_source(source).map(|slot| slot.id);
            if let Some(slot) = id.and_then(|id| self.table.slot_mut(id)) {
                slot.positions.committed = Some(*offset);
                if slot.positions.start == StartOfGroup::Uncommitted && slot.to_commit().is_none() {
                    slot.positions.start = StartOfGroup::Fixed;
                }
            }
        }
    }

    /// Nothing is lost: the offsets stay to be committed and go with the next commit.
    fn commit_failed(&mut self, error: &Error) {
        self.meters.count(COMMITS_FAILED);
        tracing::warn!(service = %self.definition.name, error = %error, "commit failed");
    }

    fn to_commit(&self) -> Vec<(TopicPartition, NextOffset)> {
        let slots = self.table.slots();
        slots
            .filter_map(|slot| Some((slot.source.clone(), slot.to_commit()?)))
            .collect()
    }

    /// A partition whose watermark moved gets its effects through again: its back-off starts anew.
    fn moved(&mut self) {
        let moved = self.table.slots().filter(|slot| slot.to_commit().is_some());
        let moved: Vec<_> = moved.map(|slot| slot.source.partition).collect();
        for partition in moved {
            if let Some(unit) = self.table.unit_mut(partition) {
                unit.rewinds = 0;
            }
        }
    }
}
