//! Bytes that are no requests: whatever comes, only its connection ends, and the broker goes on.

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::{
    DeleteRecordsRequest, DescribeConfigsRequest, FetchRequest, ListOffsetsRequest, MetadataRequest,
};

use crate::cluster::Cluster;
use crate::raw::{Client, batch, fetch_request, frame, produce_request, topic_name};

/// A frame with header (version 1) and the given body.
fn with_body(key: i16, version: i16, body: &[u8]) -> BytesMut {
    let mut frame = BytesMut::new();
    frame.put_i32(i32::try_from(10 + body.len()).unwrap());
    frame.put_i16(key);
    frame.put_i16(version);
    frame.put_i32(1);
    frame.put_i16(-1);
    frame.put_slice(body);
    frame
}

#[test]
fn lengths_that_the_frame_cannot_hold_are_refused_without_allocating() {
    let cluster = Cluster::embedded(|_| {});
    let mut other = cluster.connect();
    let huge = [0x7f, 0xff, 0xff, 0xff];
    let cases = [
        // Metadata 4: 2,147,483,647 topics.
        with_body(3, 4, &huge),
        // Metadata 12 (flexible, with the header's empty tags): as a compact length.
        with_body(3, 12, &[0, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        // A boolean with its high bit set must not hide the compact length behind it.
        with_body(60, 0, &[0, 0x80, 0xff, 0xff, 0xff, 0xff, 0x0f]),
        // ListOffsets 1: replica, then topics.
        with_body(2, 1, &[0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]),
        // CreateTopics 4.
        with_body(19, 4, &huge),
        // Produce 7: no transaction, acks, timeout, topics.
        with_body(
            0,
            7,
            &[0xff, 0xff, 0, 1, 0, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff],
        ),
        // Produce 9.
        with_body(
            0,
            9,
            &[0, 0, 0, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
        // Negative lengths.
        with_body(19, 4, &[0x80, 0, 0, 0]),
        // Nothing at all.
        with_body(1, 12, &[]),
    ];
    for frame in cases {
        let mut client = cluster.connect();
        client.write(&frame);
        client.receive_frame();
        other.call(12, &MetadataRequest::default());
    }
}

#[test]
fn frames_of_impossible_lengths_close_their_connection() {
    let cluster = Cluster::embedded(|_| {});
    for length in [-1, 0, 1, 7, i32::MAX, i32::MIN] {
        let mut client = cluster.connect();
        let mut bytes = BytesMut::new();
        bytes.put_i32(length);
        bytes.put_slice(&[0, 18, 0, 0, 0, 0, 0, 1]);
        client.write(&bytes);
        assert!(client.is_closed(), "length {length}");
    }
}

#[test]
fn noise_ends_its_connection_only() {
    let cluster = Cluster::embedded(|_| {});
    let (mut other, name) = cluster.with_topic("noise", 1);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..300 {
        let mut client = cluster.connect();
        let bytes: Vec<u8> = (0..random.usize(1..200)).map(|_| random.u8(..)).collect();
        client.write(&bytes);
        drop(client);
        assert_eq!(
            other.call(12, &MetadataRequest::default()).brokers.len(),
            1,
            "seed {seed}, round {round}"
        );
    }
    assert_eq!(other.produce_at(&name, 0, &[("still there", 1)]), 0);
}

/// Requests that are right, of old and new versions.
fn honest(topic: &str) -> Vec<BytesMut> {
    let metadata = MetadataRequest::default().with_topics(None);
    let create = CreateTopicsRequest::default()
        .with_topics(vec![
            CreatableTopic::default()
                .with_name(topic_name("made"))
                .with_num_partitions(1)
                .with_replication_factor(1),
        ])
        .with_validate_only(true);
    let mut frames = Vec::new();
    for version in [3, 7, 9, 12] {
        frames.push(frame(
            version,
            1,
            &produce_request(topic, 0, batch(&[("value", 1)])),
        ));
    }
    for version in [4, 11, 12] {
        frames.push(frame(version, 1, &fetch_request(topic, 0, 0)));
    }
    for version in [1, 9, 13] {
        frames.push(frame(version, 1, &metadata));
    }
    for version in [2, 5, 7] {
        frames.push(frame(version, 1, &create));
    }
    frames.push(frame(9, 1, &ListOffsetsRequest::default()));
    frames.push(frame(2, 1, &DeleteRecordsRequest::default()));
    frames.push(frame(4, 1, &DescribeConfigsRequest::default()));
    frames.push(frame(4, 1, &FetchRequest::default()));
    frames
}

#[test]
fn mutated_requests_end_their_connection_at_worst() {
    let cluster = Cluster::embedded(|config| config.io_timeout = std::time::Duration::from_secs(1));
    let (mut other, name) = cluster.with_topic("mutated", 1);
    let frames = honest(&name);
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for round in 0..1000 {
        let mut bytes = frames[random.usize(..frames.len())].clone();
        for _ in 0..random.usize(1..4) {
            // The length stays: what is behind it is what is parsed.
            let place = random.usize(6..bytes.len());
            bytes[place] = if random.bool() {
                random.u8(..)
            } else {
                [0, 0x7f, 0x80, 0xff][random.usize(..4)]
            };
        }
        send_and_forget(&cluster, &bytes);
        if round % 20 == 0 {
            assert_eq!(
                other.call(12, &MetadataRequest::default()).brokers.len(),
                1,
                "seed {seed}, round {round}"
            );
        }
    }
    assert_eq!(
        other
            .produce(&name, 0, batch(&[("still there", 1)]))
            .error_code,
        0,
        "seed {seed}"
    );
}

/// Sends a request on a connection of its own, and does not care what becomes of it.
fn send_and_forget(cluster: &Cluster, bytes: &[u8]) {
    let mut client: Client = cluster.connect();
    client.write(bytes);
}

#[test]
fn truncated_requests_end_their_connection() {
    let cluster = Cluster::embedded(|_| {});
    let (mut other, name) = cluster.with_topic("truncated", 1);
    for whole in honest(&name) {
        for length in 8..whole.len() - 5 {
            let mut cut = BytesMut::from(&whole[..4 + length]);
            cut[..4].copy_from_slice(&i32::try_from(length).unwrap().to_be_bytes());
            send_and_forget(&cluster, &cut);
        }
        assert_eq!(other.call(12, &MetadataRequest::default()).brokers.len(), 1);
    }
}
