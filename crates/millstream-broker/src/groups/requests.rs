//! The requests of clients, one method each: what is checked before a group is asked, and how its answer is written.
//!
//! What depends on a request's version beyond that is left to the files of `api`.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::consumer_group_describe_response;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    OffsetCommitRequest, OffsetDeleteRequest, SyncGroupRequest, SyncGroupResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use super::classic::member::Join;
use super::classic::sync::Committer;
use super::classic::{join, sync};
use super::consumer::{Beat, Heard};
use super::group::Kind;
use super::offsets::{Commits, Committed};
use super::{Group, Groups, Moment, Shared};
use crate::api::Client;
use crate::frame::own;
use crate::journal::{Unwritten, Written};
use crate::topics::Refused;

fn join_of(client: &Client, request: JoinGroupRequest, version: i16) -> Join {
    let rebalance_timeout_ms = match version {
        // Before there were two timeouts, one served as both.
        0 => request.session_timeout_ms,
        _ => request.rebalance_timeout_ms,
    };
    Join {
        member_id: own(&request.member_id),
        instance_id: request.group_instance_id.as_ref().map(own),
        client_id: client.id.clone().unwrap_or_default(),
        client_host: StrBytes::from_string(client.java_host()),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: own(&request.protocol_type),
        protocols: request.protocols.into_iter().map(Into::into).collect(),
        reason: request.reason.unwrap_or_default(),
        id_required: version >= 4,
        can_skip_assignment: version >= 9,
    }
}

/// Who reads committed offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    pub(crate) member_id: Option<&'a StrBytes>,
    /// -1 for those who are no members of the new protocol.
    pub(crate) epoch: i32,
    /// Whether offsets that an open transaction is about to change are held back.
    pub(crate) stable: bool,
}

impl Groups {
    pub(crate) async fn join(
        &self,
        client: &Client,
        request: JoinGroupRequest,
        version: i16,
    ) -> JoinGroupResponse {
        let id = request.group_id.clone();
        let member_id = request.member_id.clone();
        if id.is_empty() {
            return join::refused(member_id, ResponseError::InvalidGroupId);
        }
        if !self
            .limits
            .session_timeout_ms
            .contains(&request.session_timeout_ms)
        {
            return join::refused(member_id, ResponseError::InvalidSessionTimeout);
        }
        let (waiter, answer) = oneshot::channel();
        let join = join_of(client, request, version);
        let create = member_id.is_empty();
        let known = self.act(&id, create, |group, turn| group.join(join, waiter, turn));
        match (known, answer.await) {
            (Some(()), Ok(response)) => response,
            // The member has joined again on another connection.
            (Some(()), Err(_)) => join::refused(member_id, ResponseError::RebalanceInProgress),
            (None, _) => join::refused(member_id, self.absent(ResponseError::UnknownMemberId)),
        }
    }

    /// Why there is no such group.
    fn absent(&self, code: ResponseError) -> ResponseError {
        match self.lock().stopping {
            true => ResponseError::NotCoordinator,
            false => code,
        }
    }

    pub(crate) async fn sync(&self, request: SyncGroupRequest) -> SyncGroupResponse {
        let id = request.group_id.clone();
        if id.is_empty() {
            return sync::refused(ResponseError::InvalidGroupId);
        }
        let (waiter, answer) = oneshot::channel();
        let known = self.act(&id, false, |group, turn| group.sync(request, waiter, turn));
        match (known, answer.await) {
            (Some(()), Ok(response)) => response,
            (Some(()), Err(_)) => sync::refused(ResponseError::RebalanceInProgress),
            (None, _) => sync::refused(self.absent(ResponseError::UnknownMemberId)),
        }
    }

    pub(crate) fn heartbeat(&self, request: &HeartbeatRequest) -> Result<(), ResponseError> {
        let id = &request.group_id;
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let beat = self.act(id, false, |group, turn| group.heartbeat(request, turn));
        beat.unwrap_or_else(|| Err(self.absent(ResponseError::UnknownMemberId)))
    }

    pub(crate) fn leave(
        &self,
        request: LeaveGroupRequest,
    ) -> Result<Vec<MemberResponse>, ResponseError> {
        let id = request.group_id;
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let leaving = request.members;
        let left = self.act(&id, false, |group, turn| group.leave(leaving.clone(), turn));
        if let Some(responses) = left {
            return Ok(responses);
        }
        match self.absent(ResponseError::UnknownMemberId) {
            ResponseError::UnknownMemberId => {
                let unknown = ResponseError::UnknownMemberId.code();
                let responses = leaving.into_iter().map(|one| {
                    MemberResponse::default()
                        .with_member_id(one.member_id)
                        .with_group_instance_id(one.group_instance_id)
                        .with_error_code(unknown)
                });
                Ok(responses.collect())
            }
            code => Err(code),
        }
    }

    /// Commits the offsets of all partitions that `exists` knows; the others are refused one by one.
    pub(crate) fn offset_commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        exists: impl Fn(&TopicName, i32) -> bool,
    ) -> Vec<OffsetCommitResponseTopic> {
        self.judge(request, exists, |commits| {
            self.commit(request, version, commits)
        })
    }

    /// Has `store` take the offsets of all partitions that `exists` knows, all or none; the others are refused one by one.
    pub(crate) fn judge(
        &self,
        request: &OffsetCommitRequest,
        exists: impl Fn(&TopicName, i32) -> bool,
        store: impl FnOnce(Commits) -> Result<(), ResponseError>,
    ) -> Vec<OffsetCommitResponseTopic> {
        let verdict = |topic: &TopicName, partition: &OffsetCommitRequestPartition| {
            let metadata = partition.committed_metadata.as_ref();
            if !exists(topic, partition.partition_index) {
                ResponseError::UnknownTopicOrPartition.code()
            } else if metadata.is_some_and(|text| self.is_too_long(text)) {
                ResponseError::OffsetMetadataTooLarge.code()
            } else {
                0
            }
        };
        let mut topics: Vec<OffsetCommitResponseTopic> = request
            .topics
            .iter()
            .map(|topic| {
                let partitions = topic.partitions.iter().map(|partition| {
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(verdict(&topic.name, partition))
                });
                OffsetCommitResponseTopic::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            })
            .collect();
        let commits = self.commits(request, &topics);
        if !commits.is_empty()
            && let Err(code) = store(commits)
        {
            let partitions = topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for partition in partitions.filter(|one| one.error_code == 0) {
                partition.error_code = code.code();
            }
        }
        topics
    }

    /// Kafka counts as Java does, in units of UTF-16.
    fn is_too_long(&self, metadata: &StrBytes) -> bool {
        let most = self.limits.metadata_bytes;
        metadata.len() > most && metadata.encode_utf16().count() > most
    }

    /// What the verdicts let through.
    fn commits(
        &self,
        request: &OffsetCommitRequest,
        verdicts: &[OffsetCommitResponseTopic],
    ) -> Commits {
        let at_ms = self.clock.now_ms();
        let expires_at_ms = match request.retention_time_ms {
            -1 => None,
            retention_ms => Some(at_ms.saturating_add(retention_ms)),
        };
        let mut commits = Commits::new();
        for (topic, verdicts) in request.topics.iter().zip(verdicts) {
            let partitions = topic.partitions.iter().zip(&verdicts.partitions);
            let accepted = partitions.filter(|(_, verdict)| verdict.error_code == 0);
            let accepted: Vec<(i32, Committed)> = accepted
                .map(|(partition, _)| {
                    let committed = Committed {
                        offset: partition.committed_offset,
                        leader_epoch: partition.committed_leader_epoch,
                        metadata: partition
                            .committed_metadata
                            .as_ref()
                            .map_or(StrBytes::new(), own),
                        at_ms,
                        expires_at_ms,
                    };
                    (partition.partition_index, committed)
                })
                .collect();
            if !accepted.is_empty() {
                commits.push((TopicName(own(&topic.name)), accepted));
            }
        }
        commits
    }

    /// Answers when the commits are stored, all or none.
    fn commit(
        &self,
        request: &OffsetCommitRequest,
        version: i16,
        commits: Commits,
    ) -> Result<(), ResponseError> {
        let id = &request.group_id;
        let generation = request.generation_id_or_member_epoch;
        let now = self.now();
        let mut guard = self.lock();
        let shared = &mut *guard;
        if shared.stopping {
            return Err(ResponseError::NotCoordinator);
        }
        if !shared.groups.contains_key(id) {
            match (generation, version) {
                // Someone who is no member keeps its offsets here: the group is made for them.
                (..0, _) => shared.create(id, now),
                (_, ..9) => return Err(ResponseError::IllegalGeneration),
                _ => return Err(ResponseError::GroupIdNotFound),
            }
        }
        let stored = shared.commit(request, version, commits, now);
        shared.tidy(id);
        drop(guard);
        // The disk is waited for without the lock, so that others' records share the wait.
        let written = stored?;
        written.settle().map_err(Unwritten::code)
    }

    /// What a group has committed. To a stable reader an offset that an open transaction is about to change is held back.
    pub(crate) fn offset_fetch(
        &self,
        id: &GroupId,
        topics: Option<&[OffsetFetchRequestTopics]>,
        reader: &Reader<'_>,
    ) -> Result<Vec<OffsetFetchResponseTopics>, ResponseError> {
        let shared = self.lock();
        if shared.stopping {
            return Err(ResponseError::NotCoordinator);
        }
        let stable = reader.stable;
        let group = shared.groups.get(id);
        if let Some(group) = group {
            group.check_fetch(reader.member_id, reader.epoch)?;
        }
        let topics = match topics {
            Some(topics) => topics
                .iter()
                .map(|topic| fetched(group, &topic.name, &topic.partition_indexes, stable))
                .collect(),
            None => group.map_or(Vec::new(), |group| {
                let known = group.offsets.topics();
                known
                    .map(|topic| {
                        fetched(Some(group), topic, &group.offsets.partitions(topic), stable)
                    })
                    .collect()
            }),
        };
        Ok(topics)
    }

    /// Deletes offsets of partitions that `exists` knows and the group does not read.
    pub(crate) fn offset_delete(
        &self,
        request: OffsetDeleteRequest,
        exists: impl Fn(&TopicName, i32) -> bool,
    ) -> Result<Vec<OffsetDeleteResponseTopic>, ResponseError> {
        let id = request.group_id;
        if id.is_empty() {
            return Err(ResponseError::InvalidGroupId);
        }
        let mut guard = self.lock();
        let shared = &mut *guard;
        let group = shared.groups.get(&id);
        let group = group.ok_or(ResponseError::GroupIdNotFound)?;
        group.check_offset_delete()?;
        let mut places = Vec::new();
        let mut responses = Vec::new();
        for topic in request.topics {
            let in_use = group.reads(&topic.name);
            let mut gone = Vec::new();
            let partitions = topic.partitions.iter().map(|partition| {
                let index = partition.partition_index;
                let code = if !exists(&topic.name, index) {
                    ResponseError::UnknownTopicOrPartition.code()
                } else if in_use {
                    ResponseError::GroupSubscribedToTopic.code()
                } else {
                    gone.push(index);
                    0
                };
                OffsetDeleteResponsePartition::default()
                    .with_partition_index(index)
                    .with_error_code(code)
            });
            let partitions = partitions.collect();
            places.push((topic.name.clone(), gone));
            responses.push(
                OffsetDeleteResponseTopic::default()
                    .with_name(topic.name)
                    .with_partitions(partitions),
            );
        }
        shared.forget(&id, &places).map_err(Unwritten::code)?;
        Ok(responses)
    }

    /// All groups whose state is one of `states` and whose type one of `types`; empty lists let all through.
    pub(crate) fn list(&self, states: &[StrBytes], types: &[StrBytes]) -> Vec<ListedGroup> {
        let wanted = |filter: &[StrBytes], value: &str| {
            let same = |one: &StrBytes| one.trim().eq_ignore_ascii_case(value);
            filter.is_empty() || filter.iter().any(same)
        };
        let shared = self.lock();
        let groups = shared.groups.values();
        let mut listed: Vec<ListedGroup> = groups
            .filter(|group| wanted(states, group.state()) && wanted(types, group.type_name()))
            .map(Group::listed)
            .collect();
        listed.sort_by(|one, other| one.group_id.cmp(&other.group_id));
        listed
    }

    /// A group as it is now, if there is one.
    pub(crate) fn describe(&self, id: &GroupId) -> Result<DescribedGroup, Refused> {
        let not_found = |text: String| Err(Refused::new(ResponseError::GroupIdNotFound, text));
        match self.lock().groups.get(id).map(|group| &group.kind) {
            Some(Kind::Classic(group)) => Ok(group.described()),
            Some(Kind::Consumer(_)) => {
                not_found(format!("Group {} is not a classic group.", id.as_str()))
            }
            None => not_found(format!("Group {} not found.", id.as_str())),
        }
    }

    /// A group of the new protocol as it is now.
    pub(crate) fn describe_consumers(
        &self,
        id: &GroupId,
    ) -> Result<consumer_group_describe_response::DescribedGroup, Refused> {
        let not_found = |text: String| Err(Refused::new(ResponseError::GroupIdNotFound, text));
        match self.lock().groups.get(id).map(|group| &group.kind) {
            Some(Kind::Consumer(group)) => Ok(group.described(self.topics.as_ref())),
            Some(Kind::Classic(_)) => {
                not_found(format!("Group {} is not a consumer group.", id.as_str()))
            }
            None => not_found(format!("Group {} not found.", id.as_str())),
        }
    }

    /// A heartbeat of the new protocol.
    pub(crate) fn consumer_heartbeat(&self, id: &GroupId, beat: &Beat) -> Result<Heard, Refused> {
        let heard = self.act(id, beat.epoch == 0, |group, turn| {
            group.consumer_heartbeat(beat, turn)
        });
        heard.unwrap_or_else(|| {
            let text = format!("Consumer group {} not found.", id.as_str());
            Err(Refused::new(
                self.absent(ResponseError::GroupIdNotFound),
                text,
            ))
        })
    }

    pub(crate) fn delete(&self, id: &GroupId) -> Result<(), ResponseError> {
        let mut shared = self.lock();
        let group = shared.groups.get(id);
        let group = group.ok_or(ResponseError::GroupIdNotFound)?;
        group.check_delete()?;
        shared.remove(id).map_err(Unwritten::code)
    }
}

impl Shared {
    fn commit(
        &mut self,
        request: &OffsetCommitRequest,
        version: i16,
        commits: Commits,
        now: Moment,
    ) -> Result<Written, ResponseError> {
        let id = &request.group_id;
        let group = self.groups.get_mut(id);
        let group = group.ok_or(ResponseError::GroupIdNotFound)?;
        group.check_commit(&Committer::of(request, version), now)?;
        let stored = self.ledger.commit(id, &commits);
        let written = stored.map_err(Unwritten::code)?;
        group.offsets.put(commits);
        Ok(written)
    }
}

fn fetched(
    group: Option<&Group>,
    topic: &TopicName,
    partitions: &[i32],
    stable: bool,
) -> OffsetFetchResponseTopics {
    let partitions = partitions.iter().map(|partition| {
        let found = group.and_then(|group| group.offsets.get(topic, *partition));
        let pending = group.is_some_and(|group| group.offsets.is_pending(topic, *partition));
        let response = OffsetFetchResponsePartitions::default().with_partition_index(*partition);
        match found {
            _ if stable && pending => response
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1)
                .with_error_code(ResponseError::UnstableOffsetCommit.code()),
            Some(committed) => response
                .with_committed_offset(committed.offset)
                .with_committed_leader_epoch(committed.leader_epoch)
                .with_metadata(Some(committed.metadata.clone())),
            None => response
                .with_committed_offset(-1)
                .with_committed_leader_epoch(-1),
        }
    });
    OffsetFetchResponseTopics::default()
        .with_name(topic.clone())
        .with_partitions(partitions.collect())
}
