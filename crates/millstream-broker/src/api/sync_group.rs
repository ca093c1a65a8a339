//! SyncGroup: a member gets its assignment; the leader brings those of all.
//!
//! The answer waits until the leader has spoken. Since version 5 a member says which protocol it believes in, and one
//! that says nothing is refused before the group is asked.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{Client, named};
use crate::broker::Broker;
use crate::groups::{Missing, refused_sync};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: SyncGroupRequest,
    version: i16,
) -> SyncGroupResponse {
    let synced = sync(broker, request, version).await;
    synced.unwrap_or_else(refused_sync)
}

async fn sync(
    broker: &Broker,
    request: SyncGroupRequest,
    version: i16,
) -> Result<SyncGroupResponse, ResponseError> {
    // Mandatory since version 5, although the format lets them be null.
    if version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Err(ResponseError::InconsistentGroupProtocol);
    }
    let id = named(&request.group_id)?.clone();
    let missing = Missing::Refuse(ResponseError::UnknownMemberId);
    let synced = broker.groups.ask(&id, missing, |group, waiter, turn| {
        group.sync(request, waiter, turn);
    });
    synced.await
}
