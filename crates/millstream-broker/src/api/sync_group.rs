//! SyncGroup: a member gets its assignment; the leader brings those of all.
//!
//! The answer waits until the leader has spoken. Since version 5 a member says which protocol it believes in, and one
//! that says nothing is refused before the group is asked.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    // Mandatory since version 5, although the format lets them be null.
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return SyncGroupResponse::default()
            .with_error_code(ResponseError::InconsistentGroupProtocol.code());
    }
    broker.groups.sync(request).await
}
