//! Partitions that ought to move and do not.
//!
//! A partition that is held, has records and gives none, though nothing keeps it, is a fault: of the client, of the cluster
//! or of this engine. Nothing else would show it: its member is in the group and its worker is at work. Those that gave
//! nothing for a while are asked about; the cluster knows whether they have records. Nothing is mended here: it is counted
//! and logged, once for each time that a partition stalls.

use std::collections::HashMap;
use std::time::Duration;

use crate::log::Log;
use crate::topic::{NextOffset, TopicPartition};

use super::Core;
use super::partition::{Slot, SlotId};

/// A partition that gave nothing for so long is asked about.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// How often is looked for such partitions.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(10);

impl<S> Core<S> {
    /// Looks for partitions that have records and give none.
    pub(super) fn look_for_stalled<L: Log>(&mut self, log: &L) {
        if self.now < self.schedule.next_watch {
            return;
        }
        self.schedule.next_watch = self.now.plus(LOOK_EVERY);
        let (suspects, kept) = self.suspects();
        for (id, end) in self.ends(log, &kept) {
            if let Some(slot) = self.table.slot_mut(id) {
                slot.activity.end = end.or(slot.activity.end);
            }
        }
        for (id, end) in self.ends(log, &suspects) {
            let Some(slot) = self.table.slot_mut(id) else {
                continue;
            };
            let Some(end) = end else {
                slot.activity.moved = self.now;
                continue;
            };
            slot.activity.end = Some(end);
            if !std::mem::replace(&mut slot.activity.stalled, true) {
                tracing::warn!(
                    service = %self.definition.name,
                    topic = %slot.source.topic,
                    partition = slot.source.partition.0,
                    committed = slot.positions.committed.map(|offset| offset.get()),
                    end = end.get(),
                    still_s = self.now.since(slot.activity.moved).as_secs(),
                    "partition has records and gives none"
                );
            }
        }
        self.count_stalled();
    }

    /// The ends of those that have records which were not polled yet. A partition without a leader fails the question for all:
    /// then they are asked about one by one, and the one that is to blame has its time begin later.
    fn ends<L: Log>(&mut self, log: &L, slots: &[SlotId]) -> Vec<(SlotId, Option<NextOffset>)> {
        if slots.is_empty() {
            return Vec::new();
        }
        let found = slots.iter().filter_map(|id| self.table.slot(*id));
        let sources: Vec<TopicPartition> = found.map(|slot| slot.source.clone()).collect();
        if let Ok(unread) = log.unread(&sources) {
            let unread: HashMap<_, _> = unread.into_iter().collect();
            let ends = slots.iter().zip(sources);
            return ends
                .map(|(id, source)| (*id, unread.get(&source).copied()))
                .collect();
        }
        let mut ends = Vec::new();
        for (id, source) in slots.iter().zip(sources) {
            match log.unread(std::slice::from_ref(&source)) {
                Ok(unread) => ends.push((*id, unread.first().map(|(_, end)| *end))),
                // A question that fails may have taken a second: the rest is asked about at the next look.
                Err(error) => {
                    tracing::debug!(topic = %source.topic, partition = source.partition.0, error = %error, "the end of a partition is not known");
                    if let Some(slot) = self.table.slot_mut(*id) {
                        slot.activity.moved = self.now;
                    }
                    break;
                }
            }
        }
        ends
    }

    /// Slots that gave nothing for long though nothing keeps them, and those that are kept, whose time begins later.
    fn suspects(&mut self) -> (Vec<SlotId>, Vec<SlotId>) {
        let slots = self.table.slots();
        let (wanted, kept): (Vec<_>, Vec<_>) =
            slots.partition(|slot| !self.sending.paused_for_backpressure && self.table.wants(slot));
        let is_late = |slot: &&Slot| self.now.since(slot.activity.moved) >= STALLED_AFTER;
        let suspects = wanted.into_iter().filter(is_late).map(|slot| slot.id);
        let suspects = suspects.collect();
        let kept: Vec<SlotId> = kept.into_iter().map(|slot| slot.id).collect();
        for id in &kept {
            if let Some(slot) = self.table.slot_mut(*id) {
                slot.activity.moved = self.now;
            }
        }
        (suspects, kept)
    }

    fn count_stalled(&mut self) {
        let mut stalled = 0_u32;
        for slot in self.table.slots_mut() {
            slot.activity.stalled &= self.now.since(slot.activity.moved) >= STALLED_AFTER;
            stalled += u32::from(slot.activity.stalled);
        }
        self.meters.stalled.set(f64::from(stalled));
    }
}
