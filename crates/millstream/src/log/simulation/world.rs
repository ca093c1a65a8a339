//! The simulated cluster as a whole: who is there, what is under way, and what time does to it.
//!
//! Time passes only in [`Simulation::advance`]. Then what is due happens in the order it is due: records under way are
//! written, and members that have not polled for too long are thrown out of their group.

use std::cell::{RefCell, RefMut};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::clock::VirtualClock;
use super::faults::Faults;
use super::group::{Group, Notice};
use super::journal::Journal;
use super::log::SimulatedLog;
use super::member::{Fate, Member, Subscription};
use super::topics::Topics;
use crate::clock::{Clock as _, Moment};
use crate::error::{Class, Error, Outcome};
use crate::topic::{NextOffset, TopicPartition};

/// A batch about to be decided: how many records of which calls, and how much their topic takes.
#[derive(Default)]
struct Due {
    count: usize,
    bytes: usize,
    calls: BTreeSet<u64>,
    limit: usize,
}

/// How long a client tries to write a record.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A member of a group, dead or alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct MemberId(pub(crate) u64);

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "worker {}", self.0)
    }
}

/// Everything there is.
pub(super) struct World {
    pub(super) faults: Faults,
    pub(super) random: fastrand::Rng,
    pub(super) clock: VirtualClock,
    pub(super) topics: Topics,
    pub(super) groups: BTreeMap<Arc<str>, Group>,
    pub(super) members: BTreeMap<MemberId, Member>,
    journal: Arc<Mutex<Journal>>,
    eager: bool,
    last_member: u64,
    pub(super) last_batch: u64,
    /// Batches that were decided.
    decided: u64,
    /// No broker answers before this time.
    pub(super) away_until: Moment,
    /// The most bytes that a member had in flight.
    most_in_flight: usize,
}

/// A handle to the simulated cluster.
#[derive(Clone)]
pub(crate) struct Simulation(Rc<RefCell<World>>);

impl Simulation {
    pub(crate) fn new(seed: u64, faults: Faults) -> Simulation {
        let mut random = fastrand::Rng::with_seed(seed);
        let eager = random.f64() < faults.eager;
        Simulation(Rc::new(RefCell::new(World {
            faults,
            random,
            clock: VirtualClock::default(),
            topics: Topics::default(),
            groups: BTreeMap::new(),
            members: BTreeMap::new(),
            journal: Arc::default(),
            eager,
            last_member: 0,
            last_batch: 0,
            decided: 0,
            away_until: Moment::default(),
            most_in_flight: 0,
        })))
    }

    pub(super) fn world(&self) -> RefMut<'_, World> {
        self.0.borrow_mut()
    }

    pub(crate) fn clock(&self) -> VirtualClock {
        self.world().clock.clone()
    }

    pub(crate) fn journal(&self) -> Arc<Mutex<Journal>> {
        Arc::clone(&self.world().journal)
    }

    pub(crate) fn faults(&self) -> Faults {
        self.world().faults
    }

    /// Whether something with this probability happens.
    pub(crate) fn chance(&self, probability: f64) -> bool {
        self.world().chance(probability)
    }

    /// A number below `bound`.
    pub(crate) fn below(&self, bound: usize) -> usize {
        self.world().random.usize(..bound.max(1))
    }

    /// Looks at or changes the topics.
    pub(crate) fn topics<T>(&self, look: impl FnOnce(&mut Topics) -> T) -> T {
        look(&mut self.world().topics)
    }

    /// A new member of a group.
    pub(crate) fn join(&self, subscription: Subscription) -> SimulatedLog {
        let mut world = self.world();
        world.last_member += 1;
        let id = MemberId(world.last_member);
        let now = world.clock.now();
        // As in production: several inputs need the range assignor, which knows the eager way only.
        let eager = world.eager || subscription.topics.len() > 1;
        world
            .groups
            .entry(Arc::clone(&subscription.group))
            .or_insert_with(|| Group::new(eager));
        world.members.insert(id, Member::new(subscription, now));
        SimulatedLog::new(self.clone(), id)
    }

    /// A member's process is killed: no one learns of it, and what was under way may or may not arrive.
    pub(crate) fn crash(&self, member: MemberId) {
        let mut world = self.world();
        world.abandon(member);
        if let Some(member) = world.members.get_mut(&member) {
            member.crashed = true;
        }
    }

    /// No broker answers for this long: what is under way arrives afterwards, or is given up.
    pub(crate) fn outage(&self, time: Duration) {
        let mut world = self.world();
        let until = world.clock.now().plus(time);
        world.away_until = until.max(world.away_until);
        for member in world.members.values_mut() {
            for sent in member.under_way.iter_mut().filter(|sent| !sent.is_decided) {
                sent.due = sent.due.max(until);
            }
            for batch in member.batches.values_mut() {
                batch.due = batch.due.max(until);
            }
        }
    }

    /// Whether no broker answers at the moment.
    pub(crate) fn is_away(&self) -> bool {
        self.world().is_away()
    }

    /// How many batches were written or refused: each is a round trip.
    #[cfg(test)]
    pub(crate) fn batches(&self) -> u64 {
        self.world().decided
    }

    /// The most bytes that any member had in flight.
    #[cfg(test)]
    pub(crate) fn most_in_flight(&self) -> usize {
        self.world().most_in_flight
    }

    /// The group deals its partitions anew.
    pub(crate) fn rebalance(&self, group: &str) {
        let mut world = self.world();
        let notices = world
            .groups
            .get_mut(group)
            .map_or_else(Vec::new, Group::rebalance);
        world.notify(notices);
        world.unsettle(group);
    }

    /// A topic grows, shrinks, or vanishes (no partitions); the groups that read it notice.
    pub(crate) fn resize(&self, topic: &str, partitions: i32) {
        let mut world = self.world();
        if partitions > 0 {
            world.topics.resize(topic, partitions);
        } else {
            world.topics.remove(topic);
        }
        world.journal().forget_beyond(topic, partitions);
        let reads = |member: &Member| {
            member
                .subscription
                .topics
                .iter()
                .any(|read| **read == *topic)
        };
        let readers = world.members.values().filter(|member| reads(member));
        let groups: BTreeSet<Arc<str>> = readers
            .map(|member| Arc::clone(&member.subscription.group))
            .collect();
        let left = world.topics.topic_partitions(topic);
        for name in groups {
            let notices = world
                .groups
                .get_mut(&name)
                .map_or_else(Vec::new, |group| group.set_partitions(topic, left.clone()));
            world.notify(notices);
            world.unsettle(&name);
        }
    }

    /// Retention takes some of the oldest records of a random partition that a group reads.
    pub(crate) fn retain(&self) {
        let mut world = self.world();
        let read: Vec<TopicPartition> = world
            .groups
            .values()
            .flat_map(|group| group.partitions().cloned())
            .collect();
        let count = world.random.usize(1..4);
        if let Some(partition) = world.random.choice(&read) {
            world.topics.forget(partition, count);
        }
    }

    /// Time passes.
    pub(crate) fn advance(&self, by: Duration) {
        let mut world = self.world();
        world.clock.advance(by);
        let in_flight = world.members.values().map(Member::in_flight).max();
        world.most_in_flight = world.most_in_flight.max(in_flight.unwrap_or(0));
        world.time_out();
        world.refuse_due();
        world.write_due();
        let now = world.clock.now();
        let members: Vec<MemberId> = world.members.keys().copied().collect();
        for member in members {
            world.commit_late(member, Some(now));
        }
        world.expel_due();
    }

    /// What a group has committed.
    pub(crate) fn committed(&self, group: &str, partition: &TopicPartition) -> Option<NextOffset> {
        self.world()
            .groups
            .get(group)?
            .committed
            .get(partition)
            .copied()
    }

    /// What is not finished, for each partition of each group and each live member; nothing when all is quiet.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        let world = self.world();
        let mut unfinished = Vec::new();
        for (name, group) in &world.groups {
            for partition in group.partitions() {
                let (start, end) = world.topics.range(partition);
                let at = group
                    .committed
                    .get(partition)
                    .or_else(|| group.begun.get(partition));
                match at {
                    None => {
                        unfinished.push(format!("group `{name}` has not begun with {partition}"))
                    }
                    Some(at) if (*at).max(start) < end => {
                        unfinished.push(format!(
                            "group `{name}` has committed {at} of {end} in {partition}"
                        ));
                    }
                    Some(_) => {}
                }
            }
        }
        for (id, member) in world.members.iter().filter(|(_, member)| !member.crashed) {
            let group = world.groups.get(&member.subscription.group);
            if group.is_none_or(|group| !group.has(*id)) {
                unfinished.push(format!("{id} is not in its group"));
            }
            if !member.under_way.is_empty() {
                unfinished.push(format!(
                    "{id} has {} records under way",
                    member.under_way.len()
                ));
            }
        }
        unfinished
    }
}

impl World {
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.random.f64() < probability
    }

    pub(super) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A delay of the network: usually some milliseconds, now and then much longer.
    pub(super) fn delay(&mut self) -> Duration {
        let most = if self.random.u8(..20) == 0 {
            500_000
        } else {
            20_000
        };
        Duration::from_micros(self.random.u64(..most))
    }

    /// Hands the group's notices to its members.
    pub(super) fn notify(&mut self, notices: Vec<(MemberId, Notice)>) {
        for (id, notice) in notices {
            if let Some(member) = self.members.get_mut(&id) {
                member.notices.push_back(notice);
            }
        }
    }

    /// Takes a member out of its group, if it is in.
    pub(super) fn leave(&mut self, id: MemberId) {
        let Some(member) = self.members.get(&id) else {
            return;
        };
        let group = Arc::clone(&member.subscription.group);
        let notices = self
            .groups
            .get_mut(&group)
            .map_or_else(Vec::new, |group| group.leave(id));
        self.notify(notices);
        self.unsettle(&group);
    }

    /// Lets what a member has under way arrive or not, by chance: nobody waits for it any more.
    pub(super) fn abandon(&mut self, id: MemberId) {
        let under_way = self
            .members
            .get_mut(&id)
            .map_or_else(Vec::new, |member| std::mem::take(&mut member.under_way));
        let mut cut = false;
        for sent in under_way {
            // What was sent later does not arrive when what was sent earlier did not.
            cut |= self.random.bool();
            if !cut && !sent.is_decided && sent.fate.is_written() {
                sent.write(&mut self.topics);
            }
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.clock.now() < self.away_until
    }

    /// The clients give up on what they could not write for too long.
    fn time_out(&mut self) {
        let now = self.clock.now();
        for member in self.members.values_mut() {
            let waiting = member.under_way.iter_mut();
            for sent in waiting.filter(|sent| !sent.is_decided && sent.due > now) {
                if now.since(sent.sent) > DELIVERY_TIMEOUT {
                    sent.is_decided = true;
                    sent.fate = Fate::TimedOut;
                }
            }
        }
    }

    /// Refuses the batches that are due and larger than their topic takes.
    fn refuse_due(&mut self) {
        let now = self.clock.now();
        let mut batches: BTreeMap<(MemberId, u64), Due> = BTreeMap::new();
        for (id, member) in &self.members {
            let due = member.under_way.iter();
            for sent in due.filter(|sent| !sent.is_decided && sent.due <= now) {
                let batch = batches.entry((*id, sent.batch)).or_default();
                batch.count += 1;
                batch.bytes += sent.bytes();
                let origin = sent.record.origin.as_ref();
                batch.calls.extend(origin.map(|origin| origin.attempt));
                batch.limit = self.topics.limit(&sent.topic);
            }
        }
        for ((id, number), batch) in batches {
            self.decided += 1;
            // Effects of one record alone would be taken for its fault.
            let by_chance = batch.calls.len() > 1 && self.chance(self.faults.refused_batch);
            if batch.bytes <= batch.limit && !by_chance {
                continue;
            }
            if let (1, Some(call)) = (batch.calls.len(), batch.calls.first()) {
                self.journal().refuse(*call);
            }
            let Some(member) = self.members.get_mut(&id) else {
                continue;
            };
            for sent in member
                .under_way
                .iter_mut()
                .filter(|sent| sent.batch == number)
            {
                if !sent.is_decided {
                    sent.fate = Fate::Refused {
                        only_record: batch.count == 1,
                    };
                }
            }
        }
    }

    /// Writes what is due, in the order it is due.
    fn write_due(&mut self) {
        let now = self.clock.now();
        let mut due: Vec<(Moment, MemberId, usize)> = Vec::new();
        for (id, member) in &self.members {
            let sent = member.under_way.iter().enumerate();
            let sent = sent.filter(|(_, sent)| !sent.is_decided && sent.due <= now);
            due.extend(sent.map(|(index, sent)| (sent.due, *id, index)));
        }
        due.sort();
        for (_, id, index) in due {
            let member = self.members.get_mut(&id);
            if let Some(sent) = member.and_then(|member| member.under_way.get_mut(index)) {
                sent.is_decided = true;
                if sent.fate.is_written() {
                    sent.write(&mut self.topics);
                }
            }
        }
    }

    /// Throws out who has not polled for longer than its session lasts.
    fn expel_due(&mut self) {
        if self.is_away() {
            return;
        }
        let now = self.clock.now();
        let is_late =
            |member: &Member| now.since(member.last_poll) > member.subscription.session_timeout;
        let late: Vec<MemberId> = self
            .members
            .iter()
            .filter(|(_, member)| is_late(member))
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.leave(id);
            if self.members.get(&id).is_some_and(|member| member.crashed) {
                self.members.remove(&id);
            } else if let Some(member) = self.members.get_mut(&id) {
                member.expelled();
            }
        }
    }
}

/// A failure that may pass.
pub(super) fn failure(action: &str, reason: &str, outcome: Outcome) -> Error {
    Error::Kafka {
        action: action.to_owned(),
        reason: reason.to_owned(),
        class: Class::Retriable,
        outcome,
    }
}
