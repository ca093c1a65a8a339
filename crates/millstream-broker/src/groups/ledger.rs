//! The groups' journal: what is stored of them, and the last stored state of each classic group.
//!
//! A classic group in the middle of a rebalance is stored as it was before: after a restart its members find the generation that
//! they know, or run out of session. So the stored states are kept here, for when the journal is written anew.

use std::collections::HashMap;
use std::path::Path;

use kafka_protocol::messages::GroupId;

use super::classic;
use super::consumer::Change;
use super::group::{Group, Kind, Store};
use super::offsets::{Commits, Places};
use super::records::{self, Found, Replayed};
use crate::error::Error;
use crate::journal::{Journal, Unwritten, Written};
use crate::log::Outcome;

#[derive(Debug)]
pub(super) struct Ledger {
    journal: Journal,
    states: HashMap<GroupId, Vec<u8>>,
    record: Vec<u8>,
}

impl Ledger {
    /// Opens the journal and gives the groups that are in it.
    pub(super) fn open(path: &Path, fsync: bool) -> Result<(Ledger, Vec<Found>), Error> {
        let mut replayed = Replayed::default();
        let journal = Journal::open(path, records::FORMAT, fsync, |record| {
            replayed.apply(record)
        })?;
        let mut states = HashMap::new();
        let mut found = Vec::with_capacity(replayed.groups.len());
        for (id, mut one) in replayed.groups {
            let state = std::mem::take(&mut one.stored);
            if !state.is_empty() {
                states.insert(id, state);
            }
            found.push(one);
        }
        let ledger = Ledger {
            journal,
            states,
            record: Vec::new(),
        };
        Ok((ledger, found))
    }

    fn append(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<Written, Unwritten> {
        self.record.clear();
        put(&mut self.record);
        self.journal.append(&self.record)
    }

    pub(super) fn commit(
        &mut self,
        group: &GroupId,
        commits: &Commits,
    ) -> Result<Written, Unwritten> {
        self.append(|record| records::put_commits(record, group, commits))
    }

    pub(super) fn forget(
        &mut self,
        group: &GroupId,
        places: &Places,
    ) -> Result<Written, Unwritten> {
        self.append(|record| records::put_forgotten(record, group, places))
    }

    /// Offsets that wait for the end of a producer's transaction.
    pub(super) fn pend(
        &mut self,
        group: &GroupId,
        producer_id: i64,
        commits: &Commits,
    ) -> Result<Written, Unwritten> {
        self.append(|record| records::put_pending(record, group, producer_id, commits))
    }

    /// The end of a producer's transaction.
    pub(super) fn end(
        &mut self,
        group: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<Written, Unwritten> {
        self.append(|record| records::put_ended(record, group, producer_id, outcome))
    }

    pub(super) fn remove(&mut self, group: &GroupId) -> Result<Written, Unwritten> {
        let written = self.append(|record| records::put_removed(record, group))?;
        self.states.remove(group);
        Ok(written)
    }

    /// Writes the journal anew when it is mostly dead. A failure costs nothing but space.
    pub(super) fn shrink<'a>(&mut self, groups: impl Iterator<Item = &'a Group>) {
        if !self.journal.is_mostly_dead() {
            return;
        }
        let states = &self.states;
        let mut live = groups.flat_map(|group| {
            let offsets = group.offsets.in_order().into_iter();
            let offsets = offsets.map(|(producer_id, commits)| {
                let mut record = Vec::new();
                match producer_id {
                    Some(id) => records::put_pending(&mut record, &group.id, id, &commits),
                    None => records::put_commits(&mut record, &group.id, &commits),
                }
                record
            });
            let state = match &group.kind {
                Kind::Classic(_) => states.get(&group.id).cloned(),
                Kind::Consumer(consumer) => {
                    let mut record = Vec::new();
                    records::put_change(&mut record, &group.id, &consumer.whole());
                    Some(record)
                }
            };
            state.into_iter().chain(offsets)
        });
        if let Err(error) = self.journal.rewrite(&mut live) {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, source, "groups' journal keeps growing");
        }
    }

    /// As if the disk had failed.
    #[cfg(test)]
    pub(super) fn break_journal(&self) {
        self.journal.poison();
    }

    /// How much of the journal a power cut leaves for certain.
    #[cfg(test)]
    pub(super) fn forced(&self) -> (std::path::PathBuf, u64) {
        self.journal.forced()
    }

    pub(super) fn flush(&mut self) -> Result<(), Error> {
        self.journal.flush()
    }
}

impl Store for Ledger {
    fn save(&mut self, group: &classic::Group) -> Result<(), Unwritten> {
        self.append(|record| records::put_group(record, group))?
            .settle()?;
        self.states.insert(group.id.clone(), self.record.clone());
        Ok(())
    }

    fn change(&mut self, group: &GroupId, change: &Change) -> Result<(), Unwritten> {
        self.append(|record| records::put_change(record, group, change))?
            .settle()?;
        self.states.remove(group);
        Ok(())
    }
}
