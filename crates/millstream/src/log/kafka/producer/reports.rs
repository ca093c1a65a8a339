//! What became of the records of a producer: counts, receipts, and who waits for them.
//!
//! The serving thread writes here while it runs librdkafka's callbacks; senders and flushes read. Invariant: a record is counted
//! as taken before its report can come, and as decided after its receipt has returned. Records are counted by turns as well, so
//! that a flush waits for what was sent before it and for nothing else.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message as _};
use rdkafka::producer::{DeliveryResult, ProducerContext};

use super::super::config::{forward_error, forward_log, kafka_error};
use super::super::headers;
use super::super::{lock, statistics};
use super::{DEFAULT_KBYTES, POLL, QUEUE_KBYTES};
use crate::clock::{Clock as _, SystemClock};
use crate::config::Cluster;
use crate::error::Error;
use crate::record::Position;
use crate::topic::{Offset, Partition};

/// Records are counted by when they were sent: each flush begins a turn, and waits for the earlier ones. A turn that comes
/// again while records of it are under way only makes a flush wait for more.
const TURNS: usize = 64;
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

/// Set in the token of a numbered record; tokens of receipts count from 1.
const NUMBERED: usize = 1 << (usize::BITS - 1);

/// What travels with a record through the client: when it was taken, and its receipt; 0 stands for none.
#[derive(Clone, Copy)]
pub(super) struct Token {
    pub(super) turn: usize,
    pub(super) id: usize,
}

impl Token {
    pub(super) const fn number(self) -> usize {
        let low = (self.id & !NUMBERED).wrapping_mul(TURNS) + self.turn;
        low | (self.id & NUMBERED)
    }

    pub(super) const fn of(number: usize) -> Self {
        let low = number & !NUMBERED;
        Self {
            turn: low % TURNS,
            id: (low / TURNS) | (number & NUMBERED),
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

/// What the serving thread keeps count in.
pub(super) struct Reports {
    pub(super) cluster: Cluster,
    pub(super) accepted: AtomicU64,
    delivered: AtomicU64,
    failed: AtomicU64,
    /// The number of flushes so far, and what is undecided of the records of each turn.
    pub(super) turn: AtomicUsize,
    pending: [AtomicU64; TURNS],
    pub(super) closed: AtomicBool,
    clock: SystemClock,
    /// Whether any broker is connected, from the client's statistics; not known before the first of them.
    pub(super) connected: Mutex<Option<bool>>,
    /// The bytes taken and not yet decided, and how many there may be.
    pub(super) in_flight: AtomicUsize,
    pub(super) bound: usize,
    pub(super) failures: Mutex<Failures>,
    pub(super) receipts: Mutex<HashMap<usize, Receipt>>,
    on_failure: Option<OnFailure>,
    last_receipt: AtomicUsize,
    pub(super) stop: AtomicBool,
    pub(super) waiting: AtomicUsize,
    pub(super) progress: (Mutex<()>, Condvar),
    /// Whether the serving thread waits for something to do.
    idle: AtomicBool,
    work: (Mutex<()>, Condvar),
}

impl Reports {
    pub(super) fn new(cluster: Cluster, on_failure: Option<OnFailure>) -> Reports {
        Reports {
            accepted: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            turn: AtomicUsize::new(0),
            pending: [const { AtomicU64::new(0) }; TURNS],
            closed: AtomicBool::new(false),
            clock: SystemClock::new(),
            connected: Mutex::default(),
            in_flight: AtomicUsize::new(0),
            bound: bound_of(&cluster),
            cluster,
            failures: Mutex::default(),
            receipts: Mutex::default(),
            on_failure,
            last_receipt: AtomicUsize::new(0),
            stop: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            progress: (Mutex::new(()), Condvar::new()),
            idle: AtomicBool::new(false),
            work: (Mutex::new(()), Condvar::new()),
        }
    }

    /// Takes room for a record; whether there was any.
    pub(super) fn reserve(&self, bytes: usize) -> bool {
        let before = self.in_flight.fetch_add(bytes, Ordering::AcqRel);
        let has_room = before.saturating_add(bytes) <= self.bound;
        if !has_room {
            self.in_flight.fetch_sub(bytes, Ordering::AcqRel);
        }
        has_room
    }

    pub(super) fn counts(&self) -> Counts {
        // The decided first: a record is never seen decided before it is seen accepted.
        let delivered = self.delivered.load(Ordering::Acquire);
        let failed = self.failed.load(Ordering::Acquire);
        Counts {
            accepted: self.accepted.load(Ordering::Acquire),
            delivered,
            failed,
        }
    }

    /// Counts a record as taken; returns its turn.
    pub(super) fn accept(&self) -> usize {
        self.accepted.fetch_add(1, Ordering::SeqCst);
        let turn = self.turn.load(Ordering::SeqCst) % TURNS;
        if let Some(pending) = self.pending.get(turn) {
            pending.fetch_add(1, Ordering::SeqCst);
        }
        turn
    }

    /// The client has not taken it after all.
    pub(super) fn take_back(&self, turn: usize) {
        self.accepted.fetch_sub(1, Ordering::AcqRel);
        self.decide(turn);
    }

    pub(super) fn decide(&self, turn: usize) {
        if let Some(pending) = self.pending.get(turn) {
            pending.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Ends the turn; what is taken from now on belongs to the next.
    pub(super) fn next_turn(&self) -> usize {
        self.turn.fetch_add(1, Ordering::SeqCst)
    }

    /// What is undecided of the turn `last` and of those before.
    pub(super) fn pending_until(&self, last: usize) -> u64 {
        let later = self.turn.load(Ordering::SeqCst).saturating_sub(last);
        let is_later = |at: usize| {
            let after = (at + TURNS - last % TURNS) % TURNS;
            after > 0 && after <= later
        };
        let turns = self.pending.iter().enumerate();
        let until = turns.filter(|(at, _)| !is_later(*at));
        until
            .map(|(_, pending)| pending.load(Ordering::SeqCst))
            .sum()
    }

    /// Until nothing is undecided, `within` at most; `wait` waits for a report.
    pub(super) fn flush(&self, within: Duration, wait: impl Fn(Duration)) {
        let deadline = self.clock.now().plus(within);
        while self.counts().pending() > 0 && self.clock.now() < deadline {
            wait(POLL);
        }
    }

    pub(super) fn tell_lost(&self) {
        let lost = self.counts().pending();
        if lost > 0 {
            tracing::error!(lost, "records dropped without a report");
        }
    }

    /// What goes into the token of a record; a receipt is kept until its record is decided.
    pub(super) fn keep(&self, report: &mut Report) -> usize {
        match std::mem::take(report) {
            Report::Counted => 0,
            Report::Numbered(number) => usize::try_from(number).unwrap_or(0) | NUMBERED,
            Report::Receipt(receipt) => {
                let token = self.last_receipt.fetch_add(1, Ordering::Relaxed) + 1;
                lock(&self.receipts).insert(token, receipt);
                token
            }
        }
    }

    pub(super) fn take(&self, id: usize) -> Report {
        if id & NUMBERED != 0 {
            return Report::Numbered((id & !NUMBERED) as u64);
        }
        let receipt = (id != 0).then(|| lock(&self.receipts).remove(&id));
        receipt.flatten().map_or(Report::Counted, Report::Receipt)
    }

    /// Waits, `POLL` at most, while nothing is under way: then the client has nothing to report but its own troubles.
    pub(super) fn wait_for_work(&self) {
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
    pub(super) fn wake_if_idle(&self) {
        if self.idle.load(Ordering::SeqCst) {
            let (gate, signal) = &self.work;
            drop(lock(gate));
            signal.notify_all();
        }
    }

    /// Waits for the next report, `most` at most. A report just before is missed: callers wait in short steps.
    pub(super) fn wait(&self, most: Duration) {
        let (gate, signal) = &self.progress;
        self.waiting.fetch_add(1, Ordering::AcqRel);
        drop(
            signal
                .wait_timeout(lock(gate), most)
                .unwrap_or_else(PoisonError::into_inner),
        );
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn fail(&self, message: &BorrowedMessage<'_>, error: &KafkaError, report: Report) {
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

    fn stats_raw(&self, statistics: &[u8]) {
        if let Ok(found) = serde_json::from_slice(statistics) {
            let connected = statistics::of_interest(found).connected;
            *lock(&self.connected) = Some(connected);
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let Token { turn, id } = Token::of(number);
        let report = self.take(id);
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
        self.decide(turn);
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
