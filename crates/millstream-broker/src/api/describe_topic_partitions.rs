//! DescribeTopicPartitions: topics page by page (KIP-966).
//!
//! Topics come sorted by name; a page ends after a number of partitions, and its cursor says where the next one starts.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_topic_partitions_request::DescribeTopicPartitionsRequest;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};

use super::{Client, LEADER_EPOCH, TOPIC_OPERATIONS};
use crate::broker::Broker;
use crate::topics::{Topic, name};

/// Most partitions of one page (`max.request.partition.size.limit`).
const MAX_PAGE: i32 = 2000;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeTopicPartitionsRequest,
    _version: i16,
) -> DescribeTopicPartitionsResponse {
    let mut names: BTreeSet<TopicName> =
        request.topics.into_iter().map(|topic| topic.name).collect();
    if names.is_empty() {
        names = broker
            .topics
            .all()
            .iter()
            .map(|topic| topic.name.clone())
            .collect();
    }
    let (first, mut start) = match request.cursor {
        Some(cursor) => (cursor.topic_name, cursor.partition_index.max(0)),
        None => (TopicName::default(), 0),
    };
    let mut left = request.response_partition_limit.clamp(1, MAX_PAGE);
    let mut response = DescribeTopicPartitionsResponse::default();
    for wanted in names.into_iter().filter(|name| *name >= first) {
        if wanted != first {
            start = 0;
        }
        if left == 0 {
            response.next_cursor = Some(cursor(wanted, 0));
            break;
        }
        let Some(topic) = broker.topics.get(&wanted) else {
            response.topics.push(unknown(wanted));
            continue;
        };
        let end = topic.count().min(start.saturating_add(left));
        response.topics.push(describe(broker, &topic, start..end));
        left -= (end - start).max(0);
        if end < topic.count() {
            response.next_cursor = Some(cursor(wanted, end));
            break;
        }
    }
    response
}

fn cursor(topic: TopicName, partition: i32) -> Cursor {
    Cursor::default()
        .with_topic_name(topic)
        .with_partition_index(partition)
}

fn unknown(wanted: TopicName) -> DescribeTopicPartitionsResponseTopic {
    let code = match name::check(&wanted) {
        Ok(()) => ResponseError::UnknownTopicOrPartition,
        Err(_) => ResponseError::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(wanted))
        .with_error_code(code.code())
}

fn describe(
    broker: &Broker,
    topic: &Arc<Topic>,
    range: std::ops::Range<i32>,
) -> DescribeTopicPartitionsResponseTopic {
    let id = BrokerId(broker.config.node_id);
    let partitions = range.map(|index| {
        DescribeTopicPartitionsResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(id)
            .with_leader_epoch(LEADER_EPOCH)
            .with_replica_nodes(vec![id])
            .with_isr_nodes(vec![id])
            .with_eligible_leader_replicas(Some(Vec::new()))
            .with_last_known_elr(Some(Vec::new()))
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic.name.clone()))
        .with_topic_id(topic.id)
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
        .with_partitions(partitions.collect())
}
