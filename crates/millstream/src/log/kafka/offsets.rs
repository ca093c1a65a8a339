//! Where partitions start and end, asked for many at once.
//!
//! librdkafka's call for offsets by time passes Kafka's special times on: -2 is the start of a partition and -1 its
//! end, so that one request per broker answers for all partitions, where its watermark call needs two per partition.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::metadata::MetadataTopic;
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

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => f.write_str("start"),
            Self::End => f.write_str("end"),
            Self::Time(time) => write!(f, "offset at time {} ms", time.millis()),
        }
    }
}

/// Why an offset is not known: what was asked, of which partitions, and the error.
pub(crate) type Unanswered = (String, KafkaError);

/// Asks for one offset of each partition; those that have none (no record that late) are left out.
pub(crate) fn fetch<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    which: Which,
    patience: Duration,
) -> Result<ByPartition, Unanswered> {
    let of = |names: String, error| (format!("ask for the {which} of {names}"), error);
    let list =
        ask(client, partitions, which, patience).map_err(|error| of(names(partitions), error))?;
    for element in list.elements() {
        let name = || format!("{}[{}]", element.topic(), element.partition());
        element.error().map_err(|error| of(name(), error))?;
    }
    offsets_in(&list).map_err(|error| of(names(partitions), error))
}

/// The partitions by name, for the text of an error.
pub(crate) fn names(partitions: &[TopicPartition]) -> String {
    const MOST: usize = 5;
    let shown = partitions.iter().take(MOST).map(ToString::to_string);
    let mut names = shown.collect::<Vec<_>>().join(", ");
    if partitions.len() > MOST {
        names.push_str(&format!(" and {} more", partitions.len() - MOST));
    }
    names
}

/// As [`fetch`]; those whose leader does not answer, or is not there, are left out. An error is one of all.
pub(crate) fn fetch_some<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    which: Which,
    patience: Duration,
) -> Result<ByPartition, KafkaError> {
    let error = match answered(client, partitions, which, patience) {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    // One leader that does not answer fails the question for all: each leader is asked about its own.
    let mut found = ByPartition::new();
    let groups = by_leader(client, partitions, patience)?;
    if groups.len() < 2 {
        return Err(error);
    }
    for group in groups {
        found.extend(answered(client, &group, which, patience).unwrap_or_default());
    }
    Ok(found)
}

/// These partitions, those of one leader together.
fn by_leader<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    partitions: &[TopicPartition],
    patience: Duration,
) -> Result<Vec<Vec<TopicPartition>>, KafkaError> {
    let mut groups: BTreeMap<i32, Vec<TopicPartition>> = BTreeMap::new();
    let topics: BTreeSet<&str> = partitions.iter().map(|asked| &*asked.topic).collect();
    for topic in topics {
        let metadata = client.fetch_metadata(Some(topic), patience)?;
        let described = metadata.topics().iter().flat_map(MetadataTopic::partitions);
        let leaders: BTreeMap<i32, i32> =
            described.map(|part| (part.id(), part.leader())).collect();
        for asked in partitions.iter().filter(|asked| *asked.topic == *topic) {
            let leader = leaders.get(&asked.partition.0).copied().unwrap_or(-1);
            groups.entry(leader).or_default().push(asked.clone());
        }
    }
    Ok(groups.into_values().collect())
}

fn answered<C: ConsumerContext>(
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
