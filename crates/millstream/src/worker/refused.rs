//! Records whose effects the cluster will never take.
//!
//! Such a record has failed although its handler returned `Ok`: the state has it, the cluster has not. So its partition is
//! replayed with a fresh state, and the record is failed without its handler when it comes again. What came before it is
//! waited for first, so that it is not written again. A record stays refused until the watermark has passed it: with a record
//! kept open, the replay for the next refused one begins before both.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::log::Log;
use crate::metrics::REWINDS;
use crate::topic::{NextOffset, Offset, Partition};

use super::Core;
use super::failure::Failure;
use super::partition::{Hold, SlotId};

/// The refused records of a slot.
#[derive(Debug, Default)]
pub(crate) struct RefusedRecords(BTreeMap<Offset, Failure>);

impl RefusedRecords {
    /// A record is refused; those before the watermark are forgotten.
    fn insert(&mut self, offset: Offset, failure: Failure, watermark: Option<NextOffset>) {
        self.0
            .retain(|offset, _| watermark.is_none_or(|next| NextOffset::at(*offset) >= next));
        self.0.entry(offset).or_insert(failure);
    }

    /// Why a record is refused.
    pub(crate) fn get(&self, offset: Offset) -> Option<&Failure> {
        self.0.get(&offset)
    }

    /// The offsets may belong to other records now.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl<S> Core<S> {
    /// An effect of the record at place `number` is refused: the partition is replayed once what came before is acknowledged.
    pub(super) fn refused<L: Log>(
        &mut self,
        log: &L,
        id: SlotId,
        number: u64,
        offset: Offset,
        error: &Error,
    ) {
        let Some((slot, unit)) = self.table.slot_and_unit(id) else {
            return;
        };
        let (partition, watermark) = (slot.source.partition, slot.ring.watermark());
        slot.refused
            .insert(offset, Failure::refused(error), watermark);
        slot.end_before(number);
        // On its way out nothing is replayed: the next holder processes the record again.
        if matches!(unit.hold, Hold::Draining) {
            return;
        }
        self.meters.count(REWINDS);
        tracing::warn!(
            service = %self.definition.name,
            partition = partition.0,
            offset = offset.get(),
            error = %error,
            "an effect was refused, the partition is replayed from its watermark and the record fails"
        );
        self.hold(log, partition, Hold::Refused);
    }

    /// Whether nothing of a partition number is under way any more.
    pub(super) fn is_settled(&self, partition: Partition) -> bool {
        let unit = self.table.unit(partition);
        let slots = unit.map_or(&[][..], |unit| &unit.slots);
        let mut slots = slots.iter().filter_map(|id| self.table.slot(*id));
        slots.all(|slot| slot.ring.is_settled())
    }
}
