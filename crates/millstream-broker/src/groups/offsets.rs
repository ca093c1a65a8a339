//! The offsets that a group has committed, per topic and partition.
//!
//! They outlive the group's members. When they expire is the group's decision, since it knows what is in use.
//! A transaction's offsets wait in here, per producer, beside those that are visible (`require_stable` asks for them).

use std::collections::BTreeMap;

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;

use crate::log::Outcome;

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

type ByTopic = BTreeMap<TopicName, BTreeMap<i32, Committed>>;

/// All committed offsets of a group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: ByTopic,
    /// Those of open transactions, by producer id.
    pending: BTreeMap<i64, ByTopic>,
}

fn put(topics: &mut ByTopic, commits: Commits) {
    for (topic, partitions) in commits {
        match topics.get_mut(&topic) {
            Some(known) => known.extend(partitions),
            None => {
                topics.insert(topic, partitions.into_iter().collect());
            }
        }
    }
}

fn remove(topics: &mut ByTopic, places: &Places) {
    for (topic, partitions) in places {
        if let Some(known) = topics.get_mut(topic) {
            known.retain(|partition, _| !partitions.contains(partition));
            if known.is_empty() {
                topics.remove(topic);
            }
        }
    }
}

impl Offsets {
    /// Whether there are none, neither committed nor pending.
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.pending.is_empty()
    }

    /// Keeps offsets until the producer's transaction ends.
    pub(crate) fn pend(&mut self, producer_id: i64, commits: Commits) {
        put(self.pending.entry(producer_id).or_default(), commits);
    }

    /// Ends a producer's transaction.
    pub(crate) fn end(&mut self, producer_id: i64, outcome: Outcome) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if outcome == Outcome::Commit {
            let commits = pending.into_iter();
            put(
                &mut self.topics,
                commits
                    .map(|(topic, partitions)| (topic, partitions.into_iter().collect()))
                    .collect(),
            );
        }
    }

    /// Whether an open transaction is about to change an offset.
    pub(crate) fn is_pending(&self, topic: &TopicName, partition: i32) -> bool {
        let mut pending = self.pending.values();
        pending.any(|topics| {
            let partitions = topics.get(topic);
            partitions.is_some_and(|partitions| partitions.contains_key(&partition))
        })
    }

    /// The producers with an open transaction.
    pub(crate) fn producers(&self) -> impl Iterator<Item = i64> {
        self.pending.keys().copied()
    }

    /// The offsets that wait, by producer.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (i64, Commits)> {
        self.pending.iter().map(|(producer_id, topics)| {
            let commits = topics.iter().map(|(topic, partitions)| {
                let partitions = partitions.iter();
                let partitions = partitions.map(|(index, one)| (*index, one.clone()));
                (topic.clone(), partitions.collect())
            });
            (*producer_id, commits.collect())
        })
    }

    /// Whether there is a committed or pending offset.
    pub(crate) fn touches(&self, topic: &TopicName, partition: i32) -> bool {
        self.get(topic, partition).is_some() || self.is_pending(topic, partition)
    }

    /// All partitions of a topic that have a committed or pending offset.
    pub(crate) fn touched(&self, topic: &TopicName) -> Vec<i32> {
        let pending = self.pending.values().filter_map(|topics| topics.get(topic));
        let all = self.topics.get(topic).into_iter().chain(pending);
        let mut all: Vec<i32> = all.flat_map(|known| known.keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    pub(crate) fn get(&self, topic: &TopicName, partition: i32) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(crate) fn put(&mut self, commits: Commits) {
        put(&mut self.topics, commits);
    }

    /// Removes offsets, also those that an open transaction has set.
    pub(crate) fn remove(&mut self, places: &Places) {
        remove(&mut self.topics, places);
        for topics in self.pending.values_mut() {
            remove(topics, places);
        }
        self.pending.retain(|_, topics| !topics.is_empty());
    }

    /// All partitions of a topic that have an offset.
    pub(crate) fn partitions(&self, topic: &TopicName) -> Vec<i32> {
        let known = self.topics.get(topic);
        known.map_or(Vec::new(), |known| known.keys().copied().collect())
    }

    pub(crate) fn topics(&self) -> impl Iterator<Item = &TopicName> {
        self.topics.keys()
    }

    /// All topics with a committed or pending offset; some more than once.
    pub(crate) fn named(&self) -> impl Iterator<Item = &TopicName> {
        let pending = self.pending.values().flat_map(|topics| topics.keys());
        self.topics.keys().chain(pending)
    }

    /// Everything, by topic.
    pub(crate) fn by_topic(
        &self,
    ) -> impl ExactSizeIterator<Item = (&TopicName, &BTreeMap<i32, Committed>)> {
        self.topics.iter()
    }

    /// Those that have been out of use for longer than `retention_ms`, or than their committer wanted.
    pub(crate) fn expired(
        &self,
        now_wall: i64,
        retention_ms: i64,
        unused_since: impl Fn(i64) -> Option<i64>,
        reads: impl Fn(&str) -> bool,
    ) -> Places {
        let mut places = Places::new();
        for (topic, partition, committed) in self.iter() {
            let since = unused_since(committed.at_ms);
            let expired = since.is_some_and(|since| match committed.expires_at_ms {
                Some(expiry) => now_wall >= expiry,
                None => now_wall.saturating_sub(since) >= retention_ms,
            });
            if expired && !reads(topic) && !self.is_pending(topic, partition) {
                match places.last_mut() {
                    Some((last, partitions)) if last == topic => partitions.push(partition),
                    _ => places.push((topic.clone(), vec![partition])),
                }
            }
        }
        places
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&TopicName, i32, &Committed)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            let partitions = partitions.iter();
            partitions.map(move |(partition, committed)| (topic, *partition, committed))
        })
    }
}
