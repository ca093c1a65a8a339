//! The requests of a transaction, made from what it knows.
//!
//! Only formats are here; when a request is sent, and to whom, the state machine decides. Versions are those before KIP-890, in which the client
//! names each partition before it writes to it.

use std::time::Duration;

use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, EndTxnRequest, GroupId,
    InitProducerIdRequest, TransactionalId, TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::{Ended, Identity};
use crate::cluster::{Cluster, by_topic};
use crate::fetcher::Place;
use crate::group::membership::{Claim, Membership};
use crate::wire::api::Call;
use crate::wire::{millis, text};

fn transactional(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

/// An id, or the next epoch of one. It ends what an earlier owner of the transactional id has left open.
pub(super) fn identity(id: &str, timeout: Duration, identity: Option<Identity>) -> Call {
    let (producer, epoch) = identity.unwrap_or((-1, -1));
    let request = InitProducerIdRequest::default()
        .with_transactional_id(Some(transactional(id)))
        .with_transaction_timeout_ms(millis(timeout))
        .with_producer_id(producer.into())
        .with_producer_epoch(epoch);
    Call::InitProducerId(request)
}

pub(super) fn partitions(
    id: &str,
    (producer, epoch): Identity,
    cluster: &Cluster,
    places: &[Place],
) -> Call {
    let topics = by_topic(places.iter().copied());
    let topics = topics.into_iter().map(|(topic, numbers)| {
        AddPartitionsToTxnTopic::default()
            .with_name(cluster.topic_name(topic))
            .with_partitions(numbers)
    });
    let request = AddPartitionsToTxnRequest::default()
        .with_v3_and_below_transactional_id(transactional(id))
        .with_v3_and_below_producer_id(producer.into())
        .with_v3_and_below_producer_epoch(epoch)
        .with_v3_and_below_topics(topics.collect());
    Call::AddPartitionsToTxn(request)
}

pub(super) fn group(id: &str, (producer, epoch): Identity, group: &str) -> Call {
    let request = AddOffsetsToTxnRequest::default()
        .with_transactional_id(transactional(id))
        .with_producer_id(producer.into())
        .with_producer_epoch(epoch)
        .with_group_id(GroupId(text(group)));
    Call::AddOffsetsToTxn(request)
}

/// Positions, signed by the member that owns the partitions (KIP-447): one that has lost them is refused.
pub(super) fn offsets(
    id: &str,
    (producer, epoch): Identity,
    (cluster, member): (&Cluster, Option<&Membership>),
    group: &str,
    next: &[Claim],
) -> Call {
    let partitions = next.iter().map(|claim| {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_partition_index(claim.place.1)
            .with_committed_offset(claim.position.offset)
            .with_committed_leader_epoch(claim.position.epoch)
            .with_committed_metadata(Some(StrBytes::default()));
        (claim.place.0, partition)
    });
    let topics = by_topic(partitions).into_iter().map(|(topic, partitions)| {
        TxnOffsetCommitRequestTopic::default()
            .with_name(cluster.topic_name(topic))
            .with_partitions(partitions)
    });
    let request = TxnOffsetCommitRequest::default()
        .with_transactional_id(transactional(id))
        .with_group_id(GroupId(text(group)))
        .with_producer_id(producer.into())
        .with_producer_epoch(epoch)
        .with_topics(topics.collect());
    let request = match member.and_then(|one| Some((one, one.committer()?))) {
        Some((member, identity)) => request
            .with_generation_id(identity.generation)
            .with_member_id(text(&identity.id))
            .with_group_instance_id(member.instance().map(text)),
        None => request,
    };
    Call::TxnOffsetCommit(request)
}

pub(super) fn end(id: &str, (producer, epoch): Identity, how: Ended) -> Call {
    let request = EndTxnRequest::default()
        .with_transactional_id(transactional(id))
        .with_producer_id(producer.into())
        .with_producer_epoch(epoch)
        .with_committed(how == Ended::Committed);
    Call::EndTxn(request)
}
