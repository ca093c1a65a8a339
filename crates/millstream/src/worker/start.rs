//! Where a group begins at the end of a partition, and what becomes of a position that is not on the cluster.
//!
//! A start at the end is committed before any record after it is handled: a successor that found nothing committed, or a position
//! that is gone, would begin at an end of its own, later than this one, and what was under way would be lost. Partitions for
//! which that fails, or of which nobody says where they end, stand still until it is done; the others go on.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::{Class, Error};
use crate::log::{Begin, Log};
use crate::policy::Start;
use crate::topic::{NextOffset, Partition, TopicPartition};

use super::Core;
use super::partition::Hold;

/// Between two attempts to commit where the group begins.
const COMMIT_AGAIN: Duration = Duration::from_millis(500);

/// Between two questions where that is: a leader that is away may hold up the worker for a second each time.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl<S> Core<S> {
    /// Commits where the group begins in these partition numbers, all at once.
    pub(super) fn commit_starts<L: Log>(&mut self, log: &L, partitions: &[Partition]) {
        let partitions: HashSet<Partition> = partitions.iter().copied().collect();
        let slots = self.table.slots();
        let starts: Vec<_> = slots
            .filter(|slot| slot.is_starting())
            .filter(|slot| partitions.contains(&slot.source.partition))
            .map(|slot| slot.source.clone())
            .collect();
        match self.commit_and_wait(log, &starts) {
            Ok(()) => {}
            // No permission: it never passes, and nothing would ever be handled.
            Err(error) if error.class() == Class::Fatal => return self.fail(error),
            Err(_) => {}
        }
        for source in starts {
            let slot = self.slot_of_source(&source);
            if let Some(slot) = slot.filter(|slot| slot.is_starting()) {
                let wait = match slot.positions.begins_unknown {
                    true => ASK_AGAIN,
                    false => COMMIT_AGAIN,
                };
                let again = self.now.plus(wait);
                self.hold(log, source.partition, Hold::Starting(again));
            }
        }
    }

    /// Takes up where the group begins in a partition.
    pub(super) fn begins_at<L: Log>(&mut self, log: &L, source: &TopicPartition, begin: Begin) {
        let is_latest = self.definition.settings.start == Start::Latest;
        let id = self.slot_of_source(source).map(|slot| slot.id);
        let Some(slot) = id.and_then(|id| self.table.slot_mut(id)) else {
            return;
        };
        slot.positions.begins_unknown = begin == Begin::Unknown;
        match begin {
            Begin::Committed(offset) => slot.positions.committed = Some(offset),
            // From the start a successor begins where this member does; from the end it would begin later.
            Begin::Chosen(offset) if is_latest => slot.positions.begins = Some(offset),
            Begin::Chosen(_) | Begin::Unknown => {}
            Begin::Refused { start, end } => self.out_of_range(log, source, None, (start, end)),
        }
    }

    /// Asks again where the group begins, where that was not known.
    fn ask_starts<L: Log>(&mut self, log: &L, partitions: &[Partition]) {
        let slots = self.table.slots();
        let unknown = slots.filter(|slot| {
            slot.positions.begins_unknown && partitions.contains(&slot.source.partition)
        });
        let unknown: Vec<_> = unknown.map(|slot| slot.source.clone()).collect();
        if unknown.is_empty() {
            return;
        }
        let begins = match log.begin_again(&unknown) {
            Ok(begins) => begins,
            Err(error) if error.class() == Class::Fatal => return self.fail(error),
            Err(error) => {
                tracing::warn!(service = %self.definition.name, error = %error, "the cluster does not tell where to start, trying again");
                return;
            }
        };
        for (source, begin) in begins {
            self.begins_at(log, &source, begin);
            let id = self.slot_of_source(&source).map(|slot| slot.id);
            if let Some(slot) = id
                .and_then(|id| self.table.slot_mut(id))
                .filter(|slot| !slot.positions.begins_unknown)
            {
                // What came meanwhile lies before it, or comes again.
                slot.positions.missed = None;
            }
        }
    }

    /// Tries again to commit where the group begins, and reads on where that is done.
    pub(super) fn start_again<L: Log>(&mut self, log: &L, partitions: &[Partition]) {
        if partitions.is_empty() || self.is_stopping() {
            return;
        }
        self.ask_starts(log, partitions);
        if self.is_stopping() {
            return;
        }
        for partition in partitions {
            if let Some(unit) = self.table.unit_mut(*partition) {
                unit.hold = Hold::Free;
            }
        }
        self.commit_starts(log, partitions);
        for partition in partitions {
            if self.is_free(*partition) {
                self.go_on(log, *partition);
            }
        }
    }

    /// Counts what was lost, with the exact gap; stops where the service asked for that.
    pub(super) fn out_of_range<L: Log>(
        &mut self,
        log: &L,
        partition: &TopicPartition,
        wanted: Option<NextOffset>,
        range: (NextOffset, NextOffset),
    ) {
        let (start, end) = range;
        let policy = self.definition.settings.start;
        if policy == Start::Fail {
            let service = self.definition.name.to_string();
            let wanted = wanted.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
            return self.fail(Error::OutOfRange {
                service,
                partition: partition.clone(),
                wanted,
                start: start.get(),
                end: end.get(),
            });
        }
        let Some(wanted) = wanted else { return };
        let resumed = if policy == Start::Latest { end } else { start };
        let gap = resumed.get().saturating_sub(wanted.get());
        let lost = u64::try_from(gap).unwrap_or(0);
        self.meters.totals.lost += lost;
        let topic = &partition.topic;
        self.meters
            .count_topic(crate::metrics::POSITIONS_OUT_OF_RANGE, topic, 1);
        self.meters
            .count_topic(crate::metrics::RECORDS_LOST, topic, lost);
        tracing::error!(
            service = %self.definition.name,
            topic = %topic,
            partition = partition.partition.0,
            offset = wanted.get(),
            start = start.get(),
            end = end.get(),
            resumed = resumed.get(),
            lost,
            "the position is not on the cluster"
        );
        self.begin_anew(log, partition, range);
    }

    /// The client has gone to where it is set to start. Begun at the end, that is committed like the first start.
    fn begin_anew<L: Log>(
        &mut self,
        log: &L,
        source: &TopicPartition,
        (start, end): (NextOffset, NextOffset),
    ) {
        let id = self.slot_of_source(source).map(|slot| slot.id);
        let Some(slot) = id.and_then(|id| self.table.slot_mut(id)) else {
            return;
        };
        // These offsets may belong to other records now.
        slot.refused.clear();
        slot.narrowing = None;
        let next = slot.done().or(slot.positions.committed);
        // A successor finds its position on the cluster and loses nothing.
        let is_there = next.is_some_and(|next| start <= next && next <= end);
        if self.definition.settings.start == Start::Latest && !is_there {
            slot.begin_at(end);
            self.commit_starts(log, &[source.partition]);
        }
    }
}
