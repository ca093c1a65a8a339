//! LeaveGroup: members go. Since version 3 many at once, also by their instance id.
//!
//! Older requests name one member; they are turned into a list of one, and its error becomes that of the whole
//! answer. Of a group that does not exist, nobody is a member.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{GroupId, LeaveGroupRequest, LeaveGroupResponse};

use super::{Client, named};
use crate::broker::Broker;
use crate::groups::Missing;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    mut request: LeaveGroupRequest,
    version: i16,
) -> LeaveGroupResponse {
    if version < 3 {
        let member_id = std::mem::take(&mut request.member_id);
        request.members = vec![MemberIdentity::default().with_member_id(member_id)];
    }
    let response = LeaveGroupResponse::default();
    match leave(broker, &request.group_id, request.members).await {
        Err(code) => response.with_error_code(code.code()),
        Ok(members) if version >= 3 => response.with_members(members),
        Ok(members) => response.with_error_code(members.first().map_or(0, |one| one.error_code)),
    }
}

async fn leave(
    broker: &Broker,
    id: &GroupId,
    leaving: Vec<MemberIdentity>,
) -> Result<Vec<MemberResponse>, ResponseError> {
    let missing = Missing::Refuse(ResponseError::UnknownMemberId);
    let left = broker.groups.act(named(id)?, missing, |group, turn| {
        Ok(group.leave(leaving.clone(), turn))
    });
    match left.await {
        Err(unknown @ ResponseError::UnknownMemberId) => {
            let strangers = leaving.into_iter().map(|one| {
                MemberResponse::default()
                    .with_member_id(one.member_id)
                    .with_group_instance_id(one.group_instance_id)
                    .with_error_code(unknown.code())
            });
            Ok(strangers.collect())
        }
        left => left,
    }
}
