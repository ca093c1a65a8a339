//! One group: the offsets that it has committed, and its members under one of the two protocols.
//!
//! Group ids are one name space, so that a group is of one kind at a time: `classic`, where a leader among the members assigns, or `consumer`
//! (KIP-848), where this broker does. Both are pure state machines of (event, now): every event comes with a [`Turn`], which
//! carries the time, and [`Group::deadline`] says when [`Group::tick`] wants to be called. What both kinds are asked is answered
//! here; `migration` turns one kind into the other.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::protocol::StrBytes;

use super::catalogue::Catalogue;
use super::classic::{self, sync::Committer};
use super::consumer::{self, Change};
use super::offsets::{Offsets, Places};
use crate::journal::Unwritten;

/// A moment on both clocks, in milliseconds: the one that never jumps is for deadlines, the other for what is stored.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) steady: i64,
    pub(crate) wall: i64,
}

/// What the operator has set for all groups.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) initial_delay_ms: i64,
    pub(crate) max_size: usize,
    pub(crate) consumer: consumer::Rules,
}

/// Where a group is made durable before it is acted upon.
pub(crate) trait Store {
    /// Stores a classic group as it is.
    fn save(&mut self, group: &classic::Group) -> Result<(), Unwritten>;
    /// Stores what changes in a consumer group.
    fn change(&mut self, group: &GroupId, change: &Change) -> Result<(), Unwritten>;
}

/// What every event of a group comes with.
pub(crate) struct Turn<'a> {
    pub(crate) now: Moment,
    pub(crate) rules: Rules,
    pub(crate) store: &'a mut dyn Store,
    pub(crate) topics: &'a dyn Catalogue,
}

/// The members of a group, by the protocol that they speak.
#[derive(Debug)]
pub(crate) enum Kind {
    Classic(Box<classic::Group>),
    Consumer(Box<consumer::Group>),
}

/// One group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: GroupId,
    pub(crate) offsets: Offsets,
    pub(crate) kind: Kind,
}

impl Group {
    /// A group that nobody has joined.
    pub(crate) fn new(id: GroupId, now_wall: i64) -> Group {
        Group {
            offsets: Offsets::default(),
            kind: Kind::Classic(Box::new(classic::Group::new(id.clone(), now_wall))),
            id,
        }
    }

    /// Whether nothing of the group is worth keeping.
    pub(crate) fn is_void(&self) -> bool {
        let nobody = match &self.kind {
            Kind::Classic(group) => group.is_void(),
            Kind::Consumer(group) => group.is_void(),
        };
        nobody && self.offsets.is_empty()
    }

    /// Whether a group that is empty and has no offsets may be forgotten.
    pub(crate) fn is_abandoned(&self) -> bool {
        let expected = match &self.kind {
            Kind::Classic(group) => group.has_pending(),
            Kind::Consumer(_) => false,
        };
        self.offsets.is_empty() && self.check_delete().is_ok() && !expected
    }

    /// When [`Group::tick`] has something to do at the latest.
    pub(crate) fn deadline(&self) -> i64 {
        match &self.kind {
            Kind::Classic(group) => group.deadline(),
            Kind::Consumer(group) => group.deadline(),
        }
    }

    /// Answers everything that waits: this broker serves the group no longer.
    pub(crate) fn abandon(&mut self) {
        if let Kind::Classic(group) = &mut self.kind {
            group.abandon(ResponseError::NotCoordinator);
        }
    }

    /// Whether offsets may be committed in this name.
    pub(crate) fn check_commit(
        &mut self,
        committer: &Committer<'_>,
        now: Moment,
    ) -> Result<(), ResponseError> {
        match &mut self.kind {
            Kind::Classic(group) => group.check_commit(committer, now),
            Kind::Consumer(group) => group.check_commit(committer),
        }
    }

    /// Whether a member may read the group's offsets. Only the new protocol asks who reads.
    pub(crate) fn check_fetch(
        &self,
        member_id: Option<&StrBytes>,
        epoch: i32,
    ) -> Result<(), ResponseError> {
        match &self.kind {
            Kind::Classic(_) => Ok(()),
            Kind::Consumer(group) => group.check_fetch(member_id, epoch),
        }
    }

    /// Whether the group may be reading `topic`, so that its offsets are neither deleted nor expire.
    pub(crate) fn reads(&self, topic: &str) -> bool {
        match &self.kind {
            Kind::Classic(group) => group.reads(topic),
            Kind::Consumer(group) => group.reads(topic),
        }
    }

    /// The offsets that have been out of use for longer than `retention_ms`, or than their committer wanted.
    pub(crate) fn expired_offsets(&self, now_wall: i64, retention_ms: i64) -> Places {
        let unused_since = |at_ms| match &self.kind {
            Kind::Classic(group) => group.unused_since(at_ms),
            Kind::Consumer(_) => Some(at_ms),
        };
        let reads = |topic: &str| self.reads(topic);
        self.offsets
            .expired(now_wall, retention_ms, unused_since, reads)
    }

    pub(crate) fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    pub(crate) fn state(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(group) => group.state().name(),
            Kind::Consumer(group) => group.state().name(),
        }
    }

    /// The kind, as the protocol spells it.
    pub(crate) fn type_name(&self) -> &'static str {
        match &self.kind {
            Kind::Classic(_) => "classic",
            Kind::Consumer(_) => "consumer",
        }
    }

    pub(crate) fn listed(&self) -> ListedGroup {
        let protocol_type = match &self.kind {
            Kind::Classic(group) => group.protocol_type.clone().unwrap_or_default(),
            Kind::Consumer(_) => StrBytes::from_static_str(classic::CONSUMER),
        };
        ListedGroup::default()
            .with_group_id(self.id.clone())
            .with_protocol_type(protocol_type)
            .with_group_state(StrBytes::from_static_str(self.state()))
            .with_group_type(StrBytes::from_static_str(self.type_name()))
    }

    pub(crate) fn check_delete(&self) -> Result<(), ResponseError> {
        match &self.kind {
            Kind::Classic(group) => group.check_delete(),
            Kind::Consumer(group) => group.check_delete(),
        }
    }

    /// Whether some offsets may be deleted: of a group with members only when one can know what they read.
    pub(crate) fn check_offset_delete(&self) -> Result<(), ResponseError> {
        match &self.kind {
            Kind::Classic(group) => group.check_offset_delete(),
            Kind::Consumer(_) => Ok(()),
        }
    }
}
