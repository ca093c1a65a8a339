//! JoinGroup: who may come in, under which id, and whether the group has to rebalance for it.
//!
//! A dynamic member without id is first given one and told to come again (since version 4), so that a client that lost its
//! answer does not leave a member behind. A static member that comes back without id takes the place of its
//! predecessor, whose id is fenced from then on; a stable group whose protocol stays the same does not rebalance for it.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::JoinGroupResponse;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::member::{Join, Member, Waiter};
use super::{Gathering, Group, NEW_MEMBER_TIMEOUT_MS, State, Turn};

type Joining = Waiter<JoinGroupResponse>;

/// An answer that refuses.
pub(crate) fn refused(member_id: StrBytes, code: ResponseError) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_member_id(member_id)
        .with_protocol_name(None)
        .with_error_code(code.code())
}

fn refuse(waiter: Joining, member_id: StrBytes, code: ResponseError) {
    waiter.send(refused(member_id, code)).ok();
}

impl Group {
    /// A client wants to be a member, or a member joins again.
    pub(crate) fn join(&mut self, join: Join, waiter: Joining, turn: &mut Turn<'_>) {
        if !self.has_room_for(&join.member_id, turn.rules.max_size) {
            self.remove(&join.member_id);
            refuse(waiter, StrBytes::new(), ResponseError::GroupMaxSizeReached);
            self.complete_if_all_joined(turn);
        } else if !self.accepts_protocols(&join) {
            refuse(
                waiter,
                join.member_id,
                ResponseError::InconsistentGroupProtocol,
            );
        } else if join.member_id.is_empty() {
            self.join_without_id(join, waiter, turn);
        } else if self.pending.contains_key(&join.member_id) {
            if join.instance_id.is_some() {
                // Ids are handed out in advance to dynamic members only.
                return refuse(waiter, join.member_id, ResponseError::UnknownMemberId);
            }
            self.add(join.member_id.clone(), join, waiter, turn);
        } else {
            match self.validate(&join.member_id, join.instance_id.as_ref()) {
                Ok(()) => self.join_again(join, waiter, turn),
                Err(code) => refuse(waiter, join.member_id, code),
            }
        }
    }

    /// In a rebalance, those who wait count, so that the last ones to come are turned away; otherwise the members.
    fn has_room_for(&self, member_id: &StrBytes, max_size: usize) -> bool {
        let known = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waiting = self.members.values().filter(|one| one.joining.is_some());
                known.is_some_and(|member| member.joining.is_some()) || waiting.count() < max_size
            }
            State::CompletingRebalance | State::Stable => {
                known.is_some() || self.members.len() < max_size
            }
        }
    }

    fn accepts_protocols(&self, join: &Join) -> bool {
        if self.state == State::Empty {
            return !join.protocol_type.is_empty() && !join.protocols.is_empty();
        }
        self.protocol_type.as_ref() == Some(&join.protocol_type)
            && join
                .protocols
                .iter()
                .any(|protocol| self.supported_by_all(&protocol.name))
    }

    fn join_without_id(&mut self, join: Join, waiter: Joining, turn: &mut Turn<'_>) {
        let named_after = join.instance_id.as_ref().unwrap_or(&join.client_id);
        let id = StrBytes::from_string(format!("{}-{}", named_after.as_str(), Uuid::new_v4()));
        let predecessor = join
            .instance_id
            .as_ref()
            .and_then(|instance_id| self.statics.get(instance_id).cloned());
        if let Some(predecessor) = predecessor {
            self.replace(&predecessor, id, join, waiter, turn);
        } else if join.id_required && join.instance_id.is_none() {
            let deadline = turn.now.steady + i64::from(join.session_timeout_ms);
            self.pending.insert(id.clone(), deadline);
            refuse(waiter, id, ResponseError::MemberIdRequired);
        } else {
            self.add(id, join, waiter, turn);
        }
    }

    fn add(&mut self, id: StrBytes, join: Join, waiter: Joining, turn: &mut Turn<'_>) {
        if let Some(Gathering::Initial { someone_came, .. }) = &mut self.gathering {
            *someone_came = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(join.protocol_type.clone());
        }
        let reason = join.reason.clone();
        let mut member = Member::new(id, join);
        member.joining = Some(waiter);
        member.is_new = true;
        // It cannot send heartbeats before it knows its id.
        member.expires_at = turn.now.steady + NEW_MEMBER_TIMEOUT_MS;
        tracing::debug!(
            group = self.id.as_str(),
            member = member.id.as_str(),
            reason = reason.as_str(),
            "member joins"
        );
        self.insert(member);
        self.rebalance(turn);
    }

    fn join_again(&mut self, join: Join, waiter: Joining, turn: &mut Turn<'_>) {
        let leads = self.is_leader(&join.member_id);
        let Some(member) = self.members.get_mut(&join.member_id) else {
            return refuse(waiter, join.member_id, ResponseError::UnknownMemberId);
        };
        let unchanged = member.protocols == join.protocols;
        let answer_at_once = match self.state {
            // It may not have got the answer to its last join.
            State::CompletingRebalance => unchanged,
            // A leader that joins knows of a reason that members' metadata do not show, such as new partitions.
            State::Stable => unchanged && !leads,
            State::PreparingRebalance => false,
            State::Empty => {
                return refuse(waiter, join.member_id, ResponseError::UnknownMemberId);
            }
        };
        if answer_at_once {
            waiter.send(self.joined(&join.member_id)).ok();
            return;
        }
        tracing::debug!(
            group = self.id.as_str(),
            member = join.member_id.as_str(),
            reason = join.reason.as_str(),
            "member joins again"
        );
        member.update(join, waiter);
        self.rebalance(turn);
    }

    /// A static member comes back under a new id.
    fn replace(
        &mut self,
        old_id: &StrBytes,
        new_id: StrBytes,
        join: Join,
        waiter: Joining,
        turn: &mut Turn<'_>,
    ) {
        let Some(mut old) = self.members.remove(old_id) else {
            return refuse(waiter, join.member_id, ResponseError::UnknownMemberId);
        };
        let was_leader = self.is_leader(old_id);
        let can_skip = join.can_skip_assignment;
        let fenced = ResponseError::FencedInstanceId;
        old.answer_join(refused(old_id.clone(), fenced));
        old.answer_sync(super::sync::refused(fenced));
        let mut new = Member::new(new_id.clone(), join);
        // As Kafka has it, the place keeps showing the client that first took it.
        new.client_id = old.client_id.clone();
        new.client_host = old.client_host.clone();
        new.assignment = old.assignment.clone();
        new.joining = Some(waiter);
        new.touch(turn.now.steady);
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        self.insert(new);
        match self.state {
            State::Stable if self.elect_protocol() == self.protocol => {
                self.keep_assignment(old, was_leader, can_skip, &new_id, turn);
            }
            // The leader may already assign to the old id, so that its assignment is no use any more.
            State::Stable | State::CompletingRebalance => self.rebalance(turn),
            State::PreparingRebalance | State::Empty => self.complete_if_all_joined(turn),
        }
    }

    /// Hands the place of a static member to its successor without a rebalance.
    fn keep_assignment(
        &mut self,
        old: Member,
        was_leader: bool,
        can_skip: bool,
        new_id: &StrBytes,
        turn: &mut Turn<'_>,
    ) {
        let old_id = old.id.clone();
        let saved = turn.store.save(self);
        let mut response = self.joined(new_id);
        if let Err(unwritten) = saved {
            response = refused(StrBytes::new(), unwritten.code());
        } else if can_skip {
            response.skip_assignment = was_leader;
        } else if was_leader {
            // A leader of an older version would assign, to no effect: it is told that its old self leads.
            response.leader = old_id.clone();
            response.members = Vec::new();
        }
        if let Some(new) = self.members.get_mut(new_id) {
            new.answer_join(response);
        }
        if saved.is_err() {
            self.members.remove(new_id);
            if was_leader {
                self.leader = Some(old_id);
            }
            self.insert(old);
        }
    }

    /// The answer to a member's join: what the group is; for the leader, its members too.
    pub(super) fn joined(&self, member_id: &StrBytes) -> JoinGroupResponse {
        let members = match self.is_leader(member_id) {
            true => self
                .members
                .values()
                .map(|one| self.introduce(one))
                .collect(),
            false => Vec::new(),
        };
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(self.protocol.clone())
            .with_leader(self.leader.clone().unwrap_or_default())
            .with_member_id(member_id.clone())
            .with_members(members)
    }

    fn introduce(&self, member: &Member) -> JoinGroupResponseMember {
        JoinGroupResponseMember::default()
            .with_member_id(member.id.clone())
            .with_group_instance_id(member.instance_id.clone())
            .with_metadata(member.metadata(self.protocol.as_ref().map_or("", StrBytes::as_str)))
    }
}
