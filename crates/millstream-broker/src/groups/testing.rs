//! What tests of both kinds of groups share: topics that they decide on, and the operator's defaults.
//!
//! The catalogue here is a list; changing it is changing its version.

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::catalogue::Catalogue;
use super::consumer;

pub(crate) const CONSUMER_RULES: consumer::Rules = consumer::Rules {
    session_timeout_ms: 45_000,
    heartbeat_interval_ms: 5000,
    max_size: usize::MAX,
};

/// No topics at all.
#[derive(Debug)]
pub(crate) struct NoTopics;

impl Catalogue for NoTopics {
    fn version(&self) -> u64 {
        0
    }

    fn find(&self, _name: &str) -> Option<(Uuid, i32)> {
        None
    }

    fn name_of(&self, _id: &Uuid) -> Option<TopicName> {
        None
    }

    fn names(&self) -> Vec<TopicName> {
        Vec::new()
    }
}

/// Topics as a test has them; a topic's id is made from the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct SomeTopics {
    version: u64,
    topics: Vec<(TopicName, Uuid, i32)>,
}

impl SomeTopics {
    /// Creates a topic, or gives it more partitions.
    pub(crate) fn put(&mut self, name: &str, count: i32) -> Uuid {
        self.version += 1;
        let known = self
            .topics
            .iter_mut()
            .find(|(known, ..)| known.as_str() == name);
        if let Some((_, id, known)) = known {
            *known = count;
            return *id;
        }
        let id = Uuid::from_u128(u128::from(self.version));
        let name = TopicName(StrBytes::from_string(name.to_owned()));
        self.topics.push((name, id, count));
        id
    }

    pub(crate) fn delete(&mut self, name: &str) {
        self.version += 1;
        self.topics.retain(|(known, ..)| known.as_str() != name);
    }
}

impl Catalogue for SomeTopics {
    fn version(&self) -> u64 {
        self.version
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        let mut topics = self.topics.iter();
        let (_, id, count) = topics.find(|(known, ..)| known.as_str() == name)?;
        Some((*id, *count))
    }

    fn name_of(&self, id: &Uuid) -> Option<TopicName> {
        let mut topics = self.topics.iter();
        topics
            .find(|(_, known, _)| known == id)
            .map(|(name, ..)| name.clone())
    }

    fn names(&self) -> Vec<TopicName> {
        self.topics.iter().map(|(name, ..)| name.clone()).collect()
    }
}
