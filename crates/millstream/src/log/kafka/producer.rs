//! A producer with a thread that serves its delivery reports.
//!
//! Owns librdkafka's producer for programs that only produce. Every record taken is accounted for exactly once:
//! delivered, or failed with its reason. Reports are served by one thread, so a sender that meets a full queue
//! only has to wait. librdkafka drops what is queued when it is closed; here that is reported as a failure of each
//! record.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::{counter, gauge};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{
    BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig,
};

use super::config::{Role, client_config, forward_error, forward_log, kafka_error};
use super::headers;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Cluster;
use crate::error::{Class, Error};
use crate::log::{Outgoing, SendError};
use crate::metrics::{EMITTER_DELIVERED, EMITTER_FAILED, EMITTER_PENDING};
use crate::record::Position;
use crate::topic::{Offset, Partition};

/// The property that bounds what is in flight, and what it is when the user has not set it.
const QUEUE_KBYTES: &str = "queue.buffering.max.kbytes";
const DEFAULT_KBYTES: usize = 65_536;
/// How long one who waits for a report, or for something to send, sleeps at most.
const POLL: Duration = Duration::from_millis(50);
/// How long the serving thread stays in the client, where nobody can wake it: a program that has sent everything waits for
/// it at its end.
const SERVE: Duration = Duration::from_millis(5);
/// How long a purge may take to report what it dropped.
const PURGE: Duration = Duration::from_secs(2);

/// What is reported about one record: where it was written, or why it was not.
pub(crate) type Receipt = Box<dyn FnOnce(Result<Position, Error>) + Send>;

/// What is called with the numbers of records that failed.
pub(crate) type OnFailure = Box<dyn Fn(u64, Error) + Send + Sync>;

/// How the outcome of one record is reported.
#[derive(Default)]
pub(crate) enum Report {
    /// Counted; a failure is returned by the next flush.
    #[default]
    Counted,
    /// By its own receipt.
    Receipt(Receipt),
    /// A failure, by number.
    Numbered(u64),
}

/// Set in the token of a numbered record; tokens of receipts count from 1.
const NUMBERED: usize = 1 << (usize::BITS - 1);

/// How many records were taken, and what became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Taken for sending.
    pub accepted: u64,
    /// Acknowledged by the cluster.
    pub delivered: u64,
    /// Given up.
    pub failed: u64,
}

impl Counts {
    /// Taken and not yet decided.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.accepted
            .saturating_sub(self.delivered)
            .saturating_sub(self.failed)
    }
}

/// Failures that no receipt has reported.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    pub(crate) count: u64,
    pub(crate) first: String,
}

pub(crate) struct Producer {
    client: Arc<BaseProducer<Reports>>,
    thread: Option<JoinHandle<()>>,
    clock: SystemClock,
}

impl Producer {
    /// Makes the client; it connects by itself when there is something to send.
    pub(crate) fn open(
        cluster: &Cluster,
        on_failure: Option<OnFailure>,
    ) -> Result<Producer, Error> {
        cluster.check_brokers()?;
        let kbytes = DEFAULT_KBYTES.to_string();
        let mut defaults = vec![
            ("acks", "all"),
            ("linger.ms", "5"),
            ("partitioner", "murmur2_random"),
            (QUEUE_KBYTES, &kbytes),
        ];
        if allows_idempotence(cluster) {
            defaults.push(("enable.idempotence", "true"));
        }
        let client: BaseProducer<Reports> = client_config(cluster, Role::Producer, &defaults, &[])
            .create_with_context(Reports::new(cluster.clone(), on_failure))
            .map_err(|error| kafka_error(cluster, "make a producer", &error))?;
        let client = Arc::new(client);
        let serving = Arc::clone(&client);
        let thread = std::thread::Builder::new()
            .name("millstream-emitter".to_owned())
            .spawn(move || serve(&serving))
            .map_err(|error| Error::Kafka {
                action: "start the producer's thread".to_owned(),
                reason: error.to_string(),
                class: Class::Retriable,
                outcome: crate::error::Outcome::NotApplied,
            })?;
        Ok(Producer {
            client,
            thread: Some(thread),
            clock: SystemClock::new(),
        })
    }

    /// Takes a record for sending. `report` is taken together with the record, and left where it is when the record is not
    /// taken.
    pub(crate) fn send(&self, record: &Outgoing<'_>, report: &mut Report) -> Result<(), SendError> {
        let reports = self.client.context();
        let bytes = record.memory();
        if !reports.reserve(bytes) {
            return Err(SendError::Full);
        }
        let token = reports.token(report);
        // Counted first: the report may arrive before `send` returns.
        reports.accepted.fetch_add(1, Ordering::SeqCst);
        reports.wake_if_idle();
        self.client
            .send(client_record(record, token))
            .map_err(|(error, _)| {
                reports.accepted.fetch_sub(1, Ordering::AcqRel);
                reports.in_flight.fetch_sub(bytes, Ordering::AcqRel);
                *report = reports.take(token);
                self.refusal(record, &error)
            })
    }

    fn refusal(&self, record: &Outgoing<'_>, error: &KafkaError) -> SendError {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
            return SendError::Full;
        }
        let bytes = record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        let action = format!("send a record of {bytes} bytes to topic `{}`", record.topic);
        SendError::Failed(kafka_error(&self.client.context().cluster, action, error))
    }

    /// Waits a moment for a delivery report, as a sender does that met a full queue.
    pub(crate) fn wait_for_room(&self) {
        self.client.context().wait(POLL);
    }

    /// Waits until everything taken so far is decided, `within` at most; returns how much is not.
    pub(crate) fn drain(&self, within: Duration) -> u64 {
        let deadline = self.clock.now().plus(within);
        loop {
            let pending = self.counts().pending();
            let left = deadline.since(self.clock.now());
            if pending == 0 || left.is_zero() {
                return pending;
            }
            self.client.context().wait(left.min(POLL));
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.client.context().counts()
    }

    /// Takes the failures of records without a receipt since the last call.
    pub(crate) fn take_failures(&self) -> Failures {
        std::mem::take(&mut *lock(&self.client.context().failures))
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.counts().pending() > 0 {
            self.client.purge(PurgeConfig::default().queue().inflight());
            let lost = self.drain(PURGE);
            if lost > 0 {
                tracing::error!(lost, "records dropped without a report");
            }
        }
        self.client.context().stop.store(true, Ordering::SeqCst);
        self.client.context().wake_if_idle();
        if let Some(thread) = self.thread.take() {
            // A panic there was already reported by the thread; the client is closed all the same.
            let _ = thread.join();
        }
    }
}

/// Serves delivery reports until the producer is dropped, and gives out what was counted.
fn serve(client: &BaseProducer<Reports>) {
    let mut shown = Counts::default();
    loop {
        let is_last = client.context().stop.load(Ordering::Acquire);
        client.context().wait_for_work();
        client.poll(if is_last { Duration::ZERO } else { SERVE });
        let counts = client.context().counts();
        // Looked up each time: a recorder may be installed after the emitter was made.
        counter!(EMITTER_DELIVERED).increment(counts.delivered - shown.delivered);
        counter!(EMITTER_FAILED).increment(counts.failed - shown.failed);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(EMITTER_PENDING).increment(counts.pending() as f64 - shown.pending() as f64);
        shown = counts;
        if is_last {
            return;
        }
    }
}

/// The most bytes in flight: the client's own property, which for the client leaves headers out of account.
fn bound_of(cluster: &Cluster) -> usize {
    let mut properties = cluster.raw_properties();
    let kbytes = properties.find(|(name, _)| *name == QUEUE_KBYTES);
    let kbytes = kbytes.and_then(|(_, value)| value.parse::<usize>().ok());
    kbytes.unwrap_or(DEFAULT_KBYTES).saturating_mul(1024)
}

/// Idempotence is the default unless the user asked for something that excludes it.
fn allows_idempotence(cluster: &Cluster) -> bool {
    cluster.raw_properties().all(|(name, value)| match name {
        "acks" | "request.required.acks" => matches!(value, "all" | "-1"),
        "max.in.flight" | "max.in.flight.requests.per.connection" => {
            value.parse::<u64>().is_ok_and(|most| most <= 5)
        }
        "retries" | "message.send.max.retries" => value != "0",
        "queuing.strategy" => value == "fifo",
        _ => true,
    })
}

pub(super) fn client_record<'a>(
    record: &Outgoing<'a>,
    token: usize,
) -> BaseRecord<'a, [u8], [u8], usize> {
    let mut made: BaseRecord<'a, [u8], [u8], usize> =
        BaseRecord::with_opaque_to(record.topic, token);
    made.key = record.key;
    made.payload = record.value;
    made.partition = record.partition.map(|Partition(number)| number);
    made.timestamp = record
        .timestamp
        .filter(|time| time.is_known())
        .map(|time| time.millis());
    made.headers = record.headers.and_then(headers::to_client);
    made
}

/// What the serving thread keeps count in.
struct Reports {
    cluster: Cluster,
    accepted: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    /// The bytes taken and not yet decided, and how many there may be.
    in_flight: AtomicUsize,
    bound: usize,
    failures: Mutex<Failures>,
    receipts: Mutex<HashMap<usize, Receipt>>,
    on_failure: Option<OnFailure>,
    last_token: AtomicUsize,
    stop: AtomicBool,
    waiting: AtomicUsize,
    progress: (Mutex<()>, Condvar),
    /// Whether the serving thread waits for something to do.
    idle: AtomicBool,
    work: (Mutex<()>, Condvar),
}

impl Reports {
    fn new(cluster: Cluster, on_failure: Option<OnFailure>) -> Reports {
        Reports {
            accepted: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            bound: bound_of(&cluster),
            cluster,
            failures: Mutex::default(),
            receipts: Mutex::default(),
            on_failure,
            last_token: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            progress: (Mutex::new(()), Condvar::new()),
            idle: AtomicBool::new(false),
            work: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Takes room for a record; whether there was any. A record larger than the bound passes alone.
    fn reserve(&self, bytes: usize) -> bool {
        let before = self.in_flight.fetch_add(bytes, Ordering::AcqRel);
        let has_room = before == 0 || before.saturating_add(bytes) <= self.bound;
        if !has_room {
            self.in_flight.fetch_sub(bytes, Ordering::AcqRel);
        }
        has_room
    }

    fn counts(&self) -> Counts {
        // The decided first: a record is never seen decided before it is seen accepted.
        let delivered = self.delivered.load(Ordering::Acquire);
        let failed = self.failed.load(Ordering::Acquire);
        Counts {
            accepted: self.accepted.load(Ordering::Acquire),
            delivered,
            failed,
        }
    }

    /// The token that a record travels with; a receipt is kept until its record is decided.
    fn token(&self, report: &mut Report) -> usize {
        match std::mem::take(report) {
            Report::Counted => 0,
            Report::Numbered(number) => usize::try_from(number).unwrap_or(0) | NUMBERED,
            Report::Receipt(receipt) => {
                let token = self.last_token.fetch_add(1, Ordering::Relaxed) + 1;
                lock(&self.receipts).insert(token, receipt);
                token
            }
        }
    }

    fn take(&self, token: usize) -> Report {
        if token & NUMBERED != 0 {
            return Report::Numbered((token & !NUMBERED) as u64);
        }
        let receipt = (token != 0).then(|| lock(&self.receipts).remove(&token));
        receipt.flatten().map_or(Report::Counted, Report::Receipt)
    }

    /// Waits, `POLL` at most, while nothing is under way: then the client has nothing to report but its own troubles.
    fn wait_for_work(&self) {
        let (gate, signal) = &self.work;
        let gate = lock(gate);
        self.idle.store(true, Ordering::SeqCst);
        let is_idle = self.accepted.load(Ordering::SeqCst) == self.decided();
        if is_idle && !self.stop.load(Ordering::SeqCst) {
            drop(
                signal
                    .wait_timeout(gate, POLL)
                    .unwrap_or_else(PoisonError::into_inner),
            );
        }
        self.idle.store(false, Ordering::SeqCst);
    }

    fn decided(&self) -> u64 {
        self.delivered.load(Ordering::Acquire) + self.failed.load(Ordering::Acquire)
    }

    /// The serving thread looks at what is under way after it has said that it is idle; whoever changes that looks
    /// whether it is idle afterwards. So one of the two sees the other.
    fn wake_if_idle(&self) {
        if self.idle.load(Ordering::SeqCst) {
            let (gate, signal) = &self.work;
            drop(lock(gate));
            signal.notify_all();
        }
    }

    /// Waits for the next report, `most` at most. A report just before is missed: callers wait in short steps.
    fn wait(&self, most: Duration) {
        let (gate, signal) = &self.progress;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        drop(
            signal
                .wait_timeout(lock(gate), most)
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    fn fail(&self, message: &BorrowedMessage<'_>, error: &KafkaError, report: Report) {
        let action = format!("deliver a record to topic `{}`", message.topic());
        let error = kafka_error(&self.cluster, action, error);
        match (report, &self.on_failure) {
            (Report::Receipt(receipt), _) => call(|| receipt(Err(error))),
            (Report::Numbered(number), Some(on_failure)) => call(|| on_failure(number, error)),
            _ => {
                let mut failures = lock(&self.failures);
                failures.count += 1;
                if failures.count == 1 {
                    tracing::warn!(%error, topic = message.topic(), "delivery failed");
                    failures.first = error.to_string();
                }
            }
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        forward_log(&self.cluster, level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        forward_error(&self.cluster, &error, reason);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let report = self.take(token);
        let (Ok(message) | Err((_, message))) = result;
        self.in_flight
            .fetch_sub(headers::memory_of(message), Ordering::AcqRel);
        // The receipt comes before the count: who has seen everything decided has been told everything.
        match result {
            Ok(message) => {
                if let Report::Receipt(receipt) = report {
                    call(|| receipt(Ok(position(message))));
                }
                self.delivered.fetch_add(1, Ordering::AcqRel);
            }
            Err((error, message)) => {
                self.fail(message, error, report);
                self.failed.fetch_add(1, Ordering::AcqRel);
            }
        }
        if self.waiting.load(Ordering::Acquire) > 0 {
            self.progress.1.notify_all();
        }
    }
}

fn position(message: &BorrowedMessage<'_>) -> Position {
    Position {
        topic: message.topic().into(),
        partition: Partition(message.partition()),
        offset: Offset::new(message.offset()),
    }
}

/// Calls a user's receipt; a panic in it must not end the thread that serves all others.
fn call(receipt: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(receipt)).is_err() {
        tracing::error!("a delivery receipt panicked");
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Headers;

    /// Nothing is kept for a numbered record, and its failure names it all the same, once.
    #[test]
    fn the_failure_of_a_numbered_record_is_reported_with_its_number() {
        let failed = Arc::new(Mutex::new(Vec::new()));
        let to = Arc::clone(&failed);
        let on_failure = move |number: u64, _: Error| lock(&to).push(number);
        let cluster = Cluster::new("127.0.0.1:1");
        let producer = Producer::open(&cluster, Some(Box::new(on_failure))).unwrap();
        let record = Outgoing {
            topic: "out",
            partition: Some(Partition(0)),
            key: None,
            value: Some(b"line"),
            headers: None,
            timestamp: None,
        };
        for number in [7, 8] {
            let mut report = Report::Numbered(number);
            let sent = producer.send(&record, &mut report).map_err(|_| "not taken");
            assert_eq!(sent, Ok(()));
        }
        assert!(lock(&producer.client.context().receipts).is_empty());
        producer
            .client
            .purge(PurgeConfig::default().queue().inflight());
        assert_eq!(producer.drain(Duration::from_secs(60)), 0);
        assert_eq!(*lock(&failed), [7, 8]);
        let counts = producer.counts();
        assert_eq!((counts.accepted, counts.failed), (2, 2));
        assert_eq!(producer.take_failures().count, 0);
    }

    /// Effects whose headers are large: the client itself counts only keys and values.
    #[test]
    fn headers_count_against_the_bound_while_the_cluster_is_away() {
        let cluster = Cluster::new("127.0.0.1:1")
            .property(QUEUE_KBYTES, "1024")
            .unwrap();
        let producer = Producer::open(&cluster, None).unwrap();
        let headers = Headers::new().with("large", vec![0; 100_000]);
        let record = Outgoing {
            topic: "out",
            partition: None,
            key: None,
            value: Some(b"small"),
            headers: Some(&headers),
            timestamp: None,
        };
        let mut taken = 0;
        while producer.send(&record, &mut Report::Counted).is_ok() {
            taken += 1;
            assert!(taken < 100, "nothing bounds it");
        }
        assert_eq!(taken, 10, "a mebibyte of 100 kB each");
        assert_eq!(producer.counts().pending(), 10);
        let in_flight = &producer.client.context().in_flight;
        assert!(in_flight.load(Ordering::Acquire) <= 1_048_576);
        producer
            .client
            .purge(PurgeConfig::default().queue().inflight());
        assert_eq!(producer.drain(Duration::from_secs(60)), 0);
        assert_eq!(
            in_flight.load(Ordering::Acquire),
            0,
            "what was taken is given back"
        );
    }
}
