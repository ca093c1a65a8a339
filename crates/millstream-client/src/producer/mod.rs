//! Produces: open batches, memory, the leaders they go to, and what becomes of them.
//!
//! A state machine of (event, now). Idempotent always, `acks=all` always: what is faster loses or doubles records. What happens to the batches of one
//! partition is decided in [`partition`]; here requests are put together for each broker, five in flight at most.

mod answers;
mod batch;
pub(crate) mod partition;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{InitProducerIdRequest, ProduceRequest, TransactionalId};

use crate::clock::Time;
use crate::cluster::{Cluster, Leader, Topic};
use crate::config::{Producing, Resolved};
use crate::error::Error;
use crate::exchange::{Lane, Node, Outgoing, Owner, Step, Target, Ticket};
use crate::transaction::Transaction;
use crate::wire::api::Call;
use crate::wire::builder::{HeaderPair, most_bytes};
use crate::wire::compression::Compression;
use crate::wire::murmur2::partition_of;
use crate::wire::{millis, text};
use partition::Partition;

/// Requests in flight to one broker.
const REQUESTS: usize = 5;

/// A record as the application gives it.
#[derive(Clone, Copy)]
pub(crate) struct Given<'a> {
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) timestamp: i64,
    /// The clock, which is read once a batch: the client may not have acted for as long as a handler takes.
    pub(crate) now: &'a dyn Fn() -> Time,
}

/// What batches must keep to.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) batch_size: usize,
    /// Memory that an open batch begins with.
    pub(crate) room: usize,
    pub(crate) linger: Duration,
    pub(crate) delivery_timeout: Duration,
    pub(crate) compression: Compression,
    /// Nothing waits for more records.
    pub(crate) hurry: bool,
    /// Batches belong to transactions: what fails ends the transaction, and its abort begins the next epoch.
    pub(crate) transactional: bool,
}

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its topic.
    pub topic: Topic,
    /// Its partition.
    pub partition: i32,
    /// Counts the records of this client to this partition, from 0. Reports name ranges of it.
    pub number: u64,
}

/// What became of consecutive records of a partition: each record is in one report.
#[derive(Debug)]
pub struct Delivery {
    /// Their topic.
    pub topic: Topic,
    /// Their partition.
    pub partition: i32,
    /// The number of the first one, as in [`Sent`].
    pub first: u64,
    /// How many they are.
    pub count: u32,
    /// The offset of the first one, -1 if the broker did not say it; or why they were not delivered, which
    /// by [`Error::outcome`] says whether they may be in the log.
    pub result: Result<i64, Error>,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// `buffer.memory` is used up: again, after deliveries.
    Full,
    /// The partitions of the topic are not known yet.
    NoMetadata,
    Error(Error),
}

#[derive(Debug)]
enum Identity {
    Unknown { from: Time, attempts: u32 },
    Asked { number: u64, attempts: u32 },
    Known(i64),
}

#[derive(Debug)]
struct Request {
    node: Node,
    batches: Vec<(Topic, i32, u64)>,
}

#[derive(Debug, Default)]
struct Broker {
    in_flight: usize,
    quiet_until: Time,
}

/// All producing of one client.
#[derive(Debug)]
pub(crate) struct Producer {
    limits: Limits,
    transactional_id: Option<String>,
    memory: usize,
    max_request_size: usize,
    request_timeout: Duration,
    retry_backoff: Duration,
    identity: Identity,
    used: usize,
    partitions: Vec<Vec<Partition>>,
    /// Those that are not idle, in an order that turns.
    active: Vec<(Topic, i32)>,
    sticky: HashMap<Topic, i32>,
    requests: BTreeMap<u64, Request>,
    brokers: BTreeMap<Node, Broker>,
    numbers: u64,
    /// A batch was closed or answered, so there may be something to send at once.
    urgent: bool,
    stepped: Time,
    /// Why records were not delivered, for the transaction that they belonged to.
    failure: Option<String>,
    pub(crate) deliveries: Vec<Delivery>,
}

impl Producer {
    pub(crate) fn new(config: &Resolved) -> Self {
        let Producing {
            batch_size,
            buffer_memory,
            compression,
            delivery_timeout,
            linger,
            max_request_size,
        } = config.producer.clone();
        let batch_size = batch_size.min(max_request_size);
        Self {
            limits: Limits {
                batch_size,
                room: batch_size.min(16 << 10),
                linger,
                delivery_timeout,
                compression,
                hurry: false,
                transactional: config.transactional_id.is_some(),
            },
            transactional_id: config.transactional_id.clone(),
            memory: buffer_memory,
            max_request_size,
            request_timeout: config.request_timeout,
            retry_backoff: config.retry_backoff,
            identity: Identity::Unknown {
                from: Time::ZERO,
                attempts: 0,
            },
            used: 0,
            partitions: Vec::new(),
            active: Vec::new(),
            sticky: HashMap::new(),
            requests: BTreeMap::new(),
            brokers: BTreeMap::new(),
            numbers: 0,
            urgent: false,
            stepped: Time::ZERO,
            failure: None,
            deliveries: Vec::new(),
        }
    }

    /// Encodes a record into a batch. Without a partition its key chooses, and without a key the batch that is open.
    pub(crate) fn send(
        &mut self,
        cluster: &Cluster,
        (topic, partition): (Topic, Option<i32>),
        given: &Given<'_>,
        headers: &[HeaderPair<'_>],
    ) -> Result<Sent, Refused> {
        let most = most_bytes(given.key, given.value, headers);
        if most > self.max_request_size {
            return Err(Refused::Error(Error::TooLarge {
                topic: cluster.name(topic).to_owned(),
                size: most,
                limit: self.max_request_size,
            }));
        }
        if self.used > 0 && self.used + most > self.memory {
            self.limits.hurry = true;
            self.urgent = true;
            return Err(Refused::Full);
        }
        let count = cluster.partitions(topic).ok_or(Refused::NoMetadata)?;
        let number = match (partition, given.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_of(key, count),
            (None, None) => self.stick(topic, count),
        };
        let Some(partition) = self.partition(topic, number, count) else {
            return Err(Refused::Error(Error::NoPartition {
                topic: cluster.name(topic).to_owned(),
                partition: number,
            }));
        };
        let (idle, closed) = (partition.0.is_idle(), partition.0.has_closed());
        let (place, taken) = partition.0.append(given, headers, most, partition.1);
        let closed = !closed && partition.0.has_closed();
        if idle {
            self.active.push((topic, number));
        }
        if closed {
            self.sticky.remove(&topic);
        }
        self.urgent |= closed || (idle && self.limits.linger.is_zero());
        self.used += taken;
        Ok(Sent {
            topic,
            partition: number,
            number: place,
        })
    }

    fn stick(&mut self, topic: Topic, count: i32) -> i32 {
        *self
            .sticky
            .entry(topic)
            .or_insert_with(|| fastrand::i32(0..count.max(1)))
    }

    fn partition(
        &mut self,
        topic: Topic,
        partition: i32,
        count: i32,
    ) -> Option<(&mut Partition, &Limits)> {
        let place = usize::try_from(partition).ok()?;
        let count = usize::try_from(count).ok()?;
        if self.partitions.len() <= topic.index() {
            self.partitions.resize_with(topic.index() + 1, Vec::new);
        }
        let partitions = self.partitions.get_mut(topic.index())?;
        if partitions.len() < count {
            partitions.resize_with(count, Partition::default);
        }
        Some((partitions.get_mut(place)?, &self.limits))
    }

    /// Whether nothing waits and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.active.is_empty()
    }

    /// Whether something may be sent at once.
    pub(crate) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// Sends what is open without waiting for more.
    pub(crate) fn hurry(&mut self) {
        self.limits.hurry = true;
        self.urgent = true;
    }

    /// When it wants to act next.
    pub(crate) fn wake_at(&self) -> Option<Time> {
        let identity = match self.identity {
            Identity::Unknown { from, .. } if !self.active.is_empty() => Some(from),
            _ => None,
        };
        let quiet = self.brokers.values().map(|broker| broker.quiet_until);
        let partitions = self.active.iter().filter_map(|(topic, partition)| {
            let place = usize::try_from(*partition).ok()?;
            let partitions = self.partitions.get(topic.index())?;
            partitions.get(place)
        });
        // What was due at the last step and still is waits for an answer, not for the clock.
        partitions
            .flat_map(|partition| partition.wake_at(&self.limits))
            .chain(identity)
            .chain(quiet)
            .filter(|at| *at > self.stepped)
            .min()
    }

    /// Sends what is still open, without being asked for it again and again.
    pub(crate) fn hurry_if_busy(&mut self) {
        if !self.is_idle() {
            self.limits.hurry = true;
        }
    }

    /// Gives everything up that is not in flight.
    pub(crate) fn fail_all(&mut self, reason: &str) {
        for partition in self.partitions.iter_mut().flatten() {
            partition.fail_all(reason);
        }
    }

    /// The transaction's producer has another epoch. Nothing is queued: every sequence begins at 0.
    pub(crate) fn begin_epoch(&mut self) {
        for partition in self.partitions.iter_mut().flatten() {
            partition.begin_epoch();
        }
    }

    /// Why records of the open transaction were not delivered, once.
    pub(crate) fn take_failure(&mut self) -> Option<String> {
        self.failure.take()
    }

    pub(crate) fn step(
        &mut self,
        step: &mut Step<'_>,
        cluster: &mut Cluster,
        mut transaction: Option<&mut Transaction>,
    ) {
        self.urgent = false;
        self.stepped = step.now;
        let mut by_node: BTreeMap<Node, Vec<(Topic, i32)>> = BTreeMap::new();
        let mut renew = false;
        let id = match &transaction {
            Some(transaction) => transaction.identity(),
            None => self.id(),
        };
        let limits = self.limits.clone();
        for (topic, number) in self.active.clone() {
            let Some((partition, _)) = self.partition(topic, number, 0) else {
                continue;
            };
            partition.tick(step.now, &limits);
            renew |= id.is_some_and(|(id, _)| partition.is_exhausted(id));
            let admitted = transaction
                .as_mut()
                .is_none_or(|transaction| transaction.admits((topic, number)));
            if !admitted {
                continue;
            }
            match cluster.leader(topic, number) {
                Some(Leader { node, .. }) => by_node.entry(node).or_default().push((topic, number)),
                None => cluster.stale(step.now),
            }
        }
        self.limits.hurry = false;
        let mut id = id;
        if renew {
            self.forget_identity(step.now);
            id = None;
        }
        if transaction.is_none() {
            self.identify(step);
        }
        if let Some(id) = id {
            for (node, partitions) in by_node {
                self.fill(step, cluster, (node, id), &partitions);
            }
        }
        self.report(cluster);
    }

    fn id(&self) -> Option<(i64, i16)> {
        match self.identity {
            Identity::Known(id) => Some((id, 0)),
            _ => None,
        }
    }

    fn forget_identity(&mut self, now: Time) {
        self.identity = Identity::Unknown {
            from: now,
            attempts: 0,
        };
    }

    fn identify(&mut self, step: &mut Step<'_>) {
        let Identity::Unknown { from, attempts } = self.identity else {
            return;
        };
        if self.active.is_empty() || step.now < from {
            return;
        }
        let request = InitProducerIdRequest::default()
            .with_transactional_id(None)
            .with_transaction_timeout_ms(60_000)
            .with_producer_id((-1).into())
            .with_producer_epoch(-1);
        let number = self.number();
        self.identity = Identity::Asked { number, attempts };
        step.out.push(Outgoing {
            ticket: ticket(number),
            target: Target::Any,
            lane: Lane::Control,
            call: Call::InitProducerId(request),
            patience: self.request_timeout,
        });
    }

    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    /// Requests for one broker, until nothing is ready or five are in flight.
    fn fill(
        &mut self,
        step: &mut Step<'_>,
        cluster: &Cluster,
        (node, id): (Node, (i64, i16)),
        partitions: &[(Topic, i32)],
    ) {
        let broker = self.brokers.entry(node).or_default();
        if step.now < broker.quiet_until {
            return;
        }
        broker.quiet_until = Time::ZERO;
        let limits = self.limits.clone();
        while self
            .brokers
            .get(&node)
            .is_some_and(|one| one.in_flight < REQUESTS)
        {
            let (mut size, mut batches) = (0, Vec::new());
            let mut topics: BTreeMap<Topic, Vec<PartitionProduceData>> = BTreeMap::new();
            for (topic, number) in partitions {
                if size >= self.max_request_size {
                    break;
                }
                let Some((partition, _)) = self.partition(*topic, *number, 0) else {
                    continue;
                };
                if let Some((first, bytes)) = partition.take(step.now, id, &limits) {
                    size += bytes.len();
                    batches.push((*topic, *number, first));
                    let data = PartitionProduceData::default()
                        .with_index(*number)
                        .with_records(Some(bytes));
                    topics.entry(*topic).or_default().push(data);
                }
            }
            if batches.is_empty() {
                return;
            }
            self.send_request(step, cluster, Request { node, batches }, topics);
        }
    }

    fn send_request(
        &mut self,
        step: &mut Step<'_>,
        cluster: &Cluster,
        request: Request,
        topics: BTreeMap<Topic, Vec<PartitionProduceData>>,
    ) {
        let topics = topics.into_iter().map(|(topic, data)| {
            TopicProduceData::default()
                .with_name(cluster.topic_name(topic))
                .with_partition_data(data)
        });
        let id = self.transactional_id.as_deref();
        let call = ProduceRequest::default()
            .with_transactional_id(id.map(|id| TransactionalId(text(id))))
            .with_acks(-1)
            .with_timeout_ms(millis(self.request_timeout))
            .with_topic_data(topics.collect());
        let number = self.number();
        if let Some(broker) = self.brokers.get_mut(&request.node) {
            broker.in_flight += 1;
        }
        step.out.push(Outgoing {
            ticket: ticket(number),
            target: Target::Node(request.node),
            lane: Lane::Produce,
            call: Call::Produce(call),
            patience: self.request_timeout,
        });
        self.requests.insert(number, request);
    }
}

fn ticket(number: u64) -> Ticket {
    Ticket {
        owner: Owner::Producer,
        number,
    }
}
