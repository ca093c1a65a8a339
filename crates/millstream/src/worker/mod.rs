//! The worker: one group member, its partitions, and the loop that serves them.
//!
//! A worker is a step function over a [`Log`]: [`Worker::step`] does what is due, polls for a burst of records, and
//! returns. It never blocks longer than its caller allows and shares nothing, so a thread drives it in production and the
//! simulation in any order it likes. The files beside this one each own one concern of the same [`Core`]:
//!
//! - `partition`: what is held; `watermark`: what of it is done
//! - `handle`: a record through its handler, and what follows a failure; `retry`, `dead_letter`: the two ways out
//! - `handling`: what another thread can see of the handler; `send`: effects out, reports back; `rewind`: replaying a partition whose effects were lost;
//!   `refused`: records whose effects are never taken; `narrowing`: after a refused batch
//! - `start`: where a group begins; `revocation`: partitions come and go, the drain before they go; `commit`: when and what
//! - `watchdog`: partitions that ought to move and do not
//! - `timer`: what is called at an interval; `handler_requests`: records kept open, inputs paused
//!
//! The way of a record costs no allocation and no lock of the engine's own: it is borrowed from the client's buffer
//! until its effects are handed back to the client.

mod commit;
mod dead_letter;
pub(crate) mod failure;
mod handle;
mod handler_requests;
pub(crate) mod handling;
mod narrowing;
mod partition;
mod refused;
mod retry;
mod revocation;
mod rewind;
mod send;
mod start;
mod timer;
mod watchdog;
mod watermark;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::context::Context;
use crate::definition::Definition;
use crate::error::Error;
use crate::log::{Event, Log, Message};
use crate::metrics::{Meters, Totals};
use crate::topic::dead_letter_topic;

use commit::Commits;
use dead_letter::Share;
use handling::Handling;
use partition::Table;
pub(crate) use partition::{MOST_TARGETS, PlaceId, SHARED};
use revocation::Lifecycle;
use send::Sending;
pub(crate) use watermark::REPORTED_BITS;

/// How many records one step takes at most before it looks after everything else.
const BURST: usize = 256;

/// A handler that takes this long has its burst to itself: a stop or a rebalance is looked for after each of its records.
const SLOW: Duration = Duration::from_millis(20);

/// How often counters and gauges are given out.
const METERS_EVERY: Duration = Duration::from_millis(250);

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something was done; there may be more at once.
    Busy,
    /// Nothing came within the wait.
    Idle,
    /// Drained, committed and done: drop the log.
    Stopped,
}

/// One member of a service's group.
pub(crate) struct Worker<S, L> {
    log: L,
    core: Core<S>,
}

/// A worker without its log, so that a record borrowed from the log can meet it.
struct Core<S> {
    definition: Arc<Definition<S>>,
    clock: Arc<dyn Clock + Send + Sync>,
    /// The time at the last look; good enough for anything that is not a measurement.
    now: Moment,
    context: Context,
    handling: Arc<Handling>,
    table: Table<S>,
    sending: Sending,
    lifecycle: Lifecycle,
    /// Of each input.
    dead_letters: Vec<Share>,
    schedule: Schedule,
    meters: Meters,
}

/// What is to be done when.
struct Schedule {
    commits: Commits,
    /// Units that are not free, so that the usual case needs no look at them.
    held: usize,
    next_tick: Option<Moment>,
    /// When it is asked again where the group begins, where that is not known.
    next_ask: Option<Moment>,
    next_meters: Moment,
    /// When it is asked next whether a partition that does not move has records.
    next_watch: Moment,
}

impl<S, L: Log> Worker<S, L> {
    /// Worker number `number` of a service, on a log that is subscribed to the service's inputs.
    pub(crate) fn new(
        definition: Arc<Definition<S>>,
        log: L,
        clock: Arc<dyn Clock + Send + Sync>,
        number: usize,
    ) -> Self {
        let declared = definition.outputs.iter().map(|o| Arc::clone(&o.topic));
        let dead = definition
            .inputs
            .iter()
            .map(|i| Arc::from(dead_letter_topic(&i.topic)));
        let targets: Vec<Arc<str>> = declared.chain(dead).collect();
        let context = Context::new(
            Arc::clone(&definition.name),
            definition.output_names(),
            Arc::clone(&clock),
        );
        let now = clock.now();
        let core = Core {
            table: Table::new(definition.inputs.len()),
            dead_letters: definition.inputs.iter().map(|_| Share::default()).collect(),
            meters: Meters::new(&definition.name, number, &targets),
            schedule: Schedule {
                commits: Commits::new(now, definition.settings.commit_every),
                held: 0,
                next_tick: None,
                next_ask: None,
                next_meters: now.plus(METERS_EVERY),
                next_watch: now.plus(watchdog::LOOK_EVERY),
            },
            sending: Sending::new(targets),
            lifecycle: Lifecycle::default(),
            definition,
            clock,
            now,
            context,
            handling: Arc::default(),
        };
        Self { log, core }
    }

    /// Does what is due, takes a burst of records, and waits up to `wait` when there is nothing else to do.
    ///
    /// # Errors
    /// The worker has ended, and not as it was asked to: a record stopped the service, or the client failed for good.
    pub(crate) fn step(&mut self, wait: Duration) -> Result<Progress, Error> {
        let Self { log, core } = self;
        core.now = core.clock.now();
        core.reports(log, Duration::ZERO);
        core.settle(log, wait);
        if core.is_stopped() {
            core.publish(log);
            let failure = core
                .lifecycle
                .failure
                .take()
                .or(core.lifecycle.halted.take());
            return failure.map_or(Ok(Progress::Stopped), Err);
        }
        // Also when nothing moves: an operator looks then.
        core.publish_when_due(log);
        if core.is_waiting_to_settle() {
            return Ok(Progress::Busy);
        }
        core.look_for_stalled(log);
        if !core.unblock(log, wait) {
            return Ok(Progress::Busy);
        }
        core.due(log);
        // A retry or a timer may have met a full log: its effects leave the buffer before another handler fills it.
        if core.is_blocked() {
            return Ok(Progress::Busy);
        }
        Ok(core.burst(log, wait))
    }

    /// Ends the worker: no more records, then drain, commit, and a step answers [`Progress::Stopped`].
    pub(crate) fn stop(&mut self) {
        self.core.now = self.core.clock.now();
        self.core.stop();
    }

    /// Whether the group has given this member its share, be it none, the cluster can be reached, and no partition is halted.
    /// False again once everything was taken back, until the next share.
    pub(crate) fn is_ready(&self) -> bool {
        let core = &self.core;
        core.lifecycle.phase.is_running() && self.log.is_connected() && core.halted().is_none()
    }

    /// Why a partition is halted, if one is.
    pub(crate) fn halted(&self) -> Option<&Error> {
        self.core.halted()
    }

    /// What has been done so far.
    pub(crate) const fn totals(&self) -> Totals {
        self.core.meters.totals
    }

    /// Where another thread can see which record the handler has.
    pub(crate) fn handling(&self) -> Arc<Handling> {
        Arc::clone(&self.core.handling)
    }

    /// The log, to be dropped where its drop may hang.
    pub(crate) fn into_log(self) -> L {
        self.log
    }
}

impl<S> Core<S> {
    /// Takes up to a burst of records or one event.
    fn burst<L: Log>(&mut self, log: &L, wait: Duration) -> Progress {
        let mut wait = self.until_due(wait);
        for taken in 0..BURST {
            match log.poll(wait) {
                Ok(Event::Record(message)) => {
                    let is_slow = taken == 0 && self.sampled(log, &message) >= SLOW;
                    if taken > 0 {
                        self.record(log, &message);
                    }
                    if is_slow || self.is_blocked() || self.is_stopping() {
                        break;
                    }
                }
                Ok(Event::Idle) if taken == 0 => return Progress::Idle,
                Ok(Event::Idle) => break,
                Ok(event) => {
                    self.event(log, event);
                    break;
                }
                Err(error) => {
                    self.client_failed(error);
                    break;
                }
            }
            wait = Duration::ZERO;
        }
        Progress::Busy
    }

    /// Passes one record to its handler and measures it: two looks at the clock, once in a burst. Returns how long it took.
    fn sampled<L: Log>(&mut self, log: &L, message: &L::Message<'_>) -> Duration {
        let before = self.clock.now();
        self.now = before;
        self.record(log, message);
        let took = self.clock.now().since(before);
        Meters::observe(&self.meters.processing, took);
        let timestamp = message.timestamp();
        if timestamp.is_known() {
            let age = self
                .clock
                .wall()
                .millis()
                .saturating_sub(timestamp.millis());
            // A record from a clock ahead of ours has no age; a negative one would spoil the histogram.
            let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
            Meters::observe(&self.meters.latency, age);
        }
        took
    }

    fn event<L: Log>(&mut self, log: &L, event: Event<L::Message<'_>>) {
        match event {
            Event::Assigned(partitions) => self.assigned(log, partitions),
            Event::Revoked(partitions) => self.revoked(partitions),
            Event::Lost(partitions) => self.lost(log, &partitions),
            Event::Committed { offsets, result } => self.committed(log, &offsets, result),
            Event::OutOfRange {
                partition,
                wanted,
                start,
                end,
            } => self.out_of_range(log, &partition, Some(wanted), (start, end)),
            Event::Forbidden(error) => self.fail(error),
            Event::Trouble(error) => {
                tracing::warn!(
                    service = %self.definition.name,
                    worker = self.meters.worker(),
                    error = %error,
                    "the cluster has a problem"
                );
            }
            Event::Record(_) | Event::Idle => {}
        }
    }

    /// Does what its time has come for: retries, replays, timers, the commit.
    fn due<L: Log>(&mut self, log: &L) {
        self.ask_starts(log);
        if self.schedule.held > 0 {
            self.held_due(log);
        }
        self.timers(log);
        self.commit_when_due(log);
    }

    /// How long a poll may wait before something is due.
    fn until_due(&self, wait: Duration) -> Duration {
        let mut until = wait.min(self.schedule.commits.next().since(self.now));
        let timed = [self.schedule.next_tick, self.schedule.next_ask];
        for due in timed.into_iter().flatten() {
            until = until.min(due.since(self.now));
        }
        if let Some(due) = self.next_held() {
            until = until.min(due.since(self.now));
        }
        until
    }

    /// The service cannot go on: remembers the first reason and drains.
    fn fail(&mut self, error: Error) {
        self.remember(error);
        self.stop();
    }

    /// The client has failed for good: nothing can be drained or committed any more.
    fn client_failed(&mut self, error: Error) {
        self.remember(error);
        self.abandon();
    }

    fn remember(&mut self, error: Error) {
        if self.lifecycle.failure.is_none() {
            tracing::error!(service = %self.definition.name, error = %error, "service stops");
            self.lifecycle.failure = Some(error);
        }
    }

    fn publish_when_due<L: Log>(&mut self, log: &L) {
        if self.now >= self.schedule.next_meters {
            self.schedule.next_meters = self.now.plus(METERS_EVERY);
            self.publish(log);
        }
    }

    /// Gives out what was counted.
    fn publish<L: Log>(&mut self, log: &L) {
        let mut read = 0;
        let mut assigned = 0_u32;
        for slot in self.table.slots_mut() {
            assigned += 1;
            let moved = slot.meters.read.flush();
            if moved > 0 {
                slot.activity.moved = self.now;
            }
            read += moved;
            let done = slot.ring.watermark().or(slot.positions.begins);
            // The client knows the ends of what it reads; of the others they are asked for now and then.
            let end = log.end_offset(&slot.source).max(slot.activity.end);
            if let (Some(end), Some(done)) = (end, done) {
                slot.meters.lag(end.get().saturating_sub(done.get()).max(0));
            }
        }
        self.meters.totals.read += read;
        self.meters.assigned.set(f64::from(assigned));
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        self.meters.in_flight.set(log.in_flight_bytes() as f64);
        self.meters.flush();
    }
}
