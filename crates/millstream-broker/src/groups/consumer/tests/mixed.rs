//! Random histories of groups with members of both protocols: they join, leave, fall silent, lose answers; the group changes its kind back
//! and forth; the disk fills; the broker is killed.
//!
//! What has to hold: no partition is held by two members at a time, and when everybody is heard again nobody waits, and each partition
//! of each topic is held by one member.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut as _, Bytes, BytesMut};
use fastrand::Rng;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupResponse, SyncGroupRequest, SyncGroupResponse,
};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::migration::joining;
use super::*;
use crate::groups::catalogue::Catalogue as _;
use crate::groups::classic::member::{Join, Protocol};
use crate::groups::embedded;

const NAMES: [&str; 2] = ["calls", "messages"];

/// What a consumer of the classic protocol does next.
enum Phase {
    /// Asks to be a member.
    Out,
    Joining(oneshot::Receiver<JoinGroupResponse>),
    Syncing(oneshot::Receiver<SyncGroupResponse>),
    /// Sends heartbeats.
    Working,
}

/// A consumer of the classic protocol.
struct Old {
    id: StrBytes,
    generation: i32,
    /// Whether it keeps what it has while it joins again.
    is_cooperative: bool,
    owned: Partitions,
    phase: Phase,
}

fn put_text(out: &mut BytesMut, text: &str) {
    out.put_i16(i16::try_from(text.len()).unwrap());
    out.put_slice(text.as_bytes());
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_i32(i32::try_from(count).unwrap());
}

impl Old {
    fn new(is_cooperative: bool) -> Old {
        Old {
            id: StrBytes::new(),
            generation: -1,
            is_cooperative,
            owned: Partitions::new(),
            phase: Phase::Out,
        }
    }

    /// A subscription to all topics, with what is held.
    fn subscription(&self, topics: &SomeTopics) -> Bytes {
        let mut out = BytesMut::new();
        out.put_i16(1);
        put_count(&mut out, NAMES.len());
        for name in NAMES {
            put_text(&mut out, name);
        }
        out.put_i32(-1);
        put_count(&mut out, self.owned.len());
        for (id, partitions) in &self.owned {
            put_text(&mut out, &topics.name_of(id).unwrap());
            put_count(&mut out, partitions.len());
            for partition in partitions {
                out.put_i32(*partition);
            }
        }
        out.freeze()
    }

    fn join(&self, topics: &SomeTopics) -> Join {
        Join {
            protocols: vec![Protocol {
                name: text("some"),
                metadata: self.subscription(topics),
            }],
            ..joining(self.id.clone())
        }
    }

    /// Joins again; an eager one gives back all before.
    fn rejoin(&mut self) {
        if !self.is_cooperative {
            self.owned.clear();
        }
        self.phase = Phase::Out;
    }

    fn refused(&mut self, code: i16) {
        if code == ResponseError::UnknownMemberId.code() {
            self.id = StrBytes::new();
        }
        if code == ResponseError::UnknownMemberId.code()
            || code == ResponseError::IllegalGeneration.code()
        {
            self.owned.clear();
        }
        self.rejoin();
    }

    fn synced(&mut self, response: &SyncGroupResponse, topics: &SomeTopics) {
        if response.error_code != 0 {
            return self.refused(response.error_code);
        }
        let assigned = embedded::assignment(&response.assignment, topics).unwrap();
        let gives_back = each(&self.owned).any(|(topic, partition)| {
            let kept = assigned.get(&topic);
            !kept.is_some_and(|kept| kept.contains(&partition))
        });
        self.owned = assigned;
        self.phase = match gives_back {
            true => Phase::Out,
            false => Phase::Working,
        };
    }
}

/// What the leader of a classic group makes of its members: everything in turn, but nothing that another still holds.
fn assign(joined: &JoinGroupResponse, topics: &SomeTopics) -> Vec<SyncGroupRequestAssignment> {
    let mut held: BTreeMap<(Uuid, i32), usize> = BTreeMap::new();
    for (index, member) in joined.members.iter().enumerate() {
        let told = embedded::subscription(&member.metadata, topics).unwrap();
        held.extend(each(&told.owned).map(|place| (place, index)));
    }
    if joined.members.is_empty() {
        return Vec::new();
    }
    let mut given = vec![Partitions::new(); joined.members.len()];
    let mut turn = 0;
    for name in NAMES {
        let Some((id, count)) = topics.find(name) else {
            continue;
        };
        for partition in 0..count {
            let next = turn % given.len();
            turn += 1;
            // As a cooperative assignor: what moves is first given back.
            let may_have = held
                .get(&(id, partition))
                .is_none_or(|holder| *holder == next);
            if may_have {
                given[next].entry(id).or_default().insert(partition);
            }
        }
    }
    let members = joined.members.iter().zip(&given);
    let assignment = members.map(|(member, given)| {
        SyncGroupRequestAssignment::default()
            .with_member_id(member.member_id.clone())
            .with_assignment(embedded::put_assignment(given, &member.metadata, topics))
    });
    assignment.collect()
}

struct World {
    bench: Bench,
    rng: Rng,
    new: Vec<Client>,
    old: Vec<Old>,
    made: u32,
    kinds: BTreeSet<&'static str>,
}

impl World {
    fn new(seed: u64) -> World {
        let mut bench = Bench::new();
        for (name, count) in NAMES.into_iter().zip([3, 4]) {
            bench.topics.put(name, count);
        }
        World {
            bench,
            rng: Rng::with_seed(seed),
            new: Vec::new(),
            old: Vec::new(),
            made: 0,
            kinds: BTreeSet::new(),
        }
    }

    fn newcomer(&mut self) {
        self.made += 1;
        match self.rng.bool() {
            true => self.old.push(Old::new(self.rng.bool())),
            false => {
                let id = format!("member-{}", self.made);
                self.new.push(Client::new(&id, &NAMES));
            }
        }
    }

    /// A member of the new protocol is heard; its answer may be lost, and it may be slow to give back.
    fn beat(&mut self, index: usize, may_fail: bool) {
        let client = &mut self.new[index];
        let heard = self.bench.beat(&client.next_beat());
        match heard {
            _ if may_fail && self.rng.u8(..5) == 0 => client.missed = true,
            Ok(heard) => {
                client.take(heard);
                if !may_fail || self.rng.bool() {
                    client.follow();
                }
            }
            Err(ResponseError::CoordinatorNotAvailable) => {}
            Err(
                ResponseError::UnknownMemberId
                | ResponseError::FencedMemberEpoch
                | ResponseError::GroupIdNotFound,
            ) => {
                client.epoch = 0;
                client.owned.clear();
                client.told.clear();
                client.missed = false;
            }
            Err(other) => panic!("{other:?}"),
        }
    }

    /// A member of the classic protocol does what comes next.
    fn go_on(&mut self, index: usize, may_fail: bool) {
        let (bench, old) = (&mut self.bench, &mut self.old[index]);
        let lost = may_fail && self.rng.u8(..8) == 0;
        match &mut old.phase {
            Phase::Out => {
                let join = old.join(&bench.topics);
                let (waiter, answer) = oneshot::channel();
                bench.act(|group, turn| group.join(join, waiter, turn));
                old.phase = Phase::Joining(answer);
            }
            Phase::Joining(_) | Phase::Syncing(_) if lost => old.rejoin(),
            Phase::Joining(answer) => match answer.try_recv() {
                Ok(joined) if joined.error_code == 0 => {
                    old.id = joined.member_id.clone();
                    old.generation = joined.generation_id;
                    let request = SyncGroupRequest::default()
                        .with_generation_id(joined.generation_id)
                        .with_member_id(joined.member_id.clone())
                        .with_assignments(assign(&joined, &bench.topics));
                    let (waiter, answer) = oneshot::channel();
                    bench.act(|group, turn| group.sync(request, waiter, turn));
                    old.phase = Phase::Syncing(answer);
                }
                Ok(refused) => old.refused(refused.error_code),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => old.rejoin(),
            },
            Phase::Syncing(answer) => match answer.try_recv() {
                Ok(synced) => old.synced(&synced, &bench.topics),
                Err(oneshot::error::TryRecvError::Empty) => {}
                Err(oneshot::error::TryRecvError::Closed) => old.rejoin(),
            },
            Phase::Working => {
                let request = HeartbeatRequest::default()
                    .with_generation_id(old.generation)
                    .with_member_id(old.id.clone());
                if let Err(code) = bench.act(|group, turn| group.heartbeat(&request, turn)) {
                    old.refused(code.code());
                }
            }
        }
    }

    fn leave(&mut self, old: &Old) {
        let leaving = vec![MemberIdentity::default().with_member_id(old.id.clone())];
        self.bench.act(|group, turn| group.leave(leaving, turn));
    }

    fn step(&mut self) {
        let count = self.new.len() + self.old.len();
        let one = self.rng.usize(..count.max(1));
        let (new, old) = match one.checked_sub(self.new.len()) {
            None => (Some(one), None),
            Some(old) => (None, Some(old).filter(|old| *old < self.old.len())),
        };
        match (self.rng.u8(..24), new, old) {
            (0..=1, ..) | (_, None, None) => self.newcomer(),
            (2, Some(index), _) => {
                let client = self.new.remove(index);
                self.bench.beat(&client.leaving(-1)).ok();
            }
            (2, _, Some(index)) => {
                let old = self.old.remove(index);
                self.leave(&old);
            }
            // Is killed.
            (3, Some(index), _) => drop(self.new.remove(index)),
            (3, _, Some(index)) => drop(self.old.remove(index)),
            (4, ..) => self.bench.disk.refuse = self.rng.bool().then_some(Unwritten::NoSpace),
            (5, ..) => self.bench.restart(),
            (6, ..) => {
                let ms = self.rng.i64(0..25_000);
                self.bench.pass(ms);
            }
            (_, Some(index), _) => self.beat(index, true),
            (_, _, Some(index)) => self.go_on(index, true),
        }
        self.kinds.insert(self.bench.group.type_name());
    }

    /// The partitions that those hold who are still members, each once.
    fn held(&self) -> BTreeMap<(Uuid, i32), StrBytes> {
        let is_member = |id: &StrBytes| match &self.bench.group.kind {
            Kind::Classic(group) => group.members.contains_key(id),
            Kind::Consumer(group) => group.members.contains_key(id),
        };
        let new = self.new.iter().map(|client| (&client.id, &client.owned));
        let old = self.old.iter().map(|old| (&old.id, &old.owned));
        let mut held = BTreeMap::new();
        for (id, owned) in new.chain(old).filter(|(id, _)| is_member(id)) {
            for place in each(owned) {
                if let Some(other) = held.insert(place, id.clone()) {
                    panic!(
                        "{place:?} is held by {} and {}",
                        id.as_str(),
                        other.as_str()
                    );
                }
            }
        }
        held
    }

    /// Everybody is heard, and those who were killed are missed.
    fn settle(&mut self) {
        self.bench.disk.refuse = None;
        for _ in 0..80 {
            self.bench.pass(2000);
            for index in 0..self.new.len() {
                self.beat(index, false);
                self.held();
            }
            for index in 0..self.old.len() {
                self.go_on(index, false);
                self.held();
            }
        }
    }

    fn check_end(&self) {
        let members = self.new.len() + self.old.len();
        if members == 0 {
            return;
        }
        for old in &self.old {
            assert!(
                matches!(old.phase, Phase::Working),
                "a member waits for ever"
            );
        }
        for new in &self.new {
            assert_eq!(new.owned, new.told);
        }
        let kind = match self.new.is_empty() {
            true => "classic",
            false => "consumer",
        };
        assert_eq!(
            (self.bench.group.type_name(), self.bench.group.state()),
            (kind, "Stable")
        );
        assert_eq!(self.held().len(), 7);
    }
}

#[test]
fn any_history_of_both_protocols_ends_with_every_partition_held_once() {
    let mut both = 0;
    for seed in 0..500 {
        let history = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            for _ in 0..150 {
                world.step();
                world.held();
            }
            world.settle();
            world.check_end();
            world.kinds.len()
        });
        let Ok(kinds) = history else {
            panic!("seed {seed}");
        };
        both += usize::from(kinds == 2);
    }
    // Nothing is proven by groups that are of one kind all the time.
    assert!(both > 100, "{both} groups changed their kind");
}
