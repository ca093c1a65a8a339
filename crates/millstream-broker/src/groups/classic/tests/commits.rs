//! Who may commit offsets, and how long they are kept.

use kafka_protocol::messages::TopicName;

use super::*;
use crate::groups::classic::sync::Committer;
use crate::groups::offsets::{Commits, Committed};
use crate::log::Outcome;

const DAY_MS: i64 = 86_400_000;

fn commit(bench: &mut Bench, member: &StrBytes, generation: i32) -> Result<(), ResponseError> {
    commit_within(bench, member, generation, false)
}

fn commit_within(
    bench: &mut Bench,
    member_id: &StrBytes,
    generation: i32,
    transactional: bool,
) -> Result<(), ResponseError> {
    let now = bench.moment();
    let committer = Committer {
        member_id,
        instance_id: None,
        generation,
        transactional,
        knows_epochs: true,
    };
    bench.group.check_commit(&committer, now)
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn committed(at: i64, expires_at_ms: Option<i64>) -> Committed {
    Committed {
        offset: 7,
        leader_epoch: 0,
        metadata: StrBytes::new(),
        at_ms: WALL + at,
        expires_at_ms,
    }
}

fn put(bench: &mut Bench, name: &str, partition: i32, one: Committed) {
    let commits: Commits = vec![(topic(name), vec![(partition, one)])];
    bench.offsets.put(commits);
}

fn expired(bench: &Bench, after: i64) -> Vec<(String, Vec<i32>)> {
    let unused_since = |at_ms| bench.group.unused_since(at_ms);
    let reads = |topic: &str| bench.group.reads(topic);
    let places = bench
        .offsets
        .expired(WALL + after, DAY_MS, unused_since, reads);
    places
        .into_iter()
        .map(|(topic, partitions)| (topic.to_string(), partitions))
        .collect()
}

#[test]
fn a_group_without_members_takes_commits_of_those_who_are_none() {
    let mut bench = Bench::new();
    assert_eq!(commit(&mut bench, &StrBytes::new(), -1), Ok(()));
    assert_eq!(commit(&mut bench, &text("any"), -1), Ok(()));
    assert_eq!(
        commit(&mut bench, &StrBytes::new(), 1),
        Err(ResponseError::UnknownMemberId)
    );
    let members = bench.stable(&["a"]);
    let unknown = Err(ResponseError::UnknownMemberId);
    assert_eq!(commit(&mut bench, &StrBytes::new(), -1), unknown);
    bench.leave(&members[0]);
    assert_eq!(commit(&mut bench, &StrBytes::new(), -1), Ok(()));
}

#[test]
fn commits_of_members_are_checked_against_their_generation() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    assert_eq!(commit(&mut bench, &members[0], 1), Ok(()));
    for generation in [-1, 0, 2] {
        assert_eq!(
            commit(&mut bench, &members[0], generation),
            Err(ResponseError::IllegalGeneration)
        );
    }
    assert_eq!(
        commit(&mut bench, &text("stranger"), 1),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn members_still_commit_while_the_group_gathers_but_not_before_the_new_assignment() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a", "b"]);
    let generation = bench.group.generation;
    bench.join(being(consumer("a"), &members[0]));
    assert_eq!(bench.state(), State::PreparingRebalance);
    assert_eq!(commit(&mut bench, &members[1], generation), Ok(()));
    bench.join(being(consumer("b"), &members[1]));
    assert_eq!(bench.state(), State::CompletingRebalance);
    assert_eq!(
        commit(&mut bench, &members[1], generation),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(
        commit(&mut bench, &members[1], generation + 1),
        Err(ResponseError::RebalanceInProgress)
    );
}

#[test]
fn a_commit_shows_that_a_member_lives() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    bench.pass(i64::from(SESSION_MS) - 1);
    commit(&mut bench, &members[0], 1).unwrap();
    bench.pass(i64::from(SESSION_MS) - 1);
    assert_eq!(bench.state(), State::Stable);
    bench.pass(1);
    assert_eq!(bench.state(), State::Empty);
}

#[test]
fn offsets_of_those_who_are_no_members_expire_each_on_its_own() {
    let mut bench = Bench::new();
    put(&mut bench, "calls", 0, committed(0, None));
    put(&mut bench, "calls", 1, committed(5, None));
    assert_eq!(expired(&bench, DAY_MS - 1), []);
    assert_eq!(expired(&bench, DAY_MS), [("calls".to_owned(), vec![0])]);
    assert_eq!(
        expired(&bench, DAY_MS + 5),
        [("calls".to_owned(), vec![0, 1])]
    );
}

#[test]
fn an_offset_whose_committer_chose_the_retention_expires_by_that() {
    let mut bench = Bench::new();
    put(&mut bench, "calls", 0, committed(0, Some(WALL + 10)));
    put(
        &mut bench,
        "calls",
        1,
        committed(0, Some(WALL + 9 * DAY_MS)),
    );
    assert_eq!(expired(&bench, 9), []);
    assert_eq!(expired(&bench, 2 * DAY_MS), [("calls".to_owned(), vec![0])]);
}

#[test]
fn offsets_of_a_group_expire_when_it_has_been_empty_for_long() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    put(&mut bench, "calls", 0, committed(0, None));
    assert_eq!(expired(&bench, 9 * DAY_MS), []);
    bench.pass(1000);
    bench.leave(&members[0]);
    assert_eq!(expired(&bench, 1000 + DAY_MS - 1), []);
    assert_eq!(
        expired(&bench, 1000 + DAY_MS),
        [("calls".to_owned(), vec![0])]
    );
}

#[test]
fn offsets_of_a_topic_that_a_working_group_gave_up_expire() {
    let mut bench = Bench::new();
    bench.stable(&["a"]);
    put(&mut bench, "calls", 0, committed(0, None));
    put(&mut bench, "given-up", 0, committed(0, None));
    assert_eq!(expired(&bench, DAY_MS), [("given-up".to_owned(), vec![0])]);
    // In the middle of a rebalance nobody knows what is read.
    let leader = bench.group.leader.clone().unwrap();
    bench.enter(consumer("b"));
    assert_eq!(bench.state(), State::PreparingRebalance, "{leader:?}");
    assert_eq!(expired(&bench, DAY_MS), []);
}

#[test]
fn offsets_of_members_that_are_no_consumers_are_all_in_use() {
    let mut bench = Bench::new();
    let mut connect = knowing(consumer("worker"), &["sessioned"]);
    connect.protocol_type = text("connect");
    let (worker, _) = bench.enter(connect);
    bench.hand_out(&[worker], &["work"]);
    put(&mut bench, "calls", 0, committed(0, None));
    assert_eq!(expired(&bench, 9 * DAY_MS), []);
    assert_eq!(
        bench.group.check_offset_delete(),
        Err(ResponseError::NonEmptyGroup)
    );
}

#[test]
fn a_group_of_consumers_protects_the_topics_that_it_reads_from_deletion() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    assert_eq!(bench.group.check_offset_delete(), Ok(()));
    assert!(bench.group.reads("calls"));
    assert!(!bench.group.reads("given-up"));
    bench.leave(&members[0]);
    assert!(!bench.group.reads("calls"));
}

#[test]
fn a_consumer_whose_subscription_cannot_be_read_may_read_anything() {
    let mut bench = Bench::new();
    let mut odd = consumer("odd");
    odd.protocols[0].metadata = Bytes::from_static(b"?");
    let (member, _) = bench.enter(odd);
    bench.hand_out(&[member], &["all"]);
    assert!(bench.group.reads("whatever"));
}

#[test]
fn only_a_group_without_members_may_be_deleted() {
    let mut bench = Bench::new();
    assert_eq!(bench.group.check_delete(), Ok(()));
    let members = bench.stable(&["a", "b"]);
    let in_use = Err(ResponseError::NonEmptyGroup);
    assert_eq!(bench.group.check_delete(), in_use);
    bench.leave(&members[0]);
    assert_eq!(bench.group.check_delete(), in_use);
    bench.leave(&members[1]);
    assert_eq!(bench.group.check_delete(), Ok(()));
}

#[test]
fn a_transaction_may_commit_for_a_group_whose_members_it_does_not_name() {
    let mut bench = Bench::new();
    let members = bench.stable(&["a"]);
    let nobody = StrBytes::new();
    assert_eq!(commit_within(&mut bench, &nobody, -1, true), Ok(()));
    assert_eq!(
        commit_within(&mut bench, &members[0], 0, true),
        Err(ResponseError::IllegalGeneration)
    );
    assert_eq!(
        commit_within(&mut bench, &text("stranger"), -1, true),
        Err(ResponseError::UnknownMemberId)
    );
}

#[test]
fn offsets_of_a_transaction_wait_for_its_end_and_keep_others_from_expiring() {
    let mut bench = Bench::new();
    put(&mut bench, "calls", 0, committed(0, None));
    let pending = vec![(
        topic("calls"),
        vec![(0, committed(1, None)), (1, committed(1, None))],
    )];
    let offsets = &mut bench.offsets;
    offsets.pend(7, pending.clone());
    offsets.pend(8, vec![(topic("messages"), vec![(3, committed(2, None))])]);
    assert_eq!(offsets.get(&topic("calls"), 1), None);
    assert!(offsets.is_pending(&topic("calls"), 1));
    assert_eq!(expired(&bench, 2 * DAY_MS), []);
    let offsets = &mut bench.offsets;
    offsets.end(8, Outcome::Abort);
    assert!(!offsets.is_pending(&topic("messages"), 3));
    assert_eq!(offsets.touched(&topic("calls")), [0, 1]);
    offsets.end(7, Outcome::Commit);
    offsets.end(7, Outcome::Abort);
    assert_eq!(offsets.get(&topic("calls"), 1), Some(&committed(1, None)));
    assert_eq!(
        expired(&bench, 2 * DAY_MS),
        [("calls".to_owned(), vec![0, 1])]
    );
}
