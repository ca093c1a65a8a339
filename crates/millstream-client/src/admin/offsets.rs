//! Offsets of partitions: where they begin and end, where a time is, and deleting what is before an offset.
//!
//! Leaders answer, each with one request for all of its partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, DeleteRecordsRequest, ListOffsetsRequest, TopicName};

use super::asking::{Operation, Read, Route};
use super::refusal::answered;
use super::{Admin, Each, TopicPartition, once};
use crate::error::Error;
use crate::wire::api::{Call, Reply};
use crate::wire::{millis, text};

/// Which offset of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum At {
    /// That of the first record that is still there.
    Start,
    /// The one after the last record.
    End,
    /// The first one of a transaction that is open, or the end if none is: where readers of committed records stop.
    LastStable,
    /// That of the first record with this timestamp or a later one, in milliseconds since 1970.
    Time(i64),
    /// That of the record with the newest timestamp.
    NewestTime,
}

impl At {
    /// As the protocol has it, and whether records of open transactions count.
    fn wire(self) -> (i64, i8) {
        match self {
            Self::Start => (-2, 0),
            Self::End => (-1, 0),
            Self::LastStable => (-1, 1),
            Self::Time(time) => (time, 0),
            Self::NewestTime => (-3, 0),
        }
    }
}

/// An offset that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FoundOffset {
    /// The offset.
    pub offset: i64,
    /// Its record's timestamp in milliseconds since 1970, where a time was asked for.
    pub timestamp: Option<i64>,
    /// The leader's epoch of the record, if it is known.
    pub epoch: Option<i32>,
}

impl Admin {
    /// Offsets of partitions; `None` if no record has that time or a later one.
    ///
    /// # Errors
    /// [`Error::Refused`] if a time is before 1970. Of one partition: [`Error::Administration`] if the cluster does not have it, or if no leader was found in time.
    pub fn offsets(
        &mut self,
        partitions: &[TopicPartition],
        at: At,
    ) -> Result<Each<TopicPartition, Option<FoundOffset>>, Error> {
        if let At::Time(time) = at
            && time < 0
        {
            return Err(Error::Refused {
                reason: format!("the time {time} is before 1970; use milliseconds since then"),
            });
        }
        self.each(&ListOffsets(at), partitions.iter().cloned())
    }

    /// Deletes the records before an offset in each of these partitions, and returns where each begins from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] if a partition is there twice or an offset is negative. Of one partition: [`Error::Administration`] if the cluster does not have it, if the offset is behind
    /// its end, or if its topic is only compacted.
    pub fn delete_records(
        &mut self,
        before: &[(TopicPartition, i64)],
    ) -> Result<Each<TopicPartition, i64>, Error> {
        if let Some((place, offset)) = before.iter().find(|(_, offset)| *offset < 0) {
            return Err(Error::Refused {
                reason: format!("the offset {offset} of {place} is negative; use one from 0 on"),
            });
        }
        let before = once("", before.iter().cloned())?;
        let places: Vec<TopicPartition> = before.keys().cloned().collect();
        self.each(&DeleteRecords(before), places)
    }
}

/// What requests list by topic.
pub(super) fn by_topic<T>(
    places: &[TopicPartition],
    item: impl Fn(&TopicPartition) -> T,
) -> Vec<(TopicName, Vec<T>)> {
    let mut topics: BTreeMap<&str, Vec<T>> = BTreeMap::new();
    for place in places {
        topics.entry(&place.topic).or_default().push(item(place));
    }
    let topics = topics.into_iter();
    topics
        .map(|(name, items)| (TopicName(text(name)), items))
        .collect()
}

struct ListOffsets(At);

impl Operation for ListOffsets {
    type Item = TopicPartition;
    type Value = Option<FoundOffset>;
    const CHANGES: bool = false;

    fn what(&self, place: &TopicPartition) -> String {
        format!("find an offset of {place}")
    }

    fn route(&self, place: &TopicPartition) -> Route {
        Route::Leader(place.topic.clone(), place.partition)
    }

    fn call(&self, places: &[TopicPartition], _: Duration) -> Call {
        let (timestamp, isolation) = self.0.wire();
        let topics = by_topic(places, |place| {
            ListOffsetsPartition::default()
                .with_partition_index(place.partition)
                .with_timestamp(timestamp)
        });
        let topics = topics.into_iter().map(|(name, partitions)| {
            ListOffsetsTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = ListOffsetsRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_isolation_level(isolation)
            .with_topics(topics.collect());
        Call::ListOffsets(request)
    }

    fn read(&self, reply: Reply, _: &[TopicPartition]) -> Read<TopicPartition, Self::Value> {
        let Reply::ListOffsets(reply) = reply else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for topic in reply.topics {
            for partition in topic.partitions {
                let place = TopicPartition::new(&topic.name, partition.partition_index);
                let result = answered(partition.error_code, None, || {
                    (partition.offset >= 0).then_some(FoundOffset {
                        offset: partition.offset,
                        timestamp: Some(partition.timestamp).filter(|time| *time >= 0),
                        epoch: Some(partition.leader_epoch).filter(|epoch| *epoch >= 0),
                    })
                });
                found.push((place, result));
            }
        }
        found
    }
}

struct DeleteRecords(BTreeMap<TopicPartition, i64>);

impl Operation for DeleteRecords {
    type Item = TopicPartition;
    type Value = i64;
    const CHANGES: bool = true;

    fn what(&self, place: &TopicPartition) -> String {
        let offset = self.0.get(place).copied().unwrap_or_default();
        format!("delete the records of {place} before offset {offset}")
    }

    fn route(&self, place: &TopicPartition) -> Route {
        Route::Leader(place.topic.clone(), place.partition)
    }

    fn call(&self, places: &[TopicPartition], patience: Duration) -> Call {
        let topics = by_topic(places, |place| {
            DeleteRecordsPartition::default()
                .with_partition_index(place.partition)
                .with_offset(self.0.get(place).copied().unwrap_or_default())
        });
        let topics = topics.into_iter().map(|(name, partitions)| {
            DeleteRecordsTopic::default()
                .with_name(name)
                .with_partitions(partitions)
        });
        let request = DeleteRecordsRequest::default()
            .with_topics(topics.collect())
            .with_timeout_ms(millis(patience));
        Call::DeleteRecords(request)
    }

    fn read(&self, reply: Reply, _: &[TopicPartition]) -> Read<TopicPartition, i64> {
        let Reply::DeleteRecords(reply) = reply else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for topic in reply.topics {
            for partition in topic.partitions {
                let place = TopicPartition::new(&topic.name, partition.partition_index);
                let start = || partition.low_watermark;
                found.push((place, answered(partition.error_code, None, start)));
            }
        }
        found
    }
}
