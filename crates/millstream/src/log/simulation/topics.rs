//! Topics of the simulated cluster: partitions, and the records in them.
//!
//! Offsets are dense and never used again; retention takes records only from the front. Every record has a place in the
//! order of writing of the whole world.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::journal::Source;
use super::partitioner::partition_of;
use crate::record::{Headers, Timestamp};
use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

/// The largest batch that a topic takes, as Kafka's default `max.message.bytes`.
pub(super) const LARGEST: usize = 1_048_588;

/// A record as it lies in a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Option<Vec<u8>>,
    pub(crate) headers: Headers,
    pub(crate) timestamp: Timestamp,
    /// The input record whose handler wrote it, if one did.
    pub(crate) origin: Option<Source>,
    /// Its place among all records of the world, so that several partitions can be read in the order of writing.
    pub(crate) sequence: u64,
}

#[derive(Debug, Default)]
struct PartitionLog {
    start: i64,
    records: Vec<Arc<Stored>>,
}

/// All topics.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    topics: BTreeMap<Arc<str>, Vec<PartitionLog>>,
    /// The largest batch that a topic takes, where that is not the default.
    limits: BTreeMap<Arc<str>, usize>,
    written: u64,
}

impl Topics {
    /// Makes a topic; one that exists stays as it is.
    pub(crate) fn create(&mut self, name: &str, partitions: i32) {
        let count = usize::try_from(partitions).unwrap_or(1).max(1);
        let logs = || {
            std::iter::repeat_with(PartitionLog::default)
                .take(count)
                .collect()
        };
        self.topics.entry(Arc::from(name)).or_insert_with(logs);
    }

    /// Gives a topic as many partitions as this: new ones are empty, and those that are too many vanish with their records.
    pub(crate) fn resize(&mut self, name: &str, partitions: i32) {
        let count = usize::try_from(partitions).unwrap_or(1).max(1);
        if let Some(logs) = self.topics.get_mut(name) {
            logs.resize_with(count, PartitionLog::default);
        }
    }

    /// Takes a topic away with its records.
    pub(crate) fn remove(&mut self, name: &str) {
        self.topics.remove(name);
    }

    /// Whether there is such a partition.
    pub(crate) fn has(&self, partition: &TopicPartition) -> bool {
        self.log(&partition.topic, partition.partition).is_some()
    }

    /// Sets the largest batch that a topic takes.
    pub(crate) fn set_limit(&mut self, name: &str, bytes: usize) {
        self.limits.insert(Arc::from(name), bytes);
    }

    /// The largest batch that a topic takes.
    pub(crate) fn limit(&self, name: &str) -> usize {
        self.limits.get(name).copied().unwrap_or(LARGEST)
    }

    /// The number of partitions, `None` for a topic that does not exist.
    pub(crate) fn partitions(&self, name: &str) -> Option<i32> {
        self.topics
            .get(name)
            .and_then(|logs| i32::try_from(logs.len()).ok())
    }

    /// The partitions of a topic that exists.
    pub(crate) fn topic_partitions(&self, name: &str) -> Vec<TopicPartition> {
        let Some((name, _)) = self.topics.get_key_value(name) else {
            return Vec::new();
        };
        let count = self.partitions(name).unwrap_or(0);
        (0..count)
            .map(|number| TopicPartition::new(Arc::clone(name), Partition(number)))
            .collect()
    }

    /// The partition a key goes to; one at `random` for records without a key.
    pub(crate) fn choose(
        &self,
        name: &str,
        key: Option<&[u8]>,
        random: usize,
    ) -> Option<Partition> {
        let count = self.topics.get(name)?.len();
        let number = key.map_or(random % count.max(1), |key| partition_of(key, count));
        i32::try_from(number).ok().map(Partition)
    }

    /// Adds a record at the end; `None` if there is no such partition.
    pub(crate) fn append(
        &mut self,
        name: &str,
        partition: Partition,
        mut record: Stored,
    ) -> Option<Offset> {
        record.sequence = self.written;
        let log = self.log_mut(name, partition)?;
        let offset = log.end();
        log.records.push(Arc::new(record));
        self.written += 1;
        Some(Offset::new(offset))
    }

    /// The first offset that is still there, and the end.
    pub(crate) fn range(&self, partition: &TopicPartition) -> (NextOffset, NextOffset) {
        let log = self.log(&partition.topic, partition.partition);
        let (start, end) = log.map_or((0, 0), |log| (log.start, log.end()));
        (NextOffset::new(start), NextOffset::new(end))
    }

    /// The record at `offset`.
    pub(crate) fn read(
        &self,
        partition: &TopicPartition,
        offset: NextOffset,
    ) -> Option<Arc<Stored>> {
        let log = self.log(&partition.topic, partition.partition)?;
        let index = usize::try_from(offset.get().checked_sub(log.start)?).ok()?;
        log.records.get(index).cloned()
    }

    /// Every record of a topic in the order of writing.
    pub(crate) fn all(&self, name: &str) -> Vec<(Partition, Offset, Arc<Stored>)> {
        let logs = self.topics.get(name).map_or(&[][..], Vec::as_slice);
        let mut all: Vec<_> = (0_i32..)
            .zip(logs)
            .flat_map(|(number, log)| {
                let offsets = log.start..;
                let records = offsets.zip(&log.records);
                records.map(move |(offset, record)| {
                    (Partition(number), Offset::new(offset), Arc::clone(record))
                })
            })
            .collect();
        all.sort_by_key(|(_, _, record)| record.sequence);
        all
    }

    /// Takes the oldest `count` records of a partition away.
    pub(crate) fn forget(&mut self, partition: &TopicPartition, count: usize) {
        if let Some(log) = self.log_mut(&partition.topic, partition.partition) {
            let count = count.min(log.records.len());
            log.records.drain(..count);
            log.start += i64::try_from(count).unwrap_or(0);
        }
    }

    fn log(&self, name: &str, partition: Partition) -> Option<&PartitionLog> {
        self.topics
            .get(name)?
            .get(usize::try_from(partition.0).ok()?)
    }

    fn log_mut(&mut self, name: &str, partition: Partition) -> Option<&mut PartitionLog> {
        self.topics
            .get_mut(name)?
            .get_mut(usize::try_from(partition.0).ok()?)
    }
}

impl PartitionLog {
    fn end(&self) -> i64 {
        self.start + i64::try_from(self.records.len()).unwrap_or(i64::MAX)
    }
}
