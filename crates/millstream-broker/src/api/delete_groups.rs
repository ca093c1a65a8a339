//! DeleteGroups: removes groups without members, with their offsets.
//!
//! A group that has members, or does not exist, answers with its own error; the others are removed all the same. Which state a
//! group is in, and what the journal must hold before it is gone, is known in `groups`.

use std::collections::BTreeSet;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DeleteGroupsRequest,
    _version: i16,
) -> DeleteGroupsResponse {
    let names: BTreeSet<_> = request.groups_names.into_iter().collect();
    let results = names.into_iter().map(|id| {
        let deleted = broker.groups.delete(&id);
        DeletableGroupResult::default()
            .with_group_id(id)
            .with_error_code(deleted.err().map_or(0, |code| code.code()))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
