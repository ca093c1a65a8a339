//! What requests on transactions need: write to make them, describe to look; and the topics and groups that take part.
//!
//! A producer without a transactional id needs no permission but to write somewhere.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::describe_transactions_response::TransactionState;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, DescribeTransactionsRequest, DescribeTransactionsResponse,
    EndTxnRequest, EndTxnResponse, InitProducerIdRequest, InitProducerIdResponse,
    ListTransactionsRequest, ListTransactionsResponse, ProducerId, TxnOffsetCommitRequest,
    TxnOffsetCommitResponse,
};

use super::{Guard, Guarded, NO_CLUSTER, NO_GROUP, NO_TOPIC, NO_TRANSACTION, Verdict, take};
use crate::security::rules::{Operation, Resource, ResourceType};

impl Guarded for InitProducerIdRequest {
    type Response = InitProducerIdResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<InitProducerIdResponse> {
        let access = at.access;
        let code = match &self.transactional_id {
            Some(id) => at
                .denies_transaction(Operation::Write, id)
                .then_some(NO_TRANSACTION),
            // Whoever may write somewhere may do so once each.
            None => (access.denies(Operation::IdempotentWrite, Resource::CLUSTER)
                && !access.allows_on_any(Operation::Write, ResourceType::Topic))
            .then_some(NO_CLUSTER),
        };
        Verdict::all(code.map(|code| {
            InitProducerIdResponse::default()
                .with_error_code(code)
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        }))
    }
}

fn not_added(topic: AddPartitionsToTxnTopic, code: i16) -> AddPartitionsToTxnTopicResult {
    let partitions = topic.partitions.iter().map(|index| {
        AddPartitionsToTxnPartitionResult::default()
            .with_partition_index(*index)
            .with_partition_error_code(code)
    });
    AddPartitionsToTxnTopicResult::default()
        .with_name(topic.name)
        .with_results_by_partition(partitions.collect())
}

impl Guarded for AddPartitionsToTxnRequest {
    type Response = AddPartitionsToTxnResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<AddPartitionsToTxnResponse> {
        let response = AddPartitionsToTxnResponse::default();
        if at.version >= 4 {
            // Only brokers ask for many transactions at once.
            let denied = at
                .access
                .denies(Operation::ClusterAction, Resource::CLUSTER);
            return Verdict::all(denied.then(|| response.with_error_code(NO_CLUSTER)));
        }
        let id = &self.v3_and_below_transactional_id;
        let transaction = at.denies_transaction(Operation::Write, id);
        let code = |topic: &AddPartitionsToTxnTopic| match transaction {
            true => NO_TRANSACTION,
            false
                if at
                    .access
                    .denies(Operation::Write, Resource::topic(&topic.name)) =>
            {
                NO_TOPIC
            }
            false => 0,
        };
        let topics = &self.v3_and_below_topics;
        if topics.iter().all(|topic| code(topic) == 0) && !transaction {
            return Verdict::SERVE;
        }
        // All partitions are added or none.
        let results = topics.iter().map(|topic| {
            let code = match code(topic) {
                0 => ResponseError::OperationNotAttempted.code(),
                code => code,
            };
            not_added(topic.clone(), code)
        });
        let results = results.collect();
        Verdict::Refuse(response.with_results_by_topic_v3_and_below(results))
    }
}

impl Guarded for AddOffsetsToTxnRequest {
    type Response = AddOffsetsToTxnResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<AddOffsetsToTxnResponse> {
        let code = if at.denies_transaction(Operation::Write, &self.transactional_id) {
            Some(NO_TRANSACTION)
        } else {
            let denied = at.denies_group(Operation::Read, &self.group_id);
            denied.then_some(NO_GROUP)
        };
        Verdict::all(code.map(|code| AddOffsetsToTxnResponse::default().with_error_code(code)))
    }
}

impl Guarded for EndTxnRequest {
    type Response = EndTxnResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<EndTxnResponse> {
        let denied = at.denies_transaction(Operation::Write, &self.transactional_id);
        Verdict::all(denied.then(|| EndTxnResponse::default().with_error_code(NO_TRANSACTION)))
    }
}

impl Guarded for TxnOffsetCommitRequest {
    type Response = TxnOffsetCommitResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<TxnOffsetCommitResponse> {
        let (all, code) = if at.denies_transaction(Operation::Write, &self.transactional_id) {
            (true, NO_TRANSACTION)
        } else if at.denies_group(Operation::Read, &self.group_id) {
            (true, NO_GROUP)
        } else {
            (false, NO_TOPIC)
        };
        let denied = take(&mut self.topics, |topic| {
            all || at
                .access
                .denies(Operation::Read, Resource::topic(&topic.name))
        });
        let refused = denied.into_iter().map(move |topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                TxnOffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            TxnOffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions.collect())
        });
        match all {
            true => {
                Verdict::Refuse(TxnOffsetCommitResponse::default().with_topics(refused.collect()))
            }
            false => Verdict::amend(move |response: &mut TxnOffsetCommitResponse| {
                response.topics.extend(refused)
            }),
        }
    }
}

impl Guarded for DescribeTransactionsRequest {
    type Response = DescribeTransactionsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeTransactionsResponse> {
        let denied = take(&mut self.transactional_ids, |id| {
            at.denies_transaction(Operation::Describe, id)
        });
        let access = at.access.clone();
        Verdict::amend(move |response: &mut DescribeTransactionsResponse| {
            for state in &mut response.transaction_states {
                state
                    .topics
                    .retain(|of| access.allows(Operation::Describe, Resource::topic(&of.topic)));
            }
            let denied = denied.into_iter().map(|id| {
                TransactionState::default()
                    .with_transactional_id(id)
                    .with_error_code(NO_TRANSACTION)
            });
            response.transaction_states.extend(denied);
        })
    }
}

impl Guarded for ListTransactionsRequest {
    type Response = ListTransactionsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<ListTransactionsResponse> {
        let access = at.access.clone();
        Verdict::amend(move |response: &mut ListTransactionsResponse| {
            response.transaction_states.retain(|state| {
                let resource = Resource::transaction(&state.transactional_id);
                access.allows(Operation::Describe, resource)
            });
        })
    }
}
