//! What of the transactions is kept on disk: the records of `transactions.journal`, version 2.
//!
//! Each record stands for itself and the last one about a transactional id holds, but for "grown", which adds to it. Fields are those
//! of `journal/fields`.
//!
//! ```text
//! 1 whole    id | producer id i64 | epoch i16 | previous id i64 | previous epoch i16 | successor i64 | timeout i32 | state u8
//!            | started at i64 | changed at i64 | scope       (-1 for no previous one and no successor)
//! 2 grown    id | at i64 | scope
//! 3 removed  id
//! scope      topics of (name | partitions of i32) | groups of id
//! ```
//!
//! States are 0 empty, 1 ongoing, 2 and 3 prepared to commit or abort, 4 and 5 committed or aborted.

use std::collections::HashMap;

use bytes::BufMut as _;
use kafka_protocol::messages::{GroupId, TopicName, TransactionalId};

use super::transaction::{Producer, Scope, State, Transaction};
use crate::journal::Format;
use crate::journal::fields::{Fields, put_count, put_text};
use crate::log::Outcome;

pub(super) const FORMAT: Format = Format {
    magic: *b"mstransa",
    version: 2,
};

const WHOLE: u8 = 1;
const GROWN: u8 = 2;
const REMOVED: u8 = 3;

const STATES: [State; 6] = [
    State::Empty,
    State::Ongoing,
    State::Prepare(Outcome::Commit),
    State::Prepare(Outcome::Abort),
    State::Complete(Outcome::Commit),
    State::Complete(Outcome::Abort),
];

/// All of a transaction.
pub(super) fn put_whole(out: &mut Vec<u8>, transaction: &Transaction) {
    out.put_u8(WHOLE);
    put_text(out, &transaction.id);
    put_producer(out, Some(transaction.producer));
    put_producer(out, transaction.previous);
    out.put_i64(transaction.successor.unwrap_or(-1));
    out.put_i32(transaction.timeout_ms);
    let state = (0..)
        .zip(STATES)
        .find(|(_, state)| *state == transaction.state);
    out.put_u8(state.map_or(0, |(number, _)| number));
    out.put_i64(transaction.started_at_ms);
    out.put_i64(transaction.changed_at_ms);
    put_scope(out, &transaction.scope);
}

/// What was added to a transaction, and when.
pub(super) fn put_grown(out: &mut Vec<u8>, id: &TransactionalId, added: &Scope, at_ms: i64) {
    out.put_u8(GROWN);
    put_text(out, id);
    out.put_i64(at_ms);
    put_scope(out, added);
}

/// A transactional id that is forgotten.
pub(super) fn put_removed(out: &mut Vec<u8>, id: &TransactionalId) {
    out.put_u8(REMOVED);
    put_text(out, id);
}

fn put_producer(out: &mut Vec<u8>, producer: Option<Producer>) {
    out.put_i64(producer.map_or(-1, |producer| producer.id));
    out.put_i16(producer.map_or(-1, |producer| producer.epoch));
}

fn put_scope(out: &mut Vec<u8>, scope: &Scope) {
    put_count(out, scope.topics.len());
    for (topic, partitions) in &scope.topics {
        put_text(out, topic);
        put_count(out, partitions.len());
        for partition in partitions {
            out.put_i32(*partition);
        }
    }
    put_count(out, scope.groups.len());
    for group in &scope.groups {
        put_text(out, group);
    }
}

/// Transactions as they are read from the journal.
#[derive(Default)]
pub(super) struct Replayed {
    pub(super) transactions: HashMap<TransactionalId, Transaction>,
}

impl Replayed {
    /// Takes one record in.
    pub(super) fn apply(&mut self, record: &[u8]) -> Result<(), String> {
        let mut fields = Fields(record);
        let known = match fields.u8() {
            Some(WHOLE) => whole(&mut fields).map(|transaction| {
                self.transactions
                    .insert(transaction.id.clone(), transaction);
            }),
            Some(GROWN) => self.grown(&mut fields),
            Some(REMOVED) => fields.text().map(|id| {
                self.transactions.remove(&TransactionalId(id));
            }),
            Some(kind) => return Err(format!("no record has kind {kind}")),
            None => None,
        };
        match known {
            Some(()) if fields.0.is_empty() => Ok(()),
            _ => Err("the record does not have the fields of its kind".to_owned()),
        }
    }

    fn grown(&mut self, fields: &mut Fields<'_>) -> Option<()> {
        let id = TransactionalId(fields.text()?);
        let at_ms = fields.i64()?;
        let added = scope(fields)?;
        self.transactions.get_mut(&id)?.grow(added, at_ms);
        Some(())
    }
}

fn whole(fields: &mut Fields<'_>) -> Option<Transaction> {
    Some(Transaction {
        id: TransactionalId(fields.text()?),
        producer: producer(fields)?,
        previous: producer(fields).map(|producer| (producer.id >= 0).then_some(producer))?,
        successor: Some(fields.i64()?).filter(|id| *id >= 0),
        timeout_ms: fields.i32()?,
        state: *STATES.get(usize::from(fields.u8()?))?,
        started_at_ms: fields.i64()?,
        changed_at_ms: fields.i64()?,
        scope: scope(fields)?,
    })
}

fn producer(fields: &mut Fields<'_>) -> Option<Producer> {
    Some(Producer {
        id: fields.i64()?,
        epoch: fields.i16()?,
    })
}

fn scope(fields: &mut Fields<'_>) -> Option<Scope> {
    let topics = fields.list(|fields| {
        let topic = TopicName(fields.text()?);
        Some((topic, fields.list(Fields::i32)?.into_iter().collect()))
    })?;
    let groups = fields.list(|fields| fields.text().map(GroupId))?;
    Some(Scope {
        topics: topics.into_iter().collect(),
        groups: groups.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use kafka_protocol::protocol::StrBytes;

    use super::*;

    fn transaction() -> Transaction {
        let id = TransactionalId(StrBytes::from_static_str("copy"));
        let topic = TopicName(StrBytes::from_static_str("calls"));
        let mut one = Transaction::new(id, 7, 1000);
        one.grow(Scope::partition(&topic, 3), 2000);
        one.grow(Scope::partition(&topic, 5), 2500);
        one.grow(
            Scope::group(&GroupId(StrBytes::from_static_str("readers"))),
            3000,
        );
        one
    }

    #[test]
    fn records_come_back_as_they_were_put() {
        for state in STATES {
            let one = Transaction {
                state,
                previous: Some(Producer { id: 6, epoch: 4 }),
                successor: Some(9),
                timeout_ms: 60_000,
                ..transaction()
            };
            let mut record = Vec::new();
            put_whole(&mut record, &one);
            let mut replayed = Replayed::default();
            assert_eq!(replayed.apply(&record), Ok(()));
            assert_eq!(replayed.transactions.get(&one.id), Some(&one));
            for cut in 0..record.len() {
                assert!(replayed.apply(&record[..cut]).is_err(), "cut at {cut}");
            }
            record.clear();
            put_removed(&mut record, &one.id);
            assert_eq!(replayed.apply(&record), Ok(()));
            assert_eq!(replayed.transactions.len(), 0);
        }
    }

    #[test]
    fn what_was_added_is_added_again() {
        let whole = transaction();
        let fresh = Transaction::new(whole.id.clone(), 7, 1000);
        let topic = TopicName(StrBytes::from_static_str("calls"));
        let group = GroupId(StrBytes::from_static_str("readers"));
        let mut replayed = Replayed::default();
        let mut records = vec![Vec::new(); 4];
        put_whole(&mut records[0], &fresh);
        put_grown(
            &mut records[1],
            &whole.id,
            &Scope::partition(&topic, 3),
            2000,
        );
        put_grown(
            &mut records[2],
            &whole.id,
            &Scope::partition(&topic, 5),
            2500,
        );
        put_grown(&mut records[3], &whole.id, &Scope::group(&group), 3000);
        for record in &records {
            assert_eq!(replayed.apply(record), Ok(()));
        }
        assert_eq!(replayed.transactions.get(&whole.id), Some(&whole));
        let mut unknown = Replayed::default();
        assert_eq!(
            unknown.apply(&records[1]),
            Err("the record does not have the fields of its kind".to_owned())
        );
    }
}
