//! Consumer groups: their protocol request by request, and real consumers that share topics.
//!
//! Groups have names of their own, so that everything runs on an old Apache Kafka too. There a first rebalance may wait three
//! seconds for more members, and sessions are at least six seconds long.

mod administration;
pub(crate) mod commits;
mod consumers;
mod membership;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    FindCoordinatorRequest, GroupId, HeartbeatRequest, JoinGroupRequest, JoinGroupResponse,
    LeaveGroupRequest, OffsetFetchRequest, SyncGroupRequest,
};
use kafka_protocol::protocol::StrBytes;

use crate::cluster::{Cluster, eventually, unique};
use crate::raw::{Client, text};

pub(crate) const SESSION_MS: i32 = 10_000;

/// The shortest session that Kafka allows.
pub(crate) const SHORTEST_SESSION_MS: i32 = 6000;

pub(crate) fn group_id(name: &str) -> GroupId {
    GroupId(text(name))
}

pub(crate) fn code(error: ResponseError) -> i16 {
    error.code()
}

/// Metadata of a consumer that subscribes to one topic.
pub(crate) fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

/// A connection to the coordinator of `group`, which has loaded the group.
pub(crate) fn coordinator(cluster: &Cluster, group: &str) -> Client {
    let mut client = cluster.connect();
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
    let Coordinator { host, port, .. } = eventually("a coordinator", || {
        let mut found = client.call(4, &request).coordinators;
        found
            .pop()
            .filter(|coordinator| coordinator.error_code == 0)
    });
    let mut client = Client::connect(&format!("{}:{port}", host.as_str()));
    await_loaded(&mut client, group);
    client
}

fn await_loaded(client: &mut Client, group: &str) {
    let fetch = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(Some(Vec::new()));
    eventually("a loaded group", || {
        (client.call(7, &fetch).error_code == 0).then_some(())
    });
}

/// A member as far as the protocol knows it, on a connection of its own.
pub(crate) struct Member {
    pub(crate) client: Client,
    pub(crate) group: String,
    pub(crate) id: StrBytes,
    pub(crate) instance: Option<StrBytes>,
    pub(crate) generation: i32,
    pub(crate) topic: String,
    pub(crate) session_timeout_ms: i32,
}

impl Member {
    /// Someone who has not joined yet.
    pub(crate) fn new(cluster: &Cluster, group: &str) -> Member {
        Member::on(coordinator(cluster, group), group)
    }

    /// The same at the one broker there is.
    pub(crate) fn at(address: &str, group: &str) -> Member {
        Member::on(Client::connect(address), group)
    }

    fn on(client: Client, group: &str) -> Member {
        Member {
            client,
            group: group.to_owned(),
            id: StrBytes::new(),
            instance: None,
            generation: -1,
            topic: "calls".to_owned(),
            session_timeout_ms: SESSION_MS,
        }
    }

    /// The same with an instance id.
    pub(crate) fn fixed(cluster: &Cluster, group: &str, instance: &str) -> Member {
        let mut member = Member::new(cluster, group);
        member.instance = Some(text(instance));
        member
    }

    pub(crate) fn join_request(&self) -> JoinGroupRequest {
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(subscription(&self.topic));
        JoinGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_session_timeout_ms(self.session_timeout_ms)
            .with_rebalance_timeout_ms(60_000)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol])
    }

    /// Sends a join that is going to wait; a dynamic member has got an id before.
    pub(crate) fn begin_join(&mut self) {
        if self.id.is_empty() && self.instance.is_none() {
            let told = self.client.call(9, &self.join_request());
            assert_eq!(told.error_code, code(ResponseError::MemberIdRequired));
            self.id = told.member_id;
        }
        let request = self.join_request();
        self.client.send(9, &request);
    }

    pub(crate) fn end_join(&mut self) -> JoinGroupResponse {
        let joined = self.client.receive::<JoinGroupRequest>(9);
        if joined.error_code == 0 {
            self.id = joined.member_id.clone();
            self.generation = joined.generation_id;
        }
        joined
    }

    pub(crate) fn join(&mut self) -> JoinGroupResponse {
        self.begin_join();
        let joined = self.end_join();
        assert_eq!(joined.error_code, 0);
        joined
    }

    pub(crate) fn sync_request(&self) -> SyncGroupRequest {
        SyncGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(Some(text("range")))
    }

    /// Asks for the assignment, as a follower.
    pub(crate) fn sync(&mut self) -> Result<Bytes, i16> {
        self.assign(&[])
    }

    /// Brings the assignment of all, as the leader.
    pub(crate) fn assign(&mut self, assignments: &[(&StrBytes, &str)]) -> Result<Bytes, i16> {
        let assignments = assignments.iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id((*member).clone())
                .with_assignment(Bytes::copy_from_slice(assignment.as_bytes()))
        });
        let request = self.sync_request().with_assignments(assignments.collect());
        let synced = self.client.call(5, &request);
        match synced.error_code {
            0 => Ok(synced.assignment),
            code => Err(code),
        }
    }

    /// Joins alone and assigns itself everything.
    pub(crate) fn settle(&mut self) {
        self.join();
        let id = self.id.clone();
        assert_eq!(self.assign(&[(&id, "all")]), Ok(Bytes::from_static(b"all")));
    }

    pub(crate) fn beat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id(&self.group))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        self.client.call(4, &request).error_code
    }

    pub(crate) fn leave(&mut self) -> i16 {
        let one = MemberIdentity::default()
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_reason(Some(text("the test is over")));
        let request = LeaveGroupRequest::default()
            .with_group_id(group_id(&self.group))
            .with_members(vec![one]);
        let left = self.client.call(5, &request);
        assert_eq!(left.error_code, 0);
        left.members[0].error_code
    }

    /// Waits until heartbeats are answered with `expected`.
    pub(crate) fn beat_until(&mut self, expected: ResponseError) {
        eventually(&format!("heartbeats answered by {expected:?}"), || {
            (self.beat() == code(expected)).then_some(())
        });
    }
}

/// A stable group of two, who were assigned "one" and "two"; the first leads.
pub(crate) fn pair(cluster: &Cluster, group: &str) -> (Member, Member) {
    let mut first = Member::new(cluster, group);
    first.settle();
    let second = Member::new(cluster, group);
    bring_in(first, second)
}

/// Makes `second` a member of the group that `first` leads.
pub(crate) fn bring_in(mut first: Member, mut second: Member) -> (Member, Member) {
    second.begin_join();
    first.beat_until(ResponseError::RebalanceInProgress);
    first.begin_join();
    let joined = first.end_join();
    assert_eq!(second.end_join().generation_id, joined.generation_id);
    assert_eq!(joined.leader, first.id);
    let (one, two) = (first.id.clone(), second.id.clone());
    let assigned = first.assign(&[(&one, "one"), (&two, "two")]);
    assert_eq!(assigned, Ok(Bytes::from_static(b"one")));
    assert_eq!(second.sync(), Ok(Bytes::from_static(b"two")));
    (first, second)
}

pub(crate) fn fresh_group() -> String {
    unique("group")
}
