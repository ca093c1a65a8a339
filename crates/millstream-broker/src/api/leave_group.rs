//! LeaveGroup: members go. Since version 3 many at once, also by their instance id.
//!
//! Older requests name one member; they are turned into a list of one, and its error becomes that of the whole
//! answer.

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::Client;
use crate::broker::Broker;

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
    match broker.groups.leave(request) {
        Err(code) => response.with_error_code(code.code()),
        Ok(members) if version >= 3 => response.with_members(members),
        Ok(members) => response.with_error_code(members.first().map_or(0, |one| one.error_code)),
    }
}
