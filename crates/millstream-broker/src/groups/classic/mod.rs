//! One classic group as a state machine, as `ClassicGroup` of Apache Kafka 4.1.
//!
//! ```text
//!             a member joins                    all members joined           the leader's assignment
//!  Empty ───────────────────▶ PreparingRebalance ──────────────▶ CompletingRebalance ──────────▶ Stable
//!    ▲  nobody is left              │   ▲  ▲      or timeout            │                          │
//!    └──────────────────────────────┘   │  └────────────────────────────┘                          │
//!                                       │    a member joins, leaves, is lost or changes            │
//!                                       └──────────────────────────────────────────────────────────┘
//! ```
//!
//! A group that does not exist is "Dead". The machine has no clock and no threads: every event carries the time, and
//! [`Group::deadline`] says when [`Group::tick`] wants to be called. Answers leave through the waiters that requests bring.
//! Here are the state and its members; `join`, `rebalance` and `sync` are its events, `view` shows it.

pub(crate) mod join;
pub(crate) mod member;
mod rebalance;
mod subscription;
pub(crate) mod sync;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::GroupId;
use kafka_protocol::protocol::StrBytes;

use super::group::{Moment, Turn};
use crate::alarms::NEVER;
use member::Member;

/// The protocol type of consumers, whose metadata the broker can read.
pub(crate) const CONSUMER: &str = "consumer";
/// How long a member that does not know its id yet may wait: its client may have gone unnoticed.
const NEW_MEMBER_TIMEOUT_MS: i64 = 5 * 60 * 1000;

/// Where a group is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nobody is in it; offsets may be.
    Empty,
    /// Members are to join again.
    PreparingRebalance,
    /// Members know the generation; the leader makes the assignment.
    CompletingRebalance,
    /// Members work.
    Stable,
}

impl State {
    /// As the protocol spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

/// How long a rebalance waits for members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gathering {
    /// A first rebalance gives more members the chance to come, at most until `remaining_ms` are used up.
    Initial {
        deadline: i64,
        delay_ms: i64,
        remaining_ms: i64,
        someone_came: bool,
    },
    /// Until all known members have joined, at the latest at the deadline.
    Rejoining { deadline: i64 },
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    state: State,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<StrBytes>,
    pub(crate) protocol: Option<StrBytes>,
    pub(crate) leader: Option<StrBytes>,
    /// When the state last changed, by the wall clock.
    pub(crate) changed_at_ms: i64,
    pub(crate) members: BTreeMap<StrBytes, Member>,
    /// Members by instance id.
    statics: BTreeMap<StrBytes, StrBytes>,
    /// Ids that were handed out and not used yet, each with its deadline.
    pending: BTreeMap<StrBytes, i64>,
    gathering: Option<Gathering>,
    sync_deadline: i64,
    /// What the members read, where that could be found out.
    subscribed: Option<BTreeSet<String>>,
}

impl Group {
    pub(crate) fn new(id: GroupId, now_wall: i64) -> Group {
        Group {
            id,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            changed_at_ms: now_wall,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            gathering: None,
            sync_deadline: NEVER,
            subscribed: None,
        }
    }

    /// Puts in a group what was stored of it; its members' sessions start now.
    pub(crate) fn restore(&mut self, members: Vec<Member>, now: i64) {
        self.statics = members
            .iter()
            .filter_map(|member| Some((member.instance_id.clone()?, member.id.clone())))
            .collect();
        self.members = members
            .into_iter()
            .map(|mut member| {
                member.touch(now);
                (member.id.clone(), member)
            })
            .collect();
        self.state = match self.members.is_empty() {
            true => State::Empty,
            false => State::Stable,
        };
        self.find_out_subscription();
    }

    /// Makes a stable group of members that were assigned elsewhere.
    pub(crate) fn settle(&mut self, members: Vec<Member>, now: i64) {
        self.restore(members, now);
        self.protocol = self.elect_protocol();
        self.find_out_subscription();
    }

    pub(crate) fn state(&self) -> State {
        self.state
    }

    fn enter(&mut self, state: State, now: Moment) {
        self.state = state;
        self.changed_at_ms = now.wall;
    }

    /// Whether nothing of the group is worth keeping: it never had a generation, and has nothing else.
    pub(crate) fn is_void(&self) -> bool {
        self.state == State::Empty && self.generation == 0 && self.pending.is_empty()
    }

    /// Whether ids were handed out that may still be used.
    pub(crate) fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    /// When [`Group::tick`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> i64 {
        let gathering = match self.gathering {
            Some(Gathering::Initial { deadline, .. } | Gathering::Rejoining { deadline }) => {
                deadline
            }
            None => NEVER,
        };
        let members = self.members.values().map(|member| member.expires_at);
        let pending = self.pending.values().copied();
        members
            .chain(pending)
            .fold(gathering.min(self.sync_deadline), i64::min)
    }

    /// Whether these are a member's id and instance id.
    fn validate(
        &self,
        member_id: &StrBytes,
        instance_id: Option<&StrBytes>,
    ) -> Result<(), ResponseError> {
        if let Some(instance_id) = instance_id {
            match self.statics.get(instance_id) {
                None => return Err(ResponseError::UnknownMemberId),
                Some(current) if current != member_id => {
                    return Err(ResponseError::FencedInstanceId);
                }
                Some(_) => {}
            }
        }
        match self.members.contains_key(member_id) {
            true => Ok(()),
            false => Err(ResponseError::UnknownMemberId),
        }
    }

    fn insert(&mut self, member: Member) {
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.pending.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    fn remove(&mut self, member_id: &StrBytes) {
        self.pending.remove(member_id);
        let Some(member) = self.members.remove(member_id) else {
            return;
        };
        if let Some(instance_id) = &member.instance_id {
            self.statics.remove(instance_id);
        }
        if self.leader.as_ref() == Some(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
    }

    fn is_leader(&self, member_id: &StrBytes) -> bool {
        self.leader.as_ref() == Some(member_id)
    }

    fn all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.joining.is_some())
    }

    /// The longest time that any member wants to have for joining again.
    fn rebalance_timeout_ms(&self) -> i64 {
        let timeouts = self
            .members
            .values()
            .map(|member| i64::from(member.rebalance_timeout_ms));
        timeouts.fold(0, i64::max)
    }

    fn supported_by_all(&self, protocol: &str) -> bool {
        self.members
            .values()
            .all(|member| member.supports(protocol))
    }

    /// The protocol that most members prefer among those that all know; the earlier one of the first member wins a tie.
    fn elect_protocol(&self) -> Option<StrBytes> {
        let first = self.members.values().next()?;
        let candidates: Vec<&StrBytes> = first
            .protocols
            .iter()
            .map(|protocol| &protocol.name)
            .filter(|name| self.supported_by_all(name))
            .collect();
        let votes = |candidate: &StrBytes| {
            let prefers = |member: &&Member| {
                let mut known = member.protocols.iter().map(|protocol| &protocol.name);
                known.find(|name| candidates.contains(name)) == Some(candidate)
            };
            self.members.values().filter(prefers).count()
        };
        // `max_by_key` takes the last of equals.
        let elected = candidates.iter().rev().max_by_key(|name| votes(name));
        elected.map(|name| (*name).clone())
    }

    fn find_out_subscription(&mut self) {
        self.subscribed = match (&self.protocol_type, &self.protocol) {
            (Some(kind), _) if kind.as_str() != CONSUMER => None,
            (Some(_), _) if self.members.is_empty() => Some(BTreeSet::new()),
            (Some(_), Some(protocol)) => {
                let mut topics = BTreeSet::new();
                let known = self.members.values().all(|member| {
                    subscription::topics(&member.metadata(protocol), &mut topics).is_some()
                });
                known.then_some(topics)
            }
            _ => None,
        };
    }

    /// Whether the group may be reading `topic`, so that its offsets are neither deleted nor expire.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    pub(crate) fn is_of_consumers(&self) -> bool {
        self.protocol_type
            .as_ref()
            .is_some_and(|kind| kind.as_str() == CONSUMER)
    }
}

#[cfg(test)]
mod tests;
