//! Dynamic configs of groups.

use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, GroupId};

use super::*;

const GROUP: i8 = 32;
const HEARTBEAT: &str = "consumer.heartbeat.interval.ms";
const SESSION: &str = "consumer.session.timeout.ms";

fn config_of(client: &mut Client, group: &str, key: &str) -> (String, i8) {
    let result = describe(client, 4, GROUP, group, Some(&[key]));
    assert_eq!((result.error_code, result.configs.len()), (0, 1));
    let config = &result.configs[0];
    let value = config.value.clone().unwrap();
    (value.to_string(), config.config_source)
}

fn change_group(client: &mut Client, group: &str, changes: &[Change<'_>]) -> i16 {
    change_with(client, 1, GROUP, group, changes).error_code
}

/// The heartbeat interval that a new member of a group is told.
fn told_interval(client: &mut Client, group: &str) -> i32 {
    let request = ConsumerGroupHeartbeatRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_member_id(text(&unique("member")))
        .with_member_epoch(0)
        .with_rebalance_timeout_ms(60_000)
        .with_subscribed_topic_names(Some(Vec::new()))
        .with_topic_partitions(Some(Vec::new()));
    let heard = client.call(1, &request);
    assert_eq!(heard.error_code, 0, "{:?}", heard.error_message);
    heard.heartbeat_interval_ms
}

#[test]
fn configs_of_a_group_are_set_hold_and_are_deleted() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let group = unique("configured");
    assert_eq!(
        config_of(&mut client, &group, SESSION),
        ("45000".to_owned(), 5)
    );
    let set = [
        (SESSION, SET, Some("50000")),
        (HEARTBEAT, SET, Some("6000")),
    ];
    assert_eq!(change_group(&mut client, &group, &set), 0);
    eventually("the set value", || {
        let config = config_of(&mut client, &group, SESSION);
        (config == ("50000".to_owned(), 8)).then_some(())
    });
    eventually("a member that is told the interval", || {
        (told_interval(&mut client, &group) == 6000).then_some(())
    });
    let other = unique("other");
    assert_eq!(told_interval(&mut client, &other), 5000);
    let deleted = [(SESSION, DELETE, None), (HEARTBEAT, DELETE, None)];
    assert_eq!(change_group(&mut client, &group, &deleted), 0);
    eventually("the value of all groups", || {
        let config = config_of(&mut client, &group, SESSION);
        (config == ("45000".to_owned(), 5)).then_some(())
    });
}

#[test]
fn bad_configs_of_a_group_are_refused() {
    let cluster = Cluster::start();
    let mut client = cluster.connect();
    let group = unique("refused");
    let invalid = ResponseError::InvalidConfig.code();
    let bad: [Change<'_>; 5] = [
        ("retention.ms", SET, Some("1")),
        (SESSION, SET, Some("many")),
        (SESSION, SET, Some("1000")),
        (HEARTBEAT, SET, Some("100000")),
        (SESSION, APPEND, Some("1")),
    ];
    for change in bad {
        assert_eq!(
            change_group(&mut client, &group, &[change]),
            invalid,
            "{change:?}"
        );
    }
    let nameless = change_group(&mut client, "", &[(SESSION, SET, Some("50000"))]);
    assert_eq!(nameless, ResponseError::InvalidRequest.code());
    let nameless = describe(&mut client, 4, GROUP, "", None);
    assert_eq!(nameless.error_code, ResponseError::InvalidRequest.code());
}
