//! Stories of one partition: each happened to a user of some client (confluentinc/librdkafka#4953, #4972, thomhurst/Dekaf#3342,
//! redpanda-data/redpanda#22670), and ends here with every record once and in order.

use std::time::Duration;

use kafka_protocol::ResponseError;

use super::partition::{Partition, Verdict};
use super::{Given, Limits};
use crate::clock::Time;
use crate::error::Outcome;
use crate::wire::batch::{Batch, Producer as Stamp};
use crate::wire::compression::Compression;

const ID: i64 = 9;
const BACKOFF: Duration = Duration::from_millis(100);

/// One partition, a clock, and a broker that says what the test tells it to say.
struct Story {
    partition: Partition,
    limits: Limits,
    now: Time,
    next: u64,
}

/// The number of a batch, its producer epoch and its sequence.
type Seen = (u64, i16, i32);

impl Story {
    /// A partition whose first batch, number 0, is written.
    fn begun() -> Self {
        let mut story = Self::fresh();
        story.batches(1);
        assert_eq!(story.sent(), [(0, 0, 0)]);
        story.written(0, 100);
        story
    }

    fn fresh() -> Self {
        Self {
            partition: Partition::default(),
            limits: Limits {
                batch_size: 1 << 20,
                room: 0,
                linger: Duration::ZERO,
                delivery_timeout: Duration::from_secs(120),
                compression: Compression::None,
                hurry: false,
                transactional: false,
            },
            now: Time::ZERO,
            next: 0,
        }
    }

    /// Adds batches of one record each.
    fn batches(&mut self, count: u64) {
        for _ in 0..count {
            let value = self.next.to_be_bytes();
            let now = self.now;
            let given = Given {
                key: None,
                value: Some(&value),
                timestamp: 0,
                now: &|| now,
            };
            self.partition.append(&given, &[], 100, &self.limits);
            self.partition.tick(self.now, &self.limits);
            self.next += 1;
        }
    }

    /// Everything that goes out now.
    fn sent(&mut self) -> Vec<Seen> {
        self.partition.tick(self.now, &self.limits);
        let mut sent = Vec::new();
        while let Some((first, bytes)) = self.partition.take(self.now, (ID, 0), &self.limits) {
            let batch = Batch::split(&mut &bytes[..]).unwrap().unwrap();
            let Stamp {
                id,
                epoch,
                sequence,
            } = batch.header.producer;
            assert_eq!(id, ID);
            sent.push((first, epoch, sequence));
        }
        sent
    }

    fn says(&mut self, first: u64, verdict: Verdict) {
        self.partition
            .answered(first, verdict, self.now, BACKOFF, &self.limits);
    }

    fn written(&mut self, first: u64, offset: i64) {
        self.says(first, Verdict::Written(offset));
    }

    fn failed(&mut self, first: u64, code: ResponseError) {
        self.says(first, Verdict::Failed(code));
    }

    fn later(&mut self, millis: u64) {
        self.now += Duration::from_millis(millis);
    }

    /// First record and offset, or outcome, of what was reported.
    fn reported(&mut self) -> Vec<(u64, Result<i64, Outcome>)> {
        let reports = std::mem::take(&mut self.partition.delivered);
        reports
            .into_iter()
            .map(|report| (report.first, report.result.map_err(|error| error.outcome)))
            .collect()
    }
}

#[test]
fn the_first_batch_of_an_epoch_goes_alone_and_five_follow() {
    let mut story = Story::fresh();
    story.batches(8);
    assert_eq!(story.sent(), [(0, 0, 0)]);
    story.written(0, 50);
    let five = [(1, 0, 1), (2, 0, 2), (3, 0, 3), (4, 0, 4), (5, 0, 5)];
    assert_eq!(story.sent(), five);
    story.written(1, 51);
    assert_eq!(story.sent(), [(6, 0, 6)]);
    assert_eq!(story.reported(), [(0, Ok(50)), (1, Ok(51))]);
}

#[test]
fn out_of_order_of_later_batches_follows_from_the_first_and_begins_no_epoch() {
    let mut story = Story::begun();
    story.batches(5);
    let five = story.sent();
    assert_eq!(five.len(), 5);
    story.failed(1, ResponseError::NotEnoughReplicas);
    for later in 2..=5 {
        assert_eq!(
            story.sent(),
            [],
            "something went out before all were answered"
        );
        story.failed(later, ResponseError::OutOfOrderSequenceNumber);
    }
    story.later(2000);
    assert_eq!(
        story.sent(),
        five,
        "again, in order, with the same sequences"
    );
    for (place, first) in (1..=5).enumerate() {
        story.written(first, 101 + i64::try_from(place).unwrap());
    }
    let offsets = (1..=5).map(|first| (first, Ok(100 + i64::try_from(first).unwrap())));
    assert_eq!(story.reported().split_off(1), offsets.collect::<Vec<_>>());
}

#[test]
fn an_answer_that_never_comes_is_asked_for_again_with_the_same_sequences() {
    let mut story = Story::begun();
    story.batches(3);
    let three = story.sent();
    for first in 1..=3 {
        story.says(first, Verdict::Lost);
    }
    assert_eq!(story.sent(), [], "no pause before the retry");
    story.later(2000);
    assert_eq!(story.sent(), three);
    // The first two had arrived: the broker knows their sequences.
    story.written(1, 101);
    story.written(2, -1);
    story.written(3, 103);
    let written = [(1, Ok(101)), (2, Ok(-1)), (3, Ok(103))];
    assert_eq!(story.reported().split_off(1), written);
}

#[test]
fn a_batch_behind_one_in_doubt_is_reported_after_it() {
    let mut story = Story::begun();
    story.reported();
    story.batches(2);
    story.sent();
    story.failed(1, ResponseError::RequestTimedOut);
    story.written(2, 102);
    assert_eq!(story.reported(), []);
    story.later(2000);
    assert_eq!(story.sent(), [(1, 0, 1)]);
    story.written(1, 101);
    assert_eq!(story.reported(), [(1, Ok(101)), (2, Ok(102))]);
}

#[test]
fn a_broker_that_has_lost_its_state_gets_the_rest_in_a_new_epoch_from_zero() {
    for code in [
        ResponseError::OutOfOrderSequenceNumber,
        ResponseError::UnknownProducerId,
    ] {
        let mut story = Story::begun();
        story.reported();
        // Idle for longer than the broker keeps a producer: nothing is lost.
        story.later(90_000_000);
        story.batches(3);
        assert_eq!(
            story.sent(),
            [(1, 0, 1)],
            "after a pause the first goes alone"
        );
        story.failed(1, code);
        assert_eq!(story.sent(), [(1, 1, 0)]);
        story.written(1, 101);
        assert_eq!(story.sent(), [(2, 1, 1), (3, 1, 2)]);
        assert_eq!(story.reported(), [(1, Ok(101))]);
    }
}

#[test]
fn after_a_refused_batch_the_rest_goes_in_a_new_epoch_once_all_is_answered() {
    let mut story = Story::begun();
    story.reported();
    story.batches(3);
    story.sent();
    story.failed(1, ResponseError::MessageTooLarge);
    assert_eq!(story.reported(), [(1, Err(Outcome::NotApplied))]);
    assert_eq!(story.sent(), []);
    story.failed(2, ResponseError::OutOfOrderSequenceNumber);
    story.failed(3, ResponseError::OutOfOrderSequenceNumber);
    assert_eq!(story.sent(), [(2, 1, 0)]);
    story.written(2, 101);
    assert_eq!(story.sent(), [(3, 1, 1)]);
}

#[test]
fn a_batch_that_may_be_written_is_given_up_as_unknown_and_what_follows_is_asked_about_first() {
    let mut story = Story::begun();
    story.reported();
    story.batches(1);
    story.later(1000);
    story.batches(2);
    assert_eq!(story.sent().len(), 3);
    for first in 1..=3 {
        story.says(first, Verdict::Lost);
    }
    story.later(119_500);
    assert_eq!(
        story.sent(),
        [(2, 0, 2)],
        "the second may be in the log, so it keeps its place"
    );
    assert_eq!(story.reported(), [(1, Err(Outcome::Unknown))]);
    story.failed(2, ResponseError::OutOfOrderSequenceNumber);
    // A copy of it, and of what it follows on, may still be on its way: written again it could be there twice.
    assert_eq!(story.reported(), [(2, Err(Outcome::Unknown))]);
}

#[test]
fn a_batch_that_was_never_sent_is_given_up_as_not_applied_without_a_new_epoch() {
    let mut story = Story::begun();
    story.reported();
    story.batches(1);
    story.later(120_001);
    story.batches(1);
    assert_eq!(story.sent(), [(2, 0, 1)]);
    assert_eq!(story.reported(), [(1, Err(Outcome::NotApplied))]);
}

#[test]
fn a_batch_that_was_in_doubt_and_is_refused_then_is_unknown() {
    let mut story = Story::begun();
    story.reported();
    story.batches(1);
    story.sent();
    story.says(1, Verdict::Lost);
    story.later(2000);
    assert_eq!(story.sent(), [(1, 0, 1)]);
    story.failed(1, ResponseError::MessageTooLarge);
    assert_eq!(story.reported(), [(1, Err(Outcome::Unknown))]);
}

#[test]
fn a_request_that_was_not_sent_leaves_no_doubt() {
    let mut story = Story::begun();
    story.reported();
    story.batches(1);
    story.sent();
    story.says(1, Verdict::NotSent);
    story.later(120_001);
    assert_eq!(story.sent(), []);
    assert_eq!(story.reported(), [(1, Err(Outcome::NotApplied))]);
}

/// A copy of a request that was lost may reach the broker late, after the broker has said that the batch is not there.
#[test]
fn a_batch_that_was_lost_once_is_unknown_whatever_the_broker_says_later() {
    let mut story = Story::begun();
    story.reported();
    story.batches(2);
    assert_eq!(story.sent().len(), 2);
    story.says(1, Verdict::Lost);
    story.says(2, Verdict::Lost);
    story.later(2000);
    assert_eq!(story.sent().len(), 2);
    story.failed(1, ResponseError::NotEnoughReplicas);
    story.failed(2, ResponseError::OutOfOrderSequenceNumber);
    story.later(120_001);
    assert_eq!(story.sent(), []);
    let unknown = [(1, Err(Outcome::Unknown)), (2, Err(Outcome::Unknown))];
    assert_eq!(story.reported(), unknown);
}

/// A broker that was restarted knows only the last batch of a producer: the others may be in its log all the same.
#[test]
fn what_was_lost_once_is_never_written_under_another_sequence() {
    for code in [
        ResponseError::OutOfOrderSequenceNumber,
        ResponseError::UnknownProducerId,
        ResponseError::InvalidProducerEpoch,
    ] {
        let mut story = Story::begun();
        story.reported();
        story.batches(3);
        assert_eq!(story.sent().len(), 3);
        for first in 1..=3 {
            story.says(first, Verdict::Lost);
        }
        story.later(2000);
        let again = story.sent();
        assert_eq!(again.len(), 3);
        story.failed(1, code);
        assert_eq!(story.reported(), [(1, Err(Outcome::Unknown))]);
        story.failed(2, code);
        story.failed(3, code);
        story.later(2000);
        let unknown = [(2, Err(Outcome::Unknown)), (3, Err(Outcome::Unknown))];
        assert_eq!(story.sent(), [], "written under a new sequence");
        assert_eq!(story.reported(), unknown);
        // What was never lost goes on in a new epoch.
        story.batches(1);
        assert_eq!(story.sent(), [(4, 1, 0)]);
    }
}

#[test]
fn a_transaction_whose_producer_is_fenced_is_told_so_at_once() {
    for code in [
        ResponseError::InvalidProducerEpoch,
        ResponseError::UnknownProducerId,
        ResponseError::OutOfOrderSequenceNumber,
    ] {
        let mut story = Story::begun();
        story.limits.transactional = true;
        story.reported();
        story.batches(1);
        story.sent();
        story.failed(1, code);
        assert_eq!(story.reported(), [(1, Err(Outcome::NotApplied))]);
    }
}

/// The topic's `max.message.bytes` is below `batch.size`; each record alone would fit.
#[test]
fn a_batch_that_is_too_large_for_its_topic_is_sent_in_halves() {
    for code in [
        ResponseError::MessageTooLarge,
        ResponseError::RecordListTooLarge,
    ] {
        let mut story = Story::begun();
        story.reported();
        story.limits.linger = Duration::from_secs(1);
        story.batches(4);
        story.later(1000);
        assert_eq!(story.sent(), [(1, 0, 1)]);
        story.failed(1, code);
        assert_eq!(story.reported(), []);
        story.later(2000);
        assert_eq!(story.sent(), [(1, 0, 1), (3, 0, 3)]);
        story.failed(1, code);
        story.failed(3, ResponseError::OutOfOrderSequenceNumber);
        story.later(2000);
        assert_eq!(story.sent(), [(1, 0, 1), (2, 0, 2), (3, 0, 3)]);
        story.written(1, 101);
        story.written(2, 102);
        story.written(3, 103);
        assert_eq!(story.reported(), [(1, Ok(101)), (2, Ok(102)), (3, Ok(103))]);
        // What comes after is made smaller from the start.
        story.batches(4);
        story.later(1000);
        assert!(story.sent().len() > 1);
    }
}

#[test]
fn what_is_acknowledged_is_never_told_as_failed() {
    let mut story = Story::begun();
    story.reported();
    story.batches(2);
    story.sent();
    story.failed(1, ResponseError::NotEnoughReplicas);
    story.written(2, 102);
    story.partition.fail_all("no producer id");
    let reports = [(1, Err(Outcome::NotApplied)), (2, Ok(102))];
    assert_eq!(story.reported(), reports);
}

/// The caller was away for longer than the delivery time-out; meanwhile the broker has answered.
#[test]
fn what_waits_behind_answers_that_are_heard_late_is_still_sent() {
    let mut story = Story::begun();
    story.reported();
    story.batches(7);
    assert_eq!(story.sent().len(), 5);
    story.later(121_000);
    for (place, first) in (1..=5).enumerate() {
        story.written(first, 101 + i64::try_from(place).unwrap());
    }
    story.reported();
    let sent: Vec<_> = story.sent().iter().map(|(first, ..)| *first).collect();
    assert_eq!(sent, [6, 7]);
    assert_eq!(story.reported(), []);
}

/// A broker that cannot be reached does not keep records for ever.
#[test]
fn what_nobody_takes_is_given_up_at_the_next_moment() {
    let mut story = Story::begun();
    story.reported();
    story.batches(7);
    assert_eq!(story.sent().len(), 5);
    story.later(121_000);
    for first in 1..=5 {
        story.written(first, -1);
    }
    story.reported();
    story.partition.tick(story.now, &story.limits);
    assert_eq!(story.reported(), []);
    story.partition.tick(story.now, &story.limits);
    let given_up = [(6, Err(Outcome::NotApplied)), (7, Err(Outcome::NotApplied))];
    assert_eq!(story.reported(), given_up);
}
