//! ListGroups: all groups, or those in certain states (since version 4) and of certain types (since 5).
//!
//! An answer in an older version has no place for state and type: they are taken out again, because the encoder
//! refuses what a version cannot carry.

use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: ListGroupsRequest,
    version: i16,
) -> ListGroupsResponse {
    let (states, types) = (&request.states_filter, &request.types_filter);
    let mut groups = Vec::new();
    broker.groups.look_at_all(|group| {
        if passes(states, group.state()) && passes(types, group.type_name()) {
            groups.push(fit(group.listed(), version));
        }
    });
    groups.sort_by(|one, other| one.group_id.cmp(&other.group_id));
    ListGroupsResponse::default().with_groups(groups)
}

/// An empty filter lets all through.
fn passes(filter: &[StrBytes], value: &str) -> bool {
    let same = |one: &StrBytes| one.trim().eq_ignore_ascii_case(value);
    filter.is_empty() || filter.iter().any(same)
}

/// Takes out what an older version has no place for.
fn fit(mut group: ListedGroup, version: i16) -> ListedGroup {
    if version < 4 {
        group.group_state = StrBytes::new();
    }
    if version < 5 {
        group.group_type = StrBytes::new();
    }
    group
}
