//! The coordinator of transactions: which producer has a transactional id, what its transaction has touched, how it ends.
//!
//! `transaction` is one id as a state machine, `shared` holds all of them, `records` keep them in `transactions.journal`, `participants` are the partitions and groups
//! that hear how it ends, `view` shows it. An end goes in three steps, and a kill between any two of them leaves the transaction
//! wholly committed or wholly aborted:
//!
//! 1. the decision is in the journal ("prepare"): from here on there is one outcome;
//! 2. every partition gets its marker, every group its record: a start after a kill does all of this again;
//! 3. the journal says that it is complete.
//!
//! With `fsync` each step waits until the one before it is on the disk. So does what takes part: a partition or a group is in the
//! journal for certain before it gets records or offsets of the transaction, and by then so is the end of the transaction before.
//!
//! The state of all ids is behind one lock, which is held while the journal takes a record (and, once in a thousand new ids, while the
//! next of them are reserved, and while the journal is written anew), never while a record is forced to the disk or a participant is
//! waited for. Offsets of a transaction are put in their group under it, so that none come after the decision; partitions see to that
//! themselves (`log/append`). One task, [`Transactions::run`], aborts what has been open for too long, notifies those again who could
//! not be notified, aborts what no transaction has, and forgets ids that nobody uses.

mod participants;
mod records;
mod shared;
mod transaction;
mod view;

use std::collections::HashMap;
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, TransactionalId};

use crate::alarms::Alarms;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::error::Error;
use crate::frame::own;
use crate::journal::{Journal, Unwritten, Written};
use crate::log::blocking;
pub(crate) use participants::{Everyone, Participants};
use records::Replayed;
use shared::{Notice, Shared, Slot, TELL_AGAIN_MS};
use transaction::{End, FreshId, Init, State, Transaction};
pub(crate) use transaction::{Ending, Generation, Producer, Scope};
pub(crate) use view::Filter;

/// How often alarms are looked at: the time of day may be moved at any time.
const LOOK: Duration = Duration::from_secs(1);

/// All transactional ids of this broker.
#[derive(Debug)]
pub(crate) struct Transactions {
    shared: Mutex<Shared>,
    max_timeout_ms: i32,
    expiration_ms: i64,
    clock: Clock,
}

impl Transactions {
    /// Opens the journal at `path`, creating it when missing.
    pub(crate) fn open(path: &Path, config: &Config) -> Result<Transactions, Error> {
        let mut replayed = Replayed::default();
        let journal = Journal::open(path, records::FORMAT, config.fsync, |record| {
            replayed.apply(record)
        })?;
        let transactions = Transactions {
            max_timeout_ms: config.transaction_max_timeout_ms,
            expiration_ms: config.transactional_id_expiration_ms,
            clock: config.clock.clone(),
            shared: Mutex::new(Shared {
                slots: HashMap::new(),
                journal,
                record: Vec::new(),
                alarms: Alarms::default(),
                orphans: Vec::new(),
                stopping: false,
            }),
        };
        let mut shared = transactions.lock();
        for (id, transaction) in replayed.transactions {
            shared.slots.insert(id.clone(), Slot::found(transaction));
            shared.set_alarm(&id, transactions.expiration_ms);
        }
        drop(shared);
        Ok(transactions)
    }

    /// Who holds the lock may be waiting for a disk.
    fn lock(&self) -> MutexGuard<'_, Shared> {
        match self.shared.try_lock() {
            Ok(shared) => shared,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => {
                blocking(|| self.shared.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }

    /// The journal's disk, as tests have it.
    #[cfg(test)]
    pub(crate) fn disk(&self) -> crate::journal::FaultyDisk {
        self.lock().journal.faulty_disk()
    }

    /// Forces everything to the disk. No request may follow.
    pub(crate) fn close(&self) -> Result<(), Error> {
        self.lock().journal.flush()
    }

    /// Does what time brings, until `stop` completes; then refuses requests.
    pub(crate) async fn run(&self, tick: impl Fn(), stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        loop {
            let wait = self
                .lock()
                .alarms
                .next()
                .saturating_sub(self.clock.now_ms());
            let wait = Duration::from_millis(wait.max(1).unsigned_abs()).min(LOOK);
            tokio::select! {
                () = &mut stop => break,
                () = clock::sleep(wait) => tokio::task::block_in_place(&tick),
            }
        }
        self.lock().stopping = true;
    }

    /// Acts on every alarm that is due.
    pub(crate) fn tick(&self, participants: &dyn Participants) {
        let now_ms = self.clock.now_ms();
        loop {
            let Some(id) = self.lock().alarms.due(now_ms) else {
                break;
            };
            self.wake(&id, now_ms, participants);
        }
        self.abort_orphans(participants);
    }

    /// Aborts what no transaction has; what cannot be aborted now is left for the next time.
    fn abort_orphans(&self, participants: &dyn Participants) {
        let orphans = self.lock().orphans.clone();
        for orphan in orphans {
            match orphan.abort(participants) {
                Ok(()) => self.lock().orphans.retain(|one| *one != orphan),
                Err(reason) => {
                    tracing::warn!(%orphan, reason, "failed to abort a transaction, tried again later");
                }
            }
        }
    }

    fn wake(&self, id: &TransactionalId, now_ms: i64, participants: &dyn Participants) {
        let mut shared = self.lock();
        let Some(slot) = shared.slots.get(id) else {
            return;
        };
        let mut decided = None;
        if let Some(aborting) = slot.transaction.timed_out(now_ms) {
            tracing::info!(
                transaction = id.as_str(),
                "transaction timed out, it is aborted"
            );
            let all = aborting.scope.clone();
            decided = Some((shared.put(aborting), all));
        } else if slot.is_idle() && slot.expires_at(self.expiration_ms) <= now_ms {
            shared.forget(id);
        } else if let Some(left) = shared.claim(id, now_ms) {
            decided = Some((Ok(Written::settled()), left));
        }
        // Whatever failed is tried again, but not at once.
        shared.set_alarm_after(id, now_ms, self.expiration_ms);
        drop(shared);
        let told = decided.map_or(Ok(()), |(written, left)| {
            let settled = written.and_then(Written::settle);
            settled.map_err(Unwritten::code)?;
            self.tell(id, left, participants)
        });
        if let Err(error) = told {
            tracing::warn!(transaction = id.as_str(), %error, "failed to end a transaction, tried again later");
        }
    }

    /// InitProducerId of a transactional producer. A transaction that an earlier one has left open is aborted before.
    pub(crate) fn init(
        &self,
        id: &TransactionalId,
        known: Option<Producer>,
        timeout_ms: i32,
        fresh: FreshId<'_>,
        participants: &dyn Participants,
    ) -> Result<Producer, ResponseError> {
        if !(1..=self.max_timeout_ms).contains(&timeout_ms) {
            return Err(ResponseError::InvalidTransactionTimeout);
        }
        let now_ms = self.clock.now_ms();
        loop {
            let mut shared = self.lock();
            shared.check()?;
            let next = match shared.get(id) {
                Ok(transaction) => transaction.init(known, timeout_ms, now_ms, fresh)?,
                Err(_) => Transaction::new(TransactionalId(own(id)), fresh()?, now_ms)
                    .init(known, timeout_ms, now_ms, fresh)?,
            };
            let (next, ready) = match next {
                Init::Ready(next) => (next, true),
                Init::Abort(next) => (next, false),
            };
            let (producer, all) = (next.producer, next.scope.clone());
            let written = shared.put(next).map_err(Unwritten::code)?;
            shared.set_alarm(id, self.expiration_ms);
            drop(shared);
            written.settle().map_err(Unwritten::code)?;
            if ready {
                return Ok(producer);
            }
            self.tell(id, all, participants)?;
        }
    }

    /// Adds to the transaction of a producer, which begins with it if need be. It is in the journal for certain when this returns: the
    /// records that follow may reach the disk at any time.
    pub(crate) fn add(
        &self,
        id: &TransactionalId,
        by: Producer,
        scope: Scope,
    ) -> Result<(), ResponseError> {
        // What is part of it already needs no disk.
        let known = self.lock().verify(id, by, &scope);
        let written = match known {
            Ok(written) => written,
            Err(_) => blocking(|| {
                let mut shared = self.lock();
                let written = shared.add(id, by, scope, self.clock.now_ms())?;
                shared.set_alarm(id, self.expiration_ms);
                Ok(written)
            })?,
        };
        written.settle().map_err(Unwritten::code)
    }

    /// Whether the open transaction of a producer has all of `scope`.
    pub(crate) fn verify(
        &self,
        id: &TransactionalId,
        by: Producer,
        scope: &Scope,
    ) -> Result<(), ResponseError> {
        let written = self.lock().verify(id, by, scope)?;
        written.settle().map_err(Unwritten::code)
    }

    /// Has a producer take part with `scope` in its transaction, as far as its protocol says so itself.
    pub(crate) fn admit(
        &self,
        id: &TransactionalId,
        by: Producer,
        generation: Generation,
        scope: Scope,
    ) -> Result<(), ResponseError> {
        match generation {
            Generation::First => self.verify(id, by, &scope),
            Generation::Second => self.add(id, by, scope),
        }
    }

    /// Does `store` for a group while its transaction is open for certain.
    pub(crate) fn with_group<T>(
        &self,
        id: &TransactionalId,
        by: Producer,
        generation: Generation,
        group: &GroupId,
        store: impl FnOnce() -> Result<T, ResponseError>,
    ) -> Result<T, ResponseError> {
        let scope = Scope::group(group);
        self.admit(id, by, generation, scope.clone())?;
        let shared = self.lock();
        // It may have ended while the disk was waited for. What has settled has settled: this is the lock's work only.
        drop(shared.verify(id, by, &scope)?);
        store()
    }

    /// Ends the transaction of a producer; returns who it is from now on.
    pub(crate) fn end(
        &self,
        id: &TransactionalId,
        ending: Ending,
        fresh: FreshId<'_>,
        participants: &dyn Participants,
    ) -> Result<Producer, ResponseError> {
        let mut shared = self.lock();
        shared.check()?;
        let transaction = shared.get(id)?;
        let now_ms = self.clock.now_ms();
        let next = match transaction.end(ending, now_ms, fresh)? {
            End::Done(producer) => return Ok(producer),
            End::Prepare(next) => next,
        };
        // Once it is told, another may have the id: what this one is from now on is decided here.
        let (after, all) = (next.producer_after(), next.scope.clone());
        let written = shared.put(next).map_err(Unwritten::code)?;
        shared.set_alarm(id, self.expiration_ms);
        drop(shared);
        written.settle().map_err(Unwritten::code)?;
        // The decision holds whatever happens now: what is not told is told later.
        if let Err(error) = self.tell(id, all, participants) {
            tracing::warn!(transaction = id.as_str(), %error, "failed to end a transaction, tried again later");
        }
        Ok(after)
    }

    /// Tells those who are `left` how a transaction ends, and notes that it is complete. Only for the one who stored the decision or
    /// has claimed it.
    fn tell(
        &self,
        id: &TransactionalId,
        mut left: Scope,
        participants: &dyn Participants,
    ) -> Result<(), ResponseError> {
        let (transaction, outcome) = {
            let shared = self.lock();
            let transaction = shared.get(id)?;
            let State::Prepare(outcome) = transaction.state else {
                return Ok(());
            };
            (transaction.clone(), outcome)
        };
        let marker = transaction.marker(outcome);
        let told = participants::tell_all(&mut left, marker, participants);
        let now_ms = self.clock.now_ms();
        let mut shared = self.lock();
        let told = told.and_then(|()| {
            // Should a power cut take this, all are told again: what the producer does next forces it to the disk first.
            let put = shared.put(transaction.completed(outcome, now_ms));
            put.map(drop).map_err(|error| error.to_string())
        });
        if told.is_err()
            && let Some(slot) = shared.slots.get_mut(id)
        {
            let at = now_ms.saturating_add(TELL_AGAIN_MS);
            slot.notice = Notice::Due { left, at };
        }
        shared.set_alarm(id, self.expiration_ms);
        drop(shared);
        told.map_err(|reason| {
            tracing::warn!(
                transaction = id.as_str(),
                reason,
                "an end of a transaction is not told to all"
            );
            ResponseError::ConcurrentTransactions
        })
    }

    /// Whether a producer has `scope` in a transaction that is not complete.
    pub(crate) fn holds(&self, producer_id: i64, scope: &Scope) -> bool {
        let shared = self.lock();
        let mut slots = shared.slots.values().map(|slot| &slot.transaction);
        slots.any(|one| one.producer.id == producer_id && one.holds(scope))
    }

    /// Finishes what a kill has left, before any request.
    pub(crate) fn recover(&self, everyone: &Everyone<'_>) {
        let ids: Vec<TransactionalId> = self.lock().slots.keys().cloned().collect();
        for id in ids {
            let Some(left) = self.lock().claim(&id, self.clock.now_ms()) else {
                continue;
            };
            if let Err(error) = self.tell(&id, left, everyone) {
                tracing::warn!(transaction = id.as_str(), %error, "failed to end a transaction, tried again later");
            }
        }
        let orphans = everyone.orphans(self);
        self.lock().orphans = orphans;
        self.abort_orphans(everyone);
    }
}

#[cfg(test)]
mod tests;
