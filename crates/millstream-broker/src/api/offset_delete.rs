//! OffsetDelete: forgets offsets of a group for topics that it does not read.
//!
//! Partitions that the catalogue does not know, and topics that a member subscribes to, are refused one by one; an error of the
//! group itself stands for the whole answer.

use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: OffsetDeleteRequest,
    _version: i16,
) -> OffsetDeleteResponse {
    let deleted = broker.groups.offset_delete(request, |topic, partition| {
        let known = broker.topics.get(topic);
        known.is_some_and(|topic| topic.partition(partition).is_some())
    });
    let response = OffsetDeleteResponse::default();
    match deleted {
        Ok(topics) => response.with_topics(topics),
        Err(code) => response.with_error_code(code.code()),
    }
}
