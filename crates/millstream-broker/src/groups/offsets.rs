//! The offsets that a group has committed, per topic and partition.
//!
//! They outlive the group's members. When they expire is the group's decision, since it knows what is in use.
//! A transaction's offsets will wait in here, per producer, beside those that are visible (`require_stable` asks for them).

use std::collections::BTreeMap;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

/// Partitions by topic.
pub(crate) type Places = Vec<(TopicName, Vec<i32>)>;

/// Commits by topic and partition.
pub(crate) type Commits = Vec<(TopicName, Vec<(i32, Committed)>)>;

/// One committed offset: the next one to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Committed {
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
    pub(crate) metadata: StrBytes,
    pub(crate) at_ms: i64,
    /// Set by clients of versions up to 4, which choose the retention themselves.
    pub(crate) expires_at_ms: Option<i64>,
}

/// All committed offsets of a group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: BTreeMap<TopicName, BTreeMap<i32, Committed>>,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn get(&self, topic: &TopicName, partition: i32) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(crate) fn put(&mut self, commits: Commits) {
        for (topic, partitions) in commits {
            match self.topics.get_mut(&topic) {
                Some(known) => known.extend(partitions),
                None => {
                    self.topics.insert(topic, partitions.into_iter().collect());
                }
            }
        }
    }

    pub(crate) fn remove(&mut self, places: &Places) {
        for (topic, partitions) in places {
            if let Some(known) = self.topics.get_mut(topic) {
                known.retain(|partition, _| !partitions.contains(partition));
                if known.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
    }

    /// All partitions of a topic that have an offset.
    pub(crate) fn partitions(&self, topic: &TopicName) -> Vec<i32> {
        let known = self.topics.get(topic);
        known.map_or(Vec::new(), |known| known.keys().copied().collect())
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.keys()
    }

    /// Everything, by topic.
    pub(crate) fn by_topic(
        &self,
    ) -> impl ExactSizeIterator<Item = (&TopicName, &BTreeMap<i32, Committed>)> {
        self.topics.iter()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicName, i32, &Committed)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            let partitions = partitions.iter();
            partitions.map(move |(partition, committed)| (topic, *partition, committed))
        })
    }
}
