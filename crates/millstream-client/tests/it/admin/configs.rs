//! Configurations that are described and changed.

use std::collections::BTreeMap;

use millstream_client::admin::{Admin, ConfigChange, ConfigSource, Mode, Resource};

use super::{admin, eventually, only, refusal};
use crate::support::{Broker, fresh};

fn change(name: &str, change: ConfigChange) -> BTreeMap<String, ConfigChange> {
    BTreeMap::from([(name.to_owned(), change)])
}

fn value(admin: &mut Admin, resource: &Resource, name: &str) -> (Option<String>, ConfigSource) {
    let entries = only(admin.configs(std::slice::from_ref(resource))).unwrap();
    (entries[name].value.clone(), entries[name].source)
}

#[test]
fn values_of_a_topic_are_set_checked_and_reset_and_others_stay() {
    let broker = Broker::start();
    let topic = Resource::Topic(broker.topic(1));
    let mut admin = admin(&broker);
    let set = |value: &str| ConfigChange::Set(value.to_owned());
    let mut two = change("retention.ms", set("60000"));
    two.extend(change(
        "cleanup.policy",
        ConfigChange::Append("compact".to_owned()),
    ));
    only(admin.alter_configs(&[(topic.clone(), two)], Mode::Apply)).unwrap();
    let retention = (Some("60000".to_owned()), ConfigSource::Topic);
    eventually("the value is set", || {
        value(&mut admin, &topic, "retention.ms") == retention
    });
    let (policy, _) = value(&mut admin, &topic, "cleanup.policy");
    assert_eq!(policy.as_deref(), Some("delete,compact"));

    let checked = change("retention.ms", set("1"));
    only(admin.alter_configs(&[(topic.clone(), checked)], Mode::ValidateOnly)).unwrap();
    assert_eq!(value(&mut admin, &topic, "retention.ms"), retention);

    let list = ConfigChange::Subtract("compact".to_owned());
    let mut back = change("cleanup.policy", list);
    back.extend(change("retention.ms", ConfigChange::Reset));
    only(admin.alter_configs(&[(topic.clone(), back)], Mode::Apply)).unwrap();
    eventually("the default holds again", || {
        value(&mut admin, &topic, "retention.ms").1 != ConfigSource::Topic
    });
    let (policy, _) = value(&mut admin, &topic, "cleanup.policy");
    assert_eq!(policy.as_deref(), Some("delete"));
}

#[test]
fn a_broker_is_asked_for_its_own_configuration() {
    let broker = Broker::start();
    let name = broker.topic(1);
    let mut admin = admin(&broker);
    let described = only(admin.describe_topics(&[&name])).unwrap();
    let node = described.partitions[&0].replicas[0];
    let (id, _) = value(&mut admin, &Resource::Broker(node), "node.id");
    assert_eq!(id, Some(node.to_string()));
    let error = refusal(admin.configs(&[Resource::Broker(4711)]));
    assert!(
        error.starts_with(
            "failed to describe the configuration of broker 4711: broker 4711 is not among "
        ),
        "{error}"
    );
}

#[test]
fn names_and_values_that_are_not_possible_do_not_hide_other_topics() {
    let broker = Broker::start();
    let (one, other) = (
        Resource::Topic(broker.topic(1)),
        Resource::Topic(broker.topic(1)),
    );
    let missing = Resource::Topic(fresh("missing"));
    let mut admin = admin(&broker);
    let set = |value: &str| ConfigChange::Set(value.to_owned());
    let changes = [
        (one.clone(), change("retention.ms", set("soon"))),
        (other.clone(), change("retention.ms", set("1000"))),
        (missing.clone(), change("retention.ms", set("1000"))),
    ];
    let answers = admin.alter_configs(&changes, Mode::Apply).unwrap();
    assert_eq!(answers[&other].as_ref().ok(), Some(&()));
    for (resource, code) in [
        (&one, "InvalidConfig"),
        (&missing, "UnknownTopicOrPartition"),
    ] {
        let error = answers[resource].as_ref().unwrap_err().to_string();
        let expected = format!("failed to change the configuration of {resource}: ");
        assert!(
            error.starts_with(&expected) && error.contains(code),
            "{error}"
        );
    }
    let unknown = change("no.such.config", set("1"));
    let error = refusal(admin.alter_configs(&[(one, unknown)], Mode::Apply));
    assert!(error.contains("InvalidConfig"), "{error}");
    let error = refusal(admin.configs(&[missing]));
    assert!(error.contains("UnknownTopicOrPartition"), "{error}");
}
