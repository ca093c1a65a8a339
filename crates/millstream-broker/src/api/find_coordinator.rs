//! FindCoordinator: which broker looks after a group or a transactional id. It is always this one.
//!
//! Since version 4 many keys are asked for at once. A coordinator of share groups does not exist here.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};
use kafka_protocol::protocol::StrBytes;

use super::{Client, once};
use crate::broker::Broker;

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let (error_code, node_id, host, port) = match request.key_type {
        GROUP | TRANSACTION => (
            0,
            broker.config.node_id,
            client.endpoint.host.clone(),
            client.endpoint.port,
        ),
        _ => (
            ResponseError::InvalidRequest.code(),
            -1,
            StrBytes::new(),
            -1,
        ),
    };
    if version < 4 {
        return FindCoordinatorResponse::default()
            .with_error_code(error_code)
            .with_node_id(BrokerId(node_id))
            .with_host(host)
            .with_port(port);
    }
    let coordinators = once(request.coordinator_keys, Clone::clone).map(|key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(error_code)
            .with_node_id(BrokerId(node_id))
            .with_host(host.clone())
            .with_port(port)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}
