//! Heartbeat: a member lives, and learns when the group rebalances.
//!
//! What a heartbeat puts off, and which generation it must name, is decided in `groups`; here only the code is put into the answer.
//! The fields have the same meaning in every version.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{Client, named};
use crate::broker::Broker;
use crate::groups::Missing;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: HeartbeatRequest,
    _version: i16,
) -> HeartbeatResponse {
    let beat = beat(broker, &request).await;
    HeartbeatResponse::default().with_error_code(beat.err().map_or(0, |code| code.code()))
}

async fn beat(broker: &Broker, request: &HeartbeatRequest) -> Result<(), ResponseError> {
    let id = named(&request.group_id)?;
    let missing = Missing::Refuse(ResponseError::UnknownMemberId);
    let beat = broker
        .groups
        .act(id, missing, |group, turn| group.heartbeat(request, turn));
    beat.await
}
