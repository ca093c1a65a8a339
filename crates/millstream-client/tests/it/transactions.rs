//! Transactions on a real broker: seen whole or not at all, with the offsets they were made from, and only by whoever owns the transactional id.

use std::time::Duration;

use millstream_client::{Class, Client, Ended, Error, Event, Outbound, Position, Start, Topic};

use crate::support::{Broker, fresh, until};

fn producer(broker: &Broker, id: &str) -> Client {
    broker.client(&[("transactional.id", id), ("linger.ms", "0")])
}

fn send(client: &mut Client, topic: Topic, partition: i32, value: &str) {
    let record = Outbound {
        partition: Some(partition),
        value: Some(value.as_bytes()),
        ..Outbound::default()
    };
    client.send(topic, &record).unwrap();
}

fn ended(client: &mut Client) -> Result<Ended, Error> {
    until(client, "the transaction ended", |_, event| match event {
        Some(Event::Ended(ended)) => Some(ended),
        _ => None,
    })
}

/// What a reader of committed records finds, up to a record that is sent without a transaction.
fn committed(broker: &Broker, topic: &str, partitions: i32) -> Vec<String> {
    let mut writer = broker.client(&[]);
    let place = writer.topic(topic);
    for partition in 0..partitions {
        send(&mut writer, place, partition, "end");
    }
    crate::support::deliver(&mut writer);
    let mut reader = broker.client(&[]);
    let place = reader.topic(topic);
    for partition in 0..partitions {
        reader.assign(place, partition, Start::Earliest);
    }
    let (mut values, mut ends) = (Vec::new(), 0);
    until(&mut reader, "all was read", |_, event| {
        if let Some(Event::Records(chunk)) = event {
            for record in chunk.records() {
                let value = String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap();
                match value.as_str() {
                    "end" => ends += 1,
                    _ => values.push(value),
                }
            }
        }
        (ends == partitions).then_some(())
    });
    values.sort();
    values
}

#[test]
fn what_was_committed_is_seen_and_what_was_aborted_is_not() {
    let broker = Broker::start();
    let name = broker.topic(2);
    let mut client = producer(&broker, &fresh("id"));
    let topic = client.topic(&name);
    for (round, how) in ["a", "b", "c", "d"].iter().zip([true, false, true, false]) {
        client.begin().unwrap();
        for partition in 0..2 {
            send(
                &mut client,
                topic,
                partition,
                &format!("{round}{partition}"),
            );
        }
        match how {
            true => client.commit_transaction().unwrap(),
            false => client.abort_transaction().unwrap(),
        }
        let expected = if how {
            Ended::Committed
        } else {
            Ended::Aborted
        };
        assert_eq!(ended(&mut client).unwrap(), expected);
    }
    // Nothing was sent, so there is nothing to end, and no round trip.
    client.begin().unwrap();
    client.commit_transaction().unwrap();
    assert_eq!(ended(&mut client).unwrap(), Ended::Committed);
    assert_eq!(committed(&broker, &name, 2), ["a0", "a1", "c0", "c1"]);
}

#[test]
fn offsets_are_committed_with_the_transaction_or_not_at_all() {
    let broker = Broker::start();
    let (name, group) = (broker.topic(1), fresh("group"));
    let mut client = producer(&broker, &fresh("id"));
    let topic = client.topic(&name);
    let read = |client: &mut Client| {
        client.read_committed(&group, &[(topic, 0)]);
        let found = until(client, "positions", |_, event| match event {
            Some(Event::Positions { result, .. }) => Some(result.unwrap()),
            _ => None,
        });
        found[0].2.map(|position| position.offset)
    };
    for (offset, commits) in [(5, true), (9, false)] {
        client.begin().unwrap();
        send(&mut client, topic, 0, "record");
        let position = Position { offset, epoch: 0 };
        client
            .send_offsets(&group, &[(topic, 0, position)])
            .unwrap();
        // The offsets go out with the end of the transaction at the latest.
        for _ in 0..20 {
            client.poll(Duration::from_millis(5)).unwrap();
        }
        match commits {
            true => client.commit_transaction().unwrap(),
            false => client.abort_transaction().unwrap(),
        }
        ended(&mut client).unwrap();
    }
    assert_eq!(read(&mut client), Some(5));
}

#[test]
fn the_later_of_two_producers_of_a_name_fences_the_earlier_one() {
    let broker = Broker::start();
    let (name, id) = (broker.topic(1), fresh("id"));
    let mut first = producer(&broker, &id);
    let topic = first.topic(&name);
    first.begin().unwrap();
    send(&mut first, topic, 0, "of the first");
    crate::support::deliver(&mut first);
    let mut second = producer(&broker, &id);
    let topic = second.topic(&name);
    second.begin().unwrap();
    send(&mut second, topic, 0, "of the second");
    second.commit_transaction().unwrap();
    assert_eq!(ended(&mut second).unwrap(), Ended::Committed);
    first.commit_transaction().unwrap();
    let error = ended(&mut first).unwrap_err();
    assert_eq!(error.class(), Class::Fenced, "{error}");
    assert_eq!(
        first.begin().unwrap_err().to_string(),
        "failed to begin a transaction: this producer was refused or another has taken its place; make a new client"
    );
    assert_eq!(committed(&broker, &name, 1), ["of the second"]);
}

#[test]
fn what_needs_a_transaction_is_refused_without_one() {
    let broker = Broker::start();
    let name = broker.topic(1);
    let mut plain = broker.client(&[]);
    assert_eq!(
        plain.begin().unwrap_err().to_string(),
        "failed to begin a transaction: the property `transactional.id` is not set"
    );
    let mut client = producer(&broker, &fresh("id"));
    let topic = client.topic(&name);
    let error = client.send(topic, &Outbound::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to send a record: no transaction is open; call `begin` first"
    );
    client.begin().unwrap();
    assert_eq!(
        client.begin().unwrap_err().to_string(),
        "failed to begin a transaction: another one has not ended; wait for `Event::Ended`"
    );
}

#[test]
fn a_record_that_the_broker_refuses_leaves_only_the_abort_and_the_next_transaction_is_good() {
    let broker = Broker::start();
    let name = broker.topic(1);
    let mut client = broker.client(&[
        ("transactional.id", &fresh("id")),
        ("max.request.size", "20000000"),
        ("linger.ms", "0"),
    ]);
    let topic = client.topic(&name);
    client.begin().unwrap();
    send(&mut client, topic, 0, "small");
    // Above the topic's `max.message.bytes`.
    send(&mut client, topic, 0, &"x".repeat(3_000_000));
    client.commit_transaction().unwrap();
    let error = ended(&mut client).unwrap_err();
    assert_eq!(error.class(), Class::Abortable, "{error}");
    client.abort_transaction().unwrap();
    assert_eq!(ended(&mut client).unwrap(), Ended::Aborted);
    client.begin().unwrap();
    send(&mut client, topic, 0, "good");
    client.commit_transaction().unwrap();
    assert_eq!(ended(&mut client).unwrap(), Ended::Committed);
    assert_eq!(committed(&broker, &name, 1), ["good"]);
}
