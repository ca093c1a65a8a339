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

    /// The group deals its partitions anew.
    pub(crate) fn rebalance(&self, group: &str) {
        let mut world = self.world();
        let notices = world
            .groups
            .get_mut(group)
            .map_or_else(Vec::new, Group::rebalance);
        world.tell(notices);
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
        world.log_book().forget_beyond(topic, partitions);
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
            world.tell(notices);
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

    pub(super) fn log_book(&self) -> MutexGuard<'_, Journal> {
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
    pub(super) fn tell(&mut self, notices: Vec<(MemberId, Notice)>) {
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
        self.tell(notices);
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
            if !cut && !sent.is_decided {
                sent.write(&mut self.topics);
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
                if !matches!(sent.fate, Fate::Failed) {
                    sent.write(&mut self.topics);
                }
            }
        }
    }

    /// Throws out who has not polled for longer than its session lasts.
    fn expel_due(&mut self) {
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
