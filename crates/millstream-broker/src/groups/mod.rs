//! The coordinator of all consumer groups: finds the group of a request, keeps what must last, and wakes groups in time.
//!
//! Each group is behind a lock of its own ([`Slot`]), held for the microseconds that an event takes; the lock of the map and that of the alarms are
//! taken for a look only, the latter two also by who holds a group. Nothing waits for a disk under any of them: what an event stores is queued by
//! [`ledger`], and the request waits for it after the lock was released. An answer that says "stored" leaves after the record is in the
//! journal.
//!
//! The groups themselves are `group`, pure state machines of two kinds, `classic` and `consumer`; `offsets` are what
//! they have committed; `records` are both on disk. Requests come from the files of `api`, offsets of transactions through `transactional`. One
//! task, [`Groups::run`], sleeps until the next deadline of any group; another, [`Groups::store`], stores what no request waits for.

mod catalogue;
mod classic;
pub(crate) mod configs;
mod consumer;
mod embedded;
mod events;
mod forgetting;
mod group;
mod ledger;
mod migration;
mod offsets;
mod records;
mod slot;
mod transactional;

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, TopicName};
use tokio::sync::{Notify, oneshot};

use crate::alarms::{Alarms, NEVER};
use crate::clock::{self, Clock, Stopwatch};
use crate::config::Config;
use crate::error::Error;
use crate::frame::own;
use crate::journal::Unwritten;
use crate::log::lock;
use classic::member::Waiter;
use configs::GroupConfigs;
use group::{Moment, Rules, Turn};
use ledger::{Ledger, UpTo};

pub(crate) use catalogue::Catalogue;
pub(crate) use classic::join::refused as refused_join;
pub(crate) use classic::member::Join;
pub(crate) use classic::sync::{Committer, refused as refused_sync};
pub(crate) use consumer::assignor::Assignor;
pub(crate) use consumer::member::Partitions;
pub(crate) use consumer::{Beat, Heard, check_pattern};
pub(crate) use group::{Group, Kind};
pub(crate) use offsets::{Commits, Committed, Places};
pub(crate) use slot::Slot;

/// How often a full disk is tried again for what no request waits for.
const RETRY: Duration = Duration::from_secs(1);

/// All groups of this broker.
#[derive(Debug)]
pub(crate) struct Groups {
    all: Mutex<HashMap<GroupId, Arc<Mutex<Slot>>>>,
    /// When which group is to be woken; an alarm may be earlier than the group's deadline, never later.
    alarms: Mutex<Alarms<GroupId>>,
    ledger: Arc<Ledger>,
    stopping: AtomicBool,
    rules: Rules,
    configs: Arc<GroupConfigs>,
    retention_ms: i64,
    retention_check: Duration,
    topics: Arc<dyn Catalogue>,
    clock: Clock,
    since_start: Stopwatch,
    /// Rung when a group has to be woken earlier than any other.
    earlier: Notify,
    /// Rung when something is queued that no request waits for.
    queued: Notify,
}

/// What is queued of a group after an event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queued {
    /// The last record of the event; 0 if it has changed nothing.
    pub(crate) own: UpTo,
    /// The last one that is no commit.
    pub(crate) state: UpTo,
    /// The last one.
    pub(crate) all: UpTo,
}

/// What becomes of an event of a group that does not exist.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Missing {
    /// The group is created for it.
    Create,
    /// It is refused.
    Refuse(ResponseError),
}

impl Groups {
    /// Opens the journal at `path`, creating it when missing. Sessions of stored members start now.
    pub(crate) fn open(
        path: &Path,
        config: &Config,
        topics: Arc<dyn Catalogue>,
        configs: Arc<GroupConfigs>,
    ) -> Result<Groups, Error> {
        let rules = rules(config);
        let (ledger, found) = Ledger::open(path, config.fsync)?;
        let ledger = Arc::new(ledger);
        let mut all = HashMap::new();
        let mut alarms = Alarms::default();
        for one in found {
            let mut group = one.group;
            match &mut group.kind {
                Kind::Classic(classic) => classic.restore(one.members, 0),
                Kind::Consumer(consumer) => {
                    consumer.start_timers(0, &configs.apply(&group.id, rules.consumer));
                }
            }
            if group.is_void() {
                continue;
            }
            alarms.set(&group.id, group.deadline());
            let id = group.id.clone();
            let slot = Slot::new(group, Arc::clone(&ledger), one.state);
            all.insert(id, Arc::new(Mutex::new(slot)));
        }
        Ok(Groups {
            all: Mutex::new(all),
            alarms: Mutex::new(alarms),
            ledger,
            stopping: AtomicBool::new(false),
            rules,
            configs,
            retention_ms: config.offsets_retention_ms,
            retention_check: config.offsets_retention_check,
            topics,
            clock: config.clock.clone(),
            since_start: Stopwatch::start(),
            earlier: Notify::new(),
            queued: Notify::new(),
        })
    }

    /// Wakes groups in time and forgets expired offsets, until `stop` completes; then answers all that wait.
    pub(crate) async fn run(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut next_check = self.after_check();
        loop {
            let next = lock(&self.alarms).next().min(next_check);
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
            self.queued.notify_one();
        }
        self.stopping.store(true, Ordering::SeqCst);
        for slot in self.slots() {
            lock(&slot).group.abandon();
        }
    }

    /// Stores what the passing of time has queued, until `stop` completes.
    pub(crate) async fn store(&self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let is_full = self.ledger.is_full();
            tokio::select! {
                () = &mut stop => return,
                () = self.queued.notified() => {}
                () = clock::sleep(RETRY), if is_full => {}
            }
            if let Err(error) = self.settle(self.ledger.queued()).await {
                tracing::warn!(%error, "failed to store what has changed in groups");
            }
        }
    }

    fn after_check(&self) -> i64 {
        let check = i64::try_from(self.retention_check.as_millis()).unwrap_or(NEVER);
        self.now().steady.saturating_add(check)
    }

    /// Forces everything to the disk. No request may follow.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.ledger.flush()
    }

    fn now(&self) -> Moment {
        Moment {
            steady: self.since_start.millis(),
            wall: self.clock.now_ms(),
        }
    }

    fn turn<'a>(&'a self, id: &str, stored: &'a mut slot::Stored, now: Moment) -> Turn<'a> {
        Turn {
            now,
            rules: Rules {
                consumer: self.configs.apply(id, self.rules.consumer),
                ..self.rules
            },
            store: stored,
            topics: self.topics.as_ref(),
        }
    }

    /// All groups that there are now.
    fn slots(&self) -> Vec<Arc<Mutex<Slot>>> {
        lock(&self.all).values().cloned().collect()
    }

    fn find(&self, id: &GroupId, missing: Missing) -> Result<Arc<Mutex<Slot>>, ResponseError> {
        let mut all = lock(&self.all);
        if let Some(slot) = all.get(id) {
            return Ok(Arc::clone(slot));
        }
        match missing {
            _ if self.is_stopping() => Err(ResponseError::NotCoordinator),
            Missing::Refuse(code) => Err(code),
            Missing::Create => {
                let id = GroupId(own(id));
                let group = Group::new(id.clone(), self.clock.now_ms());
                let slot = Slot::new(group, Arc::clone(&self.ledger), Vec::new());
                let slot = Arc::new(Mutex::new(slot));
                all.insert(id, Arc::clone(&slot));
                Ok(slot)
            }
        }
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Refuses who comes when this broker serves groups no longer.
    pub(crate) fn check(&self) -> Result<(), ResponseError> {
        match self.is_stopping() {
            true => Err(ResponseError::NotCoordinator),
            false => Ok(()),
        }
    }

    /// Brings an event to a group; returns also what is queued, for `settle`.
    fn event<T>(
        &self,
        id: &GroupId,
        missing: Missing,
        event: impl FnOnce(&mut Slot, Moment) -> T,
    ) -> Result<(T, Queued), ResponseError> {
        loop {
            let slot = self.find(id, missing)?;
            let mut slot = lock(&slot);
            if slot.is_gone {
                continue;
            }
            self.check()?;
            let before = slot.stored.up_to;
            let outcome = event(&mut slot, self.now());
            let all = slot.stored.up_to;
            let queued = Queued {
                own: if all == before { 0 } else { all },
                state: slot.stored.state_up_to,
                all,
            };
            self.tidy(&mut slot);
            return Ok((outcome, queued));
        }
    }

    /// Brings an event to what is stored of a group; returns when it is stored.
    pub(crate) async fn change<T>(
        &self,
        id: &GroupId,
        missing: Missing,
        event: impl FnOnce(&mut Slot, Moment) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        self.change_after(id, missing, |queued| queued.own, event)
            .await
    }

    /// As `change`, for an answer that tells more than what its own event has changed: it waits for that too.
    pub(crate) async fn change_after<T>(
        &self,
        id: &GroupId,
        missing: Missing,
        told: fn(Queued) -> UpTo,
        event: impl FnOnce(&mut Slot, Moment) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        self.make_room();
        let (outcome, queued) = match self.event(id, missing, event) {
            Err(ResponseError::GroupIdNotFound) => {
                // It may have gone a moment ago.
                self.settle(self.ledger.queued())
                    .await
                    .map_err(Unwritten::code)?;
                return Err(ResponseError::GroupIdNotFound);
            }
            event => event?,
        };
        let settled = self.settle(told(queued)).await;
        let outcome = outcome?;
        settled.map_err(Unwritten::code)?;
        Ok(outcome)
    }

    /// Refuses commits for a partition that has been deleted since they were looked at. Under a group's lock: who deletes a topic takes it
    /// out of the catalogue first, and out of the groups then.
    pub(crate) fn check_topics(&self, commits: &Commits) -> Result<(), ResponseError> {
        let is_there = |(topic, _): &(TopicName, _)| self.topics.find(topic).is_some();
        match commits.iter().all(is_there) {
            true => Ok(()),
            false => Err(ResponseError::UnknownTopicOrPartition),
        }
    }

    /// Brings an event to a group; returns its outcome when what it has changed is stored.
    pub(crate) async fn act<T>(
        &self,
        id: &GroupId,
        missing: Missing,
        event: impl FnOnce(&mut Group, &mut Turn<'_>) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        self.act_after(id, missing, |queued| queued.own, event)
            .await
    }

    /// As `act`, for an answer that tells more than what its own event has changed: it waits for that too.
    pub(crate) async fn act_after<T>(
        &self,
        id: &GroupId,
        missing: Missing,
        told: fn(Queued) -> UpTo,
        event: impl FnOnce(&mut Group, &mut Turn<'_>) -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        let event = |slot: &mut Slot, now| {
            let mut turn = self.turn(&slot.group.id, &mut slot.stored, now);
            event(&mut slot.group, &mut turn)
        };
        self.change_after(id, missing, told, event).await
    }

    /// Brings an event to a group that may be answered later; returns the answer when what it tells is stored.
    pub(crate) async fn ask<T>(
        &self,
        id: &GroupId,
        missing: Missing,
        event: impl FnOnce(&mut Group, Waiter<T>, &mut Turn<'_>),
    ) -> Result<T, ResponseError> {
        let (waiter, answer) = oneshot::channel();
        let event = |group: &mut Group, turn: &mut Turn<'_>| {
            event(group, waiter, turn);
            Ok(())
        };
        self.act(id, missing, event).await?;
        // The member has asked again on another connection.
        let answer = answer.await;
        let answer = answer.map_err(|_| ResponseError::RebalanceInProgress)?;
        let slot = lock(&self.all).get(id).cloned();
        let queued = slot.map_or(0, |slot| lock(&slot).stored.up_to);
        self.settle(queued).await.map_err(Unwritten::code)?;
        Ok(answer)
    }

    /// Looks at a group, if there is one.
    pub(crate) fn look<T>(&self, id: &GroupId, look: impl FnOnce(Option<&Group>) -> T) -> T {
        let slot = lock(&self.all).get(id).cloned();
        match slot {
            None => look(None),
            Some(slot) => {
                let slot = lock(&slot);
                look(Some(&slot.group).filter(|_| !slot.is_gone))
            }
        }
    }

    /// Looks at all groups, one after the other.
    pub(crate) fn look_at_all<T>(&self, mut look: impl FnMut(&Group) -> T) -> Vec<T> {
        let mut seen = Vec::new();
        for slot in self.slots() {
            let slot = lock(&slot);
            if !slot.is_gone {
                seen.push(look(&slot.group));
            }
        }
        seen
    }

    /// Returns when all records up to one are stored.
    pub(crate) async fn settle(&self, up_to: UpTo) -> Result<(), Unwritten> {
        self.ledger.settle(up_to, || self.slots()).await
    }

    /// As `settle`, for those who may block their thread.
    pub(crate) fn settle_here(&self, up_to: UpTo) -> Result<(), Unwritten> {
        self.ledger.settle_here(up_to, || self.slots())
    }

    /// Tries a full disk again, for what comes next.
    pub(crate) fn make_room(&self) {
        if self.ledger.is_full() {
            self.ledger.retry(|| self.slots());
        }
    }

    /// After an event: takes out a group that came to nothing, sets the alarm of any other.
    fn tidy(&self, slot: &mut Slot) {
        let id = &slot.group.id;
        slot.is_gone |= slot.group.is_void();
        if slot.is_gone {
            lock(&self.alarms).remove(id);
            lock(&self.all).remove(id);
            return;
        }
        let mut alarms = lock(&self.alarms);
        let earliest = alarms.next();
        alarms.set(id, slot.group.deadline());
        if alarms.next() < earliest {
            self.earlier.notify_one();
        }
    }

    fn wake_groups(&self) {
        let now = self.now();
        while let Some(id) = self.due(now) {
            let tick = |slot: &mut Slot, now| {
                let mut turn = self.turn(&slot.group.id, &mut slot.stored, now);
                slot.group.tick(&mut turn);
            };
            let missing = Missing::Refuse(ResponseError::GroupIdNotFound);
            // Without a group there is nothing to wake.
            self.event(&id, missing, tick).ok();
        }
    }

    fn due(&self, now: Moment) -> Option<GroupId> {
        lock(&self.alarms).due(now.steady)
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

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
