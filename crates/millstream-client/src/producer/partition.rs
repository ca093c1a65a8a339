//! The batches of one partition, from the first record to the acknowledgement, in order and each once.
//!
//! The rules, of which each cures a way in which other clients wrote twice, lost or reordered:
//! - After any failure nothing is sent until everything in flight is answered; then all is sent again in order, with the same sequences.
//! - Sequences change only together with the epoch, which fences copies of old requests that are still on their way (KIP-360). The epoch is the
//!   partition's own: a bump here makes no other partition fail.
//! - OUT_OF_ORDER is a loss of the broker's state only for the oldest batch; for a later one it follows from an earlier failure.
//! - A batch that may be in the log keeps its sequence until the broker has said what became of it. If it is given up, its outcome is unknown.
//! - A batch of which a copy may still be on its way is never numbered anew: it could then be written twice.
//! - A batch that its topic finds too large goes again in halves, with the same sequences.
//! - The first batch of an epoch, or after a pause, goes alone: a broker without a state for this producer accepts any sequence,
//!   so a second batch could otherwise overtake the first.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;

use super::batch::{Batch, Content, State, after};
use super::{Given, Limits};
use crate::clock::{Time, backoff};
use crate::error::{Error, Outcome};
use crate::wire::batch::Producer as Stamp;
use crate::wire::builder::{Builder, HeaderPair};

/// Batches of one partition in flight, at most: a broker remembers the last five.
const WINDOW: usize = 5;
/// After a pause of this length the next batch goes alone.
const SETTLED: Duration = Duration::from_secs(60);

/// What became of consecutive records.
#[derive(Debug)]
pub(crate) struct Delivered {
    pub(crate) first: u64,
    pub(crate) count: i32,
    pub(crate) size: usize,
    pub(crate) result: Result<i64, Undelivered>,
}

/// Why records were not delivered.
#[derive(Debug)]
pub(crate) struct Undelivered {
    pub(crate) reason: String,
    pub(crate) outcome: Outcome,
}

/// What a response said of a batch.
#[derive(Debug)]
pub(crate) enum Verdict {
    Written(i64),
    Failed(ResponseError),
    /// No answer; the broker may have it.
    Lost,
    NotSent,
    Impossible(Error),
}

/// All that waits for one partition.
#[derive(Debug, Default)]
pub(crate) struct Partition {
    open: Option<(Builder, Time)>,
    queue: VecDeque<Batch>,
    /// The number of the next record.
    next: u64,
    identity: Option<(i64, i16)>,
    /// The producer id of which this partition has used all epochs.
    exhausted: Option<i64>,
    sequence: i32,
    in_flight: usize,
    /// Nothing was in flight at the last look, so what waits could have gone out since.
    free: bool,
    /// Something failed: nothing goes out until everything in flight is answered.
    recovering: bool,
    /// A sequence is missing for good, so those behind it must be numbered anew.
    gap: bool,
    /// The last acknowledgement of this epoch.
    settled: Option<Time>,
    retry_at: Time,
    attempts: u32,
    /// Bytes of a batch that its topic takes, once it has refused a larger one.
    most: Option<usize>,
    pub(crate) delivered: Vec<Delivered>,
}

impl Partition {
    /// Encodes a record into the open batch. Returns its number and the bytes it took.
    pub(crate) fn append(
        &mut self,
        given: &Given<'_>,
        headers: &[HeaderPair<'_>],
        most: usize,
        limits: &Limits,
    ) -> (u64, usize) {
        let size = limits.batch_size.min(self.most.unwrap_or(usize::MAX));
        if let Some((builder, _)) = &self.open
            && (builder.size() + most > size || builder.is_full())
        {
            self.close();
        }
        let (builder, _) = self
            .open
            .get_or_insert_with(|| (Builder::with_capacity(limits.room), (given.now)()));
        let before = builder.size();
        builder.append(given.timestamp, given.key, given.value, headers);
        let taken = if builder.count() == 1 {
            builder.size()
        } else {
            builder.size() - before
        };
        let number = self.next;
        self.next += 1;
        (number, taken)
    }

    /// Whether nothing waits and nothing is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && self.queue.is_empty()
    }

    /// Whether a batch is complete, so that it goes without waiting.
    pub(crate) fn has_closed(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Ends the open batch; it takes no more records.
    fn close(&mut self) {
        let Some((builder, created)) = self.open.take() else {
            return;
        };
        let count = builder.count();
        let first = self.next.saturating_sub(u64::from(count.unsigned_abs()));
        self.queue.push_back(Batch {
            size: builder.size(),
            content: Content::Plain(builder),
            first,
            count,
            created,
            state: State::Waiting,
            stamp: None,
            doubt: false,
            astray: false,
        });
    }

    /// Ends the open batch when it is due, and gives up what is too old.
    pub(crate) fn tick(&mut self, now: Time, limits: &Limits) {
        let due = |created: Time| limits.hurry || now >= created + limits.linger;
        if self.open.as_ref().is_some_and(|(_, created)| due(*created)) {
            self.close();
        }
        // What is in flight is answered first, or lost with its connection: earlier nothing is known of it.
        while self.in_flight == 0
            && let Some(batch) = self.queue.pop_front_if(|batch| {
                let had_a_chance = self.free || batch.stamp.is_some();
                had_a_chance && batch.created + limits.delivery_timeout <= now
            })
        {
            self.gap |= batch.stamp.is_some();
            let millis = limits.delivery_timeout.as_millis();
            let reason = format!("not acknowledged within `delivery.timeout.ms` of {millis}");
            self.fail(batch, reason);
            self.settle();
        }
        self.free = self.in_flight == 0;
    }

    /// The moments at which it wants to act.
    pub(crate) fn wake_at(&self, limits: &Limits) -> impl Iterator<Item = Time> {
        let linger = self.open.as_ref().map(|(_, at)| *at + limits.linger);
        let waiting = self.queue.front().filter(|_| self.in_flight == 0);
        let expiry = waiting.map(|batch| batch.created + limits.delivery_timeout);
        let retry = waiting.filter(|_| self.recovering).map(|_| self.retry_at);
        [linger, expiry, retry].into_iter().flatten()
    }

    /// The next batch to send, its number and its bytes. `id` is the producer's, with the epoch that a partition begins with.
    pub(crate) fn take(
        &mut self,
        now: Time,
        id: (i64, i16),
        limits: &Limits,
    ) -> Option<(u64, Bytes)> {
        if self.gap && limits.transactional {
            // The transaction is aborted, and the next one has another epoch.
            return None;
        }
        if self.recovering {
            if self.in_flight > 0 || now < self.retry_at {
                return None;
            }
            self.recovering = false;
        }
        if self.gap && self.in_flight == 0 && self.queue.front().is_none_or(|front| !front.doubt) {
            self.bump();
        }
        if self.is_exhausted(id.0) {
            return None;
        }
        let settled = self.settled.is_some_and(|at| now < at + SETTLED);
        let window = if settled && !self.gap { WINDOW } else { 1 };
        let waiting = |batch: &&mut Batch| batch.state == State::Waiting;
        let batch = self.queue.iter_mut().take(window).find(waiting)?;
        let (id, epoch) = *self.identity.get_or_insert(id);
        let stamp = *batch.stamp.get_or_insert_with(|| {
            let stamp = Stamp {
                id,
                epoch,
                sequence: self.sequence,
            };
            self.sequence = after(self.sequence, batch.count);
            stamp
        });
        let first = batch.first;
        match batch.seal(stamp, limits) {
            Ok(bytes) => {
                batch.state = State::InFlight;
                self.in_flight += 1;
                self.free = false;
                Some((first, bytes))
            }
            Err(error) => {
                self.give_up(first, error.to_string());
                None
            }
        }
    }

    /// Whether its epochs are used up, so that it needs another producer id.
    pub(crate) fn is_exhausted(&self, id: i64) -> bool {
        self.exhausted == Some(id)
    }

    /// Starts the sequence at 0 in a new epoch. What may be in the log, or may still get there, is given up.
    fn bump(&mut self) {
        let queue = std::mem::take(&mut self.queue);
        for batch in queue {
            if batch.astray {
                let reason = "the broker no longer knows whether it was written".to_owned();
                self.fail(batch, reason);
            } else {
                self.queue.push_back(batch);
            }
        }
        self.gap = false;
        self.settled = None;
        self.sequence = 0;
        match &mut self.identity {
            Some((id, epoch)) if *epoch == i16::MAX => {
                self.exhausted = Some(*id);
                self.identity = None;
            }
            Some((_, epoch)) => *epoch += 1,
            None => {}
        }
        for batch in &mut self.queue {
            batch.stamp = None;
            batch.doubt = false;
        }
    }

    /// Begins the sequence anew, in an epoch that is given.
    pub(crate) fn begin_epoch(&mut self) {
        self.identity = None;
        self.gap = false;
        self.settled = None;
        self.sequence = 0;
    }

    /// Takes what a response said of the batch whose first record has this number.
    pub(crate) fn answered(
        &mut self,
        first: u64,
        verdict: Verdict,
        now: Time,
        first_backoff: Time,
        limits: &Limits,
    ) {
        let Some(place) = self.queue.iter().position(|batch| batch.first == first) else {
            return;
        };
        let Some(batch) = self.queue.get_mut(place) else {
            return;
        };
        if batch.state != State::InFlight {
            return;
        }
        self.in_flight = self.in_flight.saturating_sub(1);
        batch.state = State::Waiting;
        let next = match verdict {
            Verdict::Written(offset) => {
                batch.state = State::Done(offset);
                self.settled = Some(now);
                self.attempts = 0;
                self.settle();
                return;
            }
            Verdict::NotSent => Next::Again,
            Verdict::Lost => Next::Doubt,
            Verdict::Impossible(error) => Next::Refused(error.to_string()),
            Verdict::Failed(code) => match next(code, place == 0) {
                // Written again it could be there twice; and the sequences of a transaction are not begun anew in it.
                Next::Renumber if batch.astray || limits.transactional => {
                    Next::Refused(code.to_string())
                }
                Next::TooLarge if batch.count > 1 => Next::Split,
                Next::TooLarge => Next::Refused(code.to_string()),
                next => next,
            },
        };
        self.recovering = true;
        match next {
            Next::Again => self.pause(now, first_backoff),
            Next::Doubt => {
                batch.doubt = true;
                batch.astray = true;
                self.pause(now, first_backoff);
            }
            Next::OutOfOrder => batch.doubt = false,
            Next::Renumber => {
                batch.doubt = false;
                self.gap = true;
            }
            Next::Split => self.split(place, limits),
            Next::TooLarge => {}
            Next::Refused(reason) => self.give_up(first, reason),
        }
    }

    /// A batch will not be written; what is behind it needs another epoch.
    fn give_up(&mut self, first: u64, reason: String) {
        let place = self.queue.iter().position(|batch| batch.first == first);
        if let Some(batch) = place.and_then(|place| self.queue.remove(place)) {
            self.gap = true;
            self.fail(batch, reason);
        }
        self.settle();
    }

    /// Two batches in the place of one: nothing of it is in the log, so the sequences stay what they were.
    fn split(&mut self, place: usize, limits: &Limits) {
        let Some(batch) = self.queue.get(place) else {
            return;
        };
        self.most = Some(batch.size / 2);
        if let Some((one, other)) = batch.halves() {
            self.queue.remove(place);
            self.queue.insert(place, other);
            self.queue.insert(place, one);
        } else {
            let (first, limit) = (batch.first, limits.batch_size);
            self.give_up(first, format!("the topic takes no batch of {limit} bytes"));
        }
    }

    fn pause(&mut self, now: Time, first: Time) {
        self.retry_at = self.retry_at.max(now + backoff(first, self.attempts));
        self.attempts = self.attempts.saturating_add(1);
    }

    fn fail(&mut self, batch: Batch, reason: String) {
        let outcome = if batch.astray {
            Outcome::Unknown
        } else {
            Outcome::NotApplied
        };
        self.delivered.push(Delivered {
            first: batch.first,
            count: batch.count,
            size: batch.size,
            result: Err(Undelivered { reason, outcome }),
        });
    }

    /// Reports what is acknowledged, in order.
    fn settle(&mut self) {
        while let Some(batch) = self
            .queue
            .pop_front_if(|batch| matches!(batch.state, State::Done(_)))
        {
            let offset = match batch.state {
                State::Done(offset) => offset,
                State::Waiting | State::InFlight => -1,
            };
            self.delivered.push(Delivered {
                first: batch.first,
                count: batch.count,
                size: batch.size,
                result: Ok(offset),
            });
        }
    }

    /// Gives everything up that is not in flight.
    pub(crate) fn fail_all(&mut self, reason: &str) {
        self.close();
        if self.in_flight > 0 {
            return;
        }
        while let Some(batch) = self.queue.front() {
            if matches!(batch.state, State::Done(_)) {
                self.settle();
            } else if let Some(batch) = self.queue.pop_front() {
                self.gap |= batch.stamp.is_some();
                self.fail(batch, reason.to_owned());
            }
        }
    }
}

/// What follows from an error.
#[derive(Debug)]
enum Next {
    /// It is not in the log; again.
    Again,
    /// It may be in the log; again.
    Doubt,
    /// It is not in the log because an earlier one is not; again.
    OutOfOrder,
    /// The broker does not know what came before; again, in a new epoch.
    Renumber,
    /// Not in the log, and never will be as one batch.
    TooLarge,
    /// Again, in halves.
    Split,
    /// Not in the log, and never will be.
    Refused(String),
}

fn next(code: ResponseError, oldest: bool) -> Next {
    match code {
        ResponseError::OutOfOrderSequenceNumber if !oldest => Next::OutOfOrder,
        ResponseError::OutOfOrderSequenceNumber
        | ResponseError::UnknownProducerId
        | ResponseError::InvalidProducerEpoch => Next::Renumber,
        ResponseError::NotEnoughReplicas
        | ResponseError::UnknownTopicOrPartition
        | ResponseError::ThrottlingQuotaExceeded
        | ResponseError::CorruptMessage => Next::Again,
        ResponseError::MessageTooLarge | ResponseError::RecordListTooLarge => Next::TooLarge,
        ResponseError::UnknownServerError => Next::Doubt,
        code if code.is_retriable() => Next::Doubt,
        code => Next::Refused(code.to_string()),
    }
}
