//! JoinGroup: a client becomes a member of a group; the answer may wait for the others.

use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: JoinGroupRequest,
    version: i16,
) -> JoinGroupResponse {
    let response = broker.groups.join(client, request, version).await;
    // Only since version 7 may an answer be without protocol.
    match response.protocol_name {
        None if version < 7 => response.with_protocol_name(Some(Default::default())),
        _ => response,
    }
}
