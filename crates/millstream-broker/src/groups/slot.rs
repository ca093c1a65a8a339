//! What is behind the lock of one group: the group, and what of it is stored.
//!
//! A classic group in the middle of a rebalance is stored as it was before: after a restart its members find the generation that
//! they know, or run out of session. So its last stored state is kept here, for when the journal is written anew.

use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::GroupId;

use super::classic;
use super::classic::sync::Committer;
use super::consumer::Change;
use super::group::{Group, Kind, Moment, Store};
use super::ledger::{Ledger, UpTo};
use super::offsets::{Commits, Places};
use super::records;
use crate::journal::Unwritten;
use crate::log::Outcome;

/// A group in its place among all.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(super) group: Group,
    pub(super) stored: Stored,
    /// Whether the group has been taken out: whoever comes now has to look for another.
    pub(super) is_gone: bool,
}

/// What is stored of a group, or queued for it.
#[derive(Debug)]
pub(super) struct Stored {
    ledger: Arc<Ledger>,
    /// The record of a classic group as it was stored last.
    state: Vec<u8>,
    /// The last record.
    pub(super) up_to: UpTo,
    /// The last record that is no commit.
    pub(super) state_up_to: UpTo,
}

impl Slot {
    /// `state` is the last stored record of a classic group.
    pub(super) fn new(group: Group, ledger: Arc<Ledger>, state: Vec<u8>) -> Slot {
        Slot {
            group,
            stored: Stored {
                ledger,
                state,
                up_to: 0,
                state_up_to: 0,
            },
            is_gone: false,
        }
    }

    /// Makes commits of a member, or of someone who is none.
    pub(crate) fn commit(
        &mut self,
        committer: &Committer<'_>,
        commits: Commits,
        now: Moment,
    ) -> Result<(), ResponseError> {
        self.group.check_commit(committer, now)?;
        let id = &self.group.id;
        let stored = self
            .stored
            .put(id, |record| records::put_commits(record, id, &commits));
        stored.map_err(Unwritten::code)?;
        self.group.offsets.put(commits);
        Ok(())
    }

    /// Keeps commits for the end of a producer's transaction.
    pub(super) fn pend(
        &mut self,
        committer: &Committer<'_>,
        producer_id: i64,
        commits: Commits,
        now: Moment,
    ) -> Result<(), ResponseError> {
        self.group.check_commit(committer, now)?;
        let id = &self.group.id;
        let put = |record: &mut Vec<u8>| records::put_pending(record, id, producer_id, &commits);
        self.stored.put(id, put).map_err(Unwritten::code)?;
        self.group.offsets.pend(producer_id, commits);
        Ok(())
    }

    /// Ends a producer's transaction, if one is open.
    pub(super) fn end(&mut self, producer_id: i64, outcome: Outcome) -> Result<(), Unwritten> {
        let id = &self.group.id;
        if !self.group.offsets.producers().any(|one| one == producer_id) {
            return Ok(());
        }
        let put = |record: &mut Vec<u8>| records::put_ended(record, id, producer_id, outcome);
        self.stored.put(id, put)?;
        self.group.offsets.end(producer_id, outcome);
        Ok(())
    }

    /// Forgets offsets; those that do not exist are left out.
    pub(crate) fn forget(&mut self, places: &Places) -> Result<(), Unwritten> {
        let (id, offsets) = (&self.group.id, &mut self.group.offsets);
        let mut known = Places::new();
        for (topic, partitions) in places {
            let touched = partitions.iter().copied();
            let touched: Vec<i32> = touched
                .filter(|partition| offsets.touches(topic, *partition))
                .collect();
            if !touched.is_empty() {
                known.push((topic.clone(), touched));
            }
        }
        if !known.is_empty() {
            self.stored
                .put_state(id, |record| records::put_forgotten(record, id, &known))?;
            offsets.remove(&known);
        }
        Ok(())
    }

    pub(crate) fn group(&self) -> &Group {
        &self.group
    }

    /// Removes the group with its offsets, if it has no members.
    pub(crate) fn delete(&mut self) -> Result<(), ResponseError> {
        self.group.check_delete()?;
        self.remove().map_err(Unwritten::code)
    }

    /// Removes the group with its offsets.
    pub(super) fn remove(&mut self) -> Result<(), Unwritten> {
        let id = &self.group.id;
        self.stored
            .put_state(id, |record| records::put_removed(record, id))?;
        self.is_gone = true;
        Ok(())
    }

    /// All that has to be stored of the group, as records.
    pub(super) fn records(&self) -> Vec<Vec<u8>> {
        let group = &self.group;
        let mut all = Vec::new();
        match &group.kind {
            Kind::Classic(_) if self.stored.state.is_empty() => {}
            Kind::Classic(_) => all.push(self.stored.state.clone()),
            Kind::Consumer(consumer) => {
                let mut record = Vec::new();
                records::put_change(&mut record, &group.id, &consumer.whole());
                all.push(record);
            }
        }
        for (producer_id, commits) in group.offsets.in_order() {
            let mut record = Vec::new();
            match producer_id {
                Some(id) => records::put_pending(&mut record, &group.id, id, &commits),
                None => records::put_commits(&mut record, &group.id, &commits),
            }
            all.push(record);
        }
        all
    }
}

impl Stored {
    fn put(&mut self, group: &GroupId, put: impl FnOnce(&mut Vec<u8>)) -> Result<(), Unwritten> {
        let mut record = Vec::new();
        put(&mut record);
        self.up_to = self.ledger.queue(group, record)?;
        Ok(())
    }

    fn put_state(
        &mut self,
        group: &GroupId,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Unwritten> {
        self.put(group, put)?;
        self.state_up_to = self.up_to;
        Ok(())
    }
}

impl Store for Stored {
    fn save(&mut self, group: &classic::Group) -> Result<(), Unwritten> {
        let mut state = Vec::new();
        records::put_group(&mut state, group);
        self.put_state(&group.id, |record| record.clone_from(&state))?;
        self.state = state;
        Ok(())
    }

    fn change(&mut self, group: &GroupId, change: &Change) -> Result<(), Unwritten> {
        self.put_state(group, |record| records::put_change(record, group, change))?;
        self.state.clear();
        Ok(())
    }
}
