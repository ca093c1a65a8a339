//! Members that missed something are told so by their epoch.

use super::*;

#[test]
fn a_member_joins_alone_has_everything_and_leaves() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("joined", 3);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic]);
    let answer = member.send(&member.full());
    assert_eq!(answer.member_id.as_ref(), Some(&member.id));
    assert_eq!(answer.heartbeat_interval_ms, 5000);
    member.take(&answer);
    assert_eq!(member.partitions(), [0, 1, 2]);
    assert_eq!(member.epoch, 1);
    member.owned = member.assigned.clone();
    // Nothing has changed since, so nothing is repeated.
    let answer = member.send(&member.short());
    assert_eq!((answer.error_code, answer.member_epoch), (0, 1));
    assert_eq!(answer.assignment, None);
    member.leave(-1);
    assert_eq!(member.code(), Some(ResponseError::UnknownMemberId));
    assert_eq!(described(&mut member.client, 1, &group).group_epoch, 2);
}

#[test]
fn a_group_and_a_member_that_do_not_exist_are_refused() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("unknown", 1);
    let group = fresh_group();
    let mut stranger = Member::new(&cluster, &group, &[&topic]);
    stranger.epoch = 3;
    assert_eq!(stranger.code(), Some(ResponseError::GroupIdNotFound));
    let leaving = stranger.short().with_member_epoch(-1);
    let answer = stranger.send(&leaving);
    assert_eq!(answer.error_code, ResponseError::GroupIdNotFound.code());
    Member::new(&cluster, &group, &[&topic]).beat();
    assert_eq!(stranger.code(), Some(ResponseError::UnknownMemberId));
    let answer = stranger.send(&leaving);
    assert_eq!(answer.error_code, ResponseError::UnknownMemberId.code());
}

#[test]
fn an_epoch_that_the_group_does_not_know_is_fenced() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("fenced", 2);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic]);
    member.beat();
    member.epoch = 2;
    assert_eq!(member.code(), Some(ResponseError::FencedMemberEpoch));
    // A second member comes and goes, so that the first one is two epochs further.
    member.epoch = 1;
    let mut other = Member::new(&cluster, &group, &[&topic]);
    other.beat();
    member.beat();
    member.beat();
    other.leave(-1);
    member.beat();
    assert!(member.epoch >= 3, "{}", member.epoch);
    member.epoch -= 2;
    assert_eq!(member.full_code(), Some(ResponseError::FencedMemberEpoch));
}

#[test]
fn a_member_that_missed_an_answer_goes_on_from_the_epoch_before() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("missed", 2);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic]);
    // The answer to the join is lost.
    let joining = member.full();
    member.send(&joining);
    let answer = member.send(&joining);
    member.take(&answer);
    assert_eq!((member.epoch, member.partitions()), (1, vec![0, 1]));
    member.owned = member.assigned.clone();
    // A second one comes, and the answer that moves the first one to the next epoch is lost.
    let mut other = Member::new(&cluster, &group, &[&topic]);
    other.beat();
    member.beat();
    let moving = member.full();
    let lost = member.send(&moving);
    assert_eq!((lost.error_code, lost.member_epoch), (0, 2));
    let answer = member.send(&moving);
    member.take(&answer);
    assert_eq!((member.epoch, member.count()), (2, 1));
    // Short, it does not say what it holds: it is fenced.
    member.epoch = 1;
    assert_eq!(member.code(), Some(ResponseError::FencedMemberEpoch));
}

#[test]
fn a_member_that_joins_again_under_its_id_stays_the_same() {
    // Apache Kafka 4.1 fences it until its session has ended.
    let cluster = Cluster::embedded(|_| {});
    let (_, topic) = cluster.with_topic("again", 2);
    let group = fresh_group();
    let mut member = Member::new(&cluster, &group, &[&topic]);
    member.beat();
    Member::new(&cluster, &group, &[&topic]).beat();
    member.beat();
    member.beat();
    let epoch = member.epoch;
    member.epoch = 0;
    member.owned.clear();
    member.beat();
    assert_eq!((member.epoch, member.count()), (epoch, 1));
}
