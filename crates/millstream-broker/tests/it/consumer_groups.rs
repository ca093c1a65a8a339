//! Groups of the new protocol (KIP-848), request by request.
//!
//! A member here beats when a test says so, so that each step of a rebalance is seen. Everything runs on Apache Kafka too, where topics reach
//! the coordinator a moment after they were created.

mod epochs;
mod migration;
mod moving;
mod offsets;
mod requests;
mod shown;
mod statics;
mod topics;

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::cluster::{Cluster, eventually};
use crate::groups::{coordinator, fresh_group, group_id};
use crate::raw::{Client, text, topic_name};

type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// A member as far as the protocol knows it, on a connection of its own.
struct Member {
    client: Client,
    group: String,
    id: StrBytes,
    instance: Option<StrBytes>,
    epoch: i32,
    names: Option<Vec<String>>,
    pattern: Option<String>,
    assignor: Option<&'static str>,
    /// What it says that it holds.
    owned: Partitions,
    /// What it was told to hold.
    assigned: Partitions,
}

impl Member {
    fn new(cluster: &Cluster, group: &str, topics: &[&str]) -> Member {
        Member {
            client: coordinator(cluster, group),
            group: group.to_owned(),
            id: text(&Uuid::new_v4().to_string()),
            instance: None,
            epoch: 0,
            names: Some(topics.iter().map(|name| (*name).to_owned()).collect()),
            pattern: None,
            assignor: None,
            owned: Partitions::new(),
            assigned: Partitions::new(),
        }
    }

    fn fixed(cluster: &Cluster, group: &str, topics: &[&str], instance: &str) -> Member {
        let mut member = Member::new(cluster, group, topics);
        member.instance = Some(text(instance));
        member
    }

    /// A heartbeat that says only what must be said.
    fn short(&self) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_member_id(self.id.clone())
            .with_member_epoch(self.epoch)
            .with_instance_id(self.instance.clone())
    }

    /// A heartbeat that says everything.
    fn full(&self) -> ConsumerGroupHeartbeatRequest {
        let owned = self.owned.iter().map(|(id, partitions)| {
            TopicPartitions::default()
                .with_topic_id(*id)
                .with_partitions(partitions.iter().copied().collect())
        });
        let names = self.names.as_ref();
        self.short()
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(
                names.map(|names| names.iter().map(|name| topic_name(name)).collect()),
            )
            .with_subscribed_topic_regex(self.pattern.as_deref().map(text))
            .with_server_assignor(self.assignor.map(text))
            .with_topic_partitions(Some(owned.collect()))
    }

    fn send(&mut self, request: &ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatResponse {
        self.client.call(1, request)
    }

    /// Takes an answer as a client does.
    fn take(&mut self, answer: &ConsumerGroupHeartbeatResponse) {
        assert_eq!(answer.error_code, 0, "{:?}", answer.error_message);
        self.epoch = answer.member_epoch;
        if let Some(assignment) = &answer.assignment {
            let topics = assignment.topic_partitions.iter();
            self.assigned = topics
                .map(|one| (one.topic_id, one.partitions.iter().copied().collect()))
                .collect();
        }
    }

    /// Says everything, takes the answer, and holds what it was given.
    fn beat(&mut self) {
        let answer = self.send(&self.full());
        self.take(&answer);
        self.owned = self.assigned.clone();
    }

    /// Beats until it has so many partitions.
    fn beat_until(&mut self, count: usize) {
        eventually(&format!("{count} partitions"), || {
            self.beat();
            (self.count() == count).then_some(())
        });
    }

    /// The code of an answer to a short heartbeat.
    fn code(&mut self) -> Option<ResponseError> {
        let answer = self.send(&self.short());
        ResponseError::try_from_code(answer.error_code)
    }

    /// The code of an answer to a heartbeat that says everything.
    fn full_code(&mut self) -> Option<ResponseError> {
        let answer = self.send(&self.full());
        ResponseError::try_from_code(answer.error_code)
    }

    fn leave(&mut self, epoch: i32) {
        let answer = self.send(&self.short().with_member_epoch(epoch));
        assert_eq!((answer.error_code, answer.member_epoch), (0, epoch));
    }

    fn count(&self) -> usize {
        self.assigned.values().map(BTreeSet::len).sum()
    }

    /// All partitions of the only topic.
    fn partitions(&self) -> Vec<i32> {
        self.assigned.values().flatten().copied().collect()
    }
}

/// What an operator is shown of a group.
fn described(client: &mut Client, version: i16, group: &str) -> DescribedGroup {
    let request = ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
    client.call(version, &request).groups.remove(0)
}
