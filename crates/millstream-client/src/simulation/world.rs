//! The network between the client and the simulated cluster, the application that sends, and the judge.
//!
//! A broker serves one request of a connection at a time, as Kafka does. A connection that is cut loses its answers; requests that had arrived may still be served,
//! late, after the client has sent them again on another connection.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::ResponseError;

use super::cluster::{NODES, SimCluster};
use crate::clock::{Time, earlier};
use crate::cluster::Topic;
use crate::config::Config;
use crate::error::Outcome;
use crate::exchange::{Lane, Loss, Node, Outgoing, Target, Ticket};
use crate::machines::Machines;
use crate::producer::{Delivery, Given, Refused};
use crate::wire::api::{Call, Reply};

pub(super) const TOPIC: &str = "topic";
pub(super) const PARTITIONS: i32 = 3;
/// Records that the application sends.
const RECORDS: u64 = 600;

/// How often things go wrong, in a thousand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Faults {
    pub(super) cut: u32,
    pub(super) lost_answer: u32,
    pub(super) refused: u32,
    pub(super) moved: u32,
    pub(super) restarted: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            cut: 20,
            lost_answer: 15,
            refused: 30,
            moved: 25,
            restarted: 10,
        }
    }
}

impl Faults {
    pub(super) fn none() -> Self {
        Self {
            cut: 0,
            lost_answer: 0,
            refused: 0,
            moved: 0,
            restarted: 0,
        }
    }
}

pub(super) type Link = (Node, Lane);

/// A request at a broker. Its incarnation is that of the connection it came by.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) ticket: Ticket,
    pub(super) call: Call,
}

#[derive(Debug)]
pub(super) enum Happening {
    /// The broker takes the next request of a connection.
    Serve(Link, u64),
    /// A request is served whose connection is gone.
    Late(Node, Box<Call>),
    /// Everything that was appended so far is replicated, and the answer goes out.
    Replicated(Link, u64, Ticket, Vec<(i32, Written)>),
    Answer(Link, u64, Ticket, Box<Reply>),
    /// The client has waited long enough.
    GiveUp(Link, u64, Ticket),
    Tell(Ticket, Box<Reply>),
}

/// A batch that waits for its replicas: its place, and the epoch of the leader that wrote it.
#[derive(Clone, Debug)]
pub(super) enum Written {
    At(usize, i32),
    Done(i64),
    Failed(ResponseError),
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) incarnation: u64,
    pub(super) queue: VecDeque<Arrived>,
    pub(super) serving: bool,
    pub(super) in_flight: Vec<Ticket>,
    /// The last moment at which something arrives: order is kept.
    pub(super) newest: Time,
}

/// Everything.
pub(super) struct World {
    pub(super) random: fastrand::Rng,
    pub(super) faults: Faults,
    pub(super) now: Time,
    pub(super) machines: Machines,
    topic: Topic,
    pub(super) cluster: SimCluster,
    pub(super) connections: BTreeMap<Link, Connection>,
    agenda: BTreeMap<(Time, u64), Happening>,
    scheduled: u64,
    next: u64,
    send_at: Time,
    /// The value of each record by partition and number.
    sent: BTreeMap<(i32, u64), u64>,
    delivered: BTreeMap<(i32, u64), Result<i64, Outcome>>,
    wrong: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        fastrand::seed(seed);
        let config = [
            ("delivery.timeout.ms", "4000"),
            ("request.timeout.ms", "1000"),
            ("batch.size", "150"),
            ("linger.ms", "3"),
            ("buffer.memory", "65536"),
        ];
        let config = config.iter().fold(
            Config::new("bootstrap:1").unwrap(),
            |config, (name, value)| config.set(name, value).unwrap(),
        );
        let mut machines = Machines::new(&config.resolve());
        let topic = machines.cluster.topic(TOPIC, Time::ZERO);
        Self {
            random: fastrand::Rng::with_seed(seed),
            faults,
            now: Time::ZERO,
            machines,
            topic,
            cluster: SimCluster::new(PARTITIONS, faults.refused > 0),
            connections: BTreeMap::new(),
            agenda: BTreeMap::new(),
            scheduled: 0,
            next: 0,
            send_at: Time::ZERO,
            sent: BTreeMap::new(),
            delivered: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// Runs until everything is sent, reported and served.
    pub(super) fn run(&mut self) {
        for _ in 0..2_000_000 {
            self.send();
            let mut out = Vec::new();
            self.machines.step(self.now, &mut out);
            for request in out {
                self.carry(request);
            }
            for delivery in std::mem::take(&mut self.machines.producer.deliveries) {
                self.note(delivery);
            }
            let idle = self.next == RECORDS && self.machines.producer.is_idle();
            if idle && self.agenda.is_empty() {
                return;
            }
            let sending = (self.next < RECORDS).then_some(self.send_at);
            // Once all is reported only what is under way counts, not the next question about metadata.
            let own = self.machines.wake_at().filter(|_| !idle);
            let next = self.agenda.keys().next().map(|(at, _)| *at);
            let Some(at) = earlier(earlier(sending, own), next) else {
                self.wrong.push("nothing will ever happen again".to_owned());
                return;
            };
            self.now = self.now.max(at);
            if next == Some(at)
                && let Some((_, happening)) = self.agenda.pop_first()
            {
                self.happen(happening);
            }
        }
        self.wrong.push("it never ends".to_owned());
    }

    pub(super) fn chance(&mut self, in_a_thousand: u32) -> bool {
        self.random.u32(0..1000) < in_a_thousand
    }

    fn send(&mut self) {
        while self.next < RECORDS && self.send_at <= self.now {
            let value = self.next.to_be_bytes();
            let now = self.now;
            let given = Given {
                key: None,
                value: Some(&value),
                timestamp: 0,
                now: &|| now,
            };
            let partition = self.random.i32(0..PARTITIONS);
            let place = (self.topic, Some(partition));
            let sent = self
                .machines
                .producer
                .send(&self.machines.cluster, place, &given, &[]);
            match sent {
                Ok(sent) => {
                    self.sent.insert((partition, sent.number), self.next);
                    self.next += 1;
                    let pause = self.random.u64(0..4);
                    self.send_at = self.now + Duration::from_millis(pause);
                }
                Err(Refused::Full | Refused::NoMetadata) => {
                    self.send_at = self.now + Duration::from_millis(20);
                }
                Err(Refused::Error(error)) => panic!("{error}"),
            }
        }
    }

    pub(super) fn schedule(&mut self, after: Duration, happening: Happening) {
        self.scheduled += 1;
        self.agenda
            .insert((self.now + after, self.scheduled), happening);
    }

    pub(super) fn delay(&mut self) -> Duration {
        let slow = self.chance(20);
        Duration::from_micros(self.random.u64(100..if slow { 400_000 } else { 5_000 }))
    }

    /// Takes a request of the client on its way.
    fn carry(&mut self, request: Outgoing) {
        let node = match request.target {
            Target::Node(node) => node,
            Target::Any => self.random.i32(0..NODES),
        };
        if request.lane == Lane::Control {
            self.control(node, request);
            return;
        }
        let link = (node, request.lane);
        let ticket = request.ticket;
        let delay = self.delay();
        let now = self.now;
        let connection = self.connections.entry(link).or_default();
        connection.in_flight.push(ticket);
        connection.queue.push_back(Arrived {
            ticket,
            call: request.call,
        });
        connection.newest = connection.newest.max(now + delay);
        let (at, incarnation) = (
            connection.newest.saturating_sub(now),
            connection.incarnation,
        );
        self.schedule(at, Happening::Serve(link, incarnation));
        let patience = request.patience;
        self.schedule(patience, Happening::GiveUp(link, incarnation, ticket));
        if self.chance(self.faults.cut) {
            self.cut(link);
        }
    }

    /// The connection ends: nobody hears an answer, and what has arrived may be served late.
    fn cut(&mut self, link: Link) {
        self.cluster.happened.insert("connection cut");
        let connection = self.connections.entry(link).or_default();
        connection.incarnation += 1;
        connection.serving = false;
        connection.newest = Time::ZERO;
        let in_flight = std::mem::take(&mut connection.in_flight);
        let queue = std::mem::take(&mut connection.queue);
        let arrived = self.random.usize(0..=queue.len());
        let mut late = Duration::ZERO;
        let mut unsent = Vec::new();
        for (place, request) in queue.into_iter().enumerate() {
            if place < arrived {
                late += Duration::from_millis(self.random.u64(0..1500));
                self.schedule(late, Happening::Late(link.0, Box::new(request.call)));
            } else {
                unsent.push(request.ticket);
            }
        }
        for ticket in in_flight {
            let loss = if unsent.contains(&ticket) && self.random.bool() {
                Loss::NotSent
            } else {
                Loss::Unknown
            };
            self.machines.answer(ticket, Err(loss), self.now);
        }
    }

    pub(super) fn is_current(&self, link: Link, incarnation: u64) -> bool {
        let connection = self.connections.get(&link);
        connection.is_some_and(|one| one.incarnation == incarnation)
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Serve(link, incarnation) if self.is_current(link, incarnation) => {
                self.serve(link);
            }
            Happening::Late(node, call) => {
                self.cluster.happened.insert("late copy");
                if let Call::Produce(request) = *call {
                    // Nobody waits for the answer; that it is replicated is found by whoever asks again.
                    for (number, written) in self.append(node, &request) {
                        if let Written::At(place, _) = written {
                            self.replicate(number, place);
                        }
                    }
                }
            }
            Happening::Replicated(link, incarnation, ticket, written) => {
                self.replicated(link, incarnation, ticket, &written);
            }
            Happening::Answer(link, incarnation, ticket, reply)
                if self.is_current(link, incarnation) =>
            {
                let connection = self.connections.get_mut(&link).unwrap();
                connection.in_flight.retain(|one| *one != ticket);
                self.machines.answer(ticket, Ok(*reply), self.now);
            }
            Happening::GiveUp(link, incarnation, ticket) if self.is_current(link, incarnation) => {
                let connection = self.connections.get(&link).unwrap();
                if connection.in_flight.contains(&ticket) {
                    self.cut(link);
                }
            }
            Happening::Tell(ticket, reply) => self.machines.answer(ticket, Ok(*reply), self.now),
            _ => {}
        }
    }

    fn note(&mut self, delivery: Delivery) {
        for place in 0..u64::from(delivery.count) {
            let result = match &delivery.result {
                Ok(-1) => Ok(-1),
                Ok(offset) => Ok(offset + i64::try_from(place).unwrap()),
                Err(error) => Err(error.outcome()),
            };
            if result == Err(Outcome::Unknown) {
                self.cluster.happened.insert("delivery unknown");
            }
            let record = (delivery.partition, delivery.first + place);
            if self.delivered.insert(record, result).is_some() {
                self.wrong.push(format!("{record:?} was reported twice"));
            }
        }
    }

    /// What is wrong with the logs and the reports.
    pub(super) fn judge(&self) -> Vec<String> {
        let mut wrong = self.wrong.clone();
        let mut places: BTreeMap<u64, i64> = BTreeMap::new();
        for (number, partition) in &self.cluster.partitions {
            let mut last = None;
            for entry in &partition.log {
                for (offset, value) in (entry.offset..).zip(&entry.values) {
                    if places.insert(*value, offset).is_some() {
                        wrong.push(format!("{value} is twice in partition {number}"));
                    }
                    if last.is_some_and(|last| *value <= last) {
                        wrong.push(format!("{value} is out of order in partition {number}"));
                    }
                    last = Some(*value);
                }
            }
        }
        for (record, value) in &self.sent {
            let place = places.get(value).copied();
            let right = match (self.delivered.get(record), place) {
                (Some(Ok(-1)), Some(_)) | (Some(Err(Outcome::Unknown)), _) => true,
                (Some(Ok(offset)), Some(place)) => *offset == place,
                (Some(Err(Outcome::NotApplied)), None) => true,
                _ => false,
            };
            if !right {
                let told = self.delivered.get(record);
                wrong.push(format!(
                    "{value} {record:?} is at {place:?} and was reported as {told:?}"
                ));
            }
        }
        wrong
    }

    pub(super) fn sent(&self) -> usize {
        self.sent.len()
    }

    /// Reports of delivered records, of those that are not applied, of those that are unknown.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        let count = |what: fn(&Result<i64, Outcome>) -> bool| {
            self.delivered.values().filter(|one| what(one)).count()
        };
        (
            count(Result::is_ok),
            count(|one| *one == Err(Outcome::NotApplied)),
            count(|one| *one == Err(Outcome::Unknown)),
        )
    }

    pub(super) fn happened(&self) -> impl Iterator<Item = &'static str> {
        self.cluster.happened.iter().copied()
    }
}
