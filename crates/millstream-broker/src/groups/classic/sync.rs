//! SyncGroup, Heartbeat, LeaveGroup, and whether a member may commit offsets.
//!
//! The leader's sync brings the assignment of all; it is stored before anybody learns of it. Every request of a
//! member names its generation, so that one that slept through a rebalance notices, and a static member is
//! refused as fenced when another process has taken its place.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{OffsetCommitRequest, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;

use super::join;
use super::member::Waiter;
use super::{Group, Moment, State, Turn};
use crate::alarms::NEVER;

/// The member that commits offsets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committer<'a> {
    pub(crate) member_id: &'a StrBytes,
    pub(crate) instance_id: Option<&'a StrBytes>,
    pub(crate) generation: i32,
    /// Whether the offsets are those of a transaction.
    pub(crate) transactional: bool,
    /// Whether the request may come from a member of the new protocol (version 9 on).
    pub(crate) knows_epochs: bool,
}

impl<'a> Committer<'a> {
    pub(crate) fn of(request: &'a OffsetCommitRequest, version: i16) -> Committer<'a> {
        Committer {
            member_id: &request.member_id,
            instance_id: request.group_instance_id.as_ref(),
            generation: request.generation_id_or_member_epoch,
            transactional: false,
            knows_epochs: version >= 9,
        }
    }
}

/// An answer that refuses.
pub(crate) fn refused(code: ResponseError) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(code.code())
}

impl Group {
    /// A member asks for its assignment; the leader brings those of all.
    pub(crate) fn sync(
        &mut self,
        request: SyncGroupRequest,
        waiter: Waiter<SyncGroupResponse>,
        turn: &mut Turn<'_>,
    ) {
        if let Err(code) = self.check_sync(&request) {
            waiter.send(refused(code)).ok();
            return;
        }
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.owes_sync = false;
        }
        if !self.members.values().any(|member| member.owes_sync) {
            self.sync_deadline = NEVER;
        }
        if self.state == State::Stable {
            waiter.send(self.assigned(&request.member_id)).ok();
            return;
        }
        let leads = self.is_leader(&request.member_id);
        if let Some(member) = self.members.get_mut(&request.member_id) {
            member.syncing = Some(waiter);
        }
        if leads {
            self.assign(request, turn);
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ResponseError> {
        self.validate(&request.member_id, request.group_instance_id.as_ref())?;
        let differs = |said: &Option<StrBytes>, own: &Option<StrBytes>| {
            said.is_some() && own.is_some() && said != own
        };
        if request.generation_id != self.generation {
            Err(ResponseError::IllegalGeneration)
        } else if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol_name, &self.protocol)
        {
            Err(ResponseError::InconsistentGroupProtocol)
        } else if self.state == State::PreparingRebalance {
            Err(ResponseError::RebalanceInProgress)
        } else {
            Ok(())
        }
    }

    fn assign(&mut self, request: SyncGroupRequest, turn: &mut Turn<'_>) {
        let mut assignments: BTreeMap<StrBytes, Bytes> = request
            .assignments
            .into_iter()
            .map(|one| (one.member_id, one.assignment))
            .collect();
        for member in self.members.values_mut() {
            let assignment = assignments.remove(&member.id).unwrap_or_default();
            member.assignment = Bytes::copy_from_slice(&assignment);
        }
        match turn.store.save(self) {
            Ok(()) => {
                self.enter(State::Stable, turn.now);
                self.hand_out(turn.now);
            }
            Err(unwritten) => {
                self.take_assignments_back(unwritten.code(), turn.now);
                self.rebalance(turn);
            }
        }
    }

    fn assigned(&self, member_id: &StrBytes) -> SyncGroupResponse {
        let member = self.members.get(member_id);
        SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.clone())
            .with_protocol_name(self.protocol.clone())
            .with_assignment(member.map_or(Bytes::new(), |member| member.assignment.clone()))
    }

    /// Answers all parked syncs. Their sessions start anew, for what ended while they waited was not counted.
    fn hand_out(&mut self, now: Moment) {
        let answers: Vec<_> = self.members.keys().map(|id| self.assigned(id)).collect();
        for (member, answer) in self.members.values_mut().zip(answers) {
            if member.answer_sync(answer) {
                member.touch(now.steady);
            }
        }
    }

    pub(super) fn take_assignments_back(&mut self, code: ResponseError, now: Moment) {
        for member in self.members.values_mut() {
            member.assignment = Bytes::new();
            if member.answer_sync(refused(code)) {
                member.touch(now.steady);
            }
        }
    }

    /// A member shows that it lives, and hears whether it has to join again.
    pub(crate) fn heartbeat(
        &mut self,
        member_id: &StrBytes,
        instance_id: Option<&StrBytes>,
        generation: i32,
        now: Moment,
    ) -> Result<(), ResponseError> {
        self.validate(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        self.touch(member_id, now);
        match self.state {
            State::PreparingRebalance => Err(ResponseError::RebalanceInProgress),
            _ => Ok(()),
        }
    }

    fn touch(&mut self, member_id: &StrBytes, now: Moment) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.touch(now.steady);
        }
    }

    /// Members leave, or are sent away by the instance id that an operator names.
    pub(crate) fn leave(
        &mut self,
        leaving: Vec<MemberIdentity>,
        turn: &mut Turn<'_>,
    ) -> Vec<MemberResponse> {
        let mut someone_left = false;
        let mut responses = Vec::with_capacity(leaving.len());
        for one in leaving {
            let left = self.let_go(&one);
            someone_left |= left.is_ok();
            responses.push(
                MemberResponse::default()
                    .with_error_code(left.err().map_or(0, |code| code.code()))
                    .with_member_id(one.member_id)
                    .with_group_instance_id(one.group_instance_id),
            );
        }
        if someone_left {
            match self.state {
                State::Stable | State::CompletingRebalance => self.rebalance(turn),
                State::PreparingRebalance => self.complete_if_all_joined(turn),
                State::Empty => {}
            }
        }
        responses
    }

    fn let_go(&mut self, one: &MemberIdentity) -> Result<(), ResponseError> {
        let unknown = ResponseError::UnknownMemberId;
        if self.pending.remove(&one.member_id).is_some() {
            return Ok(());
        }
        let id = if one.member_id.is_empty() {
            let instance_id = one.group_instance_id.as_ref().ok_or(unknown)?;
            self.statics.get(instance_id).cloned().ok_or(unknown)?
        } else {
            self.validate(&one.member_id, one.group_instance_id.as_ref())?;
            one.member_id.clone()
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.answer_join(join::refused(StrBytes::new(), unknown));
            member.answer_sync(refused(unknown));
        }
        let reason = one.reason.as_ref().map_or("", StrBytes::as_str);
        tracing::debug!(
            group = self.id.as_str(),
            member = id.as_str(),
            reason,
            "member leaves"
        );
        self.remove(&id);
        Ok(())
    }

    /// Whether offsets may be committed in this name; if so, it also shows that the member lives.
    ///
    /// Without generation, member and instance the committer is no member: fine as long as the group has none, or within a
    /// transaction, which has its own fence.
    pub(crate) fn check_commit(
        &mut self,
        committer: &Committer<'_>,
        now: Moment,
    ) -> Result<(), ResponseError> {
        let Committer {
            member_id,
            instance_id,
            generation,
            transactional,
            knows_epochs: _,
        } = *committer;
        if generation < 0 && self.state == State::Empty {
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return match transactional {
                true => Ok(()),
                false => Err(ResponseError::UnknownMemberId),
            };
        }
        self.validate(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ResponseError::IllegalGeneration);
        }
        if self.state == State::CompletingRebalance && !transactional {
            return Err(ResponseError::RebalanceInProgress);
        }
        self.touch(member_id, now);
        Ok(())
    }
}
