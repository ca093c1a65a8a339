//! What only the driver can show: a caller that was away, and events that nobody has to wait for.

use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::{CreateTopicsRequest, TopicName};
use tempfile::TempDir;

use super::*;
use crate::exchange::{Lane, Owner, Target};
use crate::wire::api::Call;
use crate::wire::text;

fn broker() -> (millstream_broker::Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let config = millstream_broker::Config::ephemeral(folder.path());
    (millstream_broker::Server::start(config).unwrap(), folder)
}

fn client(server: &millstream_broker::Server, properties: &[(&str, &str)]) -> Client {
    let config = Config::new(&server.address().to_string()).unwrap();
    let config = properties.iter().fold(config, |config, (name, value)| {
        config.set(name, value).unwrap()
    });
    Client::new(&config).unwrap()
}

/// A topic of one partition, of which the client knows.
fn topic(client: &mut Client) -> Topic {
    let topic = CreatableTopic::default()
        .with_name(TopicName(text("topic")))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000);
    // An answer that the machine has not asked for is passed over.
    client.outgoing.push(Outgoing {
        ticket: Ticket {
            owner: Owner::Cluster,
            number: u64::MAX,
        },
        target: Target::Any,
        lane: Lane::Control,
        call: Call::CreateTopics(request),
        patience: Duration::from_secs(30),
    });
    let topic = client.topic("topic");
    assert_eq!(client.partitions(topic).unwrap(), 1);
    topic
}

fn until<T>(client: &mut Client, mut seen: impl FnMut(Event) -> Option<T>) -> T {
    for _ in 0..2000 {
        let event = client.poll(Duration::from_millis(50)).unwrap();
        if let Some(value) = event.and_then(&mut seen) {
            return value;
        }
    }
    panic!("never happened");
}

#[test]
fn a_record_that_is_sent_after_long_work_has_all_of_its_time() {
    let (server, _folder) = broker();
    let mut client = client(&server, &[]);
    let topic = topic(&mut client);
    client.pass(Duration::from_secs(3600));
    let record = Outbound {
        value: Some(b"value"),
        ..Outbound::default()
    };
    client.send(topic, &record).unwrap();
    let delivered = until(&mut client, |event| match event {
        Event::Delivered(delivery) => Some(delivery),
        _ => None,
    });
    assert_eq!(delivered.result.unwrap(), 0);
    drop(client);
    server.stop().unwrap();
}

#[test]
fn what_the_client_says_by_itself_is_returned_before_it_waits_for_sockets() {
    let (server, _folder) = broker();
    let properties = [
        ("transactional.id", "id"),
        ("metadata.max.age.ms", "86400000"),
    ];
    let mut client = client(&server, &properties);
    let topic = topic(&mut client);
    client.begin().unwrap();
    let record = Outbound {
        value: Some(b"value"),
        ..Outbound::default()
    };
    client.send(topic, &record).unwrap();
    client.commit_transaction().unwrap();
    let ended = |event| match event {
        Event::Ended(ended) => Some(ended.unwrap()),
        _ => None,
    };
    assert_eq!(until(&mut client, ended), Ended::Committed);
    // Nothing is sent: the transaction ends without a word from a broker. Without an event this call would go on for a day.
    client.begin().unwrap();
    client.commit_transaction().unwrap();
    let event = client.poll(Duration::from_secs(86_400)).unwrap();
    assert_eq!(event.and_then(ended), Some(Ended::Committed));
    drop(client);
    server.stop().unwrap();
}
