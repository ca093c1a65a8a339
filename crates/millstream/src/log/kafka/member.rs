//! The [`Log`] of a worker on Kafka: a group's consumer and a producer beside it, served by one thread.
//!
//! librdkafka's own threads do the network; everything it has to say is taken by `poll` and `reports` on the worker's
//! thread. Its callbacks only hand on what happened: a rebalance is queued as an event, and assigning or unassigning
//! happens in `admit` and `release`, when the worker has done its part; librdkafka, and with it the group, waits until then.
//!
//! Settings that decide speed are measured in `docs/performance.md`. Two that look odd: the fetch back-off is 5 ms instead of
//! a second, because librdkafka otherwise stops fetching for a whole second when its local queue is full; and `flush` of
//! the client is never used, because it sleeps in steps of 100 ms.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext, RebalanceProtocol,
};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, DeliveryResult, ProducerContext};
use rdkafka::topic_partition_list::Offset as ClientOffset;
use rdkafka::types::RDKafkaRespErr;

use super::config::{Role, client_config, code_error, forward_error, forward_log, kafka_error};
use super::producer::client_record;
use super::reader::ReadMessage;
use super::statistics;
use crate::config::Cluster;
use crate::error::Error;
use crate::log::{Event, Log, Outgoing, SendError, Token};
use crate::policy::Start;
use crate::topic::{NextOffset, Partition, TopicPartition};

/// How long a question to the cluster may take before it is asked again.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a record costs in the client beside its bytes, so that many small ones are bounded too.
const OVERHEAD: usize = 128;

// A token is handed to librdkafka as a pointer-sized number.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// What a member is to be.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) group: String,
    pub(crate) topics: Vec<Arc<str>>,
    pub(crate) start: Start,
    pub(crate) session_timeout: Duration,
    pub(crate) max_bytes_in_flight: usize,
    pub(crate) max_message_bytes: Option<u32>,
}

/// A member of a group, and its producer.
pub(crate) struct Member {
    consumer: BaseConsumer<Signals>,
    producer: BaseProducer<Deliveries>,
    events: Receiver<Signal>,
    cluster: Cluster,
    settings: Settings,
    in_flight: Cell<usize>,
    known: RefCell<Known>,
}

/// What is known of the partitions without asking.
#[derive(Default)]
struct Known {
    /// Where each admitted partition was told to start, until something was read from it.
    starts: HashMap<TopicPartition, NextOffset>,
    /// The ends, from the client's statistics.
    ends: HashMap<TopicPartition, NextOffset>,
}

/// What a callback of the consumer hands on.
enum Signal {
    Assigned(Vec<TopicPartition>),
    Revoked(Vec<TopicPartition>),
    Lost(Vec<TopicPartition>),
    Committed(Vec<(TopicPartition, NextOffset)>, Option<RDKafkaErrorCode>),
    /// The client wrote that it reset this position.
    Reset(TopicPartition, NextOffset),
    Ends(Vec<(TopicPartition, NextOffset)>),
}

/// The consumer's callbacks.
struct Signals {
    cluster: Cluster,
    events: Sender<Signal>,
    /// While the client closes, a revocation is answered at once: nobody polls for it any more.
    closing: AtomicBool,
}

/// The producer's callbacks.
struct Deliveries {
    cluster: Cluster,
}

/// One delivery report.
struct Report {
    token: usize,
    bytes: usize,
    error: Option<KafkaError>,
}

thread_local! {
    /// The reports of the poll that is running on this thread: the callback runs inside of it, so that no lock is needed.
    static REPORTS: RefCell<Vec<Report>> = const { RefCell::new(Vec::new()) };
}

impl Member {
    /// Makes both clients and joins the group; they connect by themselves.
    pub(crate) fn open(cluster: &Cluster, settings: Settings) -> Result<Self, Error> {
        cluster.check_brokers()?;
        let (sender, events) = channel();
        let consumer = open_consumer(cluster, &settings, sender)?;
        let producer = open_producer(cluster, &settings)?;
        let topics: Vec<&str> = settings.topics.iter().map(|topic| &**topic).collect();
        consumer.subscribe(&topics).map_err(|error| {
            kafka_error(cluster, format!("join group `{}`", settings.group), &error)
        })?;
        Ok(Self {
            consumer,
            producer,
            events,
            cluster: cluster.clone(),
            settings,
            in_flight: Cell::new(0),
            known: RefCell::default(),
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
                Signal::Committed(offsets, error) => Event::Committed {
                    offsets,
                    result: error.map_or(Ok(()), |code| Err(code_error("commit offsets", code))),
                },
                Signal::Reset(partition, wanted) => {
                    match self.out_of_range(&partition, Some(wanted)) {
                        Some(event) => event,
                        None => continue,
                    }
                }
                Signal::Ends(ends) => {
                    self.known.borrow_mut().ends.extend(ends);
                    continue;
                }
            };
            return Some(event);
        }
    }

    /// Asks the cluster whether a position is there; the event when it is not.
    fn out_of_range<M>(
        &self,
        partition: &TopicPartition,
        wanted: Option<NextOffset>,
    ) -> Option<Event<M>> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&partition.topic, partition.partition.0, PATIENCE)
            .ok()?;
        let (start, end) = (NextOffset::new(low), NextOffset::new(high));
        if wanted.is_some_and(|wanted| start <= wanted && wanted <= end) {
            return None;
        }
        Some(Event::OutOfRange {
            partition: partition.clone(),
            wanted,
            start,
            end,
        })
    }

    /// Where the client stands in a partition.
    fn position(&self, partition: &TopicPartition) -> Option<NextOffset> {
        let positions = self.consumer.position().ok()?;
        let found = positions.find_partition(&partition.topic, partition.partition.0)?;
        match found.offset() {
            ClientOffset::Offset(offset) => Some(NextOffset::new(offset)),
            _ => self.known.borrow().starts.get(partition).copied(),
        }
    }

    /// An error that came instead of a record.
    fn trouble<M>(&self, error: &KafkaError) -> Result<Event<M>, Error> {
        match error {
            KafkaError::MessageConsumptionFatal(_) => Err(self.fail(self.reading(), error)),
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                // The client does not say for which partition: each is asked for, and the first that is out of range is told.
                let all = self
                    .consumer
                    .assignment()
                    .map_err(|error| self.fail(self.reading(), &error))?;
                let mut all = partitions(&all).into_iter();
                let found = all
                    .find_map(|partition| self.out_of_range(&partition, self.position(&partition)));
                Ok(found.unwrap_or(Event::Idle))
            }
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

    fn with_positions(&self, partitions: &[TopicPartition]) -> Result<TopicPartitionList, Error> {
        if partitions.is_empty() {
            return Ok(TopicPartitionList::new());
        }
        let action = || format!("ask for the offsets of group `{}`", self.settings.group);
        let fail = |error: KafkaError| self.fail(action(), &error);
        let mut list = self
            .consumer
            .committed_offsets(list_of(partitions), PATIENCE)
            .map_err(fail)?;
        let elements = list.elements();
        elements
            .iter()
            .try_for_each(|element| element.error())
            .map_err(fail)?;
        let mut known = self.known.borrow_mut();
        for partition in partitions {
            let (topic, number) = (&*partition.topic, partition.partition.0);
            let committed = list
                .find_partition(topic, number)
                .map(|element| element.offset());
            let offset = match (committed, self.settings.start) {
                (Some(ClientOffset::Offset(offset)), _) => {
                    known
                        .starts
                        .insert(partition.clone(), NextOffset::new(offset));
                    continue;
                }
                (_, Start::Earliest) => ClientOffset::Beginning,
                (_, Start::Latest) => ClientOffset::End,
                // librdkafka answers with the reset error, which becomes an event.
                (_, Start::Fail) => ClientOffset::Invalid,
            };
            list.set_partition_offset(topic, number, offset)
                .map_err(fail)?;
        }
        Ok(list)
    }
}

impl Log for Member {
    type Message<'a> = ReadMessage<'a>;

    fn poll(&self, wait: Duration) -> Result<Event<ReadMessage<'_>>, Error> {
        match self.consumer.poll(wait) {
            Some(Ok(message)) => Ok(Event::Record(ReadMessage::new(message))),
            // The client returns early, with nothing, whenever it has served an event of its own.
            None => Ok(self.signal().unwrap_or(Event::Idle)),
            Some(Err(error)) => self.trouble(&error),
        }
    }

    fn admit(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let list = self.with_positions(partitions)?;
        let assigned = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => self.consumer.incremental_assign(&list),
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.assign(&list),
        };
        assigned.map_err(|error| self.fail("take partitions", &error))
    }

    fn release(&self, partitions: &[TopicPartition]) -> Result<(), Error> {
        let mut known = self.known.borrow_mut();
        for partition in partitions {
            known.starts.remove(partition);
            known.ends.remove(partition);
        }
        let released = match self.consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative => {
                self.consumer.incremental_unassign(&list_of(partitions))
            }
            RebalanceProtocol::Eager | RebalanceProtocol::None => self.consumer.unassign(),
        };
        released.map_err(|error| self.fail("release partitions", &error))
    }

    fn send(&self, record: Outgoing<'_>, token: Token) -> Result<(), SendError> {
        let bytes = size(
            record.key.map_or(0, <[u8]>::len),
            record.value.map_or(0, <[u8]>::len),
        );
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
        match self.producer.send(client_record(&record, token)) {
            Ok(()) => {
                self.in_flight.set(in_flight + bytes);
                Ok(())
            }
            Err((error, _)) => match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::QueueFull) => Err(SendError::Full),
                _ => {
                    let action = format!("send {bytes} bytes to topic `{}`", record.topic);
                    Err(SendError::Refused(self.fail(action, &error)))
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
            let mut done = 0;
            for report in reports.drain(..) {
                done += report.bytes;
                let result = match report.error {
                    None => Ok(()),
                    Some(error) => Err(self.fail("deliver a record", &error)),
                };
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
        self.commit_as(offsets, CommitMode::Async)
    }

    fn commit_now(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.commit_as(offsets, CommitMode::Sync)
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
}

impl Member {
    fn commit_as(
        &self,
        offsets: &[(TopicPartition, NextOffset)],
        mode: CommitMode,
    ) -> Result<(), Error> {
        let fail = |error: KafkaError| {
            self.fail(
                format!("commit offsets of group `{}`", self.settings.group),
                &error,
            )
        };
        let mut list = TopicPartitionList::with_capacity(offsets.len());
        for (partition, offset) in offsets {
            let offset = ClientOffset::Offset(offset.get());
            list.add_partition_offset(&partition.topic, partition.partition.0, offset)
                .map_err(fail)?;
        }
        self.consumer.commit(&list, mode).map_err(fail)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.consumer
            .context()
            .closing
            .store(true, Ordering::Release);
    }
}

fn open_consumer(
    cluster: &Cluster,
    settings: &Settings,
    events: Sender<Signal>,
) -> Result<BaseConsumer<Signals>, Error> {
    // One input: members keep what they have while others come and go. Several inputs: partitions of equal number must
    // come to the same member, which of librdkafka's assignors only `range` promises.
    let assignor = if settings.topics.len() == 1 {
        "cooperative-sticky"
    } else {
        "range"
    };
    let session = settings.session_timeout.as_millis().to_string();
    let heartbeat = (settings.session_timeout / 15)
        .as_millis()
        .clamp(100, 3_000)
        .to_string();
    let reset = match settings.start {
        Start::Earliest => "earliest",
        Start::Latest => "latest",
        Start::Fail => "error",
    };
    let defaults = [
        ("partition.assignment.strategy", assignor),
        ("session.timeout.ms", &session),
        ("heartbeat.interval.ms", &heartbeat),
        ("fetch.queue.backoff.ms", "5"),
        ("queued.max.messages.kbytes", "16384"),
        ("check.crcs", "true"),
        ("statistics.interval.ms", "1000"),
        ("topic.metadata.refresh.interval.ms", "30000"),
    ];
    let forced = [
        ("group.id", settings.group.as_str()),
        ("auto.offset.reset", reset),
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "false"),
    ];
    let signals = Signals {
        cluster: cluster.clone(),
        events,
        closing: AtomicBool::new(false),
    };
    client_config(cluster, Role::Consumer, &defaults, &forced)
        .create_with_context(signals)
        .map_err(|error| kafka_error(cluster, "make a consumer", &error))
}

fn open_producer(
    cluster: &Cluster,
    settings: &Settings,
) -> Result<BaseProducer<Deliveries>, Error> {
    let bytes = settings.max_message_bytes.map(|bytes| bytes.to_string());
    let mut defaults = vec![
        ("acks", "all"),
        ("enable.idempotence", "true"),
        ("linger.ms", "5"),
        ("partitioner", "murmur2_random"),
        ("queue.buffering.max.messages", "1000000"),
    ];
    if let Some(bytes) = &bytes {
        defaults.push(("message.max.bytes", bytes));
    }
    let deliveries = Deliveries {
        cluster: cluster.clone(),
    };
    client_config(cluster, Role::Producer, &defaults, &[])
        .create_with_context(deliveries)
        .map_err(|error| kafka_error(cluster, "make a producer", &error))
}

impl ClientContext for Signals {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(&self.cluster, level, facility, message);
        // The client resets a position by itself and tells it only here. The line is a hint of where to look: what
        // was lost is found out from the cluster.
        if facility == "OFFSET"
            && let Some((partition, wanted)) = statistics::reset(message)
        {
            self.tell(Signal::Reset(partition, wanted));
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&self.cluster, &error, reason);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.tell(Signal::Ends(statistics::ends(statistics)));
    }
}

impl ConsumerContext for Signals {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        code: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        if self.closing.load(Ordering::Acquire) {
            answer_at_once(consumer, code, list);
            return;
        }
        let partitions = partitions(list);
        self.tell(match code {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Signal::Assigned(partitions),
            _ if consumer.assignment_lost() => Signal::Lost(partitions),
            _ => Signal::Revoked(partitions),
        });
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let elements = offsets.elements();
        // The whole may succeed and a part of it fail.
        let failed = elements.iter().find_map(|element| element.error().err());
        let error = result
            .err()
            .or(failed)
            .and_then(|error| error.rdkafka_error_code());
        let offsets = elements
            .iter()
            .filter_map(|element| match element.offset() {
                ClientOffset::Offset(offset) => Some((
                    TopicPartition::new(element.topic(), Partition(element.partition())),
                    NextOffset::new(offset),
                )),
                _ => None,
            });
        let error = error.filter(|code| *code != RDKafkaErrorCode::NoOffset);
        self.tell(Signal::Committed(offsets.collect(), error));
    }
}

/// While the client closes: nothing is taken any more and everything is given back.
fn answer_at_once(
    consumer: &BaseConsumer<Signals>,
    code: RDKafkaRespErr,
    list: &TopicPartitionList,
) {
    let is_assign = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    let answered = match (consumer.rebalance_protocol(), is_assign) {
        (RebalanceProtocol::Cooperative, true) => consumer.incremental_assign(list),
        (RebalanceProtocol::Cooperative, false) => consumer.incremental_unassign(list),
        _ => consumer.unassign(),
    };
    if let Err(error) = answered {
        tracing::warn!(%error, "could not give partitions back while closing");
    }
}

impl Signals {
    fn tell(&self, signal: Signal) {
        // The receiver is gone only when the member is being dropped: nobody wants to know any more.
        let _ = self.events.send(signal);
    }
}

impl ClientContext for Deliveries {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(&self.cluster, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&self.cluster, &error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let (message, error) = match result {
            Ok(message) => (message, None),
            Err((error, message)) => (message, Some(error.clone())),
        };
        let report = Report {
            token,
            bytes: size(message.key_len(), message.payload_len()),
            error,
        };
        REPORTS.with(|reports| reports.borrow_mut().push(report));
    }
}

/// What a record counts against the bound on bytes in flight.
const fn size(key: usize, value: usize) -> usize {
    key + value + OVERHEAD
}

fn list_of(partitions: &[TopicPartition]) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, partition.partition.0);
    }
    list
}

/// The partitions of a list; those of one topic share its name.
fn partitions(list: &TopicPartitionList) -> Vec<TopicPartition> {
    let mut topic: Option<Arc<str>> = None;
    let elements = list.elements();
    let partitions = elements.iter().map(|element| {
        let name = match &topic {
            Some(name) if **name == *element.topic() => Arc::clone(name),
            _ => Arc::from(element.topic()),
        };
        topic = Some(Arc::clone(&name));
        TopicPartition::new(name, Partition(element.partition()))
    });
    partitions.collect()
}
