//! The cluster's and the client's side of one member: what it reads, what it has under way.
//!
//! Data only; `reading` and `writing` act on it. What the group has decided (`notices`, `lost`) and what the worker
//! knows (`assigned`, `held`) are kept apart, because a worker learns of everything late.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::group::Notice;
use super::topics::{Stored, Topics};
use crate::clock::Moment;
use crate::error::Error;
use crate::log::Token;
use crate::policy::Start;
use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

/// What a member reads, and how.
#[derive(Debug, Clone)]
pub(crate) struct Subscription {
    pub(crate) group: Arc<str>,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) start: Start,
    pub(crate) session_timeout: Duration,
    pub(crate) max_bytes_in_flight: usize,
}

/// What becomes of a record that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Written,
    WrittenTwice,
    /// Written, and reported as timed out.
    Unknown,
    Failed,
    /// Not written for so long that the client gave up on it.
    TimedOut,
    /// In a batch that was refused; whether there was another record in it.
    Refused {
        only_record: bool,
    },
    /// The producer failed for good.
    Fatal,
}

impl Fate {
    pub(super) const fn is_written(self) -> bool {
        matches!(self, Self::Written | Self::WrittenTwice | Self::Unknown)
    }
}

/// A record on its way.
pub(super) struct Sent {
    pub(super) token: Token,
    pub(super) topic: Arc<str>,
    pub(super) partition: Partition,
    pub(super) record: Stored,
    /// What it counts against the bound of its member.
    pub(super) memory: usize,
    /// Records of one batch are decided together.
    pub(super) batch: u64,
    pub(super) sent: Moment,
    pub(super) due: Moment,
    pub(super) fate: Fate,
    /// The cluster has decided; the member does not know yet.
    pub(super) is_decided: bool,
}

impl Sent {
    /// Its size for the cluster.
    pub(super) fn bytes(&self) -> usize {
        let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        length(&self.record.key) + length(&self.record.value)
    }

    pub(super) fn write(&self, topics: &mut Topics) {
        let times = if self.fate == Fate::WrittenTwice {
            2
        } else {
            1
        };
        for _ in 0..times {
            topics.append(&self.topic, self.partition, self.record.clone());
        }
    }
}

#[derive(Debug)]
pub(super) struct Held {
    /// What the client fetches next.
    pub(super) next: NextOffset,
    /// What it has fetched and not given yet.
    pub(super) fetched: VecDeque<(Offset, Arc<Stored>)>,
    /// So many records still come although the partition is paused.
    pub(super) late: usize,
    /// Out of range, and the service is set to choose no other position: nothing is read.
    pub(super) stuck: bool,
}

impl Held {
    /// Drops what was fetched: the next record that is given is the one at `next`.
    pub(super) fn fetch_from(&mut self, next: NextOffset) {
        self.next = next;
        self.fetched.clear();
    }

    /// Drops what was fetched: it is fetched again.
    pub(super) fn fetch_again(&mut self) {
        if let Some((first, _)) = self.fetched.front() {
            self.fetch_from(NextOffset::at(*first));
        }
    }
}

/// A batch that takes further records.
#[derive(Debug, Clone, Copy)]
pub(super) struct OpenBatch {
    pub(super) number: u64,
    pub(super) closes: Moment,
    pub(super) due: Moment,
}

/// A commit on its way to the cluster.
pub(super) struct LateCommit {
    pub(super) offsets: Vec<(TopicPartition, NextOffset)>,
    pub(super) due: Moment,
    /// The group's generation when it was asked for.
    pub(super) generation: usize,
}

/// The answer to a commit, on its way to the member.
pub(super) struct Asked {
    pub(super) offsets: Vec<(TopicPartition, NextOffset)>,
    pub(super) due: Moment,
    pub(super) result: Result<(), Error>,
}

/// The cluster's and the client's side of one member.
pub(super) struct Member {
    pub(super) subscription: Subscription,
    pub(super) last_poll: Moment,
    pub(super) crashed: bool,
    pub(super) notices: VecDeque<Notice>,
    pub(super) under_way: Vec<Sent>,
    /// What the worker knows that it holds and has not given back.
    pub(super) assigned: BTreeSet<TopicPartition>,
    pub(super) lost: Option<Vec<TopicPartition>>,
    pub(super) held: BTreeMap<TopicPartition, Held>,
    /// How many partitions its topics had when its first share came.
    pub(super) counts: BTreeMap<Arc<str>, i32>,
    /// What the worker has paused and not resumed: the client remembers it, whoever holds the partition meanwhile.
    pub(super) paused: BTreeSet<TopicPartition>,
    pub(super) late: VecDeque<LateCommit>,
    pub(super) asked: VecDeque<Asked>,
    /// The latest batch of each partition.
    pub(super) batches: BTreeMap<(Arc<str>, Partition), OpenBatch>,
    /// Its producer has failed for good.
    pub(super) is_broken: bool,
}

impl Member {
    pub(super) fn new(subscription: Subscription, now: Moment) -> Member {
        Member {
            subscription,
            last_poll: now,
            crashed: false,
            notices: VecDeque::new(),
            under_way: Vec::new(),
            assigned: BTreeSet::new(),
            lost: None,
            held: BTreeMap::new(),
            counts: BTreeMap::new(),
            paused: BTreeSet::new(),
            late: VecDeque::new(),
            asked: VecDeque::new(),
            batches: BTreeMap::new(),
            is_broken: false,
        }
    }

    /// What it has sent and has no report of.
    pub(super) fn in_flight(&self) -> usize {
        self.under_way.iter().map(|sent| sent.memory).sum()
    }

    /// The group has thrown this member out; it learns of it when it polls.
    pub(super) fn expelled(&mut self) {
        self.notices.clear();
        if !self.assigned.is_empty() && self.lost.is_none() {
            self.lost = Some(self.assigned.iter().cloned().collect());
        }
    }
}
