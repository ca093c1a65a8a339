//! DeleteTopics: by name, or by id since version 6.
//!
//! A topic is gone for everyone when the answer leaves; fetches that wait for it are woken and told so. Topics of one
//! request succeed or fail one by one.

use std::collections::HashSet;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Client;
use crate::broker::Broker;
use crate::topics::{Refused, Topic};

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let by_name = |name| DeleteTopicState::default().with_name(Some(name));
    let wanted = if version >= 6 {
        request.topics
    } else {
        request.topic_names.into_iter().map(by_name).collect()
    };
    let mut seen = HashSet::new();
    let mut results = Vec::with_capacity(wanted.len());
    let mut wait = 0;
    for state in wanted {
        let (name, id) = (state.name.clone(), state.topic_id);
        let deleted = match find(broker, &state) {
            Ok(topic) if !seen.insert(topic.id) => Err(Refused::new(
                ResponseError::InvalidRequest,
                "Duplicate topic.",
            )),
            Ok(topic) => {
                let count = topic.partitions().len();
                let allowed = super::mutate(broker, client, count, version >= 5);
                let (Ok(longer) | Err(longer)) = allowed;
                wait = wait.max(longer);
                match allowed {
                    Ok(_) => delete(broker, &topic).await.map(|()| topic),
                    Err(_) => Err(super::mutation_refused()),
                }
            }
            Err(refused) => Err(refused),
        };
        results.push(match deleted {
            Ok(topic) => respond(Some(topic.name.clone()), topic.id, None, version),
            Err(refused) => respond(name, id, Some(refused), version),
        });
    }
    DeleteTopicsResponse::default()
        .with_responses(results)
        .with_throttle_time_ms(wait)
}

fn find(broker: &Broker, wanted: &DeleteTopicState) -> Result<Arc<Topic>, Refused> {
    match &wanted.name {
        Some(_) if !wanted.topic_id.is_nil() => Err(Refused::new(
            ResponseError::InvalidRequest,
            "You may not specify both topic name and topic id.",
        )),
        Some(name) => broker.topics.get(name).ok_or_else(|| {
            Refused::new(
                ResponseError::UnknownTopicOrPartition,
                "This server does not host this topic-partition.",
            )
        }),
        None if wanted.topic_id.is_nil() => Err(Refused::new(
            ResponseError::InvalidRequest,
            "Neither topic name nor id were specified.",
        )),
        None => broker.topics.by_id(&wanted.topic_id).ok_or_else(|| {
            Refused::new(
                ResponseError::UnknownTopicId,
                "This server does not host this topic ID.",
            )
        }),
    }
}

async fn delete(broker: &Broker, topic: &Topic) -> Result<(), Refused> {
    tokio::task::block_in_place(|| broker.topics.delete(topic))?;
    // A topic that is created under this name later starts without them.
    broker.groups.forget_topic(&topic.name).await;
    Ok(())
}

fn respond(
    name: Option<TopicName>,
    id: Uuid,
    refused: Option<Refused>,
    version: i16,
) -> DeletableTopicResult {
    let mut result = DeletableTopicResult::default().with_name(name);
    if version >= 6 {
        result.topic_id = id;
    }
    if let Some(refused) = refused {
        result.error_code = refused.code.code();
        result.error_message =
            Some(StrBytes::from_string(refused.message)).filter(|_| version >= 5);
    }
    result
}
