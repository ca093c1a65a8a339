//! Partitions that are added to topics while they are read.
//!
//! The client of a reader reads what it was given and looks for nothing else, so the topics are looked at now and then. What
//! was added is read from its first record: all of it came after reading had begun.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::offsets::ByPartition;
use super::reader::PartitionReader;
use crate::clock::{Clock as _, Moment, SystemClock};
use crate::error::Error;
use crate::topic::TopicPartition;

/// What is read by now, and when to look again.
pub(crate) struct Growth {
    clock: SystemClock,
    next: Moment,
    topics: Vec<Arc<str>>,
    known: BTreeSet<TopicPartition>,
}

impl Growth {
    /// All partitions there are of `topics` are read; the first look is due at once.
    pub(crate) fn of(
        topics: Vec<Arc<str>>,
        known: impl IntoIterator<Item = TopicPartition>,
    ) -> Growth {
        let clock = SystemClock::new();
        Growth {
            next: clock.now(),
            clock,
            topics,
            known: known.into_iter().collect(),
        }
    }

    /// Reads partitions that were added, when it is time to look for them; where they begin.
    pub(crate) fn look(&mut self, client: &PartitionReader) -> Result<ByPartition, Error> {
        let now = self.clock.now();
        if now < self.next {
            return Ok(ByPartition::new());
        }
        self.next = now.plus(client.refresh_interval());
        let mut added = Vec::new();
        for topic in &self.topics {
            let numbers = client.partitions_by_now(topic).into_iter();
            let all = numbers.map(|number| TopicPartition::new(Arc::clone(topic), number));
            added.extend(all.filter(|partition| !self.known.contains(partition)));
        }
        if added.is_empty() {
            return Ok(ByPartition::new());
        }
        let begun = match client.add(&added) {
            Err(error) if error.is_retriable() => return Ok(ByPartition::new()),
            begun => begun?,
        };
        for partition in begun.keys() {
            tracing::info!(topic = %partition.topic, partition = partition.partition.0, "partition added: it is read from its start");
        }
        self.known.extend(begun.keys().cloned());
        Ok(begun)
    }
}
