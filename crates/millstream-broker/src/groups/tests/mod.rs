//! The coordinator with its journal, by the requests of clients: what a restart finds, what expires, what is not kept.
//!
//! Offsets are in `offsets`, members in `members`; `journal` has what becomes of both when the disk is slow, full or broken.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, DeleteGroupsRequest, DescribeGroupsRequest,
    DescribeGroupsResponse, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    ListGroupsRequest, OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    OffsetFetchResponse, SyncGroupRequest, TransactionalId,
};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::api::{self, Client};
use crate::broker::Broker;
use crate::log::Outcome;
use crate::security::Principal;
use crate::topics::config::Overrides;
use crate::transactions::Scope;

mod journal;
mod members;
mod offsets;

const NOW: i64 = 1_700_000_000_000;

struct Bench {
    broker: Broker,
    folder: tempfile::TempDir,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id(name: &str) -> GroupId {
    GroupId(text(name))
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn committed(offset: i64, note: &str) -> Committed {
    Committed {
        offset,
        leader_epoch: -1,
        metadata: text(note),
        at_ms: NOW,
        expires_at_ms: None,
    }
}

fn client() -> Client {
    Client {
        id: Some(text("app")),
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        endpoint: Arc::default(),
        principal: Principal::anonymous(),
        handling: crate::api::Handling::default(),
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(false)
    }

    fn with(fsync: bool) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::ephemeral(folder.path());
        config.clock = Clock::manual(NOW);
        config.fsync = fsync;
        // Nobody wakes the groups of this bench.
        config.group_initial_rebalance_delay_ms = 0;
        let broker = Broker::open(config).unwrap();
        for name in ["calls", "messages"] {
            broker.topics.create(name, 10, Overrides::new()).unwrap();
        }
        Bench { broker, folder }
    }

    fn groups(&self) -> &Groups {
        &self.broker.groups
    }

    fn clock(&self) -> &Clock {
        &self.broker.config.clock
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("groups.journal")
    }

    /// As after a kill: nothing was closed.
    fn restart(self) -> Bench {
        let Bench { broker, folder } = self;
        let config = broker.config.clone();
        drop(broker);
        let broker = Broker::open(config).unwrap();
        Bench { broker, folder }
    }

    async fn commit_as(
        &self,
        group: &str,
        member: Option<(&StrBytes, i32)>,
        offsets: &[(&str, i32, i64)],
    ) -> Vec<i16> {
        self.commit_with("note", group, member, offsets).await
    }

    async fn commit_with(
        &self,
        note: &str,
        group: &str,
        member: Option<(&StrBytes, i32)>,
        offsets: &[(&str, i32, i64)],
    ) -> Vec<i16> {
        let topics = offsets.iter().map(|(name, partition, offset)| {
            let partition = OffsetCommitRequestPartition::default()
                .with_partition_index(*partition)
                .with_committed_offset(*offset)
                .with_committed_metadata(Some(text(note)));
            OffsetCommitRequestTopic::default()
                .with_name(topic(name))
                .with_partitions(vec![partition])
        });
        let (member_id, generation) = member
            .map_or((StrBytes::new(), -1), |(member, generation)| {
                (member.clone(), generation)
            });
        let request = OffsetCommitRequest::default()
            .with_group_id(id(group))
            .with_member_id(member_id)
            .with_generation_id_or_member_epoch(generation)
            .with_retention_time_ms(-1)
            .with_topics(topics.collect());
        let committed = api::offset_commit::handle(&self.broker, &client(), request, 9).await;
        let partitions = committed.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).collect()
    }

    /// Has old offsets expire, and waits until that is stored.
    async fn expire(&self) {
        self.groups().expire_offsets();
        let queued = self.groups().ledger.queued();
        self.groups().settle(queued).await.unwrap();
    }

    async fn commit(&self, group: &str, offsets: &[(&str, i32, i64)]) {
        let codes = self.commit_as(group, None, offsets).await;
        assert_eq!(codes, vec![0; offsets.len()]);
    }

    /// Commits in the transaction of a producer.
    async fn pend(
        &self,
        group: &str,
        producer_id: i64,
        (name, partition, offset): (&str, i32, i64),
    ) {
        let commit = committed(offset, "");
        let request = OffsetCommitRequest::default()
            .with_group_id(id(group))
            .with_generation_id_or_member_epoch(-1);
        let commits = vec![(topic(name), vec![(partition, commit)])];
        let queued = self.groups().pend(&request, producer_id, commits).unwrap();
        self.groups().settle(queued).await.unwrap();
    }

    async fn fetch(&self, group: &str) -> OffsetFetchResponse {
        let request = OffsetFetchRequest::default()
            .with_group_id(id(group))
            .with_topics(None);
        api::offset_fetch::handle(&self.broker, &client(), request, 7).await
    }

    /// All offsets of a group, as `topic-partition=offset`.
    async fn offsets(&self, group: &str) -> Vec<String> {
        let fetched = self.fetch(group).await;
        assert_eq!(fetched.error_code, 0);
        let each = fetched.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                format!(
                    "{}-{}={}",
                    topic.name.as_str(),
                    partition.partition_index,
                    partition.committed_offset
                )
            })
        });
        each.collect()
    }

    async fn list(&self, states: &[&str], types: &[&str]) -> Vec<ListedGroup> {
        let texts = |all: &[&str]| all.iter().map(|one| text(one)).collect::<Vec<_>>();
        let request = ListGroupsRequest::default()
            .with_states_filter(texts(states))
            .with_types_filter(texts(types));
        let listed = api::list_groups::handle(&self.broker, &client(), request, 5).await;
        listed.groups
    }

    async fn names_of(&self, states: &[&str], types: &[&str]) -> Vec<String> {
        let listed = self.list(states, types).await;
        listed.iter().map(|one| one.group_id.to_string()).collect()
    }

    async fn names(&self) -> Vec<String> {
        self.names_of(&[], &[]).await
    }

    async fn describe(&self, group: &str) -> DescribeGroupsResponse {
        let request = DescribeGroupsRequest::default().with_groups(vec![id(group)]);
        api::describe_groups::handle(&self.broker, &client(), request, 6).await
    }

    async fn state(&self, group: &str) -> String {
        let described = self.describe(group).await;
        described.groups[0].group_state.to_string()
    }

    async fn delete(&self, group: &str) -> i16 {
        let request = DeleteGroupsRequest::default().with_groups_names(vec![id(group)]);
        let deleted = api::delete_groups::handle(&self.broker, &client(), request, 2).await;
        deleted.results[0].error_code
    }

    /// The error code of forgetting an offset.
    async fn forget(&self, group: &str, name: &str, partition: i32) -> i16 {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(partition);
        let of_topic = OffsetDeleteRequestTopic::default()
            .with_name(topic(name))
            .with_partitions(vec![partition]);
        let request = OffsetDeleteRequest::default()
            .with_group_id(id(group))
            .with_topics(vec![of_topic]);
        let deleted = api::offset_delete::handle(&self.broker, &client(), request, 0).await;
        match deleted.error_code {
            0 => deleted.topics[0].partitions[0].error_code,
            code => code,
        }
    }

    /// The error code of a heartbeat by which a member of the new protocol joins.
    async fn consumer_beat(&self, group: &str, member: &str) -> i16 {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(id(group))
            .with_member_id(text(member))
            .with_rebalance_timeout_ms(60_000)
            .with_subscribed_topic_names(Some(vec![topic("messages")]))
            .with_topic_partitions(Some(Vec::new()));
        let heard =
            api::consumer_group_heartbeat::handle(&self.broker, &client(), request, 1).await;
        heard.error_code
    }

    async fn join(&self, request: JoinGroupRequest, version: i16) -> JoinGroupResponse {
        api::join_group::handle(&self.broker, &client(), request, version).await
    }

    /// Makes a stable group of one member and returns its id; the generation is 1.
    async fn stable(&self, group: &str) -> StrBytes {
        let joined = self.join(join(group), 3).await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1));
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(joined.member_id.clone())
            .with_assignment(Bytes::from_static(b"everything"));
        let sync = SyncGroupRequest::default()
            .with_group_id(id(group))
            .with_generation_id(1)
            .with_member_id(joined.member_id.clone())
            .with_assignments(vec![assignment]);
        let synced = api::sync_group::handle(&self.broker, &client(), sync, 3).await;
        assert_eq!(synced.error_code, 0);
        joined.member_id
    }

    /// The error code of a heartbeat.
    async fn beat(&self, group: &str, member: &StrBytes, generation: i32) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(id(group))
            .with_generation_id(generation)
            .with_member_id(member.clone());
        let beat = api::heartbeat::handle(&self.broker, &client(), request, 4).await;
        beat.error_code
    }
}

fn join(group: &str) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\x01\0\x05calls"));
    JoinGroupRequest::default()
        .with_group_id(id(group))
        .with_session_timeout_ms(30_000)
        .with_rebalance_timeout_ms(60_000)
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}
