//! Events of a group, each brought to the kind of group that it is.
//!
//! An empty group of one kind becomes one of the other by the first member that joins; its offsets stay.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::classic::member::{Join, Waiter};
use super::classic::{self, join, sync};
use super::consumer::member::AWAY;
use super::consumer::{self, Beat, Heard};
use super::group::{Group, Kind, Turn};
use crate::topics::Refused;

impl Group {
    /// A heartbeat of the new protocol.
    pub(crate) fn consumer_heartbeat(
        &mut self,
        beat: &Beat,
        turn: &mut Turn<'_>,
    ) -> Result<Heard, Refused> {
        if let Kind::Classic(group) = &self.kind
            && beat.epoch == 0
        {
            match group.state() {
                classic::State::Empty => {
                    self.kind = Kind::Consumer(Box::new(consumer::Group::new(self.id.clone())));
                }
                _ => self.upgrade(turn)?,
            }
        }
        let Kind::Consumer(group) = &mut self.kind else {
            let text = format!("Group {} is not a consumer group.", self.id.as_str());
            return Err(Refused::new(ResponseError::GroupIdNotFound, text));
        };
        if beat.epoch >= 0 {
            return group.heartbeat(beat, turn);
        }
        let member = group.find(&beat.member_id, beat.instance_id.as_ref())?;
        let id = member.id.clone();
        let gone = match beat.epoch {
            AWAY => group.rest(&id, turn),
            _ => self.remove(&[id], turn),
        };
        gone.map_err(|unwritten| Refused::new(unwritten.code(), unwritten.to_string()))?;
        Ok(Heard {
            member_id: beat.member_id.clone(),
            epoch: beat.epoch,
            assigned: None,
        })
    }

    /// A client of the classic protocol wants to be a member, or a member joins again.
    pub(crate) fn join(
        &mut self,
        request: Join,
        waiter: Waiter<JoinGroupResponse>,
        turn: &mut Turn<'_>,
    ) {
        if let Kind::Consumer(group) = &self.kind
            && group.state() == consumer::State::Empty
        {
            let group = classic::Group::new(self.id.clone(), turn.now.wall);
            self.kind = Kind::Classic(Box::new(group));
        }
        match &mut self.kind {
            Kind::Classic(group) => group.join(request, waiter, turn),
            Kind::Consumer(group) => {
                let id = request.member_id.clone();
                let is_static = request.instance_id.is_some();
                let mut joined = group.join(request, turn);
                if is_static
                    && joined.is_ok()
                    && let Err(unwritten) = self.downgrade_if_all_classic(turn)
                {
                    joined = Err(unwritten.code());
                }
                let response = joined.unwrap_or_else(|code| join::refused(id, code));
                waiter.send(response).ok();
            }
        }
    }

    /// A member of the classic protocol asks for its assignment.
    pub(crate) fn sync(
        &mut self,
        request: SyncGroupRequest,
        waiter: Waiter<SyncGroupResponse>,
        turn: &mut Turn<'_>,
    ) {
        match &mut self.kind {
            Kind::Classic(group) => group.sync(request, waiter, turn),
            Kind::Consumer(group) => {
                let synced = group.sync(&request, turn);
                waiter.send(synced.unwrap_or_else(sync::refused)).ok();
            }
        }
    }

    /// A member of the classic protocol shows that it lives.
    pub(crate) fn heartbeat(
        &mut self,
        request: &HeartbeatRequest,
        turn: &mut Turn<'_>,
    ) -> Result<(), ResponseError> {
        match &mut self.kind {
            Kind::Classic(group) => group.heartbeat(
                &request.member_id,
                request.group_instance_id.as_ref(),
                request.generation_id,
                turn.now,
            ),
            Kind::Consumer(group) => group.classic_heartbeat(request, turn),
        }
    }

    /// Members of the classic protocol leave.
    pub(crate) fn leave(
        &mut self,
        leaving: Vec<MemberIdentity>,
        turn: &mut Turn<'_>,
    ) -> Vec<MemberResponse> {
        match &mut self.kind {
            Kind::Classic(group) => group.leave(leaving, turn),
            Kind::Consumer(group) => group.leave(leaving, turn),
        }
    }

    /// Does what is due at `turn.now`.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        match &mut self.kind {
            Kind::Classic(group) => group.tick(turn),
            Kind::Consumer(group) => {
                let overdue = group.overdue(turn.now.steady);
                if overdue.is_empty() {
                    return;
                }
                note_lost(&self.id, &overdue);
                if let Err(error) = self.remove(&overdue, turn) {
                    tracing::warn!(group = self.id.as_str(), %error, "members whose sessions ended stay");
                    if let Kind::Consumer(group) = &mut self.kind {
                        group.put_off(turn.now.steady);
                    }
                }
            }
        }
    }
}

fn note_lost(group: &StrBytes, members: &[StrBytes]) {
    for member in members {
        tracing::info!(
            group = group.as_str(),
            member = member.as_str(),
            "session ended"
        );
        ::metrics::counter!(crate::metrics::GROUP_MEMBERS_LOST).increment(1);
    }
}
