//! What requests on groups need: read to be a member and to commit, describe to look, delete; and the topics that offsets are of.
//!
//! A member without permission for its group is refused as a whole, offsets of a topic without permission alone.

use kafka_protocol::messages::consumer_group_describe_response;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{
    BrokerId, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse,
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, DeleteGroupsRequest,
    DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, FindCoordinatorRequest,
    FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest,
    OffsetDeleteResponse, SyncGroupRequest, SyncGroupResponse, TopicName, TransactionalId,
};

use super::{Guard, Guarded, NO_GROUP, NO_TOPIC, NO_TRANSACTION, Verdict, take, text};
use crate::security::Access;
use crate::security::rules::{Operation, Resource};

mod offsets;

impl Guard<'_> {
    /// Whether an operation on a group is denied.
    pub(super) fn denies_group(&self, operation: Operation, id: &GroupId) -> bool {
        self.access.denies(operation, Resource::group(id))
    }
}

impl Guarded for JoinGroupRequest {
    type Response = JoinGroupResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<JoinGroupResponse> {
        let denied = at.denies_group(Operation::Read, &self.group_id);
        Verdict::all(denied.then(|| {
            let response = JoinGroupResponse::default()
                .with_error_code(NO_GROUP)
                .with_generation_id(-1);
            match at.version {
                ..7 => response.with_protocol_name(Some(Default::default())),
                _ => response,
            }
        }))
    }
}

impl Guarded for SyncGroupRequest {
    type Response = SyncGroupResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<SyncGroupResponse> {
        let denied = at.denies_group(Operation::Read, &self.group_id);
        Verdict::all(denied.then(|| SyncGroupResponse::default().with_error_code(NO_GROUP)))
    }
}

impl Guarded for HeartbeatRequest {
    type Response = HeartbeatResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<HeartbeatResponse> {
        let denied = at.denies_group(Operation::Read, &self.group_id);
        Verdict::all(denied.then(|| HeartbeatResponse::default().with_error_code(NO_GROUP)))
    }
}

impl Guarded for LeaveGroupRequest {
    type Response = LeaveGroupResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<LeaveGroupResponse> {
        let denied = at.denies_group(Operation::Read, &self.group_id);
        Verdict::all(denied.then(|| LeaveGroupResponse::default().with_error_code(NO_GROUP)))
    }
}

impl Guarded for OffsetCommitRequest {
    type Response = OffsetCommitResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<OffsetCommitResponse> {
        let group = at.denies_group(Operation::Read, &self.group_id);
        let code = if group { NO_GROUP } else { NO_TOPIC };
        let denied = take(&mut self.topics, |topic| {
            group
                || at
                    .access
                    .denies(Operation::Read, Resource::topic(&topic.name))
        });
        let refused = denied.into_iter().map(move |topic| {
            let partitions = topic.partitions.iter().map(|partition| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_error_code(code)
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name)
                .with_partitions(partitions.collect())
        });
        match group {
            true => Verdict::Refuse(OffsetCommitResponse::default().with_topics(refused.collect())),
            false => Verdict::amend(move |response: &mut OffsetCommitResponse| {
                response.topics.extend(refused)
            }),
        }
    }
}

impl Guarded for OffsetDeleteRequest {
    type Response = OffsetDeleteResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<OffsetDeleteResponse> {
        if at.denies_group(Operation::Delete, &self.group_id) {
            let response = OffsetDeleteResponse::default();
            return Verdict::Refuse(response.with_error_code(NO_GROUP));
        }
        let denied = take(&mut self.topics, |topic| {
            at.access
                .denies(Operation::Read, Resource::topic(&topic.name))
        });
        Verdict::amend(move |response: &mut OffsetDeleteResponse| {
            // An error of the group stands for the whole answer.
            for topic in denied.into_iter().filter(|_| response.error_code == 0) {
                let partitions = topic.partitions.iter().map(|partition| {
                    OffsetDeleteResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(NO_TOPIC)
                });
                response.topics.push(
                    OffsetDeleteResponseTopic::default()
                        .with_name(topic.name)
                        .with_partitions(partitions.collect()),
                );
            }
        })
    }
}

impl Guarded for FindCoordinatorRequest {
    type Response = FindCoordinatorResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<FindCoordinatorResponse> {
        let (code, transactions) = match self.key_type {
            0 => (NO_GROUP, false),
            1 => (NO_TRANSACTION, true),
            _ => return Verdict::SERVE,
        };
        let denied = |key: &str| {
            let resource = match transactions {
                true => Resource::transaction(key),
                false => Resource::group(key),
            };
            at.access.denies(Operation::Describe, resource)
        };
        if at.version < 4 {
            let response = || {
                FindCoordinatorResponse::default()
                    .with_error_code(code)
                    .with_node_id(BrokerId(-1))
                    .with_port(-1)
            };
            return Verdict::all(denied(&self.key).then(response));
        }
        let keys = take(&mut self.coordinator_keys, |key| denied(key));
        Verdict::amend(move |response: &mut FindCoordinatorResponse| {
            let refused = keys.into_iter().map(|key| {
                Coordinator::default()
                    .with_key(key)
                    .with_error_code(code)
                    .with_node_id(BrokerId(-1))
                    .with_port(-1)
            });
            response.coordinators.extend(refused);
        })
    }
}

impl Guarded for DescribeGroupsRequest {
    type Response = DescribeGroupsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeGroupsResponse> {
        let denied = take(&mut self.groups, |id| {
            at.denies_group(Operation::Describe, id)
        });
        let (access, version) = (at.access.clone(), at.version);
        Verdict::amend(move |response: &mut DescribeGroupsResponse| {
            for group in &mut response.groups {
                if group.authorized_operations != i32::MIN {
                    group.authorized_operations =
                        access.operations(Resource::group(&group.group_id));
                }
            }
            let denied = denied.into_iter().map(|id| {
                let group = DescribedGroup::default()
                    .with_group_id(id)
                    .with_error_code(NO_GROUP);
                match version {
                    ..6 => group,
                    _ => group.with_error_message(text(NO_GROUP)),
                }
            });
            response.groups.extend(denied);
        })
    }
}

impl Guarded for ConsumerGroupHeartbeatRequest {
    type Response = ConsumerGroupHeartbeatResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<ConsumerGroupHeartbeatResponse> {
        let hidden =
            |name: &TopicName| at.access.denies(Operation::Describe, Resource::topic(name));
        let mut names = self.subscribed_topic_names.iter().flatten();
        let code = if at.denies_group(Operation::Read, &self.group_id) {
            Some(NO_GROUP)
        } else {
            names.any(hidden).then_some(NO_TOPIC)
        };
        Verdict::all(code.map(|code| {
            ConsumerGroupHeartbeatResponse::default()
                .with_error_code(code)
                .with_error_message(text(code))
        }))
    }
}

impl Guarded for ConsumerGroupDescribeRequest {
    type Response = ConsumerGroupDescribeResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<ConsumerGroupDescribeResponse> {
        let denied = take(&mut self.group_ids, |id| {
            at.denies_group(Operation::Describe, id)
        });
        let access = at.access.clone();
        Verdict::amend(move |response: &mut ConsumerGroupDescribeResponse| {
            for group in &mut response.groups {
                if group.authorized_operations != i32::MIN {
                    group.authorized_operations =
                        access.operations(Resource::group(&group.group_id));
                }
                if group
                    .members
                    .iter()
                    .any(|member| names_hidden(&access, member))
                {
                    group.members.clear();
                    group.error_code = NO_TOPIC;
                    group.error_message = text(NO_TOPIC);
                }
            }
            let denied = denied.into_iter().map(|id| {
                consumer_group_describe_response::DescribedGroup::default()
                    .with_group_id(id)
                    .with_error_code(NO_GROUP)
                    .with_error_message(text(NO_GROUP))
            });
            response.groups.extend(denied);
        })
    }
}

/// Whether a member subscribes to, or has, a topic that may not be described.
fn names_hidden(access: &Access, member: &consumer_group_describe_response::Member) -> bool {
    let assignments = [&member.assignment, &member.target_assignment];
    let assigned = assignments
        .into_iter()
        .flat_map(|of| &of.topic_partitions)
        .map(|of| &of.topic_name);
    let mut names = member.subscribed_topic_names.iter().chain(assigned);
    names.any(|name| access.denies(Operation::Describe, Resource::topic(name)))
}

impl Guarded for ListGroupsRequest {
    type Response = ListGroupsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<ListGroupsResponse> {
        let access = at.access.clone();
        Verdict::amend(move |response: &mut ListGroupsResponse| {
            if access.denies(Operation::Describe, Resource::CLUSTER) {
                response.groups.retain(|group| {
                    access.allows(Operation::Describe, Resource::group(&group.group_id))
                });
            }
        })
    }
}

impl Guarded for DeleteGroupsRequest {
    type Response = DeleteGroupsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DeleteGroupsResponse> {
        let denied = take(&mut self.groups_names, |id| {
            at.denies_group(Operation::Delete, id)
        });
        Verdict::amend(move |response: &mut DeleteGroupsResponse| {
            let denied = denied.into_iter().map(|id| {
                DeletableGroupResult::default()
                    .with_group_id(id)
                    .with_error_code(NO_GROUP)
            });
            response.results.extend(denied);
        })
    }
}

impl Guard<'_> {
    /// Whether an operation on a transactional id is denied.
    pub(super) fn denies_transaction(&self, operation: Operation, id: &TransactionalId) -> bool {
        self.access.denies(operation, Resource::transaction(id))
    }
}
