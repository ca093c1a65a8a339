//! Effects out, reports back, and what to do while the way out is full.
//!
//! The effects of one record are handed to the log before the next record is taken. When the log is full they stay in
//! the context's buffer as [`Pending`]; the worker then serves reports only, and after a while pauses its partitions and
//! polls, so that the group does not take it for dead. So what is under way is bounded by the log's bytes and one record.
//!
//! A record counts as written when the cluster has acknowledged it. What becomes of a delivery that failed is decided by the
//! error's class: replayed later, replayed at once in smaller groups (`narrowing`), failed as a record, or the end of the service.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::error::{Class, Error};
use crate::log::{Event, Log, Outgoing, SendError, Token};
use crate::metrics::{BACKPRESSURE, DELIVERIES_FAILED, TIMERS_FAILED};
use crate::record::Position;
use crate::topic::{Offset, Partition};

use super::Core;
use super::narrowing::Failed;
use super::partition::{SlotId, target_of};

/// So long the worker only waits for room; after it, it pauses its partitions and polls.
const PAUSE_AFTER: Duration = Duration::from_secs(1);

/// The effects in the context's buffer that are still to be handed to the log.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) slot: SlotId,
    number: u64,
    next: usize,
    since: Moment,
}

/// A timer that is called while nothing else is under way.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) partition: Partition,
    pub(super) timer: usize,
    since: Moment,
    pub(super) stage: Stage,
}

/// How far the call of a timer that is called alone is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Something else is under way.
    Waiting,
    /// Only its own effects are under way.
    Called,
    /// They were refused.
    Refused,
}

impl Trial {
    pub(super) const fn new(partition: Partition, timer: usize, since: Moment) -> Self {
        Self {
            partition,
            timer,
            since,
            stage: Stage::Waiting,
        }
    }
}

/// Effects on their way out.
pub(super) struct Sending {
    /// The topics effects go to: the declared outputs, then the dead-letter topic of each input.
    targets: Vec<Arc<str>>,
    /// Those that the log has not taken yet.
    pub(super) pending: Option<Pending>,
    /// The timer that is called alone.
    pub(super) trial: Option<Trial>,
    /// The slot whose records are sent one by one, because a batch of them was refused.
    pub(super) isolated: Option<SlotId>,
    /// Everything is paused until the log has room again.
    pub(super) paused_for_backpressure: bool,
}

impl Sending {
    pub(super) const fn new(targets: Vec<Arc<str>>) -> Self {
        Self {
            targets,
            pending: None,
            trial: None,
            isolated: None,
            paused_for_backpressure: false,
        }
    }
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
        let number = if open {
            slot.ring.push_open(offset, count)
        } else {
            slot.ring.push(offset, count, dead)
        };
        // What a failed handler requested goes with what it emitted.
        let closed = if dead {
            Vec::new()
        } else {
            std::mem::take(&mut self.context.requests().closed)
        };
        if effects == 0 {
            self.close(closed);
            return;
        }
        if !closed.is_empty() {
            slot.closing.insert(number, closed);
        }
        self.sending.pending = Some(Pending {
            slot: id,
            number,
            next: 0,
            since: self.now,
        });
        self.send_pending(log);
    }

    /// Hands pending effects to the log until it is full; whether none are left.
    pub(super) fn send_pending<L: Log>(&mut self, log: &L) -> bool {
        let Some(pending) = &mut self.sending.pending else {
            return true;
        };
        let Some(slot) = self.table.slot(pending.slot) else {
            self.sending.pending = None;
            return true;
        };
        let effects = self.context.effects();
        while let Some(effect) = effects.get(pending.next) {
            let Some(topic) = self.sending.targets.get(effect.output) else {
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
            match log.send(outgoing, slot.token(pending.number, effect.output)) {
                Ok(()) => pending.next += 1,
                Err(SendError::Full) => return false,
                Err(SendError::Failed(error)) => {
                    let (slot, number) = (pending.slot, pending.number);
                    self.sending.pending = None;
                    match error.class() {
                        Class::Refused => self.undeliverable(log, slot, number, error),
                        class => self.undelivered(log, slot, number, class, error),
                    }
                    return true;
                }
            }
        }
        self.sending.pending = None;
        true
    }

    /// Gets rid of pending effects before anything else is done; whether that is so by now. Waits for room up to `wait`.
    pub(super) fn unblock<L: Log>(&mut self, log: &L, wait: Duration) -> bool {
        if self.send_pending(log) && self.try_timer(log) {
            self.end_backpressure(log);
            return true;
        }
        self.reports(log, wait.min(Duration::from_millis(20)));
        self.now = self.clock.now();
        if self.send_pending(log) && self.try_timer(log) {
            self.end_backpressure(log);
            return true;
        }
        let pending = self.sending.pending.as_ref().map(|pending| pending.since);
        let trial = self.sending.trial.as_ref().map(|trial| trial.since);
        let since = pending.or(trial);
        let waited = since.map(|since| self.now.since(since));
        if !self.sending.paused_for_backpressure
            && waited.is_some_and(|waited| waited >= PAUSE_AFTER)
        {
            self.pause_for_backpressure(log);
        }
        if self.sending.paused_for_backpressure {
            self.keep_alive(log);
        }
        false
    }

    /// Whether effects wait for room, or a timer is called alone, so that no handler may be called.
    pub(super) const fn is_blocked(&self) -> bool {
        self.sending.pending.is_some() || self.sending.trial.is_some()
    }

    /// Whether a refusal is that of a timer's effects and of nothing else.
    fn is_on_trial(&self, failed: &Failed) -> bool {
        let slot = self.table.slot(failed.slot);
        slot.is_some_and(|slot| {
            let place = slot.ring.get(failed.number);
            let is_of_a_timer = place.is_some_and(|place| place.offset.is_none());
            let trial = self.sending.trial.as_ref();
            let mut called = trial
                .filter(|trial| trial.stage != Stage::Waiting)
                .into_iter();
            is_of_a_timer && called.any(|trial| trial.partition == slot.source.partition)
        })
    }

    /// Pauses everything until there is room again.
    fn pause_for_backpressure<L: Log>(&mut self, log: &L) {
        self.sending.paused_for_backpressure = true;
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
        if std::mem::take(&mut self.sending.paused_for_backpressure) {
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
        let (table, meters) = (&mut self.table, &mut self.meters);
        let (mut failures, mut closed) = (Vec::new(), Vec::new());
        let mut others_failed = false;
        log.reports(wait, &mut |token, result| {
            let reported = table.reported(token);
            meters.late.add(u64::from(reported.is_none()));
            match (reported, result) {
                (Some((slot, number)), Ok(())) => {
                    meters.wrote(target_of(token));
                    if slot.acknowledge(number, &mut closed) {
                        meters.dead_lettered(&slot.source.topic);
                    }
                }
                (None, Ok(())) => meters.wrote(target_of(token)),
                (Some((slot, number)), Err(error)) => failures.push((
                    token,
                    Failed {
                        slot: slot.id,
                        number,
                        error,
                    },
                )),
                (None, Err(_)) => others_failed = true,
            }
        });
        self.close(closed);
        if !failures.is_empty() {
            self.failed_deliveries(log, failures, others_failed);
        }
    }

    fn failed_deliveries<L: Log>(
        &mut self,
        log: &L,
        mut failures: Vec<(Token, Failed)>,
        others_failed: bool,
    ) {
        let to_blame = self.narrow(&failures, others_failed);
        // Who is to blame is known first: a replay of the partition would make its report one of the past.
        failures.sort_by_key(|(_, failed)| failed.error.class() != Class::Refused);
        for (token, failed) in failures {
            // The failure before it may have replayed the partition already.
            if self.table.reported(token).is_none() {
                continue;
            }
            let class = match failed.error.class() {
                Class::Abortable if to_blame == Some(failed.slot) || self.is_on_trial(&failed) => {
                    Class::Refused
                }
                class => class,
            };
            self.undelivered(log, failed.slot, failed.number, class, failed.error);
        }
    }

    /// The client has given up on an effect.
    fn undelivered<L: Log>(
        &mut self,
        log: &L,
        id: SlotId,
        number: u64,
        class: Class,
        error: Error,
    ) {
        let Some(slot) = self.table.slot_mut(id) else {
            return;
        };
        let (source, is_known) = (slot.source.clone(), slot.ring.get(number).is_some());
        self.meters.count_topic(DELIVERIES_FAILED, &source.topic, 1);
        // It came after a record that is refused, and is read again anyway.
        if !is_known && matches!(class, Class::Retriable | Class::Abortable) {
            return;
        }
        match class {
            Class::Retriable => self.rewind_later(log, source.partition, &error),
            Class::Abortable => self.rewind_now(log, source.partition, &error),
            Class::Refused => self.undeliverable(log, id, number, error),
            // No record is to blame: what came before is drained and committed, the rest is left to whoever comes next.
            Class::Fenced | Class::Fatal => {
                slot.end_before(number);
                self.fail(error);
            }
        }
    }

    /// The cluster will never take an effect: its record is failed when it is read again. A dead letter halts its partition, and so
    /// does a timer that closes records; any other timer's effects are given up.
    fn undeliverable<L: Log>(&mut self, log: &L, id: SlotId, number: u64, error: Error) {
        let Some(slot) = self.table.slot_mut(id) else {
            return;
        };
        let partition = slot.source.partition;
        let Some(place) = slot.ring.get(number) else {
            return;
        };
        let service = self.definition.name.to_string();
        match place.offset {
            _ if place.dead_letter => {
                let position = Position {
                    topic: slot.source.topic.clone(),
                    partition,
                    offset: place.offset.unwrap_or(Offset::new(0)),
                };
                // It is no longer waited for, not at a drain either; what came before it is.
                slot.end_before(number);
                let source = Box::new(error);
                let reason = Error::DeadLetter {
                    service,
                    position,
                    source,
                };
                self.halt(log, partition, reason);
            }
            Some(offset) => self.refused(log, id, number, offset, &error),
            None => {
                self.meters.count(TIMERS_FAILED);
                if let Some(trial) = &mut self.sending.trial {
                    trial.stage = Stage::Refused;
                }
                tracing::error!(
                    service,
                    partition = partition.0,
                    error = %error,
                    "a timer's record was refused"
                );
                if slot.closes(number) {
                    // Its records stay open, and the state that could close them has given them away.
                    slot.end_before(number);
                    let source = Box::new(error);
                    let reason = Error::TimerRefused {
                        service,
                        partition,
                        source,
                    };
                    self.halt(log, partition, reason);
                } else {
                    // A timer has no record to fail; what it wrote is given up.
                    slot.ring.give_up(number);
                }
            }
        }
    }
}
