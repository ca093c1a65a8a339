//! What the simulated cluster answers a member that reads: events of its group, records, positions.
//!
//! The order is librdkafka's: what the group has to say comes before answers to commits, and those before records. Records
//! come from a random partition of those that have any, in order within each.

use std::sync::Arc;

use super::group::Notice;
use super::log::SimulatedMessage;
use super::member::Held;
use super::world::{MemberId, World, failure};
use crate::clock::Clock as _;
use crate::error::{Error, Outcome};
use crate::log::Event;
use crate::policy::Start;
use crate::topic::{Offset, TopicPartition};

impl World {
    pub(super) fn poll(&mut self, id: MemberId) -> Event<SimulatedMessage> {
        let now = self.clock.now();
        let Some(member) = self.members.get_mut(&id) else {
            return Event::Idle;
        };
        member.last_poll = now;
        if let Some(lost) = member.lost.take() {
            return Event::Lost(lost);
        }
        self.join_again(id);
        let Some(member) = self.members.get_mut(&id) else {
            return Event::Idle;
        };
        match member.notices.pop_front() {
            Some(Notice::Assigned(partitions)) => {
                member.told.extend(partitions.iter().cloned());
                self.log_book().hold(id, &partitions);
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
        if let Some(partition) = member.unplaced.pop_front() {
            let (start, end) = self.topics.range(&partition);
            return Event::OutOfRange {
                partition,
                wanted: None,
                start,
                end,
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
        if is_member || !member.told.is_empty() {
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
        self.tell(notices);
    }

    /// The next record of some partition.
    fn fetch(&mut self, id: MemberId) -> Event<SimulatedMessage> {
        let Some(member) = self.members.get(&id) else {
            return Event::Idle;
        };
        let readable = member.held.iter().filter(|(partition, held)| {
            let (start, end) = self.topics.range(partition);
            !held.paused && !held.stuck && (held.next < start || held.next < end)
        });
        let readable: Vec<TopicPartition> =
            readable.map(|(partition, _)| partition.clone()).collect();
        let Some(partition) = self.random.choice(&readable).cloned() else {
            return Event::Idle;
        };
        let Some(held) = self
            .members
            .get_mut(&id)
            .and_then(|member| member.held.get_mut(&partition))
        else {
            return Event::Idle;
        };
        match self.topics.read(&partition, held.next) {
            Some(record) => {
                let offset = Offset::new(held.next.get());
                held.next = offset.next();
                Event::Record(SimulatedMessage {
                    record,
                    partition,
                    offset,
                })
            }
            None => self.out_of_range(id, partition),
        }
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
        self.log_book().skip_to(&group, &partition, next);
        Event::OutOfRange {
            partition,
            wanted: Some(wanted),
            start,
            end,
        }
    }

    pub(super) fn admit(
        &mut self,
        id: MemberId,
        partitions: &[TopicPartition],
    ) -> Result<(), Error> {
        if self.chance(self.faults.failed_admit) {
            return Err(failure(
                "ask for committed offsets",
                "not coordinator",
                Outcome::NotApplied,
            ));
        }
        let Some(member) = self.members.get(&id) else {
            return Ok(());
        };
        let (name, start) = (
            Arc::clone(&member.subscription.group),
            member.subscription.start,
        );
        for partition in partitions {
            let (first, end) = self.topics.range(partition);
            let Some(group) = self.groups.get_mut(&name) else {
                return Ok(());
            };
            let committed = group.committed.get(partition).copied();
            let next = committed.unwrap_or(if start == Start::Latest { end } else { first });
            if committed.is_none() {
                // Where nothing is committed, a group that comes again begins anew, and nobody calls it a loss.
                group.begun.insert(partition.clone(), next);
                self.log_book().skip_to(&name, partition, next);
            }
            let is_unplaced = committed.is_none() && start == Start::Fail;
            let held = Held {
                next,
                paused: false,
                stuck: is_unplaced,
            };
            if let Some(member) = self.members.get_mut(&id) {
                member.held.insert(partition.clone(), held);
                if is_unplaced {
                    member.unplaced.push_back(partition.clone());
                }
            }
        }
        Ok(())
    }

    pub(super) fn release(&mut self, id: MemberId, partitions: &[TopicPartition]) {
        self.log_book().give_back(id, partitions);
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        for partition in partitions {
            member.held.remove(partition);
            member.told.remove(partition);
        }
        let name = Arc::clone(&member.subscription.group);
        let notices = self
            .groups
            .get_mut(&name)
            .map_or_else(Vec::new, |group| group.release(id, partitions));
        self.tell(notices);
    }

    pub(super) fn set_paused(&mut self, id: MemberId, partitions: &[TopicPartition], paused: bool) {
        let Some(member) = self.members.get_mut(&id) else {
            return;
        };
        for partition in partitions {
            if let Some(held) = member.held.get_mut(partition) {
                held.paused = paused;
            }
        }
    }
}
