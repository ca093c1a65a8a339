//! Offsets of groups over restarts, of open transactions, and how they go.

use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};

use super::*;

#[tokio::test]
async fn acknowledged_commits_survive_a_kill() {
    let bench = Bench::new();
    bench
        .commit("one", &[("calls", 0, 5), ("calls", 1, 6)])
        .await;
    bench
        .commit("one", &[("calls", 0, 7), ("messages", 2, 8)])
        .await;
    bench.commit("two", &[("calls", 0, 9)]).await;
    let bench = bench.restart();
    assert_eq!(
        bench.offsets("one").await,
        ["calls-0=7", "calls-1=6", "messages-2=8"]
    );
    assert_eq!(bench.offsets("two").await, ["calls-0=9"]);
    assert_eq!(bench.offsets("three").await, [""; 0]);
    assert_eq!(bench.names().await, ["one", "two"]);
}

#[tokio::test]
async fn each_partition_of_a_commit_has_its_own_verdict() {
    let bench = Bench::new();
    let unknown = ResponseError::UnknownTopicOrPartition.code();
    let codes = bench
        .commit_as(
            "one",
            None,
            &[("calls", 0, 5), ("missing", 0, 6), ("calls", 10, 7)],
        )
        .await;
    assert_eq!(codes, [0, unknown, unknown]);
    assert_eq!(bench.offsets("one").await, ["calls-0=5"]);
}

#[tokio::test]
async fn a_commit_of_an_unknown_generation_makes_no_group() {
    let bench = Bench::new();
    let member = text("app-1");
    let codes = bench
        .commit_as("one", Some((&member, 3)), &[("calls", 0, 5)])
        .await;
    assert_eq!(codes, [ResponseError::GroupIdNotFound.code()]);
    assert_eq!(bench.names().await, [""; 0]);
}

#[tokio::test]
async fn the_offsets_of_a_deleted_topic_are_forgotten_for_good() {
    let bench = Bench::new();
    bench
        .commit("one", &[("calls", 0, 5), ("messages", 0, 6)])
        .await;
    bench.commit("two", &[("calls", 3, 7)]).await;
    bench.groups().forget_topic(&topic("calls")).await;
    assert_eq!(bench.offsets("one").await, ["messages-0=6"]);
    let bench = bench.restart();
    assert_eq!(bench.offsets("one").await, ["messages-0=6"]);
    assert_eq!(bench.offsets("two").await, [""; 0]);
}

#[tokio::test]
async fn expired_offsets_are_forgotten_and_their_group_with_them() {
    let bench = Bench::new();
    let retention =
        Duration::from_millis(u64::try_from(bench.broker.config.offsets_retention_ms).unwrap());
    bench.commit("one", &[("calls", 0, 5)]).await;
    bench.clock().advance(retention - Duration::from_millis(1));
    bench.commit("two", &[("calls", 0, 6)]).await;
    bench.expire().await;
    assert_eq!(bench.names().await, ["one", "two"]);
    bench.clock().advance(Duration::from_millis(1));
    bench.expire().await;
    assert_eq!(bench.names().await, ["two"]);
    let bench = bench.restart();
    assert_eq!(bench.names().await, ["two"]);
}

/// The groups alone as a restart finds them: without a coordinator of transactions that would end what it does not know.
fn found(bench: &Bench) -> Groups {
    let topics = Arc::new(testing::NoTopics);
    let configs = Arc::clone(&bench.broker.group_configs);
    Groups::open(&bench.journal(), &bench.broker.config, topics, configs).unwrap()
}

fn committed(groups: &Groups, partition: i32) -> Option<i64> {
    groups.look(&id("g"), |group| {
        let committed = group?.offsets().get(&topic("calls"), partition)?;
        Some(committed.offset)
    })
}

#[tokio::test]
async fn offsets_of_open_transactions_survive_a_restart() {
    let bench = Bench::new();
    bench.commit("g", &[("calls", 0, 3)]).await;
    bench.pend("g", 7, ("calls", 0, 5)).await;
    bench.pend("g", 8, ("calls", 0, 9)).await;
    bench.pend("only-pending", 7, ("calls", 1, 2)).await;
    let groups = found(&bench);
    assert_eq!(committed(&groups, 0), Some(3));
    let mut open = groups.open_transactions();
    open.sort();
    let expected = [("g", 7), ("g", 8), ("only-pending", 7)];
    assert_eq!(
        open,
        expected.map(|(group, producer)| (id(group), producer))
    );
    let end = |group, producer_id, outcome| {
        let ended = groups.end_transaction(&id(group), producer_id, outcome);
        assert_eq!(ended, Ok(()));
    };
    end("g", 7, Outcome::Commit);
    end("g", 8, Outcome::Abort);
    end("only-pending", 7, Outcome::Abort);
    assert_eq!(committed(&groups, 0), Some(5));
    let groups = found(&bench);
    assert_eq!(committed(&groups, 0), Some(5));
    assert_eq!(groups.open_transactions(), []);
    assert_eq!(groups.slots().len(), 1);
}

#[tokio::test]
async fn the_end_of_a_transaction_does_not_replace_what_was_committed_after_its_offsets() {
    let bench = Bench::new();
    bench.pend("g", 7, ("calls", 0, 10)).await;
    bench.pend("g", 7, ("calls", 1, 10)).await;
    bench.commit("g", &[("calls", 0, 20)]).await;
    let groups = found(&bench);
    let ended = groups.end_transaction(&id("g"), 7, Outcome::Commit);
    assert_eq!(ended, Ok(()));
    for groups in [groups, found(&bench)] {
        let offsets = [0, 1].map(|partition| committed(&groups, partition));
        assert_eq!(offsets, [Some(20), Some(10)]);
    }
}

#[tokio::test]
async fn a_deleted_topic_takes_the_offsets_of_open_transactions_along() {
    let bench = Bench::new();
    bench.pend("g", 7, ("calls", 0, 5)).await;
    bench.groups().forget_topic(&topic("calls")).await;
    assert_eq!(bench.groups().open_transactions(), []);
    assert_eq!(bench.restart().groups().open_transactions(), []);
}

#[tokio::test]
async fn a_deleted_group_is_gone_with_its_offsets_for_good() {
    let bench = Bench::new();
    bench.commit("one", &[("calls", 0, 5)]).await;
    bench.stable("two").await;
    assert_eq!(bench.delete("one").await, 0);
    assert_eq!(
        bench.delete("one").await,
        ResponseError::GroupIdNotFound.code()
    );
    assert_eq!(
        bench.delete("two").await,
        ResponseError::NonEmptyGroup.code()
    );
    let bench = bench.restart();
    assert_eq!(bench.offsets("one").await, [""; 0]);
    assert_eq!(bench.names().await, ["two"]);
}

#[tokio::test]
async fn a_partition_that_is_asked_for_many_times_is_answered_once() {
    let bench = Bench::new();
    bench
        .commit("one", &[("calls", 0, 5), ("calls", 1, 6)])
        .await;
    let topic_of = |indexes: &[i32]| {
        OffsetFetchRequestTopics::default()
            .with_name(topic("calls"))
            .with_partition_indexes(indexes.to_vec())
    };
    let group = |topics| {
        OffsetFetchRequestGroup::default()
            .with_group_id(id("one"))
            .with_member_epoch(-1)
            .with_topics(topics)
    };
    let request = OffsetFetchRequest::default().with_groups(vec![
        group(Some(vec![topic_of(&[0, 0, 0]), topic_of(&[0])])),
        group(Some(vec![topic_of(&[1, 0, 1])])),
        group(None),
        group(None),
    ]);
    let fetched = api::offset_fetch::handle(&bench.broker, &client(), request, 8).await;
    let answers = fetched.groups.iter().map(|group| {
        let partitions = group.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|one| one.partition_index).collect()
    });
    let answers: Vec<Vec<i32>> = answers.collect();
    assert_eq!(answers, [vec![0], vec![1], vec![0, 1]]);
}
