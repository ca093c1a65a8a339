//! ConsumerGroupDescribe: state, epochs, members and their assignments of groups of the new protocol (KIP-848).
//!
//! A classic group is none: clients then ask with DescribeGroups. Since version 1 each member says which protocol it speaks. There is no
//! authorizer: when authorized operations are asked for, they are all that a group knows.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response::DescribedGroup;
use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId,
};
use kafka_protocol::protocol::StrBytes;

use super::{Client, GROUP_OPERATIONS, once};
use crate::broker::Broker;
use crate::groups::{Group, Kind};
use crate::topics::Refused;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: ConsumerGroupDescribeRequest,
    version: i16,
) -> ConsumerGroupDescribeResponse {
    let operations = match request.include_authorized_operations {
        true => GROUP_OPERATIONS,
        false => i32::MIN,
    };
    let groups = once(request.group_ids, GroupId::clone).map(|id| {
        let described = match describe(broker, &id) {
            Ok(described) => fit(described, version),
            Err(refused) => DescribedGroup::default()
                .with_group_id(id)
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        };
        described.with_authorized_operations(operations)
    });
    ConsumerGroupDescribeResponse::default().with_groups(groups.collect())
}

fn describe(broker: &Broker, id: &GroupId) -> Result<DescribedGroup, Refused> {
    let not_found = |text: String| Err(Refused::new(ResponseError::GroupIdNotFound, text));
    broker
        .groups
        .look(id, |group| match group.map(Group::kind) {
            Some(Kind::Consumer(group)) => Ok(group.described(broker.topics.as_ref())),
            Some(Kind::Classic(_)) => {
                not_found(format!("Group {} is not a consumer group.", id.as_str()))
            }
            None => not_found(format!("Group {} not found.", id.as_str())),
        })
}

/// Takes out what an older version has no place for.
fn fit(mut group: DescribedGroup, version: i16) -> DescribedGroup {
    if version < 1 {
        for member in &mut group.members {
            member.member_type = -1;
        }
    }
    group
}
