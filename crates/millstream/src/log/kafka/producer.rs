//! A producer with a thread that serves its delivery reports.
//!
//! Owns librdkafka's producer for programs that only produce. Every record taken is accounted for exactly once:
//! delivered, or failed with its reason. Reports are served by one thread, so a sender that meets a full queue
//! only has to wait. librdkafka drops what is queued when it is closed; here that is reported as a failure of each
//! record.

mod reports;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use metrics::{counter, gauge};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _, PurgeConfig};

use super::config::{Role, client_config, kafka_error};
use super::headers;
use super::lock;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Cluster;
use crate::error::{Class, Error, Outcome};
use crate::log::{Outgoing, SendError};
use crate::metrics::{EMITTER_DELIVERED, EMITTER_FAILED, EMITTER_PENDING};
use crate::topic::Partition;

pub use reports::Counts;
pub(crate) use reports::{Failures, OnFailure, Report};
use reports::{Reports, Token};

/// The property that bounds what is in flight, and what it is when the user has not set it.
const QUEUE_KBYTES: &str = "queue.buffering.max.kbytes";
const DEFAULT_KBYTES: usize = 65_536;
/// How long one who waits for a report, or for something to send, sleeps at most.
const POLL: Duration = Duration::from_millis(50);
/// How long the serving thread stays in the client, where nobody can wake it: a program that has sent everything waits for
/// it at its end.
const SERVE: Duration = Duration::from_millis(5);
/// How long what is still under way is waited for when the last handle is dropped.
const FLUSH: Duration = Duration::from_secs(5);
/// Why a closed emitter takes nothing.
pub(crate) const CLOSED: &str = "the emitter is closed";
/// How long a purge may take to report what it dropped.
const PURGE: Duration = Duration::from_secs(2);

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
            ("statistics.interval.ms", "1000"),
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
                outcome: Outcome::NotApplied,
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
        // Before anything else: whoever waits for room comes here again and again.
        if reports.closed.load(Ordering::SeqCst) {
            return Err(SendError::Failed(refused(record.topic, CLOSED)));
        }
        let bytes = record.memory();
        if bytes > reports.bound {
            let error = never_fits(record.topic, payload(record), Some(reports.bound));
            return Err(SendError::Failed(error));
        }
        if !reports.reserve(bytes) {
            return Err(SendError::Full);
        }
        // Counted first: the report may arrive before `send` returns.
        let turn = reports.accept();
        // Looked at again after it was counted: `close` waits for it, or it is refused.
        let sent = if reports.closed.load(Ordering::SeqCst) {
            Err(SendError::Failed(refused(record.topic, CLOSED)))
        } else {
            reports.wake_if_idle();
            let id = reports.keep(report);
            let token = Token { turn, id };
            let sent = self.client.send(client_record(record, token.number()));
            sent.map_err(|(error, _)| {
                *report = reports.take(id);
                self.refusal(record, &error)
            })
        };
        if sent.is_err() {
            reports.take_back(turn);
            reports.in_flight.fetch_sub(bytes, Ordering::AcqRel);
        }
        sent
    }

    /// Refuses every record from now on, also of those who wait for room.
    pub(crate) fn close(&self) {
        self.client.context().closed.store(true, Ordering::SeqCst);
        self.client.context().progress.1.notify_all();
    }

    /// Whether this is the thread that serves the reports: it must not wait for one.
    pub(crate) fn is_serving(&self) -> bool {
        let serving = self.thread.as_ref().map(|thread| thread.thread().id());
        serving == Some(std::thread::current().id())
    }

    fn refusal(&self, record: &Outgoing<'_>, error: &KafkaError) -> SendError {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) {
            return SendError::Full;
        }
        let bytes = payload(record);
        let action = format!("send a record of {bytes} bytes to topic `{}`", record.topic);
        SendError::Failed(kafka_error(&self.client.context().cluster, action, error))
    }

    /// Waits a moment for a delivery report, as a sender does that met a full queue.
    pub(crate) fn wait_for_room(&self) {
        self.client.context().wait(POLL);
    }

    /// Waits until everything taken so far is decided, `within` at most; returns how much of it is not. What others send
    /// meanwhile is not waited for.
    pub(crate) fn drain(&self, within: Duration) -> u64 {
        let reports = self.client.context();
        let last = reports.next_turn();
        let deadline = self.clock.now().plus(within);
        loop {
            let pending = reports.pending_until(last);
            let left = deadline.since(self.clock.now());
            if pending == 0 || left.is_zero() || self.is_serving() {
                return pending;
            }
            reports.wait(left.min(POLL));
        }
    }

    /// Whether any broker is connected, as of the last second.
    pub(crate) fn connected(&self) -> Option<bool> {
        *lock(&self.client.context().connected)
    }

    /// How many threads wait for a report.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        self.client.context().waiting.load(Ordering::Acquire)
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
        let reports = self.client.context();
        if self.is_serving() {
            // A receipt owned the last handle: the thread it runs on does the rest when it has returned.
            reports.stop.store(true, Ordering::SeqCst);
            reports.wake_if_idle();
            return;
        }
        // Whoever closed it has waited as long as they meant to.
        if !reports.closed.load(Ordering::SeqCst) {
            reports.flush(FLUSH, |wait| reports.wait(wait));
        }
        if self.counts().pending() > 0 {
            self.client.purge(PurgeConfig::default().queue().inflight());
            reports.flush(PURGE, |wait| reports.wait(wait));
        }
        reports.tell_lost();
        reports.stop.store(true, Ordering::SeqCst);
        reports.wake_if_idle();
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
            break;
        }
    }
    let reports = client.context();
    let poll = |wait| {
        client.poll(wait);
    };
    if reports.counts().pending() > 0 {
        reports.flush(FLUSH, poll);
        client.purge(PurgeConfig::default().queue().inflight());
        reports.flush(PURGE, poll);
        reports.tell_lost();
    }
}

/// The bytes that a user has given.
fn payload(record: &Outgoing<'_>) -> usize {
    record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len)
}

/// A record that would wait for room for ever.
pub(super) fn never_fits(topic: &str, bytes: usize, bound: Option<usize>) -> Error {
    let bound = bound.map_or_else(String::new, |bound| format!(" of {bound} bytes"));
    Error::Kafka {
        action: format!("send a record of {bytes} bytes to topic `{topic}`"),
        reason: format!("it is larger than the queue{bound}, see `{QUEUE_KBYTES}`"),
        class: Class::Refused,
        outcome: Outcome::NotApplied,
    }
}

/// A record that no broker takes.
pub(super) fn too_large(topic: &str, bytes: usize, most: usize) -> Error {
    Error::Kafka {
        action: format!("send a record of {bytes} bytes to topic `{topic}`"),
        reason: format!("a request takes {most} bytes at most"),
        class: Class::Refused,
        outcome: Outcome::NotApplied,
    }
}

/// A record that is not taken, for a reason that has nothing to do with it.
pub(crate) fn refused(topic: &str, reason: &str) -> Error {
    Error::Kafka {
        action: format!("send a record to topic `{topic}`"),
        reason: reason.to_owned(),
        class: Class::Refused,
        outcome: Outcome::NotApplied,
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

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
