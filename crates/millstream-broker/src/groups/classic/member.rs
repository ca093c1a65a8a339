//! One member of a group: who it is, what it can do, what it was assigned, and what it waits for.
//!
//! A member that waits holds the sending half of its answer; the other half may be gone with its connection, which is
//! no reason to forget the member: clients come back under the same id until the session has expired.
//! What a request brings is copied, since a slice would hold the request's whole frame in memory.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot;

use crate::alarms::NEVER;
use crate::frame::own;

/// Where the answer to a parked request goes.
pub(crate) type Waiter<T> = oneshot::Sender<T>;

/// An assignor that a member knows, with what it tells the others under that assignor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Protocol {
    pub(crate) name: StrBytes,
    pub(crate) metadata: Bytes,
}

impl From<JoinGroupRequestProtocol> for Protocol {
    fn from(protocol: JoinGroupRequestProtocol) -> Protocol {
        Protocol {
            name: own(&protocol.name),
            metadata: Bytes::copy_from_slice(&protocol.metadata),
        }
    }
}

/// What a client asks for when it joins.
#[derive(Clone, Debug)]
pub(crate) struct Join {
    /// Empty when the client has no id yet.
    pub(crate) member_id: StrBytes,
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocol_type: StrBytes,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) reason: StrBytes,
    /// Whether a member without id is given one and told to come again with it (version 4 on).
    pub(crate) id_required: bool,
    /// Whether a leader can be asked to keep the assignment (version 9 on).
    pub(crate) can_skip_assignment: bool,
}

/// One member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) id: StrBytes,
    pub(crate) instance_id: Option<StrBytes>,
    pub(crate) client_id: StrBytes,
    pub(crate) client_host: StrBytes,
    pub(crate) session_timeout_ms: i32,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) assignment: Bytes,
    pub(super) joining: Option<Waiter<JoinGroupResponse>>,
    pub(super) syncing: Option<Waiter<SyncGroupResponse>>,
    /// Has an answer to its join, but has not asked for its assignment yet.
    pub(super) owes_sync: bool,
    /// Waits for its first answer, so that it cannot know its id.
    pub(super) is_new: bool,
    /// When the session ends, on the clock that never jumps.
    pub(super) expires_at: i64,
}

impl Member {
    pub(crate) fn new(id: StrBytes, join: Join) -> Member {
        Member {
            id,
            instance_id: join.instance_id,
            client_id: join.client_id,
            client_host: join.client_host,
            session_timeout_ms: join.session_timeout_ms,
            rebalance_timeout_ms: join.rebalance_timeout_ms,
            protocols: join.protocols,
            assignment: Bytes::new(),
            joining: None,
            syncing: None,
            owes_sync: false,
            is_new: false,
            expires_at: NEVER,
        }
    }

    /// Takes over what a member asks for when it joins again.
    pub(super) fn update(&mut self, join: Join, waiter: Waiter<JoinGroupResponse>) {
        self.session_timeout_ms = join.session_timeout_ms;
        self.rebalance_timeout_ms = join.rebalance_timeout_ms;
        self.protocols = join.protocols;
        self.joining = Some(waiter);
    }

    /// Starts the session anew.
    pub(super) fn touch(&mut self, now: i64) {
        self.expires_at = now.saturating_add(self.session_timeout_ms.into());
    }

    /// Whether the member shows that it lives by waiting for an answer.
    pub(super) fn is_waiting(&self) -> bool {
        !self.is_new && (self.joining.is_some() || self.syncing.is_some())
    }

    pub(super) fn supports(&self, protocol: &str) -> bool {
        self.protocols
            .iter()
            .any(|known| known.name.as_str() == protocol)
    }

    /// What the member tells under `protocol`.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols
            .iter()
            .find(|known| known.name.as_str() == protocol)
            .map_or(Bytes::new(), |known| known.metadata.clone())
    }

    pub(super) fn answer_join(&mut self, response: JoinGroupResponse) {
        if let Some(waiter) = self.joining.take() {
            waiter.send(response).ok();
        }
    }

    /// Answers a parked sync; tells whether there was one.
    pub(super) fn answer_sync(&mut self, response: SyncGroupResponse) -> bool {
        self.syncing
            .take()
            .map(|waiter| waiter.send(response).ok())
            .is_some()
    }
}
