//! What of groups only an own broker can show: restarts, and that waiting clients cost nothing for long.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::{
    DescribeGroupsRequest, HeartbeatRequest, MetadataRequest, OffsetCommitRequest,
    OffsetCommitResponse, OffsetFetchRequest, ResponseHeader,
};
use kafka_protocol::protocol::{Decodable, StrBytes};
use millstream_broker::{Config, Listener, Server};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};

use super::process::Process;
use crate::cluster::Cluster;
use crate::groups::{Member, code, group_id};
use crate::raw::{Client, text, topic_name};
use crate::support::eventually;

fn start(data: &Path, listen: Option<SocketAddr>) -> Server {
    let mut config = Config::ephemeral(data);
    if let Some(listen) = listen {
        config.listeners = vec![Listener::at(listen)];
    }
    Server::start(config).unwrap()
}

fn commit_request(group: &str, topic: &str, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(offset);
    let topic = OffsetCommitRequestTopic::default()
        .with_name(topic_name(topic))
        .with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id(group))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

fn commit(client: &mut Client, group: &str, topic: &str, offset: i64) -> i16 {
    let request = commit_request(group, topic, offset);
    client.call(9, &request).topics[0].partitions[0].error_code
}

fn offset(client: &mut Client, group: &str) -> Option<i64> {
    let request = OffsetFetchRequest::default()
        .with_group_id(group_id(group))
        .with_topics(None);
    let topics = client.call(7, &request).topics;
    Some(topics.first()?.partitions.first()?.committed_offset)
}

#[test]
fn committed_offsets_are_found_again() {
    for fsync in [false, true] {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config::ephemeral(data.path());
        config.fsync = fsync;
        let server = Server::start(config).unwrap();
        let mut client = Client::connect(&server.address().to_string());
        client.create_topic("calls", 1, &[]);
        for offset in 0..100 {
            assert_eq!(commit(&mut client, "readers", "calls", offset), 0);
        }
        server.stop().unwrap();
        let server = start(data.path(), None);
        let mut client = Client::connect(&server.address().to_string());
        assert_eq!(offset(&mut client, "readers"), Some(99));
        server.stop().unwrap();
    }
}

#[test]
fn a_consumer_goes_on_after_a_restart_without_a_rebalance() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path(), None);
    let address = server.address();
    let mut admin = Client::connect(&address.to_string());
    admin.create_topic("calls", 4, &[]);
    admin.produce_at("calls", 0, &[("before", 1000)]);
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address.to_string())
        .set("group.id", "readers")
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "30000")
        .set("heartbeat.interval.ms", "100")
        .set("reconnect.backoff.max.ms", "100")
        .create()
        .unwrap();
    consumer.subscribe(&["calls"]).unwrap();
    let moment = Duration::from_millis(20);
    let record = eventually("the first record", || consumer.poll(moment)?.ok());
    consumer.commit_message(&record, CommitMode::Sync).unwrap();
    drop(record);
    drop(admin);
    let generation = |client: &mut Client| {
        let request = DescribeGroupsRequest::default().with_groups(vec![group_id("readers")]);
        let group = client.call(6, &request).groups.remove(0);
        (group.group_state, group.members[0].member_id.clone())
    };
    let before = generation(&mut Client::connect(&address.to_string()));
    assert_eq!(before.0, text("Stable"));
    server.stop().unwrap();
    let server = start(data.path(), Some(address));
    let mut admin = Client::connect(&address.to_string());
    assert_eq!(generation(&mut admin), before);
    admin.produce_at("calls", 0, &[("after", 2000)]);
    let record = eventually("the record after the restart", || {
        consumer.poll(moment)?.ok()
    });
    assert_eq!(rdkafka::Message::payload(&record), Some("after".as_bytes()));
    eventually("a commit in the same generation", || {
        consumer.commit_message(&record, CommitMode::Sync).ok()
    });
    assert_eq!(offset(&mut admin, "readers"), Some(2));
    assert_eq!(generation(&mut admin), before);
    drop(record);
    drop(consumer);
    server.stop().unwrap();
}

#[test]
fn members_find_their_generation_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path(), None);
    let address = server.address().to_string();
    let joined = {
        let mut member = Member::at(&address, "readers");
        member.settle();
        (member.id.clone(), member.generation)
    };
    server.stop().unwrap();
    let server = start(data.path(), None);
    let mut client = Client::connect(&server.address().to_string());
    let mut beat = |member: &StrBytes, generation: i32| {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id("readers"))
            .with_generation_id(generation)
            .with_member_id(member.clone());
        client.call(4, &request).error_code
    };
    let (member, generation) = joined;
    assert_eq!(beat(&member, generation), 0);
    assert_eq!(
        beat(&member, generation + 1),
        code(ResponseError::IllegalGeneration)
    );
    server.stop().unwrap();
}

#[test]
fn a_stop_answers_members_that_wait() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path(), None);
    let address = server.address().to_string();
    let mut first = Member::at(&address, "readers");
    first.settle();
    let mut second = Member::at(&address, "readers");
    second.begin_join();
    first.beat_until(ResponseError::RebalanceInProgress);
    server.stop().unwrap();
    assert_eq!(
        second.end_join().error_code,
        code(ResponseError::NotCoordinator)
    );
}

#[test]
fn a_client_that_is_gone_while_it_waits_gives_its_connection_free() {
    let cluster = Cluster::embedded(|config| {
        config.max_connections = 2;
        config.io_timeout = Duration::from_secs(1);
    });
    let mut first = Member::at(&cluster.address, "readers");
    first.settle();
    let mut gone = Member::at(&cluster.address, "readers");
    gone.begin_join();
    first.beat_until(ResponseError::RebalanceInProgress);
    // A request behind the join does not hide that the connection is closed.
    gone.client.send(4, &HeartbeatRequest::default());
    drop(gone);
    // The first member does not join, so the join would wait for a minute.
    eventually("a place for another connection", || {
        let mut other = Client::connect(&cluster.address);
        other.send(0, &MetadataRequest::default());
        other.receive_frame()
    });
    assert_eq!(first.beat(), code(ResponseError::RebalanceInProgress));
    assert_eq!(first.join().members.len(), 2);
}

/// One commit; `None` when the broker was gone before it answered.
fn try_commit(client: &mut Client, offset: i64) -> Option<i16> {
    client.send(9, &commit_request("readers", "calls", offset));
    let mut frame = client.receive_frame()?;
    ResponseHeader::decode(&mut frame, 1).unwrap();
    let response = OffsetCommitResponse::decode(&mut frame, 9).unwrap();
    Some(response.topics[0].partitions[0].error_code)
}

#[test]
fn no_acknowledged_commit_is_lost_by_a_kill() {
    let data = tempfile::tempdir().unwrap();
    let mut next = 0;
    for round in 0..5 {
        let broker = Process::start(data.path(), "127.0.0.1:0");
        let mut client = Client::connect(&broker.address.to_string());
        if round == 0 {
            client.create_topic("calls", 1, &[]);
        } else {
            let found = offset(&mut client, "readers").unwrap();
            // The last one may have been stored and not acknowledged.
            assert!(found == next - 1 || found == next, "{found} after {next}");
        }
        let last = next + fastrand::i64(1..3000);
        let (stop, stopped) = std::sync::mpsc::channel();
        let killer = std::thread::spawn(move || {
            stopped.recv().ok();
            broker.kill();
        });
        while let Some(code) = try_commit(&mut client, next) {
            assert_eq!(code, 0);
            next += 1;
            if next == last {
                stop.send(()).ok();
            }
        }
        killer.join().unwrap();
    }
}

#[test]
fn a_session_ends_in_time() {
    let cluster = Cluster::embedded(|config| config.group_min_session_timeout_ms = 1);
    let mut member = Member::at(&cluster.address, "readers");
    // The session begins when the join is answered; nothing else has to come in time.
    member.session_timeout_ms = 50;
    member.join();
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id("readers")]);
    eventually("an empty group", || {
        let group = member.client.call(6, &request).groups.remove(0);
        (group.group_state == text("Empty")).then_some(())
    });
    assert_eq!(member.beat(), code(ResponseError::UnknownMemberId));
}

#[test]
fn expired_offsets_are_forgotten_in_time() {
    let cluster = Cluster::embedded(|config| {
        config.offsets_retention_ms = 1;
        config.offsets_retention_check = Duration::from_millis(10);
    });
    let mut client = cluster.connect();
    client.create_topic("calls", 1, &[]);
    assert_eq!(commit(&mut client, "readers", "calls", 5), 0);
    eventually("a forgotten offset", || {
        offset(&mut client, "readers").is_none().then_some(())
    });
}
