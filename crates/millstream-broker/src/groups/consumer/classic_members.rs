//! Members of the classic protocol in a group of the new one, on the way from one to the other.
//!
//! They are assigned by this broker like everybody else. Their generation is their epoch: a join makes a step of the reconciliation, a
//! sync fetches the assignment, and a heartbeat says when to join again. Nobody waits for others.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Group;
use super::heartbeat::{Entry, successor};
use super::member::{Classic, Member, State, each};
use crate::alarms::NEVER;
use crate::groups::classic::CONSUMER;
use crate::groups::classic::member::{Join, Protocol};
use crate::groups::embedded;
use crate::groups::group::Turn;

impl Group {
    /// A client of the classic protocol joins, or joins again.
    pub(crate) fn join(
        &mut self,
        join: Join,
        turn: &mut Turn<'_>,
    ) -> Result<JoinGroupResponse, ResponseError> {
        let is_new = join.member_id.is_empty();
        let id = match is_new {
            true => {
                let named_after = join.instance_id.as_ref().unwrap_or(&join.client_id);
                StrBytes::from_string(format!("{}-{}", named_after.as_str(), Uuid::new_v4()))
            }
            false => join.member_id.clone(),
        };
        self.check_room(&id, turn.rules.consumer.max_size)
            .map_err(|refused| refused.code)?;
        if !self.accepts(&join) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if is_new && join.id_required && join.instance_id.is_none() {
            let told = JoinGroupResponse::default()
                .with_member_id(id)
                .with_protocol_name(None)
                .with_error_code(ResponseError::MemberIdRequired.code());
            return Ok(told);
        }
        let unreadable = ResponseError::InconsistentGroupProtocol;
        let first = join.protocols.first().ok_or(unreadable)?;
        let protocol = first.name.clone();
        let told = embedded::subscription(&first.metadata, turn.topics).ok_or(unreadable)?;
        let was_removed = !is_new && !self.members.contains_key(&id);
        if was_removed && join.instance_id.is_none() && !told.owned.is_empty() {
            // What it still holds may be another's by now: it has to hear that it is no member.
            return Err(ResponseError::UnknownMemberId);
        }
        let mut entry = self.classic_entry(id, &join, is_new)?;
        let profile = &mut entry.member.profile;
        profile.client_id = join.client_id;
        profile.client_host = join.client_host;
        profile.instance_id = join.instance_id;
        profile.rebalance_timeout_ms = join.rebalance_timeout_ms;
        profile.rack_id = told.rack_id;
        profile.names = told.names;
        profile.pattern = StrBytes::new();
        profile.classic = Some(Classic {
            session_timeout_ms: join.session_timeout_ms,
            protocols: join.protocols,
        });
        let member = self.advance(entry, Some(&told.owned), turn);
        let member = member.map_err(|refused| refused.code)?;
        let now = turn.now.steady;
        self.touch(&member.id, now, &turn.rules.consumer);
        if let Some(timers) = self.timers.get_mut(&member.id) {
            timers.rejoin = NEVER;
            timers.sync = now.saturating_add(join.rebalance_timeout_ms.into());
        }
        let joined = JoinGroupResponse::default()
            .with_member_id(member.id)
            .with_generation_id(member.position.epoch)
            .with_protocol_type(Some(StrBytes::from_static_str(CONSUMER)))
            .with_protocol_name(Some(protocol));
        Ok(joined)
    }

    /// Whether a client knows an assignor that all other members of its protocol know.
    fn accepts(&self, join: &Join) -> bool {
        let known_by_all = |protocol: &Protocol| {
            let mut classic = self
                .members
                .values()
                .filter_map(|one| one.profile.classic.as_ref());
            classic.all(|one| {
                one.protocols
                    .iter()
                    .any(|known| known.name == protocol.name)
            })
        };
        join.protocol_type.as_str() == CONSUMER && join.protocols.iter().any(known_by_all)
    }

    fn classic_entry(
        &self,
        id: StrBytes,
        join: &Join,
        is_new: bool,
    ) -> Result<Entry, ResponseError> {
        let known = self.members.get(&id).cloned();
        let stays = |member: Member| Entry {
            member,
            replaces: None,
        };
        let Some(instance_id) = &join.instance_id else {
            return Ok(stays(known.unwrap_or_else(|| Member::new(id))));
        };
        let holder = self.statics.get(instance_id);
        match holder.and_then(|holder| self.members.get(holder)) {
            None if is_new => Ok(stays(Member::new(id))),
            None => Err(ResponseError::UnknownMemberId),
            Some(holder) if is_new => Ok(Entry {
                replaces: Some(holder.id.clone()),
                member: successor(holder.clone(), id),
            }),
            Some(holder) if holder.id != id => Err(ResponseError::FencedInstanceId),
            Some(holder) => Ok(stays(holder.clone())),
        }
    }

    /// A member of the classic protocol that a request names.
    fn classic_member(
        &self,
        member_id: &StrBytes,
        instance_id: Option<&StrBytes>,
    ) -> Result<(&Member, &Classic), ResponseError> {
        let member = self.find(member_id, instance_id);
        let member = member.map_err(|refused| refused.code)?;
        let classic = member.profile.classic.as_ref();
        let classic = classic.ok_or(ResponseError::UnknownMemberId)?;
        Ok((member, classic))
    }

    /// A member of the classic protocol asks for its assignment.
    pub(crate) fn sync(
        &mut self,
        request: &SyncGroupRequest,
        turn: &mut Turn<'_>,
    ) -> Result<SyncGroupResponse, ResponseError> {
        let id = &request.member_id;
        let (member, classic) = self.classic_member(id, request.group_instance_id.as_ref())?;
        let first = classic.protocols.first();
        let differs = |said: &Option<StrBytes>, is: Option<&str>| {
            said.as_ref().is_some_and(|said| Some(said.as_str()) != is)
        };
        if member.position.epoch != request.generation_id {
            return Err(ResponseError::IllegalGeneration);
        } else if differs(&request.protocol_type, Some(CONSUMER))
            || differs(
                &request.protocol_name,
                first.map(|first| first.name.as_str()),
            )
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        if self.epoch > member.position.epoch && member.position.state != State::Unrevoked {
            self.expect_rejoin(id, turn);
            return Err(ResponseError::RebalanceInProgress);
        }
        let metadata = first
            .map(|first| first.metadata.clone())
            .unwrap_or_default();
        let assigned = &member.position.assigned;
        let assignment = embedded::put_assignment(assigned, &metadata, turn.topics);
        self.touch(id, turn.now.steady, &turn.rules.consumer);
        if let Some(timers) = self.timers.get_mut(id) {
            timers.sync = NEVER;
        }
        let synced = SyncGroupResponse::default()
            .with_protocol_type(request.protocol_type.clone())
            .with_protocol_name(request.protocol_name.clone())
            .with_assignment(assignment);
        Ok(synced)
    }

    /// A member of the classic protocol shows that it lives, and hears whether it has to join again.
    pub(crate) fn classic_heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<(), ResponseError> {
        let id = &request.member_id;
        let (member, _) = self.classic_member(id, request.group_instance_id.as_ref())?;
        let position = &member.position;
        if position.epoch != request.generation_id {
            return Err(ResponseError::IllegalGeneration);
        }
        let may_go_on = match position.state {
            State::Stable => false,
            State::Unrevoked => true,
            State::Unreleased => !self.waits_for_others(member),
        };
        let rejoin = position.epoch < self.epoch || may_go_on;
        self.touch(id, turn.now.steady, &turn.rules.consumer);
        if !rejoin {
            return Ok(());
        }
        self.expect_rejoin(id, turn);
        Err(ResponseError::RebalanceInProgress)
    }

    /// Whether somebody holds what a member is to have.
    fn waits_for_others(&self, member: &Member) -> bool {
        let assigned = &member.position.assigned;
        each(&member.target).any(|(topic, partition)| {
            let has = assigned
                .get(&topic)
                .is_some_and(|all| all.contains(&partition));
            !has && self.held.contains_key(&(topic, partition))
        })
    }

    fn expect_rejoin(&mut self, id: &StrBytes, turn: &Turn<'_>) {
        let timeout_ms = self
            .members
            .get(id)
            .map_or(0, |member| member.profile.rebalance_timeout_ms);
        if let Some(timers) = self.timers.get_mut(id)
            && timers.rejoin == NEVER
        {
            timers.rejoin = turn.now.steady.saturating_add(timeout_ms.into());
        }
    }

    /// Members of the classic protocol leave, or are sent away by the instance id that an operator names.
    pub(crate) fn leave(
        &mut self,
        leaving: Vec<MemberIdentity>,
        turn: &mut Turn<'_>,
    ) -> Vec<MemberResponse> {
        let mut gone = Vec::new();
        let mut responses = Vec::with_capacity(leaving.len());
        for one in leaving {
            let found = self.leaving(&one);
            responses.push(
                MemberResponse::default()
                    .with_error_code(found.as_ref().err().map_or(0, |code| code.code()))
                    .with_member_id(found.as_ref().map_or(one.member_id, StrBytes::clone))
                    .with_group_instance_id(one.group_instance_id),
            );
            gone.extend(found);
        }
        if !gone.is_empty()
            && let Err(unwritten) = self.remove(&gone, turn)
        {
            for response in responses.iter_mut().filter(|one| one.error_code == 0) {
                response.error_code = unwritten.code().code();
            }
        }
        responses
    }

    fn leaving(&self, one: &MemberIdentity) -> Result<StrBytes, ResponseError> {
        let unknown = ResponseError::UnknownMemberId;
        let instance_id = one.group_instance_id.as_ref();
        let id = match instance_id {
            Some(instance_id) if one.member_id.is_empty() => {
                self.statics.get(instance_id).ok_or(unknown)?
            }
            _ => &one.member_id,
        };
        let (member, _) = self.classic_member(id, instance_id)?;
        Ok(member.id.clone())
    }
}
