//! Stopping and starting: what is found again, and what a stop waits for.

use std::path::Path;

use kafka_protocol::messages::{FetchRequest, MetadataRequest};
use millstream_broker::{Config, Error, Server};

use crate::cluster::{Deadline, eventually};
use crate::groups::commits;
use crate::raw::{Client, batch, fetch_request, frame, produce_request, records};

fn start(data: &Path) -> (Server, Client) {
    let server = Server::start(Config::ephemeral(data)).unwrap();
    let client = Client::connect(&server.address().to_string());
    (server, client)
}

#[test]
fn topics_records_and_configs_are_found_again() {
    let data = tempfile::tempdir().unwrap();
    let (server, mut client) = start(data.path());
    let id = client.create_topic("kept", 3, &[("retention.ms", "-1")]);
    client.produce_at("kept", 2, &[("a", 1000), ("b", 2000)]);
    let cluster_id = client.call(12, &MetadataRequest::default()).cluster_id;
    server.stop().unwrap();

    let (server, mut client) = start(data.path());
    let metadata = client.call(12, &MetadataRequest::default().with_topics(None));
    assert_eq!(metadata.cluster_id, cluster_id);
    assert_eq!(
        (metadata.topics.len(), metadata.topics[0].topic_id),
        (1, id)
    );
    assert_eq!(metadata.topics[0].partitions.len(), 3);
    assert_eq!(client.values("kept", 2, 0), ["a", "b"]);
    assert_eq!(client.produce_at("kept", 2, &[("c", 3000)]), 2);
    server.stop().unwrap();
}

#[test]
fn a_stop_wakes_fetches_that_wait() {
    let data = tempfile::tempdir().unwrap();
    let (server, mut client) = start(data.path());
    client.create_topic("waiting", 1, &[]);
    client.send(12, &fetch_request("waiting", 0, 0).with_max_wait_ms(60_000));
    // A request on another connection: the fetch has been read when this is answered, most likely.
    Client::connect(&server.address().to_string()).call(12, &MetadataRequest::default());
    let deadline = Deadline::in_seconds(30);
    server.stop().unwrap();
    assert!(!deadline.passed());
    if let Some(answer) = client.receive_frame() {
        assert!(!answer.is_empty());
    }
}

#[test]
fn a_fetch_that_a_stop_woke_is_answered() {
    let data = tempfile::tempdir().unwrap();
    let (server, mut client) = start(data.path());
    client.create_topic("waiting", 1, &[]);
    client.produce_at("waiting", 0, &[("a", 1000)]);
    client.send(
        12,
        &fetch_request("waiting", 0, 0)
            .with_max_wait_ms(60_000)
            .with_min_bytes(1 << 20),
    );
    let stopper = std::thread::spawn(move || server.stop());
    let response = client.receive_frame();
    stopper.join().unwrap().unwrap();
    // Either the request was read before the stop and is answered, or the connection was closed before.
    assert!(response.is_none_or(|frame| frame.len() > 40));
    assert!(client.is_closed());
}

#[test]
fn what_was_acknowledged_while_the_broker_stopped_is_found_again() {
    let data = tempfile::tempdir().unwrap();
    let (server, mut client) = start(data.path());
    client.create_topic("stopped", 4, &[]);
    let address = server.address().to_string();
    let acknowledged: Vec<(i32, usize)> = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..4)
            .map(|partition| {
                let address = address.clone();
                scope.spawn(move || {
                    let mut client = Client::connect(&address);
                    let mut count = 0;
                    loop {
                        let value = count.to_string();
                        client.write(&frame(
                            9,
                            1,
                            &produce_request("stopped", partition, batch(&[(&value, 1000)])),
                        ));
                        match client.receive_frame() {
                            Some(_) => count += 1,
                            None => return (partition, count),
                        }
                    }
                })
            })
            .collect();
        eventually("some records of every writer", || {
            let mut partitions = 0..4;
            partitions
                .all(|partition| client.list_offset("stopped", partition, -1).offset > 20)
                .then_some(())
        });
        server.stop().unwrap();
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap())
            .collect()
    });
    let (server, mut client) = start(data.path());
    for (partition, count) in acknowledged {
        let stored = client.list_offset("stopped", partition, -1).offset;
        assert!(
            stored >= i64::try_from(count).unwrap(),
            "partition {partition}: {stored} of {count}"
        );
    }
    server.stop().unwrap();
}

#[test]
fn a_second_owner_of_the_folder_is_refused_with_the_firsts_pid() {
    let data = tempfile::tempdir().unwrap();
    let (server, _client) = start(data.path());
    let refused = Server::start(Config::ephemeral(data.path())).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .contains(&std::process::id().to_string()),
        "{refused}"
    );
    server.stop().unwrap();
    let (server, _client) = start(data.path());
    server.stop().unwrap();
}

#[test]
fn half_made_and_half_removed_topics_are_cleared_away() {
    let data = tempfile::tempdir().unwrap();
    for left in ["~0b1c.new", "~0b1c.deleted"] {
        std::fs::create_dir_all(data.path().join("topics").join(left).join("0")).unwrap();
    }
    let (server, mut client) = start(data.path());
    assert_eq!(
        client
            .call(12, &MetadataRequest::default().with_topics(None))
            .topics
            .len(),
        0
    );
    assert_eq!(
        std::fs::read_dir(data.path().join("topics"))
            .unwrap()
            .count(),
        0
    );
    server.stop().unwrap();
}

#[test]
fn a_lost_partition_folder_is_not_replaced_by_an_empty_one() {
    let data = tempfile::tempdir().unwrap();
    let (server, mut client) = start(data.path());
    client.create_topic("lost", 2, &[]);
    client.produce_at("lost", 1, &[("a", 1000)]);
    server.stop().unwrap();
    std::fs::remove_dir_all(data.path().join("topics/lost/1")).unwrap();
    let refused = Server::start(Config::ephemeral(data.path())).unwrap_err();
    assert!(refused.to_string().contains("topics/lost/1"), "{refused}");
}

#[test]
fn requests_after_a_restart_go_on_where_they_were() {
    let data = tempfile::tempdir().unwrap();
    let mut expected = Vec::new();
    for round in 0..5 {
        let (server, mut client) = start(data.path());
        if round == 0 {
            client.create_topic("rounds", 1, &[]);
        }
        let value = format!("round {round}");
        assert_eq!(client.produce_at("rounds", 0, &[(&value, 1000)]), round);
        expected.push(value);
        let response = client.call(12, &fetch_request("rounds", 0, 0));
        assert_eq!(
            crate::raw::values(&response.responses[0].partitions[0]),
            expected
        );
        server.stop().unwrap();
    }
    let (server, mut client) = start(data.path());
    let response: <FetchRequest as kafka_protocol::protocol::Request>::Response =
        client.call(12, &fetch_request("rounds", 0, 3));
    assert_eq!(records(&response.responses[0].partitions[0]).len(), 2);
    server.stop().unwrap();
}

#[test]
fn offsets_of_a_topic_that_was_deleted_when_the_kill_came_are_forgotten() {
    let data = tempfile::tempdir().unwrap();
    let (server, mut client) = start(data.path());
    client.create_topic("deleted", 1, &[]);
    let request = commits::commit_request("readers", "deleted", &[(0, 5)]);
    assert_eq!(commits::commit(&mut client, 8, &request), [0]);
    server.stop().unwrap();
    // A kill came after the topic's folder was renamed, and before the groups heard of it.
    let topics = data.path().join("topics");
    std::fs::rename(topics.join("deleted"), topics.join("~x.deleted")).unwrap();
    let (server, mut client) = start(data.path());
    client.create_topic("deleted", 1, &[]);
    let found = commits::fetch(&mut client, "readers", "deleted", &[0]);
    assert_eq!(found, [-1]);
    server.stop().unwrap();
}

#[test]
fn a_missing_journal_is_not_made_anew_in_silence() {
    for name in ["groups.journal", "transactions.journal", "producer-ids"] {
        let data = tempfile::tempdir().unwrap();
        let (server, _) = start(data.path());
        server.stop().unwrap();
        let path = data.path().join(name);
        std::fs::remove_file(&path).unwrap();
        let error = Server::start(Config::ephemeral(data.path())).map(|_| ());
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("failed to open `{}`", path.display())
        );
    }
}

#[tokio::test]
async fn a_broker_that_syncs_starts_inside_a_runtime_of_one_thread() {
    let data = tempfile::tempdir().unwrap();
    let mut config = Config::ephemeral(data.path());
    config.fsync = true;
    Server::start(config).unwrap().stop().unwrap();
}
