//! Faults that a user's tests ask for, and what becomes of a panic.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use kafka_protocol::messages::MetadataRequest;
use millstream_broker::{Config, Fault, Faults, Server};

use crate::cluster::{Cluster, eventually};
use crate::raw::{Client, batch, frame, produce_request};

#[test]
fn the_nth_request_of_an_api_fails_as_its_plan_says() {
    let cluster = Cluster::embedded(|config| {
        config.faults = Faults::new(|asked| match (asked.api, asked.number) {
            ("Metadata", 2) => Fault::Close,
            ("Produce", 1) => Fault::Lost,
            ("ListOffsets", 1) => Fault::Late(Duration::from_millis(10)),
            _ => Fault::None,
        });
    });
    let (mut client, name) = cluster.with_topic("planned", 1);
    client.call(12, &MetadataRequest::default());
    client.write(&frame(12, 2, &MetadataRequest::default()));
    assert!(client.is_closed());
    let mut client = cluster.connect();
    client.write(&frame(9, 1, &produce_request(&name, 0, batch(&[("a", 1)]))));
    assert!(client.is_closed());
    let mut client = cluster.connect();
    client.call(12, &MetadataRequest::default());
    // It was stored all the same.
    assert_eq!(client.list_offset(&name, 0, -1).offset, 1);
    assert_eq!(client.produce_at(&name, 0, &[("b", 2)]), 1);
}

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn what_is_answered_late_is_done_at_once_and_what_is_delayed_is_not() {
    let seen = Arc::new(AtomicU64::new(0));
    let cluster = Cluster::embedded(|config| {
        let seen = Arc::clone(&seen);
        config.faults = Faults::new(move |asked| {
            if asked.api == "Produce" {
                seen.store(asked.number, Ordering::Release);
            }
            match (asked.api, asked.number) {
                ("Produce", 1) => Fault::Late(NEVER),
                ("Produce", 2) => Fault::Delayed(NEVER),
                _ => Fault::None,
            }
        });
    });
    let (mut client, name) = cluster.with_topic("late", 1);
    let mut late = cluster.connect();
    late.write(&frame(9, 1, &produce_request(&name, 0, batch(&[("a", 1)]))));
    eventually("the record without an answer", || {
        (client.list_offset(&name, 0, -1).offset == 1).then_some(())
    });
    let mut delayed = cluster.connect();
    delayed.write(&frame(9, 1, &produce_request(&name, 0, batch(&[("b", 2)]))));
    eventually("the second request", || {
        (seen.load(Ordering::Acquire) == 2).then_some(())
    });
    assert_eq!(client.produce_at(&name, 0, &[("c", 3)]), 1);
    assert_eq!(client.values(&name, 0, 0), ["a", "c"]);
}

#[test]
fn a_panic_costs_one_connection_and_is_an_error_of_the_stop() {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::ephemeral(data.path());
    config.faults = Faults::new(|asked| match asked.number {
        2 => panic!("planted"),
        _ => Fault::None,
    });
    let server = Server::start(config).unwrap();
    let address = server.address().to_string();
    let mut client = Client::connect(&address);
    client.call(12, &MetadataRequest::default());
    client.write(&frame(12, 2, &MetadataRequest::default()));
    assert!(client.is_closed());
    Client::connect(&address).call(12, &MetadataRequest::default());
    assert_eq!(
        server.stop().unwrap_err().to_string(),
        "the broker panicked 1 times while it ran, its log says where"
    );
}
