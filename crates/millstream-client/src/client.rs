//! The client as an application holds it: one value on one thread, which acts while the application calls it.
//!
//! Nothing happens between calls: whoever uses it calls [`Client::poll`] often. It moves bytes, lets the state machines act, and returns one event at a time.

use std::collections::VecDeque;
use std::time::Duration;

use crate::clock::{Clock, Time};
use crate::cluster::Topic;
use crate::config::{Config, Resolved};
use crate::connection::network::Network;
use crate::error::{Error, Outcome};
use crate::event::Event;
use crate::exchange::{Answer, Outgoing, Ticket};
use crate::fetcher::position::{Position, Start};
use crate::group::heartbeats::Heartbeats;
use crate::group::membership::{Change, Settings};
use crate::group::offsets::Settled;
use crate::machines::Machines;
use crate::producer::{Delivery, Given, Refused, Sent};
use crate::transaction::{Ended, Transaction};
use crate::wire::builder::HeaderPair;

/// A record to send.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outbound<'a> {
    /// Its partition; if none is given, the key chooses, as in Kafka's own clients.
    pub partition: Option<i32>,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [HeaderPair<'a>],
    /// Milliseconds since 1970; the time of the last poll if none is given.
    pub timestamp: Option<i64>,
}

/// A connection to a cluster. See the crate's front page.
#[derive(Debug)]
pub struct Client {
    config: Resolved,
    clock: Clock,
    now: Time,
    wall_millis: i64,
    machines: Machines,
    network: Network,
    outgoing: Vec<Outgoing>,
    answers: Vec<(Ticket, Answer)>,
    deliveries: VecDeque<Delivery>,
    heartbeats: Option<Heartbeats>,
    /// Calls since the sockets were looked at.
    calls: u32,
}

/// So many chunks are handed out before the sockets are looked at again.
const CALLS: u32 = 16;

impl Client {
    /// A client of the cluster that the configuration names. Nothing is connected before it is needed.
    pub fn new(config: &Config) -> Result<Self, Error> {
        config.check_security()?;
        let config = config.resolve();
        let clock = Clock::start();
        Ok(Self {
            clock,
            now: clock.now(),
            wall_millis: Clock::wall_millis(),
            machines: Machines::new(&config),
            network: Network::new(&config)?,
            config,
            outgoing: Vec::new(),
            answers: Vec::new(),
            deliveries: VecDeque::new(),
            heartbeats: None,
            calls: 0,
        })
    }

    /// The topic of this name. Whether the cluster has it is found out later.
    pub fn topic(&mut self, name: &str) -> Topic {
        self.machines.cluster.topic(name, self.now)
    }

    /// How many partitions a topic has. Waits for the cluster's answer, `max.block.ms` at most.
    pub fn partitions(&mut self, topic: Topic) -> Result<i32, Error> {
        let deadline = self.clock.now() + self.config.max_block;
        loop {
            if let Some(count) = self.machines.cluster.partitions(topic) {
                return Ok(count);
            }
            let left = deadline.saturating_sub(self.clock.now());
            if left.is_zero() {
                let name = self.machines.cluster.name(topic).to_owned();
                return Err(match self.machines.cluster.missing(topic) {
                    Some(code) => Error::Broker {
                        api: "Metadata",
                        place: format!("topic `{name}`"),
                        code,
                    },
                    None => self.timed_out(format!("metadata of topic `{name}`")),
                });
            }
            self.turn(left)?;
        }
    }

    fn timed_out(&self, what: String) -> Error {
        Error::timed_out(what, self.config.max_block, Outcome::NotApplied)
    }

    /// Puts a record into its batch. Waits while memory is used up or the partitions are not known, `max.block.ms` at most.
    ///
    /// What became of it is told by [`Event::Delivered`].
    pub fn send(&mut self, topic: Topic, record: &Outbound<'_>) -> Result<Sent, Error> {
        if self.machines.transaction.is_some() {
            self.open_transaction("send a record")?;
        }
        let mut deadline = None;
        loop {
            match self.try_send(topic, record) {
                Ok(sent) => {
                    if self.machines.producer.is_urgent()
                        && let Err(error) = self.turn(Duration::ZERO)
                    {
                        // The record is taken all the same; the next call returns the error.
                        tracing::warn!(%error, "sockets cannot be waited for");
                        self.network.postpone(error);
                    }
                    return Ok(sent);
                }
                Err(Refused::Error(error)) => return Err(error),
                Err(Refused::NoMetadata) => drop(self.partitions(topic)?),
                Err(Refused::Full) => {
                    let now = self.clock.now();
                    let deadline = *deadline.get_or_insert(now + self.config.max_block);
                    let left = deadline.saturating_sub(now);
                    if left.is_zero() {
                        return Err(self.timed_out("memory for a record".to_owned()));
                    }
                    self.turn(left)?;
                }
            }
        }
    }

    fn try_send(&mut self, topic: Topic, record: &Outbound<'_>) -> Result<Sent, Refused> {
        let clock = self.clock;
        let given = Given {
            key: record.key,
            value: record.value,
            timestamp: record.timestamp.unwrap_or(self.wall_millis),
            now: &|| clock.now(),
        };
        let Machines {
            producer, cluster, ..
        } = &mut self.machines;
        producer.send(cluster, (topic, record.partition), &given, record.headers)
    }

    /// Reads a partition from `start` on. One that is read already starts anew and is not paused.
    pub fn assign(&mut self, topic: Topic, partition: i32, start: Start) {
        self.machines.fetcher.assign((topic, partition), start);
    }

    /// Reads a partition no longer; nothing of it is returned after this.
    pub fn unassign(&mut self, topic: Topic, partition: i32) {
        self.machines.fetcher.unassign((topic, partition));
    }

    /// Goes on somewhere else; nothing that was fetched before is returned after this.
    pub fn seek(&mut self, topic: Topic, partition: i32, start: Start) {
        self.machines.fetcher.seek((topic, partition), start);
    }

    /// Returns no records of a partition until it is resumed.
    pub fn pause(&mut self, topic: Topic, partition: i32) {
        self.machines.fetcher.pause((topic, partition), true);
    }

    /// Ends a pause.
    pub fn resume(&mut self, topic: Topic, partition: i32) {
        self.machines.fetcher.pause((topic, partition), false);
    }

    /// Where a partition is read, if it is, and as soon as that is known.
    pub fn position(&self, topic: Topic, partition: i32) -> Option<Position> {
        let reading = self.machines.fetcher.reading((topic, partition))?;
        reading.known_position()
    }

    #[cfg(test)]
    pub(crate) fn heartbeats(&self) -> Option<&Heartbeats> {
        self.heartbeats.as_ref()
    }

    /// Becomes a member of a group that reads these topics; `instance` is the name of a static member.
    ///
    /// A thread of its own heartbeats while the caller works, for `max.poll.interval.ms` without a call at most. What the group assigns is told by [`Event::Assigned`]; from where it is read the caller says with [`Client::assign`]. A client is in one group at a
    /// time: one that was joined before is forgotten, and its partitions are reported as lost.
    pub fn join(
        &mut self,
        group: &str,
        instance: Option<&str>,
        topics: &[Topic],
    ) -> Result<(), Error> {
        let settings = Settings {
            group: group.to_owned(),
            instance: instance.map(str::to_owned),
            request_timeout: self.config.request_timeout,
            retry_backoff: self.config.retry_backoff,
            config: self.config.group.clone(),
        };
        let topics = topics.iter().copied().collect();
        let now = self.clock.now();
        self.machines.join(settings, topics, now);
        if self.heartbeats.is_none() {
            self.heartbeats = Some(Heartbeats::start(
                &self.config,
                self.network.tls(),
                self.clock,
            )?);
        }
        Ok(())
    }

    /// Says that the work on revoked partitions is done: committed, or given up. Others read them from now on.
    pub fn release(&mut self) {
        if let Some(membership) = &mut self.machines.membership {
            membership.release();
        }
    }

    /// Begins a transaction: records and offsets from now on are seen together, or not at all. The property `transactional.id` is set.
    pub fn begin(&mut self) -> Result<(), Error> {
        let transaction = self.transaction("begin a transaction")?;
        if transaction.has_failed() {
            return Err(Error::Transaction {
                what: "begin a transaction",
                reason: "this producer was refused or another has taken its place; make a new client",
            });
        }
        if transaction.is_open() || transaction.is_ending() {
            return Err(Error::Transaction {
                what: "begin a transaction",
                reason: "another one has not ended; wait for `Event::Ended`",
            });
        }
        transaction.begin();
        Ok(())
    }

    /// Commits positions of a group with the open transaction; of a member's group only those that it owns.
    pub fn send_offsets(
        &mut self,
        group: &str,
        next: &[(Topic, i32, Position)],
    ) -> Result<(), Error> {
        let next = next
            .iter()
            .map(|(topic, partition, position)| ((*topic, *partition), *position));
        let claims = self.machines.claims(group, &next.collect::<Vec<_>>());
        self.open_transaction("send offsets")?
            .offsets(group, claims);
        Ok(())
    }

    /// Commits the open transaction; [`Event::Ended`] tells what became of it. After an error of [`Class::Abortable`](crate::Class::Abortable) it has to be aborted.
    pub fn commit_transaction(&mut self) -> Result<(), Error> {
        let transaction = self.open_transaction("commit a transaction")?;
        transaction.end(Ended::Committed);
        Ok(())
    }

    /// Aborts the open transaction; [`Event::Ended`] tells when that is done.
    pub fn abort_transaction(&mut self) -> Result<(), Error> {
        let transaction = self.open_transaction("abort a transaction")?;
        transaction.end(Ended::Aborted);
        Ok(())
    }

    fn open_transaction(&mut self, what: &'static str) -> Result<&mut Transaction, Error> {
        let transaction = self.transaction(what)?;
        if transaction.is_open() {
            Ok(transaction)
        } else {
            Err(Error::Transaction {
                what,
                reason: "no transaction is open; call `begin` first",
            })
        }
    }

    fn transaction(&mut self, what: &'static str) -> Result<&mut Transaction, Error> {
        let transaction = self.machines.transaction.as_mut();
        transaction.ok_or(Error::Transaction {
            what,
            reason: "the property `transactional.id` is not set",
        })
    }

    /// Leaves the group, after the commits that were asked for before. Nothing that it has assigned is read from now on; [`Event::Lost`] names it, and [`Event::Left`] tells when the rest is done, `request.timeout.ms` later at most.
    pub fn leave(&mut self) {
        let until = self.clock.now() + self.config.request_timeout;
        self.machines.leave(until);
    }

    /// Commits positions for a group: as its member, or, if this client is none, for partitions that are assigned by hand. Returns the number that [`Event::Committed`] will have.
    pub fn commit(&mut self, group: &str, next: &[(Topic, i32, Position)]) -> u64 {
        let next = next
            .iter()
            .map(|(topic, partition, position)| ((*topic, *partition), *position));
        let now = self.clock.now();
        let next: Vec<_> = next.collect();
        self.machines.commit(group, &next, now)
    }

    /// Asks for a group's committed positions. Returns the number that [`Event::Positions`] will have.
    pub fn read_committed(&mut self, group: &str, places: &[(Topic, i32)]) -> u64 {
        let now = self.clock.now();
        self.machines.offsets.read(group, places.to_vec(), now)
    }

    /// Returns the next event, or `None` when there is none for so long.
    pub fn poll(&mut self, timeout: Duration) -> Result<Option<Event>, Error> {
        // What is there already is returned at once, but sockets are not forgotten over it.
        self.calls += 1;
        if self.calls >= CALLS || self.machines.is_urgent() {
            self.turn(Duration::ZERO)?;
        }
        if let Some(event) = self.next_event() {
            return Ok(Some(event));
        }
        let deadline = self.clock.now().saturating_add(timeout);
        loop {
            // What the machines have to say by themselves is not waited for.
            self.begin_turn();
            if let Some(event) = self.next_event() {
                return Ok(Some(event));
            }
            let left = deadline.saturating_sub(self.clock.now());
            self.end_turn(left)?;
            let event = self.next_event();
            if event.is_some() || left.is_zero() {
                return Ok(event);
            }
        }
    }

    fn next_event(&mut self) -> Option<Event> {
        if let Some(delivery) = self.deliveries.pop_front() {
            return Some(Event::Delivered(delivery));
        }
        if let Some(settled) = self.machines.offsets.settled.pop_front() {
            return Some(match settled {
                Settled::Committed(number, result) => Event::Committed { number, result },
                Settled::Read(number, result) => Event::Positions {
                    number,
                    result: result.map(flat),
                },
            });
        }
        if let Some(transaction) = &mut self.machines.transaction
            && let Some(ended) = transaction.ended.pop_front()
        {
            return Some(Event::Ended(ended));
        }
        if let Some(change) = self.next_change() {
            return Some(change);
        }
        if let Some(told) = self.machines.fetcher.told.pop_front() {
            return Some(told.into());
        }
        let cluster = &self.machines.cluster;
        self.machines.fetcher.take(cluster).map(Event::Records)
    }

    fn next_change(&mut self) -> Option<Event> {
        let membership = self.machines.membership.as_mut()?;
        let change = membership.next_change()?;
        if let Change::Revoked(places) | Change::Lost(places) = &change {
            for place in places {
                self.machines.fetcher.unassign(*place);
            }
        }
        Some(match change {
            Change::Assigned(_, places) => Event::Assigned(places),
            Change::Revoked(places) => Event::Revoked(places),
            Change::Lost(places) => Event::Lost(places),
            Change::Left(result) => Event::Left(result),
        })
    }

    /// Sends what is open without waiting for more records.
    pub fn flush(&mut self) {
        self.machines.producer.hurry();
    }

    /// Whether everything that was sent is delivered, or has failed, and was returned as an event.
    pub fn is_delivered(&self) -> bool {
        self.machines.producer.is_idle() && self.deliveries.is_empty()
    }

    /// One turn: the machines act, bytes move, answers are heard.
    fn turn(&mut self, timeout: Duration) -> Result<(), Error> {
        self.begin_turn();
        self.end_turn(timeout)
    }

    fn begin_turn(&mut self) {
        self.calls = 0;
        self.tick();
        self.act();
    }

    fn end_turn(&mut self, timeout: Duration) -> Result<(), Error> {
        let wake = self.machines.wake_at();
        let until = wake.map_or(timeout, |wake| wake.saturating_sub(self.now));
        let clock = self.clock;
        let waited = self
            .network
            .wait(|| clock.now(), timeout.min(until), &mut self.answers);
        // What has arrived is heard whatever else failed.
        self.tick();
        for (ticket, answer) in self.answers.drain(..) {
            self.machines.answer(ticket, answer, self.now);
        }
        self.act();
        waited
    }

    fn act(&mut self) {
        let Machines {
            cluster,
            membership,
            ..
        } = &mut self.machines;
        if let (Some(heartbeats), Some(membership)) = (&self.heartbeats, membership) {
            heartbeats.acted(membership, cluster, self.now);
        }
        self.machines.step(self.now, &mut self.outgoing);
        self.deliveries
            .extend(self.machines.producer.deliveries.drain(..));
        self.network
            .submit(&mut self.outgoing, &self.machines.cluster, self.now);
    }

    /// As if the caller had worked for so long since the last call.
    #[cfg(test)]
    fn pass(&mut self, time: Duration) {
        self.clock = self.clock.ahead(time);
    }

    fn tick(&mut self) {
        self.now = self.clock.now();
        self.wall_millis = Clock::wall_millis();
    }
}

fn flat(positions: Vec<((Topic, i32), Option<Position>)>) -> Vec<(Topic, i32, Option<Position>)> {
    positions
        .into_iter()
        .map(|((topic, partition), position)| (topic, partition, position))
        .collect()
}

#[cfg(test)]
mod tests;
