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
//! The state of all ids is behind one lock, which is held while the journal takes a record (and, once in a thousand new ids, while the
//! next of them are reserved), never while a sync or a participant is waited for. Offsets of a transaction are put in their group under it, so that none come after the decision; partitions see to that
//! themselves (`log/append`). One task, [`Transactions::run`], aborts what has been open for too long, tells those again who could not
//! be notified, and forgets ids that nobody uses.

mod participants;
mod records;
mod shared;
mod transaction;
mod view;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, TransactionalId};

use crate::alarms::Alarms;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::error::Error;
use crate::frame::own;
use crate::journal::{Journal, Unwritten, Written};
pub(crate) use participants::{Everyone, Participants};
use records::Replayed;
use shared::{Shared, Slot, TELL_AGAIN_MS};
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
                stopping: false,
            }),
        };
        let mut shared = transactions.lock();
        for (id, transaction) in replayed.transactions {
            shared.slots.insert(id.clone(), Slot::new(transaction));
            shared.set_alarm(&id, transactions.expiration_ms);
        }
        drop(shared);
        Ok(transactions)
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
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
                return;
            };
            self.wake(&id, now_ms, participants);
        }
    }

    fn wake(&self, id: &TransactionalId, now_ms: i64, participants: &dyn Participants) {
        let mut shared = self.lock();
        let Some(slot) = shared.slots.get(id) else {
            return;
        };
        let mut settled = None;
        if let Some(aborting) = slot.transaction.timed_out(now_ms) {
            tracing::info!(
                transaction = id.as_str(),
                "transaction timed out, it is aborted"
            );
            settled = Some(shared.put(aborting));
        } else if matches!(slot.transaction.state, State::Prepare(_)) {
            if !slot.telling && slot.again_at <= now_ms {
                settled = Some(Ok(Written::settled()));
            }
        } else if slot.expires_at(self.expiration_ms) <= now_ms {
            shared.forget(id);
        }
        // Whatever failed is tried again, but not at once.
        shared.set_alarm_after(id, now_ms, self.expiration_ms);
        drop(shared);
        let told = match settled {
            None => Ok(()),
            Some(written) => written
                .and_then(Written::settle)
                .map_err(Unwritten::code)
                .and_then(|()| self.tell(id, participants)),
        };
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
        let mut known = known;
        loop {
            let mut shared = self.lock();
            shared.check()?;
            let id = match shared.slots.entry(id.clone()) {
                Entry::Occupied(slot) => slot.key().clone(),
                Entry::Vacant(_) => {
                    let id = TransactionalId(own(id));
                    let transaction = Transaction::new(id.clone(), fresh()?, now_ms);
                    shared.slots.insert(id.clone(), Slot::new(transaction));
                    id
                }
            };
            let slot = shared
                .slots
                .get(&id)
                .ok_or(ResponseError::UnknownServerError)?;
            let next = slot.transaction.init(known, timeout_ms, now_ms, fresh)?;
            let (next, ready) = match next {
                Init::Ready(next) => (next, true),
                Init::Abort(next) => (next, false),
            };
            let producer = next.producer;
            let written = shared.put(next).map_err(Unwritten::code)?;
            shared.set_alarm(&id, self.expiration_ms);
            drop(shared);
            written.settle().map_err(Unwritten::code)?;
            if ready {
                return Ok(producer);
            }
            self.tell(&id, participants)?;
            // Whoever it was, it is fenced now, and this request was found to be the one that may follow.
            known = known.map(|_| producer);
        }
    }

    /// Adds to the transaction of a producer, which begins with it if need be.
    pub(crate) fn add(
        &self,
        id: &TransactionalId,
        by: Producer,
        scope: Scope,
    ) -> Result<(), ResponseError> {
        let mut shared = self.lock();
        shared.add(id, by, scope, self.clock.now_ms())?;
        shared.set_alarm(id, self.expiration_ms);
        Ok(())
    }

    /// Whether the open transaction of a producer has all of `scope`.
    pub(crate) fn verify(
        &self,
        id: &TransactionalId,
        by: Producer,
        scope: &Scope,
    ) -> Result<(), ResponseError> {
        self.lock().verify(id, by, scope)
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
        let mut shared = self.lock();
        let scope = Scope::group(group);
        match generation {
            Generation::First => shared.verify(id, by, &scope)?,
            Generation::Second => {
                shared.add(id, by, scope, self.clock.now_ms())?;
                shared.set_alarm(id, self.expiration_ms);
            }
        }
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
        let written = shared.put(next).map_err(Unwritten::code)?;
        shared.set_alarm(id, self.expiration_ms);
        drop(shared);
        written.settle().map_err(Unwritten::code)?;
        // The decision holds whatever happens now: what is not told is told later.
        if let Err(error) = self.tell(id, participants) {
            tracing::warn!(transaction = id.as_str(), %error, "failed to end a transaction, tried again later");
        }
        let shared = self.lock();
        let transaction = shared.get(id)?;
        Ok(match transaction.successor {
            Some(id) => Producer { id, epoch: 0 },
            None => transaction.producer,
        })
    }

    /// Tells all that take part how a transaction ends, and notes that it is complete.
    fn tell(
        &self,
        id: &TransactionalId,
        participants: &dyn Participants,
    ) -> Result<(), ResponseError> {
        let (transaction, outcome) = {
            let mut shared = self.lock();
            let Some(slot) = shared.slots.get_mut(id) else {
                return Ok(());
            };
            let State::Prepare(outcome) = slot.transaction.state else {
                return Ok(());
            };
            if std::mem::replace(&mut slot.telling, true) {
                return Err(ResponseError::ConcurrentTransactions);
            }
            (slot.transaction.clone(), outcome)
        };
        let told = participants::tell_all(&transaction, outcome, participants);
        let now_ms = self.clock.now_ms();
        let mut shared = self.lock();
        let told = told.and_then(|()| {
            // What the disk forgets of this is done again.
            let put = shared.put(transaction.completed(outcome, now_ms));
            put.map(drop).map_err(|error| error.to_string())
        });
        if let Some(slot) = shared.slots.get_mut(id) {
            slot.telling = false;
            slot.again_at = now_ms.saturating_add(TELL_AGAIN_MS);
        }
        shared.set_alarm(id, self.expiration_ms);
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
        let prepared: Vec<TransactionalId> = {
            let shared = self.lock();
            let slots = shared.slots.iter();
            slots
                .filter(|(_, slot)| matches!(slot.transaction.state, State::Prepare(_)))
                .map(|(id, _)| id.clone())
                .collect()
        };
        for id in prepared {
            if let Err(error) = self.tell(&id, everyone) {
                tracing::warn!(transaction = id.as_str(), %error, "failed to end a transaction, tried again later");
            }
        }
        everyone.abort_orphans(self);
    }
}

#[cfg(test)]
mod tests;
