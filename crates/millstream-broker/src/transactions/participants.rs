//! The participants of a transaction, notified of its end: partitions by a marker, groups by a record of their journal.
//!
//! A second notification changes nothing, so that after a kill all are notified again. One that fails keeps nobody else from hearing.
//! What takes part in no transaction that the coordinator knows, after a power cut took the end of its journal, is an orphan: it is
//! aborted at the start, or as soon as its partition or group takes records again.

use std::fmt;

use kafka_protocol::messages::{GroupId, TopicName};

use super::transaction::{Producer, orphaned};
use super::{Transactions, transaction::Scope};
use crate::groups::Groups;
use crate::log::{AppendError, Marker, Outcome};
use crate::topics::Topics;

/// Who has to hear of an end; the reason why one did not is for the log.
pub(crate) trait Participants {
    fn mark(&self, topic: &TopicName, partition: i32, marker: Marker) -> Result<(), String>;
    fn end_offsets(
        &self,
        group: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), String>;
}

/// The topics and groups of a broker.
pub(crate) struct Everyone<'a> {
    pub(crate) topics: &'a Topics,
    pub(crate) groups: &'a Groups,
    pub(crate) now_ms: i64,
}

impl Participants for Everyone<'_> {
    fn mark(&self, topic: &TopicName, partition: i32, marker: Marker) -> Result<(), String> {
        let Some(partition) = self.topics.partition(topic, partition) else {
            // Deleted, and all of the transaction there with it.
            return Ok(());
        };
        match partition.mark(marker, self.now_ms) {
            Ok(_) | Err(AppendError::Deleted) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn end_offsets(
        &self,
        group: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), String> {
        self.groups
            .end_transaction(group, producer_id, outcome)
            .map_err(|error| error.to_string())
    }
}

/// Tells all that are `left`; those who could not be notified stay in it, with the first reason as the error.
pub(super) fn tell_all(
    left: &mut Scope,
    marker: Marker,
    participants: &dyn Participants,
) -> Result<(), String> {
    let mut failed = None;
    let mut heard = |told: Result<(), String>| match told {
        Ok(()) => true,
        Err(reason) => {
            failed.get_or_insert(reason);
            false
        }
    };
    left.topics.retain(|topic, partitions| {
        partitions.retain(|partition| !heard(participants.mark(topic, *partition, marker)));
        !partitions.is_empty()
    });
    left.groups.retain(|group| {
        let ended = participants.end_offsets(group, marker.producer_id, marker.outcome);
        !heard(ended)
    });
    failed.map_or(Ok(()), Err)
}

/// What is open in a partition or a group, and in no transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Orphan {
    Records {
        topic: TopicName,
        partition: i32,
        marker: Marker,
    },
    Offsets {
        group: GroupId,
        producer_id: i64,
    },
}

impl Orphan {
    pub(super) fn producer_id(&self) -> i64 {
        match self {
            Orphan::Records { marker, .. } => marker.producer_id,
            Orphan::Offsets { producer_id, .. } => *producer_id,
        }
    }

    pub(super) fn abort(&self, participants: &dyn Participants) -> Result<(), String> {
        match self {
            Orphan::Records {
                topic,
                partition,
                marker,
            } => participants.mark(topic, *partition, *marker),
            Orphan::Offsets { group, producer_id } => {
                participants.end_offsets(group, *producer_id, Outcome::Abort)
            }
        }
    }
}

impl fmt::Display for Orphan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Orphan::Records {
                topic, partition, ..
            } => write!(out, "{}-{partition}", topic.as_str()),
            Orphan::Offsets { group, .. } => write!(out, "group {}", group.as_str()),
        }
    }
}

impl Everyone<'_> {
    /// What is open in partitions and groups without a transaction that has them.
    pub(super) fn orphans(&self, transactions: &Transactions) -> Vec<Orphan> {
        let mut found = Vec::new();
        for topic in self.topics.all() {
            for (index, partition) in (0..).zip(topic.partitions().iter()) {
                for (id, epoch) in partition.open_transactions() {
                    let producer = Producer { id, epoch };
                    if transactions.holds(id, &Scope::partition(&topic.name, index)) {
                        continue;
                    }
                    tracing::warn!(
                        topic = topic.name.as_str(),
                        partition = index,
                        producer = id,
                        "transaction without a coordinator's record is aborted"
                    );
                    found.push(Orphan::Records {
                        topic: topic.name.clone(),
                        partition: index,
                        marker: orphaned(producer),
                    });
                }
            }
        }
        for (group, producer_id) in self.groups.open_transactions() {
            if transactions.holds(producer_id, &Scope::group(&group)) {
                continue;
            }
            tracing::warn!(
                group = group.as_str(),
                producer = producer_id,
                "offsets of a transaction without a coordinator's record are dropped"
            );
            found.push(Orphan::Offsets { group, producer_id });
        }
        found
    }
}
