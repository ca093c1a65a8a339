//! Heartbeat: a member lives, and learns when the group rebalances.

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
