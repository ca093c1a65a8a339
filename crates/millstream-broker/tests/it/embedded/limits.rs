//! Bounds: frames, connections, memory, time.

use std::process::Command;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_producers_request::TopicRequest;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    DescribeConfigsRequest, DescribeGroupsRequest, DescribeProducersRequest,
    FindCoordinatorRequest, GroupId, MetadataRequest,
};
use millstream_broker::{Config, Server};

use super::Process;
use crate::cluster::{Cluster, Deadline, eventually};
use crate::raw::{
    Client, batch, fetch_request, frame, now_ms, produce_request, records, text, topic_name,
};

/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

#[test]
fn a_frame_above_the_limit_closes_its_connection_only() {
    let cluster = Cluster::embedded(|config| config.max_frame_bytes = 10_000);
    let (mut other, name) = cluster.with_topic("frames", 1);
    let large = "x".repeat(20_000);
    let mut client = cluster.connect();
    client.write(&frame(
        9,
        1,
        &produce_request(&name, 0, batch(&[(&large, 1)])),
    ));
    assert!(client.is_closed());
    assert_eq!(other.produce_at(&name, 0, &[("small", 1)]), 0);
}

#[test]
fn only_produce_may_send_large_frames() {
    let cluster = Cluster::embedded(|_| {});
    let mut client = cluster.connect();
    // Metadata, 9 MiB announced.
    client.write(&[0, 0x90, 0, 0, 0, 3, 0, 12]);
    assert!(client.is_closed());
}

#[test]
fn connections_above_the_limit_are_closed_and_room_is_found_again() {
    let cluster = Cluster::embedded(|config| config.max_connections = 2);
    let mut first = cluster.connect();
    let mut second = cluster.connect();
    for client in [&mut first, &mut second] {
        client.call(12, &MetadataRequest::default());
    }
    assert!(cluster.connect().is_closed());
    drop(first);
    let address = &cluster.address;
    eventually("room for another connection", || {
        let mut client = Client::connect(address);
        client.write(&frame(12, 1, &MetadataRequest::default()));
        client.receive_frame()
    });
    second.call(12, &MetadataRequest::default());
}

#[test]
fn idle_connections_are_closed() {
    let cluster =
        Cluster::embedded(|config| config.connections_max_idle = Duration::from_millis(50));
    let mut client = cluster.connect();
    assert!(client.is_closed());
}

#[test]
fn a_frame_that_never_ends_is_given_up() {
    let cluster = Cluster::embedded(|config| config.io_timeout = Duration::from_millis(50));
    let mut client = cluster.connect();
    client.write(&[0, 0, 1, 0, 0, 3, 0, 12, 0]);
    assert!(client.is_closed());
}

#[test]
fn a_reader_that_takes_nothing_is_cut_off_and_others_are_served() {
    let cluster = Cluster::embedded(|config| {
        config.io_timeout = Duration::from_secs(1);
        config.max_fetch_bytes_in_flight = 64 << 20;
    });
    let (mut client, name) = cluster.with_topic("slow", 1);
    let value = "x".repeat(500_000);
    for _ in 0..40 {
        client.produce_at(&name, 0, &[(&value, 1)]);
    }
    let mut slow = cluster.connect();
    let mut request = fetch_request(&name, 0, 0);
    request.topics[0].partitions[0].partition_max_bytes = 32 << 20;
    for _ in 0..4 {
        slow.send(12, &request);
    }
    assert_eq!(client.values(&name, 0, 39).len(), 1);
    slow.wait_until_cut_off();
    let deadline = Deadline::in_seconds(30);
    let mut taken = 0;
    while let Some(frame) = slow.receive_frame() {
        taken += frame.len();
        assert!(!deadline.passed());
    }
    assert!(taken < 4 * 16_000_000, "{taken} bytes came through");
}

#[test]
fn a_frame_of_length_zero_closes_its_connection() {
    let cluster = Cluster::embedded(|config| config.io_timeout = NEVER);
    let mut client = cluster.connect();
    client.write(&[0, 0, 0, 0]);
    assert!(client.is_closed());
}

#[test]
fn a_large_frame_that_does_not_come_stalls_nobody() {
    let cluster = Cluster::embedded(|config| {
        config.max_bytes_in_flight = 200_000;
        config.io_timeout = NEVER;
    });
    let (mut client, name) = cluster.with_topic("announced", 1);
    // A produce request of as much as all may take together, of which only the beginning comes.
    let mut slow = cluster.connect();
    slow.write(&[0, 3, 0x0d, 0x40, 0, 0, 0, 9]);
    client.call(12, &MetadataRequest::default());
    let value = "x".repeat(100_000);
    assert_eq!(client.produce_at(&name, 0, &[(&value, 1)]), 0);
    drop(slow);
}

#[test]
fn large_frames_that_come_together_are_all_taken() {
    let cluster = Cluster::embedded(|config| {
        config.max_bytes_in_flight = 200_000;
        config.io_timeout = NEVER;
    });
    let (mut client, name) = cluster.with_topic("together", 1);
    let value = "x".repeat(180_000);
    let request = frame(9, 1, &produce_request(&name, 0, batch(&[(&value, 1)])));
    let (first, rest) = request.split_at(120_000);
    let mut clients: Vec<Client> = (0..4).map(|_| cluster.connect()).collect();
    // Two halves are more than there is room for.
    for client in &mut clients {
        client.write(first);
    }
    for client in &mut clients {
        client.write(rest);
    }
    for client in &mut clients {
        assert!(client.receive_frame().is_some());
    }
    assert_eq!(client.list_offset(&name, 0, -1).offset, 4);
}

#[test]
fn consumers_that_stopped_reading_block_no_other_fetch() {
    let cluster = Cluster::embedded(|config| config.io_timeout = NEVER);
    let (mut client, name) = cluster.with_topic("stopped", 1);
    let value = "x".repeat(1_000_000);
    for _ in 0..20 {
        client.produce_at(&name, 0, &[(&value, 1)]);
    }
    let mut request = fetch_request(&name, 0, 0);
    request.topics[0].partitions[0].partition_max_bytes = 64 << 20;
    let mut stopped: Vec<Client> = (0..8).map(|_| cluster.connect()).collect();
    for client in &mut stopped {
        client.send(12, &request);
        // Its length has come: it was read, and takes its memory until it is sent.
        client.receive_length();
    }
    assert_eq!(records(&client.fetch(&name, 0, 19)).len(), 1);
    drop(stopped);
}

#[test]
fn what_is_asked_for_many_times_is_answered_once() {
    let cluster = Cluster::embedded(|_| {});
    let (mut client, name) = cluster.with_topic("often", 1);
    let topic = MetadataRequestTopic::default().with_name(Some(topic_name(&name)));
    let request = MetadataRequest::default().with_topics(Some(vec![topic; 1000]));
    let answered = client.call(12, &request).topics;
    assert_eq!(answered.len(), 1);
    // Beside an id, a name means nothing.
    let by_id = |number| {
        MetadataRequestTopic::default()
            .with_topic_id(answered[0].topic_id)
            .with_name(Some(topic_name(&format!("name-{number}"))))
    };
    let request = MetadataRequest::default().with_topics(Some((0..1000).map(by_id).collect()));
    assert_eq!(client.call(12, &request).topics.len(), 1);
    let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text("g"); 1000]);
    assert_eq!(client.call(4, &request).coordinators.len(), 1);
    let resource = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(&name));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource; 1000]);
    assert_eq!(client.call(4, &request).results.len(), 1);
    let group = GroupId(text("often"));
    let request = DescribeGroupsRequest::default().with_groups(vec![group; 1000]);
    assert_eq!(client.call(5, &request).groups.len(), 1);
    let topic = TopicRequest::default()
        .with_name(topic_name(&name))
        .with_partition_indexes(vec![0; 1000]);
    let request = DescribeProducersRequest::default().with_topics(vec![topic; 3]);
    let response = client.call(0, &request);
    assert_eq!(response.topics.len(), 1);
    assert_eq!(response.topics[0].partitions.len(), 1);
}

#[test]
fn a_produce_of_many_places_without_records_is_broken() {
    let cluster = Cluster::embedded(|_| {});
    let (mut client, name) = cluster.with_topic("empty", 1);
    let mut request = produce_request(&name, 0, Bytes::new());
    let empty = request.topic_data[0].partition_data[0].clone();
    request.topic_data[0].partition_data = vec![empty; 20_000];
    client.write(&frame(9, 1, &request));
    assert!(client.is_closed());
}

#[test]
fn requests_wait_their_turn_when_memory_is_short() {
    let cluster = Cluster::embedded(|config| {
        config.max_bytes_in_flight = 100_000;
        config.max_fetch_bytes_in_flight = 100_000;
    });
    let (mut client, name) = cluster.with_topic("turns", 4);
    let value = "x".repeat(60_000);
    std::thread::scope(|scope| {
        for partition in 0..4 {
            let (cluster, name, value) = (&cluster, &name, &value);
            scope.spawn(move || {
                let mut client = cluster.connect();
                for round in 0..20 {
                    assert_eq!(client.produce_at(name, partition, &[(value, 1)]), round);
                    assert_eq!(records(&client.fetch(name, partition, round)).len(), 1);
                }
            });
        }
    });
    assert_eq!(client.list_offset(&name, 3, -1).offset, 20);
}

/// Resident memory of this process in bytes.
fn resident() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<i64>()
        .unwrap()
        * 1024
}

/// Says that this process is the one in which a single test runs.
const ALONE: &str = "MILLSTREAM_TEST_ALONE";

/// Runs a test of this module again, in a process of its own.
fn run_alone(test: &str) {
    let (_, module) = module_path!().split_once("::").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{module}::{test}")])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("1 passed"), "{told}");
}

#[test]
fn a_thousand_idle_connections_take_less_than_64_mib() {
    if std::env::var_os(ALONE).is_none() {
        // Other tests of this process take memory, too.
        return run_alone("a_thousand_idle_connections_take_less_than_64_mib");
    }
    let cluster = Cluster::embedded(|_| {});
    let request = frame(12, 1, &MetadataRequest::default());
    let before = resident();
    let mut connections: Vec<Client> = (0..1000).map(|_| cluster.connect()).collect();
    for client in &mut connections {
        client.write(&request);
        assert!(client.receive_frame().is_some());
    }
    // Both ends of each connection are in this process.
    let taken = resident() - before;
    assert!(taken < 64 << 20, "{taken} bytes");
}

#[test]
fn two_thousand_partitions_are_created_and_opened() {
    let data = tempfile::tempdir().unwrap();
    let server = Server::start(Config::ephemeral(data.path())).unwrap();
    let mut client = Client::connect(&server.address().to_string());
    client.create_topic("many", 2000, &[]);
    client.produce_at("many", 1999, &[("last", 1)]);
    server.stop().unwrap();
    let server = Server::start(Config::ephemeral(data.path())).unwrap();
    let mut client = Client::connect(&server.address().to_string());
    assert_eq!(client.values("many", 1999, 0), ["last"]);
    server.stop().unwrap();
}

#[test]
fn a_thousand_partitions_work_with_sixty_four_descriptors() {
    let data = tempfile::tempdir().unwrap();
    let broker = Process::with_descriptors(data.path(), 64);
    let address = broker.address.to_string();
    let mut client = Client::connect(&address);
    client.create_topic("many", 1000, &[]);
    for partition in 0..1000 {
        client.produce_at("many", partition, &[("first", now_ms())]);
    }
    // Connections take what segments had.
    let mut others: Vec<Client> = (0..32).map(|_| Client::connect(&address)).collect();
    for (partition, other) in (0..1000).zip((0..32).cycle()) {
        let other = &mut others[other];
        other.produce_at("many", partition, &[("second", now_ms())]);
        let values = other.values("many", partition, 0);
        assert_eq!(values, ["first", "second"], "{partition}");
    }
    client.create_topic("more", 1, &[]);
    broker.kill();
    let broker = Process::with_descriptors(data.path(), 64);
    let mut client = Client::connect(&broker.address.to_string());
    for partition in 0..1000 {
        let values = client.values("many", partition, 0);
        assert_eq!(values, ["first", "second"], "{partition}");
    }
    broker.kill();
}
