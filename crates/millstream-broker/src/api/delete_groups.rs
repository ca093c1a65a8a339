//! DeleteGroups: removes groups without members, with their offsets.
//!
//! A group that has members, or does not exist, answers with its own error; the others are removed all the same. An answer leaves
//! when it is stored that the group is gone.

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use super::Client;
use crate::broker::Broker;
use crate::groups::Missing;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DeleteGroupsRequest,
    _version: i16,
) -> DeleteGroupsResponse {
    let names: BTreeSet<_> = request.groups_names.into_iter().collect();
    let mut results = Vec::with_capacity(names.len());
    for id in names {
        let deleted = delete(broker, &id).await;
        let code = deleted.err().map_or(0, |code| code.code());
        results.push(
            DeletableGroupResult::default()
                .with_group_id(id)
                .with_error_code(code),
        );
    }
    DeleteGroupsResponse::default().with_results(results)
}

async fn delete(broker: &Broker, id: &GroupId) -> Result<(), ResponseError> {
    let missing = Missing::Refuse(ResponseError::GroupIdNotFound);
    let deleted = broker.groups.change(id, missing, |slot, _| slot.delete());
    deleted.await
}
