//! Partitions that stand still for a while, and how they go on: after a retry, or replayed from their watermark.
//!
//! A delivery that failed for good may have failed in the middle: later effects may be on the cluster, this one is not.
//! The partition is then read again from its watermark with a fresh state, after a back-off that doubles while nothing
//! gets through. What was delivered is delivered again: at least once, and never silently less.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use crate::clock::Moment;
use crate::error::Error;
use crate::log::{Log, Message};
use crate::metrics::{PANICS, REWINDS};
use crate::policy::doubled;
use crate::topic::{NextOffset, Partition};

use super::Core;
use super::failure::panic_text;
use super::handling::Called;
use super::partition::{Hold, Unit};

const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Between two looks whether what is under way is acknowledged.
const LOOK_FOR_REPORTS: Duration = Duration::from_millis(1);

impl<S> Core<S> {
    /// Stops taking records of a partition number.
    pub(super) fn hold<L: Log>(&mut self, log: &L, partition: Partition, hold: Hold) {
        log.pause(&self.table.sources(partition));
        if let Some(unit) = self.table.unit_mut(partition) {
            unit.hold = hold;
        }
        self.count_held();
    }

    /// Stops taking records of a partition number whose service is about to end.
    pub(super) fn hold_for_good(&mut self, partition: Partition) {
        if let Some(unit) = self.table.unit_mut(partition) {
            unit.hold = Hold::Draining;
        }
        self.count_held();
    }

    /// Replays a partition after its back-off.
    pub(super) fn rewind_later<L: Log>(&mut self, log: &L, partition: Partition, error: &Error) {
        let rewinds = self.table.unit(partition).map_or(0, |unit| unit.rewinds) + 1;
        let wait = doubled(FIRST_WAIT, rewinds, LONGEST_WAIT);
        self.rewind(log, partition, wait, error);
    }

    /// Replays a partition at once: its records are sent in smaller groups.
    pub(super) fn rewind_now<L: Log>(&mut self, log: &L, partition: Partition, error: &Error) {
        self.rewind(log, partition, Duration::ZERO, error);
    }

    /// Replays a partition because its client has gone back to what is committed.
    pub(super) fn replay_afresh<L: Log>(&mut self, log: &L, partition: Partition) {
        self.forget(partition);
        if self.make_anew(partition) {
            self.hold(log, partition, Hold::Rewind(self.now));
        }
    }

    fn rewind<L: Log>(&mut self, log: &L, partition: Partition, wait: Duration, error: &Error) {
        let Some(unit) = self.table.unit(partition) else {
            return;
        };
        // On its way out nothing is replayed: what is not committed is processed again by the next holder.
        if matches!(unit.hold, Hold::Draining) {
            self.forget(partition);
            return;
        }
        self.meters.count(REWINDS);
        tracing::warn!(
            service = %self.definition.name,
            partition = partition.0,
            wait_ms = wait.as_millis(),
            error = %error,
            "a delivery failed, the partition is replayed from its watermark"
        );
        self.forget(partition);
        if !self.make_anew(partition) {
            return;
        }
        if let Some(unit) = self.table.unit_mut(partition) {
            unit.rewinds += 1;
        }
        let due = self.now.plus(wait);
        self.hold(log, partition, Hold::Rewind(due));
    }

    /// Gives a partition number a fresh state; whether there is one.
    fn make_anew(&mut self, partition: Partition) -> bool {
        let Some(state) = self.fresh_state(partition) else {
            return false;
        };
        if let Some(unit) = self.table.unit_mut(partition) {
            unit.state = state;
        }
        true
    }

    /// A fresh state for a partition number; none if the service panics over it: then the service ends, and what is done in the
    /// other partitions is drained and committed.
    pub(super) fn fresh_state(&mut self, partition: Partition) -> Option<S> {
        self.handling.begin(0, partition, Called::Init);
        let made = catch_unwind(AssertUnwindSafe(|| (self.definition.init)()));
        self.handling.end();
        match made {
            Ok(state) => Some(state),
            Err(panic) => {
                self.meters.count(PANICS);
                let service = self.definition.name.to_string();
                let reason = panic_text(&*panic);
                let reason = format!("the state of partition {partition} cannot be made: {reason}");
                self.fail(Error::WorkerPanicked { service, reason });
                None
            }
        }
    }

    /// Drops what is under way in a partition number; its reports will find nothing.
    fn forget(&mut self, partition: Partition) {
        let Some(unit) = self.table.unit(partition) else {
            return;
        };
        for id in unit.slots.clone() {
            if self
                .sending
                .pending
                .as_ref()
                .is_some_and(|pending| pending.slot == id)
            {
                self.sending.pending = None;
            }
            let inputs = &self.definition.inputs;
            if let Some(slot) = self.table.slot_mut(id) {
                slot.forget();
                slot.paused = inputs.get(slot.input).is_some_and(|input| input.paused);
            }
        }
    }

    /// Serves the partitions whose retry or replay is due.
    pub(super) fn held_due<L: Log>(&mut self, log: &L) {
        let now = self.now;
        let started = self.table.units().filter(|(_, unit)| !unit.is_starting);
        let due = started.filter_map(|(partition, unit)| match &unit.hold {
            Hold::Retry(parked) if parked.due <= now => Some(partition),
            Hold::Rewind(due) if *due <= now => Some(partition),
            Hold::Group if self.may_send_next_group(partition) => Some(partition),
            Hold::Refused if self.is_settled(partition) => Some(partition),
            _ => None,
        });
        let due: Vec<Partition> = due.collect();
        for partition in due {
            if self.is_blocked() || self.is_stopping() {
                break;
            }
            let Some(unit) = self.table.unit_mut(partition) else {
                continue;
            };
            match std::mem::replace(&mut unit.hold, Hold::Free) {
                Hold::Retry(parked) => {
                    self.handle(log, parked.slot, &parked.record, parked.attempt);
                    if self.is_free(partition) {
                        self.go_on(log, partition);
                    }
                }
                Hold::Rewind(_) => self.replay(log, partition),
                Hold::Refused => {
                    self.forget(partition);
                    if self.make_anew(partition) {
                        self.replay(log, partition);
                    }
                }
                Hold::Group => {
                    self.widen(partition);
                    self.go_on(log, partition);
                }
                other => unit.hold = other,
            }
        }
        self.count_held();
        self.schedule_ticks();
    }

    /// When the next retry or replay is due.
    pub(super) fn next_held(&self) -> Option<Moment> {
        if self.schedule.held == 0 {
            return None;
        }
        let started = self.table.units().filter(|(_, unit)| !unit.is_starting);
        let due = started.filter_map(|(_, unit)| match &unit.hold {
            Hold::Retry(parked) => Some(parked.due),
            Hold::Rewind(due) => Some(*due),
            Hold::Group | Hold::Refused => Some(self.now.plus(LOOK_FOR_REPORTS)),
            _ => None,
        });
        due.min()
    }

    /// Reads a partition again from what is done.
    fn replay<L: Log>(&mut self, log: &L, partition: Partition) {
        for id in self.table.slots_of(partition) {
            let Some(slot) = self.table.slot_mut(id) else {
                continue;
            };
            slot.positions.missed = None;
            let Some(restart) = slot.restart() else {
                continue;
            };
            if let Err(error) = log.seek(&slot.source, restart) {
                tracing::warn!(
                    service = %self.definition.name,
                    topic = %slot.source.topic,
                    partition = partition.0,
                    offset = restart.get(),
                    error = %error,
                    "could not go back to the watermark yet"
                );
                let due = self.now.plus(Duration::from_secs(1));
                self.hold(log, partition, Hold::Rewind(due));
                return;
            }
        }
        log.resume(&self.table.wanted(partition));
    }

    /// Takes records of a partition again, from the first that came while it was held.
    pub(super) fn go_on<L: Log>(&mut self, log: &L, partition: Partition) {
        for id in self.table.slots_of(partition) {
            let Some(slot) = self.table.slot_mut(id) else {
                continue;
            };
            let Some(missed) = slot.positions.missed.take() else {
                continue;
            };
            if let Err(error) = log.seek(&slot.source, NextOffset::at(missed)) {
                // Reading on here would leave a gap: the partition is replayed instead.
                self.rewind_later(log, partition, &error);
                return;
            }
        }
        log.resume(&self.table.wanted(partition));
    }

    /// Takes records again of every partition that has no reason of its own to stand still.
    pub(super) fn resume_free<L: Log>(&mut self, log: &L) {
        let free: Vec<Partition> = self
            .table
            .units()
            .filter(|(_, unit)| unit.is_free())
            .map(|(partition, _)| partition)
            .collect();
        for partition in free {
            self.go_on(log, partition);
        }
    }

    /// A record came while its partition is paused: reading goes on with it later.
    pub(super) fn miss<M: Message>(&mut self, message: &M) {
        let input = self.input_of(message);
        let id = input.and_then(|input| self.table.find(input, message.partition()));
        if let Some(slot) = id.and_then(|id| self.table.slot_mut(id)) {
            slot.positions.first.get_or_insert(message.offset());
            slot.positions.missed.get_or_insert(message.offset());
        }
    }

    pub(super) fn is_free(&self, partition: Partition) -> bool {
        self.table.unit(partition).is_some_and(Unit::is_free)
    }

    /// Stops a partition for good. On its way out it is not stopped any more; if that is the end of the service, that ends with the
    /// reason.
    pub(super) fn halt<L: Log>(&mut self, log: &L, partition: Partition, reason: Error) {
        let source = std::error::Error::source(&reason).map(ToString::to_string);
        tracing::error!(
            service = %self.definition.name,
            partition = partition.0,
            error = %reason,
            source,
            "partition is halted"
        );
        if self.is_stopping() {
            self.lifecycle.halted.get_or_insert(reason);
        } else if !self.is_draining(partition) {
            self.hold(log, partition, Hold::Halted(Box::new(reason)));
        }
    }

    fn is_draining(&self, partition: Partition) -> bool {
        let unit = self.table.unit(partition);
        unit.is_some_and(|unit| matches!(unit.hold, Hold::Draining))
    }

    /// Why a partition that is held is stopped for good, if one is.
    pub(super) fn halted(&self) -> Option<&Error> {
        if self.schedule.held == 0 {
            return None;
        }
        let mut halted = self.table.units().filter_map(|(_, unit)| match &unit.hold {
            Hold::Halted(reason) => Some(&**reason),
            _ => None,
        });
        halted.next()
    }

    /// Counts the units that stand still, for the quick look and for the gauge.
    pub(super) fn count_held(&mut self) {
        let units = self.table.units();
        let (held, halted) = units.fold((0, 0_u32), |(held, halted), (_, unit)| {
            (
                held + usize::from(!unit.is_free()),
                halted + u32::from(matches!(unit.hold, Hold::Halted(_))),
            )
        });
        self.schedule.held = held;
        self.meters.halted.set(f64::from(halted));
    }
}
