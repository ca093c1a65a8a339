//! Metadata: a topic that may not be described is not shown among all, and refused when it is named; one that does not exist and may not be
//! created is refused too.
//!
//! Authorized operations are those that the rules allow.

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponse, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataRequest, TopicName};

use super::super::{Guard, Guarded, NO_TOPIC, Verdict, take};
use crate::security::rules::{Operation, Resource};

impl Guard<'_> {
    /// Whether a metadata request would create a topic that its sender may not create.
    fn denies_creation(&self, wanted: &MetadataRequestTopic, creates: bool) -> bool {
        let Some(name) = wanted.name.as_ref().filter(|_| wanted.topic_id.is_nil()) else {
            return false;
        };
        creates
            && self.broker.topics.get(name).is_none()
            && self.access.denies(Operation::Create, Resource::CLUSTER)
            && self.denies_topic(Operation::Create, name)
    }
}

impl Guarded for MetadataRequest {
    type Response = MetadataResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<MetadataResponse> {
        let version = at.version;
        let creates =
            at.broker.config.auto_create_topics && (version < 4 || self.allow_auto_topic_creation);
        let all = match &self.topics {
            None => true,
            Some(named) => version == 0 && named.is_empty(),
        };
        let none = TopicName::default();
        let named = self.topics.get_or_insert_default();
        let denied = take(named, |wanted| {
            let name = wanted.name.as_ref().unwrap_or(&none);
            at.denies_named(Operation::Describe, name, &wanted.topic_id)
                || at.denies_creation(wanted, creates)
        });
        let nothing_left = !all && named.is_empty();
        if all {
            self.topics = None;
        }
        let access = at.access.clone();
        Verdict::amend(move |response: &mut MetadataResponse| {
            if nothing_left {
                // In version 0 a request without names asks for all.
                response.topics.clear();
            }
            response.topics.retain(|topic| {
                let name = topic.name.clone().unwrap_or_default();
                !all || access.allows(Operation::Describe, Resource::topic(&name))
            });
            for topic in &mut response.topics {
                if topic.topic_authorized_operations != i32::MIN {
                    let name = topic.name.clone().unwrap_or_default();
                    topic.topic_authorized_operations = access.operations(Resource::topic(&name));
                }
            }
            if response.cluster_authorized_operations != i32::MIN {
                response.cluster_authorized_operations = access.operations(Resource::CLUSTER);
            }
            let denied = denied.into_iter().map(|wanted| refused(wanted, version));
            response.topics.extend(denied);
        })
    }
}

/// As in Kafka: who asks by name gets no id, and who asks by id no name.
fn refused(wanted: MetadataRequestTopic, version: i16) -> MetadataResponseTopic {
    let name = match wanted.topic_id.is_nil() {
        true => wanted.name,
        false => None,
    };
    // The name became nullable in version 12.
    let name = match version {
        ..12 => Some(name.unwrap_or_default()),
        _ => name,
    };
    MetadataResponseTopic::default()
        .with_name(name)
        .with_topic_id(wanted.topic_id)
        .with_error_code(NO_TOPIC)
}
