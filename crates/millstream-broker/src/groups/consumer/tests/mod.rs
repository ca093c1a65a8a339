//! The group as its members meet it, heartbeat by heartbeat, on a clock that the tests move.

mod migration;
mod mixed;
mod random;
mod timeouts;

use std::collections::BTreeSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;

use super::{Beat, Change, Heard, State};
use crate::groups::classic;
use crate::groups::consumer::member::{Partitions, each};
use crate::groups::group::{Group, Kind, Moment, Rules, Store, Turn};
use crate::groups::records::{self, Replayed};
use crate::groups::testing::{CONSUMER_RULES, SomeTopics};
use crate::journal::Unwritten;

const WALL: i64 = 1_700_000_000_000;
const SESSION_MS: i64 = 45_000;
const REBALANCE_MS: i32 = 60_000;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// The journal, record by record.
#[derive(Default)]
struct Disk {
    records: Vec<Vec<u8>>,
    refuse: Option<Unwritten>,
}

impl Disk {
    fn put(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unwritten> {
        if let Some(unwritten) = self.refuse {
            return Err(unwritten);
        }
        let mut record = Vec::new();
        put(&mut record);
        self.records.push(record);
        Ok(())
    }
}

impl Store for Disk {
    fn save(&mut self, group: &classic::Group) -> Result<(), Unwritten> {
        self.put(|out| records::put_group(out, group))
    }

    fn change(&mut self, group: &GroupId, change: &Change) -> Result<(), Unwritten> {
        self.put(|out| records::put_change(out, group, change))
    }
}

/// A group with its clock, its disk and its topics.
struct Bench {
    group: Group,
    now: i64,
    disk: Disk,
    topics: SomeTopics,
}

impl Bench {
    fn new() -> Bench {
        Bench {
            group: Group::new(GroupId(text("readers")), WALL),
            now: 0,
            disk: Disk::default(),
            topics: SomeTopics::default(),
        }
    }

    fn act<T>(&mut self, event: impl FnOnce(&mut Group, &mut Turn<'_>) -> T) -> T {
        let mut turn = Turn {
            now: Moment {
                steady: self.now,
                wall: WALL + self.now,
            },
            rules: Rules {
                initial_delay_ms: 0,
                max_size: usize::MAX,
                consumer: CONSUMER_RULES,
            },
            store: &mut self.disk,
            topics: &self.topics,
        };
        event(&mut self.group, &mut turn)
    }

    fn beat(&mut self, beat: &Beat) -> Result<Heard, ResponseError> {
        let heard = self.act(|group, turn| group.consumer_heartbeat(beat, turn));
        heard.map_err(|refused| refused.code)
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

    /// As after a kill of the broker: what was stored is all there is.
    fn restart(&mut self) {
        let mut replayed = Replayed::default();
        for record in &self.disk.records {
            replayed.apply(record).unwrap();
        }
        let id = self.group.id.clone();
        let found = replayed.groups.remove(&id);
        let (group, members) = match found {
            None => (Group::new(id, WALL), Vec::new()),
            Some(found) => (found.group, found.members),
        };
        self.group = group;
        match &mut self.group.kind {
            Kind::Classic(group) => group.restore(members, self.now),
            Kind::Consumer(group) => group.start_timers(self.now, &CONSUMER_RULES),
        }
    }

    fn consumers(&self) -> &super::Group {
        match &self.group.kind {
            Kind::Consumer(group) => group,
            Kind::Classic(group) => panic!("a consumer group became {group:?}"),
        }
    }

    fn state(&self) -> State {
        self.consumers().state()
    }
}

/// A client as it behaves: what it was told, and what it holds.
#[derive(Clone, Debug)]
struct Client {
    id: StrBytes,
    instance: Option<StrBytes>,
    epoch: i32,
    names: BTreeSet<TopicName>,
    pattern: StrBytes,
    told: Partitions,
    owned: Partitions,
    /// Whether it waits for an answer that was lost.
    missed: bool,
}

impl Client {
    fn new(id: &str, names: &[&str]) -> Client {
        Client {
            id: text(id),
            instance: None,
            epoch: 0,
            names: names.iter().map(|name| TopicName(text(name))).collect(),
            pattern: StrBytes::new(),
            told: Partitions::new(),
            owned: Partitions::new(),
            missed: false,
        }
    }

    fn beat(&self) -> Beat {
        Beat {
            member_id: self.id.clone(),
            epoch: self.epoch,
            instance_id: self.instance.clone(),
            rebalance_timeout_ms: Some(REBALANCE_MS),
            names: Some(self.names.clone()),
            pattern: Some(self.pattern.clone()),
            owned: Some(self.owned.clone()),
            ..Beat::default()
        }
    }

    /// What it says next. As long as it has not done what it was told, it does not say what it holds: it would seem to have given back what
    /// it is about to take.
    fn next_beat(&mut self) -> Beat {
        if self.missed {
            self.follow();
        }
        let settled = self.epoch == 0 || self.owned == self.told;
        Beat {
            owned: settled.then(|| self.owned.clone()),
            ..self.beat()
        }
    }

    fn take(&mut self, heard: Heard) {
        self.missed = false;
        self.epoch = heard.epoch;
        if let Some(assigned) = heard.assigned {
            self.told = assigned;
        }
    }

    /// Gives back and takes over what it was told to.
    fn follow(&mut self) {
        self.owned = self.told.clone();
    }

    /// One whole round: beats, hears, follows.
    fn go(&mut self, bench: &mut Bench) {
        let heard = bench.beat(&self.beat()).unwrap();
        self.take(heard);
        self.follow();
    }

    fn leaving(&self, epoch: i32) -> Beat {
        Beat {
            member_id: self.id.clone(),
            instance_id: self.instance.clone(),
            epoch,
            ..Beat::default()
        }
    }

    fn count(&self) -> usize {
        each(&self.owned).count()
    }
}

#[test]
fn a_group_goes_through_its_states() {
    let mut bench = Bench::new();
    bench.topics.put("calls", 4);
    let mut first = Client::new("first", &["calls"]);
    first.go(&mut bench);
    assert_eq!(bench.state(), State::Stable);
    let mut second = Client::new("second", &["calls"]);
    second.go(&mut bench);
    assert_eq!(bench.state(), State::Reconciling);
    first.go(&mut bench);
    first.go(&mut bench);
    second.go(&mut bench);
    assert_eq!(bench.state(), State::Stable);
    bench.beat(&first.leaving(-1)).unwrap();
    assert_eq!(bench.state(), State::Assigning);
    bench.beat(&second.leaving(-1)).unwrap();
    assert_eq!(bench.state(), State::Empty);
    let states = [
        State::Empty,
        State::Assigning,
        State::Reconciling,
        State::Stable,
    ];
    let names = ["Empty", "Assigning", "Reconciling", "Stable"];
    assert_eq!(states.map(State::name), names);
}

#[test]
fn a_heartbeat_that_cannot_be_stored_changes_nothing() {
    let mut bench = Bench::new();
    bench.topics.put("calls", 4);
    let mut first = Client::new("first", &["calls"]);
    bench.disk.refuse = Some(Unwritten::NoSpace);
    let full = Err(ResponseError::CoordinatorNotAvailable);
    assert_eq!(bench.beat(&first.beat()), full);
    assert!(bench.group.is_void());
    bench.disk.refuse = None;
    first.go(&mut bench);
    bench.disk.refuse = Some(Unwritten::Poisoned);
    let second = Client::new("second", &["calls"]);
    let broken = Err(ResponseError::KafkaStorageError);
    assert_eq!(bench.beat(&second.beat()), broken);
    // Nothing has changed for the first one: it need not be stored.
    first.go(&mut bench);
    assert_eq!((first.epoch, first.count()), (1, 4));
    // A member that cannot be removed stays until it can.
    bench.pass(10 * SESSION_MS);
    assert_eq!(bench.state(), State::Stable);
    bench.disk.refuse = None;
    bench.pass(1000);
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn an_empty_group_takes_members_of_either_protocol_and_keeps_its_offsets() {
    let mut bench = Bench::new();
    bench.topics.put("calls", 1);
    let mut member = Client::new("first", &["calls"]);
    member.go(&mut bench);
    assert_eq!(bench.group.type_name(), "consumer");
    bench.beat(&member.leaving(-1)).unwrap();
    let join = migration::joining(StrBytes::new());
    let (waiter, mut answer) = tokio::sync::oneshot::channel();
    bench.act(|group, turn| group.join(join, waiter, turn));
    assert_eq!(answer.try_recv().unwrap().generation_id, 1);
    assert_eq!(bench.group.type_name(), "classic");
}
