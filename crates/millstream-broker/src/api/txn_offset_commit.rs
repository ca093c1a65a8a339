//! TxnOffsetCommit: offsets that count when a transaction commits.
//!
//! They wait in their group, per producer, until the coordinator of transactions says how it ends. Since version 3 a member
//! proves itself as for OffsetCommit; since version 5 the group takes part in the transaction by this request alone (KIP-890).

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_commit_response::OffsetCommitResponseTopic;
use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, TxnOffsetCommitRequest, TxnOffsetCommitResponse,
};

use super::offset_commit::judge;
use super::{Client, unverified_as_known};
use crate::broker::Broker;
use crate::journal::Unwritten;
use crate::transactions::{Generation, Producer};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: TxnOffsetCommitRequest,
    version: i16,
) -> TxnOffsetCommitResponse {
    let by = Producer {
        id: request.producer_id.0,
        epoch: request.producer_epoch,
    };
    let generation = match version {
        ..5 => Generation::First,
        _ => Generation::Second,
    };
    let id = request.transactional_id.clone();
    let request = plain(request);
    let mut judged = judge(broker, &request);
    if !judged.commits.is_empty() {
        let commits = std::mem::take(&mut judged.commits);
        let groups = &broker.groups;
        groups.make_room();
        let pend = || groups.pend(&request, by.id, commits);
        let transactions = &broker.transactions;
        let pended = transactions.with_group(&id, by, generation, &request.group_id, pend);
        let settled = match pended {
            Ok(queued) => groups.settle(queued).await.map_err(Unwritten::code),
            Err(code) => Err(unverified_as_known(code, version >= 4)),
        };
        judged.settle(settled);
    }
    let topics = judged.topics.into_iter().map(answer);
    TxnOffsetCommitResponse::default().with_topics(topics.collect())
}

/// The same as a commit without transaction: it is judged alike.
fn plain(request: TxnOffsetCommitRequest) -> OffsetCommitRequest {
    let topics = request.topics.into_iter().map(|topic| {
        let partitions = topic.partitions.into_iter().map(|partition| {
            OffsetCommitRequestPartition::default()
                .with_partition_index(partition.partition_index)
                .with_committed_offset(partition.committed_offset)
                .with_committed_leader_epoch(partition.committed_leader_epoch)
                .with_committed_metadata(partition.committed_metadata)
        });
        OffsetCommitRequestTopic::default()
            .with_name(topic.name)
            .with_partitions(partitions.collect())
    });
    OffsetCommitRequest::default()
        .with_group_id(request.group_id)
        .with_generation_id_or_member_epoch(request.generation_id)
        .with_member_id(request.member_id)
        .with_group_instance_id(request.group_instance_id)
        .with_topics(topics.collect())
}

fn answer(topic: OffsetCommitResponseTopic) -> TxnOffsetCommitResponseTopic {
    let partitions = topic.partitions.into_iter().map(|partition| {
        TxnOffsetCommitResponsePartition::default()
            .with_partition_index(partition.partition_index)
            .with_error_code(partition.error_code)
    });
    TxnOffsetCommitResponseTopic::default()
        .with_name(topic.name)
        .with_partitions(partitions.collect())
}
