//! ListGroups: all groups, or those in certain states (since version 4) and of certain types (since 5).
//!
//! An answer in an older version has no place for state and type: they are taken out again, because the encoder
//! refuses what a version cannot carry.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let groups = broker
        .groups
        .list(&request.states_filter, &request.types_filter);
    let fit = |group: ListedGroup| {
        let group = match version {
            ..4 => group.with_group_state(Default::default()),
            _ => group,
        };
        match version {
            ..5 => group.with_group_type(Default::default()),
            _ => group,
        }
    };
    ListGroupsResponse::default().with_groups(groups.into_iter().map(fit).collect())
}
