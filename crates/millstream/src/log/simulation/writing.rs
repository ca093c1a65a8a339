//! What the simulated cluster does with what a member writes: records on their way.
//!
//! What becomes of a record is drawn when it is sent and happens when it is due, in order within a partition. Each is held
//! against the journal.

use std::sync::Arc;

use super::journal::Source;
use super::member::{Fate, Member, Sent};
use super::topics::Stored;
use super::world::{MemberId, World, failure};
use crate::clock::Clock as _;
use crate::dead_letter;
use crate::error::{Class, Error, Outcome};
use crate::log::{Outgoing, SendError, Token};
use crate::topic::{Partition, TopicPartition};

/// The largest record the cluster takes, as Kafka's default `max.message.bytes`.
const LARGEST: usize = 1_048_588;

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
        if bytes > LARGEST {
            return refused("message size too large");
        }
        let random = self.random.usize(..);
        let Some(partition) = record
            .partition
            .or_else(|| self.topics.choose(record.topic, record.key, random))
        else {
            return refused("unknown topic");
        };
        let in_flight = |member: &Member| {
            member
                .under_way
                .iter()
                .map(|sent| sent.bytes)
                .sum::<usize>()
        };
        let is_full = self.members.get(&id).is_some_and(|member| {
            let in_flight = in_flight(member);
            in_flight > 0 && in_flight + bytes > member.subscription.max_bytes_in_flight
        });
        if is_full || self.chance(self.faults.full_queue) {
            return Err(SendError::Full);
        }
        let sent = self.on_the_way(id, record, partition, token);
        if let Some(member) = self.members.get_mut(&id) {
            member
                .last_due
                .insert((Arc::clone(&sent.topic), partition), sent.due);
            member.under_way.push(sent);
        }
        Ok(())
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
        let mut due = self.clock.now().plus(self.delay());
        let earlier = self
            .members
            .get(&id)
            .and_then(|member| member.last_due.get(&(Arc::clone(&topic), partition)));
        due = due.max(earlier.copied().unwrap_or_default());
        Sent {
            token,
            topic,
            partition,
            bytes: record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len),
            record: Stored {
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.cloned().unwrap_or_default(),
                timestamp: record.timestamp.unwrap_or_else(|| self.clock.wall()),
                origin: self.origin(id, record),
                sequence: 0,
            },
            due,
            fate,
            is_decided: false,
        }
    }

    /// The input record that an effect belongs to. A dead letter may come long after its record, so it says it itself.
    fn origin(&self, id: MemberId, record: &Outgoing<'_>) -> Option<Source> {
        let text = |name: &str| {
            let value = record.headers.and_then(|headers| headers.get(name))?;
            std::str::from_utf8(value).ok()
        };
        if !is_dead_letter(record.topic) {
            return self.log_book().current(id);
        }
        let topic = text(dead_letter::TOPIC)?;
        let partition = TopicPartition::new(
            topic,
            Partition(text(dead_letter::PARTITION)?.parse().ok()?),
        );
        let offset = text(dead_letter::OFFSET)?.parse().ok()?;
        let group = &self.members.get(&id)?.subscription.group;
        Some(self.log_book().dead_letter_of(group, partition, offset))
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
            let action = || format!("deliver a record to topic `{}`", sent.topic);
            let result = match sent.fate {
                Fate::Written | Fate::WrittenTwice => Ok(()),
                Fate::Unknown => Err(failure(&action(), "message timed out", Outcome::Unknown)),
                Fate::Failed => Err(failure(
                    &action(),
                    "not enough replicas",
                    Outcome::NotApplied,
                )),
            };
            if let (Ok(()), Some(source)) = (&result, &sent.record.origin) {
                self.log_book()
                    .acknowledge(source, is_dead_letter(&sent.topic));
            }
            reports.push((sent.token, result));
        }
        reports
    }
}

fn is_dead_letter(topic: &str) -> bool {
    topic.ends_with(".dlq")
}
