//! The whole way: produced, fetched, committed, and read again by the next client.

use std::collections::BTreeMap;

use millstream_client::{Event, Outbound, Outcome, Position, Start};

use crate::support::{Broker, deliver, fresh, until};

#[test]
fn what_is_sent_is_read_in_order_and_once_with_its_offsets_as_reported() {
    let broker = Broker::start();
    let name = broker.topic(4);
    let mut client = broker.client(&[("batch.size", "1000"), ("auto.offset.reset", "earliest")]);
    let topic = client.topic(&name);
    let mut sent: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for number in 0..5000 {
        let (key, value) = (format!("key-{}", number % 97), format!("value-{number}"));
        let record = Outbound {
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[("number", Some(b"1")), ("none", None)],
            timestamp: Some(1_700_000_000_000 + number),
            ..Outbound::default()
        };
        let place = client.send(topic, &record).unwrap();
        let values = sent.entry(place.partition).or_default();
        assert_eq!(usize::try_from(place.number), Ok(values.len()));
        values.push(value);
    }
    client.flush();
    let mut reported: BTreeMap<i32, i64> = BTreeMap::new();
    until(&mut client, "all delivered", |client, event| {
        if let Some(Event::Delivered(delivery)) = event {
            // One report follows the other without a hole, and offsets are those of the numbers.
            let next = reported.entry(delivery.partition).or_default();
            let first = i64::try_from(delivery.first).unwrap();
            assert_eq!((first, delivery.result.unwrap()), (*next, *next));
            *next += i64::from(delivery.count);
        }
        client.is_delivered().then_some(())
    });
    assert_eq!(reported.values().sum::<i64>(), 5000);

    for partition in 0..4 {
        client.assign(topic, partition, Start::Earliest);
    }
    let mut read: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    until(&mut client, "all read", |_, event| {
        if let Some(Event::Records(chunk)) = event {
            let values = read.entry(chunk.partition).or_default();
            for record in chunk.records() {
                let record = record.unwrap();
                assert_eq!(usize::try_from(record.offset), Ok(values.len()));
                assert_eq!(record.headers.len(), 2);
                values.push(String::from_utf8(record.value.unwrap().to_vec()).unwrap());
            }
        }
        (read.values().map(Vec::len).sum::<usize>() == 5000).then_some(())
    });
    assert_eq!(read, sent);
}

#[test]
fn a_committed_position_is_where_the_next_client_of_the_group_begins() {
    let broker = Broker::start();
    let name = broker.topic(2);
    let group = fresh("group");
    let mut client = broker.client(&[]);
    let topic = client.topic(&name);
    let none = client.read_committed(&group, &[(topic, 0), (topic, 1)]);
    let found = until(&mut client, "positions", |_, event| match event {
        Some(Event::Positions { number, result }) => {
            assert_eq!(number, none);
            Some(result.unwrap())
        }
        _ => None,
    });
    assert_eq!(found, [(topic, 0, None), (topic, 1, None)]);
    let number = client.commit(
        &group,
        &[(
            topic,
            1,
            Position {
                offset: 42,
                epoch: 0,
            },
        )],
    );
    until(&mut client, "the commit", |_, event| match event {
        Some(Event::Committed {
            number: one,
            result,
        }) => {
            assert_eq!(one, number);
            result.unwrap();
            Some(())
        }
        _ => None,
    });
    drop(client);

    let mut next = broker.client(&[]);
    let topic = next.topic(&name);
    next.read_committed(&group, &[(topic, 1)]);
    let found = until(&mut next, "positions", |_, event| match event {
        Some(Event::Positions { result, .. }) => Some(result.unwrap()),
        _ => None,
    });
    assert_eq!(
        found,
        [(
            topic,
            1,
            Some(Position {
                offset: 42,
                epoch: 0
            })
        )]
    );
}

#[test]
fn nothing_fetched_before_a_seek_or_a_pause_is_returned_after_it() {
    let broker = Broker::start();
    let name = broker.topic(1);
    let mut client = broker.client(&[("batch.size", "500")]);
    let topic = client.topic(&name);
    for number in 0..1000_u32 {
        let value = number.to_be_bytes();
        let record = Outbound {
            value: Some(&value),
            partition: Some(0),
            ..Outbound::default()
        };
        client.send(topic, &record).unwrap();
    }
    deliver(&mut client);
    client.assign(topic, 0, Start::Earliest);
    let first = |event: Option<Event>| match event {
        Some(Event::Records(chunk)) => chunk.records().next().map(|one| one.unwrap().offset),
        _ => None,
    };
    assert_eq!(until(&mut client, "records", |_, event| first(event)), 0);
    client.seek(topic, 0, Start::Offset(Position::at(777)));
    assert_eq!(until(&mut client, "records", |_, event| first(event)), 777);
    let position = client.position(topic, 0).unwrap();
    client.pause(topic, 0);
    for _ in 0..20 {
        assert_eq!(
            first(client.poll(std::time::Duration::from_millis(5)).unwrap()),
            None
        );
    }
    client.resume(topic, 0);
    let resumed = until(&mut client, "records", |_, event| first(event));
    assert_eq!(resumed, position.offset);
}

#[test]
fn a_position_behind_the_end_goes_back_by_the_rule_and_the_gap_is_told() {
    let broker = Broker::start();
    let name = broker.topic(1);
    let mut client = broker.client(&[("auto.offset.reset", "earliest")]);
    let topic = client.topic(&name);
    let record = Outbound {
        value: Some(b"one"),
        ..Outbound::default()
    };
    client.send(topic, &record).unwrap();
    deliver(&mut client);
    client.assign(topic, 0, Start::Offset(Position::at(100)));
    let gone = until(&mut client, "the gap", |_, event| match event {
        Some(Event::Gone { from, to, .. }) => Some((from, to)),
        _ => None,
    });
    assert_eq!(gone, (100, 0));
}

#[test]
fn a_topic_or_partition_that_is_not_there_is_named() {
    let broker = Broker::start();
    let mut client = broker.client(&[("max.block.ms", "300")]);
    let missing = client.topic("no-such-topic");
    let error = client.partitions(missing).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("Metadata of topic `no-such-topic` failed: "),
        "{error}"
    );
    let mut client = broker.client(&[]);
    let name = broker.topic(1);
    let topic = client.topic(&name);
    let record = Outbound {
        partition: Some(7),
        value: Some(b""),
        ..Outbound::default()
    };
    let error = client.send(topic, &record).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("topic `{name}` has no partition 7")
    );
}

#[test]
fn a_record_for_a_topic_of_which_nothing_is_known_is_refused_in_time() {
    let mut client = millstream_client::Client::new(
        &millstream_client::Config::new("127.0.0.1:1")
            .unwrap()
            .set("max.block.ms", "200")
            .unwrap(),
    )
    .unwrap();
    let topic = client.topic("topic");
    let error = client.send(topic, &Outbound::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "metadata of topic `topic` took longer than 200 ms"
    );
    assert_eq!(error.outcome(), Outcome::NotApplied);
}
