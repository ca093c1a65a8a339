//! DeleteRecords: moves the start of partitions forward; records before it are gone for readers at once.
//!
//! Offset -1 stands for the end of the partition. Files go when a whole segment lies before the start.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_records_request::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};

use super::Client;
use crate::broker::Broker;
use crate::topics::{Topic, config};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DeleteRecordsRequest,
    _version: i16,
) -> DeleteRecordsResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let topic = broker.topics.get(&wanted.name);
        let partitions = wanted.partitions.iter().map(|partition| {
            let deleted = match &topic {
                Some(topic) => delete(broker, topic, partition.partition_index, partition.offset),
                None => Err(ResponseError::UnknownTopicOrPartition),
            };
            DeleteRecordsPartitionResult::default()
                .with_partition_index(partition.partition_index)
                .with_low_watermark(deleted.unwrap_or(-1))
                .with_error_code(deleted.err().map_or(0, |code| code.code()))
        });
        let partitions = partitions.collect();
        DeleteRecordsTopicResult::default()
            .with_name(wanted.name)
            .with_partitions(partitions)
    });
    DeleteRecordsResponse::default().with_topics(topics.collect())
}

fn delete(broker: &Broker, topic: &Topic, index: i32, offset: i64) -> Result<i64, ResponseError> {
    let partition = topic
        .partition(index)
        .ok_or(ResponseError::UnknownTopicOrPartition)?;
    if !config::log_config(&topic.overrides(), &broker.topics.defaults()).delete {
        return Err(ResponseError::PolicyViolation);
    }
    tokio::task::block_in_place(|| broker.delete_records(&partition, offset))
        .map_err(|error| error.code())
}
