//! OffsetCommit: a group stores how far it has read.
//!
//! The answer leaves when the offsets are in the journal. Partitions that the catalogue does not know are refused one by one; who
//! may commit in which generation is decided in `groups`. TxnOffsetCommit is judged by the same rules.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;
use crate::frame::own;
use crate::groups::{Commits, Committed, Committer, Missing};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: OffsetCommitRequest,
    version: i16,
) -> OffsetCommitResponse {
    let mut judged = judge(broker, &request);
    if !judged.commits.is_empty() {
        let commits = std::mem::take(&mut judged.commits);
        let committed = commit(broker, &request, version, commits).await;
        judged.settle(committed);
    }
    OffsetCommitResponse::default().with_topics(judged.topics)
}

async fn commit(
    broker: &Broker,
    request: &OffsetCommitRequest,
    version: i16,
    commits: Commits,
) -> Result<(), ResponseError> {
    let missing = match (request.generation_id_or_member_epoch, version) {
        // Someone who is no member keeps its offsets here: the group is made for them.
        (..0, _) => Missing::Create,
        (_, ..9) => Missing::Refuse(ResponseError::IllegalGeneration),
        _ => Missing::Refuse(ResponseError::GroupIdNotFound),
    };
    let committer = Committer::of(request, version);
    let committed = broker
        .groups
        .change(&request.group_id, missing, |slot, now| {
            broker.groups.check_topics(&commits)?;
            slot.commit(&committer, commits, now)
        });
    committed.await
}

/// A request whose partitions have been looked at one by one.
pub(super) struct Judged {
    /// The answer, in which some partitions may be refused already.
    pub(super) topics: Vec<OffsetCommitResponseTopic>,
    /// What the others commit, all or nothing.
    pub(super) commits: Commits,
}

impl Judged {
    /// Puts in how the commits went.
    pub(super) fn settle(&mut self, committed: Result<(), ResponseError>) {
        let Err(code) = committed else {
            return;
        };
        let partitions = self
            .topics
            .iter_mut()
            .flat_map(|topic| &mut topic.partitions);
        for partition in partitions.filter(|one| one.error_code == 0) {
            partition.error_code = code.code();
        }
    }
}

/// Refuses what is committed for partitions that do not exist, and metadata that are too long.
pub(super) fn judge(broker: &Broker, request: &OffsetCommitRequest) -> Judged {
    let at_ms = broker.now_ms();
    let expires_at_ms = match request.retention_time_ms {
        -1 => None,
        retention_ms => Some(at_ms.saturating_add(retention_ms)),
    };
    let mut judged = Judged {
        topics: Vec::with_capacity(request.topics.len()),
        commits: Commits::new(),
    };
    for topic in &request.topics {
        let mut accepted = Vec::new();
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in &topic.partitions {
            let checked = check(broker, &topic.name, partition);
            if checked.is_ok() {
                let committed = committed(partition, at_ms, expires_at_ms);
                accepted.push((partition.partition_index, committed));
            }
            partitions.push(
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(checked.err().map_or(0, |code| code.code())),
            );
        }
        if !accepted.is_empty() {
            judged.commits.push((TopicName(own(&topic.name)), accepted));
        }
        judged.topics.push(
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions),
        );
    }
    judged
}

fn check(
    broker: &Broker,
    topic: &TopicName,
    partition: &OffsetCommitRequestPartition,
) -> Result<(), ResponseError> {
    let most = usize::try_from(broker.config.offset_metadata_max_bytes).unwrap_or(0);
    // Kafka counts as Java does, in units of UTF-16.
    let is_too_long = |text: &StrBytes| text.len() > most && text.encode_utf16().count() > most;
    if broker
        .topics
        .partition(topic, partition.partition_index)
        .is_none()
    {
        Err(ResponseError::UnknownTopicOrPartition)
    } else if partition
        .committed_metadata
        .as_ref()
        .is_some_and(is_too_long)
    {
        Err(ResponseError::OffsetMetadataTooLarge)
    } else {
        Ok(())
    }
}

fn committed(
    partition: &OffsetCommitRequestPartition,
    at_ms: i64,
    expires_at_ms: Option<i64>,
) -> Committed {
    Committed {
        offset: partition.committed_offset,
        leader_epoch: partition.committed_leader_epoch,
        metadata: partition
            .committed_metadata
            .as_ref()
            .map_or(StrBytes::new(), own),
        at_ms,
        expires_at_ms,
    }
}
