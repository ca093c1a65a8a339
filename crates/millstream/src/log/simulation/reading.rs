//! What the simulated cluster answers a member that reads: events of its group, records, positions.
//!
//! The order is librdkafka's: what the group has to say comes before answers to commits, and those before records. Records
//! come from a random partition of those that have any, in order within each.

use std::collections::VecDeque;
use std::sync::Arc;

use super::group::Notice;
use super::log::SimulatedMessage;
use super::member::Held;
use super::world::{MemberId, World, failure};
use crate::clock::Clock as _;
use crate::error::{Error, Outcome};
use crate::log::{Begin, Event};
use crate::policy::Start;
use crate::topic::{NextOffset, Offset, TopicPartition};

impl World {
    pub(super) fn poll(&mut self, id: MemberId) -> Event<SimulatedMessage> {
        let now = self.clock.now();
        let Some(member) = self.members.get_mut(&id) else {
            return Event::Idle;
        };
        member.last_poll = now;
        if self.is_away() {
            return Event::Idle;
        }
        let Some(member) = self.members.get_mut(&id) else {
            return Event::Idle;
        };
        if let Some(lost) = member.lost.take() {
            self.journal().give_back(id, &lost);
            return Event::Lost(lost);
        }
        self.join_again(id);
        let Some(member) = self.members.get_mut(&id) else {
            return Event::Idle;
        };
        match member.notices.pop_front() {
            Some(Notice::Assigned(partitions)) => {
                member.assigned.extend(partitions.iter().cloned());
                self.journal().hold(id, &partitions);
                return Event::Assigned(partitions);
            }
            Some(Notice::Revoked(partitions)) => return Event::Revoked(partitions),
            None => {}
        }
        if let Some(asked) = member.asked.pop_front_if(|asked| asked.due <= now) {
            return Event::Committed {
                offsets: asked.offsets,
                result: asked.result,
            };
        }
        if self.chance(self.faults.empty_poll) {
            return Event::Idle;
        }
        self.fetch(id)
    }

    /// Who is in no group joins one, unless it still has to give back what it lost.
    fn join_again(&mut self, id: MemberId) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let subscription = &member.subscription;
        let is_member = self
            .groups
            .get(&subscription.group)
            .is_none_or(|group| group.has(id));
        if is_member || !member.assigned.is_empty() {
            return;
        }
        let topics = subscription.topics.iter();
        let partitions = topics
            .flat_map(|topic| self.topics.topic_partitions(topic))
            .collect();
        let name = Arc::clone(&subscription.group);
        let notices = self
            .groups
            .get_mut(&name)
            .map_or_else(Vec::new, |group| group.join(id, partitions));
        self.notify(notices);
        self.unsettle(&name);
    }

    /// The next record of some partition.
    fn fetch(&mut self, id: MemberId) -> Event<SimulatedMessage> {
        let Some(member) = self.members.get(&id) else {
            return Event::Idle;
        };
        let readable = member.held.iter().filter(|(partition, held)| {
            let (_, end) = self.topics.range(partition);
            let flows = held.late > 0 || !member.paused.contains(*partition);
            let has_records = held.next != end || !held.fetched.is_empty();
            flows && !held.stuck && has_records && self.topics.has(partition)
        });
        let readable: Vec<TopicPartition> =
            readable.map(|(partition, _)| partition.clone()).collect();
        let Some(partition) = self.random.choice(&readable).cloned() else {
            return Event::Idle;
        };
        let more = match self.chance(self.faults.prefetch) {
            true => self.random.usize(1..8),
            false => 0,
        };
        let (_, end) = self.topics.range(&partition);
        let member = self.members.get_mut(&id);
        let Some(held) = member.and_then(|member| member.held.get_mut(&partition)) else {
            return Event::Idle;
        };
        for _ in 0..=more {
            if let Some(record) = self.topics.read(&partition, held.next) {
                let offset = Offset::new(held.next.get());
                held.fetched.push_back((offset, record));
                held.next = offset.next();
            } else if held.next != end {
                // This is told at once, before what was fetched is given.
                return self.out_of_range(id, partition);
            }
        }
        let Some((offset, record)) = held.fetched.pop_front() else {
            return Event::Idle;
        };
        held.late = held.late.saturating_sub(1);
        Event::Record(SimulatedMessage {
            record,
            partition,
            offset,
        })
    }

    fn out_of_range(&mut self, id: MemberId, partition: TopicPartition) -> Event<SimulatedMessage> {
        let (start, end) = self.topics.range(&partition);
        let Some(member) = self.members.get_mut(&id) else {
            return Event::Idle;
        };
        let Some(held) = member.held.get_mut(&partition) else {
            return Event::Idle;
        };
        let wanted = held.next;
        match member.subscription.start {
            Start::Earliest => held.next = start,
            Start::Latest => held.next = end,
            Start::Fail => held.stuck = true,
        }
        let (group, next) = (Arc::clone(&member.subscription.group), held.next);
        self.journal()
            .skip_to(id, (&group, &partition), (start, next));
        Event::OutOfRange {
            partition,
            wanted,
            start,
            end,
        }
    }

    pub(super) fn admit(
        &mut self,
        id: MemberId,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        if self.is_away() || self.chance(self.faults.failed_admit) {
            return Err(failure(
                "ask for committed offsets",
                "not coordinator",
                Outcome::NotApplied,
            ));
        }
        let topics = &self.topics;
        if let Some(member) = self
            .members
            .get_mut(&id)
            .filter(|one| one.counts.is_empty())
        {
            let counts = member.subscription.topics.iter();
            let counts =
                counts.map(|topic| (Arc::clone(topic), topics.partitions(topic).unwrap_or(0)));
            member.counts = counts.collect();
        }
        Ok(self.begin_again(id, partitions))
    }

    pub(super) fn begin_again(
        &mut self,
        id: MemberId,
        partitions: &[TopicPartition],
    ) -> Vec<(TopicPartition, Begin)> {
        let begin = partitions.iter();
        let begin = begin.map(|partition| (partition.clone(), self.begin(id, partition)));
        begin.collect()
    }

    /// A member begins to read a partition.
    fn begin(&mut self, id: MemberId, partition: &TopicPartition) -> Begin {
        let (first, end) = self.topics.range(partition);
        let refused = Begin::Refused { start: first, end };
        let is_away = self.is_away() || self.chance(self.faults.leaderless);
        let Some(member) = self.members.get_mut(&id) else {
            return refused;
        };
        let start = member.subscription.start;
        let name = Arc::clone(&member.subscription.group);
        let Some(group) = self.groups.get_mut(&name) else {
            return refused;
        };
        let count = member.counts.get(&partition.topic);
        let is_added = count.is_some_and(|count| partition.partition.0 >= *count);
        let begin = match (group.committed.get(partition), start) {
            (Some(committed), _) => Begin::Committed(*committed),
            (None, Start::Earliest) => Begin::Chosen(first),
            (None, _) if is_away => Begin::Unknown,
            (None, Start::Latest) if is_added => Begin::Chosen(first),
            (None, Start::Latest) => Begin::Chosen(end),
            (None, Start::Fail) => refused,
        };
        let (next, stuck) = match begin {
            Begin::Committed(next) | Begin::Chosen(next) => (next, false),
            Begin::Refused { .. } | Begin::Unknown => (first, true),
        };
        let held = Held {
            next,
            fetched: VecDeque::new(),
            late: 0,
            stuck,
        };
        member.held.insert(partition.clone(), held);
        if !matches!(begin, Begin::Committed(_) | Begin::Unknown) {
            group.begun.insert(partition.clone(), next);
            self.journal()
                .begin_anew(id, (&name, partition), (first, next));
        }
        begin
    }

    pub(super) fn release(
        &mut self,
        id: MemberId,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        if self.chance(self.faults.failed_release) {
            return Err(failure(
                "release partitions",
                "in progress",
                Outcome::NotApplied,
            ));
        }
        self.journal().give_back(id, partitions);
        for partition in partitions {
            self.journal().forget_ticks(id, partition);
        }
        let Some(member) = self.members.get_mut(&id) else {
            return Ok(());
        };
        for partition in partitions {
            member.held.remove(partition);
            member.assigned.remove(partition);
        }
        let name = Arc::clone(&member.subscription.group);
        let notices = self
            .groups
            .get_mut(&name)
            .map_or_else(Vec::new, |group| group.release(id, partitions));
        self.notify(notices);
        Ok(())
    }

    /// Only of what is held: the client refuses the rest. A pause outlives a release, as librdkafka's does.
    pub(super) fn set_paused(&mut self, id: MemberId, partitions: &[TopicPartition], paused: bool) {
        for partition in partitions {
            let late = match paused && self.chance(self.faults.late_record) {
                true => self.random.usize(1..4),
                false => 0,
            };
            let Some(member) = self.members.get_mut(&id) else {
                return;
            };
            let Some(held) = member.held.get_mut(partition) else {
                continue;
            };
            held.late = late;
            if paused {
                held.fetch_again();
                member.paused.insert(partition.clone());
            } else {
                member.paused.remove(partition);
            }
        }
    }

    pub(super) fn seek(
        &mut self,
        id: MemberId,
        partition: &TopicPartition,
        offset: NextOffset,
    ) -> Result<(), Error> {
        let refused = |reason| Err(failure("seek", reason, Outcome::NotApplied));
        if self.chance(self.faults.failed_seek) {
            return refused("timed out");
        }
        let member = self.members.get_mut(&id);
        let Some(held) = member.and_then(|member| member.held.get_mut(partition)) else {
            return refused("the partition is not assigned");
        };
        held.fetch_from(offset);
        held.late = 0;
        self.journal().forget_ticks(id, partition);
        Ok(())
    }

    /// Those of some partitions that have records which the member has not polled.
    pub(super) fn unread(
        &self,
        id: MemberId,
        partitions: &[TopicPartition],
    ) -> Vec<(TopicPartition, NextOffset)> {
        let Some(member) = self.members.get(&id) else {
            return Vec::new();
        };
        let unread = partitions.iter().filter_map(|partition| {
            let (_, end) = self.topics.range(partition);
            let held = member.held.get(partition)?;
            let is_unread = held.next < end || !held.fetched.is_empty();
            is_unread.then(|| (partition.clone(), end))
        });
        unread.collect()
    }
}
