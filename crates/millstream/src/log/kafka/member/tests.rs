//! A member on the client's mock cluster, and one whose cluster is away.

use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

use super::*;
use crate::codec::{Json, NoKey};
use crate::emitter::Emitter;
use crate::log::kafka::statistics::Statistics;
use crate::record::Headers;
use crate::topic::{Partition, Topic};

fn settings() -> Settings {
    Settings {
        group: "group".to_owned(),
        instance: None,
        topics: vec!["in".into()],
        start: Start::Earliest,
        session_timeout: Duration::from_secs(6),
        max_bytes_in_flight: 1 << 20,
        limits: Limits::default(),
    }
}

/// A commit is answered by the client itself when the session ends: no test waits for so long.
fn away() -> Member {
    let settings = Settings {
        session_timeout: Duration::from_secs(300),
        ..settings()
    };
    Member::open(&Cluster::new("127.0.0.1:1"), settings).unwrap()
}

/// Several inputs: everything is taken back at each rebalance. The member stops before it has given it back.
#[test]
fn a_static_member_that_stops_while_all_is_taken_back_closes() {
    closes(|| {
        let mock = two_inputs();
        let first = static_member(&mock, "first");
        first.admit(&until(&first, given)).unwrap();
        let second = static_member(&mock, "second");
        let back = until(&first, |event| match event {
            Event::Revoked(partitions) => Some(partitions),
            _ => None,
        });
        assert_eq!(back.len(), 2);
        drop(first);
        drop(second);
    });
}

#[test]
fn a_static_member_that_stops_before_it_has_taken_its_share_closes() {
    closes(|| {
        let mock = two_inputs();
        let member = static_member(&mock, "first");
        assert_eq!(until(&member, given).len(), 2);
        drop(member);
    });
}

/// Fails when `stop` hangs.
fn closes(stop: impl FnOnce() + Send + 'static) {
    let (sender, closed) = channel();
    std::thread::spawn(move || {
        stop();
        let _ = sender.send(());
    });
    closed.recv_timeout(Duration::from_secs(120)).unwrap();
}

fn two_inputs() -> MockCluster<'static, DefaultProducerContext> {
    let mock = MockCluster::new(1).unwrap();
    for topic in ["left", "right"] {
        mock.create_topic(topic, 1, 1).unwrap();
    }
    mock
}

fn static_member(mock: &MockCluster<'_, DefaultProducerContext>, instance: &str) -> Member {
    let settings = Settings {
        instance: Some(instance.to_owned()),
        topics: vec!["left".into(), "right".into()],
        ..settings()
    };
    Member::open(&Cluster::new(mock.bootstrap_servers()), settings).unwrap()
}

fn given(event: Event<ReadMessage<'_>>) -> Option<Vec<TopicPartition>> {
    match event {
        Event::Assigned(partitions) => Some(partitions),
        _ => None,
    }
}

/// Polls a member until an event is there.
fn until<T>(member: &Member, wanted: impl Fn(Event<ReadMessage<'_>>) -> Option<T>) -> T {
    for _ in 0..600 {
        let event = member.poll(Duration::from_millis(100)).unwrap();
        if let Some(found) = wanted(event) {
            return found;
        }
    }
    panic!("the event did not come");
}

/// A member that has its share of a topic of 100 records, and has read the first of them.
fn reading(mock: &MockCluster<'_, DefaultProducerContext>) -> Member {
    mock.create_topic("in", 1, 1).unwrap();
    let cluster = Cluster::new(mock.bootstrap_servers());
    let emitter = Emitter::new(&cluster).unwrap();
    let topic = Topic::<(), u64>::new("in", &NoKey, &Json);
    for number in 0..100 {
        emitter.send(&topic, &(), &number).unwrap();
    }
    emitter.flush(Duration::from_secs(60)).unwrap();
    let member = Member::open(&cluster, settings()).unwrap();
    member.admit(&until(&member, given)).unwrap();
    until(&member, is_record);
    member
}

fn is_record(event: Event<ReadMessage<'_>>) -> Option<()> {
    matches!(event, Event::Record(_)).then_some(())
}

/// A handler that is slower than its input: whenever it asks for the next record there is one.
#[test]
fn the_ends_are_known_while_there_is_always_another_record() {
    let mock = MockCluster::new(1).unwrap();
    let member = reading(&mock);
    let partition = TopicPartition::new("in", Partition(0));
    let told = (1_000..).find(|number| {
        let statistics = Statistics {
            ends: vec![(partition.clone(), NextOffset::new(*number))],
            ..Statistics::default()
        };
        member
            .consumer
            .context()
            .tell(Signal::Statistics(statistics));
        let event = member.poll(Duration::from_millis(100)).unwrap();
        is_record(event).is_some()
    });
    assert_eq!(member.end_offset(&partition), told.map(NextOffset::new));
}

/// A topic that was made anew has grown to the position before the cluster is asked: the client has gone elsewhere all the same.
#[test]
fn a_position_that_the_client_has_reset_is_reported_though_it_is_on_the_cluster_again() {
    let mock = MockCluster::new(1).unwrap();
    let member = reading(&mock);
    let partition = TopicPartition::new("in", Partition(0));
    let reset = Signal::Reset(partition.clone(), NextOffset::new(50));
    member.consumer.context().tell(reset);
    let found = until(&member, |event| match event {
        Event::OutOfRange {
            partition,
            wanted,
            start,
            end,
        } => Some((partition, [wanted, start, end])),
        _ => None,
    });
    assert_eq!(found, (partition, [50, 0, 100].map(NextOffset::new)));
}

#[test]
fn a_position_whose_leader_is_away_does_not_keep_another_one_in_doubt() {
    let mock = MockCluster::new(1).unwrap();
    let member = reading(&mock);
    let reset = |topic: &str| {
        let partition = TopicPartition::new(topic, Partition(0));
        Signal::Reset(partition, NextOffset::new(500))
    };
    for topic in ["no-such-topic", "in"] {
        member.consumer.context().tell(reset(topic));
    }
    let found = until(&member, |event| match event {
        Event::OutOfRange { partition, .. } => Some(partition),
        _ => None,
    });
    assert_eq!(&*found.topic, "in");
}

fn failed(partition: i32, code: RDKafkaErrorCode) -> Report {
    Report {
        token: 0,
        bytes: 0,
        failure: Some(Failure {
            error: KafkaError::MessageProduction(code),
            topic: "out".to_owned(),
            partition,
        }),
    }
}

/// The broker names the records of a batch that it refuses; the client has another error for the others.
#[test]
fn a_record_that_the_broker_names_is_to_blame_and_no_other_of_its_batch() {
    use RDKafkaErrorCode as Code;
    let is_named = |reports: &[Report]| {
        let named = Named::of(reports);
        let failures = reports.iter().filter_map(|report| report.failure.as_ref());
        failures
            .map(|failure| named.is_named(failure))
            .collect::<Vec<_>>()
    };
    let with_names = [
        failed(0, Code::InvalidDifferentRecord),
        failed(0, Code::InvalidRecord),
        failed(0, Code::MessageSizeTooLarge),
        failed(1, Code::InvalidRecord),
    ];
    assert_eq!(is_named(&with_names), [false, true, false, false]);
    let without = [
        failed(0, Code::InvalidRecord),
        failed(0, Code::InvalidRecord),
    ];
    assert_eq!(is_named(&without), [false, false]);
}

#[test]
fn an_effect_that_no_request_can_carry_is_refused_when_it_is_sent() {
    let member = away();
    let value = vec![0; 101_000_000];
    let record = Outgoing {
        topic: "out",
        partition: None,
        key: None,
        value: Some(&value),
        headers: None,
        timestamp: None,
    };
    let Err(SendError::Failed(error)) = member.send(record, Token(1)) else {
        panic!("it was taken");
    };
    let bytes = record.memory();
    assert_eq!(
        error.to_string(),
        format!(
            "failed to send a record of {bytes} bytes to topic `out`: a request takes 100000000 bytes at most"
        )
    );
    assert_eq!(member.in_flight_bytes(), 0);
}

#[test]
fn no_second_commit_begins_before_the_first_is_answered() {
    let member = away();
    let at = |offset| {
        let partition = TopicPartition::new("in", crate::topic::Partition(0));
        [(partition, NextOffset::new(offset))]
    };
    member.commit(&at(10)).unwrap();
    let errors = [member.commit(&at(11)), member.commit_now(&at(12))];
    let texts = errors.map(|error| error.unwrap_err().to_string());
    let expected = ["previous operation in progress", "timed out"];
    let expected = expected.map(|why| format!("failed to commit offsets of group `group`: {why}"));
    assert_eq!(texts, expected);
    // Its close would wait for the commit until the session ends.
    std::mem::forget(member);
}

#[test]
fn headers_count_against_the_bound_of_a_member_while_the_cluster_is_away() {
    let member = away();
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
    while member.send(record, Token(taken)).is_ok() {
        taken += 1;
        assert!(taken < 100, "nothing bounds it");
    }
    assert_eq!(taken, 10, "a mebibyte of 100 kB each");
    assert!(member.in_flight_bytes() <= 1 << 20);
}
