//! Groups, their members, and the offsets that they have committed.

use millstream_client::admin::{Admin, GroupInfo, GroupKind, GroupState, TopicPartition};
use millstream_client::{Client, Error, Event, Position};
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use super::{admin, away, only, refusal};
use crate::support::{Broker, fresh, until};

fn joined(broker: &Broker, group: &str, topic: &str) -> Client {
    let mut client = broker.client(&[("client.id", "reader")]);
    let topic = client.topic(topic);
    client.join(group, Some("one"), &[topic]).unwrap();
    until(&mut client, "an assignment", |_, event| {
        matches!(event, Some(Event::Assigned(places)) if places.len() == 2).then_some(())
    });
    client
}

fn described(admin: &mut Admin, group: &str) -> Result<GroupInfo, Error> {
    only(admin.describe_groups(&[group]))
}

fn next(topic: &str, offsets: &[(i32, i64)]) -> Vec<(TopicPartition, Position)> {
    let at = |(number, offset): &(i32, i64)| {
        let position = Position {
            offset: *offset,
            epoch: 0,
        };
        (TopicPartition::new(topic, *number), position)
    };
    offsets.iter().map(at).collect()
}

fn committed(admin: &mut Admin, group: &str) -> Vec<(TopicPartition, Position)> {
    let found = admin.group_offsets(group).unwrap().into_iter();
    found
        .map(|(place, committed)| (place, committed.unwrap().position))
        .collect()
}

#[test]
fn a_group_is_listed_and_described_with_what_its_members_read() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(2), fresh("group"));
    let mut admin = admin(&broker);
    let mut client = joined(&broker, &group, &topic);
    let listed = admin.groups().unwrap();
    assert!(listed.failed.is_empty(), "{:?}", listed.failed);
    let one = &listed.found[&group];
    assert_eq!(
        (one.kind, one.state),
        (GroupKind::Classic, GroupState::Stable)
    );
    assert_eq!(one.protocol, "consumer");

    let info = described(&mut admin, &group).unwrap();
    assert_eq!(
        (info.kind, info.state),
        (GroupKind::Classic, GroupState::Stable)
    );
    assert_eq!(info.assignor, "cooperative-sticky");
    let [member] = info.members.values().collect::<Vec<_>>()[..] else {
        panic!("{info:?}");
    };
    assert_eq!(member.client_id, "reader");
    assert_eq!(member.instance.as_deref(), Some("one"));
    assert_eq!(member.topics, [&*topic]);
    let all = [
        TopicPartition::new(&topic, 0),
        TopicPartition::new(&topic, 1),
    ];
    assert_eq!(member.assigned, all);

    for error in [
        refusal(admin.alter_group_offsets(&group, &next(&topic, &[(0, 1)]))),
        refusal(admin.delete_group_offsets(&group, &all[..1])),
        refusal(admin.delete_groups(&[&group])),
    ] {
        assert!(error.ends_with("; stop them first"), "{error}");
    }
    client.leave();
    until(&mut client, "the member left", |_, event| {
        matches!(event, Some(Event::Left(_))).then_some(())
    });
}

#[test]
fn offsets_of_a_group_without_members_are_set_read_deleted_and_gone_with_it() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(3), fresh("group"));
    let mut admin = admin(&broker);
    assert_eq!(committed(&mut admin, &group), []);
    let wanted = next(&topic, &[(0, 7), (2, 9)]);
    let set = admin.alter_group_offsets(&group, &wanted).unwrap();
    assert_eq!(set.len(), 2);
    set.into_values().for_each(|result| result.unwrap());
    assert_eq!(committed(&mut admin, &group), wanted);
    let info = described(&mut admin, &group).unwrap();
    assert_eq!((info.state, info.members.len()), (GroupState::Empty, 0));

    let (first, last) = (wanted[0].0.clone(), wanted[1].0.clone());
    only(admin.delete_group_offsets(&group, &[last])).unwrap();
    assert_eq!(committed(&mut admin, &group), next(&topic, &[(0, 7)]));
    only(admin.delete_groups(&[&group])).unwrap();
    assert_eq!(committed(&mut admin, &group), []);
    let error = described(&mut admin, &group).unwrap_err().to_string();
    assert!(
        error.starts_with(&format!("failed to describe group `{group}`: "))
            && error.ends_with("; list the groups for those that there are"),
        "{error}"
    );
    for error in [
        refusal(admin.delete_groups(&[&group])),
        refusal(admin.delete_group_offsets(&group, &[first])),
    ] {
        assert!(error.contains("GroupIdNotFound"), "{error}");
    }
    assert!(!admin.groups().unwrap().found.contains_key(&group));
}

#[test]
fn a_partition_that_is_not_there_does_not_hide_the_others_of_a_group() {
    let broker = Broker::start();
    let (topic, group) = (broker.topic(1), fresh("group"));
    let mut admin = admin(&broker);
    let wanted = next(&topic, &[(0, 7), (5, 9)]);
    let set = admin.alter_group_offsets(&group, &wanted).unwrap();
    assert_eq!(set[&wanted[0].0].as_ref().ok(), Some(&()));
    let error = set[&wanted[1].0].as_ref().unwrap_err().to_string();
    let expected =
        format!("failed to set the offset of group `{group}` in `{topic}` partition 5: ");
    assert!(error.starts_with(&expected), "{error}");
    let error = admin.alter_group_offsets(&group, &next(&topic, &[(0, -7)]));
    assert_eq!(
        error.unwrap_err().to_string(),
        format!("the offset -7 of `{topic}` partition 0 is negative; use one from 0 on")
    );
}

#[test]
fn a_group_of_the_newer_protocol_is_described_beside_a_classic_one() {
    let broker = Broker::start();
    let (topic, newer, classic) = (broker.topic(2), fresh("newer"), fresh("classic"));
    let mut config = broker.rdkafka();
    config
        .set("group.id", &newer)
        .set("group.protocol", "consumer");
    let consumer: BaseConsumer = config.create().unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let mut admin = admin(&broker);
    only(admin.alter_group_offsets(&classic, &next(&topic, &[(0, 1)]))).unwrap();
    let missing = fresh("missing");
    for turn in 0.. {
        let _ = consumer.poll(std::time::Duration::from_millis(50));
        let groups = [&*newer, &*classic, &*missing];
        let mut found = admin.describe_groups(&groups).unwrap();
        assert_eq!(found.len(), 3);
        let unknown = found[&missing].as_ref().unwrap_err().to_string();
        assert!(unknown.contains("GroupIdNotFound"), "{unknown}");
        assert_eq!(found[&classic].as_ref().unwrap().kind, GroupKind::Classic);
        let newer = found.remove(&newer).unwrap();
        let assigned = newer.ok().filter(|info| info.state == GroupState::Stable);
        if let Some(info) = assigned {
            assert_eq!(info.kind, GroupKind::Consumer);
            let member = info.members.values().next().unwrap();
            assert_eq!(member.topics, [&*topic]);
            if member.assigned.len() == 2 {
                break;
            }
        }
        assert!(turn < 1000, "the group never had a member");
    }
    assert_eq!(
        admin.groups().unwrap().found[&newer].kind,
        GroupKind::Consumer
    );
}

#[test]
fn the_cluster_names_its_brokers_and_its_controller() {
    let broker = Broker::start();
    let cluster = admin(&broker).describe_cluster().unwrap();
    assert!(!cluster.id.is_empty());
    assert!(cluster.brokers.contains_key(&cluster.controller.unwrap()));
    let error = away().describe_cluster().unwrap_err().to_string();
    assert_eq!(
        error,
        "the attempt to describe the cluster at `127.0.0.1:1` took longer than 200 ms"
    );
}
