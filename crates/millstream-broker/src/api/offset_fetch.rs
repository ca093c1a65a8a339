//! OffsetFetch: what groups have committed; of one group up to version 7, of many since version 8.
//!
//! Since version 9 a member of the new protocol names its epoch, and one that is behind is refused. Since version 2 no list of topics means all that have an offset. `require_stable` (since 7) holds offsets back that
//! an open transaction is about to change.

use std::collections::HashSet;

use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};

use super::Client;
use crate::broker::Broker;
use crate::groups::Reader;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: OffsetFetchRequest,
    version: i16,
) -> OffsetFetchResponse {
    if version < 8 {
        return one_group(broker, request, version);
    }
    // All offsets of a group are given once, however often they are asked for; what is named costs as much as it asks.
    let mut whole = HashSet::new();
    let wanted = request
        .groups
        .into_iter()
        .filter(|group| group.topics.is_some() || whole.insert(group.group_id.clone()));
    let groups = wanted.map(|group| {
        let response = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
        let reader = Reader {
            member_id: group.member_id.as_ref(),
            epoch: group.member_epoch,
            stable: request.require_stable,
        };
        let fetched = broker
            .groups
            .offset_fetch(&group.group_id, group.topics.as_deref(), &reader);
        match fetched {
            Ok(topics) => response.with_topics(topics),
            Err(code) => response.with_error_code(code.code()),
        }
    });
    OffsetFetchResponse::default().with_groups(groups.collect())
}

fn one_group(broker: &Broker, request: OffsetFetchRequest, version: i16) -> OffsetFetchResponse {
    let topics: Option<Vec<_>> = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| {
            OffsetFetchRequestTopics::default()
                .with_name(topic.name)
                .with_partition_indexes(topic.partition_indexes)
        });
        topics.collect()
    });
    let reader = Reader {
        member_id: None,
        epoch: -1,
        stable: request.require_stable,
    };
    let fetched = broker
        .groups
        .offset_fetch(&request.group_id, topics.as_deref(), &reader);
    let response = OffsetFetchResponse::default();
    match fetched {
        Ok(topics) => response.with_topics(topics.into_iter().map(topic).collect()),
        Err(code) if version >= 2 => response.with_error_code(code.code()),
        // Before there was a place for the error of a group, it stood with each partition.
        Err(code) => {
            let refused = topics.unwrap_or_default().into_iter().map(|topic| {
                let partitions = topic.partition_indexes.into_iter().map(|index| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(index)
                        .with_committed_offset(-1)
                        .with_error_code(code.code())
                });
                OffsetFetchResponseTopic::default()
                    .with_name(topic.name)
                    .with_partitions(partitions.collect())
            });
            response.with_topics(refused.collect())
        }
    }
}

fn topic(topic: OffsetFetchResponseTopics) -> OffsetFetchResponseTopic {
    OffsetFetchResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(topic.partitions.into_iter().map(partition).collect())
}

fn partition(partition: OffsetFetchResponsePartitions) -> OffsetFetchResponsePartition {
    OffsetFetchResponsePartition::default()
        .with_partition_index(partition.partition_index)
        .with_committed_offset(partition.committed_offset)
        .with_committed_leader_epoch(partition.committed_leader_epoch)
        .with_metadata(partition.metadata)
        .with_error_code(partition.error_code)
}
