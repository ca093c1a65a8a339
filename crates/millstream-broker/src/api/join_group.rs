//! JoinGroup: a client becomes a member of a group.
//!
//! The answer may wait for the other members, as long as the group's rebalance timeout: until then this connection is
//! served nothing else, as in Apache Kafka.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Client, named};
use crate::broker::Broker;
use crate::frame::own;
use crate::groups::{Join, Missing, refused_join};

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let member_id = request.member_id.clone();
    let joined = join(broker, client, request, version).await;
    let response = joined.unwrap_or_else(|code| refused_join(member_id, code));
    // Only since version 7 may an answer be without protocol.
    match response.protocol_name {
        None if version < 7 => response.with_protocol_name(Some(Default::default())),
        _ => response,
    }
}

async fn join(
    broker: &Broker,
    client: &Client,
    request: JoinGroupRequest,
    version: i16,
) -> Result<JoinGroupResponse, ResponseError> {
    let id = named(&request.group_id)?.clone();
    let config = &broker.config;
    let allowed = config.group_min_session_timeout_ms..=config.group_max_session_timeout_ms;
    if !allowed.contains(&request.session_timeout_ms) {
        return Err(ResponseError::InvalidSessionTimeout);
    }
    let missing = match request.member_id.is_empty() {
        true => Missing::Create,
        false => Missing::Refuse(ResponseError::UnknownMemberId),
    };
    let wanted = wanted(client, request, version);
    let joined = broker.groups.ask(&id, missing, |group, waiter, turn| {
        group.join(wanted, waiter, turn);
    });
    joined.await
}

/// What the client asks for, whatever the version.
fn wanted(client: &Client, request: JoinGroupRequest, version: i16) -> Join {
    let rebalance_timeout_ms = match version {
        // Before there were two timeouts, one served as both.
        0 => request.session_timeout_ms,
        _ => request.rebalance_timeout_ms,
    };
    Join {
        member_id: own(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(own),
        client_id: client.id.clone().unwrap_or_default(),
        client_host: StrBytes::from_string(client.java_host()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: own(&request.protocol_type),
        protocols: request.protocols.into_iter().map(Into::into).collect(),
        reason: request.reason.unwrap_or_default(),
        id_required: version >= 4,
        can_skip_assignment: version >= 9,
    }
}
