//! A typed producer for programs that only produce.
//!
//! Records are encoded at once and sent in the background, idempotently and to all replicas unless the cluster's
//! properties say otherwise. A full queue makes the sender wait, so memory is bounded (64 MiB). No failure is
//! silent: each record either has a receipt that is called exactly once, or its failure is returned by the next
//! [`Emitter::flush`]. Dropping the last handle flushes for 5 s at most and then logs how many records were not delivered.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use crate::codec::Encodable;
use crate::config::Cluster;
use crate::draft::Draft;
use crate::error::{Class, Error, Outcome};
pub use crate::log::kafka::producer::Counts;
use crate::log::kafka::producer::{OnFailure, Producer, Report};
use crate::log::{Outgoing, SendError};
use crate::record::Position;
use crate::topic::Topic;

/// How long dropping the last handle waits for what is still under way.
const DROP_WITHIN: Duration = Duration::from_secs(5);

thread_local! {
    /// The buffer of the thread that encodes, kept between records.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A handle to a producer; clones share it and may be used by any number of threads.
///
/// ```no_run
/// use std::time::Duration;
/// use millstream::codec::{Json, Text};
/// use millstream::{Cluster, Emitter, Topic};
///
/// static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json);
///
/// let emitter = Emitter::new(&Cluster::new("127.0.0.1:9092"))?;
/// for reading in [20.5, 20.7] {
///     emitter.send(&READINGS, "kitchen", &reading)?;
/// }
/// emitter.flush(Duration::from_secs(10))?;
/// assert_eq!(emitter.counts().delivered, 2);
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Emitter(Arc<Shared>);

struct Shared {
    producer: Producer,
    closed: AtomicBool,
}

impl Emitter {
    /// Makes a producer for `cluster`. It connects in the background; while no broker can be reached, records wait.
    ///
    /// # Errors
    /// An address or a combination of properties is refused.
    pub fn new(cluster: &Cluster) -> Result<Emitter, Error> {
        Self::open(cluster, None)
    }

    /// As [`Emitter::new`]; `failed` is called, by a thread of the emitter, with the number of each record that was sent by
    /// [`Draft::send_numbered`] and not delivered. It must be short.
    ///
    /// # Errors
    /// As [`Emitter::new`].
    pub fn on_failure(
        cluster: &Cluster,
        failed: impl Fn(u64, Error) + Send + Sync + 'static,
    ) -> Result<Emitter, Error> {
        Self::open(cluster, Some(Box::new(failed)))
    }

    fn open(cluster: &Cluster, on_failure: Option<OnFailure>) -> Result<Emitter, Error> {
        let producer = Producer::open(cluster, on_failure)?;
        Ok(Emitter(Arc::new(Shared {
            producer,
            closed: AtomicBool::new(false),
        })))
    }

    /// Sends a record; what becomes of it is counted, and a failure is returned by the next [`Emitter::flush`]. The key and
    /// the value are what the topic declares, or what that borrows as: `"ann"` for a `String`.
    ///
    /// Blocks while the queue is full, until the cluster has acknowledged or the client has given up on enough of it.
    ///
    /// # Errors
    /// The codec refuses the key or value, the record is too large, or the emitter is closed.
    pub fn send<K, V>(
        &self,
        topic: &Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
    ) -> Result<(), Error> {
        self.record(topic, key, value).send()
    }

    /// A record to be sent with headers, a time, a partition or a receipt of its own: see [`Draft`].
    pub fn record<'a, K, V>(
        &'a self,
        topic: &'a Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
    ) -> Draft<'a, &'a Emitter> {
        let mut buffer = BUFFER.take();
        buffer.clear();
        Draft::new(self, topic, key, value, buffer)
    }

    /// Blocks until every record sent before is acknowledged or has failed, for `within` at most.
    ///
    /// # Errors
    /// [`Error::Undelivered`] when records without a receipt failed since the last flush, or when `within` passed
    /// first; those may still be delivered.
    pub fn flush(&self, within: Duration) -> Result<(), Error> {
        let pending = self.0.producer.drain(within);
        let failures = self.0.producer.take_failures();
        if pending == 0 && failures.count == 0 {
            return Ok(());
        }
        let reason = if failures.count > 0 {
            failures.first
        } else {
            format!("no answer within {} ms", within.as_millis())
        };
        Err(Error::Undelivered {
            failed: failures.count,
            pending,
            reason,
        })
    }

    /// Refuses further records on every handle, then flushes: blocks for `within` at most.
    ///
    /// # Errors
    /// As [`Emitter::flush`].
    pub fn close(self, within: Duration) -> Result<Counts, Error> {
        self.0.closed.store(true, Ordering::Release);
        self.flush(within)?;
        Ok(self.counts())
    }

    /// How many records were taken, delivered and failed, over all handles.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.producer.counts()
    }
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emitter")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let pending = self.producer.drain(DROP_WITHIN);
        if pending > 0 {
            tracing::error!(
                pending,
                "emitter dropped with records that were not delivered"
            );
        }
    }
}

impl Draft<'_, &Emitter> {
    /// Sends it, as [`Emitter::send`].
    ///
    /// # Errors
    /// As [`Emitter::send`].
    pub fn send(self) -> Result<(), Error> {
        self.hand_over(Report::Counted)
    }

    /// Sends it and has `receipt` called once, by a thread of the emitter: with its position, or why it failed.
    /// Receipts must be short; while one runs no other report is served.
    ///
    /// # Errors
    /// As [`Emitter::send`]; the receipt is then not called.
    pub fn send_then(
        self,
        receipt: impl FnOnce(Result<Position, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.hand_over(Report::Receipt(Box::new(receipt)))
    }

    /// Sends it; a failure is reported with this number, which is below 2^63, to the function that [`Emitter::on_failure`] was
    /// given. Cheaper than a receipt: nothing is kept for the record.
    ///
    /// # Errors
    /// As [`Emitter::send`]; the function is then not called.
    pub fn send_numbered(self, number: u64) -> Result<(), Error> {
        self.hand_over(Report::Numbered(number))
    }

    /// Sends it and blocks until it is acknowledged or has failed. For a few records only: each costs a round trip.
    ///
    /// # Errors
    /// As [`Emitter::send`], or why the delivery failed.
    pub fn send_and_wait(self) -> Result<Position, Error> {
        let (told, outcome) = mpsc::sync_channel(1);
        let topic = self.topic;
        self.send_then(move |result| {
            // The receiver waits below for as long as the emitter lives.
            let _ = told.send(result);
        })?;
        outcome.recv().unwrap_or_else(|_| Err(closed(topic)))
    }

    fn hand_over(self, mut report: Report) -> Result<(), Error> {
        let payload = self.payload?;
        let shared = &self.to.0;
        if shared.closed.load(Ordering::Acquire) {
            return Err(closed(self.topic));
        }
        let record = Outgoing {
            topic: self.topic,
            partition: self.partition,
            key: payload.key(),
            value: payload.value(),
            headers: (!self.headers.is_empty()).then_some(&*self.headers),
            timestamp: self.timestamp,
        };
        let sent = loop {
            match shared.producer.send(&record, &mut report) {
                Ok(()) => break Ok(()),
                Err(SendError::Failed(error)) => break Err(error),
                Err(SendError::Full) => shared.producer.wait_for_room(),
            }
        };
        BUFFER.set(payload.into_buffer());
        sent
    }
}

fn closed(topic: &str) -> Error {
    Error::Kafka {
        action: format!("send a record to topic `{topic}`"),
        reason: "the emitter is closed".to_owned(),
        class: Class::Refused,
        outcome: Outcome::NotApplied,
    }
}
