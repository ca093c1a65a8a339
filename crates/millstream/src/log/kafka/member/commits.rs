//! Commits that are answered, one at a time.
//!
//! rdkafka commits without an answer or blocks without a bound; librdkafka itself answers a commit that has a queue of its own.
//! A second commit begins only when the first was answered: librdkafka repeats one that was refused, after others that were
//! made meanwhile, and the position would go back. Invariants of the `unsafe` code: the queue belongs to the consumer beside
//! it, is destroyed once, and before that consumer; an event is destroyed once, by who took it.
#![expect(
    unsafe_code,
    reason = "rdkafka does not know commits with a queue of their own"
)]

use std::cell::RefCell;
use std::ffi::c_int;
use std::ptr::{self, NonNull};
use std::time::Duration;

use rdkafka::bindings;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use super::super::config::code_error;
use super::super::offsets;
use super::Member;
use super::signals::{Signal, Signals};
use crate::clock::Clock as _;
use crate::error::Error;
use crate::log::Event;
use crate::topic::{NextOffset, TopicPartition};

/// How long a commit is waited for at a time; whoever waits for it tries again as long as there is time.
const COMMIT_WITHIN: Duration = Duration::from_secs(1);

type Offsets = Vec<(TopicPartition, NextOffset)>;

/// The commit that is under way, if there is one.
pub(super) struct Commits {
    queue: NonNull<bindings::rd_kafka_queue_t>,
    under_way: RefCell<Option<Offsets>>,
}

/// What became of a commit.
pub(super) struct Answer {
    pub(super) offsets: Offsets,
    pub(super) error: Option<RDKafkaErrorCode>,
}

impl Commits {
    pub(super) fn new(consumer: &BaseConsumer<Signals>) -> Result<Self, KafkaError> {
        // SAFETY: the consumer is alive, and outlives the queue: see `Member`.
        let queue = unsafe { bindings::rd_kafka_queue_new(consumer.client().native_ptr()) };
        let none = || KafkaError::ClientCreation("no queue for commits".to_owned());
        Ok(Self {
            queue: NonNull::new(queue).ok_or_else(none)?,
            under_way: RefCell::new(None),
        })
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.borrow().is_some()
    }

    /// Hands a commit on. The one before must have been answered.
    pub(super) fn begin(
        &self,
        consumer: &BaseConsumer<Signals>,
        positions: &[(TopicPartition, NextOffset)],
    ) -> Result<(), KafkaError> {
        let list = offsets::list_of(positions.iter().map(|(at, offset)| (at, *offset)))?;
        // SAFETY: client, list and queue live during the call; the list is copied. Without a callback the answer is an event.
        let code = unsafe {
            bindings::rd_kafka_commit_queue(
                consumer.client().native_ptr(),
                list.ptr(),
                self.queue.as_ptr(),
                None,
                ptr::null_mut(),
            )
        };
        match RDKafkaErrorCode::from(code) {
            RDKafkaErrorCode::NoError => {
                self.under_way.replace(Some(positions.to_vec()));
                Ok(())
            }
            code => Err(KafkaError::ConsumerCommit(code)),
        }
    }

    /// The answer of the commit that is under way; waits for it, `most` at most.
    pub(super) fn answer(&self, most: Duration) -> Option<Answer> {
        if !self.is_under_way() {
            return None;
        }
        let most = c_int::try_from(most.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue lives as long as `self`; the event is this function's own until it destroys it.
        let code = unsafe {
            let event = bindings::rd_kafka_queue_poll(self.queue.as_ptr(), most);
            if event.is_null() {
                return None;
            }
            let code = bindings::rd_kafka_event_error(event);
            bindings::rd_kafka_event_destroy(event);
            RDKafkaErrorCode::from(code)
        };
        // Nothing else uses the queue: whatever comes is the answer. Of several partitions it has the last one's error.
        let error = Some(code)
            .filter(|code| !matches!(code, RDKafkaErrorCode::NoError | RDKafkaErrorCode::NoOffset));
        let offsets = self.under_way.take()?;
        Some(Answer { offsets, error })
    }
}

impl Drop for Commits {
    fn drop(&mut self) {
        // SAFETY: made by `new`, destroyed here only. An answer that is still to come finds the queue closed.
        unsafe { bindings::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

impl Member {
    /// Hands a commit on, unless one is under way.
    pub(super) fn hand_on(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        if let Some(answer) = self.commits.answer(Duration::ZERO) {
            self.tell_answer(answer);
        }
        if self.commits.is_under_way() {
            return Err(self.commit_refused(RDKafkaErrorCode::PreviousInProgress));
        }
        self.begin_commit(offsets)
    }

    /// Waits for the commit that is under way first, for no two may be.
    pub(super) fn commit_and_wait(
        &self,
        offsets: &[(TopicPartition, NextOffset)],
    ) -> Result<(), Error> {
        let until = self.clock.now().plus(COMMIT_WITHIN);
        let late = || self.commit_refused(RDKafkaErrorCode::OperationTimedOut);
        let left = || until.since(self.clock.now());
        if self.commits.is_under_way() {
            let mut before = self.commits.answer(left()).ok_or_else(late)?;
            let is_done = before.error.is_none() && before.offsets == offsets;
            // What this commit is about to change, or has done, is not told as it was before.
            before
                .offsets
                .retain(|(partition, _)| !offsets.iter().any(|(other, _)| other == partition));
            self.tell_answer(before);
            if is_done {
                return Ok(());
            }
        }
        self.begin_commit(offsets)?;
        let answer = self.commits.answer(left()).ok_or_else(late)?;
        answer
            .error
            .map_or(Ok(()), |code| Err(self.commit_refused(code)))
    }

    fn begin_commit(&self, offsets: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        let begun = self.commits.begin(&self.consumer, offsets);
        begun.map_err(|error| match error.rdkafka_error_code() {
            Some(code) => self.commit_refused(code),
            None => self.fail(self.committing(), &error),
        })
    }

    fn tell_answer(&self, answer: Answer) {
        self.consumer.context().tell(Signal::Committed(answer));
    }

    pub(super) fn answered<M>(&self, answer: Answer) -> Event<M> {
        let refused = |code| Err(self.commit_refused(code));
        Event::Committed {
            offsets: answer.offsets,
            result: answer.error.map_or(Ok(()), refused),
        }
    }

    fn commit_refused(&self, code: RDKafkaErrorCode) -> Error {
        let code = match code {
            // The group has a new generation which the client has not heard of yet: a later commit is of that one.
            RDKafkaErrorCode::IllegalGeneration if !self.consumer.assignment_lost() => {
                RDKafkaErrorCode::RebalanceInProgress
            }
            code => code,
        };
        code_error(self.committing(), code)
    }

    fn committing(&self) -> String {
        format!("commit offsets of group `{}`", self.settings.group)
    }
}
