//! What is called at an interval, for each partition held, between two records.
//!
//! A timer's effects take a place in the ring like a record's: records of the first input after them are committed after them. A timer that
//! is late is called once, not once for each interval missed. One that fails has no record to dead-letter: it is
//! counted and told, and called again at the next interval.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::log::Log;
use crate::metrics::{PANICS, TIMERS_FAILED};
use crate::topic::Partition;

use super::Core;
use super::failure::{Failure, Reason};
use super::handling::Called;

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
        self.schedule.next_tick = free.flat_map(|(_, unit)| unit.ticks.iter().copied()).min();
    }

    fn tick<L: Log>(&mut self, log: &L, partition: Partition, timer: usize) {
        let definition = &*self.definition;
        let (Some(unit), Some(timer_of)) =
            (self.table.unit_mut(partition), definition.timers.get(timer))
        else {
            return;
        };
        let now = self.now;
        let is_free = unit.is_free();
        let (Some(due), Some(slot)) = (unit.ticks.get_mut(timer), unit.slots.first().copied())
        else {
            return;
        };
        if *due > now || !is_free {
            return;
        }
        *due = now.plus(timer_of.every);
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
