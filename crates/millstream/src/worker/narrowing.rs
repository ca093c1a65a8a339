//! A batch that was refused: which of its records is to blame.
//!
//! The cluster refuses a batch as a whole, and a client that cannot tell for which record it did so says that of all of them
//! ([`Class::Abortable`]). They are read again and sent in groups: half as many records at once as were refused, half of that when
//! it happens again, twice as many when a group gets through. So the good records go on in batches, and the one to blame is
//! alone after as many round trips as its batch has halves; alone, it is refused for itself ([`Class::Refused`]) and failed.
//!
//! Only the partitions whose records were in a refused batch do so; the others go on. Records of several partitions may
//! share a batch, so of the partitions that are down to single records one goes on at a time.

use std::collections::BTreeSet;

use crate::error::{Class, Error};
use crate::log::Token;
use crate::topic::{Offset, Partition};

use super::Core;
use super::partition::SlotId;

/// How the records of a slot are sent after a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Narrowing {
    /// The last record of a refused batch: when it is done, all are.
    until: Offset,
    /// How many records may be under way at once.
    group: usize,
    /// Whether any was sent since the size of the group was set.
    sent: bool,
}

/// A delivery that failed.
pub(super) struct Failed {
    pub(super) slot: SlotId,
    /// The place of its record.
    pub(super) number: u64,
    pub(super) error: Error,
}

/// The records of one slot in a refused batch.
struct Refused {
    slot: SlotId,
    until: Offset,
    numbers: BTreeSet<u64>,
}

impl<S> Core<S> {
    /// Halves the groups of the slots whose records are in a refused batch; all of a batch is seen before anything is done about
    /// the first of it. Returns the slot whose record was alone in its batch with its own effects: it is to blame.
    pub(super) fn narrow(
        &mut self,
        failures: &[(Token, Failed)],
        others_failed: bool,
    ) -> Option<SlotId> {
        self.suspect_timers(failures);
        let batch = self.refused_batch(failures);
        let mut refused = failures
            .iter()
            .map(|(_, failed)| (failed.slot, failed.number));
        let first = refused.next();
        let is_alone = !others_failed && refused.all(|other| Some(other) == first);
        let mut to_blame = None;
        for refused in batch {
            let is_isolated = self.sending.isolated == Some(refused.slot);
            let count = refused.numbers.len();
            if is_alone && is_isolated && count == 1 {
                to_blame = Some(refused.slot);
            }
            if let Some(slot) = self.table.slot_mut(refused.slot) {
                let earlier = slot.narrowing;
                let until =
                    earlier.map_or(refused.until, |earlier| earlier.until.max(refused.until));
                let group = earlier.map_or(count, |earlier| earlier.group.min(count));
                slot.narrowing = Some(Narrowing {
                    until,
                    group: (group / 2).max(1),
                    sent: false,
                });
            }
        }
        to_blame
    }

    /// Timers with effects in a refused batch are suspect from now on.
    fn suspect_timers(&mut self, failures: &[(Token, Failed)]) {
        for (_, failed) in failures {
            let Some((slot, unit)) = self.table.slot_and_unit(failed.slot) else {
                continue;
            };
            let place = slot.ring.get(failed.number);
            let is_of_a_timer = place.is_some_and(|place| place.offset.is_none());
            if is_of_a_timer && failed.error.class() == Class::Abortable {
                unit.ticks
                    .iter_mut()
                    .for_each(|tick| tick.is_suspect = true);
            }
        }
    }

    fn refused_batch(&self, failures: &[(Token, Failed)]) -> Vec<Refused> {
        let mut batch: Vec<Refused> = Vec::new();
        let refused = failures.iter().map(|(_, failed)| failed);
        for failed in refused.filter(|failed| failed.error.class() == Class::Abortable) {
            let slot = self.table.slot(failed.slot);
            let place = slot.and_then(|slot| slot.ring.get(failed.number));
            let Some(offset) = place.and_then(|place| place.offset) else {
                continue;
            };
            match batch.iter_mut().find(|refused| refused.slot == failed.slot) {
                Some(refused) => {
                    refused.until = refused.until.max(offset);
                    refused.numbers.insert(failed.number);
                }
                None => batch.push(Refused {
                    slot: failed.slot,
                    until: offset,
                    numbers: BTreeSet::from([failed.number]),
                }),
            }
        }
        batch
    }

    /// Whether a record of a slot has to wait until the group before it is acknowledged.
    pub(super) fn waits_for_its_group(&mut self, id: SlotId, offset: Offset) -> bool {
        let may_isolate = self.may_isolate(id);
        let Some(slot) = self.table.slot_mut(id) else {
            return false;
        };
        let Some(narrowing) = &mut slot.narrowing else {
            return false;
        };
        if offset > narrowing.until && !slot.ring.is_under_way_until(narrowing.until) {
            slot.narrowing = None;
            return false;
        }
        if slot.ring.count_under_way() >= narrowing.group {
            return true;
        }
        if narrowing.group == 1 {
            if !may_isolate {
                return true;
            }
            self.sending.isolated = Some(id);
        }
        narrowing.sent = true;
        false
    }

    /// Whether the groups of a partition number are acknowledged, so that the next may follow.
    pub(super) fn may_send_next_group(&self, partition: Partition) -> bool {
        let slots = self
            .table
            .unit(partition)
            .map_or(&[][..], |unit| &unit.slots);
        slots.iter().all(|id| {
            self.table
                .slot(*id)
                .is_none_or(|slot| match slot.narrowing {
                    None => true,
                    Some(narrowing) => {
                        let is_settled = slot.ring.is_settled();
                        // A group of one that got through grows, and need not be alone any more.
                        is_settled
                            && (narrowing.group > 1 || narrowing.sent || self.may_isolate(*id))
                    }
                })
        })
    }

    /// A group got through: the next one is twice as large.
    pub(super) fn widen(&mut self, partition: Partition) {
        for id in self.table.slots_of(partition) {
            let slot = self.table.slot_mut(id);
            if let Some(narrowing) = slot.and_then(|slot| slot.narrowing.as_mut())
                && std::mem::take(&mut narrowing.sent)
            {
                narrowing.group = narrowing.group.saturating_mul(2);
            }
        }
    }

    /// Whether no other slot has a single record under way on trial.
    fn may_isolate(&self, id: SlotId) -> bool {
        let other = self.sending.isolated.filter(|other| *other != id);
        let other = other.and_then(|other| self.table.slot(other));
        other.is_none_or(|slot| {
            slot.ring.is_settled() || slot.narrowing.is_none_or(|narrowing| narrowing.group > 1)
        })
    }
}
