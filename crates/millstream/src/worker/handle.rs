//! A record through its handler, and what follows when that fails.
//!
//! A handler's panic is caught and treated as an error: the state stays as the handler left it, which is the
//! handler's to keep whole, as with an early return. What a failed handler emitted is dropped with the buffer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::error::Error;
use crate::log::{Log, Message};
use crate::metrics::{PANICS, RECORDS_RETRIED};
use crate::policy::Last;
use crate::record::Position;
use crate::topic::{Partition, TopicPartition};

use super::Core;
use super::dead_letter;
use super::failure::{Failure, Reason};
use super::handling::Called;
use super::partition::{Hold, Slot, SlotId};
use super::retry::{OwnedRecord, Parked};

impl<S> Core<S> {
    /// Takes a record that came from the log.
    pub(super) fn record<L: Log>(&mut self, log: &L, message: &L::Message<'_>) {
        let Some(input) = self.input_of(message) else {
            return;
        };
        // A record of a partition that is not held is one the client still had; it was released, so it is not ours.
        let Some(id) = self.table.find(input, message.partition()) else {
            return;
        };
        self.handle(log, id, message, 1);
    }

    /// Runs the handler on a record and sends what it emitted.
    pub(super) fn handle<L: Log>(
        &mut self,
        log: &L,
        id: SlotId,
        message: &dyn Message,
        attempt: u32,
    ) {
        let offset = message.offset();
        let Some((slot, unit)) = self.table.slot_and_unit(id) else {
            return;
        };
        // Also when it is not taken now: a replay must find it again.
        slot.positions.first.get_or_insert(offset);
        if !unit.is_free() || slot.paused {
            slot.positions.missed.get_or_insert(offset);
            return;
        }
        let (partition, number) = (slot.source.partition, slot.input);
        if attempt == 1 && slot.narrowing.is_some() && self.waits_for_its_group(id, offset) {
            if let Some(slot) = self.table.slot_mut(id) {
                slot.positions.missed.get_or_insert(offset);
            }
            self.hold(log, partition, Hold::Group);
            return;
        }
        let definition = &*self.definition;
        let (Some((slot, unit)), Some(input)) =
            (self.table.slot_and_unit(id), definition.inputs.get(number))
        else {
            return;
        };
        if attempt == 1 {
            slot.meters.read.add(1);
            if slot.positions.seen < Some(offset) {
                slot.positions.seen = Some(offset);
                if let Some(share) = self.dead_letters.get_mut(slot.input) {
                    share.saw(1);
                }
            }
        }
        let place = slot.next_place();
        self.context
            .begin_at(slot.source.partition, offset, attempt, place);
        self.handling
            .begin(slot.input, slot.source.partition, Called::Handler(offset));
        let outcome = match slot.refused.get(offset).cloned() {
            Some(failure) => Err(failure),
            None => {
                let (state, source, context) = (&mut unit.state, &slot.source, &mut self.context);
                catch_unwind(AssertUnwindSafe(|| {
                    (input.handle)(state, source, message, context)
                }))
                .unwrap_or_else(|panic| Err(Failure::panic(&*panic)))
            }
        };
        self.handling.end();
        if let Some(misuse) = self.context.take_misuse() {
            self.fail(misuse);
            return;
        }
        match outcome {
            Ok(()) => {
                self.submit(log, id, Some(offset), false);
                self.carry_out_pauses(log, id);
            }
            Err(failure) => self.failed_attempt(log, id, message, attempt, failure),
        }
    }

    /// A handler refused a record: retry, dead letter or stop, as declared.
    fn failed_attempt<L: Log>(
        &mut self,
        log: &L,
        id: SlotId,
        message: &dyn Message,
        attempt: u32,
        failure: Failure,
    ) {
        self.context.effects_mut().clear();
        let Some(slot) = self.table.slot(id) else {
            return;
        };
        let source = slot.source.clone();
        self.meters.failed(&source.topic, failure.reason.as_str());
        if failure.reason == Reason::Panic {
            self.meters.count(PANICS);
        }
        tracing::warn!(
            service = %self.definition.name,
            topic = %source.topic,
            partition = source.partition.0,
            offset = message.offset().get(),
            attempt,
            reason = failure.reason.as_str(),
            error = %failure.text,
            "record failed"
        );
        let policy = self.definition.policy(&source.topic);
        if attempt <= policy.retries && !failure.permanent {
            self.meters.count_topic(RECORDS_RETRIED, &source.topic, 1);
            let parked = Parked {
                slot: id,
                record: OwnedRecord::copy(message, &source.topic),
                attempt: attempt + 1,
                due: self.now.plus(policy.wait(attempt)),
            };
            self.hold(log, source.partition, Hold::Retry(Box::new(parked)));
        } else {
            match policy.last {
                Last::DeadLetter => self.dead_letter(log, id, message, attempt, &failure),
                Last::Stop => self.stop_at(id, message, failure.text),
            }
        }
    }

    /// Sends the record to its dead-letter topic, unless too many go there.
    fn dead_letter<L: Log>(
        &mut self,
        log: &L,
        id: SlotId,
        message: &dyn Message,
        attempts: u32,
        failure: &Failure,
    ) {
        let Some(slot) = self.table.slot(id) else {
            return;
        };
        let (input, source, watermark) = (slot.input, slot.source.clone(), slot.ring.watermark());
        let limit = self.definition.policy(&source.topic).dead_letter_limit;
        let Some(share) = self.dead_letters.get_mut(input) else {
            return;
        };
        if share.is_first(source.partition, message.offset(), watermark) && !share.admits(limit) {
            let error = Error::DeadLetterLimit {
                service: self.definition.name.to_string(),
                position: position(&source.topic, source.partition, message),
                dead: share.dead,
                seen: share.seen,
                limit,
                reason: failure.text.clone(),
            };
            self.hold_for_good(source.partition);
            self.fail(error);
            return;
        }
        let extras = dead_letter::extras(&self.definition.name, message, failure, attempts);
        let target = self.definition.outputs.len() + input;
        self.context
            .effects_mut()
            .push_bytes(target, message.key(), message.value(), extras);
        self.submit(log, id, Some(message.offset()), true);
    }

    /// Stops the service at a record: nothing of its partition is processed after it.
    fn stop_at(&mut self, id: SlotId, message: &dyn Message, reason: String) {
        let Some(slot) = self.table.slot(id) else {
            return;
        };
        let source = slot.source.clone();
        let error = Error::Stopped {
            service: self.definition.name.to_string(),
            position: position(&source.topic, source.partition, message),
            reason,
        };
        self.hold_for_good(source.partition);
        self.fail(error);
    }

    /// The slot of a partition by name, if it is held.
    pub(super) fn slot_of_source(&self, source: &TopicPartition) -> Option<&Slot> {
        let mut inputs = self.definition.inputs.iter();
        let input = inputs.position(|input| *input.topic == *source.topic)?;
        self.table.slot(self.table.find(input, source.partition)?)
    }

    /// Which input a record belongs to. With one input there is nothing to ask.
    pub(super) fn input_of<M: Message>(&self, message: &M) -> Option<usize> {
        let inputs = &self.definition.inputs;
        if inputs.len() == 1 {
            return Some(0);
        }
        let topic = message.topic();
        inputs.iter().position(|input| *input.topic == *topic)
    }
}

fn position(topic: &std::sync::Arc<str>, partition: Partition, message: &dyn Message) -> Position {
    Position {
        topic: std::sync::Arc::clone(topic),
        partition,
        offset: message.offset(),
    }
}
