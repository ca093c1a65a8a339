//! ConsumerGroupHeartbeat: the one request of members of the new group protocol (KIP-848).
//!
//! A field that is null, or -1, is as before. Epoch 0 joins and has to say everything, -1 leaves, -2 leaves for a while, which only a static
//! member does. Since version 1 clients make their own member ids and may subscribe by a regular expression.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions as Owned;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Client;
use crate::broker::Broker;
use crate::frame::own;
use crate::groups::{self, Assignor, Beat, Heard, Missing, Partitions};
use crate::topics::Refused;

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: ConsumerGroupHeartbeatRequest,
    version: i16,
) -> ConsumerGroupHeartbeatResponse {
    let response = ConsumerGroupHeartbeatResponse::default();
    match hear(broker, client, &request, version).await {
        Ok((heard, interval_ms)) => accept(response, heard, interval_ms),
        Err(refused) => response
            .with_error_code(refused.code.code())
            .with_error_message(Some(StrBytes::from_string(refused.message))),
    }
}

async fn hear(
    broker: &Broker,
    client: &Client,
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
) -> Result<(Heard, i32), Refused> {
    let assignor = check(request, version)?;
    let beat = beat(client, request, assignor);
    let missing = match beat.epoch {
        0 => Missing::Create,
        _ => Missing::Refuse(ResponseError::GroupIdNotFound),
    };
    // The answer also tells what the heartbeats of others have changed.
    let heard = broker.groups.act_after(
        &request.group_id,
        missing,
        |queued| queued.state,
        |group, turn| {
            let heard = group.consumer_heartbeat(&beat, turn);
            Ok(heard.map(|heard| (heard, turn.rules.consumer.heartbeat_interval_ms)))
        },
    );
    heard.await.map_err(|code| {
        let id = request.group_id.as_str();
        Refused::new(
            code,
            match code {
                ResponseError::GroupIdNotFound => format!("Consumer group {id} not found."),
                _ => format!("Consumer group {id} is not available."),
            },
        )
    })?
}

fn accept(
    response: ConsumerGroupHeartbeatResponse,
    heard: Heard,
    interval_ms: i32,
) -> ConsumerGroupHeartbeatResponse {
    let interval_ms = match heard.epoch {
        ..0 => 0,
        _ => interval_ms,
    };
    response
        .with_member_id(Some(heard.member_id))
        .with_member_epoch(heard.epoch)
        .with_heartbeat_interval_ms(interval_ms)
        .with_assignment(heard.assigned.map(assignment))
}

fn assignment(assigned: Partitions) -> Assignment {
    let topics = assigned.into_iter().map(|(id, partitions)| {
        TopicPartitions::default()
            .with_topic_id(id)
            .with_partitions(partitions.into_iter().collect())
    });
    Assignment::default().with_topic_partitions(topics.collect())
}

fn invalid(text: &str) -> Refused {
    Refused::new(ResponseError::InvalidRequest, text)
}

/// Refuses what no group could take; gives the assignor that is asked for.
fn check(
    request: &ConsumerGroupHeartbeatRequest,
    version: i16,
) -> Result<Option<Assignor>, Refused> {
    let is_blank = |text: &StrBytes| text.trim().is_empty();
    let blank = |text: &Option<StrBytes>| text.as_ref().is_some_and(is_blank);
    if is_blank(&request.group_id) {
        return Err(invalid("GroupId can't be empty."));
    } else if is_blank(&request.member_id) && (version >= 1 || request.member_epoch != 0) {
        return Err(invalid("MemberId can't be empty."));
    } else if blank(&request.instance_id) {
        return Err(invalid("InstanceId can't be empty."));
    } else if blank(&request.rack_id) {
        return Err(invalid("RackId can't be empty."));
    }
    check_epoch(request)?;
    if let Some(pattern) = &request.subscribed_topic_regex {
        groups::check_pattern(pattern)?;
    }
    let Some(name) = &request.server_assignor else {
        return Ok(None);
    };
    let unsupported = || {
        let text = format!(
            "ServerAssignor {} is not supported. Supported assignors: uniform, range.",
            name.as_str()
        );
        Refused::new(ResponseError::UnsupportedAssignor, text)
    };
    Assignor::by_name(name).map(Some).ok_or_else(unsupported)
}

fn check_epoch(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refused> {
    let subscribes =
        request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some();
    let owns_nothing = request.topic_partitions.as_ref().is_some_and(Vec::is_empty);
    match request.member_epoch {
        0 if request.rebalance_timeout_ms == -1 => Err(invalid(
            "RebalanceTimeoutMs must be provided in first request.",
        )),
        0 if !owns_nothing => Err(invalid("TopicPartitions must be empty when (re-)joining.")),
        0 if !subscribes => Err(invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        )),
        -2 if request.instance_id.is_none() => Err(invalid("InstanceId can't be null.")),
        ..-2 => Err(invalid("MemberEpoch is invalid.")),
        _ => Ok(()),
    }
}

fn beat(
    client: &Client,
    request: &ConsumerGroupHeartbeatRequest,
    assignor: Option<Assignor>,
) -> Beat {
    let names = |names: &Vec<TopicName>| {
        let names = names.iter().map(|name| TopicName(own(name)));
        names.collect::<BTreeSet<_>>()
    };
    let member_id = match request.member_id.is_empty() {
        // Only clients of version 0 leave that to the broker.
        true => StrBytes::from_string(Uuid::new_v4().to_string()),
        false => own(&request.member_id),
    };
    Beat {
        member_id,
        epoch: request.member_epoch,
        instance_id: request.instance_id.as_ref().map(own),
        rack_id: request.rack_id.as_ref().map(own),
        client_id: client.id.clone().unwrap_or_default(),
        client_host: StrBytes::from_string(client.java_host()),
        rebalance_timeout_ms: Some(request.rebalance_timeout_ms).filter(|timeout| *timeout >= 0),
        names: request.subscribed_topic_names.as_ref().map(names),
        pattern: request.subscribed_topic_regex.as_ref().map(own),
        assignor,
        owned: request
            .topic_partitions
            .as_ref()
            .map(|owned| partitions(owned)),
    }
}

fn partitions(owned: &[Owned]) -> Partitions {
    let mut partitions = Partitions::new();
    for topic in owned.iter().filter(|topic| !topic.partitions.is_empty()) {
        let all = partitions.entry(topic.topic_id).or_default();
        all.extend(topic.partitions.iter().copied());
    }
    partitions
}
