//! The group as its members meet it, event by event, on a clock that the tests move.

mod commits;
mod joining;
mod random;
mod rebalancing;
mod statics;
mod syncing;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{GroupId, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse};
use kafka_protocol::protocol::StrBytes;
use tokio::sync::oneshot::{self, Receiver};

use super::{Group, State};
use crate::groups::classic::member::{Join, Protocol};
use crate::groups::consumer::Change;
use crate::groups::group::{Moment, Rules, Store, Turn};
use crate::groups::offsets::Offsets;
use crate::groups::testing::{CONSUMER_RULES, NoTopics};
use crate::journal::Unwritten;

/// The wall clock is this much ahead of the steady one.
const WALL: i64 = 1_700_000_000_000;
const SESSION_MS: i32 = 10_000;
const REBALANCE_MS: i32 = 60_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Metadata of a consumer that subscribes to one topic.
fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 0, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

/// What a consumer of the topic "calls" asks for that has no id yet.
fn consumer(client: &str) -> Join {
    Join {
        member_id: StrBytes::new(),
        instance_id: None,
        client_id: text(client),
        client_host: text("/127.0.0.1"),
        session_timeout_ms: SESSION_MS,
        rebalance_timeout_ms: REBALANCE_MS,
        protocol_type: text("consumer"),
        protocols: vec![protocol("range")],
        reason: StrBytes::new(),
        id_required: true,
        can_skip_assignment: true,
    }
}

fn protocol(name: &str) -> Protocol {
    Protocol {
        name: text(name),
        metadata: subscription("calls"),
    }
}

fn knowing(mut join: Join, protocols: &[&str]) -> Join {
    join.protocols = protocols.iter().map(|name| protocol(name)).collect();
    join
}

fn being(mut join: Join, member_id: &StrBytes) -> Join {
    join.member_id = member_id.clone();
    join
}

fn fixed(client: &str) -> Join {
    let mut join = consumer(client);
    join.instance_id = Some(text(client));
    join
}

/// A parked request.
#[derive(Debug)]
struct Parked<T>(Receiver<T>);

impl<T> Parked<T> {
    /// The answer, which must be there.
    fn answer(&mut self) -> T {
        self.0.try_recv().expect("an answer")
    }

    fn waits(&mut self) -> bool {
        matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

impl Parked<JoinGroupResponse> {
    fn code(&mut self) -> Option<ResponseError> {
        ResponseError::try_from_code(self.answer().error_code)
    }
}

impl Parked<SyncGroupResponse> {
    fn code(&mut self) -> Option<ResponseError> {
        ResponseError::try_from_code(self.answer().error_code)
    }

    fn assignment(&mut self) -> Bytes {
        let answer = self.answer();
        assert_eq!(answer.error_code, 0);
        answer.assignment
    }
}

/// What was stored of a group: generation and members.
type Saved = (i32, Vec<StrBytes>);

#[derive(Default)]
struct Disk {
    saved: Vec<Saved>,
    refuse: Option<Unwritten>,
}

impl Store for Disk {
    fn save(&mut self, group: &Group) -> Result<(), Unwritten> {
        match self.refuse {
            Some(unwritten) => Err(unwritten),
            None => {
                let members = group.members.keys().cloned().collect();
                self.saved.push((group.generation, members));
                Ok(())
            }
        }
    }

    fn change(&mut self, _group: &GroupId, change: &Change) -> Result<(), Unwritten> {
        panic!("a classic group changed as none: {change:?}");
    }
}

/// A group with its clock and its disk.
struct Bench {
    group: Group,
    offsets: Offsets,
    now: i64,
    rules: Rules,
    disk: Disk,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            group: Group::new(GroupId(text("readers")), WALL),
            offsets: Offsets::default(),
            now: 0,
            rules: Rules {
                initial_delay_ms: 0,
                max_size: usize::MAX,
                consumer: CONSUMER_RULES,
            },
            disk: Disk::default(),
        }
    }

    fn moment(&self) -> Moment {
        Moment {
            steady: self.now,
            wall: WALL + self.now,
        }
    }

    fn act<T>(&mut self, event: impl FnOnce(&mut Group, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn {
            now: self.moment(),
            rules: self.rules,
            store: &mut self.disk,
            topics: &NoTopics,
        };
        event(&mut self.group, &mut turn)
    }

    fn join(&mut self, join: Join) -> Parked<JoinGroupResponse> {
        let (waiter, answer) = oneshot::channel();
        self.act(|group, turn| group.join(join, waiter, turn));
        Parked(answer)
    }

    /// Both rounds of a dynamic member's first join.
    fn enter(&mut self, join: Join) -> (StrBytes, Parked<JoinGroupResponse>) {
        let told = self.join(join.clone()).answer();
        assert_eq!(told.error_code, ResponseError::MemberIdRequired.code());
        let parked = self.join(being(join, &told.member_id));
        (told.member_id, parked)
    }

    fn sync(
        &mut self,
        member: &StrBytes,
        generation: i32,
        assignments: &[(&StrBytes, &str)],
    ) -> Parked<SyncGroupResponse> {
        let assignments = assignments.iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id((*member).clone())
                .with_assignment(Bytes::copy_from_slice(assignment.as_bytes()))
        });
        let request = SyncGroupRequest::default()
            .with_generation_id(generation)
            .with_member_id(member.clone())
            .with_assignments(assignments.collect());
        self.sync_with(request)
    }

    fn sync_with(&mut self, request: SyncGroupRequest) -> Parked<SyncGroupResponse> {
        let (waiter, answer) = oneshot::channel();
        self.act(|group, turn| group.sync(request, waiter, turn));
        Parked(answer)
    }

    fn beat(&mut self, member: &StrBytes, generation: i32) -> Result<(), ResponseError> {
        let now = self.moment();
        self.group.heartbeat(member, None, generation, now)
    }

    fn leave(&mut self, member: &StrBytes) -> i16 {
        let one = MemberIdentity::default().with_member_id(member.clone());
        self.act(|group, turn| group.leave(vec![one], turn))[0].error_code
    }

    /// Lets time pass; the group is woken at each of its deadlines, as the coordinator does.
    fn pass(&mut self, ms: i64) {
        let end = self.now + ms;
        while self.group.deadline() <= end {
            self.now = self.now.max(self.group.deadline());
            self.act(Group::tick);
        }
        self.now = end;
    }

    fn state(&self) -> State {
        self.group.state()
    }

    /// A stable group of these dynamic members, who were assigned their names; the first leads.
    fn stable(&mut self, clients: &[&str]) -> Vec<StrBytes> {
        let mut members = Vec::new();
        let mut parked = Vec::new();
        for client in clients {
            let (member, answer) = self.enter(consumer(client));
            members.push(member);
            parked.push(answer);
            // Whoever was there before joins again.
            for (known, client) in members.iter().zip(clients).rev().skip(1) {
                parked.push(self.join(being(consumer(client), known)));
            }
        }
        self.hand_out(&members, clients);
        members
    }

    /// All members sync; the leader assigns each its name.
    fn hand_out(&mut self, members: &[StrBytes], names: &[&str]) {
        let generation = self.group.generation;
        let leader = self.group.leader.clone().unwrap();
        let assignments: Vec<_> = members.iter().zip(names.iter().copied()).collect();
        let mut followers: Vec<_> = members
            .iter()
            .filter(|member| **member != leader)
            .map(|member| self.sync(member, generation, &[]))
            .collect();
        assert_eq!(self.sync(&leader, generation, &assignments).code(), None);
        assert!(followers.iter_mut().all(|one| one.code().is_none()));
        assert_eq!(self.state(), State::Stable);
    }
}

#[test]
fn states_are_spelled_as_in_the_protocol() {
    let states = [
        State::Empty,
        State::PreparingRebalance,
        State::CompletingRebalance,
        State::Stable,
    ];
    assert_eq!(
        states.map(State::name),
        [
            "Empty",
            "PreparingRebalance",
            "CompletingRebalance",
            "Stable"
        ]
    );
}

#[test]
fn a_group_that_came_to_nothing_is_void() {
    let mut bench = Bench::new();
    assert!(bench.group.is_void());
    let mut refused = bench.join(knowing(consumer("a"), &[]));
    assert_eq!(
        refused.code(),
        Some(ResponseError::InconsistentGroupProtocol)
    );
    assert!(bench.group.is_void());
    bench.join(consumer("a"));
    assert!(!bench.group.is_void());
    bench.pass(SESSION_MS.into());
    assert!(bench.group.is_void());
}
