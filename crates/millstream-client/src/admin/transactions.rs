//! Producers that write to partitions, and transactions.
//!
//! Leaders know producers, coordinators know transactions; an open transaction is seen at both.

use std::fmt;
use std::time::Duration;

use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::describe_transactions_response as described;
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeTransactionsRequest, ListTransactionsRequest, TransactionalId,
};

use super::asking::{Operation, Read, Route};
use super::offsets::by_topic;
use super::refusal::answered;
use super::{Admin, Each, Listing, TopicPartition};
use crate::cluster::Role;
use crate::error::Error;
use crate::wire::api::{Call, Reply};
use crate::wire::text;

/// A producer of which a partition knows what it wrote last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProducerInfo {
    /// The number that the cluster gave it.
    pub id: i64,
    /// Its epoch: which of those with this number it is.
    pub epoch: i32,
    /// The sequence number of its last record; `None` before the first.
    pub last_sequence: Option<i32>,
    /// When it wrote last, in milliseconds since 1970.
    pub last_timestamp: Option<i64>,
    /// The first offset of its open transaction; `None` if none is open.
    pub transaction_start: Option<i64>,
}

/// What a transactional id does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TransactionState {
    /// It has not begun a transaction yet.
    Empty,
    /// A transaction is open.
    Ongoing,
    /// It is decided that the transaction is committed; its partitions do not all know it.
    PrepareCommit,
    /// It is decided that the transaction is aborted; its partitions do not all know it.
    PrepareAbort,
    /// The last transaction was committed.
    CompleteCommit,
    /// The last transaction was aborted.
    CompleteAbort,
    /// It took too long and is being aborted.
    PrepareEpochFence,
    /// It is being forgotten.
    Dead,
    /// A state that this client does not know.
    Unknown,
}

impl TransactionState {
    fn of(name: &str) -> Self {
        match name.to_ascii_lowercase().as_str() {
            "empty" => Self::Empty,
            "ongoing" => Self::Ongoing,
            "preparecommit" => Self::PrepareCommit,
            "prepareabort" => Self::PrepareAbort,
            "completecommit" => Self::CompleteCommit,
            "completeabort" => Self::CompleteAbort,
            "prepareepochfence" => Self::PrepareEpochFence,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }
}

impl fmt::Display for TransactionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// A transactional id in the list of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListedTransaction {
    /// The number of its producer.
    pub producer_id: i64,
    /// What it does.
    pub state: TransactionState,
}

/// A transactional id and its transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransactionInfo {
    /// What it does.
    pub state: TransactionState,
    /// The number of its producer.
    pub producer_id: i64,
    /// The producer's epoch.
    pub producer_epoch: i16,
    /// After so many milliseconds the cluster aborts it.
    pub timeout_ms: i32,
    /// When it began, in milliseconds since 1970; `None` if none is open.
    pub started: Option<i64>,
    /// The partitions that it has written to and that do not know its end yet.
    pub partitions: Vec<TopicPartition>,
}

impl Admin {
    /// The producers of which partitions know something, by partition.
    ///
    /// # Errors
    /// Of one partition: [`Error::Administration`] if the cluster does not have it, or if no leader was found in time.
    pub fn producers(
        &mut self,
        partitions: &[TopicPartition],
    ) -> Result<Each<TopicPartition, Vec<ProducerInfo>>, Error> {
        self.each(&DescribeProducers, partitions.iter().cloned())
    }

    /// All transactional ids that this client may describe.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if no broker answers. The ids of a broker that fails are missing; see [`Listing::failed`].
    pub fn transactions(&mut self) -> Result<Listing<ListedTransaction>, Error> {
        let brokers = self.brokers()?;
        let answers = self.each(&ListTransactions, brokers)?;
        Ok(Listing::of(answers))
    }

    /// Transactional ids and what they do.
    ///
    /// # Errors
    /// Of one id: [`Error::Administration`] if the cluster does not have it.
    pub fn describe_transactions(
        &mut self,
        ids: &[&str],
    ) -> Result<Each<String, TransactionInfo>, Error> {
        self.each(&DescribeTransactions, ids.iter().map(ToString::to_string))
    }
}

struct DescribeProducers;

impl Operation for DescribeProducers {
    type Item = TopicPartition;
    type Value = Vec<ProducerInfo>;
    const CHANGES: bool = false;

    fn what(&self, place: &TopicPartition) -> String {
        format!("describe the producers of {place}")
    }

    fn route(&self, place: &TopicPartition) -> Route {
        Route::Leader(place.topic.clone(), place.partition)
    }

    fn call(&self, places: &[TopicPartition], _: Duration) -> Call {
        let topics = by_topic(places, |place| place.partition);
        let topics = topics.into_iter().map(|(name, partitions)| {
            TopicRequest::default()
                .with_name(name)
                .with_partition_indexes(partitions)
        });
        let request = DescribeProducersRequest::default();
        Call::DescribeProducers(request.with_topics(topics.collect()))
    }

    fn read(&self, reply: Reply, _: &[TopicPartition]) -> Read<TopicPartition, Self::Value> {
        let Reply::DescribeProducers(reply) = reply else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for topic in reply.topics {
            for partition in topic.partitions {
                let place = TopicPartition::new(&topic.name, partition.partition_index);
                let producers = partition.active_producers.iter();
                let producers = producers.map(|producer| ProducerInfo {
                    id: producer.producer_id.0,
                    epoch: producer.producer_epoch,
                    last_sequence: Some(producer.last_sequence).filter(|number| *number >= 0),
                    last_timestamp: Some(producer.last_timestamp).filter(|time| *time >= 0),
                    transaction_start: Some(producer.current_txn_start_offset)
                        .filter(|offset| *offset >= 0),
                });
                let message = partition.error_message.as_ref();
                let result = answered(partition.error_code, message, || producers.collect());
                found.push((place, result));
            }
        }
        found
    }
}

struct ListTransactions;

impl Operation for ListTransactions {
    type Item = i32;
    type Value = Vec<(String, ListedTransaction)>;
    const CHANGES: bool = false;

    fn what(&self, broker: &i32) -> String {
        format!("list the transactions of broker {broker}")
    }

    fn route(&self, broker: &i32) -> Route {
        Route::Broker(*broker)
    }

    fn call(&self, _: &[i32], _: Duration) -> Call {
        Call::ListTransactions(ListTransactionsRequest::default())
    }

    fn read(&self, reply: Reply, brokers: &[i32]) -> Read<i32, Self::Value> {
        let (Reply::ListTransactions(reply), [broker]) = (reply, brokers) else {
            return Vec::new();
        };
        let states = reply.transaction_states.into_iter().map(|state| {
            let listed = ListedTransaction {
                producer_id: state.producer_id.0,
                state: TransactionState::of(&state.transaction_state),
            };
            (state.transactional_id.to_string(), listed)
        });
        vec![(
            *broker,
            answered(reply.error_code, None, || states.collect()),
        )]
    }
}

struct DescribeTransactions;

fn info(state: &described::TransactionState) -> TransactionInfo {
    let places = state.topics.iter().flat_map(|topic| {
        let place = |number: &i32| TopicPartition::new(&topic.topic, *number);
        topic.partitions.iter().map(place)
    });
    TransactionInfo {
        state: TransactionState::of(&state.transaction_state),
        producer_id: state.producer_id.0,
        producer_epoch: state.producer_epoch,
        timeout_ms: state.transaction_timeout_ms,
        started: Some(state.transaction_start_time_ms).filter(|time| *time >= 0),
        partitions: places.collect(),
    }
}

impl Operation for DescribeTransactions {
    type Item = String;
    type Value = TransactionInfo;
    const CHANGES: bool = false;

    fn what(&self, id: &String) -> String {
        format!("describe the transaction of `{id}`")
    }

    fn route(&self, id: &String) -> Route {
        Route::Coordinator(Role::Transaction, id.clone())
    }

    fn call(&self, ids: &[String], _: Duration) -> Call {
        let ids = ids.iter().map(|id| TransactionalId(text(id)));
        let request = DescribeTransactionsRequest::default();
        Call::DescribeTransactions(request.with_transactional_ids(ids.collect()))
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, TransactionInfo> {
        let Reply::DescribeTransactions(reply) = reply else {
            return Vec::new();
        };
        let states = reply.transaction_states.iter().map(|state| {
            let result = answered(state.error_code, None, || info(state));
            (state.transactional_id.to_string(), result)
        });
        states.collect()
    }
}
