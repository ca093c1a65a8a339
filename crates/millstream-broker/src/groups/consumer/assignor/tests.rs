//! What the assignors make of members and topics.

use super::*;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn topic(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

/// Members by id, with the topics they subscribe to and what they had.
type Members = [(&'static str, Vec<u128>, Partitions)];

fn assign(assignor: Assignor, counts: &[(u128, i32)], members: &Members) -> Vec<Partitions> {
    let ids: Vec<StrBytes> = members.iter().map(|(id, ..)| text(id)).collect();
    let subscribers = members
        .iter()
        .zip(&ids)
        .map(|((_, topics, target), id)| Subscriber {
            id,
            instance_id: None,
            topics: Rc::new(topics.iter().map(|number| topic(*number)).collect()),
            target,
        });
    let topics = counts
        .iter()
        .map(|(number, count)| (topic(*number), *count));
    let topics = topics.collect();
    let task = Task {
        members: subscribers.collect(),
        topics: &topics,
    };
    assignor.assign(&task)
}

fn had(all: &[(u128, &[i32])]) -> Partitions {
    let all = all.iter();
    all.map(|(number, partitions)| (topic(*number), partitions.iter().copied().collect()))
        .collect()
}

#[test]
fn assignors_are_found_by_name() {
    assert_eq!(Assignor::by_name("uniform"), Some(Assignor::Uniform));
    assert_eq!(Assignor::by_name("range"), Some(Assignor::Range));
    assert_eq!(Assignor::by_name("sticky"), None);
}

#[test]
fn a_newcomer_is_given_its_part_of_each_topic_and_nothing_else_moves() {
    let old = had(&[(1, &[0, 1, 2, 3]), (2, &[0, 1, 2, 3])]);
    let members = [
        ("a", vec![1, 2], old.clone()),
        ("b", vec![1, 2], Partitions::new()),
    ];
    let targets = assign(Assignor::Uniform, &[(1, 4), (2, 4)], &members);
    assert_eq!(targets[0], had(&[(1, &[0, 1]), (2, &[0, 1])]));
    assert_eq!(targets[1], had(&[(1, &[2, 3]), (2, &[2, 3])]));
    let members = [
        ("a", vec![1, 2], targets[0].clone()),
        ("b", vec![1, 2], targets[1].clone()),
    ];
    assert_eq!(
        assign(Assignor::Uniform, &[(1, 4), (2, 4)], &members),
        targets
    );
}

#[test]
fn what_is_gone_is_taken_away_and_what_is_new_goes_to_who_has_least() {
    let members = [
        ("a", vec![1], had(&[(1, &[0, 1, 5]), (9, &[0])])),
        ("b", vec![1], had(&[(1, &[2])])),
    ];
    let targets = assign(Assignor::Uniform, &[(1, 4)], &members);
    assert_eq!(targets[0], had(&[(1, &[0, 1])]));
    assert_eq!(targets[1], had(&[(1, &[2, 3])]));
}

#[test]
fn ranges_are_runs_and_the_first_ones_have_the_rest() {
    let members = [
        ("a", vec![1, 2], Partitions::new()),
        ("b", vec![1], Partitions::new()),
        ("c", vec![1], Partitions::new()),
    ];
    let targets = assign(Assignor::Range, &[(1, 5), (2, 1)], &members);
    assert_eq!(targets[0], had(&[(1, &[0, 1]), (2, &[0])]));
    assert_eq!(targets[1], had(&[(1, &[2, 3])]));
    assert_eq!(targets[2], had(&[(1, &[4])]));
}

#[test]
fn a_range_of_nothing_is_none() {
    let members = [
        ("a", vec![1], Partitions::new()),
        ("b", vec![1], Partitions::new()),
    ];
    let targets = assign(Assignor::Range, &[(1, 1)], &members);
    assert_eq!(targets, [had(&[(1, &[0])]), Partitions::new()]);
}
