//! What the simulated cluster does with what a member writes: records on their way.
//!
//! What becomes of a record is drawn when it is sent and happens when it is due, in order within a partition. Each is held
//! against the journal.

use std::sync::Arc;
use std::time::Duration;

use super::journal::Source;
use super::member::{Fate, OpenBatch, Sent};
use super::topics::{LARGEST, Stored};
use super::world::{MemberId, World, failure};
use crate::clock::Clock as _;
use crate::dead_letter;
use crate::error::{Class, Error, Outcome};
use crate::log::{Outgoing, SendError, Token};
use crate::topic::{Partition, TopicPartition};

/// How long a batch waits for further records.
const LINGER: Duration = Duration::from_millis(5);

impl World {
    pub(super) fn send(
        &mut self,
        id: MemberId,
        record: &Outgoing<'_>,
        token: Token,
    ) -> Result<(), SendError> {
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let refused = |reason: &str| {
            let action = format!("send a record of {bytes} bytes to topic `{}`", record.topic);
            Err(SendError::Failed(Error::Kafka {
                action,
                reason: reason.to_owned(),
                class: Class::Refused,
                outcome: Outcome::NotApplied,
            }))
        };
        self.check_blame(id, record);
        // A client knows no topic to take less than the default, and finds out.
        if bytes > LARGEST.max(self.topics.limit(record.topic)) {
            self.refuse_current(id);
            return refused("message size too large");
        }
        let random = self.random.usize(..);
        let Some(partition) = record
            .partition
            .or_else(|| self.topics.choose(record.topic, record.key, random))
        else {
            self.refuse_current(id);
            return refused("unknown topic");
        };
        let memory = record.memory();
        let is_full = self.members.get(&id).is_some_and(|member| {
            let in_flight = member.in_flight();
            in_flight > 0 && in_flight + memory > member.subscription.max_bytes_in_flight
        });
        if is_full || self.chance(self.faults.full_queue) {
            return Err(SendError::Full);
        }
        if self.breaks(id) {
            return Err(SendError::Failed(fatal("send a record")));
        }
        self.journal().sent(id, token);
        let sent = self.on_the_way(id, record, partition, token);
        if let Some(member) = self.members.get_mut(&id) {
            member.under_way.push(sent);
        }
        Ok(())
    }

    fn refuse_current(&self, id: MemberId) {
        let mut journal = self.journal();
        if let Some(source) = journal.current(id) {
            journal.refuse(source.attempt);
        }
    }

    /// A record that is dead-lettered as refused: its effects were.
    fn check_blame(&self, id: MemberId, record: &Outgoing<'_>) {
        let reason = record
            .headers
            .and_then(|headers| headers.get(dead_letter::REASON));
        if !is_dead_letter(record.topic) || reason != Some(b"refused") {
            return;
        }
        if let (Some((partition, offset)), Some(member)) =
            (dead_letter_position(record), self.members.get(&id))
        {
            let group = &member.subscription.group;
            self.journal().blame(id, group, &partition, offset);
        }
    }

    /// Whether a member's producer fails now, or has failed: then nothing that is under way arrives.
    fn breaks(&mut self, id: MemberId) -> bool {
        let breaks = self.chance(self.faults.fatal_send);
        let Some(member) = self.members.get_mut(&id) else {
            return false;
        };
        if breaks && !member.is_broken {
            member.is_broken = true;
            for sent in member.under_way.iter_mut().filter(|sent| !sent.is_decided) {
                sent.is_decided = true;
                sent.fate = Fate::Fatal;
            }
        }
        member.is_broken
    }

    /// The batch that a record to a partition joins.
    fn batch(&mut self, id: MemberId, topic: &Arc<str>, partition: Partition) -> OpenBatch {
        let now = self.clock.now();
        let place = (Arc::clone(topic), partition);
        let latest = self
            .members
            .get(&id)
            .and_then(|member| member.batches.get(&place))
            .copied();
        if let Some(batch) = latest.filter(|batch| now < batch.closes) {
            return batch;
        }
        let closes = now.plus(LINGER);
        let earlier = latest.map(|batch| batch.due).unwrap_or_default();
        let due = closes.plus(self.delay()).max(earlier).max(self.away_until);
        self.last_batch += 1;
        let batch = OpenBatch {
            number: self.last_batch,
            closes,
            due,
        };
        if let Some(member) = self.members.get_mut(&id) {
            member.batches.insert(place, batch);
        }
        batch
    }

    fn on_the_way(
        &mut self,
        id: MemberId,
        record: &Outgoing<'_>,
        partition: Partition,
        token: Token,
    ) -> Sent {
        let faults = self.faults;
        let fate = if self.chance(faults.failed_send) {
            Fate::Failed
        } else if self.chance(faults.unknown_send) {
            Fate::Unknown
        } else if self.chance(faults.duplicated_send) {
            Fate::WrittenTwice
        } else {
            Fate::Written
        };
        let topic: Arc<str> = record.topic.into();
        let batch = self.batch(id, &topic, partition);
        Sent {
            token,
            topic,
            partition,
            memory: record.memory(),
            batch: batch.number,
            sent: self.clock.now(),
            record: Stored {
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.cloned().unwrap_or_default(),
                timestamp: record.timestamp.unwrap_or_else(|| self.clock.wall()),
                origin: self.origin(id, record),
                sequence: 0,
            },
            due: batch.due,
            fate,
            is_decided: false,
        }
    }

    /// The input record that an effect belongs to. A dead letter may come long after its record, so it names it itself.
    fn origin(&self, id: MemberId, record: &Outgoing<'_>) -> Option<Source> {
        if !is_dead_letter(record.topic) {
            return self.journal().current(id);
        }
        let (partition, offset) = dead_letter_position(record)?;
        let group = &self.members.get(&id)?.subscription.group;
        Some(self.journal().dead_letter_of(group, partition, offset))
    }

    pub(super) fn reports(&mut self, id: MemberId) -> Vec<(Token, Result<(), Error>)> {
        let Some(member) = self.members.get_mut(&id) else {
            return Vec::new();
        };
        let decided: Vec<Sent> = member
            .under_way
            .extract_if(.., |sent| sent.is_decided)
            .collect();
        let mut reports = Vec::with_capacity(decided.len());
        for sent in decided {
            if let (true, Some(source)) = (!sent.fate.is_written(), &sent.record.origin) {
                self.journal().forget_ticks(id, &source.partition);
            }
            let action = || format!("deliver a record to topic `{}`", sent.topic);
            let result = match sent.fate {
                Fate::Written | Fate::WrittenTwice => Ok(()),
                Fate::Unknown | Fate::TimedOut => {
                    Err(failure(&action(), "message timed out", Outcome::Unknown))
                }
                Fate::Refused { only_record } => Err(Error::Kafka {
                    action: action(),
                    reason: "message size too large".to_owned(),
                    class: if only_record {
                        Class::Refused
                    } else {
                        Class::Abortable
                    },
                    outcome: Outcome::NotApplied,
                }),
                Fate::Fatal => Err(fatal(&action())),
                Fate::Failed => Err(failure(
                    &action(),
                    "not enough replicas",
                    Outcome::NotApplied,
                )),
            };
            if let (Ok(()), Some(source)) = (&result, &sent.record.origin) {
                self.journal()
                    .acknowledge(source, is_dead_letter(&sent.topic));
            }
            reports.push((sent.token, result));
        }
        reports
    }
}

/// A producer that is of no more use.
fn fatal(action: &str) -> Error {
    Error::Kafka {
        action: action.to_owned(),
        reason: "out of order sequence number".to_owned(),
        class: Class::Fatal,
        outcome: Outcome::Unknown,
    }
}

/// Where the record of a dead letter was.
fn dead_letter_position(record: &Outgoing<'_>) -> Option<(TopicPartition, i64)> {
    let text = |name: &str| {
        let value = record.headers.and_then(|headers| headers.get(name))?;
        std::str::from_utf8(value).ok()
    };
    let partition = Partition(text(dead_letter::PARTITION)?.parse().ok()?);
    let partition = TopicPartition::new(text(dead_letter::TOPIC)?, partition);
    Some((partition, text(dead_letter::OFFSET)?.parse().ok()?))
}

fn is_dead_letter(topic: &str) -> bool {
    topic.ends_with(".dlq")
}
