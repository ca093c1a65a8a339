//! Partitions come and go.
//!
//! What is to be given away takes no more records; its effects under way are waited for within the drain budget, its
//! watermark is committed and waited for, and only then is it released: the group waits until then, so the next
//! holder starts where this one ended. What was lost is dropped at once, nothing committed: it already has another
//! holder. Reports that come after either find nothing, by epoch. Stopping is giving everything away.

use std::collections::HashSet;
use std::time::Duration;

use crate::clock::Moment;
use crate::definition::Definition;
use crate::error::{Class, Error};
use crate::log::{Begin, Log};
use crate::metrics::{Meters, REBALANCES};
use crate::topic::TopicPartition;

use super::Core;
use super::partition::{Hold, Tick, Unit};

/// Between two attempts to be given a start position by a cluster that does not answer.
const ADMIT_AGAIN: Duration = Duration::from_millis(500);

/// Between two attempts to commit before partitions are given away.
const COMMIT_AGAIN: Duration = Duration::from_millis(100);

/// How long the commit of a stop may take beyond the drain: in a rebalance the client sends it only when the group has settled.
const COMMIT_BEYOND: Duration = Duration::from_secs(3);

/// Between two attempts to release partitions.
const RELEASE_AGAIN: Duration = Duration::from_millis(100);

/// Where a worker stands, and why it ends if it has to.
#[derive(Debug, Default)]
pub(super) struct Lifecycle {
    pub(super) phase: Phase,
    /// Why the service cannot go on.
    pub(super) failure: Option<Error>,
    /// Why a partition was halted that this member held when it was asked to stop.
    pub(super) halted: Option<Error>,
}

/// A worker's state between its start and its end.
#[derive(Debug, Default)]
pub(super) enum Phase {
    #[default]
    /// The group has not given this member its share yet, or has taken everything back.
    Joining,
    /// The member has its share, be it none.
    Running,
    /// These were assigned; they are admitted at this time, or tried again.
    Admitting(Vec<TopicPartition>, Moment),
    /// These are drained before they are released to the group.
    Draining(Drain),
    /// These are given up; the log is asked at this time again to release them.
    Releasing(Vec<TopicPartition>, Moment),
    /// Everything is drained before the worker ends.
    Stopping(Drain),
    /// Everything is given up: the worker is at its end.
    Stopped,
}

/// Partitions on their way out.
#[derive(Debug)]
pub(super) struct Drain {
    partitions: Vec<TopicPartition>,
    since: Moment,
    until: Moment,
    /// No commit before this time, because the cluster has just refused one.
    again: Moment,
}

impl Phase {
    pub(super) const fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }

    const fn drain(&self) -> Option<&Drain> {
        match self {
            Self::Draining(drain) | Self::Stopping(drain) => Some(drain),
            _ => None,
        }
    }
}

impl<S> Core<S> {
    pub(super) fn assigned<L: Log>(&mut self, log: &L, partitions: Vec<TopicPartition>) {
        self.meters.count_kind(REBALANCES, "kind", "assigned");
        tracing::info!(
            service = %self.definition.name,
            worker = self.meters.worker(),
            partitions = %names(&partitions),
            "partitions assigned"
        );
        self.lifecycle.phase = Phase::Admitting(partitions, self.now);
        self.settle(log, Duration::ZERO);
    }

    pub(super) fn revoked(&mut self, partitions: Vec<TopicPartition>) {
        self.meters.count_kind(REBALANCES, "kind", "revoked");
        let drain = self.drain(partitions);
        self.lifecycle.phase = Phase::Draining(drain);
    }

    pub(super) fn lost<L: Log>(&mut self, log: &L, partitions: &[TopicPartition]) {
        self.meters.count_kind(REBALANCES, "kind", "lost");
        tracing::warn!(
            service = %self.definition.name,
            worker = self.meters.worker(),
            partitions = %names(partitions),
            "partitions lost: what was under way is dropped and will be processed again"
        );
        self.give_up(partitions);
        self.release(log, partitions.to_vec());
    }

    pub(super) fn stop(&mut self) {
        if self.is_stopping() {
            return;
        }
        let all: Vec<_> = self.table.slots().map(|slot| slot.source.clone()).collect();
        self.lifecycle.halted = all.iter().find_map(|source| {
            let unit = self.table.unit_mut(source.partition)?;
            match std::mem::replace(&mut unit.hold, Hold::Draining) {
                Hold::Halted(reason) => Some(*reason),
                _ => None,
            }
        });
        let drain = self.drain(all);
        self.lifecycle.phase = Phase::Stopping(drain);
    }

    /// Ends at once: nothing is drained, committed or released.
    pub(super) fn abandon(&mut self) {
        let all: Vec<_> = self.table.slots().map(|slot| slot.source.clone()).collect();
        self.give_up(&all);
        self.lifecycle.phase = Phase::Stopped;
    }

    pub(super) const fn is_stopping(&self) -> bool {
        matches!(self.lifecycle.phase, Phase::Stopping(_) | Phase::Stopped)
    }

    pub(super) const fn is_stopped(&self) -> bool {
        matches!(self.lifecycle.phase, Phase::Stopped)
    }

    /// Whether the group waits for this worker, so that no records are to be taken.
    pub(super) const fn is_waiting_to_settle(&self) -> bool {
        !matches!(self.lifecycle.phase, Phase::Joining | Phase::Running)
    }

    /// Does what the group waits for, as far as it can be done by now; waits up to `wait` for effects under way.
    pub(super) fn settle<L: Log>(&mut self, log: &L, wait: Duration) {
        match &mut self.lifecycle.phase {
            Phase::Joining | Phase::Running | Phase::Stopped => {}
            Phase::Admitting(..) => self.admit(log, wait),
            Phase::Releasing(partitions, again) => {
                if self.now >= *again {
                    let partitions = std::mem::take(partitions);
                    self.release(log, partitions);
                } else {
                    let wait = wait.min(again.since(self.now));
                    self.reports(log, wait);
                }
            }
            Phase::Draining(drain) | Phase::Stopping(drain) => {
                let (until, again) = (drain.until, drain.again);
                let is_over =
                    |core: &mut Self| core.now >= again && (core.now >= until || core.is_drained());
                if !is_over(self) {
                    let left = until.max(again).since(self.now);
                    let left = left.min(Duration::from_millis(5));
                    self.reports(log, wait.min(left));
                    self.send_pending(log);
                    self.now = self.clock.now();
                }
                if is_over(self) {
                    self.drained(log);
                }
            }
        }
    }

    fn admit<L: Log>(&mut self, log: &L, wait: Duration) {
        let Phase::Admitting(partitions, next) = &mut self.lifecycle.phase else {
            return;
        };
        if self.now < *next {
            // Nothing may be polled before the group has its answer; the wait is spent where it can be.
            let wait = wait.min(next.since(self.now));
            self.reports(log, wait);
            return;
        }
        match co_partitioned(&self.definition, log).and_then(|()| log.admit(partitions)) {
            Ok(begins) => {
                self.lifecycle.phase = Phase::Running;
                self.take_in(log, begins);
            }
            Err(error) if error.is_retriable() => {
                tracing::warn!(
                    service = %self.definition.name,
                    error = %error,
                    "the cluster does not tell where to start, trying again"
                );
                *next = self.now.plus(ADMIT_AGAIN);
            }
            Err(error) => self.fail(error),
        }
    }

    /// Takes admitted partitions in, and lets those flow that have no reason to stand still: what a client was asked to pause
    /// before a partition left is still paused when it comes back.
    fn take_in<L: Log>(&mut self, log: &L, begins: Vec<(TopicPartition, Begin)>) {
        let partitions: Vec<_> = begins.iter().map(|(source, _)| source.clone()).collect();
        let mut replays = Vec::new();
        for (source, begin) in begins {
            let mut inputs = self.definition.inputs.iter();
            let Some(input) = inputs.position(|input| input.topic == source.topic) else {
                continue;
            };
            if self.table.find(input, source.partition).is_some() {
                // Named again without having left: it flows from where the group has committed, on a state that is ahead.
                replays.push(source.partition);
                continue;
            }
            self.take_in_one(log, input, source, begin);
        }
        if self.is_stopping() {
            return;
        }
        let mut numbers: Vec<_> = partitions.iter().map(|source| source.partition).collect();
        numbers.sort_unstable_by_key(|number| number.0);
        numbers.dedup();
        self.commit_starts(log, &numbers);
        for partition in replays {
            self.replay_afresh(log, partition);
        }
        let (flowing, still): (Vec<_>, Vec<_>) = partitions
            .into_iter()
            .partition(|source| !self.sending.paused_for_backpressure && self.wants(source));
        if !still.is_empty() {
            log.pause(&still);
        }
        if !flowing.is_empty() {
            log.resume(&flowing);
        }
        self.schedule_ticks();
    }

    fn wants(&self, source: &TopicPartition) -> bool {
        let mut inputs = self.definition.inputs.iter();
        let input = inputs.position(|input| input.topic == source.topic);
        let slot = input.and_then(|input| self.table.find(input, source.partition));
        let slot = slot.and_then(|id| self.table.slot(id));
        slot.is_some_and(|slot| self.table.wants(slot))
    }

    fn take_in_one<L: Log>(&mut self, log: &L, input: usize, source: TopicPartition, begin: Begin) {
        let mut state = None;
        if self.table.unit(source.partition).is_none() {
            state = self.fresh_state(source.partition);
            if state.is_none() {
                return;
            }
        }
        let definition = &*self.definition;
        let now = self.now;
        let declared = definition.inputs.get(input);
        let count = declared.and_then(|input| input.spec.partitions);
        if count.is_some_and(|count| source.partition.0 >= count) {
            tracing::warn!(
                service = %definition.name,
                topic = %source.topic,
                partition = source.partition.0,
                declared = count,
                "the topic has grown: keys move to other partitions, and their order and state with them"
            );
        }
        let starts_paused = declared.is_some_and(|input| input.paused);
        let meters = self.meters.partition(&source);
        let ticks = definition.timers.iter().map(|timer| Tick {
            due: now.plus(timer.every),
            is_suspect: false,
        });
        let unit = state.map(|state| Unit {
            state,
            slots: Vec::new(),
            hold: Hold::Free,
            is_starting: false,
            rewinds: 0,
            ticks: ticks.collect(),
        });
        let id = self.table.insert(input, source.clone(), meters, unit);
        let Some(slot) = id.and_then(|id| self.table.slot_mut(id)) else {
            return;
        };
        slot.paused = starts_paused;
        slot.activity.moved = now;
        self.begins_at(log, &source, begin);
    }

    /// Starts to drain; a drain that is under way already takes the rest with it.
    fn drain(&mut self, mut partitions: Vec<TopicPartition>) -> Drain {
        for source in &partitions {
            if let Some(unit) = self.table.unit_mut(source.partition) {
                unit.hold = Hold::Draining;
            }
        }
        self.count_held();
        let mut since = self.now;
        let mut until = self.now.plus(self.definition.settings.drain_within);
        if let Some(earlier) = self.lifecycle.phase.drain() {
            let known: HashSet<&TopicPartition> = partitions.iter().collect();
            let others = earlier.partitions.iter();
            let others: Vec<_> = others
                .filter(|source| !known.contains(source))
                .cloned()
                .collect();
            partitions.extend(others);
            since = earlier.since;
            until = until.min(earlier.until);
        }
        Drain {
            partitions,
            since,
            until,
            again: self.now,
        }
    }

    fn is_drained(&mut self) -> bool {
        let Some(drain) = self.lifecycle.phase.drain() else {
            return true;
        };
        let pending = self.sending.pending.as_ref().map(|pending| pending.slot);
        let sources = drain.partitions.iter();
        let mut slots = sources.filter_map(|source| self.slot_of_source(source));
        slots.all(|slot| Some(slot.id) != pending && slot.ring.is_settled())
    }

    fn drained<L: Log>(&mut self, log: &L) {
        let is_complete = self.is_drained();
        let Some(drain) = self.lifecycle.phase.drain() else {
            return;
        };
        let (partitions, since, until) = (drain.partitions.clone(), drain.since, drain.until);
        let committed = self.commit_on_the_way_out(log, &partitions);
        let is_committed = committed.is_ok();
        let passes = committed.as_ref().is_err_and(Error::is_retriable);
        let last = if self.is_stopping() {
            until.plus(COMMIT_BEYOND)
        } else {
            until
        };
        self.now = self.clock.now();
        if passes && self.now < last {
            let next = self.now.plus(COMMIT_AGAIN);
            if let Phase::Draining(drain) | Phase::Stopping(drain) = &mut self.lifecycle.phase {
                drain.again = next;
            }
            return;
        }
        Meters::observe(&self.meters.drain, self.now.since(since));
        if !is_complete || !is_committed {
            tracing::warn!(
                service = %self.definition.name,
                worker = self.meters.worker(),
                partitions = %names(&partitions),
                "the drain budget is used up: what is not acknowledged and committed will be processed again"
            );
        }
        self.publish(log);
        self.give_up(&partitions);
        if self.is_stopping() {
            if let Err(error) = committed {
                let service = self.definition.name.to_string();
                self.remember(match error {
                    error if error.is_retriable() => Error::LastCommit {
                        service,
                        source: Box::new(error),
                    },
                    error => error,
                });
            }
            // A worker that stops leaves the group by closing its client, which releases everything at once.
            self.lifecycle.phase = Phase::Stopped;
        } else {
            self.release(log, partitions);
        }
    }

    /// Commits what is done in partitions that are given away; fails if what is done may be processed again.
    fn commit_on_the_way_out<L: Log>(
        &mut self,
        log: &L,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        let committed = self.commit_and_wait(log, partitions);
        match committed.as_ref().map_err(Error::class) {
            // Another member has the partitions, or this one is not in the group any more: there is nothing to commit.
            Err(Class::Fenced) => Ok(()),
            // Of a topic that is gone nothing is left to be processed.
            Err(Class::Fatal) => {
                let is_there = |source: &&TopicPartition| {
                    let count = log.partition_count(&source.topic);
                    count.is_ok_and(|count| source.partition.0 < count)
                };
                let left: Vec<_> = partitions.iter().filter(is_there).cloned().collect();
                if left.len() == partitions.len() {
                    return committed;
                }
                self.commit_and_wait(log, &left)
            }
            _ => committed,
        }
    }

    /// Forgets partitions and all that is under way in them.
    fn give_up(&mut self, partitions: &[TopicPartition]) {
        let slots = partitions
            .iter()
            .filter_map(|source| self.slot_of_source(source));
        let ids: Vec<_> = slots.map(|slot| slot.id).collect();
        for id in ids {
            if self
                .sending
                .pending
                .as_ref()
                .is_some_and(|pending| pending.slot == id)
            {
                self.sending.pending = None;
            }
            if let Some(mut slot) = self.table.remove(id) {
                self.meters.totals.read += slot.meters.read.flush();
                slot.meters.gone();
            }
        }
        self.count_held();
        self.schedule_ticks();
    }

    /// Tells the log that partitions are given up: the group goes on.
    fn release<L: Log>(&mut self, log: &L, partitions: Vec<TopicPartition>) {
        match log.release(&partitions) {
            Ok(()) if self.table.slots().next().is_some() => self.lifecycle.phase = Phase::Running,
            Ok(()) => self.lifecycle.phase = Phase::Joining,
            Err(error) if error.is_retriable() => {
                tracing::warn!(
                    service = %self.definition.name,
                    error = %error,
                    "partitions could not be released, trying again"
                );
                self.lifecycle.phase = Phase::Releasing(partitions, self.now.plus(RELEASE_AGAIN));
            }
            Err(error) => self.fail(error),
        }
    }
}

/// Records of equal partition number meet in one state, so every input needs the same number of partitions, also after one
/// of the topics has grown.
fn co_partitioned<S, L: Log>(definition: &Definition<S>, log: &L) -> Result<(), Error> {
    let mut first = None;
    if definition.inputs.len() == 1 {
        return Ok(());
    }
    for input in &definition.inputs {
        let count = match log.partition_count(&input.topic) {
            Ok(count) => count,
            Err(error) if error.is_retriable() => return Err(error),
            // A topic that is gone has no partitions that could meet others.
            Err(_) => continue,
        };
        let (topic, expected) = *first.get_or_insert((&input.topic, count));
        if count != expected {
            return Err(Error::NotCoPartitioned {
                service: definition.name.to_string(),
                first: topic.to_string(),
                first_count: expected,
                second: input.topic.to_string(),
                second_count: count,
            });
        }
    }
    Ok(())
}

/// Partitions in one word for the log.
fn names(partitions: &[TopicPartition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    names.join(" ")
}
