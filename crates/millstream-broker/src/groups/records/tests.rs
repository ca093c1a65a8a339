//! Records come back as they were put, and broken ones not at all.

use bytes::Bytes;

use super::*;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id(name: &str) -> GroupId {
    GroupId(text(name))
}

fn commits() -> Commits {
    let one = Committed {
        offset: 42,
        leader_epoch: -1,
        metadata: text("until \u{1F600}"),
        at_ms: 1_700_000_000_000,
        expires_at_ms: None,
    };
    let other = Committed {
        expires_at_ms: Some(0),
        metadata: StrBytes::new(),
        ..one.clone()
    };
    vec![
        (TopicName(text("calls")), vec![(0, one.clone()), (7, other)]),
        (TopicName(text("messages")), vec![(3, one)]),
    ]
}

fn group() -> classic::Group {
    let mut group = classic::Group::new(id("readers"), 5);
    group.generation = 9;
    group.protocol_type = Some(text("consumer"));
    group.protocol = Some(text("range"));
    group.leader = Some(text("a-1"));
    group.changed_at_ms = 77;
    let join = Join {
        member_id: text("a-1"),
        instance_id: Some(text("a")),
        client_id: text("client"),
        client_host: text("/::1"),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 300_000,
        protocol_type: text("consumer"),
        protocols: vec![
            Protocol {
                name: text("range"),
                metadata: Bytes::from_static(b"\0\xff"),
            },
            Protocol {
                name: text("sticky"),
                metadata: Bytes::new(),
            },
        ],
        reason: StrBytes::new(),
        id_required: false,
        can_skip_assignment: false,
    };
    let mut member = Member::new(text("a-1"), join);
    member.assignment = Bytes::from_static(b"\x01\x02");
    group.restore(vec![member], 0);
    group
}

fn replay(records: &[Vec<u8>]) -> Replayed {
    let mut replayed = Replayed::default();
    for record in records {
        replayed.apply(record).unwrap();
    }
    replayed
}

fn record(put: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = Vec::new();
    put(&mut record);
    record
}

fn places(found: &Found) -> Vec<(String, i32, Committed)> {
    let offsets = found.group.offsets.iter();
    offsets
        .map(|(topic, partition, committed)| (topic.to_string(), partition, committed.clone()))
        .collect()
}

fn classic(group: Group) -> classic::Group {
    match group.kind {
        Kind::Classic(group) => *group,
        Kind::Consumer(group) => panic!("a classic group came back as {group:?}"),
    }
}

#[test]
fn commits_come_back() {
    let replayed = replay(&[record(|out| put_commits(out, &id("readers"), &commits()))]);
    let found = &replayed.groups[&id("readers")];
    let expected: Vec<_> = commits()
        .into_iter()
        .flat_map(|(topic, partitions)| {
            let topic = topic.to_string();
            let partitions = partitions.into_iter();
            partitions.map(move |(partition, committed)| (topic.clone(), partition, committed))
        })
        .collect();
    assert_eq!(places(found), expected);
    let all = found.group.offsets.in_order().into_iter();
    let all = all.map(|(_, commits)| record(|out| put_commits(out, &id("readers"), &commits)));
    let all: Vec<_> = all.collect();
    assert_eq!(all.len(), 1);
    assert_eq!(places(&replay(&all).groups[&id("readers")]), expected);
}

#[test]
fn a_group_comes_back_with_its_members() {
    let group = group();
    let stored = record(|out| put_group(out, &group));
    let mut replayed = replay(std::slice::from_ref(&stored));
    let found = replayed.groups.remove(&id("readers")).unwrap();
    assert_eq!(found.state, stored);
    let mut again = classic(found.group);
    again.restore(found.members, 0);
    assert_eq!(record(|out| put_group(out, &again)), stored);
    assert_eq!(again.described(), group.described());
    assert_eq!(again.generation, 9);
    assert_eq!(again.changed_at_ms, 77);
    assert_eq!(again.leader, Some(text("a-1")));
}

#[test]
fn a_group_without_protocol_is_not_one_with_an_empty_protocol() {
    let mut group = classic::Group::new(id("g"), 5);
    group.protocol = Some(StrBytes::new());
    let mut replayed = replay(&[record(|out| put_group(out, &group))]);
    let found = classic(replayed.groups.remove(&id("g")).unwrap().group);
    assert_eq!(found.protocol_type, None);
    assert_eq!(found.protocol, Some(StrBytes::new()));
}

#[test]
fn what_was_forgotten_or_removed_is_gone() {
    let readers = id("readers");
    let committed = record(|out| put_commits(out, &readers, &commits()));
    let places_gone: Places = vec![(TopicName(text("calls")), vec![0, 7, 99])];
    let forgotten = record(|out| put_forgotten(out, &readers, &places_gone));
    let replayed = replay(&[committed.clone(), forgotten]);
    let left: Vec<_> = places(&replayed.groups[&readers])
        .into_iter()
        .map(|(topic, partition, _)| (topic, partition))
        .collect();
    assert_eq!(left, [("messages".to_owned(), 3)]);
    let removed = record(|out| put_removed(out, &readers));
    assert!(replay(&[committed, removed]).groups.is_empty());
}

#[test]
fn a_record_that_ends_early_or_late_is_refused() {
    let group = group();
    let readers = id("readers");
    for whole in [
        record(|out| put_commits(out, &readers, &commits())),
        record(|out| put_group(out, &group)),
        record(|out| put_removed(out, &readers)),
        record(|out| put_pending(out, &readers, 7, &commits())),
        record(|out| put_ended(out, &readers, 7, Outcome::Commit)),
    ] {
        let refused = Err("the record does not have the fields of its kind".to_owned());
        for end in 0..whole.len() {
            assert_eq!(Replayed::default().apply(&whole[..end]), refused);
        }
        let longer = [whole.as_slice(), b"\0"].concat();
        assert_eq!(Replayed::default().apply(&longer), refused);
    }
}

#[test]
fn a_record_of_an_unknown_kind_is_refused_by_number() {
    assert_eq!(
        Replayed::default().apply(&[99, 0, 0]),
        Err("no record has kind 99".to_owned())
    );
}
