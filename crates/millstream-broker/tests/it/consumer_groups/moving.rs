//! Partitions move: given back first, then taken.

use super::*;

#[test]
fn a_partition_is_given_to_the_next_one_after_it_was_given_back() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("moving", 4);
    let group = fresh_group();
    let mut first = Member::new(&cluster, &group, &[&topic]);
    first.beat();
    assert_eq!(first.count(), 4);
    let mut second = Member::new(&cluster, &group, &[&topic]);
    second.beat();
    assert_eq!((second.epoch, second.count()), (2, 0));
    // The first one is told, and as long as it holds all four the second one gets none.
    let held = first.assigned.clone();
    let answer = first.send(&first.full());
    first.take(&answer);
    assert_eq!((first.epoch, first.count()), (1, 2));
    second.beat();
    assert_eq!(second.count(), 0);
    assert_eq!(first.owned, held);
    let answer = first.send(&first.full());
    assert_eq!((answer.error_code, answer.member_epoch), (0, 1));
    second.beat();
    assert_eq!(second.count(), 0);
    // It gives them back.
    first.owned = first.assigned.clone();
    first.beat();
    assert_eq!((first.epoch, first.count()), (2, 2));
    second.beat();
    assert_eq!((second.epoch, second.count()), (2, 2));
    let mut all = first.partitions();
    all.extend(second.partitions());
    all.sort_unstable();
    assert_eq!(all, [0, 1, 2, 3]);
}

#[test]
fn whoever_stays_takes_over_from_who_left() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("left", 4);
    let group = fresh_group();
    let mut first = Member::new(&cluster, &group, &[&topic]);
    first.beat();
    let mut second = Member::new(&cluster, &group, &[&topic]);
    second.beat();
    first.beat_until(2);
    first.beat();
    second.beat_until(2);
    first.leave(-1);
    let answer = second.send(&second.short());
    second.take(&answer);
    assert_eq!((second.epoch, second.count()), (3, 4));
}

#[test]
fn ranges_are_cut_alike_for_all_topics() {
    let cluster = Cluster::start();
    let (_, one) = cluster.with_topic("range-a", 4);
    let (_, other) = cluster.with_topic("range-b", 4);
    let group = fresh_group();
    let mut members = ["b", "a"].map(|instance| {
        let mut member = Member::fixed(&cluster, &group, &[&one, &other], instance);
        member.assignor = Some("range");
        member.beat();
        member
    });
    eventually("four partitions each", || {
        members.iter_mut().for_each(Member::beat);
        members
            .iter()
            .all(|member| member.count() == 4)
            .then_some(())
    });
    // By instance id, not in the order in which they came.
    let [second, first] = members;
    assert_eq!(first.partitions(), [0, 1, 0, 1]);
    assert_eq!(second.partitions(), [2, 3, 2, 3]);
}

#[test]
fn members_with_other_topics_are_given_theirs() {
    let cluster = Cluster::start();
    let (_, shared) = cluster.with_topic("shared", 2);
    let (_, own) = cluster.with_topic("own", 2);
    let group = fresh_group();
    let mut one = Member::new(&cluster, &group, &[&shared]);
    let mut both = Member::new(&cluster, &group, &[&shared, &own]);
    one.beat();
    both.beat();
    eventually("two partitions each", || {
        one.beat();
        both.beat();
        (one.count() == 2 && both.count() == 2).then_some(())
    });
    assert_ne!(one.assigned, both.assigned);
    // It gives up the topic that both read.
    both.names = Some(vec![own.clone()]);
    one.names = Some(vec![shared.clone(), own.clone()]);
    eventually("two partitions each", || {
        one.beat();
        both.beat();
        (one.count() == 2 && both.count() == 2).then_some(())
    });
}
