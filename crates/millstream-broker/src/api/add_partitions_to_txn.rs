//! AddPartitionsToTxn: partitions take part in a transaction, before records for them are sent.
//!
//! Up to version 3 a producer speaks for itself; since version 4 many transactions come at once, as Kafka's brokers ask among
//! themselves, perhaps only whether partitions take part (`verify_only`). All partitions of a transaction are added or none.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::add_partitions_to_txn_request::{
    AddPartitionsToTxnRequest, AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnResponse, AddPartitionsToTxnResult,
    AddPartitionsToTxnTopicResult,
};

use super::{Client, fenced_as_known};
use crate::broker::Broker;
use crate::transactions::{Producer, Scope};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: AddPartitionsToTxnRequest,
    version: i16,
) -> AddPartitionsToTxnResponse {
    let response = AddPartitionsToTxnResponse::default();
    if version < 4 {
        let one = AddPartitionsToTxnTransaction::default()
            .with_transactional_id(request.v3_and_below_transactional_id)
            .with_producer_id(request.v3_and_below_producer_id)
            .with_producer_epoch(request.v3_and_below_producer_epoch)
            .with_topics(request.v3_and_below_topics);
        return response.with_results_by_topic_v3_and_below(add(broker, &one, version));
    }
    let results = request.transactions.iter().map(|one| {
        AddPartitionsToTxnResult::default()
            .with_transactional_id(one.transactional_id.clone())
            .with_topic_results(add(broker, one, version))
    });
    response.with_results_by_transaction(results.collect())
}

fn add(
    broker: &Broker,
    one: &AddPartitionsToTxnTransaction,
    version: i16,
) -> Vec<AddPartitionsToTxnTopicResult> {
    let exists = |topic: &AddPartitionsToTxnTopic, partition: i32| {
        broker.topics.partition(&topic.name, partition).is_some()
    };
    let mut topics = one.topics.iter();
    let all_exist = topics.all(|topic| topic.partitions.iter().all(|index| exists(topic, *index)));
    let code = match all_exist {
        true => attempt(broker, one).map_err(|code| fenced_as_known(code, version >= 2)),
        false => Err(ResponseError::OperationNotAttempted),
    };
    let code = code.err().map_or(0, |code| code.code());
    let results = one.topics.iter().map(|topic| {
        let results = topic.partitions.iter().map(|index| {
            let code = match exists(topic, *index) {
                true => code,
                false => ResponseError::UnknownTopicOrPartition.code(),
            };
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(*index)
                .with_partition_error_code(code)
        });
        AddPartitionsToTxnTopicResult::default()
            .with_name(topic.name.clone())
            .with_results_by_partition(results.collect())
    });
    results.collect()
}

fn attempt(broker: &Broker, one: &AddPartitionsToTxnTransaction) -> Result<(), ResponseError> {
    if one.transactional_id.is_empty() {
        return Err(ResponseError::InvalidRequest);
    }
    let by = Producer {
        id: one.producer_id.0,
        epoch: one.producer_epoch,
    };
    let mut scope = Scope::default();
    for topic in &one.topics {
        scope.add(&topic.name, &topic.partitions);
    }
    match one.verify_only {
        true => broker
            .transactions
            .verify(&one.transactional_id, by, &scope),
        false => broker.transactions.add(&one.transactional_id, by, scope),
    }
}
