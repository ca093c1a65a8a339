//! ListOffsets: the offset of a time, and of the ends of a partition. For readers of committed records the end is the last stable
//! offset, and nothing at or behind it has a time.
//!
//! Negative times stand for places: -1 the end, -2 the start, -3 the record with the largest timestamp (since version 7), -4 the start of
//! what is local (since 8), -5 the end of what is tiered (since 9). Nothing is tiered here, so -4 is the start and -5
//! is nothing, as Apache Kafka answers without tiered storage.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};

use super::{Client, LEADER_EPOCH, check_leader_epoch};
use crate::broker::Broker;
use crate::log::{Isolation, Partition, ReadError};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

/// An offset, its timestamp, and the leader epoch that wrote it; each may be -1.
type Found = (i64, i64, i32);

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: ListOffsetsRequest,
    version: i16,
) -> ListOffsetsResponse {
    let mut times: HashMap<(TopicName, i32), usize> = HashMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            *times
                .entry((topic.name.clone(), partition.partition_index))
                .or_default() += 1;
        }
    }
    let isolation = Isolation::of(request.isolation_level);
    let mut response = ListOffsetsResponse::default();
    for topic in request.topics {
        let known = broker.topics.get(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let index = wanted.partition_index;
            let found = match times.remove(&(topic.name.clone(), index)) {
                Some(1) => {
                    let partition = known.as_ref().and_then(|topic| topic.partition(index));
                    find(partition.as_deref(), wanted, isolation, version)
                }
                Some(_) => Err(ResponseError::InvalidRequest),
                // The first mention was answered for all.
                None => continue,
            };
            partitions.push(respond(index, found, version));
        }
        let topic = ListOffsetsTopicResponse::default().with_name(topic.name);
        response.topics.push(topic.with_partitions(partitions));
    }
    response
}

fn find(
    partition: Option<&Partition>,
    wanted: &ListOffsetsPartition,
    isolation: Isolation,
    version: i16,
) -> Result<Found, ResponseError> {
    let partition = partition.ok_or(ResponseError::UnknownTopicOrPartition)?;
    check_leader_epoch(wanted.current_leader_epoch)?;
    let end = partition.readable_end(isolation);
    match wanted.timestamp {
        LATEST => Ok((end, -1, LEADER_EPOCH)),
        EARLIEST => Ok((partition.start_offset(), -1, LEADER_EPOCH)),
        MAX_TIMESTAMP if version >= 7 => located(end, || partition.max_timestamp()),
        EARLIEST_LOCAL if version >= 8 => Ok((partition.start_offset(), -1, LEADER_EPOCH)),
        LATEST_TIERED if version >= 9 => Ok((-1, -1, -1)),
        time if time >= 0 => located(end, || partition.offset_for_time(time)),
        _ => Err(ResponseError::UnsupportedVersion),
    }
}

/// Reads files, maybe many of them. What this reader may not see yet is not found, as in Kafka.
fn located(
    end: i64,
    find: impl FnOnce() -> Result<Option<(i64, i64)>, ReadError>,
) -> Result<Found, ResponseError> {
    tokio::task::block_in_place(find)
        .map(|found| exact(found.filter(|(offset, _)| *offset < end)))
        .map_err(|error| error.code())
}

fn exact(found: Option<(i64, i64)>) -> Found {
    found.map_or((-1, -1, -1), |(offset, timestamp)| {
        (offset, timestamp, LEADER_EPOCH)
    })
}

fn respond(
    index: i32,
    found: Result<Found, ResponseError>,
    version: i16,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok((offset, timestamp, epoch)) => response
            .with_offset(offset)
            .with_timestamp(timestamp)
            .with_leader_epoch(if version >= 4 { epoch } else { -1 }),
        Err(code) => response
            .with_error_code(code.code())
            .with_offset(-1)
            .with_timestamp(-1),
    }
}
