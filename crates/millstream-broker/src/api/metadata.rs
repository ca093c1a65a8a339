//! Metadata: the one broker, and topics with their partitions; creates topics that a client names and allows.
//!
//! A topic is asked for by name, or by id since version 10. A new topic is whole when the answer leaves, so that there is no
//! LEADER_NOT_AVAILABLE to retry on.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use uuid::Uuid;

use super::{CLUSTER_OPERATIONS, Client, LEADER_EPOCH, TOPIC_OPERATIONS, once};
use crate::broker::Broker;
use crate::topics::config::Overrides;
use crate::topics::{Refused, Topic, name};

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: MetadataRequest,
    version: i16,
) -> MetadataResponse {
    let ask = Ask {
        create: broker.config.auto_create_topics
            && (version < 4 || request.allow_auto_topic_creation),
        operations: version >= 8 && request.include_topic_authorized_operations,
        version,
    };
    let topics = match request.topics {
        Some(named) if version > 0 || !named.is_empty() => {
            once(named, |topic| match topic.topic_id.is_nil() {
                true => (topic.topic_id, topic.name.clone()),
                // Where there is an id, the name is not looked at.
                false => (topic.topic_id, None),
            })
            .map(|topic| ask.named(broker, topic))
            .collect()
        }
        _ => broker
            .topics
            .all()
            .iter()
            .map(|topic| ask.describe(broker, topic))
            .collect(),
    };
    let id = BrokerId(broker.config.node_id);
    let this = MetadataResponseBroker::default()
        .with_node_id(id)
        .with_host(client.endpoint.host.clone())
        .with_port(client.endpoint.port);
    let mut response = MetadataResponse::default()
        .with_brokers(vec![this])
        .with_topics(topics);
    if version >= 1 {
        response.controller_id = id;
    }
    if version >= 2 {
        response.cluster_id = Some(broker.cluster_id.clone());
    }
    if (8..=10).contains(&version) && request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    response
}

/// What a request wants to know and allows.
struct Ask {
    create: bool,
    operations: bool,
    version: i16,
}

impl Ask {
    fn named(&self, broker: &Broker, wanted: MetadataRequestTopic) -> MetadataResponseTopic {
        if self.version >= 10 && !wanted.topic_id.is_nil() {
            return match broker.topics.by_id(&wanted.topic_id) {
                Some(topic) => self.describe(broker, &topic),
                None => self.refuse(None, wanted.topic_id, ResponseError::UnknownTopicId),
            };
        }
        let Some(wanted) = wanted.name else {
            return self.refuse(None, Uuid::nil(), ResponseError::UnknownTopicId);
        };
        match self.find_or_create(broker, &wanted) {
            Ok(topic) => self.describe(broker, &topic),
            Err(code) => self.refuse(Some(wanted), Uuid::nil(), code),
        }
    }

    fn find_or_create(
        &self,
        broker: &Broker,
        wanted: &TopicName,
    ) -> Result<std::sync::Arc<Topic>, ResponseError> {
        if let Some(topic) = broker.topics.get(wanted) {
            return Ok(topic);
        }
        name::check(wanted).map_err(|_| ResponseError::InvalidTopicException)?;
        if !self.create {
            return Err(ResponseError::UnknownTopicOrPartition);
        }
        let count = broker.config.num_partitions;
        let created =
            tokio::task::block_in_place(|| broker.topics.create(wanted, count, Overrides::new()));
        match created {
            Ok(topic) => Ok(topic),
            // Another request was faster.
            Err(Refused {
                code: ResponseError::TopicAlreadyExists,
                ..
            }) => broker
                .topics
                .get(wanted)
                .ok_or(ResponseError::UnknownTopicOrPartition),
            Err(refused) => Err(refused.code),
        }
    }

    fn describe(&self, broker: &Broker, topic: &Topic) -> MetadataResponseTopic {
        let id = BrokerId(broker.config.node_id);
        let partitions = (0..topic.count()).map(|index| {
            MetadataResponsePartition::default()
                .with_partition_index(index)
                .with_leader_id(id)
                .with_leader_epoch(if self.version >= 7 { LEADER_EPOCH } else { -1 })
                .with_replica_nodes(vec![id])
                .with_isr_nodes(vec![id])
        });
        let mut response = MetadataResponseTopic::default()
            .with_name(Some(topic.name.clone()))
            .with_partitions(partitions.collect());
        if self.version >= 10 {
            response.topic_id = topic.id;
        }
        if self.operations {
            response.topic_authorized_operations = TOPIC_OPERATIONS;
        }
        response
    }

    fn refuse(
        &self,
        name: Option<TopicName>,
        id: Uuid,
        code: ResponseError,
    ) -> MetadataResponseTopic {
        // The name became nullable in version 12.
        let name = if self.version < 12 {
            Some(name.unwrap_or_default())
        } else {
            name
        };
        MetadataResponseTopic::default()
            .with_name(name)
            .with_topic_id(id)
            .with_error_code(code.code())
    }
}
