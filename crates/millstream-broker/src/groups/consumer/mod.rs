//! A consumer group as a state machine (KIP-848): this broker decides who has which partition, and moves members there one by one.
//!
//! The group's epoch grows with each change of its members, of what they subscribe to, or of those topics. A target assignment is
//! made for an epoch, by the next heartbeat of any member; then each member is brought to it by its own heartbeats, which `reconcile`
//! decides. Every request of a member names its epoch, so that one that missed something notices.
//!
//! An event plans a [`Change`], has it stored, and only then applies it: the journal replays the same changes.
//! `heartbeat` has the events of members of the new protocol, `classic_members` those of the old one in the same group, `leave` how members go,
//! `view` what others see. Timers are not stored: after a restart all sessions start anew.

pub(crate) mod assignor;
mod classic_members;
mod heartbeat;
mod leave;
pub(crate) mod member;
mod reconcile;
pub(crate) mod records;
mod subscribed;
mod view;

use std::collections::{BTreeMap, HashMap};

use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::group::Turn;
use crate::alarms::NEVER;
use crate::journal::Unwritten;
use member::{AWAY, Member, State as MemberState};
use subscribed::Subscribed;

pub(crate) use heartbeat::{Beat, Heard, check_pattern};
pub(crate) use leave::Left;

/// What the operator has set for consumer groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) session_timeout_ms: i32,
    pub(crate) heartbeat_interval_ms: i32,
    pub(crate) max_size: usize,
}

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody is in it; offsets may be.
    Empty,
    /// The next heartbeat makes a new target.
    Assigning,
    /// Some members are not at the target yet.
    Reconciling,
    /// Everybody has what it should have.
    Stable,
}

/// What changes in a group by one event: what is stored, and what a restart replays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    /// Whether the group consists of this change alone, whatever it was before.
    pub(crate) anew: bool,
    pub(crate) epoch: i32,
    pub(crate) assignment_epoch: i32,
    /// Stands for the topics that the epoch is about.
    pub(crate) topics_hash: u32,
    pub(crate) removed: Vec<StrBytes>,
    pub(crate) put: Vec<Member>,
}

/// When something happens to a member if it does nothing, on the clock that never jumps.
#[derive(Clone, Copy, Debug)]
struct Timers {
    session: i64,
    /// Until it has to have given partitions back, and the epoch in which that was asked of it.
    revocation: Option<(i64, i32)>,
    /// Until a member of the classic protocol has to have joined again.
    rejoin: i64,
    /// Until it has to have asked for its assignment.
    sync: i64,
}

impl Timers {
    fn deadline(&self) -> i64 {
        let revocation = self.revocation.map_or(NEVER, |(deadline, _)| deadline);
        let classic = self.rejoin.min(self.sync);
        self.session.min(revocation).min(classic)
    }
}

/// One consumer group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    epoch: i32,
    assignment_epoch: i32,
    topics_hash: u32,
    members: BTreeMap<StrBytes, Member>,
    /// Members by instance id.
    statics: BTreeMap<StrBytes, StrBytes>,
    /// The epoch of whoever holds a partition.
    held: HashMap<(Uuid, i32), i32>,
    timers: BTreeMap<StrBytes, Timers>,
    subscribed: Subscribed,
}

impl Group {
    pub(crate) fn new(id: GroupId) -> Group {
        Group {
            id,
            epoch: 0,
            assignment_epoch: 0,
            topics_hash: 0,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            held: HashMap::new(),
            timers: BTreeMap::new(),
            subscribed: Subscribed::default(),
        }
    }

    pub(crate) fn state(&self) -> State {
        let reconciled = |member: &Member| member.is_reconciled_to(self.assignment_epoch);
        if self.members.is_empty() {
            State::Empty
        } else if self.epoch > self.assignment_epoch {
            State::Assigning
        } else if self.members.values().all(reconciled) {
            State::Stable
        } else {
            State::Reconciling
        }
    }

    /// Whether the group never came to be.
    pub(crate) fn is_void(&self) -> bool {
        self.members.is_empty() && self.epoch == 0
    }

    /// When the group wants to be woken at the latest.
    pub(crate) fn deadline(&self) -> i64 {
        let timers = self.timers.values().map(Timers::deadline);
        timers.fold(NEVER, i64::min)
    }

    /// A change that changes nothing yet.
    fn unchanged(&self) -> Change {
        Change {
            anew: false,
            epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            topics_hash: self.topics_hash,
            removed: Vec::new(),
            put: Vec::new(),
        }
    }

    /// The group as one change.
    pub(crate) fn whole(&self) -> Change {
        Change {
            anew: true,
            put: self.members.values().cloned().collect(),
            ..self.unchanged()
        }
    }

    /// Stores a change and applies it. A change that cannot be stored is none.
    fn carry_out(&mut self, change: Change, turn: &mut Turn<'_>) -> Result<(), Unwritten> {
        if change == self.unchanged() {
            return Ok(());
        }
        turn.store.change(&self.id, &change)?;
        if change.epoch > self.epoch {
            tracing::info!(
                group = self.id.as_str(),
                epoch = change.epoch,
                members = self.members.len(),
                "group epoch begins"
            );
            ::metrics::counter!(crate::metrics::GROUP_REBALANCES).increment(1);
        }
        self.apply(change);
        Ok(())
    }

    /// Makes a stored change part of the state.
    pub(crate) fn apply(&mut self, change: Change) {
        if change.anew {
            *self = Group::new(self.id.clone());
        }
        self.epoch = change.epoch;
        self.assignment_epoch = change.assignment_epoch;
        self.topics_hash = change.topics_hash;
        for id in &change.removed {
            self.forget(id);
            self.timers.remove(id);
        }
        for member in &change.put {
            self.forget(&member.id);
        }
        for member in change.put {
            for place in member.holds() {
                self.held.insert(place, member.position.epoch);
            }
            if let Some(instance_id) = &member.profile.instance_id {
                self.statics.insert(instance_id.clone(), member.id.clone());
            }
            self.members.insert(member.id.clone(), member);
        }
    }

    fn forget(&mut self, id: &StrBytes) {
        let Some(member) = self.members.remove(id) else {
            return;
        };
        for place in member.holds() {
            self.held.remove(&place);
        }
        if let Some(instance_id) = &member.profile.instance_id {
            self.statics.remove(instance_id);
        }
    }

    /// Starts the timers of all members, after a start or a conversion.
    pub(crate) fn start_timers(&mut self, now: i64, rules: &Rules) {
        let ids: Vec<StrBytes> = self.members.keys().cloned().collect();
        for id in ids {
            self.touch(&id, now, rules);
            self.watch_revocation(&id, now);
        }
    }

    /// Starts a member's session anew.
    fn touch(&mut self, id: &StrBytes, now: i64, rules: &Rules) {
        let Some(member) = self.members.get(id) else {
            return;
        };
        let session_ms = match &member.profile.classic {
            Some(classic) => classic.session_timeout_ms,
            None => rules.session_timeout_ms,
        };
        let session = now.saturating_add(session_ms.into());
        match self.timers.get_mut(id) {
            Some(timers) => timers.session = session,
            None => {
                let timers = Timers {
                    session,
                    revocation: None,
                    rejoin: NEVER,
                    sync: NEVER,
                };
                self.timers.insert(id.clone(), timers);
            }
        }
    }

    /// Watches that a member gives back what it should, from the moment it is asked to.
    fn watch_revocation(&mut self, id: &StrBytes, now: i64) {
        let (Some(member), Some(timers)) = (self.members.get(id), self.timers.get_mut(id)) else {
            return;
        };
        let epoch = member.position.epoch;
        // Members of the classic protocol have to join again in time instead.
        let asked = member.position.state == MemberState::Unrevoked
            && epoch != AWAY
            && member.profile.classic.is_none();
        timers.revocation = match timers.revocation {
            _ if !asked => None,
            Some((deadline, since)) if since == epoch => Some((deadline, since)),
            _ => {
                let timeout_ms = i64::from(member.profile.rebalance_timeout_ms.max(0));
                Some((now.saturating_add(timeout_ms), epoch))
            }
        };
    }
}

#[cfg(test)]
mod tests;
