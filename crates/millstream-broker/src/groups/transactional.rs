//! Offsets of transactions: they wait in their group until the coordinator of transactions says how it ends.
//!
//! What waits is seen by nobody, but readers who ask for stable offsets are held back by it. An end that a group was notified of before
//! changes nothing.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, OffsetCommitRequest};

use super::classic::sync::Committer;
use super::ledger::UpTo;
use super::offsets::Commits;
use super::{Groups, Missing};
use crate::journal::Unwritten;
use crate::log::{Outcome, lock};

impl Groups {
    /// Keeps offsets for the end of a producer's transaction, which must be open until this returns. They are stored when what is
    /// returned has settled.
    pub(crate) fn pend(
        &self,
        request: &OffsetCommitRequest,
        producer_id: i64,
        commits: Commits,
    ) -> Result<UpTo, ResponseError> {
        let committer = Committer {
            transactional: true,
            ..Committer::of(request, 0)
        };
        let missing = match committer.generation {
            ..0 => Missing::Create,
            _ => Missing::Refuse(ResponseError::IllegalGeneration),
        };
        let (pended, queued) = self.event(&request.group_id, missing, |slot, now| {
            self.check_topics(&commits)?;
            slot.pend(&committer, producer_id, commits, now)
        })?;
        pended.map(|()| queued.own)
    }

    /// Ends a producer's transaction in a group. May block for the disk.
    pub(crate) fn end_transaction(
        &self,
        id: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), Unwritten> {
        self.make_room();
        let slot = lock(&self.all).get(id).cloned();
        let Some(slot) = slot else {
            return Ok(());
        };
        let queued = {
            let mut slot = lock(&slot);
            if slot.is_gone {
                return Ok(());
            }
            slot.end(producer_id, outcome)?;
            self.tidy(&mut slot);
            slot.stored.up_to
        };
        self.settle_here(queued)
    }

    /// How much of the journal a power cut leaves for certain.
    #[cfg(test)]
    pub(crate) fn forced(&self) -> (std::path::PathBuf, u64) {
        self.ledger.forced()
    }

    /// The producers with offsets that wait, by group.
    pub(crate) fn open_transactions(&self) -> Vec<(GroupId, i64)> {
        let mut open = Vec::new();
        self.look_at_all(|group| {
            let producers = group.offsets.producers();
            open.extend(producers.map(|one| (group.id.clone(), one)));
        });
        open
    }
}
