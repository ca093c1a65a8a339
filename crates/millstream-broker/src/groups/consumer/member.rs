//! One member of a consumer group: what its client told of itself, and how far its assignment is.
//!
//! A member is stored whole, by `records`, whenever something of it changes; nothing here depends on a clock.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::TopicName;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::assignor::Assignor;
use crate::groups::classic::member::Protocol;

/// Partitions by the id of their topic; no set is empty.
pub(crate) type Partitions = BTreeMap<Uuid, BTreeSet<i32>>;

/// The epoch of a static member that has left and may come back.
pub(crate) const AWAY: i32 = -2;

/// What a client tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) rack_id: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    /// How long it may take to give partitions back.
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) names: BTreeSet<TopicName>,
    /// A regular expression for whole names; empty is none.
    pub(crate) pattern: StrBytes,
    pub(crate) assignor: Option<Assignor>,
    /// Of a member that speaks the classic protocol.
    pub(crate) classic: Option<Classic>,
}

/// What only members of the classic protocol have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Classic {
    pub(crate) session_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
}

/// What a member waits for, if anything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// It has what it should have.
    #[default]
    Stable,
    /// It has to give partitions back first.
    Unrevoked,
    /// Others have to give partitions back first.
    Unreleased,
}

/// How far a member has come on the way to its target.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The epoch of the assignment that it has; [`AWAY`] for a static member that has left.
    pub(crate) epoch: i32,
    pub(crate) previous_epoch: i32,
    pub(crate) state: State,
    pub(crate) assigned: Partitions,
    /// What it has to give back, and may still hold.
    pub(crate) revoking: Partitions,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: StrBytes,
    pub(crate) profile: Profile,
    pub(crate) position: Position,
    /// What it should have, by the epoch of the group's assignment.
    pub(crate) target: Partitions,
}

impl Member {
    pub(crate) fn new(id: StrBytes) -> Member {
        Member {
            id,
            profile: Profile::default(),
            position: Position::default(),
            target: Partitions::new(),
        }
    }

    pub(crate) fn is_reconciled_to(&self, epoch: i32) -> bool {
        self.position.state == State::Stable && self.position.epoch == epoch
    }

    /// All that nobody else may be given.
    pub(crate) fn holds(&self) -> impl Iterator<Item = (Uuid, i32)> {
        let position = &self.position;
        each(&position.assigned).chain(each(&position.revoking))
    }
}

/// All partitions, one by one.
pub(crate) fn each(partitions: &Partitions) -> impl Iterator<Item = (Uuid, i32)> {
    partitions
        .iter()
        .flat_map(|(topic, all)| all.iter().map(|partition| (*topic, *partition)))
}
