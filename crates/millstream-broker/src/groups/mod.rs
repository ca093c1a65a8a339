//! The coordinator of all consumer groups: finds the group of a request, keeps what must last, and wakes groups in time.
//!
//! A request locks the state of all groups for the microseconds that its event takes, and then waits, if it has to, for the
//! answer without the lock. The groups themselves are `group`, pure state machines of two kinds, `classic` and `consumer`; `offsets` are what
//! they have committed; `ledger` and `records` keep both on disk. One task, [`Groups::run`], sleeps until the next deadline of any group.
//!
//! An answer that says "stored" leaves after the record is in the journal. When it cannot be stored, nothing changes.
//!
//! Offsets of transactions come through `transactional` and the same `ledger`.

mod catalogue;
mod classic;
mod consumer;
mod embedded;
mod events;
mod group;
mod ledger;
mod migration;
mod offsets;
mod records;
mod requests;
mod transactional;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::messages::{GroupId, TopicName};
use tokio::sync::Notify;

use crate::alarms::{Alarms, NEVER};
use crate::clock::{self, Clock, Stopwatch};
use crate::config::Config;
use crate::error::Error;
use crate::frame::own;
use crate::journal::Unwritten;
use group::{Group, Kind, Moment, Rules, Turn};
use ledger::Ledger;
use offsets::Places;

pub(crate) use catalogue::Catalogue;
pub(crate) use consumer::assignor::Assignor;
pub(crate) use consumer::member::Partitions;
pub(crate) use consumer::{Beat, Heard, check_pattern};
pub(crate) use requests::Reader;

/// All groups of this broker.
#[derive(Debug)]
pub(crate) struct Groups {
    shared: Mutex<Shared>,
    limits: Limits,
    topics: Arc<dyn Catalogue>,
    clock: Clock,
    since_start: Stopwatch,
    /// Rung when a group has to be woken earlier than any other.
    earlier: Notify,
}

/// What the operator has set.
#[derive(Debug)]
struct Limits {
    rules: Rules,
    session_timeout_ms: std::ops::RangeInclusive<i32>,
    metadata_bytes: usize,
    retention_ms: i64,
    retention_check: Duration,
}

#[derive(Debug)]
struct Shared {
    groups: HashMap<GroupId, Group>,
    ledger: Ledger,
    /// When which group is to be woken; an alarm may be earlier than the group's deadline, never later.
    alarms: Alarms<GroupId>,
    stopping: bool,
}

impl Groups {
    /// Opens the journal at `path`, creating it when missing. Sessions of stored members start now.
    pub(crate) fn open(
        path: &Path,
        config: &Config,
        topics: Arc<dyn Catalogue>,
    ) -> Result<Groups, Error> {
        let rules = rules(config);
        let (ledger, found) = Ledger::open(path, config.fsync)?;
        let mut shared = Shared {
            groups: HashMap::new(),
            ledger,
            alarms: Alarms::default(),
            stopping: false,
        };
        for one in found {
            let mut group = one.group;
            match &mut group.kind {
                Kind::Classic(classic) => classic.restore(one.members, 0),
                Kind::Consumer(consumer) => consumer.start_timers(0, &rules.consumer),
            }
            if group.is_void() {
                continue;
            }
            let id = group.id.clone();
            shared.groups.insert(id.clone(), group);
            shared.set_alarm(&id);
        }
        shared.ledger.shrink(shared.groups.values());
        Ok(Groups {
            shared: Mutex::new(shared),
            limits: Limits {
                rules,
                session_timeout_ms: config.group_min_session_timeout_ms
                    ..=config.group_max_session_timeout_ms,
                metadata_bytes: usize::try_from(config.offset_metadata_max_bytes).unwrap_or(0),
                retention_ms: config.offsets_retention_ms,
                retention_check: config.offsets_retention_check,
            },
            topics,
            clock: config.clock.clone(),
            since_start: Stopwatch::start(),
            earlier: Notify::new(),
        })
    }

    /// Wakes groups in time and forgets expired offsets, until `stop` completes; then answers all that wait.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut next_check = self.after_check();
        loop {
            let next = self.lock().alarms.next().min(next_check);
            let wait = next.saturating_sub(self.now().steady).max(0);
            tokio::select! {
                () = &mut stop => break,
                () = self.earlier.notified() => {}
                () = clock::sleep(Duration::from_millis(wait.unsigned_abs())) => {}
            }
            self.wake_groups();
            if next_check <= self.now().steady {
                self.expire_offsets();
                next_check = self.after_check();
            }
        }
        let mut shared = self.lock();
        shared.stopping = true;
        for group in shared.groups.values_mut() {
            group.abandon();
        }
    }

    fn after_check(&self) -> i64 {
        let check = i64::try_from(self.limits.retention_check.as_millis()).unwrap_or(NEVER);
        self.now().steady.saturating_add(check)
    }

    /// Forces everything to the disk. No request may follow.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.lock().ledger.flush()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        Moment {
            steady: self.since_start.millis(),
            wall: self.clock.now_ms(),
        }
    }

    /// Brings an event to a group, if there is such a group or it may be created for the event.
    fn act<T>(
        &self,
        id: &GroupId,
        create: bool,
        event: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let now = self.now();
        let mut guard = self.lock();
        let shared = &mut *guard;
        if shared.stopping {
            return None;
        }
        if create && !shared.groups.contains_key(id) {
            shared.create(id, now);
        }
        let group = shared.groups.get_mut(id)?;
        let mut turn = Turn {
            now,
            rules: self.limits.rules,
            store: &mut shared.ledger,
            topics: self.topics.as_ref(),
        };
        let outcome = event(group, &mut turn);
        let earliest = shared.alarms.next();
        shared.tidy(id);
        if shared.alarms.next() < earliest {
            self.earlier.notify_one();
        }
        Some(outcome)
    }

    fn wake_groups(&self) {
        let now = self.now();
        let mut guard = self.lock();
        let shared = &mut *guard;
        while let Some(id) = shared.alarms.due(now.steady) {
            if let Some(group) = shared.groups.get_mut(&id) {
                let mut turn = Turn {
                    now,
                    rules: self.limits.rules,
                    store: &mut shared.ledger,
                    topics: self.topics.as_ref(),
                };
                group.tick(&mut turn);
                shared.tidy(&id);
            }
        }
    }

    /// Forgets offsets that have been out of use for too long, and empty groups that have none left.
    fn expire_offsets(&self) {
        let now = self.now();
        let mut guard = self.lock();
        let shared = &mut *guard;
        let ids: Vec<GroupId> = shared.groups.keys().cloned().collect();
        for id in ids {
            let expired = shared.groups.get(&id).map_or(Places::new(), |group| {
                group.expired_offsets(now.wall, self.limits.retention_ms)
            });
            if let Err(error) = shared.forget(&id, &expired) {
                tracing::warn!(%error, "failed to forget expired offsets");
                return;
            }
            shared.remove_if_empty(&id);
        }
    }

    /// Forgets the offsets of all topics that do not exist.
    pub(crate) fn forget_topics_without(&self, exists: impl Fn(&TopicName) -> bool) {
        let gone: BTreeSet<TopicName> = {
            let shared = self.lock();
            let topics = shared
                .groups
                .values()
                .flat_map(|group| group.offsets.named());
            topics.filter(|topic| !exists(topic)).cloned().collect()
        };
        for topic in gone {
            tracing::info!(
                topic = topic.as_str(),
                "offsets of a deleted topic are forgotten"
            );
            self.forget_topic(&topic);
        }
    }

    /// Forgets the offsets of all groups for a topic that was deleted.
    pub(crate) fn forget_topic(&self, topic: &TopicName) {
        let mut shared = self.lock();
        let holders: Vec<(GroupId, Vec<i32>)> = shared
            .groups
            .iter()
            .map(|(id, group)| (id.clone(), group.offsets.touched(topic)))
            .collect();
        for (id, partitions) in holders {
            let places = vec![(topic.clone(), partitions)];
            if let Err(error) = shared.forget(&id, &places) {
                tracing::warn!(group = id.as_str(), topic = topic.as_str(), %error, "offsets of a deleted topic stay");
            }
        }
    }
}

fn rules(config: &Config) -> Rules {
    let size = |most: i32| usize::try_from(most).unwrap_or(0);
    Rules {
        initial_delay_ms: config.group_initial_rebalance_delay_ms.into(),
        max_size: size(config.group_max_size),
        consumer: consumer::Rules {
            session_timeout_ms: config.group_consumer_session_timeout_ms,
            heartbeat_interval_ms: config.group_consumer_heartbeat_interval_ms,
            max_size: size(config.group_consumer_max_size),
        },
    }
}

impl Shared {
    fn create(&mut self, id: &GroupId, now: Moment) {
        let id = GroupId(own(id));
        let group = Group::new(id.clone(), now.wall);
        self.groups.insert(id, group);
    }

    /// After an event: drops a group that came to nothing, sets its alarm, keeps the journal small.
    fn tidy(&mut self, id: &GroupId) {
        if self.groups.get(id).is_some_and(Group::is_void) {
            self.drop_group(id);
        }
        self.set_alarm(id);
        self.shrink();
    }

    fn shrink(&mut self) {
        self.ledger.shrink(self.groups.values());
    }

    fn set_alarm(&mut self, id: &GroupId) {
        if let Some(group) = self.groups.get(id) {
            self.alarms.set(&group.id, group.deadline());
        }
    }

    fn drop_group(&mut self, id: &GroupId) {
        self.groups.remove(id);
        self.alarms.remove(id);
    }

    /// Forgets offsets of a group; those that do not exist are left out.
    fn forget(&mut self, id: &GroupId, places: &Places) -> Result<(), Unwritten> {
        let Some(group) = self.groups.get_mut(id) else {
            return Ok(());
        };
        let offsets = &mut group.offsets;
        let places: Places = places
            .iter()
            .map(|(topic, partitions)| {
                let known = |partition: &&i32| offsets.touches(topic, **partition);
                (
                    topic.clone(),
                    partitions.iter().filter(known).copied().collect(),
                )
            })
            .filter(|(_, partitions): &(TopicName, Vec<i32>)| !partitions.is_empty())
            .collect();
        if !places.is_empty() {
            self.ledger.forget(id, &places)?.settle()?;
            offsets.remove(&places);
        }
        Ok(())
    }

    /// Removes a group that is empty and has no offsets.
    fn remove_if_empty(&mut self, id: &GroupId) {
        if self.groups.get(id).is_some_and(Group::is_abandoned)
            && let Err(error) = self.remove(id)
        {
            tracing::warn!(group = id.as_str(), %error, "failed to remove an empty group");
        }
    }

    /// Removes a group with its offsets.
    fn remove(&mut self, id: &GroupId) -> Result<(), Unwritten> {
        self.ledger.remove(id)?.settle()?;
        self.drop_group(id);
        Ok(())
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
