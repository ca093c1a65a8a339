//! What is behind the coordinator's lock: every transactional id with its transaction, their journal and their alarms.
//!
//! A state is stored before it is taken, so that what is here is never more than what a start would find. Whoever changes a
//! transaction sets its alarm after it.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TransactionalId;

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
    pub(super) stopping: bool,
}

#[derive(Debug)]
pub(super) struct Slot {
    pub(super) transaction: Transaction,
    /// Somebody is telling all how it ends.
    pub(super) telling: bool,
    /// When participants that could not be notified are notified again.
    pub(super) again_at: i64,
}

impl Slot {
    pub(super) fn new(transaction: Transaction) -> Slot {
        Slot {
            transaction,
            telling: false,
            again_at: 0,
        }
    }

    /// When the id is forgotten, should nobody use it.
    pub(super) fn expires_at(&self, expiration_ms: i64) -> i64 {
        self.transaction.changed_at_ms.saturating_add(expiration_ms)
    }

    /// When something is to be done without a request.
    pub(super) fn deadline(&self, expiration_ms: i64) -> i64 {
        match self.transaction.state {
            State::Ongoing => self.transaction.times_out_at(),
            State::Prepare(_) if self.telling => NEVER,
            State::Prepare(_) => self.again_at,
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

    pub(super) fn get(&self, id: &TransactionalId) -> Result<&Transaction, ResponseError> {
        let slot = self.slots.get(id);
        slot.map(|slot| &slot.transaction)
            .ok_or(ResponseError::InvalidProducerIdMapping)
    }

    pub(super) fn append(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> Result<Written, Unwritten> {
        self.record.clear();
        put(&mut self.record);
        self.journal.append(&self.record)
    }

    /// Stores the next state of a transaction and takes it.
    pub(super) fn put(&mut self, next: Transaction) -> Result<Written, Unwritten> {
        let written = self.append(|record| records::put_whole(record, &next))?;
        if let Some(slot) = self.slots.get_mut(&next.id) {
            slot.transaction = next;
        }
        self.shrink();
        Ok(written)
    }

    pub(super) fn verify(
        &self,
        id: &TransactionalId,
        by: Producer,
        scope: &Scope,
    ) -> Result<(), ResponseError> {
        self.check()?;
        let transaction = self.get(id)?;
        transaction.check(by)?;
        match transaction.has(scope) {
            true => Ok(()),
            false => Err(ResponseError::TransactionAbortable),
        }
    }

    pub(super) fn add(
        &mut self,
        id: &TransactionalId,
        by: Producer,
        scope: Scope,
        now_ms: i64,
    ) -> Result<(), ResponseError> {
        self.check()?;
        let transaction = self.get(id)?;
        transaction.check(by)?;
        if transaction.has(&scope) {
            return Ok(());
        }
        // With `fsync` nobody waits for this record: should it be lost, so is the end, and what it speaks of is aborted.
        let written = self.append(|record| records::put_grown(record, id, &scope, now_ms));
        drop(written.map_err(Unwritten::code)?);
        if let Some(slot) = self.slots.get_mut(id) {
            slot.transaction.grow(scope, now_ms);
        }
        self.shrink();
        Ok(())
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
        if let Err(error) = self.journal.rewrite(&mut live) {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::warn!(%error, source, "transactions' journal keeps growing");
        }
    }
}
