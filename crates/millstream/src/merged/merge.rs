//! The records of several partitions in the order of their time.
//!
//! Each partition is read through a queue of its own, so that one far ahead waits in the client and not in memory here: only
//! the next record of each is held. The earliest of these comes next; at the same time, that of the lower topic and
//! partition. Within a partition the order of offsets always holds, whatever the times are.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use super::span::Span;
use super::{RawRecord, raw};
use crate::config::Cluster;
use crate::error::Error;
use crate::log::Message as _;
use crate::log::kafka::reader::{Feed, Found, PartitionReader};
use crate::record::Timestamp;
use crate::topic::{NextOffset, TopicPartition};

/// Spans of partitions, read together.
pub(super) struct Merge {
    client: PartitionReader,
    lanes: Vec<Lane>,
    /// The lanes whose next record is not here yet.
    waiting: Vec<usize>,
    /// The lanes whose next record is here, the earliest on top.
    ready: BinaryHeap<Reverse<(Timestamp, usize)>>,
}

/// One partition's way up to its stop.
struct Lane {
    feed: Feed,
    partition: TopicPartition,
    topic: [Arc<str>; 1],
    stop: NextOffset,
    next: Option<RawRecord>,
    read: usize,
}

impl Merge {
    /// Begins to read `spans`; those without an offset in them are left out.
    pub(super) fn open(
        cluster: &Cluster,
        name: &str,
        patience: Duration,
        spans: &[Span],
    ) -> Result<Merge, Error> {
        let client = PartitionReader::open_for_feeds(cluster, name, patience)?;
        let spans = || spans.iter().filter(|span| !span.is_empty());
        // A queue of its own before anything is fetched: a thread that is held up between the two would lose what came meanwhile.
        let mut lanes = Vec::new();
        for span in spans() {
            lanes.push(Lane {
                feed: client.split(&span.partition)?,
                topic: [span.partition.topic.clone()],
                partition: span.partition.clone(),
                stop: span.stop,
                next: None,
                read: 0,
            });
        }
        client.start(
            &spans()
                .map(|span| (span.partition.clone(), span.begin))
                .collect(),
        )?;
        Ok(Merge {
            client,
            waiting: (0..lanes.len()).collect(),
            lanes,
            ready: BinaryHeap::new(),
        })
    }

    /// Whether every partition was read to its stop.
    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.ready.is_empty()
    }

    /// How many records this partition has given.
    pub(super) fn read_of(&self, partition: &TopicPartition) -> usize {
        let lane = self.lanes.iter().find(|lane| lane.partition == *partition);
        lane.map_or(0, |lane| lane.read)
    }

    /// The next record; `None` when one did not come within `wait`, or when all is read.
    pub(super) fn next(&mut self, wait: Duration) -> Result<Option<RawRecord>, Error> {
        // The earliest is known only when the next record of every partition is.
        while let Some(&number) = self.waiting.last() {
            if !self.fill(number, wait)? {
                return Ok(None);
            }
            self.waiting.pop();
        }
        let Some(Reverse((_, number))) = self.ready.pop() else {
            return Ok(None);
        };
        let Some(lane) = self.lanes.get_mut(number) else {
            return Ok(None);
        };
        let record = lane.next.take();
        if let Some(record) = &record {
            lane.read += 1;
            if record.position.offset.next() < lane.stop {
                self.waiting.push(number);
            } else {
                lane.finish(&self.client)?;
            }
        }
        Ok(record)
    }

    /// Gets the next record of a lane, or finds that there is none; false when `wait` passed first.
    fn fill(&mut self, number: usize, wait: Duration) -> Result<bool, Error> {
        let Some(lane) = self.lanes.get_mut(number) else {
            return Ok(true);
        };
        match self.client.poll_feed(&lane.feed, wait)? {
            Found::Nothing => return Ok(false),
            Found::Record(message) if NextOffset::at(message.offset()) < lane.stop => {
                let record = raw(&lane.topic, &message);
                self.ready.push(Reverse((record.timestamp, number)));
                lane.next = Some(record);
            }
            // The stop is not behind the end, so the end of the partition is past it too.
            Found::Record(_) | Found::End(_) => lane.finish(&self.client)?,
        }
        Ok(true)
    }
}

impl Lane {
    fn finish(&self, client: &PartitionReader) -> Result<(), Error> {
        client.finish_of(&self.partition.topic, self.partition.partition)
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;

    use super::*;
    use crate::codec::{Json, NoKey};
    use crate::emitter::Emitter;
    use crate::topic::{Partition, Topic};

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The reader's thread is held up after it has begun: what is fetched meanwhile is not lost.
    #[test]
    fn what_is_fetched_before_a_partition_is_polled_comes_by_its_own_queue() {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("in", 1, 1).unwrap();
        let cluster = Cluster::new(mock.bootstrap_servers());
        let emitter = Emitter::new(&cluster).unwrap();
        let topic = Topic::<(), u64>::new("in", &NoKey, &Json);
        emitter.send(&topic, &(), &7).unwrap();
        emitter.flush(PATIENCE).unwrap();
        let span = Span {
            partition: TopicPartition::new("in", Partition(0)),
            start: NextOffset::new(0),
            begin: NextOffset::new(0),
            stop: NextOffset::new(1),
        };
        let mut merge = Merge::open(&cluster, "in", PATIENCE, &[span]).unwrap();
        // The queue of the client, where it would be lost.
        let elsewhere = merge.client.poll(Duration::from_millis(300)).unwrap();
        assert!(
            matches!(elsewhere, Found::Nothing),
            "a record nobody looks for"
        );
        let record = merge.next(PATIENCE).unwrap().unwrap();
        assert_eq!(record.value.as_deref(), Some(&b"7"[..]));
        assert!(merge.is_done());
    }
}
