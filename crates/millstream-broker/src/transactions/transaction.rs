//! One transactional id as a state machine of (event, now), as `TransactionMetadata` and its coordinator in Apache Kafka 4.1.
//!
//! ```text
//!            a partition or group is added            EndTxn, time-out, a new producer
//!  Empty ───────────────────────────────▶ Ongoing ─────────────────────────────────────▶ Prepare
//!    ▲                                       ▲                                              │ every marker is written
//!    │ InitProducerId                        │ a partition or group is added                ▼
//!    └───────────────────────────────────────┴───────────────────────────────────────── Complete
//! ```
//!
//! A producer proves itself by id and epoch. The epoch grows with every InitProducerId and with every transaction that the broker ends
//! on its own, so that whoever had it before is fenced; with the second generation (KIP-890) it grows with every end, so that no
//! request of an earlier transaction can reach a later one. An event returns the state that follows; the owner stores it, then takes it.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::{GroupId, TopicName, TransactionalId};

use crate::frame::own;
use crate::log::{Marker, Outcome};

/// The epoch of the coordinator: there is one for ever.
const COORDINATOR_EPOCH: i32 = 0;

/// Most of what takes part in one transaction, so that its record is always one that the journal takes.
const MAX_SCOPE_BYTES: usize = 16 << 20;

/// The last epoch that a client gets; one more is left for fencing it.
const LAST_EPOCH: i16 = i16::MAX - 1;

/// Who a transactional producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Producer {
    pub(crate) id: i64,
    pub(crate) epoch: i16,
}

impl Producer {
    /// The same producer with the next epoch.
    fn bumped(self) -> Producer {
        Producer {
            epoch: self.epoch.saturating_add(1),
            ..self
        }
    }

    fn is_exhausted(self) -> bool {
        self.epoch >= LAST_EPOCH
    }
}

/// Which protocol a producer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// It announces partitions and groups, and keeps its epoch.
    First,
    /// It is given an epoch for each transaction, and partitions announce themselves (KIP-890).
    Second,
}

/// Where a transactional id is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Nothing was sent yet.
    Empty,
    /// Partitions or groups take part.
    Ongoing,
    /// How it ends is decided; partitions and groups are being told.
    Prepare(Outcome),
    /// All were notified.
    Complete(Outcome),
}

impl State {
    /// As the protocol spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::Ongoing => "Ongoing",
            State::Prepare(Outcome::Commit) => "PrepareCommit",
            State::Prepare(Outcome::Abort) => "PrepareAbort",
            State::Complete(Outcome::Commit) => "CompleteCommit",
            State::Complete(Outcome::Abort) => "CompleteAbort",
        }
    }
}

/// What takes part in a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) topics: BTreeMap<TopicName, BTreeSet<i32>>,
    pub(crate) groups: BTreeSet<GroupId>,
}

impl Scope {
    /// Nothing.
    pub(crate) const EMPTY: Scope = Scope {
        topics: BTreeMap::new(),
        groups: BTreeSet::new(),
    };

    /// One partition.
    pub(crate) fn partition(topic: &TopicName, partition: i32) -> Scope {
        let mut scope = Scope::default();
        scope.add(topic, &[partition]);
        scope
    }

    /// The offsets of one group.
    pub(crate) fn group(group: &GroupId) -> Scope {
        Scope {
            topics: BTreeMap::new(),
            groups: BTreeSet::from([GroupId(own(group))]),
        }
    }

    /// More partitions of a topic.
    pub(crate) fn add(&mut self, topic: &TopicName, partitions: &[i32]) {
        match self.topics.get_mut(topic) {
            Some(known) => known.extend(partitions),
            None => {
                let partitions = partitions.iter().copied().collect();
                self.topics.insert(TopicName(own(topic)), partitions);
            }
        }
    }

    /// About as many bytes as it takes in a record.
    fn size(&self) -> usize {
        let topics = self.topics.iter();
        let topics = topics.map(|(topic, partitions)| topic.len() + 4 * partitions.len());
        let groups = self.groups.iter().map(|group| group.len());
        topics.chain(groups).sum()
    }

    fn contains(&self, other: &Scope) -> bool {
        let mut topics = other.topics.iter();
        topics.all(|(topic, partitions)| {
            let known = self.topics.get(topic);
            known.is_some_and(|known| known.is_superset(partitions))
        }) && self.groups.is_superset(&other.groups)
    }

    fn extend(&mut self, other: Scope) {
        for (topic, partitions) in other.topics {
            self.topics.entry(topic).or_default().extend(partitions);
        }
        self.groups.extend(other.groups);
    }
}

/// One transactional id with its current or last transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transaction {
    pub(crate) id: TransactionalId,
    pub(crate) producer: Producer,
    /// Who it was before the last change that its client may not have heard of.
    pub(crate) previous: Option<Producer>,
    /// The producer id that follows when the transaction is complete, for the epochs of this one are used up.
    pub(crate) successor: Option<i64>,
    pub(crate) timeout_ms: i32,
    pub(crate) state: State,
    pub(crate) scope: Scope,
    /// When the current or last transaction began, -1 before one has.
    pub(crate) started_at_ms: i64,
    pub(crate) changed_at_ms: i64,
}

/// What follows from InitProducerId.
#[derive(Debug)]
pub(crate) enum Init {
    /// The producer may begin.
    Ready(Transaction),
    /// The transaction of an earlier producer has to be aborted before.
    Abort(Transaction),
}

/// EndTxn: who ends its transaction, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    pub(crate) by: Producer,
    pub(crate) outcome: Outcome,
    pub(crate) generation: Generation,
}

/// What follows from EndTxn.
#[derive(Debug)]
pub(crate) enum End {
    /// It was done before; who the producer is from now on.
    Done(Producer),
    /// Partitions and groups are to be notified.
    Prepare(Transaction),
}

/// Where new producer ids come from.
pub(crate) type FreshId<'a> = &'a dyn Fn() -> Result<i64, ResponseError>;

impl Transaction {
    /// A transactional id that nobody has used.
    pub(crate) fn new(id: TransactionalId, producer_id: i64, now_ms: i64) -> Transaction {
        Transaction {
            id,
            producer: Producer {
                id: producer_id,
                epoch: -1,
            },
            previous: None,
            successor: None,
            timeout_ms: 0,
            state: State::Empty,
            scope: Scope::default(),
            started_at_ms: -1,
            changed_at_ms: now_ms,
        }
    }

    /// A producer begins, or (`known`) wants a new epoch for the one it has.
    pub(crate) fn init(
        &self,
        known: Option<Producer>,
        timeout_ms: i32,
        now_ms: i64,
        fresh: FreshId<'_>,
    ) -> Result<Init, ResponseError> {
        if matches!(self.state, State::Prepare(_)) {
            return Err(ResponseError::ConcurrentTransactions);
        }
        let is_new = self.producer.epoch == -1;
        let is_current = known.is_none_or(|known| is_new || known == self.producer);
        let is_retry = known.is_some() && known == self.previous;
        let may_repeat = is_retry && self.state != State::Ongoing;
        if !is_current && !may_repeat {
            return Err(ResponseError::ProducerFenced);
        }
        if self.state == State::Ongoing {
            // Who names itself may ask again, should it not hear the answer; who does not has fenced everyone before.
            let previous = known.map(|_| self.producer);
            return Ok(Init::Abort(self.fenced(previous, now_ms)));
        }
        let producer = match () {
            () if !is_current && self.producer.epoch <= LAST_EPOCH => self.producer,
            () if self.producer.is_exhausted() => Producer {
                id: fresh()?,
                epoch: 0,
            },
            () => self.producer.bumped(),
        };
        Ok(Init::Ready(Transaction {
            producer,
            previous: known.filter(|_| !is_new),
            timeout_ms,
            state: State::Empty,
            scope: Scope::default(),
            started_at_ms: -1,
            changed_at_ms: now_ms,
            ..self.clone()
        }))
    }

    /// The transaction on its way to being aborted, its producer fenced; `previous` may go on if it asks for an epoch.
    fn fenced(&self, previous: Option<Producer>, now_ms: i64) -> Transaction {
        Transaction {
            producer: self.producer.bumped(),
            previous,
            state: State::Prepare(Outcome::Abort),
            changed_at_ms: now_ms,
            ..self.clone()
        }
    }

    /// Whether this is the producer, and may take part in a transaction now.
    pub(crate) fn check(&self, by: Producer) -> Result<(), ResponseError> {
        if by.id != self.producer.id {
            Err(ResponseError::InvalidProducerIdMapping)
        } else if by.epoch != self.producer.epoch {
            Err(ResponseError::ProducerFenced)
        } else if matches!(self.state, State::Prepare(_)) {
            Err(ResponseError::ConcurrentTransactions)
        } else {
            Ok(())
        }
    }

    /// Whether the open transaction has all of `scope`.
    pub(crate) fn has(&self, scope: &Scope) -> bool {
        self.state == State::Ongoing && self.scope.contains(scope)
    }

    /// Whether a transaction that is not complete has all of `scope`.
    pub(crate) fn holds(&self, scope: &Scope) -> bool {
        matches!(self.state, State::Ongoing | State::Prepare(_)) && self.scope.contains(scope)
    }

    /// When the transaction began if something is added to it now.
    pub(crate) fn start(&self, now_ms: i64) -> i64 {
        match self.state {
            State::Ongoing => self.started_at_ms,
            _ => now_ms,
        }
    }

    /// Whether its record would be too large if `scope` took part as well.
    pub(crate) fn is_too_large_with(&self, scope: &Scope) -> bool {
        let before = match self.state {
            State::Ongoing => self.scope.size(),
            _ => 0,
        };
        before.saturating_add(scope.size()) > MAX_SCOPE_BYTES
    }

    /// Partitions and groups take part from now on.
    pub(crate) fn grow(&mut self, scope: Scope, now_ms: i64) {
        self.started_at_ms = self.start(now_ms);
        self.state = State::Ongoing;
        self.changed_at_ms = now_ms;
        self.scope.extend(scope);
    }

    /// The producer ends its transaction.
    pub(crate) fn end(
        &self,
        ending: Ending,
        now_ms: i64,
        fresh: FreshId<'_>,
    ) -> Result<End, ResponseError> {
        let Ending {
            by,
            outcome,
            generation,
        } = ending;
        let is_retry = generation == Generation::Second && self.is_retry(by);
        if by.id != self.producer.id && !is_retry {
            return Err(ResponseError::InvalidProducerIdMapping);
        }
        let is_current = by.epoch == self.producer.epoch;
        let is_valid = match (generation, self.state) {
            (Generation::First, _) | (_, State::Empty | State::Ongoing) => is_current,
            (_, State::Prepare(_)) => is_retry,
            (_, State::Complete(_)) => is_retry || is_current,
        };
        if !is_valid {
            return Err(ResponseError::ProducerFenced);
        }
        let anew = generation == Generation::Second && outcome == Outcome::Abort && !is_retry;
        match self.state {
            State::Ongoing => Ok(End::Prepare(self.prepared(ending, now_ms, fresh)?)),
            State::Prepare(decided) if decided == outcome => {
                Err(ResponseError::ConcurrentTransactions)
            }
            State::Complete(decided)
                if decided == outcome && (is_retry || generation == Generation::First) =>
            {
                Ok(End::Done(self.producer))
            }
            // Nothing was added that the broker knows of; what may still be on its way is fenced by the new epoch.
            State::Empty | State::Complete(_) if anew => {
                Ok(End::Prepare(self.prepared(ending, now_ms, fresh)?))
            }
            _ => Err(ResponseError::InvalidTxnState),
        }
    }

    /// Whether a client of the second generation asks again for what it was not told of.
    fn is_retry(&self, by: Producer) -> bool {
        let bumped =
            by.id == self.producer.id && by.epoch.checked_add(1) == Some(self.producer.epoch);
        let replaced = self.previous == Some(by) && by.is_exhausted() && self.producer.epoch == 0;
        bumped || replaced
    }

    fn prepared(
        &self,
        ending: Ending,
        now_ms: i64,
        fresh: FreshId<'_>,
    ) -> Result<Transaction, ResponseError> {
        let mut next = Transaction {
            started_at_ms: self.start(now_ms),
            state: State::Prepare(ending.outcome),
            changed_at_ms: now_ms,
            ..self.clone()
        };
        if ending.generation == Generation::Second {
            if self.producer.is_exhausted() {
                next.successor = Some(fresh()?);
            }
            next.previous = Some(self.producer);
            next.producer = self.producer.bumped();
        }
        Ok(next)
    }

    /// The transaction on its way to being aborted, if it has been open for too long.
    pub(crate) fn timed_out(&self, now_ms: i64) -> Option<Transaction> {
        let open = self.state == State::Ongoing;
        (open && self.times_out_at() <= now_ms).then(|| self.fenced(Some(self.producer), now_ms))
    }

    /// When the open transaction will have been open for too long.
    pub(crate) fn times_out_at(&self) -> i64 {
        let timeout_ms = i64::from(self.timeout_ms);
        self.started_at_ms
            .saturating_add(timeout_ms)
            .saturating_add(1)
    }

    /// The marker that a partition is to be given.
    pub(crate) fn marker(&self, outcome: Outcome) -> Marker {
        Marker {
            producer_id: self.producer.id,
            epoch: self.producer.epoch,
            outcome,
            coordinator_epoch: COORDINATOR_EPOCH,
        }
    }

    /// Who the producer is when the transaction is complete.
    pub(crate) fn producer_after(&self) -> Producer {
        match self.successor {
            Some(id) => Producer { id, epoch: 0 },
            None => self.producer,
        }
    }

    /// The transaction when all partitions and groups were notified.
    pub(crate) fn completed(&self, outcome: Outcome, now_ms: i64) -> Transaction {
        Transaction {
            producer: self.producer_after(),
            successor: None,
            state: State::Complete(outcome),
            scope: Scope::default(),
            changed_at_ms: now_ms,
            ..self.clone()
        }
    }
}

/// The marker for a transaction that no coordinator knows: what is left of it is aborted.
pub(super) fn orphaned(producer: Producer) -> Marker {
    Marker {
        producer_id: producer.id,
        epoch: producer.epoch,
        outcome: Outcome::Abort,
        coordinator_epoch: COORDINATOR_EPOCH,
    }
}

#[cfg(test)]
mod tests;
