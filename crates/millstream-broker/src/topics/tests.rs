//! Configs of topics: what is taken, what is refused with which words, what counts.

use super::config::{DEFINITIONS, Overrides, Source, definition, effective, log_config, source};
use crate::config::Config;

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
    assert_eq!(source(&Overrides::new(), &config, of), Source::Default);
    config.retention_ms = 1000;
    assert_eq!(effective(&Overrides::new(), &config, of), "1000");
    assert_eq!(source(&Overrides::new(), &config, of), Source::Broker);
    let overrides = set("retention.ms", "77");
    assert_eq!(effective(&overrides, &config, of), "77");
    assert_eq!(source(&overrides, &config, of), Source::Topic);
    assert_eq!(log_config(&overrides, &config).retention_ms, 77);
}

#[test]
fn only_the_policy_to_delete_deletes() {
    let config = Config::new("data");
    for (policy, delete) in [
        ("delete", true),
        ("compact", false),
        ("compact,delete", true),
        ("compact, delete", true),
    ] {
        assert_eq!(
            log_config(&set("cleanup.policy", policy), &config).delete,
            delete,
            "{policy}"
        );
    }
}
