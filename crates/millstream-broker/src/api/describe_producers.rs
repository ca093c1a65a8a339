//! DescribeProducers: the idempotent producers that partitions remember, and where their open transactions began.
//!
//! A producer is remembered from its first batch until it has been silent for `producer.id.expiration.ms` and has no transaction open.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::ProducerId;
use kafka_protocol::messages::describe_producers_request::DescribeProducersRequest;
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};

use super::{Client, once};
use crate::broker::Broker;
use crate::producers;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeProducersRequest,
    _version: i16,
) -> DescribeProducersResponse {
    let topics = once(request.topics, |wanted| wanted.name.clone()).map(|wanted| {
        let topic = broker.topics.get(&wanted.name);
        let partitions = once(wanted.partition_indexes, |index| *index).map(|index| {
            let response = PartitionResponse::default().with_partition_index(index);
            match topic.as_ref().and_then(|topic| topic.partition(index)) {
                Some(partition) => response.with_active_producers(
                    partition.producers().into_iter().map(describe).collect(),
                ),
                None => response.with_error_code(ResponseError::UnknownTopicOrPartition.code()),
            }
        });
        let partitions = partitions.collect();
        TopicResponse::default()
            .with_name(wanted.name)
            .with_partitions(partitions)
    });
    DescribeProducersResponse::default().with_topics(topics.collect())
}

fn describe(producer: producers::ProducerState) -> ProducerState {
    ProducerState::default()
        .with_producer_id(ProducerId(producer.producer_id))
        .with_producer_epoch(i32::from(producer.producer_epoch))
        .with_last_sequence(producer.last_sequence)
        .with_last_timestamp(producer.last_timestamp)
        .with_coordinator_epoch(producer.coordinator_epoch)
        .with_current_txn_start_offset(producer.open_since.unwrap_or(-1))
}
