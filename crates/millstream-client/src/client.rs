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
use crate::exchange::{Answer, Outgoing, Ticket};
use crate::fetcher::Told;
use crate::fetcher::position::{Chunk, Position, Start};
use crate::group::heartbeats::Heartbeats;
use crate::group::membership::{Change, Membership, Settings};
use crate::group::offsets::Settled;
use crate::machines::Machines;
use crate::producer::{Delivery, Given, Refused, Sent};
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

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// Records of a partition that is read.
    Records(Chunk),
    /// What became of records that were sent.
    Delivered(Delivery),
    /// What became of a commit, by the number that [`Client::commit`] returned.
    Committed {
        /// The commit's number.
        number: u64,
        /// Whether it was applied; [`Error::outcome`] if that is not known.
        result: Result<(), Error>,
    },
    /// Committed positions, by the number that [`Client::read_committed`] returned; `None` where nothing is committed.
    Positions {
        /// The number of the call.
        number: u64,
        /// What was found.
        result: Result<Vec<(Topic, i32, Option<Position>)>, Error>,
    },
    /// The group has added these partitions.
    Assigned(Vec<(Topic, i32)>),
    /// The group takes these partitions away, and waits until [`Client::release`] is called. They are no longer read, and can still be committed.
    Revoked(Vec<(Topic, i32)>),
    /// The group has given these partitions to others. They are no longer read, and cannot be committed.
    Lost(Vec<(Topic, i32)>),
    /// This client is no longer a member: it has left, or the coordinator refuses it.
    Left(Result<(), Error>),
    /// Records are gone before they were read; reading goes on at `to`.
    Gone {
        /// Their topic.
        topic: Topic,
        /// Their partition.
        partition: i32,
        /// The position that was out of range.
        from: i64,
        /// Where reading goes on, by `auto.offset.reset`.
        to: i64,
    },
    /// The log was truncated below the position, by an election that was not clean. Records from `to` on may be others than those that were read.
    Truncated {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: i32,
        /// The position before.
        from: i64,
        /// Where the log parts, and reading goes on.
        to: i64,
    },
    /// A partition cannot be read; it waits for a seek.
    Halted {
        /// The topic.
        topic: Topic,
        /// The partition.
        partition: i32,
        /// Why.
        error: Error,
    },
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
        Error::TimedOut {
            what,
            millis: u64::try_from(self.config.max_block.as_millis()).unwrap_or(u64::MAX),
            outcome: Outcome::NotApplied,
        }
    }

    /// Puts a record into its batch. Waits while memory is used up or the partitions are not known, `max.block.ms` at most.
    ///
    /// What became of it is told by [`Event::Delivered`].
    pub fn send(&mut self, topic: Topic, record: &Outbound<'_>) -> Result<Sent, Error> {
        let mut deadline = None;
        loop {
            match self.try_send(topic, record) {
                Ok(sent) => {
                    if self.machines.producer.is_urgent() {
                        self.turn(Duration::ZERO)?;
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
        let given = Given {
            key: record.key,
            value: record.value,
            timestamp: record.timestamp.unwrap_or(self.wall_millis),
            now: self.now,
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

    /// Where a partition is read, if it is.
    pub fn position(&self, topic: Topic, partition: i32) -> Option<Position> {
        let reading = self.machines.fetcher.reading((topic, partition))?;
        Some(reading.position)
    }

    #[cfg(test)]
    pub(crate) fn heartbeats(&self) -> Option<&Heartbeats> {
        self.heartbeats.as_ref()
    }

    /// Becomes a member of a group that reads these topics; `instance` is the name of a static member.
    ///
    /// A thread of its own heartbeats while the caller works, for `max.poll.interval.ms` without a call at most. What the group assigns is told by [`Event::Assigned`]; from where it is read the caller says with [`Client::assign`]. A client is in one group at a
    /// time: one that was joined before is forgotten.
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
        self.machines.membership = Some(Membership::new(settings, topics, now));
        if self.heartbeats.is_none() {
            self.heartbeats = Some(Heartbeats::start(&self.config, self.clock)?);
        }
        Ok(())
    }

    /// Says that the work on revoked partitions is done: committed, or given up. Others read them from now on.
    pub fn release(&mut self) {
        if let Some(membership) = &mut self.machines.membership {
            membership.release();
        }
    }

    /// Leaves the group; [`Event::Left`] tells when that is done, `request.timeout.ms` later at most.
    pub fn leave(&mut self) {
        let until = self.clock.now() + self.config.request_timeout;
        if let Some(membership) = &mut self.machines.membership {
            membership.leave(until);
        }
    }

    /// Commits positions for a group: as its member, or, if this client is none, for partitions that are assigned by hand. Returns the number that [`Event::Committed`] will have.
    pub fn commit(&mut self, group: &str, next: &[(Topic, i32, Position)]) -> u64 {
        let next = next
            .iter()
            .map(|(topic, partition, position)| ((*topic, *partition), *position));
        let now = self.clock.now();
        self.machines.offsets.commit(group, next.collect(), now)
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
        let deadline = self.clock.now() + timeout;
        loop {
            let left = deadline.saturating_sub(self.clock.now());
            self.turn(left)?;
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
        if let Some(change) = self.next_change() {
            return Some(change);
        }
        if let Some(told) = self.machines.fetcher.told.pop_front() {
            return Some(told_event(told));
        }
        let cluster = &self.machines.cluster;
        self.machines.fetcher.take(cluster).map(Event::Records)
    }

    fn next_change(&mut self) -> Option<Event> {
        let membership = self.machines.membership.as_mut()?;
        let change = membership.changes.pop_front()?;
        if let Change::Revoked(places) | Change::Lost(places) = &change {
            for place in places {
                self.machines.fetcher.unassign(*place);
            }
        }
        Some(match change {
            Change::Assigned(places) => Event::Assigned(places),
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
        self.calls = 0;
        self.tick();
        self.act();
        let wake = self.machines.wake_at();
        let until = wake.map_or(timeout, |wake| wake.saturating_sub(self.now));
        let clock = self.clock;
        self.network
            .wait(|| clock.now(), timeout.min(until), &mut self.answers)?;
        self.tick();
        for (ticket, answer) in self.answers.drain(..) {
            self.machines.answer(ticket, answer, self.now);
        }
        self.act();
        Ok(())
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

fn told_event(told: Told) -> Event {
    match told {
        Told::Gone((topic, partition), from, to) => Event::Gone {
            topic,
            partition,
            from,
            to,
        },
        Told::Truncated((topic, partition), from, to) => Event::Truncated {
            topic,
            partition,
            from,
            to,
        },
        Told::Halted((topic, partition), error) => Event::Halted {
            topic,
            partition,
            error,
        },
    }
}
