//! What state machines and network hand each other: requests to brokers, and what came of them.
//!
//! A machine never learns more about a socket than this. A request is answered exactly once, by a reply or by a loss, and a loss says whether the broker
//! may have received the request.

use std::time::Duration;

use crate::Error;
use crate::clock::Time;
use crate::wire::api::{Call, Reply};

/// A broker's number in the cluster; bootstrap addresses have negative ones.
pub(crate) type Node = i32;

/// Who is told the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    Cluster,
    Producer,
    Fetcher,
    Offsets,
    Membership,
    Transaction,
    Admin,
}

/// A connection of its own for each kind of request: a broker answers a connection in order, so a fetch that waits for records would hold
/// up every request behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Lane {
    Control,
    Produce,
    Fetch,
    /// A coordinator holds the answer to a join for as long as the group waits for others.
    Group,
    Offsets,
}

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// This broker.
    Node(Node),
    /// Whichever can be reached.
    Any,
}

/// By which an answer finds its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Ticket {
    pub(crate) owner: Owner,
    /// Counted by the owner.
    pub(crate) number: u64,
}

/// A request on its way out.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) ticket: Ticket,
    pub(crate) target: Target,
    pub(crate) lane: Lane,
    pub(crate) call: Call,
    /// For how long an answer is waited for.
    pub(crate) patience: Duration,
}

/// Why there is no reply.
#[derive(Debug)]
pub(crate) enum Loss {
    /// The broker has not received it.
    NotSent,
    /// The broker may have received and done it.
    Unknown,
    /// It can never be sent.
    Impossible(Error),
}

/// What came of a request.
pub(crate) type Answer = Result<Reply, Loss>;

/// What a machine is given when it acts: the time, and a place for its requests.
pub(crate) struct Step<'a> {
    pub(crate) now: Time,
    pub(crate) out: &'a mut Vec<Outgoing>,
}
