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
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset as ClientOffset, TopicPartitionList};

use super::config::kafka_error;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Cluster;
use crate::error::Error;
use crate::record::Timestamp;
use crate::topic::{NextOffset, Partition, TopicPartition};

/// Answers by partition, in order.
pub(crate) type ByPartition = BTreeMap<TopicPartition, NextOffset>;

/// Between two questions to a cluster that has refused one for now.
const ASK_AGAIN: Duration = Duration::from_millis(100);

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

/// Asks for one offset of each partition; those that have no record at or after a time are left out.
pub(crate) fn fetch<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    cluster: &Cluster,
    partitions: &[TopicPartition],
    which: Which,
    patience: Duration,
) -> Result<ByPartition, Error> {
    let clock = SystemClock::new();
    let deadline = clock.now().plus(patience);
    loop {
        let left = deadline.since(clock.now());
        let found = ask(client, partitions, which, left)
            .map_err(|error| (names(partitions), error))
            .and_then(|list| every(answers_in(&list), which));
        let (of, error) = match found {
            Ok(found) => return Ok(found),
            Err(unanswered) => unanswered,
        };
        let error = kafka_error(cluster, format!("ask for the {which} of {of}"), &error);
        // A broker that is to lead a new partition refuses until it has heard of it.
        if !error.is_retriable() || deadline.since(clock.now()) <= ASK_AGAIN {
            return Err(error);
        }
        std::thread::park_timeout(ASK_AGAIN);
    }
}

/// All answers, or the name of the first partition that has none: every partition starts and ends somewhere, so that one without such
/// an offset was not answered, and must not be taken for an empty one.
fn every(
    answers: impl Iterator<Item = (TopicPartition, Answer)>,
    which: Which,
) -> Result<ByPartition, (String, KafkaError)> {
    let unanswered = KafkaError::OffsetFetch(RDKafkaErrorCode::LeaderNotAvailable);
    let mut found = ByPartition::new();
    for (partition, answer) in answers {
        match answer {
            Ok(Some(offset)) => _ = found.insert(partition, offset),
            Ok(None) if matches!(which, Which::Time(_)) => {}
            Ok(None) => return Err((partition.to_string(), unanswered)),
            Err(error) => return Err((partition.to_string(), error)),
        }
    }
    Ok(found)
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
    Ok(answers_in(&list)
        .filter_map(|(partition, answer)| Some((partition, answer.ok()??)))
        .collect())
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

/// What a list says of one partition: its offset, if it has one.
type Answer = Result<Option<NextOffset>, KafkaError>;

fn answers_in(list: &TopicPartitionList) -> impl Iterator<Item = (TopicPartition, Answer)> {
    list.elements().into_iter().map(|element| {
        let partition = TopicPartition::new(element.topic(), Partition(element.partition()));
        let offset = match element.offset() {
            ClientOffset::Offset(offset) => Some(NextOffset::new(offset)),
            _ => None,
        };
        (partition, element.error().map(|()| offset))
    })
}

/// The offsets a list holds; partitions without one are left out.
pub(crate) fn offsets_in(list: &TopicPartitionList) -> Result<ByPartition, KafkaError> {
    answers_in(list)
        .filter_map(|(partition, answer)| {
            Some(answer.transpose()?.map(|offset| (partition, offset)))
        })
        .collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Two partitions, of which one holds what was asked for instead of an answer.
    fn half_answered(asked: ClientOffset) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in [(0, ClientOffset::Offset(7)), (1, asked)] {
            list.add_partition_offset("orders", partition, offset)
                .expect("an offset that can be asked for");
        }
        list
    }

    #[test]
    fn a_partition_that_was_not_answered_is_not_an_empty_one() {
        for (which, asked) in [
            (Which::Start, ClientOffset::Beginning),
            (Which::End, ClientOffset::End),
        ] {
            let (partition, error) =
                every(answers_in(&half_answered(asked)), which).expect_err("one has no offset");
            assert_eq!(
                partition,
                TopicPartition::new("orders", Partition(1)).to_string()
            );
            assert_eq!(
                error.rdkafka_error_code(),
                Some(RDKafkaErrorCode::LeaderNotAvailable)
            );
        }
    }

    #[test]
    fn a_partition_without_a_record_that_late_is_left_out() {
        let late = Which::Time(Timestamp::from_millis(5));
        let found = every(answers_in(&half_answered(ClientOffset::End)), late).expect("an answer");
        let first = TopicPartition::new("orders", Partition(0));
        assert_eq!(found, ByPartition::from([(first, NextOffset::new(7))]));
    }
}
