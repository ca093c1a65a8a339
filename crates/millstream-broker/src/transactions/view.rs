//! What others get to see of transactions: in lists and in descriptions.
//!
//! Reads only. Groups that take part are not shown: Apache Kafka shows the partitions of its offsets topic for them.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_transactions_response::{TopicData, TransactionState};
use kafka_protocol::messages::list_transactions_response::TransactionState as Listed;
use kafka_protocol::messages::{ProducerId, TransactionalId};
use kafka_protocol::protocol::StrBytes;

use super::Transactions;
use super::transaction::Transaction;

/// The states of Apache Kafka that are never seen from outside here.
const UNSEEN: [&str; 2] = ["Dead", "PrepareEpochFence"];

const SEEN: [&str; 6] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
];

/// Which transactions are wanted; empty lists let all through.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    pub(crate) states: &'a [StrBytes],
    pub(crate) producer_ids: &'a [ProducerId],
    /// Those that began longer ago than this, in milliseconds; all when negative.
    pub(crate) longer_than_ms: i64,
    /// Those whose whole id matches.
    pub(crate) pattern: Option<regex::Regex>,
}

impl Filter<'_> {
    /// The states asked for that do not exist.
    pub(crate) fn unknown_states(&self) -> Vec<StrBytes> {
        let known =
            |state: &&StrBytes| !SEEN.iter().chain(&UNSEEN).any(|one| *one == state.as_str());
        self.states.iter().filter(known).cloned().collect()
    }

    fn wants(&self, transaction: &Transaction, now_ms: i64) -> bool {
        let name = transaction.state.name();
        let id = ProducerId(transaction.producer.id);
        let age_ms = now_ms.saturating_sub(transaction.started_at_ms);
        (self.states.is_empty() || self.states.iter().any(|state| state.as_str() == name))
            && (self.producer_ids.is_empty() || self.producer_ids.contains(&id))
            && (self.longer_than_ms < 0 || age_ms > self.longer_than_ms)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(&transaction.id))
    }
}

impl Transactions {
    /// All that the filter lets through, by id.
    pub(crate) fn list(&self, filter: &Filter<'_>) -> Result<Vec<Listed>, ResponseError> {
        let shared = self.lock();
        shared.check()?;
        let now_ms = self.clock.now_ms();
        let transactions = shared.slots.values().map(|slot| &slot.transaction);
        let mut listed: Vec<Listed> = transactions
            .filter(|one| filter.wants(one, now_ms))
            .map(|one| {
                Listed::default()
                    .with_transactional_id(one.id.clone())
                    .with_producer_id(ProducerId(one.producer.id))
                    .with_transaction_state(StrBytes::from_static_str(one.state.name()))
            })
            .collect();
        listed.sort_by(|one, other| one.transactional_id.cmp(&other.transactional_id));
        Ok(listed)
    }

    /// One transactional id as it is now.
    pub(crate) fn describe(&self, id: &TransactionalId) -> Result<TransactionState, ResponseError> {
        let shared = self.lock();
        shared.check()?;
        let one = shared
            .get(id)
            .map_err(|_| ResponseError::TransactionalIdNotFound)?;
        let topics = one.scope.topics.iter().map(|(topic, partitions)| {
            TopicData::default()
                .with_topic(topic.clone())
                .with_partitions(partitions.iter().copied().collect())
        });
        Ok(TransactionState::default()
            .with_transactional_id(one.id.clone())
            .with_transaction_state(StrBytes::from_static_str(one.state.name()))
            .with_transaction_timeout_ms(one.timeout_ms)
            .with_transaction_start_time_ms(one.started_at_ms)
            .with_producer_id(ProducerId(one.producer.id))
            .with_producer_epoch(one.producer.epoch)
            .with_topics(topics.collect()))
    }
}
