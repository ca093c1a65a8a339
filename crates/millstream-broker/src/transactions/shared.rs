//! What is behind the coordinator's lock: every transactional id with its transaction, their journal and their alarms.
//!
//! A state is stored before it is taken, so that what is here is never more than what a start would find. With `fsync` it is on the
//! disk when the record returned has settled: only then may anyone act on it. Whoever changes a transaction sets its alarm after it.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TransactionalId;

use super::participants::Orphan;
use super::records;
use super::transaction::{Producer, Scope, State, Transaction};
use crate::alarms::{Alarms, NEVER};
use crate::journal::{Journal, Unwritten, Written};

/// After how long participants that could not be notified are notified again.
pub(super) const TELL_AGAIN_MS: i64 = 1000;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) slots: HashMap<TransactionalId, Slot>,
    pub(super) journal: Journal,
    pub(super) record: Vec<u8>,
    pub(super) alarms: Alarms<TransactionalId>,
    /// What has still to be aborted because no transaction has it.
    pub(super) orphans: Vec<Orphan>,
    pub(super) stopping: bool,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) transaction: Transaction,
    /// The last record about it.
    stored: Written,
    /// Who notifies the participants, once it is decided how the transaction ends.
    pub(super) notice: Notice,
}

/// Who notifies the participants of a decision.
#[derive(Debug)]
pub(super) enum Notice {
    /// The one who has stored the decision, or has claimed it since. After a failed sync this stays so: nobody acts on a decision of
    /// which it is unknown whether the disk holds it.
    UnderWay,
    /// Whoever comes at this time; these are left.
    Due { left: Scope, at: i64 },
}

impl Slot {
    /// As it was found in the journal, of which the start has forced all to the disk.
    pub(super) fn found(transaction: Transaction) -> Slot {
        let left = match transaction.state {
            State::Prepare(_) => transaction.scope.clone(),
            _ => Scope::default(),
        };
        Slot {
            transaction,
            stored: Written::settled(),
            notice: Notice::Due { left, at: 0 },
        }
    }

    /// Whether no transaction is open or being ended.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.transaction.state, State::Empty | State::Complete(_))
    }

    /// Nobody has to be notified.
    const NOBODY_LEFT: Notice = Notice::Due {
        left: Scope::EMPTY,
        at: 0,
    };

    /// When the id is forgotten, should nobody use it.
    pub(super) fn expires_at(&self, expiration_ms: i64) -> i64 {
        self.transaction.changed_at_ms.saturating_add(expiration_ms)
    }

    /// When something is to be done without a request.
    pub(super) fn deadline(&self, expiration_ms: i64) -> i64 {
        match self.transaction.state {
            State::Ongoing => self.transaction.times_out_at(),
            State::Prepare(_) => match self.notice {
                Notice::UnderWay => NEVER,
                Notice::Due { at, .. } => at,
            },
            State::Empty | State::Complete(_) => self.expires_at(expiration_ms),
        }
    }
}

impl Shared {
    pub(super) fn check(&self) -> Result<(), ResponseError> {
        match self.stopping {
            true => Err(ResponseError::NotCoordinator),
            false => Ok(()),
        }
    }

    fn slot(&self, id: &TransactionalId) -> Result<&Slot, ResponseError> {
        let slot = self.slots.get(id);
        slot.ok_or(ResponseError::InvalidProducerIdMapping)
    }

    pub(super) fn get(&self, id: &TransactionalId) -> Result<&Transaction, ResponseError> {
        self.slot(id).map(|slot| &slot.transaction)
    }

    pub(super) fn append(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<Written, Unwritten> {
        self.record.clear();
        put(&mut self.record);
        self.journal.append(&self.record)
    }

    /// Stores the next state of a transaction and takes it. If it is a decision, the caller notifies the participants.
    pub(super) fn put(&mut self, next: Transaction) -> Result<Written, Unwritten> {
        let written = self.append(|record| records::put_whole(record, &next))?;
        let slot = Slot {
            notice: match next.state {
                State::Prepare(_) => Notice::UnderWay,
                _ => Slot::NOBODY_LEFT,
            },
            stored: written.clone(),
            transaction: next,
        };
        self.slots.insert(slot.transaction.id.clone(), slot);
        self.shrink();
        Ok(written)
    }

    /// Takes over the notification of those who are left, if that is due.
    pub(super) fn claim(&mut self, id: &TransactionalId, now_ms: i64) -> Option<Scope> {
        let slot = self.slots.get_mut(id)?;
        match (slot.transaction.state, &mut slot.notice) {
            (State::Prepare(_), Notice::Due { left, at }) if *at <= now_ms => {
                let left = std::mem::take(left);
                slot.notice = Notice::UnderWay;
                Some(left)
            }
            _ => None,
        }
    }

    pub(super) fn verify(
        &self,
        id: &TransactionalId,
        by: Producer,
        scope: &Scope,
    ) -> Result<Written, ResponseError> {
        self.check()?;
        let slot = self.slot(id)?;
        slot.transaction.check(by)?;
        match slot.transaction.has(scope) {
            true => Ok(slot.stored.clone()),
            false => Err(ResponseError::TransactionAbortable),
        }
    }

    pub(super) fn add(
        &mut self,
        id: &TransactionalId,
        by: Producer,
        scope: Scope,
        now_ms: i64,
    ) -> Result<Written, ResponseError> {
        self.check()?;
        let slot = self.slot(id)?;
        slot.transaction.check(by)?;
        if slot.transaction.has(&scope) {
            return Ok(slot.stored.clone());
        }
        if self.orphans.iter().any(|one| one.producer_id() == by.id) {
            return Err(ResponseError::ConcurrentTransactions);
        }
        if slot.transaction.is_too_large_with(&scope) {
            return Err(Unwritten::TooLarge.code());
        }
        let written = self
            .append(|record| records::put_grown(record, id, &scope, now_ms))
            .map_err(Unwritten::code)?;
        if let Some(slot) = self.slots.get_mut(id) {
            slot.transaction.grow(scope, now_ms);
            slot.stored = written.clone();
        }
        self.shrink();
        Ok(written)
    }

    pub(super) fn forget(&mut self, id: &TransactionalId) {
        match self.append(|record| records::put_removed(record, id)) {
            Ok(written) => {
                drop(written);
                self.slots.remove(id);
                self.shrink();
            }
            Err(error) => {
                tracing::warn!(transaction = id.as_str(), %error, "failed to forget a transactional id");
            }
        }
    }

    pub(super) fn set_alarm(&mut self, id: &TransactionalId, expiration_ms: i64) {
        match self.slots.get(id) {
            Some(slot) => self.alarms.set(id, slot.deadline(expiration_ms)),
            None => self.alarms.remove(id),
        }
    }

    /// As `set_alarm`, for one that has just been acted upon.
    pub(super) fn set_alarm_after(
        &mut self,
        id: &TransactionalId,
        now_ms: i64,
        expiration_ms: i64,
    ) {
        if let Some(slot) = self.slots.get(id) {
            let deadline = slot.deadline(expiration_ms);
            let at = match deadline > now_ms {
                true => deadline,
                false => now_ms.saturating_add(TELL_AGAIN_MS),
            };
            self.alarms.set(id, at);
        }
    }

    /// Writes the journal anew when it is mostly dead. A failure costs nothing but space.
    pub(super) fn shrink(&mut self) {
        if !self.journal.is_mostly_dead() {
            return;
        }
        let mut live = self.slots.values().map(|slot| {
            let mut record = Vec::new();
            records::put_whole(&mut record, &slot.transaction);
            record
        });
        match self.journal.rewrite(&mut live) {
            // All of the new file is on the disk, and the old one is not needed any more.
            Ok(()) if self.journal.is_usable() => {
                for slot in self.slots.values_mut() {
                    slot.stored = Written::settled();
                }
            }
            Ok(()) => {}
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, source, "transactions' journal keeps growing");
            }
        }
    }
}
