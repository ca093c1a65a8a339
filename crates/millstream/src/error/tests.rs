//! Every error, as it is read: lower case, the thing named, no full stop, no secret.

use super::*;
use crate::topic::{NextOffset, Offset, Partition, TopicPartition};

fn text(value: &str) -> String {
    value.to_owned()
}

fn position() -> Position {
    Position {
        topic: "calls".into(),
        partition: Partition(2),
        offset: Offset::new(17),
    }
}

/// Errors of declarations and of what is on the cluster.
fn declared() -> [(Error, &'static str); 10] {
    [
        (
            Error::InvalidTopic {
                topic: text("a b"),
                reason: text("no spaces"),
            },
            "topic `a b` is not valid: no spaces",
        ),
        (
            Error::InvalidService {
                service: text("totals"),
                reason: text("it has no input"),
            },
            "service `totals` is not valid: it has no input",
        ),
        (
            Error::UnknownProperty {
                name: text("linger"),
                nearest: Some("linger.ms"),
            },
            "unknown property `linger`, did you mean `linger.ms`?",
        ),
        (
            Error::InvalidProperty {
                name: text("acks"),
                reason: text("`5` is refused"),
            },
            "invalid value for property `acks`: `5` is refused",
        ),
        (
            Error::InvalidBrokers {
                address: text("kafka"),
                reason: text("it has no port"),
            },
            "invalid broker address `kafka`: it has no port",
        ),
        (
            Error::TopicMismatch {
                topic: text("calls"),
                property: "partitions",
                declared: text("4"),
                actual: text("3"),
            },
            "topic `calls` has partitions 3 on the cluster, but 4 is declared",
        ),
        (
            Error::UnknownTopic {
                topic: text("calls"),
            },
            "topic `calls` does not exist",
        ),
        (
            Error::TopicExists {
                topic: text("calls"),
            },
            "topic `calls` exists already",
        ),
        (
            Error::UnknownGroup {
                group: text("totals"),
            },
            "group `totals` does not exist",
        ),
        (
            Error::GroupActive {
                group: text("totals"),
                members: 2,
                state: text("Stable"),
            },
            "group `totals` is in use: it is Stable and has 2 member(s); stop them first",
        ),
    ]
}

/// Errors of a service that runs.
fn running() -> [(Error, &'static str); 12] {
    let service = || text("totals");
    [
        (
            Error::NotCoPartitioned {
                service: service(),
                first: text("a"),
                first_count: 2,
                second: text("b"),
                second_count: 3,
            },
            "the inputs of service `totals` must have equal partition counts: `a` has 2, `b` has 3",
        ),
        (
            Error::UndeclaredOutput {
                service: service(),
                topic: text("b"),
            },
            "service `totals` emitted to topic `b`, which it does not declare as an output",
        ),
        (
            Error::Stopped {
                service: service(),
                position: position(),
                reason: text("no such caller"),
            },
            "service `totals` stopped at calls[2]@17: no such caller",
        ),
        (
            Error::DeadLetterLimit {
                service: service(),
                position: position(),
                dead: 11,
                seen: 20,
                limit: 0.1,
                reason: text("no such caller"),
            },
            "service `totals` stopped at calls[2]@17: 11 of the last 20 records could not be processed, \
             more than the limit of 0.1; the last: no such caller",
        ),
        (
            Error::OutOfRange {
                service: service(),
                partition: TopicPartition::new("calls", Partition(2)),
                wanted: text("5"),
                start: 17,
                end: 40,
            },
            "service `totals` cannot read calls[2] from offset 5: the cluster has 17 to 40",
        ),
        (
            Error::WorkerPanicked {
                service: service(),
                reason: text("no luck"),
            },
            "a worker of service `totals` panicked: no luck",
        ),
        (
            Error::LastCommit {
                service: service(),
                source: Box::new(Error::Stuck {
                    service: service(),
                    seconds: 5,
                    waiting: 1,
                }),
            },
            "service `totals` stopped without an answer to its last commit; nothing is lost, but what is not committed will be processed again",
        ),
        (
            Error::Stuck {
                service: service(),
                seconds: 5,
                waiting: 1,
            },
            "service `totals` did not stop within 5 s: 1 of its workers still wait for the cluster",
        ),
        (
            Error::StuckHandler {
                service: service(),
                seconds: 5,
                call: text("the handler of calls[2]@17"),
                running: 600,
            },
            "service `totals` did not stop within 5 s: the handler of calls[2]@17 has been running for 600 s",
        ),
        (
            Error::DeadLetter {
                service: service(),
                position: position(),
                source: Box::new(Error::UnknownTopic {
                    topic: text("calls.dlq"),
                }),
            },
            "service `totals` halted a partition at calls[2]@17: the dead letter cannot be written",
        ),
        (
            Error::TimerRefused {
                service: service(),
                partition: Partition(2),
                source: Box::new(Error::UnknownTopic {
                    topic: text("totals"),
                }),
            },
            "service `totals` halted partition 2: a timer's record that closes others is refused",
        ),
        (
            Error::Thread {
                name: text("totals-1"),
                source: io::Error::from(io::ErrorKind::OutOfMemory),
            },
            "failed to start thread `totals-1`",
        ),
    ]
}

/// Errors of the way to the cluster and of this machine.
fn outside() -> [(Error, &'static str); 6] {
    let codec = crate::codec::CodecError::null("json");
    [
        (
            Error::Kafka {
                action: text("create topic `calls`"),
                reason: text("not the leader"),
                class: Class::Retriable,
                outcome: Outcome::Unknown,
            },
            "failed to create topic `calls`: not the leader",
        ),
        (
            Error::Codec {
                action: text("encode a record for topic `calls`"),
                source: codec,
            },
            "failed to encode a record for topic `calls`",
        ),
        (
            Error::InvalidPosition {
                partition: TopicPartition::new("calls", Partition(2)),
                wanted: NextOffset::new(5),
                start: NextOffset::new(17),
                end: NextOffset::new(40),
            },
            "cannot read calls[2] from offset 5: the cluster has 17 to 40",
        ),
        (
            Error::Undelivered {
                failed: 2,
                pending: 3,
                reason: text("timed out"),
            },
            "failed to deliver 2 records, 3 more are undecided: timed out",
        ),
        (
            Error::Listen {
                address: ([127, 0, 0, 1], 6066).into(),
                source: io::Error::from(io::ErrorKind::AddrInUse),
            },
            "failed to listen on `127.0.0.1:6066`",
        ),
        (
            Error::Recorder {
                reason: text("there is one"),
            },
            "failed to install the recorder of metrics: there is one",
        ),
    ]
}

/// Errors of readers and of signals.
fn of_programs() -> [(Error, &'static str); 2] {
    [
        (
            Error::Signals {
                source: std::io::Error::other("no more handlers"),
            },
            "failed to listen to signals",
        ),
        (
            Error::Undecodable(Box::new(Undecodable {
                position: position(),
                part: "value",
                error: crate::codec::CodecError::null("json"),
                key: None,
                value: None,
                headers: crate::record::Headers::new(),
                timestamp: crate::record::Timestamp::UNKNOWN,
            })),
            "the value of calls[2]@17 cannot be decoded: failed to decode json: null where a value is needed",
        ),
    ]
}

#[test]
fn every_error_says_what_was_tried_and_on_what() {
    let all = declared().into_iter().chain(running());
    let all = all.chain(outside()).chain(of_programs());
    for (error, expected) in all {
        assert_eq!(error.to_string(), expected);
    }
}

#[test]
fn only_the_clusters_errors_may_pass_or_have_an_unknown_outcome() {
    let all = declared().into_iter().chain(running());
    let all = all.chain(outside()).chain(of_programs());
    for (error, text) in all {
        let is_kafka = matches!(error, Error::Kafka { .. });
        let is_unknown = is_kafka || matches!(error, Error::Undelivered { .. });
        assert_eq!(error.is_retriable(), is_kafka, "{text}");
        assert_eq!(error.outcome() == Outcome::Unknown, is_unknown, "{text}");
    }
}

#[test]
fn a_process_error_tells_its_whole_chain_in_one_line() {
    let source = crate::codec::CodecError::null("json");
    let error = ProcessError::from(Error::Codec {
        action: text("encode a total"),
        source,
    });
    assert_eq!(
        error.to_string(),
        "failed to encode a total: failed to decode json: null where a value is needed"
    );
    assert!(!error.is_permanent());
    assert!(error.permanent().is_permanent());
}
