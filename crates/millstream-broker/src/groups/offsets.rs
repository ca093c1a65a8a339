//! The offsets that a group has committed, per topic and partition.
//!
//! They outlive the group's members. When they expire is the group's decision, since it knows what is in use.
//! A transaction's offsets wait in here, per producer, beside those that are visible (`require_stable` asks for them). Whichever was
//! stored last holds, as in Apache Kafka: the end of a transaction does not replace what was committed after it had sent its offsets.

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

/// An offset, and how many commits came before it.
#[derive(Debug)]
struct Stored {
    order: u64,
    committed: Committed,
}

type ByTopic = BTreeMap<TopicName, BTreeMap<i32, Stored>>;

/// All committed offsets of a group.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: ByTopic,
    /// Those of open transactions, by producer id.
    pending: BTreeMap<i64, ByTopic>,
    /// How many commits there were.
    commits: u64,
}

fn put(topics: &mut ByTopic, commits: Commits, order: u64) {
    for (topic, partitions) in commits {
        let stored = |(index, committed)| (index, Stored { order, committed });
        let partitions = partitions.into_iter().map(stored);
        topics.entry(topic).or_default().extend(partitions);
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
        self.commits += 1;
        let pending = self.pending.entry(producer_id).or_default();
        put(pending, commits, self.commits);
    }

    /// Ends a producer's transaction.
    pub(crate) fn end(&mut self, producer_id: i64, outcome: Outcome) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if outcome == Outcome::Abort {
            return;
        }
        for (topic, partitions) in pending {
            let known = self.topics.entry(topic).or_default();
            for (index, stored) in partitions {
                let later = known.get(&index);
                if later.is_none_or(|later| later.order < stored.order) {
                    known.insert(index, stored);
                }
            }
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

    /// Everything as commits that lead to it again, in their order, with the producer of those that wait.
    pub(crate) fn in_order(&self) -> Vec<(Option<i64>, Commits)> {
        let waiting = self.pending.iter();
        let waiting = waiting.map(|(producer_id, topics)| (Some(*producer_id), topics));
        let mut all = Vec::new();
        for (producer_id, topics) in [(None, &self.topics)].into_iter().chain(waiting) {
            for (topic, partitions) in topics {
                let each = partitions.iter();
                all.extend(each.map(|(index, stored)| (producer_id, topic, *index, stored)));
            }
        }
        if !self.pending.is_empty() {
            all.sort_by_key(|(.., stored)| stored.order);
        }
        let mut ordered: Vec<(Option<i64>, Commits)> = Vec::new();
        for (producer_id, topic, index, stored) in all {
            let one = (index, stored.committed.clone());
            if ordered.last().is_none_or(|(last, _)| *last != producer_id) {
                ordered.push((producer_id, Vec::new()));
            }
            let Some((_, commits)) = ordered.last_mut() else {
                continue;
            };
            match commits.last_mut() {
                Some((last, partitions)) if last == topic => partitions.push(one),
                _ => commits.push((topic.clone(), vec![one])),
            }
        }
        ordered
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
        let stored = self.topics.get(topic)?.get(&partition)?;
        Some(&stored.committed)
    }

    pub(crate) fn put(&mut self, commits: Commits) {
        self.commits += 1;
        put(&mut self.topics, commits, self.commits);
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
            partitions.map(move |(partition, stored)| (topic, *partition, &stored.committed))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> TopicName {
        TopicName(StrBytes::from_string(name.to_owned()))
    }

    fn one(name: &str, partition: i32, offset: i64) -> Commits {
        let committed = Committed {
            offset,
            leader_epoch: -1,
            metadata: StrBytes::new(),
            at_ms: 0,
            expires_at_ms: None,
        };
        vec![(topic(name), vec![(partition, committed)])]
    }

    /// Commits of 10 to 15, of which 11, 12 and 14 wait.
    fn mixed() -> Offsets {
        let mut offsets = Offsets::default();
        offsets.put(one("b", 0, 10));
        offsets.pend(9, one("b", 0, 11));
        offsets.pend(7, one("b", 0, 12));
        offsets.put(one("a", 0, 13));
        offsets.pend(7, one("a", 0, 14));
        offsets.put(one("a", 1, 15));
        offsets
    }

    fn after(mut offsets: Offsets, ends: [i64; 2]) -> [Option<i64>; 3] {
        for producer_id in ends {
            offsets.end(producer_id, Outcome::Commit);
        }
        [("a", 0), ("a", 1), ("b", 0)].map(|(name, partition)| {
            let found = offsets.get(&topic(name), partition);
            found.map(|found| found.offset)
        })
    }

    #[test]
    fn of_several_commits_the_one_that_was_stored_last_holds() {
        for ends in [[7, 9], [9, 7]] {
            assert_eq!(after(mixed(), ends), [Some(14), Some(15), Some(12)]);
        }
    }

    #[test]
    fn what_leads_to_all_again_keeps_the_order() {
        for ends in [[7, 9], [9, 7]] {
            let mut again = Offsets::default();
            for (producer_id, commits) in mixed().in_order() {
                match producer_id {
                    Some(producer_id) => again.pend(producer_id, commits),
                    None => again.put(commits),
                }
            }
            assert_eq!(after(again, ends), after(mixed(), ends));
        }
    }
}
