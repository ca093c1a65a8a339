//! A consumer group: who holds which partition, and how partitions move.
//!
//! A state machine without time or chance. A partition is owned from the moment its member learns of it until the
//! member has given it back or was thrown out; the next owner learns of it only then. With the cooperative way only what
//! moves is taken back; with the eager way everything is, and nothing is given out before everything is back. A member for
//! which nothing is left learns that.

use std::collections::{BTreeMap, BTreeSet};

use super::world::MemberId;
use crate::clock::Moment;
use crate::topic::{NextOffset, TopicPartition};

/// What the group has to say to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Notice {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
}

#[derive(Debug, Default)]
pub(super) struct Group {
    eager: bool,
    partitions: BTreeSet<TopicPartition>,
    members: BTreeSet<MemberId>,
    target: BTreeMap<TopicPartition, MemberId>,
    owners: BTreeMap<TopicPartition, MemberId>,
    /// Owned, and asked back.
    asked_back: BTreeSet<TopicPartition>,
    rounds: usize,
    /// Members that have not learned their share in this round.
    uninformed: BTreeSet<MemberId>,
    /// Commits are refused until then.
    pub(super) unsettled_until: Moment,
    pub(super) committed: BTreeMap<TopicPartition, NextOffset>,
    /// Where the group began in partitions it had committed nothing for.
    pub(super) begun: BTreeMap<TopicPartition, NextOffset>,
}

impl Group {
    pub(super) fn new(eager: bool) -> Group {
        Group {
            eager,
            ..Group::default()
        }
    }

    pub(super) fn has(&self, member: MemberId) -> bool {
        self.members.contains(&member)
    }

    /// Changes with each rebalance.
    pub(super) fn generation(&self) -> usize {
        self.rounds
    }

    /// The partitions that `topics` have now; the rest is forgotten, its offsets as well.
    pub(super) fn set_partitions(
        &mut self,
        topic: &str,
        partitions: Vec<TopicPartition>,
    ) -> Vec<(MemberId, Notice)> {
        let is_gone = |partition: &TopicPartition| {
            *partition.topic == *topic && !partitions.contains(partition)
        };
        self.committed.retain(|partition, _| !is_gone(partition));
        self.begun.retain(|partition, _| !is_gone(partition));
        self.partitions.retain(|partition| !is_gone(partition));
        self.partitions.extend(partitions);
        self.rebalance()
    }

    pub(super) fn partitions(&self) -> impl Iterator<Item = &TopicPartition> {
        self.partitions.iter()
    }

    /// A member comes, with the partitions its topics have.
    pub(super) fn join(
        &mut self,
        member: MemberId,
        partitions: Vec<TopicPartition>,
    ) -> Vec<(MemberId, Notice)> {
        self.members.insert(member);
        self.partitions.extend(partitions);
        self.rebalance()
    }

    /// A member goes, or is thrown out: what it held is free at once.
    pub(super) fn leave(&mut self, member: MemberId) -> Vec<(MemberId, Notice)> {
        if !self.members.remove(&member) {
            return Vec::new();
        }
        let held: Vec<TopicPartition> = self.owned_by(member);
        for partition in held {
            self.owners.remove(&partition);
            self.asked_back.remove(&partition);
        }
        self.rebalance()
    }

    /// A member has given partitions back.
    pub(super) fn release(
        &mut self,
        member: MemberId,
        partitions: &[TopicPartition],
    ) -> Vec<(MemberId, Notice)> {
        for partition in partitions {
            if self.owners.get(partition) == Some(&member) {
                self.owners.remove(partition);
                self.asked_back.remove(partition);
            }
        }
        self.hand_out()
    }

    /// Deals the partitions anew, differently at each round.
    pub(super) fn rebalance(&mut self) -> Vec<(MemberId, Notice)> {
        self.rounds += 1;
        self.uninformed = self.members.clone();
        let members: Vec<MemberId> = self.members.iter().copied().collect();
        self.target.clear();
        for partition in &self.partitions {
            // Equal numbers of several topics stay together, as the range assignor has it.
            let number = usize::try_from(partition.partition.0).unwrap_or(0);
            let chosen = (number + self.rounds).checked_rem(members.len());
            if let Some(member) = chosen.and_then(|chosen| members.get(chosen)) {
                self.target.insert(partition.clone(), *member);
            }
        }
        let mut back: BTreeMap<MemberId, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, owner) in &self.owners {
            let moves = self.eager || self.target.get(partition) != Some(owner);
            if moves && self.asked_back.insert(partition.clone()) {
                back.entry(*owner).or_default().push(partition.clone());
            }
        }
        let mut notices: Vec<_> = back
            .into_iter()
            .map(|(member, partitions)| (member, Notice::Revoked(partitions)))
            .collect();
        notices.extend(self.hand_out());
        notices
    }

    /// Gives free partitions to those they are meant for.
    fn hand_out(&mut self) -> Vec<(MemberId, Notice)> {
        if self.eager && !self.asked_back.is_empty() {
            return Vec::new();
        }
        let mut given: BTreeMap<MemberId, Vec<TopicPartition>> = BTreeMap::new();
        for (partition, member) in &self.target {
            if !self.owners.contains_key(partition) {
                given.entry(*member).or_default().push(partition.clone());
            }
        }
        for (member, partitions) in &given {
            self.owners.extend(
                partitions
                    .iter()
                    .map(|partition| (partition.clone(), *member)),
            );
        }
        if self.asked_back.is_empty() {
            let idle = std::mem::take(&mut self.uninformed);
            let has_none = |member: &MemberId| !self.owners.values().any(|owner| owner == member);
            for member in idle.into_iter().filter(has_none) {
                given.entry(member).or_default();
            }
        }
        given
            .into_iter()
            .map(|(member, partitions)| (member, Notice::Assigned(partitions)))
            .collect()
    }

    fn owned_by(&self, member: MemberId) -> Vec<TopicPartition> {
        let owned = self.owners.iter().filter(|(_, owner)| **owner == member);
        owned.map(|(partition, _)| partition.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Group, Notice};
    use crate::log::simulation::world::MemberId;
    use crate::topic::{Partition, TopicPartition};

    fn parts(numbers: impl IntoIterator<Item = i32>) -> Vec<TopicPartition> {
        numbers
            .into_iter()
            .map(|number| TopicPartition::new("t", Partition(number)))
            .collect()
    }

    #[test]
    fn a_partition_has_a_new_owner_only_after_the_old_one_gave_it_back() {
        let (one, two) = (MemberId(1), MemberId(2));
        let mut group = Group::new(false);
        assert_eq!(
            group.join(one, parts(0..2)),
            [(one, Notice::Assigned(parts(0..2)))]
        );
        let notices = group.join(two, parts(0..2));
        let [(revoked_from, Notice::Revoked(moving))] = notices.as_slice() else {
            panic!("{notices:?}")
        };
        assert_eq!((*revoked_from, moving.len()), (one, 1));
        assert_eq!(
            group.release(one, moving),
            [(two, Notice::Assigned(moving.clone()))]
        );
    }

    #[test]
    fn the_eager_way_takes_everything_and_waits_for_everybody() {
        let (one, two) = (MemberId(1), MemberId(2));
        let mut group = Group::new(true);
        group.join(one, parts(0..2));
        assert_eq!(
            group.join(two, parts(0..2)),
            [(one, Notice::Revoked(parts(0..2)))]
        );
        assert_eq!(group.release(one, &parts([0])), []);
        assert_eq!(group.release(one, &parts([1])).len(), 2);
    }

    #[test]
    fn what_a_member_held_is_free_when_it_is_thrown_out() {
        let (one, two) = (MemberId(1), MemberId(2));
        let mut group = Group::new(false);
        group.join(one, parts(0..3));
        group.join(two, parts(0..3));
        assert_eq!(group.leave(one), [(two, Notice::Assigned(parts(0..3)))]);
        // A release that comes after it changes nothing.
        assert_eq!(group.release(one, &parts(0..3)), []);
    }
}
