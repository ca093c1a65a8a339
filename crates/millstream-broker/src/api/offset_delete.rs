//! OffsetDelete: forgets offsets of a group for topics that it does not read.
//!
//! Partitions that the catalogue does not know, and topics that a member subscribes to, are refused one by one; an error of the
//! group itself stands for the whole answer.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::{Client, named};
use crate::broker::Broker;
use crate::groups::{Group, Missing, Places};
use crate::journal::Unwritten;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: OffsetDeleteRequest,
    _version: i16,
) -> OffsetDeleteResponse {
    let response = OffsetDeleteResponse::default();
    match delete(broker, request).await {
        Ok(topics) => response.with_topics(topics),
        Err(code) => response.with_error_code(code.code()),
    }
}

async fn delete(
    broker: &Broker,
    request: OffsetDeleteRequest,
) -> Result<Vec<OffsetDeleteResponseTopic>, ResponseError> {
    let id = named(&request.group_id)?.clone();
    let missing = Missing::Refuse(ResponseError::GroupIdNotFound);
    // What was forgotten before is not named again, and has to be stored all the same.
    let deleted = broker.groups.change_after(
        &id,
        missing,
        |queued| queued.all,
        |slot, _| {
            let group = slot.group();
            group.check_offset_delete()?;
            let mut places = Places::new();
            let topics = request.topics.into_iter();
            let topics = topics.map(|topic| judge(broker, group, topic, &mut places));
            let topics = topics.collect();
            slot.forget(&places).map_err(Unwritten::code)?;
            Ok(topics)
        },
    );
    deleted.await
}

/// Looks at the partitions of a topic; those that may be forgotten are added to `places`.
fn judge(
    broker: &Broker,
    group: &Group,
    topic: OffsetDeleteRequestTopic,
    places: &mut Places,
) -> OffsetDeleteResponseTopic {
    let in_use = group.reads(&topic.name);
    let mut gone = Vec::new();
    let mut partitions = Vec::with_capacity(topic.partitions.len());
    for partition in topic.partitions {
        let index = partition.partition_index;
        let code = if broker.topics.partition(&topic.name, index).is_none() {
            ResponseError::UnknownTopicOrPartition.code()
        } else if in_use {
            ResponseError::GroupSubscribedToTopic.code()
        } else {
            gone.push(index);
            0
        };
        partitions.push(
            OffsetDeleteResponsePartition::default()
                .with_partition_index(index)
                .with_error_code(code),
        );
    }
    places.push((topic.name.clone(), gone));
    OffsetDeleteResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(partitions)
}
