//! What really happened, kept beside the simulated cluster, and the rules of at-least-once delivery held against it.
//!
//! The journal notes each call of a handler and each effect's fate. A commit is right only if everything before it
//! is done: its handler succeeded and all its effects are acknowledged, or its dead letter is. The first call for a
//! record must not come before the first calls for the records before it, and a member may only process what it
//! holds. A record kept open is done when the effects of the call that closed it are acknowledged; what a timer wrote holds what
//! was handled after it; and what one member writes to a partition is in the order of its calls. A record is dead-lettered as refused only if
//! the cluster refused its effects. A broken rule is noted with its sequence of events; the scheduler fails the run with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::world::MemberId;
use crate::log::Token;
use crate::topic::{NextOffset, TopicPartition};
use crate::worker::{PlaceId, REPORTED_BITS, SHARED};

/// One try of one record, or one tick of a timer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Source {
    pub(crate) group: Arc<str>,
    pub(crate) partition: TopicPartition,
    pub(crate) offset: i64,
    /// Counts the tries in the whole world, so that each has its own effects.
    pub(crate) attempt: u64,
}

/// What a handler requested for records.
#[derive(Debug, Clone)]
pub(crate) struct Requested {
    /// Where the record being handled stands.
    pub(crate) place: PlaceId,
    /// It is kept open.
    pub(crate) open: bool,
    /// Records kept open that are done now.
    pub(crate) closed: Vec<PlaceId>,
}

/// How a try went so far.
#[derive(Debug, Default, Clone, Copy)]
struct Attempt {
    succeeded: bool,
    effects: usize,
    acknowledged: usize,
    dead_lettered: bool,
    /// The cluster refused its effects, and no others with them.
    refused: bool,
    /// Kept open, and not closed by this call yet.
    open: bool,
    closed_by: Option<u64>,
}

impl Attempt {
    fn is_acknowledged(self) -> bool {
        self.succeeded && self.acknowledged >= self.effects
    }
}

/// How far a group's handlers are in one partition.
#[derive(Debug, Default)]
struct History {
    /// The next offset that was never handled.
    next: Option<i64>,
    open: BTreeMap<i64, Vec<u64>>,
    done: BTreeSet<i64>,
    /// Where the group went on when what came before was gone: that is not to be done any more.
    skipped_to: i64,
}

/// The journal of a world.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    attempts: BTreeMap<u64, Attempt>,
    count: u64,
    histories: BTreeMap<(Arc<str>, TopicPartition), History>,
    /// The try whose effects each member is sending.
    current: BTreeMap<MemberId, Source>,
    /// The calls whose records are kept open, by member and place.
    kept_open: BTreeMap<(MemberId, PlaceId), u64>,
    /// The timers of each member whose effects may still be under way, and their partition.
    ticks: BTreeMap<MemberId, Vec<(TopicPartition, u64)>>,
    /// The place of the record whose effect was sent last, by member and partition.
    sent: BTreeMap<(MemberId, u64), u64>,
    /// The member that is being stepped.
    active: Option<MemberId>,
    held: BTreeMap<MemberId, BTreeSet<TopicPartition>>,
    /// States made so far.
    states: u64,
    /// The last record that was applied to each state.
    applied: BTreeMap<(u64, TopicPartition), i64>,
    broken: Vec<String>,
    handled: u64,
}

impl Journal {
    /// The scheduler is about to step this member.
    pub(crate) fn activate(&mut self, member: MemberId) {
        self.active = Some(member);
    }

    /// A member has learned that it holds partitions.
    pub(super) fn hold(&mut self, member: MemberId, partitions: &[TopicPartition]) {
        self.held
            .entry(member)
            .or_default()
            .extend(partitions.iter().cloned());
    }

    /// A member gave partitions back.
    pub(super) fn give_back(&mut self, member: MemberId, partitions: &[TopicPartition]) {
        if let Some(held) = self.held.get_mut(&member) {
            held.retain(|partition| !partitions.contains(partition));
        }
    }

    /// A member asks for a commit: only of what it holds.
    pub(super) fn asks_to_commit(
        &mut self,
        member: MemberId,
        offsets: &[(TopicPartition, NextOffset)],
    ) {
        let held = self.held.get(&member);
        for (partition, to) in offsets {
            if !held.is_some_and(|held| held.contains(partition)) {
                self.broken.push(format!(
                    "{member} committed {partition} to {to} without holding the partition"
                ));
            }
        }
    }

    /// A topic has only so many partitions left; what is known of the others is of no use.
    pub(super) fn forget_beyond(&mut self, topic: &str, partitions: i32) {
        self.histories.retain(|(_, partition), _| {
            *partition.topic != *topic || partition.partition.0 < partitions
        });
    }

    /// The state of a partition is made anew.
    pub(crate) fn make_state(&mut self) -> u64 {
        self.states += 1;
        self.states
    }

    /// A handler has succeeded with a record on this state: each record once, and in order.
    pub(crate) fn apply(&mut self, state: u64, partition: &TopicPartition, offset: i64) {
        let place = (state, partition.clone());
        let last = self.applied.insert(place, offset);
        if let Some(last) = last.filter(|last| *last >= offset) {
            self.broken.push(format!(
                "{partition}@{offset} was handled after {partition}@{last} on the same state"
            ));
        }
    }

    /// A handler is called for a record.
    pub(crate) fn begin(&mut self, group: &Arc<str>, partition: &TopicPartition, offset: i64) {
        self.handled += 1;
        self.count += 1;
        let attempt = self.count;
        self.attempts.insert(attempt, Attempt::default());
        let history = self
            .histories
            .entry((Arc::clone(group), partition.clone()))
            .or_default();
        let next = *history.next.get_or_insert(offset);
        if offset > next {
            self.broken.push(format!(
                "{partition}@{offset} was handled before {partition}@{next} ever was"
            ));
        }
        history.next = Some(next.max(offset + 1));
        history.open.entry(offset).or_default().push(attempt);
        let Some(member) = self.active else { return };
        if !self
            .held
            .get(&member)
            .is_some_and(|held| held.contains(partition))
        {
            self.broken.push(format!(
                "{member} handled {partition}@{offset} without holding the partition"
            ));
        }
        let source = Source {
            group: Arc::clone(group),
            partition: partition.clone(),
            offset,
            attempt,
        };
        self.current.insert(member, source);
    }

    /// The handler has answered, with so many effects, and what it requested for records.
    pub(crate) fn end(&mut self, succeeded: bool, effects: usize, requested: Requested) {
        let Some(member) = self.active else { return };
        let Some(call) = self.current.get(&member).map(|source| source.attempt) else {
            return;
        };
        if let Some(attempt) = self.attempts.get_mut(&call) {
            attempt.succeeded = succeeded;
            attempt.effects = effects;
            attempt.open = succeeded && requested.open;
        }
        if !succeeded {
            return;
        }
        if requested.open {
            self.kept_open.insert((member, requested.place), call);
        }
        for place in requested.closed {
            let closed = self.kept_open.remove(&(member, place));
            if let Some(attempt) = closed.and_then(|closed| self.attempts.get_mut(&closed)) {
                attempt.closed_by = Some(call);
            }
        }
    }

    /// A timer of a partition is called: what follows belongs to no record, and `partition` is what waits for it.
    pub(crate) fn tick(&mut self, group: &Arc<str>, partition: Option<TopicPartition>) {
        let Some(member) = self.active else { return };
        self.current.remove(&member);
        let Some(partition) = partition else { return };
        self.count += 1;
        let attempt = self.count;
        self.attempts.insert(attempt, Attempt::default());
        let attempts = &self.attempts;
        let ticks = self.ticks.entry(member).or_default();
        ticks.retain(|(_, tick)| {
            attempts
                .get(tick)
                .is_some_and(|tick| !tick.is_acknowledged())
        });
        ticks.push((partition.clone(), attempt));
        let source = Source {
            group: Arc::clone(group),
            partition,
            offset: -1,
            attempt,
        };
        self.current.insert(member, source);
    }

    /// A member reads a partition anew, or learned that an effect of it failed: what its timers wrote is given up.
    pub(super) fn forget_ticks(&mut self, member: MemberId, partition: &TopicPartition) {
        if let Some(ticks) = self.ticks.get_mut(&member) {
            ticks.retain(|(of, _)| of != partition);
        }
    }

    /// A member sends an effect. Its token has the place of its record in the lower bits, and above them what is the same for all
    /// records of a partition until it is read anew.
    pub(super) fn sent(&mut self, member: MemberId, token: Token) {
        let (of, place) = (token.0 >> SHARED, token.0 & ((1 << REPORTED_BITS) - 1));
        let before = self.sent.insert((member, of), place);
        if before.is_some_and(|before| before > place) {
            self.broken.push(format!(
                "{member} sent an effect after what it emitted later"
            ));
        }
    }

    /// Whether a call has done what it is to do.
    fn is_done(&self, call: u64) -> bool {
        let Some(attempt) = self.attempts.get(&call) else {
            return false;
        };
        let closed = attempt.closed_by.and_then(|by| self.attempts.get(&by));
        let is_open = attempt.open && !closed.is_some_and(|by| by.is_acknowledged());
        attempt.dead_lettered || (attempt.is_acknowledged() && !is_open)
    }

    /// The first timer of a member in a partition whose effects are not acknowledged.
    fn tick_under_way(&self, member: MemberId, partition: &TopicPartition) -> Option<u64> {
        let ticks = self.ticks.get(&member)?.iter();
        let mut under_way = ticks.filter(|(of, call)| {
            let attempt = self.attempts.get(call);
            of == partition && attempt.is_some_and(|tick| tick.succeeded && !tick.is_acknowledged())
        });
        under_way.next().map(|(_, call)| *call)
    }

    /// The try whose effects a member is sending.
    pub(super) fn current(&self, member: MemberId) -> Option<Source> {
        self.current.get(&member).cloned()
    }

    /// A dead letter names its origin itself; it belongs to a try of that record.
    pub(super) fn dead_letter_of(
        &mut self,
        group: &Arc<str>,
        partition: TopicPartition,
        offset: i64,
    ) -> Source {
        self.count += 1;
        let attempt = self.count;
        self.attempts.insert(attempt, Attempt::default());
        let history = self
            .histories
            .entry((Arc::clone(group), partition.clone()))
            .or_default();
        history.open.entry(offset).or_default().push(attempt);
        Source {
            group: Arc::clone(group),
            partition,
            offset,
            attempt,
        }
    }

    /// The cluster refuses the effects of one call, and no others with them.
    pub(super) fn refuse(&mut self, call: u64) {
        if let Some(attempt) = self.attempts.get_mut(&call) {
            attempt.refused = true;
        }
    }

    /// A member dead-letters a record because the cluster refused its effects: then it did so for this record.
    pub(super) fn blame(
        &mut self,
        member: MemberId,
        group: &Arc<str>,
        partition: &TopicPartition,
        offset: i64,
    ) {
        let history = self.histories.get(&(Arc::clone(group), partition.clone()));
        let tries = history.and_then(|history| history.open.get(&offset));
        let mut tries = tries.into_iter().flatten();
        let is_refused = |call: &u64| self.attempts.get(call).is_some_and(|call| call.refused);
        if !tries.any(is_refused) {
            self.broken.push(format!(
                "{member} blames {partition}@{offset} for a refusal that was not of its effects"
            ));
        }
    }

    /// A member has learned that an effect is on the cluster.
    pub(super) fn acknowledge(&mut self, source: &Source, dead_letter: bool) {
        if let Some(attempt) = self.attempts.get_mut(&source.attempt) {
            attempt.acknowledged += 1;
            attempt.dead_lettered |= dead_letter;
        }
    }

    /// A group commits `to`; `from` is what it had committed, or where it began, and `start` what is still there.
    pub(super) fn commit(
        &mut self,
        member: MemberId,
        (group, partition): (&Arc<str>, &TopicPartition),
        (from, start): (NextOffset, NextOffset),
        to: NextOffset,
    ) {
        if to < from {
            self.broken.push(format!(
                "{member} committed {partition} back from {from} to {to}"
            ));
        }
        let tick = self.tick_under_way(member, partition);
        let place = (Arc::clone(group), partition.clone());
        let mut history = self.histories.remove(&place).unwrap_or_default();
        for offset in from.max(start).get().max(history.skipped_to)..to.get() {
            let tries = history.open.get(&offset).map_or(&[][..], Vec::as_slice);
            let done = tries.iter().filter(|call| self.is_done(**call));
            let waits = |call: &&u64| tick.is_none_or(|tick| **call < tick);
            if history.done.contains(&offset) || done.clone().any(|call| waits(&call)) {
                history.done.insert(offset);
            } else if done.count() > 0 {
                self.broken.push(format!("{member} committed {partition} to {to}, but the effects of a timer before {partition}@{offset} are not acknowledged"));
            } else {
                let state = match tries.last().and_then(|attempt| self.attempts.get(attempt)) {
                    None => "it was never handled".to_owned(),
                    Some(attempt) if !attempt.succeeded => {
                        "its handler has not succeeded".to_owned()
                    }
                    Some(attempt) if attempt.is_acknowledged() => "it is kept open".to_owned(),
                    Some(attempt) => {
                        format!(
                            "{} of its {} effects are acknowledged",
                            attempt.acknowledged, attempt.effects
                        )
                    }
                };
                self.broken
                    .push(format!("{member} committed {partition} to {to}, but {partition}@{offset} is not done: {state}"));
            }
        }
        self.histories.insert(place, history);
    }

    /// A group that has committed nothing begins at `start`, where the cluster has records from `first` on: not beyond one that
    /// a handler has already seen.
    pub(super) fn begin_anew(
        &mut self,
        member: MemberId,
        (group, partition): (&Arc<str>, &TopicPartition),
        (first, start): (NextOffset, NextOffset),
    ) {
        self.leave_out(member, (group, partition), (first.get(), start.get()));
    }

    /// The position of a group is gone, and it goes on at `to`, where the cluster has records from `first` on. If what it left out
    /// the last time ends on the cluster, nothing that was handled since is left out with it.
    pub(super) fn skip_to(
        &mut self,
        member: MemberId,
        (group, partition): (&Arc<str>, &TopicPartition),
        (first, to): (NextOffset, NextOffset),
    ) {
        let history = self.histories.get(&(Arc::clone(group), partition.clone()));
        let since = history.map_or(0, |history| history.skipped_to);
        let since = if since < first.get() { to.get() } else { since };
        self.leave_out(member, (group, partition), (since, to.get()));
    }

    /// A group leaves out what comes before `to`: nothing of it from `since` on was handled and not committed.
    fn leave_out(
        &mut self,
        member: MemberId,
        (group, partition): (&Arc<str>, &TopicPartition),
        (since, to): (i64, i64),
    ) {
        let place = (Arc::clone(group), partition.clone());
        let history = self.histories.entry(place).or_default();
        let mut left_out = history.open.range(since..to.max(since));
        if let Some((seen, _)) = left_out.find(|(seen, _)| !history.done.contains(seen)) {
            self.broken.push(format!(
                "{member} begins with {partition} at {to}, but {partition}@{seen} was handled and never committed"
            ));
        }
        history.next = Some(history.next.unwrap_or(0).max(to));
        history.skipped_to = history.skipped_to.max(to);
    }

    /// The first broken rule, if one was broken.
    pub(crate) fn broken(&self) -> Option<&str> {
        self.broken.first().map(String::as_str)
    }

    /// How often handlers were called.
    pub(crate) fn handled(&self) -> u64 {
        self.handled
    }
}
