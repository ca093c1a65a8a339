//! A consumer outside of any group, on partitions chosen by hand.
//!
//! Finds out where each partition starts and ends, reads from given positions, and says when a partition has
//! been read to its end, transaction markers and compacted gaps included. It commits nothing and takes part in no
//! group: the group id it carries exists only because librdkafka assigns nothing without one.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::metadata::MetadataTopic;
use rdkafka::{Offset as ClientOffset, Timestamp as ClientTimestamp, TopicPartitionList};

use super::config::{Logging, Role, client_config, code_error, kafka_error};
use super::headers;
use super::offsets::{self, ByPartition, Which};
use crate::config::Cluster;
use crate::error::Error;
use crate::log::Message;
use crate::record::{Headers, Timestamp};
use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

/// The first offset of a partition and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// The first offset that is still there.
    pub start: NextOffset,
    /// The offset the next record will get.
    pub end: NextOffset,
}

/// What the consumer found.
pub(crate) enum Found<'a> {
    Record(ReadMessage<'a>),
    /// Everything this partition had is read.
    End(Partition),
    Nothing,
}

/// The property that says how often it is looked whether topics have grown, and what it is when the user has not set it.
const REFRESH: &str = "topic.metadata.refresh.interval.ms";
const REFRESH_EVERY: Duration = Duration::from_secs(30);

/// How long such a look may take.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

/// A consumer of one topic, or of several whose names `topic` joins for error texts.
pub(crate) struct PartitionReader {
    client: Arc<BaseConsumer<Logging>>,
    cluster: Cluster,
    topic: String,
    patience: Duration,
}

/// The records of one partition, apart from those of the others.
pub(crate) struct Feed(PartitionQueue<Logging>);

impl PartitionReader {
    /// Makes the client; each question to the cluster may take `patience`.
    pub(crate) fn open(
        cluster: &Cluster,
        topic: &str,
        patience: Duration,
    ) -> Result<PartitionReader, Error> {
        Self::open_with(cluster, topic, patience, "16384")
    }

    /// As [`open`](Self::open), for partitions that are read one by one: what is fetched ahead is then bounded for each.
    pub(crate) fn open_for_feeds(
        cluster: &Cluster,
        topic: &str,
        patience: Duration,
    ) -> Result<PartitionReader, Error> {
        Self::open_with(cluster, topic, patience, "1024")
    }

    fn open_with(
        cluster: &Cluster,
        topic: &str,
        patience: Duration,
        ahead_kbytes: &str,
    ) -> Result<PartitionReader, Error> {
        cluster.check_brokers()?;
        let defaults = [
            ("fetch.queue.backoff.ms", "5"),
            ("queued.max.messages.kbytes", ahead_kbytes),
            // It is in no group, but librdkafka refuses a shorter poll interval than this.
            ("session.timeout.ms", "6000"),
        ];
        let forced = [
            ("group.id", "millstream-reader"),
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("auto.offset.reset", "error"),
            ("enable.partition.eof", "true"),
        ];
        let client = client_config(cluster, Role::Consumer, &defaults, &forced)
            .create_with_context(Logging(cluster.clone()))
            .map_err(|error| kafka_error(cluster, "make a reader", &error))?;
        Ok(PartitionReader {
            client: Arc::new(client),
            cluster: cluster.clone(),
            topic: topic.to_owned(),
            patience,
        })
    }

    /// The partitions of the topic, in order.
    pub(crate) fn partitions(&self) -> Result<Vec<Partition>, Error> {
        self.partitions_of(&self.topic)
    }

    /// The partitions of `topic`, in order.
    pub(crate) fn partitions_of(&self, topic: &str) -> Result<Vec<Partition>, Error> {
        let unknown = || Error::UnknownTopic {
            topic: topic.to_owned(),
        };
        let action = format!("ask for topic `{topic}`");
        let metadata = self
            .client
            .fetch_metadata(Some(topic), self.patience)
            .map_err(|error| kafka_error(&self.cluster, &*action, &error))?;
        let topic = metadata.topics().first().ok_or_else(unknown)?;
        match topic.error().map(RDKafkaErrorCode::from) {
            None => {}
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Err(unknown());
            }
            Some(code) => return Err(code_error(action, code)),
        }
        let mut numbers: Vec<Partition> = topic
            .partitions()
            .iter()
            .map(|part| Partition(part.id()))
            .collect();
        numbers.sort_unstable();
        if numbers.is_empty() {
            Err(unknown())
        } else {
            Ok(numbers)
        }
    }

    /// One offset of each partition; those that have none are left out.
    pub(crate) fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: Which,
    ) -> Result<ByPartition, Error> {
        offsets::fetch(
            &self.client,
            &self.cluster,
            partitions,
            which,
            self.patience,
        )
    }

    /// Reads these partitions, each from its position.
    pub(crate) fn start(&self, positions: &ByPartition) -> Result<(), Error> {
        offsets::list_of(
            positions
                .iter()
                .map(|(partition, offset)| (partition, *offset)),
        )
        .and_then(|list| self.client.assign(&list))
        .map_err(|error| self.fail("read topic", &error))
    }

    /// Reads these partitions too, each from its first record.
    pub(crate) fn add(&self, partitions: &[TopicPartition]) -> Result<ByPartition, Error> {
        let starts = self.offsets(partitions, Which::Start)?;
        let positions = starts
            .iter()
            .map(|(partition, offset)| (partition, *offset));
        offsets::list_of(positions)
            .and_then(|list| self.client.incremental_assign(&list))
            .map_err(|error| self.fail("read topic", &error))?;
        Ok(starts)
    }

    /// How often it is looked whether the topic has grown.
    pub(crate) fn refresh_interval(&self) -> Duration {
        let mut properties = self.cluster.raw_properties();
        let set = properties.find(|(name, _)| *name == REFRESH);
        let set = set.and_then(|(_, value)| value.parse().ok());
        set.map_or(REFRESH_EVERY, Duration::from_millis)
    }

    /// The partitions of `topic` by now; none if the cluster does not say so within a second.
    pub(crate) fn partitions_by_now(&self, topic: &str) -> Vec<Partition> {
        let metadata = self.client.fetch_metadata(Some(topic), SHORT_PATIENCE);
        let metadata = metadata.into_iter();
        let numbers = metadata.flat_map(|metadata| {
            let topics = metadata.topics().iter();
            let parts = topics.flat_map(MetadataTopic::partitions);
            parts.map(|part| Partition(part.id())).collect::<Vec<_>>()
        });
        let mut numbers: Vec<_> = numbers.collect();
        numbers.sort_unstable();
        numbers
    }

    /// Stops reading this partition.
    pub(crate) fn finish(&self, partition: Partition) -> Result<(), Error> {
        self.finish_of(&self.topic, partition)
    }

    /// Stops reading this partition of `topic`.
    pub(crate) fn finish_of(&self, topic: &str, partition: Partition) -> Result<(), Error> {
        let mut list = TopicPartitionList::new();
        list.add_partition(topic, partition.0);
        self.client
            .pause(&list)
            .map_err(|error| self.fail("pause topic", &error))
    }

    /// Gives a partition a queue of its own, before it is [started](Self::start): what was fetched by then would be in the client's
    /// queue, and nobody looks for records there.
    pub(crate) fn split(&self, partition: &TopicPartition) -> Result<Feed, Error> {
        let queue = self
            .client
            .split_partition_queue(&partition.topic, partition.partition.0);
        queue.map(Feed).ok_or_else(|| Error::UnknownTopic {
            topic: partition.topic.to_string(),
        })
    }

    /// As [`poll`](Self::poll), of one partition.
    pub(crate) fn poll_feed<'a>(&self, feed: &'a Feed, wait: Duration) -> Result<Found<'a>, Error> {
        let polled = feed.0.poll(wait);
        if polled.is_none() {
            // What concerns no partition, such as a broker that is away, waits in the client's own queue.
            drop(self.client.poll(Duration::ZERO));
        }
        self.found(polled)
    }

    /// Waits up to `wait` for the next record.
    pub(crate) fn poll(&self, wait: Duration) -> Result<Found<'_>, Error> {
        self.found(self.client.poll(wait))
    }

    fn found<'a>(
        &self,
        polled: Option<Result<BorrowedMessage<'a>, KafkaError>>,
    ) -> Result<Found<'a>, Error> {
        match polled {
            None => Ok(Found::Nothing),
            Some(Ok(message)) => Ok(Found::Record(ReadMessage(message))),
            Some(Err(KafkaError::PartitionEOF(partition))) => Ok(Found::End(Partition(partition))),
            Some(Err(error)) => {
                if error == KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)
                    && let Some(error) = self.out_of_range()
                {
                    return Err(error);
                }
                let error = self.fail("read topic", &error);
                // What passes by itself was logged by the client's context, and the client goes on by itself.
                if error.is_retriable() {
                    Ok(Found::Nothing)
                } else {
                    Err(error)
                }
            }
        }
    }

    /// The position that is not on the cluster: the client says that there is one, and not which.
    fn out_of_range(&self) -> Option<Error> {
        let assigned = self.client.assignment().ok()?;
        let read = self.client.position().ok()?;
        let all = assigned.elements().into_iter();
        let all = all.map(|at| TopicPartition::new(at.topic(), Partition(at.partition())));
        let all: Vec<_> = all.collect();
        let starts = self.offsets(&all, Which::Start).ok()?;
        let ends = self.offsets(&all, Which::End).ok()?;
        all.into_iter().find_map(|partition| {
            let at = |list: &TopicPartitionList| {
                let found = list.find_partition(&partition.topic, partition.partition.0)?;
                match found.offset() {
                    ClientOffset::Offset(offset) => Some(NextOffset::new(offset)),
                    _ => None,
                }
            };
            let wanted = at(&read).or_else(|| at(&assigned))?;
            let (start, end) = (*starts.get(&partition)?, *ends.get(&partition)?);
            let is_there = start <= wanted && wanted <= end;
            (!is_there).then_some(Error::InvalidPosition {
                partition,
                wanted,
                start,
                end,
            })
        })
    }

    fn fail(&self, action: &str, error: &KafkaError) -> Error {
        kafka_error(&self.cluster, format!("{action} `{}`", self.topic), error)
    }
}

/// A record in the client's buffer.
pub(crate) struct ReadMessage<'a>(BorrowedMessage<'a>);

impl<'a> ReadMessage<'a> {
    pub(super) fn new(message: BorrowedMessage<'a>) -> Self {
        Self(message)
    }
}

impl Message for ReadMessage<'_> {
    fn key(&self) -> Option<&[u8]> {
        self.0.key()
    }

    fn value(&self) -> Option<&[u8]> {
        self.0.payload()
    }

    fn headers(&self) -> Headers {
        headers::from_client(self.0.headers())
    }

    fn timestamp(&self) -> Timestamp {
        match self.0.timestamp() {
            ClientTimestamp::NotAvailable => Timestamp::UNKNOWN,
            ClientTimestamp::CreateTime(millis) | ClientTimestamp::LogAppendTime(millis) => {
                Timestamp::from_millis(millis)
            }
        }
    }

    fn topic(&self) -> &str {
        self.0.topic()
    }

    fn partition(&self) -> Partition {
        Partition(self.0.partition())
    }

    fn offset(&self) -> Offset {
        Offset::new(self.0.offset())
    }
}
