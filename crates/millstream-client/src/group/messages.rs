//! The requests of a member, made from what it knows.
//!
//! Only formats are here; when a request is sent, and to whom, `membership` decides.

use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use super::assignor::{Assignments, Member};
use super::membership::{Identity, Settings};
use super::protocol::{Partitions, Subscription, encode_assignment};
use crate::cluster::Cluster;
use crate::fetcher::Place;
use crate::wire::api::Call;
use crate::wire::{Malformed, millis, text};

const PROTOCOL_TYPE: &str = "consumer";

fn group(settings: &Settings) -> GroupId {
    GroupId(text(&settings.group))
}

fn instance(settings: &Settings) -> Option<StrBytes> {
    settings.instance.as_deref().map(text)
}

pub(super) fn join(settings: &Settings, identity: &Identity, subscription: &Subscription) -> Call {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(StrBytes::from_static_str(settings.config.strategy.name()))
        .with_metadata(subscription.encode());
    let request = JoinGroupRequest::default()
        .with_group_id(group(settings))
        .with_session_timeout_ms(millis(settings.config.session_timeout))
        .with_rebalance_timeout_ms(millis(settings.config.rebalance_timeout))
        .with_member_id(text(&identity.id))
        .with_group_instance_id(instance(settings))
        .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
        .with_protocols(vec![protocol]);
    Call::JoinGroup(request)
}

pub(super) fn sync(settings: &Settings, identity: &Identity, assignments: &Assignments) -> Call {
    let assignments = assignments.iter().map(|(id, assigned)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(text(id))
            .with_assignment(encode_assignment(assigned))
    });
    let request = SyncGroupRequest::default()
        .with_group_id(group(settings))
        .with_generation_id(identity.generation)
        .with_member_id(text(&identity.id))
        .with_group_instance_id(instance(settings))
        .with_protocol_type(Some(StrBytes::from_static_str(PROTOCOL_TYPE)))
        .with_protocol_name(Some(StrBytes::from_static_str(
            settings.config.strategy.name(),
        )))
        .with_assignments(assignments.collect());
    Call::SyncGroup(request)
}

pub(super) fn heartbeat(settings: &Settings, identity: &Identity) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(group(settings))
        .with_generation_id(identity.generation)
        .with_member_id(text(&identity.id))
        .with_group_instance_id(instance(settings))
}

pub(super) fn leave(settings: &Settings, identity: &Identity) -> Call {
    let member = MemberIdentity::default().with_member_id(text(&identity.id));
    let request = LeaveGroupRequest::default()
        .with_group_id(group(settings))
        .with_members(vec![member]);
    Call::LeaveGroup(request)
}

/// What the coordinator tells the leader of one member.
pub(super) fn member(theirs: &JoinGroupResponseMember) -> Result<Member, Malformed> {
    Ok(Member {
        id: theirs.member_id.to_string(),
        instance: theirs.group_instance_id.as_ref().map(StrBytes::to_string),
        subscription: Subscription::decode(&theirs.metadata)?,
    })
}

/// Places by the names of their topics.
pub(super) fn named<'a>(cluster: &Cluster, places: impl Iterator<Item = &'a Place>) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, number) in places {
        let numbers = partitions.entry(cluster.name(*topic).to_owned());
        numbers.or_default().insert(*number);
    }
    partitions
}
