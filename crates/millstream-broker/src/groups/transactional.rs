//! Offsets of transactions: they wait in their group until the coordinator of transactions says how it ends.
//!
//! What waits is seen by nobody, but readers who ask for stable offsets are held back by it. An end that a group was notified of before
//! changes nothing.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, OffsetCommitRequest};

use super::Groups;
use super::classic::sync::Committer;
use super::offsets::Commits;
use crate::journal::{Unwritten, Written};
use crate::log::Outcome;

impl Groups {
    /// Keeps offsets for the end of a producer's transaction, which must be open until this returns.
    pub(crate) fn pend(
        &self,
        request: &OffsetCommitRequest,
        producer_id: i64,
        commits: Commits,
    ) -> Result<Written, ResponseError> {
        let id = &request.group_id;
        let now = self.now();
        let mut guard = self.lock();
        let shared = &mut *guard;
        if shared.stopping {
            return Err(ResponseError::NotCoordinator);
        }
        let committer = Committer {
            transactional: true,
            ..Committer::of(request, 0)
        };
        if !shared.groups.contains_key(id) {
            if committer.generation >= 0 {
                return Err(ResponseError::IllegalGeneration);
            }
            shared.create(id, now);
        }
        let group = shared.groups.get_mut(id);
        let group = group.ok_or(ResponseError::GroupIdNotFound)?;
        let stored = group.check_commit(&committer, now).and_then(|()| {
            let written = shared.ledger.pend(id, producer_id, &commits);
            written.map_err(Unwritten::code)
        });
        if stored.is_ok() {
            group.offsets.pend(producer_id, commits);
        }
        shared.tidy(id);
        stored
    }

    /// Ends a producer's transaction in a group.
    pub(crate) fn end_transaction(
        &self,
        id: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), Unwritten> {
        let mut guard = self.lock();
        let shared = &mut *guard;
        let Some(group) = shared.groups.get_mut(id) else {
            return Ok(());
        };
        if !group.offsets.producers().any(|one| one == producer_id) {
            return Ok(());
        }
        let written = shared.ledger.end(id, producer_id, outcome)?;
        group.offsets.end(producer_id, outcome);
        shared.tidy(id);
        drop(guard);
        written.settle()
    }

    /// How much of the journal a power cut leaves for certain.
    #[cfg(test)]
    pub(crate) fn forced(&self) -> (std::path::PathBuf, u64) {
        self.lock().ledger.forced()
    }

    /// The producers with offsets that wait, by group.
    pub(crate) fn open_transactions(&self) -> Vec<(GroupId, i64)> {
        let shared = self.lock();
        let groups = shared.groups.iter();
        groups
            .flat_map(|(id, group)| group.offsets.producers().map(|one| (id.clone(), one)))
            .collect()
    }
}
