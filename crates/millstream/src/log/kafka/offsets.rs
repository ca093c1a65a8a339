//! Where partitions start and end, asked for many at once.
//!
//! librdkafka's call for offsets by time passes Kafka's special times on: -2 is the start of a partition and -1 its
//! end, so that one request per broker answers for all partitions, where its watermark call needs two per partition.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset as ClientOffset, TopicPartitionList};

use crate::record::Timestamp;
use crate::topic::{NextOffset, Partition, TopicPartition};

/// Answers by partition, in order.
pub(crate) type ByPartition = BTreeMap<TopicPartition, NextOffset>;

/// Which offset is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    Start,
    End,
    /// That of the first record at or after this time.
    Time(Timestamp),
}

/// Asks for one offset of each partition; those that have none (no record that late) are left out.
pub(crate) fn fetch<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    which: Which,
    patience: Duration,
) -> Result<ByPartition, KafkaError> {
    offsets_in(&ask(client, partitions, which, patience)?)
}

/// As [`fetch`]; those whose leader does not answer, or is not there, are left out. An error is one of all.
pub(crate) fn fetch_some<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    which: Which,
    patience: Duration,
) -> Result<ByPartition, KafkaError> {
    let list = ask(client, partitions, which, patience)?;
    let answers = list.elements().into_iter().filter_map(|element| {
        let ClientOffset::Offset(offset) = element.offset() else {
            return None;
        };
        let partition = TopicPartition::new(element.topic(), Partition(element.partition()));
        let is_answered = element.error().is_ok();
        is_answered.then(|| (partition, NextOffset::new(offset)))
    });
    Ok(answers.collect())
}

fn ask<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    which: Which,
    patience: Duration,
) -> Result<TopicPartitionList, KafkaError> {
    if partitions.is_empty() {
        return Ok(TopicPartitionList::new());
    }
    let time = match which {
        Which::Start => ClientOffset::Beginning,
        Which::End => ClientOffset::End,
        Which::Time(time) => ClientOffset::Offset(time.millis().max(0)),
    };
    let mut asked = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        // To set it by name would search the list, which takes long for thousands of topics.
        let mut element = asked.add_partition(&partition.topic, partition.partition.0);
        element.set_offset(time)?;
    }
    client.offsets_for_times(asked, patience)
}

/// The offsets a list holds; partitions without one are left out.
pub(crate) fn offsets_in(list: &TopicPartitionList) -> Result<ByPartition, KafkaError> {
    let mut answers = ByPartition::new();
    for element in list.elements() {
        element.error()?;
        if let ClientOffset::Offset(offset) = element.offset() {
            let partition = TopicPartition::new(element.topic(), Partition(element.partition()));
            answers.insert(partition, NextOffset::new(offset));
        }
    }
    Ok(answers)
}

/// A list of positions, for assigning and committing.
pub(crate) fn list_of<'a>(
    positions: impl IntoIterator<Item = (&'a TopicPartition, NextOffset)>,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for (partition, offset) in positions {
        let offset = ClientOffset::Offset(offset.get());
        list.add_partition_offset(&partition.topic, partition.partition.0, offset)?;
    }
    Ok(list)
}
