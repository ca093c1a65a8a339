//! What is called at an interval, for each partition held, between two records.
//!
//! A timer's effects take a place in the ring like a record's: records of the first input after them are committed after them. A timer that
//! is late is called once, not once for each interval missed. One that fails has no record to dead-letter: it is
//! counted and told, and called again at the next interval.
//!
//! It cannot be isolated like a record, which is read again: what it emits is another thing the next time. So a timer whose effects
//! were in a refused batch is called alone from then on, until it got through: while nothing else of the worker is under way.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::Log;
use crate::metrics::{PANICS, TIMERS_FAILED};
use crate::topic::Partition;

use super::Core;
use super::failure::{Failure, Reason};
use super::handling::Called;
use super::send::{Stage, Trial};

impl<S> Core<S> {
    /// Calls the timers that are due.
    pub(super) fn timers<L: Log>(&mut self, log: &L) {
        if self.schedule.next_tick.is_none_or(|next| self.now < next) {
            return;
        }
        let units: Vec<Partition> = self.table.units().map(|(partition, _)| partition).collect();
        for partition in units {
            for timer in 0..self.definition.timers.len() {
                // Effects that do not get out keep the later timers waiting; they stay due.
                if self.is_blocked() || self.is_stopping() {
                    return;
                }
                self.tick(log, partition, timer);
            }
        }
        self.schedule_ticks();
    }

    /// Finds out which timer is due next.
    pub(super) fn schedule_ticks(&mut self) {
        let free = self.table.units().filter(|(_, unit)| unit.is_free());
        self.schedule.next_tick = free
            .flat_map(|(_, unit)| unit.ticks.iter().map(|tick| tick.due))
            .min();
    }

    fn tick<L: Log>(&mut self, log: &L, partition: Partition, timer: usize) {
        let Some(unit) = self.table.unit(partition) else {
            return;
        };
        let due = unit.ticks.get(timer).filter(|tick| tick.due <= self.now);
        match due {
            Some(tick) if unit.is_free() && tick.is_suspect => {
                self.sending.trial = Some(Trial::new(partition, timer, self.now));
            }
            Some(_) if unit.is_free() => self.call_timer(log, partition, timer),
            _ => {}
        }
    }

    /// Takes a suspect timer a step further: it waits until nothing is under way, is called, and is over when nothing is
    /// under way again. Whether no timer keeps the next handler from being called.
    pub(super) fn try_timer<L: Log>(&mut self, log: &L) -> bool {
        let Some(trial) = &mut self.sending.trial else {
            return true;
        };
        if log.in_flight_bytes() > 0 {
            return false;
        }
        let (partition, timer) = (trial.partition, trial.timer);
        let stage = std::mem::replace(&mut trial.stage, Stage::Called);
        let is_free = self.is_free(partition);
        if is_free && stage == Stage::Waiting {
            self.call_timer(log, partition, timer);
            return false;
        }
        self.sending.trial = None;
        let unit = self.table.unit_mut(partition);
        let tick = unit.and_then(|unit| unit.ticks.get_mut(timer));
        if let Some(tick) = tick.filter(|_| is_free && stage == Stage::Called) {
            tick.is_suspect = false;
        }
        true
    }

    fn call_timer<L: Log>(&mut self, log: &L, partition: Partition, timer: usize) {
        let definition = &*self.definition;
        let (Some(unit), Some(timer_of)) =
            (self.table.unit_mut(partition), definition.timers.get(timer))
        else {
            return;
        };
        let (Some(tick), Some(slot)) = (unit.ticks.get_mut(timer), unit.slots.first().copied())
        else {
            return;
        };
        tick.due = self.now.plus(timer_of.every);
        self.context.begin(partition, None, 1);
        self.handling.begin(0, partition, Called::Timer);
        let (state, context) = (&mut unit.state, &mut self.context);
        let outcome = catch_unwind(AssertUnwindSafe(|| (timer_of.tick)(state, context)));
        self.handling.end();
        let outcome = match outcome {
            Ok(result) => result.map_err(|error| Failure::process(&error)),
            Err(panic) => Err(Failure::panic(&*panic)),
        };
        if let Some(misuse) = self.context.take_misuse() {
            self.fail(misuse);
            return;
        }
        match outcome {
            Ok(()) => {
                self.submit(log, slot, None, false);
                self.carry_out_pauses(log, slot);
            }
            Err(failure) => self.tick_failed(partition, &failure),
        }
    }

    fn tick_failed(&mut self, partition: Partition, failure: &Failure) {
        self.context.effects_mut().clear();
        self.meters.count(TIMERS_FAILED);
        if failure.reason == Reason::Panic {
            self.meters.count(PANICS);
        }
        tracing::error!(
            service = %self.definition.name,
            partition = partition.0,
            reason = failure.reason.as_str(),
            error = %failure.text,
            "timer failed"
        );
    }
}
