//! Several addresses of one broker: what is answered names the one that the request came in by.

use kafka_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use kafka_protocol::messages::{FindCoordinatorRequest, MetadataRequest};
use millstream_broker::{Config, Listener, Server};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::raw::{Client, text};
use crate::support::PATIENCE;

const LOOPBACK: ([u8; 4], u16) = ([127, 0, 0, 1], 0);

fn start(data: &tempfile::TempDir, listeners: Vec<Listener>) -> Server {
    let mut config = Config::new(data.path());
    config.listeners = listeners;
    Server::start(config).unwrap()
}

/// The addresses that Metadata, FindCoordinator (of one key and of many) and DescribeCluster name.
fn told(address: &str) -> [String; 4] {
    let mut client = Client::connect(address);
    let metadata = client.call(12, &MetadataRequest::default());
    let one = FindCoordinatorRequest::default().with_key(text("group"));
    let one = client.call(3, &one);
    let many = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("group")]);
    let many = client.call(4, &many);
    let cluster = client.call(1, &DescribeClusterRequest::default());
    [
        format!("{}:{}", metadata.brokers[0].host, metadata.brokers[0].port),
        format!("{}:{}", one.host, one.port),
        format!(
            "{}:{}",
            many.coordinators[0].host, many.coordinators[0].port
        ),
        format!("{}:{}", cluster.brokers[0].host, cluster.brokers[0].port),
    ]
}

#[test]
fn each_listener_names_its_own_advertised_address() {
    let data = tempfile::tempdir().unwrap();
    let inside = Listener::named("inside", LOOPBACK).advertised("broker", 9092);
    let outside = Listener::named("outside", LOOPBACK);
    let server = start(&data, vec![inside, outside]);
    let [(inside, at_inside), (outside, at_outside)] = server.addresses() else {
        panic!("{:?}", server.addresses());
    };
    assert_eq!((inside.as_str(), outside.as_str()), ("inside", "outside"));
    let broker = "broker:9092".to_owned();
    assert_eq!(
        told(&at_inside.to_string()),
        [(); 4].map(|()| broker.clone())
    );
    let outside = at_outside.to_string();
    assert_eq!(told(&outside), [(); 4].map(|()| outside.clone()));
    server.stop().unwrap();
}

#[test]
fn a_client_stays_at_the_listener_that_it_came_in_by() {
    let data = tempfile::tempdir().unwrap();
    let wrong = Listener::named("wrong", LOOPBACK).advertised("no-such-host.invalid", 1);
    let server = start(&data, vec![wrong, Listener::named("right", LOOPBACK)]);
    let right = server.addresses()[1].1.to_string();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &right)
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(None, PATIENCE).unwrap();
    let broker = &metadata.brokers()[0];
    assert_eq!(format!("{}:{}", broker.host(), broker.port()), right);
    server.stop().unwrap();
}
