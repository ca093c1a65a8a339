//! Partitions that ought to move and do not.
//!
//! A partition that is held, has records and gives none, though nothing keeps it, is a fault: of the client, of the cluster
//! or of this engine. Nothing else would show it: its member is in the group and its worker is at work. Those that gave
//! nothing for a while are asked about; the cluster knows whether they have records. Nothing is mended here: it is counted
//! and logged, once for each time that a partition stalls.

use std::collections::HashMap;
use std::time::Duration;

use crate::log::Log;
use crate::topic::TopicPartition;

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
        let suspects = self.suspects();
        if suspects.is_empty() {
            return self.count_stalled();
        }
        let sources: Vec<TopicPartition> = suspects
            .iter()
            .filter_map(|id| Some(self.table.slot(*id)?.source.clone()))
            .collect();
        let unread: HashMap<_, _> = match log.unread(&sources) {
            Ok(unread) => unread.into_iter().collect(),
            // A cluster that does not answer is told of elsewhere, and is no partition's fault.
            Err(error) => {
                tracing::debug!(error = %error, "the ends of partitions are not known");
                return;
            }
        };
        for id in suspects {
            let Some(slot) = self.table.slot_mut(id) else {
                continue;
            };
            let Some(end) = unread.get(&slot.source) else {
                slot.activity.moved = self.now;
                continue;
            };
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

    /// Slots that gave nothing for long though nothing keeps them; the time of those that are kept begins later.
    fn suspects(&mut self) -> Vec<SlotId> {
        let slots = self.table.slots();
        let (wanted, kept): (Vec<_>, Vec<_>) =
            slots.partition(|slot| !self.sending.paused_for_backpressure && self.table.wants(slot));
        let is_late = |slot: &&Slot| self.now.since(slot.activity.moved) >= STALLED_AFTER;
        let suspects = wanted.into_iter().filter(is_late).map(|slot| slot.id);
        let suspects = suspects.collect();
        let kept: Vec<SlotId> = kept.into_iter().map(|slot| slot.id).collect();
        for id in kept {
            if let Some(slot) = self.table.slot_mut(id) {
                slot.activity.moved = self.now;
            }
        }
        suspects
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
