//! Static members: gone for a while, back under another id, and never two at a time.

use super::*;

#[test]
fn a_static_member_comes_back_under_another_id_and_keeps_its_partitions() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("static", 4);
    let group = fresh_group();
    let mut first = Member::fixed(&cluster, &group, &[&topic], "one");
    let mut second = Member::fixed(&cluster, &group, &[&topic], "two");
    first.beat();
    second.beat();
    first.beat_until(2);
    first.beat();
    second.beat_until(2);
    let kept = second.assigned.clone();
    let epoch = second.epoch;
    second.leave(-2);
    // Nobody else is given anything meanwhile.
    first.beat();
    assert_eq!((first.epoch, first.count()), (epoch, 2));
    let mut back = Member::fixed(&cluster, &group, &[&topic], "two");
    back.beat();
    assert_eq!((back.epoch, &back.assigned), (epoch, &kept));
    assert_eq!(second.code(), Some(ResponseError::FencedInstanceId));
    // For good.
    back.leave(-1);
    first.beat_until(4);
}

#[test]
fn an_instance_id_that_is_in_use_is_refused() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("in-use", 2);
    let group = fresh_group();
    let mut member = Member::fixed(&cluster, &group, &[&topic], "one");
    member.beat();
    let mut other = Member::fixed(&cluster, &group, &[&topic], "one");
    assert_eq!(other.full_code(), Some(ResponseError::UnreleasedInstanceId));
    other.epoch = 1;
    assert_eq!(other.code(), Some(ResponseError::FencedInstanceId));
    other.instance = Some(text("two"));
    assert_eq!(other.code(), Some(ResponseError::UnknownMemberId));
    member.beat();
    assert_eq!(member.count(), 2);
}

#[test]
fn a_static_member_that_joins_again_without_having_left_is_refused() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("not-left", 2);
    let group = fresh_group();
    let mut member = Member::fixed(&cluster, &group, &[&topic], "one");
    member.beat();
    member.epoch = 0;
    member.owned.clear();
    assert_eq!(
        member.full_code(),
        Some(ResponseError::UnreleasedInstanceId)
    );
}
