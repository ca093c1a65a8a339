//! Consumer groups: who is in them, how far they are, and how to send them back or on.
//!
//! A reset is planned, shown and then applied; both steps refuse a group that has members, and what was committed is read
//! back. Committed offsets are always asked for before the ends of partitions, so that no lag is negative.

use std::collections::{BTreeMap, BTreeSet};

use super::Admin;
use crate::error::Error;
use crate::log::kafka::offsets::{ByPartition, Which};
use crate::record::Timestamp;
use crate::topic::{NextOffset, TopicPartition};

/// A group and its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// The name (Kafka's `group.id`).
    pub name: String,
    /// The state in the broker's words: `Empty`, `Stable`, `PreparingRebalance`, ..
    pub state: String,
    /// The assignor the members agreed on; empty without members.
    pub assignor: String,
    /// The members. Those of Kafka's newer group protocol (KIP-848) are not shown by the client's call.
    pub members: Vec<Member>,
}

/// One member of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id the broker gave it.
    pub id: String,
    /// The id its client gives itself.
    pub client_id: String,
    /// The host it is connected from.
    pub host: String,
    /// What it was assigned.
    pub partitions: Vec<TopicPartition>,
}

/// A group, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// The group and its members.
    pub group: GroupInfo,
    /// Every partition of every topic in which the group has a committed offset or a member, in order.
    pub offsets: Vec<GroupOffset>,
}

impl GroupDescription {
    /// How many offsets lie before the group, over all partitions: [`GroupOffset::unread`], summed.
    #[must_use]
    pub fn unread(&self) -> u64 {
        self.offsets.iter().map(GroupOffset::unread).sum()
    }
}

/// How far a group is in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOffset {
    /// The partition.
    pub partition: TopicPartition,
    /// What the group committed; `None` if it never did.
    pub committed: Option<NextOffset>,
    /// The first offset that is still there.
    pub start: NextOffset,
    /// The end of the partition.
    pub end: NextOffset,
    /// The id of the member that reads it.
    pub member: Option<String>,
}

impl GroupOffset {
    /// How many offsets lie between the committed one and the end; `None` without a committed offset.
    #[must_use]
    pub fn lag(&self) -> Option<u64> {
        let committed = self.committed?;
        Some(u64::try_from(self.end.get().saturating_sub(committed.get())).unwrap_or(0))
    }

    /// How many offsets lie before the end, from the committed offset, or from the first that is still there where nothing
    /// is committed or where retention has overtaken the group.
    #[must_use]
    pub fn unread(&self) -> u64 {
        let from = self.committed.map_or(self.start, |at| at.max(self.start));
        u64::try_from(self.end.get().saturating_sub(from.get())).unwrap_or(0)
    }

    /// How many offsets retention has taken before the group read them.
    #[must_use]
    pub fn lost(&self) -> u64 {
        let committed = self.committed.map_or(self.start.get(), NextOffset::get);
        u64::try_from(self.start.get().saturating_sub(committed)).unwrap_or(0)
    }
}

/// Where a group is to go on reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetTo {
    /// At the first record there is.
    Earliest,
    /// At the end.
    Latest,
    /// At this offset in each partition; it has to be there.
    Offset(NextOffset),
    /// At the first record with this time or a later one; at the end if there is none.
    Time(Timestamp),
    /// By so many offsets back or on from what is committed, as far as they are there.
    Shift(i64),
}

/// What a reset would change; made by [`Admin::plan_reset`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResetPlan {
    /// The group.
    pub group: String,
    /// One change for each partition, in order.
    pub changes: Vec<Change>,
}

/// What a reset changes in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The partition.
    pub partition: TopicPartition,
    /// What is committed now.
    pub committed: Option<NextOffset>,
    /// What will be.
    pub target: NextOffset,
}

impl Change {
    /// How many offsets are read again (negative) or skipped (positive); `None` if nothing was committed.
    #[must_use]
    pub fn distance(&self) -> Option<i64> {
        Some(self.target.get().saturating_sub(self.committed?.get()))
    }
}

impl Admin {
    /// Every group, by name, those without members included.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn groups(&self) -> Result<Vec<GroupInfo>, Error> {
        self.client.groups()
    }

    /// A group, its members and how far it is in each partition.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`], or the cluster does not answer.
    pub fn group(&self, name: &str) -> Result<GroupDescription, Error> {
        let unknown = || Error::UnknownGroup {
            group: name.to_owned(),
        };
        let group = self.client.group(name)?.ok_or_else(unknown)?;
        let mut readers: BTreeMap<TopicPartition, String> = BTreeMap::new();
        for member in &group.members {
            readers.extend(
                member
                    .partitions
                    .iter()
                    .map(|partition| (partition.clone(), member.id.clone())),
            );
        }
        // Committed first, ends second: a group that goes on in between shows no negative lag.
        let all = self.all_partitions()?;
        let committed = self.client.committed(name, &all)?;
        let partitions = with_siblings(&all, committed.keys().chain(readers.keys()));
        let starts = self.client.offsets(&partitions, Which::Start)?;
        let ends = self.client.offsets(&partitions, Which::End)?;
        let offsets = partitions.into_iter().map(|partition| GroupOffset {
            committed: committed.get(&partition).copied(),
            start: offset_in(&starts, &partition),
            end: offset_in(&ends, &partition),
            member: readers.remove(&partition),
            partition,
        });
        Ok(GroupDescription {
            offsets: offsets.collect(),
            group,
        })
    }

    /// Works out what resetting a group would change, without changing anything. It covers all partitions of `topics`;
    /// without topics, all partitions of every topic in which the group has a committed offset.
    ///
    /// # Errors
    /// [`Error::GroupActive`] while the group has members, [`Error::UnknownTopic`], [`Error::InvalidPosition`] for an
    /// offset that is not there.
    pub fn plan_reset(
        &self,
        group: &str,
        topics: &[&str],
        to: ResetTo,
    ) -> Result<ResetPlan, Error> {
        self.refuse_active(group)?;
        let mut asked: Vec<TopicPartition> = Vec::new();
        for topic in topics {
            asked.extend(self.topic(topic)?.topic_partitions());
        }
        if topics.is_empty() {
            asked = self.all_partitions()?;
        }
        let committed = self.client.committed(group, &asked)?;
        if topics.is_empty() {
            asked = with_siblings(&asked, committed.keys());
        }
        let starts = self.client.offsets(&asked, Which::Start)?;
        let ends = self.client.offsets(&asked, Which::End)?;
        let timed = match to {
            ResetTo::Time(time) => self.client.offsets(&asked, Which::Time(time))?,
            _ => ByPartition::new(),
        };
        let changes = asked.into_iter().map(|partition| {
            let (start, end) = (offset_in(&starts, &partition), offset_in(&ends, &partition));
            let committed = committed.get(&partition).copied();
            let target = match to {
                ResetTo::Earliest => start,
                ResetTo::Latest => end,
                ResetTo::Time(_) => timed.get(&partition).copied().unwrap_or(end),
                ResetTo::Shift(by) => {
                    let from = committed.unwrap_or(start).get();
                    NextOffset::new(from.saturating_add(by)).clamp(start, end.max(start))
                }
                ResetTo::Offset(wanted) if wanted < start || wanted > end => {
                    return Err(Error::InvalidPosition {
                        partition,
                        wanted,
                        start,
                        end,
                    });
                }
                ResetTo::Offset(wanted) => wanted,
            };
            Ok(Change {
                partition,
                committed,
                target,
            })
        });
        Ok(ResetPlan {
            group: group.to_owned(),
            changes: changes.collect::<Result<_, _>>()?,
        })
    }

    /// Carries out a plan and returns what is committed afterwards, read back from the cluster.
    ///
    /// # Errors
    /// [`Error::GroupActive`] if the group got members in the meantime, or the cluster refuses; nothing is then
    /// changed, as far as the cluster reported.
    pub fn apply_reset(
        &self,
        plan: &ResetPlan,
    ) -> Result<BTreeMap<TopicPartition, NextOffset>, Error> {
        self.refuse_active(&plan.group)?;
        if plan.changes.is_empty() {
            return Ok(BTreeMap::new());
        }
        let targets: ByPartition = plan
            .changes
            .iter()
            .map(|change| (change.partition.clone(), change.target))
            .collect();
        self.client.commit_for(&plan.group, &targets)?;
        let partitions: Vec<TopicPartition> = targets.into_keys().collect();
        self.client.committed(&plan.group, &partitions)
    }

    /// Deletes a group that has no members, with its committed offsets.
    ///
    /// # Errors
    /// [`Error::UnknownGroup`], [`Error::GroupActive`] while the group has members, or the cluster refuses.
    pub fn delete_group(&self, group: &str) -> Result<(), Error> {
        self.refuse_active(group)?;
        self.client.delete_group(group)
    }

    fn refuse_active(&self, group: &str) -> Result<(), Error> {
        match self.client.group(group)? {
            Some(found) if !found.members.is_empty() || found.state != "Empty" => {
                Err(Error::GroupActive {
                    group: found.name,
                    members: found.members.len(),
                    state: found.state,
                })
            }
            _ => Ok(()),
        }
    }

    fn all_partitions(&self) -> Result<Vec<TopicPartition>, Error> {
        let topics = self.client.topics()?;
        let own = topics.iter().filter(|topic| !topic.is_internal());
        Ok(own.flat_map(super::TopicInfo::topic_partitions).collect())
    }
}

/// Those of `all` whose topic has a partition among `some`, in order. A partition without a commit of its own counts: what
/// lies in it is unread.
fn with_siblings<'a>(
    all: &[TopicPartition],
    some: impl Iterator<Item = &'a TopicPartition>,
) -> Vec<TopicPartition> {
    let topics: BTreeSet<&str> = some.map(|partition| &*partition.topic).collect();
    let mut chosen: Vec<TopicPartition> = all
        .iter()
        .filter(|partition| topics.contains(&*partition.topic))
        .cloned()
        .collect();
    chosen.sort();
    chosen
}

fn offset_in(offsets: &ByPartition, partition: &TopicPartition) -> NextOffset {
    offsets
        .get(partition)
        .copied()
        .unwrap_or(NextOffset::new(0))
}
