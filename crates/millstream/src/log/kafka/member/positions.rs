//! Where a member stands in its partitions, and where it is to begin.
//!
//! The group's coordinator and the partitions' leaders are asked, with a bound on the time. librdkafka tells of a position
//! that is not on the cluster without saying what is: such a position stays in doubt until the cluster has answered. The client
//! has gone elsewhere by then, whatever the cluster has at the time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset as ClientOffset;

use super::super::offsets::{self, ByPartition, Which};
use super::signals::partitions;
use super::{Member, PATIENCE, SHORT_PATIENCE, list_of};
use crate::clock::{Clock as _, Moment};
use crate::error::Error;
use crate::log::{Begin, Event, Log as _};
use crate::policy::Start;
use crate::topic::{NextOffset, TopicPartition};

/// The first offset of a partition that could not be asked for; every partition begins there or later.
const UNKNOWN: NextOffset = NextOffset::new(0);

/// Between two questions about a position in doubt, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

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
        let policy = self.settings.start;
        let (at_the_end, at_the_start): (Vec<_>, Vec<_>) = match policy {
            Start::Earliest => (Vec::new(), new),
            Start::Latest => new.into_iter().partition(|new| !self.is_added(new)),
            Start::Fail => (new.clone(), new),
        };
        let starts = self.ask(&at_the_start, Which::Start);
        let ends = self.ask(&at_the_end, Which::End);
        let begin = |partition: &TopicPartition| match (
            committed.get(partition),
            starts.get(partition),
            ends.get(partition),
        ) {
            (Some(offset), ..) => Begin::Committed(*offset),
            (None, Some(start), Some(end)) => Begin::Refused {
                start: *start,
                end: *end,
            },
            (None, Some(offset), None) | (None, None, Some(offset)) if policy != Start::Fail => {
                Begin::Chosen(*offset)
            }
            // The client finds it out when the leader is back.
            (None, None, None) if policy == Start::Earliest => Begin::Chosen(UNKNOWN),
            _ => Begin::Unknown,
        };
        let begins = partitions.iter();
        Ok(begins
            .map(|partition| (partition.clone(), begin(partition)))
            .collect())
    }

    /// Where partitions start or end. One whose leader does not answer is left out: no other waits for it.
    fn ask(&self, partitions: &[TopicPartition], which: Which) -> ByPartition {
        let asked = offsets::fetch_some(&self.consumer, partitions, which, SHORT_PATIENCE);
        let found = asked.unwrap_or_default();
        for partition in partitions.iter().filter(|asked| !found.contains_key(asked)) {
            tracing::warn!(
                topic = %partition.topic,
                partition = partition.partition.0,
                "the leader of the partition does not answer: read when it does"
            );
        }
        found
    }

    /// Remembers how many partitions the inputs have when the first share comes, where that decides how others begin.
    pub(super) fn count_partitions(&self, first: &[TopicPartition]) -> Result<(), Error> {
        if self.settings.start != Start::Latest || self.known.borrow().counts.is_some() {
            return Ok(());
        }
        let mut counts = HashMap::new();
        for topic in &self.settings.topics {
            let count = match self.partition_count(topic) {
                Err(Error::UnknownTopic { .. }) => 0,
                count => count?,
            };
            // A broker may have heard of new partitions later than the group.
            let given = first.iter().filter(|given| given.topic == *topic);
            let given = given.map(|given| given.partition.0 + 1).max();
            counts.insert(Arc::clone(topic), count.max(given.unwrap_or(0)));
        }
        self.known.borrow_mut().counts = Some(counts);
        Ok(())
    }

    /// Whether a partition was added while this member runs: all that is in it came after the group had begun.
    fn is_added(&self, partition: &TopicPartition) -> bool {
        let known = self.known.borrow();
        let counts = known.counts.as_ref();
        let count = counts.and_then(|counts| counts.get(&partition.topic));
        count.is_some_and(|count| partition.partition.0 >= *count)
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
                // Paused until the answer is known, and then read from there.
                begin => begin.offset().map_or(ClientOffset::End, |offset| {
                    ClientOffset::Offset(offset.get())
                }),
            };
            list.add_partition_offset(&partition.topic, partition.partition.0, offset)?;
        }
        Ok(list)
    }

    /// Asks the cluster about a position in doubt, of those whose time has come; an event where the client has gone elsewhere.
    pub(super) fn doubt<M>(&self) -> Option<Event<M>> {
        let mut known = self.known.borrow_mut();
        if known.doubtful.is_empty() {
            return None;
        }
        let now = self.clock.now();
        let due = known
            .doubtful
            .iter()
            .position(|doubt| doubt.ask_at <= now)?;
        let mut doubt = known.doubtful.swap_remove(due);
        let (topic, number) = (&*doubt.partition.topic, doubt.partition.partition.0);
        let asked = self
            .consumer
            .fetch_watermarks(topic, number, SHORT_PATIENCE);
        match asked {
            Ok((start, end)) => doubt.event(NextOffset::new(start), NextOffset::new(end)),
            Err(error) => {
                let action = format!("ask for the ends of {}", doubt.partition);
                doubt.ask_later(self.clock.now());
                known.doubtful.push(doubt);
                Some(Event::Trouble(self.fail(action, &error)))
            }
        }
    }

    /// Where the client stands in each partition that it has.
    pub(super) fn positions(&self) -> Result<HashMap<TopicPartition, NextOffset>, KafkaError> {
        let list = self.consumer.position()?;
        let known = self.known.borrow();
        let stands = partitions(&list).into_iter().zip(list.elements());
        let stands = stands.filter_map(|(partition, element)| {
            let at = match element.offset() {
                ClientOffset::Offset(offset) => Some(NextOffset::new(offset)),
                _ => known.starts.get(&partition).copied(),
            };
            Some((partition, at?))
        });
        Ok(stands.collect())
    }
}

/// A position that may not be on the cluster.
pub(super) struct Doubt {
    pub(super) partition: TopicPartition,
    wanted: NextOffset,
    /// Whether the client has said that it went elsewhere. The position may be on the cluster again meanwhile, where a topic was
    /// made anew and has grown.
    is_reset: bool,
    ask_at: Moment,
    /// How long after the next failure it is asked again.
    pause: Duration,
}

impl Doubt {
    pub(super) fn of_a_reset(partition: TopicPartition, wanted: NextOffset) -> Self {
        let doubt = Self::of_a_position(partition, wanted);
        Self {
            is_reset: true,
            ..doubt
        }
    }

    pub(super) fn of_a_position(partition: TopicPartition, wanted: NextOffset) -> Self {
        Self {
            partition,
            wanted,
            is_reset: false,
            ask_at: Moment::default(),
            pause: SHORT_PATIENCE,
        }
    }

    fn event<M>(self, start: NextOffset, end: NextOffset) -> Option<Event<M>> {
        let is_there = start <= self.wanted && self.wanted <= end;
        (self.is_reset || !is_there).then_some(Event::OutOfRange {
            partition: self.partition,
            wanted: self.wanted,
            start,
            end,
        })
    }

    /// Each failure takes its time, in which nothing is read: they become rare.
    fn ask_later(&mut self, now: Moment) {
        self.ask_at = now.plus(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}
