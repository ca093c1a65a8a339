//! DescribeGroups: state, protocol and members of groups.
//!
//! One that does not exist, or is of the new protocol, is "Dead", and since version 6 an error as well. There is no authorizer: when authorized operations are
//! asked for (since version 3), they are all that a group knows.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};
use kafka_protocol::protocol::StrBytes;

use super::{Client, GROUP_OPERATIONS, once};
use crate::broker::Broker;
use crate::groups::{Group, Kind};
use crate::topics::Refused;

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
        let described = describe(broker, &id);
        described
            .unwrap_or_else(|refused| dead(id, refused, version))
            .with_authorized_operations(operations)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn describe(broker: &Broker, id: &GroupId) -> Result<DescribedGroup, Refused> {
    let not_found = |text: String| Err(Refused::new(ResponseError::GroupIdNotFound, text));
    broker
        .groups
        .look(id, |group| match group.map(Group::kind) {
            Some(Kind::Classic(group)) => Ok(group.described()),
            Some(Kind::Consumer(_)) => {
                not_found(format!("Group {} is not a classic group.", id.as_str()))
            }
            None => not_found(format!("Group {} not found.", id.as_str())),
        })
}

fn dead(id: GroupId, refused: Refused, version: i16) -> DescribedGroup {
    let dead = DescribedGroup::default()
        .with_group_id(id)
        .with_group_state(StrBytes::from_static_str("Dead"));
    match version {
        ..6 => dead,
        _ => dead
            .with_error_code(refused.code.code())
            .with_error_message(Some(StrBytes::from_string(refused.message))),
    }
}
