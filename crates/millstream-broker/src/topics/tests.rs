//! Configs of topics: what is taken, what is refused with which words, what counts.

use std::sync::Arc;

use super::Topics;
use super::config::{DEFINITIONS, Overrides, Source, definition, effective, log_config, source};
use super::defaults::{Defaults, Dynamic};
use crate::config::Config;
use crate::failpoint::die_after;

fn set(name: &str, value: &str) -> Overrides {
    Overrides::from([(name.to_owned(), value.to_owned())])
}

#[test]
fn every_default_is_valid() {
    for of in DEFINITIONS {
        assert_eq!(of.check(of.default), Ok(()), "{}", of.name);
    }
}

#[test]
fn definitions_are_sorted_and_unique() {
    assert!(
        DEFINITIONS
            .windows(2)
            .all(|pair| pair[0].name < pair[1].name)
    );
}

#[test]
fn values_are_refused_in_the_words_of_kafka() {
    let cases = [
        (
            "retention.ms",
            "soon",
            "Invalid value soon for configuration retention.ms: Not a number of type LONG",
        ),
        (
            "retention.ms",
            "-2",
            "Invalid value -2 for configuration retention.ms: Value must be at least -1",
        ),
        (
            "compression.lz4.level",
            "18",
            "Invalid value 18 for configuration compression.lz4.level: Value must be no more than 17",
        ),
        (
            "preallocate",
            "yes",
            "Invalid value yes for configuration preallocate: Expected value to be either true or false",
        ),
        (
            "min.cleanable.dirty.ratio",
            "1.5",
            "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
        ),
        (
            "cleanup.policy",
            "keep",
            "Invalid value keep for configuration cleanup.policy: String must be one of: compact, delete",
        ),
    ];
    for (name, value, text) in cases {
        assert_eq!(
            definition(name).unwrap().check(value),
            Err(text.to_owned()),
            "{name}"
        );
    }
}

#[test]
fn a_topic_follows_the_broker_until_it_is_told_otherwise() {
    let mut config = Config::new("data");
    let of = definition("retention.ms").unwrap();
    let counts = |overrides: &Overrides, config: &Config, dynamic: &Dynamic| {
        let mut defaults = Defaults::new(&Arc::new(config.clone()));
        defaults.dynamic = dynamic.clone();
        let log = log_config(overrides, &defaults);
        let value = effective(overrides, &defaults, of);
        assert_eq!(log.retention_ms.to_string(), value);
        (value, source(overrides, &defaults, of))
    };
    let counted = |value: &str, source| (value.to_owned(), source);
    let (mut overrides, mut dynamic) = (Overrides::new(), Dynamic::default());
    let week = counted("604800000", Source::Default);
    assert_eq!(counts(&overrides, &config, &dynamic), week);
    config.retention_ms = 1000;
    let at_start = counted("1000", Source::Broker);
    assert_eq!(counts(&overrides, &config, &dynamic), at_start);
    dynamic.all = set("log.retention.ms", "2000");
    let for_all = counted("2000", Source::DynamicDefault);
    assert_eq!(counts(&overrides, &config, &dynamic), for_all);
    dynamic.this = set("log.retention.ms", "3000");
    let for_this = counted("3000", Source::DynamicBroker);
    assert_eq!(counts(&overrides, &config, &dynamic), for_this);
    overrides = set("retention.ms", "77");
    let of_topic = counted("77", Source::Topic);
    assert_eq!(counts(&overrides, &config, &dynamic), of_topic);
}

#[test]
fn a_kill_between_any_two_steps_leaves_the_old_defaults_or_the_new_ones() {
    let data = tempfile::tempdir().unwrap();
    let open = || Topics::open(&Config::new(data.path())).unwrap();
    let dynamic = |value: &str| Dynamic {
        this: Overrides::new(),
        all: set("log.retention.ms", value),
    };
    let change = |topics: &Topics, value: &str| topics.change_defaults(|_| Ok(dynamic(value)));
    for step in 0.. {
        let topics = open();
        change(&topics, "1000").unwrap();
        die_after(Some(step));
        let done = change(&topics, "2000");
        die_after(None);
        drop(topics);
        let found = open().defaults().dynamic.clone();
        match done {
            Ok(()) => {
                assert_eq!(found, dynamic("2000"));
                assert!(step >= 3, "there are {step} steps");
                return;
            }
            Err(_) => assert!([dynamic("1000"), dynamic("2000")].contains(&found)),
        }
    }
}

#[test]
fn only_the_policy_to_delete_deletes() {
    let defaults = Defaults::new(&Arc::new(Config::new("data")));
    for (policy, delete) in [
        ("delete", true),
        ("compact", false),
        ("compact,delete", true),
        ("compact, delete", true),
    ] {
        assert_eq!(
            log_config(&set("cleanup.policy", policy), &defaults).delete,
            delete,
            "{policy}"
        );
    }
}
