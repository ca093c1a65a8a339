//! A typed producer for programs that only produce.
//!
//! Records are encoded at once and sent in the background, idempotently and to all replicas unless the cluster's
//! properties say otherwise. A full queue makes the sender wait, so memory is bounded (64 MiB). No failure is
//! silent: each record either has a receipt that is called exactly once, or its failure is returned by the next
//! [`Emitter::flush`]. Dropping the last handle flushes for 5 s; what is then undecided is given up, within 2 s, and counted in the log.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use crate::codec::Encodable;
use crate::config::Cluster;
use crate::draft::Draft;
use crate::error::Error;
pub use crate::log::kafka::producer::Counts;
use crate::log::kafka::producer::{CLOSED, OnFailure, Producer, Report, refused};
use crate::log::{Outgoing, SendError};
use crate::record::Position;
use crate::topic::Topic;

/// A buffer that one huge record has grown is given back above this size.
const KEPT_BYTES: usize = 1 << 20;
/// Why `send_and_wait` fails in a receipt.
const NO_WAIT: &str =
    "a receipt cannot wait for a delivery, because it runs on the thread that reports them";
/// Why a full queue is an error in a receipt.
const NO_ROOM: &str = "the queue is full and a receipt cannot wait for room, because it runs on the thread that makes it";

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
pub struct Emitter(Arc<Producer>);

impl Emitter {
    /// Makes a producer for `cluster`. It connects in the background; while no broker can be reached, records wait.
    ///
    /// # Errors
    /// An address or a combination of properties is refused.
    pub fn new(cluster: &Cluster) -> Result<Emitter, Error> {
        Self::open(cluster, None)
    }

    /// As [`Emitter::new`]; `failed` is called, by a thread of the emitter, with the number of each record that was sent by
    /// [`Draft::send_numbered`] and not delivered. It must be short, and is bound as a receipt is.
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
        Ok(Emitter(Arc::new(producer)))
    }

    /// Sends a record; what becomes of it is counted, and a failure is returned by the next [`Emitter::flush`]. The key and
    /// the value are what the topic declares, or what that borrows as: `"ann"` for a `String`.
    ///
    /// Blocks while the queue is full, until the cluster has acknowledged or the client has given up on enough of it.
    ///
    /// # Errors
    /// The codec refuses the key or value, the record is too large or larger than the queue, or the emitter is closed.
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

    /// Blocks until every record sent before is acknowledged or has failed, for `within` at most. Records that other threads send
    /// meanwhile are not waited for. In a receipt it does not block, because nothing is acknowledged before the receipt returns.
    ///
    /// # Errors
    /// [`Error::Undelivered`] when records without a receipt failed since the last flush, or when `within` passed
    /// first; those may still be delivered.
    pub fn flush(&self, within: Duration) -> Result<(), Error> {
        let pending = self.0.drain(within);
        let failures = self.0.take_failures();
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

    /// Refuses further records on every handle, also of threads that wait for room, then flushes: blocks for `within` at most.
    ///
    /// # Errors
    /// As [`Emitter::flush`].
    pub fn close(self, within: Duration) -> Result<Counts, Error> {
        self.0.close();
        self.flush(within)?;
        Ok(self.counts())
    }

    /// Whether any broker is connected, as of the last second; `None` before that is known.
    #[must_use]
    pub fn connected(&self) -> Option<bool> {
        self.0.connected()
    }

    /// How many records were taken, delivered and failed, over all handles.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }
}

impl std::fmt::Debug for Emitter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Emitter")
            .field("counts", &self.counts())
            .finish_non_exhaustive()
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
    /// Receipts must be short; while one runs no other report is served. A receipt may send, but not wait: if the queue is full
    /// its [`send`](Self::send) fails instead of blocking.
    ///
    /// # Errors
    /// As [`Emitter::send`]; the receipt is then not called.
    pub fn send_then(
        self,
        receipt: impl FnOnce(Result<Position, Error>) + Send + 'static,
    ) -> Result<(), Error> {
        self.hand_over(Report::Receipt(Box::new(receipt)))
    }

    /// Sends it; a failure is reported with this number, which is below 2^57, to the function that [`Emitter::on_failure`] was
    /// given. Cheaper than a receipt: nothing is kept for the record.
    ///
    /// # Errors
    /// As [`Emitter::send`]; the function is then not called.
    pub fn send_numbered(self, number: u64) -> Result<(), Error> {
        self.hand_over(Report::Numbered(number))
    }

    /// Sends it and blocks until it is acknowledged or has failed. For a few records only: each costs a round trip. Not in a
    /// receipt, where it fails.
    ///
    /// # Errors
    /// As [`Emitter::send`], or why the delivery failed.
    pub fn send_and_wait(self) -> Result<Position, Error> {
        let (told, outcome) = mpsc::sync_channel(1);
        let topic = self.topic;
        if self.to.0.is_serving() {
            return Err(refused(topic, NO_WAIT));
        }
        self.send_then(move |result| {
            // The receiver waits below for as long as the emitter lives.
            let _ = told.send(result);
        })?;
        outcome
            .recv()
            .unwrap_or_else(|_| Err(refused(topic, CLOSED)))
    }

    fn hand_over(self, mut report: Report) -> Result<(), Error> {
        let payload = self.payload?;
        let producer = &self.to.0;
        let record = Outgoing {
            topic: self.topic,
            partition: self.partition,
            key: payload.key(),
            value: payload.value(),
            headers: (!self.headers.is_empty()).then_some(&*self.headers),
            timestamp: self.timestamp,
        };
        let sent = loop {
            match producer.send(&record, &mut report) {
                Ok(()) => break Ok(()),
                Err(SendError::Failed(error)) => break Err(error),
                Err(SendError::Full) if producer.is_serving() => {
                    break Err(refused(self.topic, NO_ROOM));
                }
                Err(SendError::Full) => producer.wait_for_room(),
            }
        };
        keep(payload.into_buffer());
        sent
    }
}

/// Keeps a thread's buffer for its next record.
fn keep(buffer: Vec<u8>) {
    if buffer.capacity() <= KEPT_BYTES {
        BUFFER.set(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{NoKey, Raw};
    use crate::testing::eventually;

    const PATIENCE: Duration = Duration::from_secs(60);

    /// The usual case: the queue is full by bytes, long before it is by records.
    #[test]
    fn a_close_refuses_those_who_wait_for_room() {
        static BLOBS: Topic<(), Vec<u8>> = Topic::new("blobs", &NoKey, &Raw);
        for (limit, most) in [("kbytes", "1024"), ("messages", "1")] {
            let cluster = Cluster::new("127.0.0.1:1")
                .property(format!("queue.buffering.max.{limit}"), most)
                .unwrap();
            let emitter = Emitter::new(&cluster).unwrap();
            let blob = vec![0; 600_000];
            emitter.send(&BLOBS, &(), &blob).unwrap();
            let (other, told) = (emitter.clone(), mpsc::channel());
            std::thread::spawn(move || told.0.send(other.send(&BLOBS, &(), &blob)));
            eventually(PATIENCE, "the other one waits", || emitter.0.waiting() > 0);
            emitter.0.close();
            let refused = told.1.recv_timeout(PATIENCE).expect("it waits no longer");
            let error = refused.unwrap_err().to_string();
            assert!(error.ends_with(": the emitter is closed"), "{error}");
            let error = emitter.close(Duration::ZERO).unwrap_err().to_string();
            assert!(error.contains("1 more are undecided"), "{error}");
        }
    }

    #[test]
    fn a_thread_does_not_keep_the_memory_of_its_largest_record() {
        keep(Vec::with_capacity(KEPT_BYTES));
        assert!(BUFFER.take().capacity() >= KEPT_BYTES);
        keep(Vec::with_capacity(10_000_000));
        assert_eq!(BUFFER.take().capacity(), 0);
    }
}
