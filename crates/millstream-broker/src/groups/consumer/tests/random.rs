//! Random histories: members join, leave, fall silent, lose answers and come back; topics change; the disk fills; the broker is killed.
//!
//! What has to hold: no partition is held by two members at a time, epochs of the group and of a member never go back, and when
//! everybody is heard again each partition of each subscribed topic is held by one of its subscribers, and loads differ by one.

use std::collections::BTreeMap;

use fastrand::Rng;
use uuid::Uuid;

use super::*;

const NAMES: [&str; 3] = ["calls", "messages", "sensors"];

struct World {
    bench: Bench,
    rng: Rng,
    clients: Vec<Client>,
    counts: BTreeMap<&'static str, i32>,
    made: u32,
    epoch: i32,
}

impl World {
    fn new(seed: u64) -> World {
        World {
            bench: Bench::new(),
            rng: Rng::with_seed(seed),
            clients: Vec::new(),
            counts: BTreeMap::new(),
            made: 0,
            epoch: 0,
        }
    }

    fn some_names(&mut self) -> Vec<&'static str> {
        let mut names = NAMES.to_vec();
        self.rng.shuffle(&mut names);
        names.truncate(self.rng.usize(1..=3));
        names
    }

    fn newcomer(&mut self) {
        self.made += 1;
        let names = match self.rng.bool() {
            true => NAMES.to_vec(),
            false => self.some_names(),
        };
        let mut client = Client::new(&format!("member-{}", self.made), &names);
        if self.rng.u8(..4) == 0 {
            client.names.clear();
            client.pattern = text("calls|m.*");
        }
        if self.rng.u8(..3) == 0 {
            client.instance = Some(text(["one", "two"][self.rng.usize(..2)]));
        }
        self.clients.push(client);
    }

    fn change_topics(&mut self) {
        let name = NAMES[self.rng.usize(..3)];
        if self.counts.contains_key(name) && self.rng.u8(..4) == 0 {
            self.counts.remove(name);
            self.bench.topics.delete(name);
        } else {
            let more = self.rng.i32(1..4);
            let count = self.counts.entry(name).or_default();
            *count += more;
            self.bench.topics.put(name, *count);
        }
    }

    fn heartbeat(&mut self, index: usize, may_be_lost: bool) {
        let client = &mut self.clients[index];
        let heard = self.bench.beat(&client.next_beat());
        let lost = may_be_lost && self.rng.u8(..5) == 0;
        match heard {
            _ if lost => client.missed = true,
            Ok(heard) => {
                assert!(heard.epoch >= client.epoch, "a member's epoch went back");
                client.take(heard);
                // Slow ones give back later.
                if !may_be_lost || self.rng.bool() {
                    client.follow();
                }
            }
            Err(ResponseError::CoordinatorNotAvailable) => {}
            // Another one has its instance id.
            Err(ResponseError::FencedInstanceId | ResponseError::UnreleasedInstanceId) => {
                self.clients.remove(index);
            }
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

    fn step(&mut self) {
        let someone = match self.clients.len() {
            0 => None,
            many => Some(self.rng.usize(..many)),
        };
        match (self.rng.u8(..20), someone) {
            (0, _) | (_, None) => self.newcomer(),
            (1, Some(index)) => {
                let client = self.clients.remove(index);
                self.bench.beat(&client.leaving(-1)).ok();
            }
            (2, Some(index)) if self.clients[index].instance.is_some() => {
                // Goes for a while and comes back as another process.
                let away = self.clients.remove(index);
                self.bench.beat(&away.leaving(-2)).ok();
                self.newcomer();
                if let Some(back) = self.clients.last_mut() {
                    back.instance.clone_from(&away.instance);
                }
            }
            // Is killed.
            (3, Some(index)) => drop(self.clients.remove(index)),
            (4, _) => self.change_topics(),
            (5, Some(index)) => {
                let names = self.some_names();
                let names = names.iter().map(|name| TopicName(text(name)));
                self.clients[index].names = names.collect();
            }
            (6, _) => self.bench.disk.refuse = self.rng.bool().then_some(Unwritten::NoSpace),
            (7, _) => self.bench.restart(),
            (8, _) => {
                let ms = self.rng.i64(0..70_000);
                self.bench.pass(ms);
            }
            (9, Some(index)) => self.clients[index].follow(),
            (_, Some(index)) => self.heartbeat(index, true),
        }
    }

    /// The partitions that clients hold who are still members, each once.
    fn held(&mut self) -> BTreeMap<(Uuid, i32), StrBytes> {
        let mut held = BTreeMap::new();
        let Kind::Consumer(group) = &self.bench.group.kind else {
            return held;
        };
        if !group.is_void() {
            assert!(group.epoch >= self.epoch, "the group's epoch went back");
            self.epoch = group.epoch;
        }
        for client in &self.clients {
            let Some(member) = group.members.get(&client.id) else {
                continue;
            };
            for place in each(&client.owned) {
                assert!(
                    member.holds().any(|held| held == place),
                    "{} holds {place:?}, of which the group does not know: {member:?}",
                    client.id.as_str()
                );
                if let Some(other) = held.insert(place, client.id.clone()) {
                    panic!(
                        "{place:?} is held by {} and {}",
                        client.id.as_str(),
                        other.as_str()
                    );
                }
            }
        }
        let known: usize = group.members.values().map(|one| one.holds().count()).sum();
        assert_eq!(group.held.len(), known, "a partition is assigned twice");
        held
    }

    /// Everybody is heard, and those who were killed are missed.
    fn settle(&mut self) {
        self.bench.disk.refuse = None;
        for _ in 0..40 {
            self.bench.pass(5000);
            for index in (0..self.clients.len()).rev() {
                self.heartbeat(index, false);
                self.held();
            }
        }
    }

    fn check_end(&mut self) {
        if self.clients.is_empty() {
            return;
        }
        assert_eq!(self.bench.state(), State::Stable);
        let held = self.held();
        let matches = |client: &Client, name: &str| {
            let by_pattern = !client.pattern.is_empty() && name != "sensors";
            by_pattern || client.names.iter().any(|one| one.as_str() == name)
        };
        let read = self.counts.iter().filter(|(name, _)| {
            let mut clients = self.clients.iter();
            clients.any(|client| matches(client, name))
        });
        let expected: i32 = read.map(|(_, count)| *count).sum();
        assert_eq!(held.len(), usize::try_from(expected).unwrap());
        let alike = self
            .clients
            .windows(2)
            .all(|two| two[0].names == two[1].names && two[0].pattern == two[1].pattern);
        let loads = || self.clients.iter().map(Client::count);
        if alike {
            assert!(loads().max().unwrap() - loads().min().unwrap() <= 1);
        }
    }
}

#[test]
fn any_history_ends_with_every_partition_held_once() {
    for seed in 0..150 {
        let history = std::panic::catch_unwind(|| {
            let mut world = World::new(seed);
            world.change_topics();
            for _ in 0..120 {
                world.step();
                world.held();
            }
            world.settle();
            world.check_end();
        });
        assert!(history.is_ok(), "seed {seed}");
    }
}
