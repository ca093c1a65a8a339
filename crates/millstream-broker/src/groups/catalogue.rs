//! The topics that exist, as far as groups have to know them.
//!
//! Groups of the new protocol subscribe by name and are assigned by id, and have to notice when a topic appears, grows or is deleted: the
//! version says at no cost that nothing did.

use kafka_protocol::messages::TopicName;
use uuid::Uuid;

use crate::topics::Topics;

/// What groups ask of the catalogue of topics.
pub(crate) trait Catalogue: std::fmt::Debug + Send + Sync {
    /// Grows with each topic that appears, grows or disappears, after it did.
    fn version(&self) -> u64;
    /// Id and number of partitions.
    fn find(&self, name: &str) -> Option<(Uuid, i32)>;
    fn name_of(&self, id: &Uuid) -> Option<TopicName>;
    fn names(&self) -> Vec<TopicName>;
}

impl Catalogue for Topics {
    fn version(&self) -> u64 {
        Topics::version(self)
    }

    fn find(&self, name: &str) -> Option<(Uuid, i32)> {
        self.get(name).map(|topic| (topic.id, topic.count()))
    }

    fn name_of(&self, id: &Uuid) -> Option<TopicName> {
        self.by_id(id).map(|topic| topic.name.clone())
    }

    fn names(&self) -> Vec<TopicName> {
        let all = self.all();
        all.iter().map(|topic| topic.name.clone()).collect()
    }
}
