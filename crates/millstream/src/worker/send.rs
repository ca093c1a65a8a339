//! Effects out, reports back, and what to do while the way out is full.
//!
//! The effects of one record are handed to the log before the next record is taken. When the log is full they stay in
//! the context's buffer as [`Pending`]; the worker then serves reports only, and after a while pauses its partitions and
//! polls, so that the group does not take it for dead. So what is under way is bounded by the log's bytes and one record.
//!
//! The cluster refuses a batch as a whole, and says of each record in it that it was refused. Which one is to blame shows when
//! they are sent again alone, each waiting for the one before: one that is refused alone is refused for good.

use std::time::Duration;

use crate::clock::Moment;
use crate::error::{Class, Error};
use crate::log::{Event, Log, Outgoing, SendError};
use crate::metrics::{BACKPRESSURE, DELIVERIES_FAILED, TIMERS_FAILED};
use crate::topic::Offset;

use super::Core;
use super::failure::Failure;
use super::partition::{Hold, SlotId};

/// So long the worker only waits for room; after it, it pauses its partitions and polls.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// The effects in the context's buffer that are still to be handed to the log.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) slot: SlotId,
    sequence: u32,
    next: usize,
    since: Moment,
}

impl<S> Core<S> {
    /// Takes a place for a record (or timer) and sends the effects in the context's buffer.
    pub(super) fn submit<L: Log>(
        &mut self,
        log: &L,
        id: SlotId,
        offset: Option<Offset>,
        dead: bool,
    ) {
        let effects = self.context.effects().len();
        let Some(slot) = self.table.slot_mut(id) else {
            return;
        };
        let count = u32::try_from(effects).unwrap_or(u32::MAX);
        let open = !dead && offset.is_some() && self.context.requests().keep_open;
        let sequence = if open {
            slot.ring.push_open(offset, count)
        } else {
            slot.ring.push(offset, count, dead)
        };
        if effects == 0 {
            return;
        }
        if offset.is_some() && offset <= slot.isolate_until {
            self.isolated = Some((id, self.now));
        }
        self.pending = Some(Pending {
            slot: id,
            sequence,
            next: 0,
            since: self.now,
        });
        self.send_pending(log);
    }

    /// The place that the next record or timer of a slot will take.
    pub(super) fn next_place(&self, id: SlotId) -> u32 {
        self.table.slot(id).map_or(0, |slot| slot.ring.next())
    }

    /// Hands pending effects to the log until it is full; whether none are left.
    pub(super) fn send_pending<L: Log>(&mut self, log: &L) -> bool {
        let Some(pending) = &mut self.pending else {
            return true;
        };
        let Some(slot) = self.table.slot(pending.slot) else {
            self.pending = None;
            return true;
        };
        let token = slot.token(pending.sequence);
        let effects = self.context.effects();
        while let Some(effect) = effects.get(pending.next) {
            let Some(topic) = self.targets.get(effect.output) else {
                break;
            };
            let extras = effect.extras.as_deref();
            let outgoing = Outgoing {
                topic,
                partition: extras.and_then(|extras| extras.partition),
                key: effects.key(effect),
                value: effects.value(effect),
                headers: extras.map(|extras| &extras.headers),
                timestamp: extras.and_then(|extras| extras.timestamp),
            };
            match log.send(outgoing, token) {
                Ok(()) => {
                    pending.next += 1;
                    self.meters.wrote(effect.output);
                }
                Err(SendError::Full) => return false,
                Err(SendError::Failed(error)) => {
                    let (slot, sequence) = (pending.slot, pending.sequence);
                    let unsent = effects.len() - pending.next;
                    self.pending = None;
                    match error.class() {
                        Class::Refused => self.undeliverable(log, slot, sequence, unsent, error),
                        _ => self.undelivered(log, slot, sequence, error),
                    }
                    return true;
                }
            }
        }
        self.pending = None;
        true
    }

    /// Gets rid of pending effects before anything else is done; whether that is so by now. Waits for room up to `wait`.
    pub(super) fn unblock<L: Log>(&mut self, log: &L, wait: Duration) -> bool {
        if self.is_clear(log) {
            self.end_backpressure(log);
            return true;
        }
        self.reports(log, wait.min(Duration::from_millis(20)));
        self.now = self.clock.now();
        if self.is_clear(log) {
            self.end_backpressure(log);
            return true;
        }
        let since = self.pending.as_ref().map(|pending| pending.since);
        let since = since.or(self.isolated.map(|(_, since)| since));
        let waited = since.map(|since| self.now.since(since));
        if !self.paused_for_backpressure && waited.is_some_and(|waited| waited >= PAUSE_AFTER) {
            self.pause_for_backpressure(log);
        }
        if self.paused_for_backpressure {
            self.keep_alive(log);
        }
        false
    }

    /// Whether the next record has to wait for the one before.
    pub(super) const fn is_blocked(&self) -> bool {
        self.pending.is_some() || self.isolated.is_some()
    }

    fn is_clear<L: Log>(&mut self, log: &L) -> bool {
        if !self.send_pending(log) {
            return false;
        }
        let isolated = self.isolated.and_then(|(id, _)| self.table.slot(id));
        let is_clear = isolated.is_none_or(|slot| slot.ring.is_settled());
        if is_clear {
            self.isolated = None;
        }
        is_clear
    }

    /// Pauses everything until there is room again.
    fn pause_for_backpressure<L: Log>(&mut self, log: &L) {
        self.paused_for_backpressure = true;
        self.meters.count(BACKPRESSURE);
        let all: Vec<_> = self.table.slots().map(|slot| slot.source.clone()).collect();
        log.pause(&all);
        tracing::warn!(
            service = %self.definition.name,
            bytes = log.in_flight_bytes(),
            "reading is paused until effects are acknowledged"
        );
    }

    /// Reads on where everything was paused.
    fn end_backpressure<L: Log>(&mut self, log: &L) {
        if std::mem::take(&mut self.paused_for_backpressure) {
            self.resume_free(log);
        }
    }

    /// Polls while paused: the group's events are served, a record that comes all the same is read again later.
    fn keep_alive<L: Log>(&mut self, log: &L) {
        match log.poll(Duration::ZERO) {
            Ok(Event::Record(message)) => self.miss(&message),
            Ok(Event::Idle) => {}
            Ok(event) => self.event(log, event),
            Err(error) => self.client_failed(error),
        }
    }

    /// Serves delivery reports, waiting up to `wait` for one.
    pub(super) fn reports<L: Log>(&mut self, log: &L, wait: Duration) {
        let table = &mut self.table;
        let late = &mut self.meters.late;
        let (mut failures, mut closed) = (Vec::new(), Vec::new());
        log.reports(
            wait,
            &mut |token, result| match (table.reported(token), result) {
                (Some((slot, sequence)), Ok(())) => slot.acknowledge(sequence, &mut closed),
                (Some((slot, sequence)), Err(error)) => {
                    failures.push((slot.id, sequence, token, error))
                }
                (None, _) => late.add(1),
            },
        );
        self.close(closed);
        let isolated = self.isolated.map(|(id, _)| id);
        for (id, sequence, _, error) in &failures {
            // All of a batch before the first of it is acted upon: the replay is to try each of them alone.
            if error.class() == Class::Refused
                && Some(*id) != isolated
                && let Some(slot) = self.table.slot_mut(*id)
            {
                let offset = slot.ring.get(*sequence).and_then(|place| place.offset);
                slot.isolate_until = slot.isolate_until.max(offset);
            }
        }
        for (id, sequence, token, error) in failures {
            // The failure before it may have replayed the partition already.
            if self.table.reported(token).is_some() {
                self.undelivered(log, id, sequence, error);
            }
        }
    }

    /// The client has given up on an effect.
    fn undelivered<L: Log>(&mut self, log: &L, id: SlotId, sequence: u32, error: Error) {
        let Some(slot) = self.table.slot_mut(id) else {
            return;
        };
        let place = slot.ring.get(sequence);
        let is_timer = place.is_some_and(|place| place.offset.is_none());
        let source = slot.source.clone();
        self.meters.count_topic(DELIVERIES_FAILED, &source.topic, 1);
        let is_isolated = self.isolated.is_some_and(|(isolated, _)| isolated == id);
        match error.class() {
            Class::Retriable | Class::Abortable => {
                self.rewind_later(log, source.partition, &error);
            }
            Class::Refused if is_isolated || is_timer => {
                self.undeliverable(log, id, sequence, 1, error)
            }
            Class::Refused => self.rewind_now(log, source.partition, &error),
            // No record is to blame: what came before is drained and committed, the rest is left to whoever comes next.
            Class::Fenced | Class::Fatal => {
                slot.ring.end_before(sequence);
                self.fail(error);
            }
        }
    }

    /// The cluster will never take an effect: its record is failed when it is read again; a dead letter halts its partition.
    fn undeliverable<L: Log>(
        &mut self,
        log: &L,
        id: SlotId,
        sequence: u32,
        effects: usize,
        error: Error,
    ) {
        let Some(slot) = self.table.slot_mut(id) else {
            return;
        };
        let partition = slot.source.partition;
        let Some(place) = slot.ring.get(sequence) else {
            return;
        };
        match place.offset {
            _ if place.dead_letter => {
                tracing::error!(
                    service = %self.definition.name,
                    topic = %slot.source.topic,
                    partition = partition.0,
                    offset = place.offset.map(Offset::get),
                    error = %error,
                    "partition is halted: its dead letter cannot be written"
                );
                // It is waited for no more, not at a drain either; what came before it is.
                slot.ring.end_before(sequence);
                self.hold(log, partition, Hold::Halted);
            }
            Some(offset) => {
                slot.refused = Some((offset, Failure::refused(&error)));
                self.rewind_now(log, partition, &error);
            }
            None => {
                // A timer has no record to fail; what it wrote is given up, counted and told.
                for _ in 0..effects {
                    slot.ring.acknowledge(sequence);
                }
                self.meters.count(TIMERS_FAILED);
                tracing::error!(
                    service = %self.definition.name,
                    partition = partition.0,
                    error = %error,
                    "a timer's record was refused"
                );
            }
        }
    }
}
