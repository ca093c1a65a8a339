//! Fetches: one request ahead of what the application has taken, for each broker, and a position for each partition.
//!
//! A state machine of (event, now). What is assigned, paused and sought counts at once: nothing that was fetched before is handed out after it.
//! Positions carry the leader's epoch of the record before them; a log that was truncated below a position is noticed when
//! its leader changes (KIP-320), and told with the exact range that is gone.

mod answers;
mod asking;
pub(crate) mod position;
mod session;
mod take;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};

use crate::clock::{Time, backoff};
use crate::cluster::{Cluster, Topic};
use crate::config::{Fetching, Reset, Resolved};
use crate::error::Error;
use crate::exchange::{Answer, Lane, Loss, Node, Outgoing, Owner, Step, Target, Ticket};
use crate::wire::api::{Call, Reply};
use crate::wire::millis;
use position::{Chunk, Reading, Stage, Start};
use session::{Part, Said, Session};

/// A partition of a topic.
pub(crate) type Place = (Topic, i32);

/// What a reader is told beside its records.
#[derive(Debug)]
pub(crate) enum Told {
    /// Records from the first to before the second offset are gone; reading goes on at the second.
    Gone(Place, i64, i64),
    /// The log was truncated below the position; reading goes on at the second offset, whose records may be others.
    Truncated(Place, i64, i64),
    Halted(Place, Error),
}

impl Told {
    fn place(&self) -> Place {
        match self {
            Self::Gone(place, ..) | Self::Truncated(place, ..) | Self::Halted(place, _) => *place,
        }
    }
}

/// Attempts with a partition that the topic does not have: it may be so new that metadata lacks it.
const MISSING: u32 = 5;

#[derive(Debug)]
enum Asked {
    Fetch(Node, Vec<(Place, u64)>),
    Offset(Place, u64),
    Epoch(Place, u64),
}

#[derive(Debug, Default)]
struct Broker {
    session: Session,
    /// It has thrown the last session away.
    forgot: bool,
    fetching: bool,
    quiet_until: Time,
}

/// All reading of one client.
#[derive(Debug)]
pub(crate) struct Fetcher {
    config: Fetching,
    request_timeout: Duration,
    retry_backoff: Duration,
    most_plain: usize,
    readings: BTreeMap<Place, Reading>,
    /// Partitions with something to take, each once, first come first.
    ready: VecDeque<Place>,
    asked: BTreeMap<u64, Asked>,
    brokers: BTreeMap<Node, Broker>,
    generations: u64,
    numbers: u64,
    stepped: Time,
    /// Something was taken or has changed, so there may be something to ask for.
    urgent: bool,
    pub(crate) told: VecDeque<Told>,
}

impl Fetcher {
    pub(crate) fn new(config: &Resolved) -> Self {
        Self {
            config: config.fetcher.clone(),
            request_timeout: config.request_timeout,
            retry_backoff: config.retry_backoff,
            most_plain: config.receive_max_bytes,
            readings: BTreeMap::new(),
            ready: VecDeque::new(),
            asked: BTreeMap::new(),
            brokers: BTreeMap::new(),
            generations: 0,
            numbers: 0,
            stepped: Time::ZERO,
            urgent: false,
            told: VecDeque::new(),
        }
    }

    fn generation(&mut self) -> u64 {
        self.urgent = true;
        self.generations += 1;
        self.generations
    }

    /// Reads a partition from here on. One that is read already starts anew, not paused.
    pub(crate) fn assign(&mut self, place: Place, start: Start) {
        let generation = self.generation();
        self.unassign(place);
        self.readings.insert(place, Reading::new(generation, start));
    }

    /// Reads a partition no longer.
    pub(crate) fn unassign(&mut self, place: Place) {
        self.readings.remove(&place);
        self.forget(place);
    }

    /// What was fetched or told of an earlier position is not returned any more.
    fn forget(&mut self, place: Place) {
        self.ready.retain(|ready| *ready != place);
        self.told.retain(|told| told.place() != place);
    }

    /// Goes on somewhere else; a partition that is not assigned is left alone.
    pub(crate) fn seek(&mut self, place: Place, start: Start) {
        let generation = self.generation();
        if let Some(reading) = self.readings.get_mut(&place) {
            reading.seek(generation, start);
            self.forget(place);
        }
    }

    /// Hands nothing out until it is resumed. What was fetched is kept.
    pub(crate) fn pause(&mut self, place: Place, paused: bool) {
        self.urgent = true;
        if let Some(reading) = self.readings.get_mut(&place) {
            reading.paused = paused;
            if !paused && reading.buffered > 0 && !self.ready.contains(&place) {
                self.ready.push_back(place);
            }
        }
    }

    pub(crate) fn reading(&self, place: Place) -> Option<&Reading> {
        self.readings.get(&place)
    }

    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// The next records that were fetched.
    pub(crate) fn take(&mut self, cluster: &Cluster) -> Option<Chunk> {
        while let Some(place) = self.ready.front().copied() {
            let taken = match self.readings.get_mut(&place) {
                Some(reading) if !reading.paused => reading.take(place, self.most_plain),
                _ => Ok(None),
            };
            match taken {
                Ok(Some(chunk)) => {
                    // The others have their turn before it has another one.
                    self.ready.rotate_left(1);
                    self.urgent |= self.brokers.values().any(|broker| !broker.fetching);
                    return Some(chunk);
                }
                Ok(None) => {
                    self.ready.pop_front();
                    self.urgent = true;
                }
                Err(source) => {
                    let offset = self
                        .readings
                        .get(&place)
                        .map_or(-1, |one| one.position.offset);
                    let error = Error::Records {
                        topic: cluster.name(place.0).to_owned(),
                        partition: place.1,
                        offset,
                        source,
                    };
                    self.halt(place, error);
                }
            }
        }
        None
    }

    fn halt(&mut self, place: Place, error: Error) {
        let generation = self.generation();
        if let Some(reading) = self.readings.get_mut(&place) {
            reading.halt(generation);
            self.ready.retain(|ready| *ready != place);
            self.told.push_back(Told::Halted(place, error));
        }
    }

    /// When it wants to act next.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let quiet = self.brokers.values().map(|broker| broker.quiet_until);
        self.readings
            .values()
            .map(|reading| reading.retry_at)
            .chain(quiet)
            .filter(|at| *at > self.stepped)
            .min()
    }

    pub(crate) fn step(&mut self, step: &mut Step<'_>, cluster: &mut Cluster) {
        self.urgent = false;
        self.stepped = step.now;
        let mut by_node: BTreeMap<Node, Vec<Place>> = BTreeMap::new();
        let (mut questions, mut missing) = (Vec::new(), Vec::new());
        for (place, reading) in &mut self.readings {
            let Some(leader) = cluster.leader(place.0, place.1) else {
                let there = |count| (0..count).contains(&place.1);
                if reading.stage == Stage::Halted || reading.retry_at > step.now {
                    continue;
                }
                cluster.stale(step.now);
                if !cluster.partitions(place.0).is_none_or(there) {
                    reading.retry_at = step.now + backoff(self.retry_backoff, reading.attempts);
                    reading.attempts = reading.attempts.saturating_add(1);
                    if reading.attempts > MISSING {
                        missing.push(*place);
                    }
                }
                continue;
            };
            if reading.led_by(leader.epoch, self.generations + 1) {
                self.generations += 1;
            }
            if reading.retry_at > step.now {
                continue;
            }
            match reading.stage {
                Stage::Fetching => by_node.entry(leader.node).or_default().push(*place),
                Stage::Seeking(_) | Stage::Validating(_) if !reading.asked => {
                    reading.asked = true;
                    questions.push((*place, leader));
                }
                _ => {}
            }
        }
        for place in missing {
            let error = Error::NoPartition {
                topic: cluster.name(place.0).to_owned(),
                partition: place.1,
            };
            self.halt(place, error);
        }
        for (place, leader) in questions {
            self.ask(step, cluster, place, leader);
        }
        for (node, places) in by_node {
            self.fetch(step, cluster, node, &places);
        }
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// One request for all partitions of a broker, when the application has taken most of the one before.
    ///
    /// All of them at once: a request that left some out would wait for records of the others, and hold these up behind it.
    fn fetch(&mut self, step: &mut Step<'_>, cluster: &Cluster, node: Node, places: &[Place]) {
        let broker = self.brokers.entry(node).or_default();
        if broker.fetching || step.now < broker.quiet_until {
            return;
        }
        let wanted: Vec<_> = places
            .iter()
            .filter_map(|place| Some((*place, self.readings.get(place)?)))
            .filter(|(_, reading)| !reading.paused)
            .collect();
        let buffered: usize = wanted.iter().map(|(_, reading)| reading.buffered).sum();
        let room = self.config.partition_max_bytes.saturating_mul(wanted.len());
        if wanted.is_empty() || buffered >= room.min(self.config.max_bytes) {
            return;
        }
        let (mut asked, mut parts) = (Vec::new(), BTreeMap::new());
        for (place, reading) in wanted {
            let leader = cluster.leader(place.0, place.1);
            let part = Part {
                offset: reading.ahead.offset,
                leader_epoch: leader.map_or(-1, |leader| leader.epoch),
            };
            asked.push((place, reading.generation));
            parts.insert(place, part);
        }
        broker.fetching = true;
        let said = broker.session.say(parts);
        let request = self.request(cluster, said);
        let number = self.number();
        self.asked.insert(number, Asked::Fetch(node, asked));
        step.out.push(Outgoing {
            ticket: ticket(number),
            target: Target::Node(node),
            lane: Lane::Fetch,
            call: Call::Fetch(request),
            patience: self.request_timeout + self.config.max_wait,
        });
    }

    fn request(&self, cluster: &Cluster, said: Said) -> FetchRequest {
        let mut topics: BTreeMap<Topic, Vec<FetchPartition>> = BTreeMap::new();
        for (place, part) in said.changed {
            let partition = FetchPartition::default()
                .with_partition(place.1)
                .with_current_leader_epoch(part.leader_epoch)
                .with_fetch_offset(part.offset)
                .with_partition_max_bytes(saturated(self.config.partition_max_bytes));
            topics.entry(place.0).or_default().push(partition);
        }
        let topics = topics.into_iter().map(|(topic, partitions)| {
            FetchTopic::default()
                .with_topic(cluster.topic_name(topic))
                .with_partitions(partitions)
        });
        let forgotten = said.forgotten.into_iter().map(|(topic, partition)| {
            ForgottenTopic::default()
                .with_topic(cluster.topic_name(topic))
                .with_partitions(vec![partition])
        });
        FetchRequest::default()
            .with_max_wait_ms(millis(self.config.max_wait))
            .with_min_bytes(saturated(self.config.min_bytes))
            .with_max_bytes(saturated(self.config.max_bytes))
            .with_isolation_level(i8::from(self.config.committed_only))
            .with_session_id(said.id)
            .with_session_epoch(said.epoch)
            .with_topics(topics.collect())
            .with_forgotten_topics_data(forgotten.collect())
    }

    fn forget_session(&mut self, node: Node) {
        if let Some(broker) = self.brokers.get_mut(&node) {
            broker.session.reset();
        }
    }

    /// Takes the answer to one of its requests.
    pub(crate) fn answer(&mut self, number: u64, answer: Answer, now: Time, cluster: &mut Cluster) {
        self.urgent = true;
        match (self.asked.remove(&number), answer) {
            (Some(Asked::Fetch(node, asked)), answer) => {
                if let Some(broker) = self.brokers.get_mut(&node) {
                    broker.fetching = false;
                }
                match answer {
                    Ok(Reply::Fetch(fetched)) => {
                        self.fetched((node, &asked), fetched, now, cluster);
                    }
                    Err(Loss::Impossible(error)) => self.impossible(&asked, &error),
                    _ => {
                        self.forget_session(node);
                        cluster.stale(now);
                        for (place, generation) in asked {
                            self.again(place, generation, now);
                        }
                    }
                }
            }
            (Some(Asked::Offset(place, generation)), answer) => {
                self.sought((place, generation), answer, now, cluster);
            }
            (Some(Asked::Epoch(place, generation)), answer) => {
                self.validated((place, generation), answer, now, cluster);
            }
            (None, _) => {}
        }
    }

    fn impossible(&mut self, asked: &[(Place, u64)], error: &Error) {
        for (place, generation) in asked {
            let reason = error.to_string();
            if self.still(*place, *generation).is_some() {
                self.halt(*place, Error::Refused { reason });
            }
        }
    }

    /// The partition as it was when it was asked for; `None` if it was sought, or assigned anew, in between.
    fn still(&mut self, place: Place, generation: u64) -> Option<&mut Reading> {
        let reading = self.readings.get_mut(&place)?;
        (reading.generation == generation).then_some(reading)
    }

    /// The same again after a pause.
    fn again(&mut self, place: Place, generation: u64, now: Time) {
        let first = self.retry_backoff;
        if let Some(reading) = self.still(place, generation) {
            reading.asked = false;
            reading.retry_at = now + backoff(first, reading.attempts);
            reading.attempts = reading.attempts.saturating_add(1);
        }
    }

    fn make_ready(&mut self, place: Place) {
        if !self.ready.contains(&place) {
            self.ready.push_back(place);
        }
    }

    /// The position is outside the log of a leader that knows its own epoch.
    fn out_of_range(&mut self, place: Place, cluster: &Cluster) {
        let start = match self.config.reset {
            Reset::Earliest => Start::Earliest,
            Reset::Latest => Start::Latest,
            Reset::None => {
                let error = Error::Broker {
                    api: "Fetch",
                    place: format!("{}/{}", cluster.name(place.0), place.1),
                    code: ResponseError::OffsetOutOfRange,
                };
                self.halt(place, error);
                return;
            }
        };
        let generation = self.generation();
        if let Some(reading) = self.readings.get_mut(&place) {
            let lost = reading.position.offset;
            reading.seek(generation, start);
            reading.lost = Some(lost);
        }
    }
}

fn saturated(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn ticket(number: u64) -> Ticket {
    Ticket {
        owner: Owner::Fetcher,
        number,
    }
}
