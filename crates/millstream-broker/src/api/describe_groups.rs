//! DescribeGroups: state, protocol and members of groups.
//!
//! One that does not exist is "Dead", and since version 6 an error as well. There is no authorizer: when authorized operations are
//! asked for (since version 3), they are all that a group knows.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use super::{Client, once};
use crate::broker::Broker;

/// Everything that may be done to a group, as bits: there is no authorizer.
const GROUP_OPERATIONS: i32 = 3400;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeGroupsRequest,
    version: i16,
) -> DescribeGroupsResponse {
    let operations = match request.include_authorized_operations {
        true if version >= 3 => GROUP_OPERATIONS,
        _ => i32::MIN,
    };
    let groups = once(request.groups, GroupId::clone).map(|id| {
        let described = broker.groups.describe(&id);
        described
            .unwrap_or_else(|| dead(id, version))
            .with_authorized_operations(operations)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn dead(id: GroupId, version: i16) -> DescribedGroup {
    let message = format!("Group {} not found.", id.as_str());
    let dead = DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str("Dead"));
    match version {
        ..6 => dead,
        _ => dead
            .with_error_code(ResponseError::GroupIdNotFound.code())
            .with_error_message(Some(StrBytes::from_string(message))),
    }
}
