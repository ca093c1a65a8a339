//! DescribeLogDirs: the one data folder, and how much of it each partition takes.
//!
//! A request without topics asks for all; topics and partitions that do not exist are left out, as in Kafka. The size of the
//! disk comes from the file system that holds the folder.

use std::collections::{HashMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::describe_log_dirs_request::DescribeLogDirsRequest;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;
use crate::topics::Topic;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeLogDirsRequest,
    version: i16,
) -> DescribeLogDirsResponse {
    let wanted: Option<HashMap<TopicName, HashSet<i32>>> = request.topics.map(|topics| {
        topics
            .into_iter()
            .map(|topic| (topic.topic, topic.partitions.into_iter().collect()))
            .collect()
    });
    let topics = broker
        .topics
        .all()
        .into_iter()
        .filter_map(|topic| match &wanted {
            None => Some(describe(&topic, |_| true)),
            Some(wanted) => {
                let partitions = wanted.get(&topic.name)?;
                Some(describe(&topic, |index| partitions.contains(&index)))
            }
        });
    let path = broker.config.data.to_string_lossy().into_owned();
    let mut result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(path))
        .with_topics(topics.collect());
    if version >= 4 {
        match rustix::fs::statvfs(&broker.config.data) {
            Ok(disk) => {
                let bytes = |blocks: u64| {
                    i64::try_from(blocks.saturating_mul(disk.f_frsize)).unwrap_or(i64::MAX)
                };
                result.total_bytes = bytes(disk.f_blocks);
                result.usable_bytes = bytes(disk.f_bavail);
            }
            Err(error) => {
                tracing::warn!(%error, "failed to ask for the size of the disk");
                result.error_code = ResponseError::KafkaStorageError.code();
            }
        }
    }
    DescribeLogDirsResponse::default().with_results(vec![result])
}

fn describe(topic: &Topic, wanted: impl Fn(i32) -> bool) -> DescribeLogDirsTopic {
    let partitions = (0..)
        .zip(topic.partitions().iter())
        .filter(|(index, _)| wanted(*index))
        .map(|(index, partition)| {
            DescribeLogDirsPartition::default()
                .with_partition_index(index)
                .with_partition_size(i64::try_from(partition.size()).unwrap_or(i64::MAX))
        })
        .collect();
    DescribeLogDirsTopic::default()
        .with_name(topic.name.clone())
        .with_partitions(partitions)
}
