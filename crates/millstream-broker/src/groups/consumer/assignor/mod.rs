//! The assignors of this broker: from members and topics to who should have what.
//!
//! An assignor sees subscriptions and the last target, never what members hold at the moment: getting from there to the target is
//! `reconcile`'s. It gives every partition of a subscribed topic to exactly one of the topic's subscribers.

mod range;
mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::member::Partitions;

/// An assignor, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Assignor {
    Uniform,
    Range,
}

/// All of them, the default first.
pub(crate) const ALL: [Assignor; 2] = [Assignor::Uniform, Assignor::Range];

impl Assignor {
    /// As the protocol spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Assignor::Uniform => "uniform",
            Assignor::Range => "range",
        }
    }

    pub(crate) fn by_name(name: &str) -> Option<Assignor> {
        ALL.into_iter().find(|one| one.name() == name)
    }

    /// The new targets, in the order of the members.
    pub(super) fn assign(self, task: &Task<'_>) -> Vec<Partitions> {
        match self {
            Assignor::Uniform => uniform::assign(task),
            Assignor::Range => range::assign(task),
        }
    }
}

/// What an assignor is given.
pub(super) struct Task<'a> {
    /// In the order of their ids.
    pub(super) members: Vec<Subscriber<'a>>,
    /// The number of partitions of each subscribed topic.
    pub(super) topics: &'a BTreeMap<Uuid, i32>,
}

/// One member, as an assignor sees it.
pub(super) struct Subscriber<'a> {
    pub(super) id: &'a StrBytes,
    pub(super) instance_id: Option<&'a StrBytes>,
    /// The topics it subscribes to, of those that exist.
    pub(super) topics: Rc<BTreeSet<Uuid>>,
    /// What it was to have so far.
    pub(super) target: &'a Partitions,
}

#[cfg(test)]
mod tests;
