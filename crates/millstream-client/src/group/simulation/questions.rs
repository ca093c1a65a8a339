//! What any broker of the simulated cluster says of the cluster: one broker, which leads every partition and coordinates the group.
//!
//! Questions for the group itself are not answered here.

use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{BrokerId, FindCoordinatorResponse, MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::world::{GROUP, TOPICS};
use crate::wire::api::{Call, Reply};

/// Questions about the cluster, of one broker.
pub(super) fn control(call: &Call) -> Option<Reply> {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    match call {
        Call::Metadata(_) => {
            let broker = MetadataResponseBroker::default()
                .with_node_id(BrokerId(0))
                .with_host(text("broker"))
                .with_port(1);
            let topics = TOPICS.map(|(name, count)| {
                let partitions = (0..count).map(|number| {
                    MetadataResponsePartition::default()
                        .with_partition_index(number)
                        .with_leader_id(BrokerId(0))
                });
                MetadataResponseTopic::default()
                    .with_name(Some(TopicName(text(name))))
                    .with_partitions(partitions.collect())
            });
            let reply = MetadataResponse::default()
                .with_brokers(vec![broker])
                .with_topics(topics.into());
            Some(Reply::Metadata(reply))
        }
        Call::FindCoordinator(_) => {
            let found = Found::default()
                .with_key(text(GROUP))
                .with_node_id(BrokerId(0))
                .with_host(text("broker"))
                .with_port(1);
            let reply = FindCoordinatorResponse::default().with_coordinators(vec![found]);
            Some(Reply::FindCoordinator(reply))
        }
        _ => None,
    }
}
