//! Where a member stands in its partitions, and where it is to begin.
//!
//! The group's coordinator and the partitions' leaders are asked, with a bound on the time. librdkafka tells of a position
//! that is not on the cluster without saying what is: such a position stays in doubt until the cluster has answered.

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as ClientOffset;

use super::super::config::code_error;
use super::super::offsets::{self, ByPartition, Which};
use super::{Member, PATIENCE, SHORT_PATIENCE, list_of};
use crate::clock::Clock as _;
use crate::error::Error;
use crate::log::{Begin, Event};
use crate::policy::Start;
use crate::topic::{NextOffset, TopicPartition};

/// The first offset of a partition that could not be asked for; every partition begins there or later.
const UNKNOWN: NextOffset = NextOffset::new(0);

impl Member {
    /// Where the group goes on in some partitions.
    pub(super) fn begins(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        if partitions.is_empty() {
            return Ok(Vec::new());
        }
        let action = || format!("ask for the offsets of group `{}`", self.settings.group);
        let fail = |error: KafkaError| self.fail(action(), &error);
        let list = self
            .consumer
            .committed_offsets(list_of(partitions), PATIENCE)
            .map_err(fail)?;
        let committed = offsets::offsets_in(&list).map_err(fail)?;
        let new: Vec<_> = partitions
            .iter()
            .filter(|partition| !committed.contains_key(partition))
            .cloned()
            .collect();
        let ask = |which| offsets::fetch(&self.consumer, &new, which, PATIENCE).map_err(fail);
        let (starts, ends) = match self.settings.start {
            Start::Earliest => (self.first_offsets(&new), ByPartition::new()),
            Start::Latest => (ByPartition::new(), ask(Which::End)?),
            Start::Fail => (ask(Which::Start)?, ask(Which::End)?),
        };
        let begin = |partition: &TopicPartition| match (
            committed.get(partition),
            starts.get(partition),
            ends.get(partition),
        ) {
            (Some(offset), ..) => Ok(Begin::Committed(*offset)),
            (None, Some(start), Some(end)) => Ok(Begin::Refused {
                start: *start,
                end: *end,
            }),
            (None, Some(offset), None) | (None, None, Some(offset)) => Ok(Begin::Chosen(*offset)),
            (None, None, None) => Err(code_error(action(), RDKafkaErrorCode::LeaderNotAvailable)),
        };
        let begins = partitions.iter();
        begins
            .map(|partition| Ok((partition.clone(), begin(partition)?)))
            .collect()
    }

    /// The first offsets of some partitions. One whose leader does not answer has none yet, and no other waits for it: the client
    /// finds it out when the leader is back.
    fn first_offsets(&self, partitions: &[TopicPartition]) -> ByPartition {
        let asked = offsets::fetch_some(&self.consumer, partitions, Which::Start, SHORT_PATIENCE);
        let mut starts = asked.unwrap_or_default();
        for partition in partitions {
            if !starts.contains_key(partition) {
                tracing::warn!(
                    topic = %partition.topic,
                    partition = partition.partition.0,
                    "the leader of the partition does not answer: read when it does"
                );
                starts.insert(partition.clone(), UNKNOWN);
            }
        }
        starts
    }

    /// Where the client is to start, as it understands it.
    pub(super) fn start_list(
        &self,
        begins: &[(TopicPartition, Begin)],
    ) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(begins.len());
        for (partition, begin) in begins {
            let offset = match begin {
                Begin::Chosen(UNKNOWN) if self.settings.start == Start::Earliest => {
                    ClientOffset::Beginning
                }
                begin => ClientOffset::Offset(begin.offset().get()),
            };
            list.add_partition_offset(&partition.topic, partition.partition.0, offset)?;
        }
        Ok(list)
    }

    /// Asks the cluster about the positions in doubt; an event for the first that is not there.
    pub(super) fn doubt<M>(&self) -> Option<Event<M>> {
        let mut known = self.known.borrow_mut();
        if known.doubtful.is_empty() || self.clock.now() < known.ask_at {
            return None;
        }
        while let Some((partition, wanted)) = known.doubtful.pop() {
            let (topic, number) = (&*partition.topic, partition.partition.0);
            match self
                .consumer
                .fetch_watermarks(topic, number, SHORT_PATIENCE)
            {
                Ok((start, end)) if start <= wanted.get() && wanted.get() <= end => {}
                Ok((start, end)) => {
                    return Some(Event::OutOfRange {
                        partition,
                        wanted,
                        start: NextOffset::new(start),
                        end: NextOffset::new(end),
                    });
                }
                Err(error) => {
                    let action = format!("ask for the ends of {partition}");
                    known.doubtful.push((partition, wanted));
                    known.ask_at = self.clock.now().plus(SHORT_PATIENCE);
                    return Some(Event::Trouble(self.fail(action, &error)));
                }
            }
        }
        None
    }

    /// Where the client stands in a partition.
    pub(super) fn position(&self, partition: &TopicPartition) -> Option<NextOffset> {
        let positions = self.consumer.position().ok()?;
        let found = positions.find_partition(&partition.topic, partition.partition.0)?;
        match found.offset() {
            ClientOffset::Offset(offset) => Some(NextOffset::new(offset)),
            _ => self.known.borrow().starts.get(partition).copied(),
        }
    }
}
