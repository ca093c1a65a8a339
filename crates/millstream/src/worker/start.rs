//! Where a group begins at the end of a partition, and what becomes of a position that is not on the cluster.
//!
//! A start at the end is committed before any record after it is handled: a successor that found nothing committed, or a position
//! that is gone, would begin at an end of its own, later than this one, and what was under way would be lost. The first attempt is
//! waited for; partitions for which it fails stand still until a commit of the schedule has passed, and those of which nobody says
//! where they end until it is known. No other partition waits for them.

use std::time::Duration;

use crate::error::{Class, Error};
use crate::log::{Begin, Log};
use crate::policy::Start;
use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

use super::Core;
use super::partition::StartOfGroup;

/// Between two questions where a group begins: a leader that is away may hold up the worker for a second each time.
const ASK_AGAIN: Duration = Duration::from_secs(5);

impl<S> Core<S> {
    /// Commits where the group begins in these partition numbers, all at once, if that is still to be done.
    pub(super) fn commit_starts<L: Log>(&mut self, log: &L, partitions: &[Partition]) {
        let mut starts = Vec::new();
        for partition in partitions {
            let slots = self.table.slots_of(*partition).into_iter();
            let slots = slots.filter_map(|id| self.table.slot(id));
            let starting = slots.filter(|slot| slot.is_starting());
            starts.extend(starting.map(|slot| slot.source.clone()));
        }
        if starts.is_empty() {
            return;
        }
        if let Err(error) = self.commit_and_wait(log, &starts) {
            // No permission: it never passes, and nothing would ever be handled.
            if error.class() == Class::Fatal {
                return self.fail(error);
            }
            self.commit_soon();
        }
        self.started(log, partitions);
    }

    /// Takes up where the group begins in a partition.
    pub(super) fn begins_at<L: Log>(&mut self, log: &L, source: &TopicPartition, begin: Begin) {
        let is_latest = self.definition.settings.start == Start::Latest;
        let id = self.slot_of_source(source).map(|slot| slot.id);
        let Some(slot) = id.and_then(|id| self.table.slot_mut(id)) else {
            return;
        };
        slot.positions.begins = begin.offset();
        slot.positions.start = StartOfGroup::Fixed;
        match begin {
            Begin::Committed(offset) => slot.positions.committed = Some(offset),
            // From the start a successor begins where this member does; from the end it would begin later.
            Begin::Chosen(offset) if is_latest => slot.begin_at(offset),
            Begin::Chosen(_) => {}
            Begin::Unknown => {
                slot.positions.start = StartOfGroup::Unknown;
                self.schedule.next_ask = Some(self.now.plus(ASK_AGAIN));
            }
            Begin::Refused { start, end } => self.out_of_range(log, source, None, (start, end)),
        }
    }

    /// Asks again where the group begins, where that was not known.
    pub(super) fn ask_starts<L: Log>(&mut self, log: &L) {
        if self.schedule.next_ask.is_none_or(|next| self.now < next) {
            return;
        }
        self.schedule.next_ask = None;
        let slots = self.table.slots();
        let unknown = slots.filter(|slot| slot.positions.start == StartOfGroup::Unknown);
        let unknown: Vec<_> = unknown.map(|slot| slot.source.clone()).collect();
        if unknown.is_empty() {
            return;
        }
        let begins = match log.begin_again(&unknown) {
            Ok(begins) => begins,
            Err(error) if error.class() == Class::Fatal => return self.fail(error),
            Err(error) => {
                tracing::warn!(service = %self.definition.name, error = %error, "the cluster does not tell where to start, trying again");
                self.schedule.next_ask = Some(self.now.plus(ASK_AGAIN));
                return;
            }
        };
        for (source, begin) in begins {
            self.begins_at(log, &source, begin);
            let id = self.slot_of_source(&source).map(|slot| slot.id);
            if let (Some(slot), true) = (
                id.and_then(|id| self.table.slot_mut(id)),
                begin != Begin::Unknown,
            ) {
                // What came meanwhile lies before it, or comes again.
                slot.positions.missed = None;
            }
        }
        if !self.is_stopping() {
            let partitions: Vec<_> = unknown.iter().map(|source| source.partition).collect();
            self.commit_starts(log, &partitions);
            self.started(log, &partitions);
        }
    }

    /// After a commit: partitions whose start is not committed stand still, those whose start is take records, unless they have
    /// another reason to stand still.
    pub(super) fn started<L: Log>(&mut self, log: &L, partitions: &[Partition]) {
        for partition in partitions {
            let is_starting = self.table.slots_of(*partition).into_iter().any(|id| {
                let slot = self.table.slot(id);
                slot.is_some_and(|slot| slot.is_starting())
            });
            let Some(unit) = self.table.unit_mut(*partition) else {
                continue;
            };
            let was_starting = std::mem::replace(&mut unit.is_starting, is_starting);
            if is_starting && !was_starting {
                log.pause(&self.table.sources(*partition));
            }
            // What is paused for backpressure is resumed with everything else.
            let is_started = was_starting && self.is_free(*partition);
            if is_started && !self.sending.paused_for_backpressure {
                self.go_on(log, *partition);
            }
        }
        self.count_held();
        self.schedule_ticks();
    }

    pub(super) fn is_any_starting(&self) -> bool {
        self.schedule.held > 0 && self.table.units().any(|(_, unit)| unit.is_starting)
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
        let wanted = self.go_on_from(partition, wanted, resumed);
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

    /// Records that came while the partition was held cannot be read again: it goes on at `resumed`. Returns the first record that
    /// is left out.
    fn go_on_from(
        &mut self,
        source: &TopicPartition,
        wanted: NextOffset,
        resumed: NextOffset,
    ) -> NextOffset {
        let id = self.slot_of_source(source).map(|slot| slot.id);
        let slot = id.and_then(|id| self.table.slot_mut(id));
        let missed = slot.and_then(|slot| slot.positions.missed.as_mut());
        missed.map_or(wanted, |missed| {
            let first = std::mem::replace(missed, Offset::new(resumed.get()));
            NextOffset::at(first).min(wanted)
        })
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
        slot.positions.seen = None;
        slot.activity.end = Some(end);
        if slot.ring.watermark().is_none() {
            slot.positions.begins = Some(start);
        }
        if let Some(share) = self.dead_letters.get_mut(slot.input) {
            share.forget(source.partition);
        }
        let next = slot.ring.watermark().or(slot.positions.committed);
        // A successor finds its position on the cluster and loses nothing.
        let is_there = next.is_some_and(|next| start <= next && next <= end);
        if self.definition.settings.start == Start::Latest && !is_there {
            slot.begin_at(end);
            self.commit_starts(log, &[source.partition]);
        }
    }
}
