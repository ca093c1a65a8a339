//! The [`Log`] of a worker on Kafka: a group's consumer and a producer beside it, served by one thread.
//!
//! librdkafka's own threads do the network; everything it has to say is taken by `poll` and `reports` on the worker's
//! thread. Its callbacks only hand on what happened: a rebalance is queued as an event, and assigning or unassigning
//! happens in `admit` and `release`, when the worker has done its part; librdkafka, and with it the group, waits until then.
//!
//! Settings that decide speed are measured in `docs/performance.md`. Two that look odd: the fetch back-off is 5 ms instead of
//! a second, because librdkafka otherwise stops fetching for a whole second when its local queue is full; and `flush` of
//! the client is never used, because it sleeps in steps of 100 ms.

mod commits;
mod deliveries;
mod open;
mod outlet;
mod positions;
mod signals;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _, RebalanceProtocol};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset as ClientOffset;

use super::config::kafka_error;
use super::offsets::{self, Which, names};
use super::producer::{never_fits, too_large};
use super::reader::ReadMessage;
use crate::clock::SystemClock;
use crate::config::Cluster;
use crate::error::Error;
use crate::limits::Limits;
use crate::log::{Begin, Event, Log, Outgoing, SendError, Token};
use crate::policy::Start;
use crate::topic::{NextOffset, TopicPartition};

use commits::Commits;
use deliveries::{Failure, REPORTS, Report};
use outlet::Outlet;
use positions::Doubt;
use signals::{Signal, Signals};

/// How long a question to the cluster may take before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it may take while records are waiting.
const SHORT_PATIENCE: Duration = Duration::from_secs(1);

// A token is handed to librdkafka as a pointer-sized number.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// What a member is to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) group: String,
    /// The member's own name in the group, if it has one.
    pub(crate) instance: Option<String>,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) start: Start,
    pub(crate) session_timeout: Duration,
    pub(crate) max_bytes_in_flight: usize,
    pub(crate) limits: Limits,
}

/// A member of a group, and its producer.
pub(crate) struct Member {
    /// Dropped before the consumer, to which its queue belongs.
    commits: Commits,
    consumer: BaseConsumer<Signals>,
    producer: Outlet,
    events: Receiver<Signal>,
    cluster: Cluster,
    settings: Settings,
    in_flight: Cell<usize>,
    /// A larger record is refused when it is sent.
    largest: usize,
    known: RefCell<Known>,
    clock: SystemClock,
}

/// What is known of the partitions without asking.
#[derive(Default)]
struct Known {
    /// Where each admitted partition is to start, until something was read from it.
    starts: HashMap<TopicPartition, NextOffset>,
    /// The ends, from the client's statistics.
    ends: HashMap<TopicPartition, NextOffset>,
    /// Up to where the client has given everything, from its statistics.
    given: HashMap<TopicPartition, NextOffset>,
    /// Positions that may not be on the cluster, which has still to say so.
    doubtful: Vec<Doubt>,
    /// How many partitions the inputs had when the first share came: those that are added later are read from their start.
    counts: Option<HashMap<Arc<str>, i32>>,
    /// Whether any broker is connected, from the client's statistics.
    connected: bool,
}

impl Member {
    /// Makes both clients and joins the group; they connect by themselves.
    pub(crate) fn open(cluster: &Cluster, settings: Settings) -> Result<Self, Error> {
        cluster.check_brokers()?;
        let (sender, events) = channel();
        let consumer = open::consumer(cluster, &settings, sender)?;
        let commits = Commits::new(&consumer)
            .map_err(|error| kafka_error(cluster, "make a consumer", &error))?;
        let producer = Outlet::new(open::producer(cluster, &settings)?);
        let topics: Vec<&str> = settings.topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&topics).map_err(|error| {
            kafka_error(cluster, format!("join group `{}`", settings.group), &error)
        })?;
        Ok(Self {
            commits,
            consumer,
            producer,
            events,
            cluster: cluster.clone(),
            in_flight: Cell::new(0),
            largest: open::largest_record(cluster, &settings.limits),
            known: RefCell::default(),
            settings,
            clock: SystemClock::new(),
        })
    }

    fn fail(&self, action: impl Into<String>, error: &KafkaError) -> Error {
        kafka_error(&self.cluster, action, error)
    }

    /// The next event a callback has handed on.
    fn signal<M>(&self) -> Option<Event<M>> {
        loop {
            let event = match self.events.try_recv().ok()? {
                Signal::Assigned(partitions) => Event::Assigned(partitions),
                Signal::Revoked(partitions) => Event::Revoked(partitions),
                Signal::Lost(partitions) => Event::Lost(partitions),
                Signal::Committed(answer) => self.answered(answer),
                Signal::Reset(partition, wanted) => {
                    let doubt = Doubt::of_a_reset(partition, wanted);
                    self.known.borrow_mut().doubtful.push(doubt);
                    continue;
                }
                Signal::Statistics(statistics) => {
                    let mut known = self.known.borrow_mut();
                    known.connected = statistics.connected;
                    known.ends.extend(statistics.ends);
                    known.given.extend(statistics.given);
                    continue;
                }
            };
            return Some(event);
        }
    }

    /// An error that came instead of a record.
    fn trouble<M>(&self, error: &KafkaError) -> Result<Event<M>, Error> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => Err(self.fail(self.reading(), error)),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                // The client does not say for which partition: each is asked for.
                let all = self.positions();
                let all = all.map_err(|error| self.fail(self.reading(), &error))?;
                let all = all.into_iter();
                let all = all.map(|(partition, at)| Doubt::of_a_position(partition, at));
                self.known.borrow_mut().doubtful = all.collect();
                Ok(Event::Idle)
            }
            // Told once for each partition, of which nothing is read from then on.
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => Ok(Event::Forbidden(self.fail(self.reading(), error))),
            // The connection is told by the client's own log; it mends itself.
            KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve,
            ) => Ok(Event::Idle),
            error => Ok(Event::Trouble(self.fail(self.reading(), error))),
        }
    }

    fn reading(&self) -> String {
        format!("read as group `{}`", self.settings.group)
    }
}

impl Log for Member {
    type Message<'a> = ReadMessage<'a>;

    fn poll(&self, wait: Duration) -> Result<Event<ReadMessage<'_>>, Error> {
        // The client may serve an event of its own and still return a record: what it told is taken each time.
        if let Some(event) = self.signal().or_else(|| self.doubt()) {
            return Ok(event);
        }
        if let Some(answer) = self.commits.answer(Duration::ZERO) {
            return Ok(self.answered(answer));
        }
        match self.consumer.poll(wait) {
            Some(Ok(message)) => Ok(Event::Record(ReadMessage::new(message))),
            // The client returns early, with nothing, whenever it has served an event of its own.
            None => Ok(self.signal().unwrap_or(Event::Idle)),
            Some(Err(error)) => self.trouble(&error),
        }
    }

    fn admit(&self, partitions: &[TopicPartition]) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        self.count_partitions(partitions)?;
        let begins = self.begins(partitions)?;
        let fail = |error: &KafkaError| {
            let group = &self.settings.group;
            self.fail(
                format!("take {} as group `{group}`", names(partitions)),
                error,
            )
        };
        let list = self.start_list(&begins).map_err(|error| fail(&error))?;
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(&list),
        };
        assigned.map_err(|error| fail(&error))?;
        let mut known = self.known.borrow_mut();
        // The group's coordinator has just answered.
        known.connected = true;
        let starts = begins.iter();
        let starts =
            starts.filter_map(|(partition, begin)| Some((partition.clone(), begin.offset()?)));
        known.starts.extend(starts);
        drop(known);
        Ok(begins)
    }

    fn begin_again(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, Begin)>, Error> {
        let begins = self.begins(partitions)?.into_iter();
        let at = |(partition, begin): (TopicPartition, Begin)| {
            let offset = begin.offset();
            offset.map_or(Ok(()), |offset| self.seek(&partition, offset))?;
            Ok((partition, begin))
        };
        begins.map(at).collect()
    }

    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut known = self.known.borrow_mut();
        for partition in partitions {
            known.starts.remove(partition);
            known.ends.remove(partition);
            known.given.remove(partition);
            known.doubtful.retain(|doubt| doubt.partition != *partition);
        }
        let released = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                self.consumer.incremental_unassign(&list_of(partitions))
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.unassign(),
        };
        released.map_err(|error| {
            let group = &self.settings.group;
            self.fail(
                format!("release {} of group `{group}`", names(partitions)),
                &error,
            )
        })
    }

    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        let bytes = record.memory();
        if bytes > self.largest {
            return Err(SendError::Failed(too_large(
                record.topic,
                bytes,
                self.largest,
            )));
        }
        let in_flight = self.in_flight.get();
        // A record larger than the bound passes alone.
        if in_flight > 0 && in_flight + bytes > self.settings.max_bytes_in_flight {
            return Err(SendError::Full);
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "usize has 64 bits, asserted above"
        )]
        let token = token.0 as usize;
        match self.producer.send(&record, token) {
            Ok(()) => {
                self.in_flight.set(in_flight + bytes);
                Ok(())
            }
            Err(error) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) if in_flight > 0 => Err(SendError::Full),
                Some(RDKafkaErrorCode::QueueFull) => {
                    Err(SendError::Failed(never_fits(record.topic, bytes, None)))
                }
                _ => {
                    let action = format!("send {bytes} bytes to topic `{}`", record.topic);
                    Err(SendError::Failed(self.fail(action, &error)))
                }
            },
        }
    }

    fn reports(&self, wait: Duration, each: &mut dyn FnMut(Token, Result<(), Error>)) {
        let step = wait.min(Duration::from_millis(1));
        let mut left = wait;
        // `poll` of the client waits out its time whatever comes: it is called in small steps instead.
        loop {
            self.producer.poll(step.min(left));
            let mut reports = REPORTS.with(RefCell::take);
            if reports.is_empty() && left > step {
                left = left.saturating_sub(step);
                continue;
            }
            let shared = refused_batches(&reports);
            let named = Named::of(&reports);
            let mut done = 0;
            for report in reports.drain(..) {
                done += report.bytes;
                let result = report.failure.map_or(Ok(()), |failure| {
                    let is_batch = shared.contains(&failure.place()) && !named.is_named(&failure);
                    let action = format!("deliver a record to topic `{}`", failure.topic);
                    let error = self.fail(action, &failure.error);
                    Err(if is_batch { error.of_a_batch() } else { error })
                });
                each(Token(report.token as u64), result);
            }
            self.in_flight
                .set(self.in_flight.get().saturating_sub(done));
            // The buffer goes back, so that reporting allocates nothing.
            REPORTS.with(|buffer| buffer.replace(reports));
            return;
        }
    }

    fn in_flight_bytes(&self) -> usize {
        self.in_flight.get()
    }

    fn commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.hand_on(offsets)
    }

    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.commit_and_wait(offsets)
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        // Refused only for a partition that is not assigned, which needs no pause.
        let _ = self.consumer.pause(&list_of(partitions));
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        let _ = self.consumer.resume(&list_of(partitions));
    }

    fn seek(&self, partition: &TopicPartition, offset: NextOffset) -> Result<(), Error> {
        self.consumer
            .seek(
                &partition.topic,
                partition.partition.0,
                ClientOffset::Offset(offset.get()),
                PATIENCE,
            )
            .map_err(|error| self.fail(format!("go to offset {offset} of {partition}"), &error))?;
        self.known
            .borrow_mut()
            .starts
            .insert(partition.clone(), offset);
        Ok(())
    }

    fn end_offset(&self, partition: &TopicPartition) -> Option<NextOffset> {
        self.known.borrow().ends.get(partition).copied()
    }

    fn partition_count(&self, topic: &str) -> Result<i32, Error> {
        let unknown = || Error::UnknownTopic {
            topic: topic.to_owned(),
        };
        let metadata = self
            .consumer
            .fetch_metadata(Some(topic), PATIENCE)
            .map_err(|error| self.fail(format!("look up topic `{topic}`"), &error))?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        let count = found.map_or(0, |found| found.partitions().len());
        if count == 0 {
            return Err(unknown());
        }
        i32::try_from(count).map_err(|_| unknown())
    }

    fn unread(
        &self,
        partitions: &[TopicPartition],
    ) -> Result<Vec<(TopicPartition, NextOffset)>, Error> {
        // A partition without a leader gives no answer: it must not hide that another one stands still.
        let ends = offsets::fetch_some(&self.consumer, partitions, Which::End, SHORT_PATIENCE)
            .map_err(|error| {
                let action = format!("ask for the ends of {}", names(partitions));
                self.fail(action, &error)
            })?;
        let positions = self.positions().unwrap_or_default();
        let known = self.known.borrow();
        let is_unread = |partition: &TopicPartition, end: NextOffset| {
            // The markers of transactions are no records: the client has passed them without giving anything.
            let given = known.given.get(partition).copied();
            let at = positions.get(partition).copied();
            at.max(given).is_none_or(|at| at < end)
        };
        let unread = ends.into_iter();
        Ok(unread
            .filter(|(partition, end)| is_unread(partition, *end))
            .collect())
    }

    fn is_connected(&self) -> bool {
        self.known.borrow().connected
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.consumer
            .context()
            .closing
            .store(true, Ordering::Release);
        // The client's close alone does not tell the group that a member without partitions leaves. A member with a name of its
        // own stays in the group: it is expected back.
        if self.settings.instance.is_none() {
            self.consumer.unsubscribe();
        }
    }
}

/// Where more than one record was refused at once. The client reports all records of a batch in one poll and does not say what
/// a batch is, so these may be of one: any of them can be to blame.
fn refused_batches(reports: &[Report]) -> HashSet<(String, i32)> {
    let mut seen = HashSet::new();
    let failures = reports.iter().filter_map(|report| report.failure.as_ref());
    let places = failures.map(Failure::place);
    places.filter(|place| !seen.insert(place.clone())).collect()
}

/// Where the broker has said which records of a batch it refuses: the client then has another error for the others of the batch.
struct Named(HashSet<(String, i32)>);

impl Named {
    fn of(reports: &[Report]) -> Self {
        let failures = reports.iter().filter_map(|report| report.failure.as_ref());
        let others = failures
            .filter(|failure| failure.code() == Some(RDKafkaErrorCode::InvalidDifferentRecord));
        Self(others.map(Failure::place).collect())
    }

    /// Whether the broker refuses this very record.
    fn is_named(&self, failure: &Failure) -> bool {
        let of_one = [
            RDKafkaErrorCode::InvalidRecord,
            RDKafkaErrorCode::InvalidTimestamp,
        ];
        let is_of_one = failure.code().is_some_and(|code| of_one.contains(&code));
        is_of_one && self.0.contains(&failure.place())
    }
}

fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition.0);
    }
    list
}

#[cfg(test)]
mod tests;
