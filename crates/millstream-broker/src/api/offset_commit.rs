//! OffsetCommit: a group stores how far it has read.
//!
//! The answer leaves when the offsets are in the journal. Partitions that the catalogue does not know are refused one by one; who
//! may commit in which generation is decided in `groups`.

use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    let topics = broker
        .groups
        .offset_commit(&request, version, |topic, partition| {
            let known = broker.topics.get(topic);
            known.is_some_and(|topic| topic.partition(partition).is_some())
        });
    OffsetCommitResponse::default().with_topics(topics)
}
