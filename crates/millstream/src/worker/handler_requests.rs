//! What handlers request besides effects: records kept open and closed, inputs paused and resumed.
//!
//! All of it is done after the handler has returned `Ok`, like its effects; and a record is closed when the effects of the
//! handler that closes it are acknowledged, for they may be what the record was kept open for; if they never are, it stays open. A record that is closed is found by its place and
//! epoch, so that one from before a replay finds nothing. An input that is paused keeps its place in the topic: what the
//! client had fetched already comes again when it is resumed.

use crate::error::Error;
use crate::log::Log;
use crate::topic::NextOffset;

use super::Core;
use super::partition::{PlaceId, SlotId};

impl<S> Core<S> {
    /// Pauses and resumes inputs as the handler requested whose effects were submitted by slot `id`, unless they were not
    /// taken: the state that requested it is made anew, and nobody would resume what it paused.
    pub(super) fn carry_out_pauses<L: Log>(&mut self, log: &L, id: SlotId) {
        for (topic, paused) in std::mem::take(&mut self.context.requests().pauses) {
            let unit = self.table.slot_and_unit(id).map(|(_, unit)| unit);
            if !unit.is_some_and(|unit| unit.is_free()) {
                return;
            }
            self.set_input_paused(log, id, &topic, paused);
        }
    }

    /// Records kept open are done.
    pub(super) fn close(&mut self, records: Vec<PlaceId>) {
        for place in records {
            if let Some(slot) = self.table.slot_of(place) {
                slot.close(place);
            }
        }
    }

    /// Pauses or resumes one input of the partition number of slot `id`.
    fn set_input_paused<L: Log>(&mut self, log: &L, id: SlotId, topic: &str, paused: bool) {
        let Some(partition) = self.table.slot(id).map(|slot| slot.source.partition) else {
            return;
        };
        let input = self
            .definition
            .inputs
            .iter()
            .position(|input| *input.topic == *topic);
        let Some(input) = input else {
            let service = self.definition.name.to_string();
            let reason = format!("it pauses or resumes topic `{topic}`, which is not an input");
            self.fail(Error::InvalidService { service, reason });
            return;
        };
        let found = self.table.find(input, partition);
        let Some(slot) = found.and_then(|id| self.table.slot_mut(id)) else {
            return;
        };
        if slot.paused == paused {
            return;
        }
        slot.paused = paused;
        let source = slot.source.clone();
        if paused {
            log.pause(&[source]);
            return;
        }
        // What is paused for backpressure is resumed with everything else.
        if self.sending.paused_for_backpressure {
            return;
        }
        let missed = slot.positions.missed.take();
        let sought = missed.map_or(Ok(()), |missed| log.seek(&source, NextOffset::at(missed)));
        match sought {
            Ok(()) => log.resume(&[source]),
            // Reading on here would leave a gap: the partition is replayed instead.
            Err(error) => self.rewind_later(log, partition, &error),
        }
    }
}
