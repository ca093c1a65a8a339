//! Heartbeat: a member lives, and learns when the group rebalances.
//!
//! What a heartbeat puts off, and which generation it must name, is decided in `groups`; here only the code is put into the answer.
//! The fields have the same meaning in every version.

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: HeartbeatRequest,
    _version: i16,
) -> HeartbeatResponse {
    let beat = broker.groups.heartbeat(&request);
    HeartbeatResponse::default().with_error_code(beat.err().map_or(0, |code| code.code()))
}
