//! The coordinator of one group, by the rules of Kafka's `GroupCoordinator` for the classic protocol.
//!
//! It notes each commit that it accepts for a partition of which, by its own books, another member is the owner, and each that takes a position back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError as Code;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::super::protocol::{Partitions, decode_assignment};
use crate::clock::Time;
use crate::wire::api::{Call, Reply};

pub(super) const SESSION: Duration = Duration::from_millis(1000);
pub(super) const REBALANCE: Duration = Duration::from_millis(2000);

/// Who waits for an answer: the member's number in the world, and its request.
pub(super) type Asker = (usize, u64);

#[derive(Debug, Default)]
struct Member {
    metadata: Bytes,
    joining: Option<Asker>,
    syncing: Option<Asker>,
    assignment: Bytes,
    heard: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Empty,
    Preparing(Time),
    Completing,
    Stable,
}

#[derive(Debug)]
pub(super) struct Coordinator {
    phase: Phase,
    pub(super) generation: i32,
    leader: String,
    members: BTreeMap<String, Member>,
    invited: BTreeSet<String>,
    ids: u32,
    pub(super) answers: Vec<(Asker, Reply)>,
    /// Commits that were accepted from a member that was not assigned the partition.
    pub(super) wrong: Vec<String>,
    pub(super) commits: u32,
    offsets: BTreeMap<(String, i32), i64>,
}

impl Coordinator {
    pub(super) fn new() -> Self {
        Self {
            phase: Phase::Empty,
            generation: 0,
            leader: String::new(),
            members: BTreeMap::new(),
            invited: BTreeSet::new(),
            ids: 0,
            answers: Vec::new(),
            wrong: Vec::new(),
            commits: 0,
            offsets: BTreeMap::new(),
        }
    }

    pub(super) fn is_stable(&self) -> bool {
        self.phase == Phase::Stable
    }

    pub(super) fn serve(&mut self, asker: Asker, call: &Call, now: Time) {
        match call {
            Call::JoinGroup(request) => self.join(asker, request, now),
            Call::SyncGroup(request) => self.sync(asker, request, now),
            Call::Heartbeat(request) => {
                let id = request.member_id.as_str();
                let code = match (self.check(id, request.generation_id), self.phase) {
                    (None, Phase::Preparing(_)) => Some(Code::RebalanceInProgress),
                    (code, _) => code,
                };
                if let Some(member) = self.members.get_mut(id) {
                    member.heard = now;
                }
                let reply = HeartbeatResponse::default().with_error_code(number(code));
                self.answers.push((asker, Reply::Heartbeat(reply)));
            }
            Call::LeaveGroup(request) => self.leave(asker, request, now),
            Call::OffsetCommit(request) => self.commit(asker, request, now),
            Call::OffsetFetch(request) => self.fetch(asker, request),
            call => panic!("a request that nobody serves: {call:?}"),
        }
    }

    fn check(&self, id: &str, generation: i32) -> Option<Code> {
        if !self.members.contains_key(id) {
            return Some(Code::UnknownMemberId);
        }
        (generation != self.generation).then_some(Code::IllegalGeneration)
    }

    fn join(&mut self, asker: Asker, request: &JoinGroupRequest, now: Time) {
        let id = request.member_id.to_string();
        let refused = if id.is_empty() {
            self.ids += 1;
            let id = format!("member-{}", self.ids);
            self.invited.insert(id.clone());
            Some((Code::MemberIdRequired, id))
        } else if !self.members.contains_key(&id) && !self.invited.remove(&id) {
            Some((Code::UnknownMemberId, id.clone()))
        } else {
            None
        };
        if let Some((code, id)) = refused {
            let reply = JoinGroupResponse::default()
                .with_error_code(code.code())
                .with_member_id(StrBytes::from_string(id));
            self.answers.push((asker, Reply::JoinGroup(reply)));
            return;
        }
        let member = self.members.entry(id).or_default();
        member.metadata = request.protocols[0].metadata.clone();
        member.joining = Some(asker);
        member.heard = now;
        self.prepare(now);
        self.complete(now);
    }

    fn prepare(&mut self, now: Time) {
        if let Phase::Preparing(_) = self.phase {
            return;
        }
        self.phase = Phase::Preparing(now + REBALANCE);
        let waiting = self
            .members
            .values_mut()
            .filter_map(|one| one.syncing.take());
        for asker in waiting {
            let reply =
                SyncGroupResponse::default().with_error_code(Code::RebalanceInProgress.code());
            self.answers.push((asker, Reply::SyncGroup(reply)));
        }
    }

    /// Ends the join when everybody is there, or has had the time.
    fn complete(&mut self, now: Time) {
        let Phase::Preparing(deadline) = self.phase else {
            return;
        };
        if now >= deadline {
            self.members.retain(|_, one| one.joining.is_some());
        }
        if self.members.values().any(|one| one.joining.is_none()) {
            return;
        }
        self.generation += 1;
        if self.members.is_empty() {
            self.phase = Phase::Empty;
            return;
        }
        self.phase = Phase::Completing;
        if !self.members.contains_key(&self.leader) {
            self.leader = self.members.keys().next().cloned().unwrap();
        }
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let all: Vec<_> = self
            .members
            .iter()
            .map(|(id, one)| {
                JoinGroupResponseMember::default()
                    .with_member_id(text(id))
                    .with_metadata(one.metadata.clone())
            })
            .collect();
        for (id, member) in &mut self.members {
            member.assignment = Bytes::new();
            member.heard = now;
            let reply = JoinGroupResponse::default()
                .with_generation_id(self.generation)
                .with_member_id(text(id))
                .with_leader(text(&self.leader))
                .with_members(if *id == self.leader {
                    all.clone()
                } else {
                    Vec::new()
                });
            let asker = member.joining.take().unwrap();
            self.answers.push((asker, Reply::JoinGroup(reply)));
        }
    }

    fn sync(&mut self, asker: Asker, request: &SyncGroupRequest, now: Time) {
        let id = request.member_id.to_string();
        let code = match (self.check(&id, request.generation_id), self.phase) {
            (None, Phase::Preparing(_)) => Some(Code::RebalanceInProgress),
            (code, _) => code,
        };
        if let Some(code) = code {
            let reply = SyncGroupResponse::default().with_error_code(code.code());
            self.answers.push((asker, Reply::SyncGroup(reply)));
            return;
        }
        let member = self.members.get_mut(&id).unwrap();
        member.heard = now;
        member.syncing = Some(asker);
        if self.phase == Phase::Completing && id == self.leader {
            for assigned in &request.assignments {
                if let Some(member) = self.members.get_mut(assigned.member_id.as_str()) {
                    member.assignment = assigned.assignment.clone();
                }
            }
            self.phase = Phase::Stable;
        }
        if self.phase == Phase::Stable {
            for member in self.members.values_mut() {
                if let Some(asker) = member.syncing.take() {
                    let reply =
                        SyncGroupResponse::default().with_assignment(member.assignment.clone());
                    self.answers.push((asker, Reply::SyncGroup(reply)));
                }
            }
        }
    }

    fn leave(&mut self, asker: Asker, request: &LeaveGroupRequest, now: Time) {
        for member in &request.members {
            if self.members.remove(member.member_id.as_str()).is_some() {
                self.prepare(now);
                self.complete(now);
            }
        }
        let reply = LeaveGroupResponse::default();
        self.answers.push((asker, Reply::LeaveGroup(reply)));
    }

    fn commit(&mut self, asker: Asker, request: &OffsetCommitRequest, now: Time) {
        let id = request.member_id.as_str();
        let generation = request.generation_id_or_member_epoch;
        let code = match (self.check(id, generation), self.phase) {
            (None, Phase::Completing) => Some(Code::RebalanceInProgress),
            (code, _) => code,
        };
        if let Some(member) = self.members.get_mut(id) {
            member.heard = now;
        }
        let committed = request.topics.iter().flat_map(|topic| {
            let name = topic.name.0.to_string();
            topic
                .partitions
                .iter()
                .map(move |one| (name.clone(), one.partition_index, one.committed_offset))
        });
        if code.is_none() {
            self.commits += 1;
            let assigned: Partitions = decode_assignment(&self.members[id].assignment).unwrap();
            // A cooperative member commits what it was assigned in the generation before, while it gives it up.
            let others = self.members.iter().filter(|(other, _)| *other != id);
            for (topic, partition, offset) in committed {
                let place = (topic.clone(), partition);
                let before = self.offsets.insert(place, offset).unwrap_or(0);
                if offset < before {
                    self.wrong.push(format!(
                        "{id} took {topic} {partition} back from {before} to {offset}"
                    ));
                }
                let holds = |assigned: &Partitions| {
                    assigned
                        .get(&topic)
                        .is_some_and(|numbers| numbers.contains(&partition))
                };
                let by_another = others
                    .clone()
                    .any(|(_, other)| holds(&decode_assignment(&other.assignment).unwrap()));
                if by_another && !holds(&assigned) {
                    self.wrong
                        .push(format!("{id} committed {topic} {partition} of another"));
                }
            }
        }
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|one| {
                OffsetCommitResponsePartition::default()
                    .with_partition_index(one.partition_index)
                    .with_error_code(number(code))
            });
            OffsetCommitResponseTopic::default()
                .with_name(topic.name.clone())
                .with_partitions(partitions.collect())
        });
        let reply = OffsetCommitResponse::default().with_topics(topics.collect());
        self.answers.push((asker, Reply::OffsetCommit(reply)));
    }

    fn fetch(&mut self, asker: Asker, request: &OffsetFetchRequest) {
        let groups = request.groups.iter().map(|group| {
            let topics = group.topics.iter().flatten().map(|topic| {
                let name = topic.name.0.to_string();
                let partitions = topic.partition_indexes.iter().map(|number| {
                    let found = self.offsets.get(&(name.clone(), *number));
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(*number)
                        .with_committed_offset(found.copied().unwrap_or(-1))
                });
                OffsetFetchResponseTopics::default()
                    .with_name(topic.name.clone())
                    .with_partitions(partitions.collect())
            });
            OffsetFetchResponseGroup::default().with_topics(topics.collect())
        });
        let reply = OffsetFetchResponse::default().with_groups(groups.collect());
        self.answers.push((asker, Reply::OffsetFetch(reply)));
    }

    /// Time passes: members that are not heard are removed.
    pub(super) fn tick(&mut self, now: Time) {
        let waits = |one: &Member| one.joining.is_some() || one.syncing.is_some();
        let before = self.members.len();
        self.members
            .retain(|_, one| waits(one) || now < one.heard + SESSION);
        if self.members.len() < before {
            self.prepare(now);
        }
        self.complete(now);
    }

    /// The connection of a member is gone; nobody waits there any more.
    pub(super) fn disconnected(&mut self, who: usize) {
        for member in self.members.values_mut() {
            for waiting in [&mut member.joining, &mut member.syncing] {
                if waiting.is_some_and(|asker| asker.0 == who) {
                    *waiting = None;
                }
            }
        }
    }
}

fn number(code: Option<Code>) -> i16 {
    code.map_or(0, |code| code.code())
}
