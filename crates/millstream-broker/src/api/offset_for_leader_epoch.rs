//! OffsetForLeaderEpoch: where the records of a leader epoch end, for clients that look for a truncated log.
//!
//! There is one epoch for ever, so the answer is the end of the partition, or "unknown" for any other epoch.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};

use super::{Client, LEADER_EPOCH, check_leader_epoch};
use crate::broker::Broker;
use crate::topics::Topic;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: OffsetForLeaderEpochRequest,
    _version: i16,
) -> OffsetForLeaderEpochResponse {
    let topics = request.topics.into_iter().map(|wanted| {
        let topic = broker.topics.get(&wanted.topic);
        let partitions = wanted
            .partitions
            .iter()
            .map(|partition| answer(topic.as_deref(), partition))
            .collect();
        OffsetForLeaderTopicResult::default()
            .with_topic(wanted.topic)
            .with_partitions(partitions)
    });
    OffsetForLeaderEpochResponse::default().with_topics(topics.collect())
}

fn answer(topic: Option<&Topic>, wanted: &OffsetForLeaderPartition) -> EpochEndOffset {
    let found = topic
        .and_then(|topic| topic.partition(wanted.partition))
        .ok_or(ResponseError::UnknownTopicOrPartition)
        .and_then(|partition| {
            check_leader_epoch(wanted.current_leader_epoch)?;
            // An epoch that was never led has no end, not even as "after all others".
            Ok(partition
                .end_offset_for_epoch(wanted.leader_epoch)
                .filter(|_| wanted.leader_epoch == LEADER_EPOCH))
        });
    let response = EpochEndOffset::default().with_partition(wanted.partition);
    match found {
        Ok(Some((epoch, end))) => response.with_leader_epoch(epoch).with_end_offset(end),
        Ok(None) => response.with_leader_epoch(-1).with_end_offset(-1),
        Err(code) => response
            .with_error_code(code.code())
            .with_leader_epoch(-1)
            .with_end_offset(-1),
    }
}
