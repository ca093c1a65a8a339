//! JoinGroup: a client becomes a member of a group.
//!
//! The answer may wait for the other members, as long as the group's rebalance timeout: until then this connection is
//! served nothing else, as in Apache Kafka.

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
