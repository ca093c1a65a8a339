//! The offsets that a group has committed: reading, setting and deleting them from outside.
//!
//! Whoever sets them is no member of the group, which the coordinator accepts only while it has none.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::{
    GroupId, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
};

use super::asking::{Operation, Read, Route};
use super::groups::of_group;
use super::offsets::by_topic;
use super::refusal::answered;
use super::{Admin, Each, TopicPartition, once};
use crate::error::Error;
use crate::fetcher::position::Position;
use crate::wire::api::{Call, Reply};
use crate::wire::text;

/// What a group has committed for a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Committed {
    /// The next record to read.
    pub position: Position,
    /// What its members have written beside it.
    pub metadata: String,
}

impl Admin {
    /// Everything that a group has committed. A group that is not there has committed nothing.
    ///
    /// # Errors
    /// [`Error::Administration`] if the coordinator refuses, [`Error::TimedOut`] if none answers.
    pub fn group_offsets(&mut self, group: &str) -> Result<Each<TopicPartition, Committed>, Error> {
        let found = self.one(&ReadOffsets(group), ())?;
        let found = found.into_iter().map(|(place, result)| {
            let what = format!("read the offset of group `{group}` in {place}");
            (place, result.map_err(|refusal| refusal.error(what)))
        });
        Ok(found.collect())
    }

    /// Sets from where a group without members reads on. The group is created if it is not there.
    ///
    /// # Errors
    /// [`Error::Refused`] if a partition is there twice or an offset is negative. Of one partition: [`Error::Administration`] if the cluster does not have it, or if the group has members.
    pub fn alter_group_offsets(
        &mut self,
        group: &str,
        next: &[(TopicPartition, Position)],
    ) -> Result<Each<TopicPartition, ()>, Error> {
        let negative = next.iter().find(|(_, position)| position.offset < 0);
        if let Some((place, position)) = negative {
            let offset = position.offset;
            return Err(Error::Refused {
                reason: format!("the offset {offset} of {place} is negative; use one from 0 on"),
            });
        }
        let next = once("", next.iter().cloned())?;
        let places: Vec<TopicPartition> = next.keys().cloned().collect();
        self.each(&AlterOffsets { group, next }, places)
    }

    /// Forgets what a group has committed for these partitions.
    ///
    /// # Errors
    /// Of one partition: [`Error::Administration`] if there is no such group, or if members of it read the topic.
    pub fn delete_group_offsets(
        &mut self,
        group: &str,
        places: &[TopicPartition],
    ) -> Result<Each<TopicPartition, ()>, Error> {
        self.each(&DeleteOffsets(group), places.iter().cloned())
    }
}

struct ReadOffsets<'a>(&'a str);

impl Operation for ReadOffsets<'_> {
    type Item = ();
    type Value = Read<TopicPartition, Committed>;
    const CHANGES: bool = false;

    fn what(&self, (): &()) -> String {
        format!("read the offsets of group `{}`", self.0)
    }

    fn route(&self, (): &()) -> Route {
        of_group(self.0)
    }

    fn call(&self, _: &[()], _: Duration) -> Call {
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(GroupId(text(self.0)))
            .with_topics(None);
        Call::OffsetFetch(OffsetFetchRequest::default().with_groups(vec![group]))
    }

    fn read(&self, reply: Reply, _: &[()]) -> Read<(), Self::Value> {
        let Reply::OffsetFetch(reply) = reply else {
            return Vec::new();
        };
        let groups = reply.groups.into_iter();
        let own = groups.filter(|group| &*group.group_id.0 == self.0);
        let own = own.map(|group| {
            let mut found = Vec::new();
            for topic in group.topics {
                for partition in topic.partitions {
                    // No offset is as good as no answer.
                    if partition.error_code == 0 && partition.committed_offset < 0 {
                        continue;
                    }
                    let place = TopicPartition::new(&topic.name, partition.partition_index);
                    let committed = || Committed {
                        position: Position {
                            offset: partition.committed_offset,
                            epoch: partition.committed_leader_epoch,
                        },
                        metadata: partition.metadata.unwrap_or_default().to_string(),
                    };
                    found.push((place, answered(partition.error_code, None, committed)));
                }
            }
            ((), answered(group.error_code, None, || found))
        });
        own.collect()
    }
}

struct AlterOffsets<'a> {
    group: &'a str,
    next: BTreeMap<TopicPartition, Position>,
}

impl Operation for AlterOffsets<'_> {
    type Item = TopicPartition;
    type Value = ();
    const CHANGES: bool = true;

    fn what(&self, place: &TopicPartition) -> String {
        format!("set the offset of group `{}` in {place}", self.group)
    }

    fn route(&self, _: &TopicPartition) -> Route {
        of_group(self.group)
    }

    fn call(&self, places: &[TopicPartition], _: Duration) -> Call {
        let topics = by_topic(places, |place| {
            let position = self.next.get(place).copied();
            let position = position.unwrap_or_else(|| Position::at(-1));
            OffsetCommitRequestPartition::default()
                .with_partition_index(place.partition)
                .with_committed_offset(position.offset)
                .with_committed_leader_epoch(position.epoch)
        });
        let topics = topics.into_iter().map(|(name, partitions)| {
            OffsetCommitRequestTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = OffsetCommitRequest::default()
            .with_group_id(GroupId(text(self.group)))
            .with_topics(topics.collect());
        Call::OffsetCommit(request)
    }

    fn read(&self, reply: Reply, _: &[TopicPartition]) -> Read<TopicPartition, ()> {
        let Reply::OffsetCommit(reply) = reply else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for topic in reply.topics {
            for partition in topic.partitions {
                let place = TopicPartition::new(&topic.name, partition.partition_index);
                found.push((place, answered(partition.error_code, None, || ())));
            }
        }
        found
    }
}

struct DeleteOffsets<'a>(&'a str);

impl Operation for DeleteOffsets<'_> {
    type Item = TopicPartition;
    type Value = ();
    const CHANGES: bool = true;

    fn what(&self, place: &TopicPartition) -> String {
        format!("delete the offset of group `{}` in {place}", self.0)
    }

    fn route(&self, _: &TopicPartition) -> Route {
        of_group(self.0)
    }

    fn call(&self, places: &[TopicPartition], _: Duration) -> Call {
        let topics = by_topic(places, |place| {
            OffsetDeleteRequestPartition::default().with_partition_index(place.partition)
        });
        let topics = topics.into_iter().map(|(name, partitions)| {
            OffsetDeleteRequestTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = OffsetDeleteRequest::default()
            .with_group_id(GroupId(text(self.0)))
            .with_topics(topics.collect());
        Call::OffsetDelete(request)
    }

    fn read(&self, reply: Reply, places: &[TopicPartition]) -> Read<TopicPartition, ()> {
        let Reply::OffsetDelete(reply) = reply else {
            return Vec::new();
        };
        if reply.error_code != 0 {
            let refused =
                |place: &TopicPartition| (place.clone(), answered(reply.error_code, None, || ()));
            return places.iter().map(refused).collect();
        }
        let mut found = Vec::new();
        for topic in reply.topics {
            for partition in topic.partitions {
                let place = TopicPartition::new(&topic.name, partition.partition_index);
                found.push((place, answered(partition.error_code, None, || ())));
            }
        }
        found
    }
}
