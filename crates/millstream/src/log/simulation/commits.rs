//! What the simulated cluster does with a member's commits.
//!
//! A commit takes effect at once, late or not at all, and its answer takes its time. Commits of one member take effect in
//! the order they were asked for, as on one connection. One that comes late is refused when the group has had a rebalance
//! since, and for a while after a rebalance all are. Each is held against the journal.

use std::sync::Arc;
use std::time::Duration;

use super::member::{Asked, LateCommit};
use super::world::{MemberId, World, failure};
use crate::clock::{Clock as _, Moment};
use crate::error::{Class, Error, Outcome};
use crate::topic::{NextOffset, TopicPartition};

type Offsets = [(TopicPartition, NextOffset)];

impl World {
    /// A commit whose answer is an event.
    pub(super) fn commit_later(&mut self, id: MemberId, offsets: &Offsets) {
        self.journal().asks_to_commit(id, offsets);
        let is_behind = self
            .members
            .get(&id)
            .is_some_and(|member| !member.late.is_empty());
        if is_behind || self.chance(self.faults.late_commit) {
            let due = self.clock.now().plus(self.delay() * 4);
            let generation = self.generation(id);
            if let Some(member) = self.members.get_mut(&id) {
                let due = member.late.back().map_or(due, |last| due.max(last.due));
                let offsets = offsets.to_vec();
                let late = LateCommit {
                    offsets,
                    due,
                    generation,
                };
                member.late.push_back(late);
            }
            return;
        }
        let result = self.commit(id, offsets);
        self.answer(id, offsets.to_vec(), result);
    }

    /// A commit that is waited for; those asked for earlier take effect before it.
    pub(super) fn commit_now(&mut self, id: MemberId, offsets: &Offsets) -> Result<(), Error> {
        self.journal().asks_to_commit(id, offsets);
        self.commit_late(id, None);
        let dropped = || failure("commit offsets", "request timed out", Outcome::Unknown);
        self.commit(id, offsets).unwrap_or_else(|| Err(dropped()))
    }

    /// The late commits of a member take effect, those due until some time or all.
    pub(super) fn commit_late(&mut self, id: MemberId, until: Option<Moment>) {
        let is_due = |late: &mut LateCommit| until.is_none_or(|until| late.due <= until);
        while let Some(late) = self
            .members
            .get_mut(&id)
            .and_then(|member| member.late.pop_front_if(is_due))
        {
            let result = if late.generation == self.generation(id) {
                self.commit(id, &late.offsets)
            } else {
                Some(Err(unsettled()))
            };
            self.answer(id, late.offsets, result);
        }
    }

    fn answer(
        &mut self,
        id: MemberId,
        offsets: Vec<(TopicPartition, NextOffset)>,
        result: Option<Result<(), Error>>,
    ) {
        let due = self.clock.now().plus(self.delay());
        if let (Some(result), Some(member)) = (result, self.members.get_mut(&id)) {
            member.asked.push_back(Asked {
                offsets,
                due,
                result,
            });
        }
    }

    fn generation(&self, id: MemberId) -> usize {
        let group = self
            .members
            .get(&id)
            .and_then(|member| self.groups.get(&member.subscription.group));
        group.map_or(0, super::group::Group::generation)
    }

    /// The group has had a rebalance; its commits may be refused for a while.
    pub(super) fn unsettle(&mut self, group: &str) {
        if self.chance(self.faults.unsettled_group) {
            let until = Duration::from_millis(self.random.u64(..1_500));
            let until = self.clock.now().plus(until);
            if let Some(group) = self.groups.get_mut(group) {
                group.unsettled_until = until;
            }
        }
    }

    /// Decides about a commit; `None` when it is never answered.
    fn commit(
        &mut self,
        id: MemberId,
        offsets: &[(TopicPartition, NextOffset)],
    ) -> Option<Result<(), Error>> {
        let faults = self.faults;
        let name = Arc::clone(&self.members.get(&id)?.subscription.group);
        if self.groups.get(&name).is_none_or(|group| !group.has(id)) {
            return Some(Err(Error::Kafka {
                action: "commit offsets".to_owned(),
                reason: "unknown member".to_owned(),
                class: Class::Fenced,
                outcome: Outcome::NotApplied,
            }));
        }
        let now = self.clock.now();
        if self
            .groups
            .get(&name)
            .is_some_and(|group| now < group.unsettled_until)
        {
            return Some(Err(unsettled()));
        }
        if self.is_away() || self.chance(faults.dropped_commit) {
            return None;
        }
        if self.chance(faults.failed_commit) {
            return Some(Err(failure(
                "commit offsets",
                "not coordinator",
                Outcome::NotApplied,
            )));
        }
        let known = offsets.iter();
        let known: Vec<_> = known
            .filter(|(partition, _)| self.topics.has(partition))
            .collect();
        if known.is_empty() && !offsets.is_empty() {
            return Some(Err(Error::Kafka {
                action: "commit offsets".to_owned(),
                reason: "unknown topic or partition".to_owned(),
                class: Class::Fatal,
                outcome: Outcome::NotApplied,
            }));
        }
        for (partition, to) in known {
            self.apply(id, &name, partition, *to);
        }
        if self.chance(faults.unknown_commit) {
            return Some(Err(failure(
                "commit offsets",
                "request timed out",
                Outcome::Unknown,
            )));
        }
        Some(Ok(()))
    }
    fn apply(&mut self, id: MemberId, name: &Arc<str>, partition: &TopicPartition, to: NextOffset) {
        let (start, _) = self.topics.range(partition);
        let Some(group) = self.groups.get_mut(name) else {
            return;
        };
        let begun = group.begun.get(partition).copied();
        let before = group.committed.insert(partition.clone(), to);
        let from = before.or(begun).unwrap_or(start);
        self.journal()
            .commit(id, (name, partition), (from, start), to);
    }
}

/// As Kafka refuses a commit in the middle of a rebalance.
fn unsettled() -> Error {
    failure(
        "commit offsets",
        "generation id is not valid",
        Outcome::NotApplied,
    )
}
