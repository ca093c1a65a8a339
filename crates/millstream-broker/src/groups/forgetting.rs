//! Offsets that go without a request of their group: those that are out of use for too long, and those of deleted topics.
//!
//! Each group is looked at under its own lock; what goes is stored like any other change. What cannot be stored stays, and is logged.

use std::collections::BTreeSet;

use kafka_protocol::messages::TopicName;

use super::Groups;
use super::ledger::UpTo;
use crate::log::lock;

impl Groups {
    /// Forgets offsets that have been out of use for too long, and empty groups that have none left.
    pub(super) fn expire_offsets(&self) {
        for slot in self.slots() {
            let mut slot = lock(&slot);
            if slot.is_gone {
                continue;
            }
            let now = self.now();
            let expired = slot.group.expired_offsets(now.wall, self.retention_ms);
            let forgotten = slot.forget(&expired).and_then(|()| {
                // A group without members and offsets goes with them.
                match slot.group.is_abandoned() {
                    true => slot.remove(),
                    false => Ok(()),
                }
            });
            self.tidy(&mut slot);
            if let Err(error) = forgotten {
                tracing::warn!(%error, "failed to forget expired offsets");
                return;
            }
        }
    }

    /// Forgets the offsets of all topics that do not exist.
    pub(crate) fn forget_topics_without(&self, exists: impl Fn(&TopicName) -> bool) {
        let mut gone = BTreeSet::new();
        self.look_at_all(|group| {
            let named = group.offsets.named().filter(|topic| !exists(topic));
            gone.extend(named.cloned());
        });
        for topic in gone {
            tracing::info!(
                topic = topic.as_str(),
                "offsets of a deleted topic are forgotten"
            );
            let queued = self.take_topic_out(&topic);
            if let Err(error) = self.settle_here(queued) {
                tracing::warn!(topic = topic.as_str(), %error, "offsets of a deleted topic stay");
            }
        }
    }

    /// Forgets the offsets of all groups for a topic that was deleted.
    pub(crate) async fn forget_topic(&self, topic: &TopicName) {
        self.make_room();
        let queued = self.take_topic_out(topic);
        if let Err(error) = self.settle(queued).await {
            tracing::warn!(topic = topic.as_str(), %error, "offsets of a deleted topic stay");
        }
    }

    fn take_topic_out(&self, topic: &TopicName) -> UpTo {
        let mut queued = 0;
        for slot in self.slots() {
            let mut slot = lock(&slot);
            let partitions = slot.group.offsets.touched(topic);
            if slot.is_gone || partitions.is_empty() {
                continue;
            }
            match slot.forget(&vec![(topic.clone(), partitions)]) {
                Ok(()) => queued = queued.max(slot.stored.up_to),
                Err(error) => {
                    tracing::warn!(group = slot.group.id.as_str(), topic = topic.as_str(), %error, "offsets of a deleted topic stay");
                }
            }
        }
        queued
    }
}
