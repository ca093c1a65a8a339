//! The participants of a transaction, notified of its end: partitions by a marker, groups by a record of their journal.
//!
//! A second notification changes nothing, so that after a kill all are notified again. What takes part in no transaction that the coordinator
//! knows, after a power cut took the end of its journal, is aborted at the start: no transaction stays open for ever.

use kafka_protocol::messages::{GroupId, TopicName};

use super::transaction::{Producer, Transaction, orphaned};
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

/// Tells all that take part in `transaction`; after an error they have to be notified again.
pub(super) fn tell_all(
    transaction: &Transaction,
    outcome: Outcome,
    participants: &dyn Participants,
) -> Result<(), String> {
    let marker = transaction.marker(outcome);
    let Scope { topics, groups } = &transaction.scope;
    for (topic, partitions) in topics {
        for partition in partitions {
            participants.mark(topic, *partition, marker)?;
        }
    }
    for group in groups {
        participants.end_offsets(group, marker.producer_id, outcome)?;
    }
    Ok(())
}

impl Everyone<'_> {
    /// Aborts what is open in partitions and groups without a transaction that has them.
    pub(crate) fn abort_orphans(&self, transactions: &Transactions) {
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
                    if let Err(error) = self.mark(&topic.name, index, orphaned(producer)) {
                        tracing::error!(topic = topic.name.as_str(), partition = index, %error, "failed to abort a transaction");
                    }
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
            if let Err(error) = self.end_offsets(&group, producer_id, Outcome::Abort) {
                tracing::error!(group = group.as_str(), %error, "failed to drop offsets of a transaction");
            }
        }
    }
}
