//! How members go: they say so, or fall silent, or do not give partitions back in time.
//!
//! A static member may go for a while, with epoch -2: it keeps what it has until its session ends, and whoever comes with its instance id
//! takes its place. Everybody else's going begins a new epoch of the group, whose target the next heartbeat makes.

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use super::heartbeat::{check_instance, unknown_instance};
use super::member::{AWAY, Member, Partitions, Position};
use super::{Change, Group};
use crate::alarms::NEVER;
use crate::groups::catalogue::Catalogue;
use crate::groups::classic::member::Join;
use crate::groups::classic::sync::Committer;
use crate::groups::group::Turn;
use crate::groups::{classic, embedded};
use crate::journal::Unwritten;
use crate::topics::Refused;

/// The members of the classic protocol that are left when the last others have gone, as that protocol has them.
pub(crate) struct Left {
    pub(crate) epoch: i32,
    pub(crate) members: Vec<classic::member::Member>,
}

/// How long a member that could not be removed stays, at least.
const RETRY_MS: i64 = 1000;

impl Group {
    /// The member that a request names.
    pub(crate) fn find(
        &self,
        member_id: &StrBytes,
        instance_id: Option<&StrBytes>,
    ) -> Result<&Member, Refused> {
        let Some(instance_id) = instance_id else {
            let member = self.members.get(member_id);
            return member.ok_or_else(|| self.unknown(member_id));
        };
        let holder = self.statics.get(instance_id);
        let holder = holder.and_then(|id| self.members.get(id));
        let holder = holder.ok_or_else(|| unknown_instance(instance_id))?;
        check_instance(holder, member_id, instance_id)?;
        Ok(holder)
    }

    /// A static member goes for a while.
    pub(crate) fn rest(
        &mut self,
        member_id: &StrBytes,
        turn: &mut Turn<'_>,
    ) -> Result<(), Unwritten> {
        let Some(member) = self.members.get(member_id) else {
            return Ok(());
        };
        let away = Member {
            position: Position {
                epoch: AWAY,
                previous_epoch: AWAY,
                revoking: Partitions::new(),
                ..member.position.clone()
            },
            ..member.clone()
        };
        tracing::debug!(
            group = self.id.as_str(),
            member = member_id.as_str(),
            "static member goes for a while"
        );
        let change = Change {
            put: vec![away],
            ..self.unchanged()
        };
        self.carry_out(change, turn)?;
        self.watch_revocation(member_id, turn.now.steady);
        Ok(())
    }

    /// Members go for good.
    pub(crate) fn remove(
        &mut self,
        ids: &[StrBytes],
        turn: &mut Turn<'_>,
    ) -> Result<(), Unwritten> {
        let change = Change {
            epoch: self.epoch + 1,
            removed: ids.to_vec(),
            ..self.unchanged()
        };
        self.carry_out(change, turn)
    }

    /// Who is left when `gone` have gone, if all of them speak the classic protocol and one of those who go does not.
    pub(crate) fn left_after(
        &self,
        gone: &[StrBytes],
        max_size: usize,
        topics: &dyn Catalogue,
    ) -> Option<Left> {
        let left = || self.members.values().filter(|one| !gone.contains(&one.id));
        let mut leaving = gone.iter().filter_map(|id| self.members.get(id));
        let was_mixed = gone.is_empty() || leaving.any(|one| one.profile.classic.is_none());
        let count = left().count();
        if !was_mixed || count == 0 || count > max_size {
            return None;
        }
        let members = left()
            .map(|one| as_classic(one, topics))
            .collect::<Option<_>>()?;
        Some(Left {
            epoch: self.epoch,
            members,
        })
    }

    /// The members whose time is up.
    pub(crate) fn overdue(&self, now: i64) -> Vec<StrBytes> {
        let due = self.timers.iter();
        due.filter(|(_, timers)| timers.deadline() <= now)
            .map(|(id, _)| id.clone())
            .collect()
    }

    /// Leaves members that could not be removed for a later time.
    pub(crate) fn put_off(&mut self, now: i64) {
        for timers in self.timers.values_mut() {
            if timers.deadline() <= now {
                timers.session = now + RETRY_MS;
                timers.revocation = timers.revocation.map(|(_, epoch)| (now + RETRY_MS, epoch));
                timers.rejoin = NEVER;
                timers.sync = NEVER;
            }
        }
    }

    /// Whether offsets may be committed in this name: by members at their epoch, and by anybody as long as there are none.
    pub(crate) fn check_commit(&self, committer: &Committer<'_>) -> Result<(), ResponseError> {
        if committer.generation < 0 && self.members.is_empty() {
            return Ok(());
        }
        let member = self.members.get(committer.member_id);
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        let is_classic = member.profile.classic.is_some();
        if !committer.transactional && !is_classic && !committer.knows_epochs {
            return Err(ResponseError::UnsupportedVersion);
        }
        check_position(member, committer.generation)
    }

    /// Whether a member that says who it is may read offsets.
    pub(crate) fn check_fetch(
        &self,
        member_id: Option<&StrBytes>,
        epoch: i32,
    ) -> Result<(), ResponseError> {
        let Some(member_id) = member_id else {
            return match epoch {
                ..0 => Ok(()),
                _ => Err(ResponseError::UnknownMemberId),
            };
        };
        let member = self.members.get(member_id);
        let member = member.ok_or(ResponseError::UnknownMemberId)?;
        check_position(member, epoch)
    }
}

/// A member of the classic protocol as a classic group has it; `None` of one of the new protocol.
fn as_classic(member: &Member, topics: &dyn Catalogue) -> Option<classic::member::Member> {
    let profile = &member.profile;
    let own = profile.classic.as_ref()?;
    let metadata = &own.protocols.first()?.metadata;
    let assignment = embedded::put_assignment(&member.position.assigned, metadata, topics);
    let join = Join {
        member_id: member.id.clone(),
        instance_id: profile.instance_id.clone(),
        client_id: profile.client_id.clone(),
        client_host: profile.client_host.clone(),
        session_timeout_ms: own.session_timeout_ms,
        rebalance_timeout_ms: profile.rebalance_timeout_ms,
        protocol_type: StrBytes::from_static_str(classic::CONSUMER),
        protocols: own.protocols.clone(),
        reason: StrBytes::new(),
        id_required: false,
        can_skip_assignment: false,
    };
    let mut converted = classic::member::Member::new(member.id.clone(), join);
    converted.assignment = assignment;
    Some(converted)
}

fn check_position(member: &Member, epoch: i32) -> Result<(), ResponseError> {
    match (epoch == member.position.epoch, &member.profile.classic) {
        (true, _) => Ok(()),
        (false, Some(_)) => Err(ResponseError::IllegalGeneration),
        (false, None) => Err(ResponseError::StaleMemberEpoch),
    }
}
