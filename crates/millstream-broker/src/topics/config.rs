//! The topic configs of Apache Kafka 4.1: names, types, defaults, what values are allowed, and which have an effect here.
//!
//! All names are known and validated as Kafka does, so that tools and clients can set what they are used to; configs without
//! effect on one machine (replication, tiered storage, flushing by count) are kept and shown. `UNSUPPORTED.md` names them.
//! A topic stores only what was set on it; everything else follows the broker's configuration.

use std::collections::BTreeMap;

use super::defaults::Defaults;
use crate::config::Config;
use crate::log::{LogConfig, TimestampType};

/// What was set on one topic: name to value, both valid.
pub(crate) type Overrides = BTreeMap<String, String>;

/// The type of a config and the values it allows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Boolean,
    Int { least: i64, most: i64 },
    Long { least: i64 },
    Double { least: f64, most: f64 },
    Choice(&'static [&'static str]),
    List(&'static [&'static str]),
    Text,
}

impl Kind {
    /// The type's number in a DescribeConfigs answer.
    pub(crate) fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Choice(_) | Kind::Text => 2,
            Kind::Int { .. } => 3,
            Kind::Long { .. } => 5,
            Kind::Double { .. } => 6,
            Kind::List(_) => 7,
        }
    }
}

/// One config.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Definition {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    /// The broker config that a topic without this config follows, if Kafka has one.
    pub(crate) broker: Option<&'static str>,
    pub(crate) help: &'static str,
}

const fn of(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    broker: Option<&'static str>,
    help: &'static str,
) -> Definition {
    Definition {
        name,
        kind,
        default,
        broker,
        help,
    }
}

const fn int(least: i64) -> Kind {
    Kind::Int {
        least,
        most: 2_147_483_647,
    }
}

const fn long(least: i64) -> Kind {
    Kind::Long { least }
}

const FOREVER: &str = "9223372036854775807";
const CODECS: &[&str] = &["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"];
const STORED: &str = "Kept and shown, without effect on a single node.";

/// All topic configs, by name.
#[rustfmt::skip]
pub(crate) const DEFINITIONS: &[Definition] = &[
    of("cleanup.policy", Kind::List(&["compact", "delete"]), "delete", Some("log.cleanup.policy"), "What becomes of old records: whole segments go by age and size, or of each key only the newest record stays."),
    of("compression.gzip.level", Kind::Int { least: -1, most: 9 }, "-1", Some("compression.gzip.level"), STORED),
    of("compression.lz4.level", Kind::Int { least: 1, most: 17 }, "9", Some("compression.lz4.level"), STORED),
    of("compression.type", Kind::Choice(CODECS), "producer", Some("compression.type"), "Batches are stored as they arrive, whatever is set here."),
    of("compression.zstd.level", Kind::Int { least: -131_072, most: 22 }, "3", Some("compression.zstd.level"), STORED),
    of("delete.retention.ms", long(0), "86400000", Some("log.cleaner.delete.retention.ms"), "How long compaction keeps a tombstone."),
    of("file.delete.delay.ms", long(0), "60000", Some("log.segment.delete.delay.ms"), "Segments are removed at once."),
    of("flush.messages", long(1), FOREVER, Some("log.flush.interval.messages"), "Flushing is the broker's fsync setting."),
    of("flush.ms", long(0), FOREVER, Some("log.flush.interval.ms"), "Flushing is the broker's fsync setting."),
    of("follower.replication.throttled.replicas", Kind::Text, "", None, STORED),
    of("index.interval.bytes", int(0), "4096", Some("log.index.interval.bytes"), "Distance of two entries of the offset index."),
    of("leader.replication.throttled.replicas", Kind::Text, "", None, STORED),
    of("local.retention.bytes", long(-2), "-2", Some("log.local.retention.bytes"), STORED),
    of("local.retention.ms", long(-2), "-2", Some("log.local.retention.ms"), STORED),
    of("max.compaction.lag.ms", long(1), FOREVER, Some("log.cleaner.max.compaction.lag.ms"), "Latest time at which a record is compacted."),
    of("max.message.bytes", int(0), "1048588", Some("message.max.bytes"), "Largest record batch that is taken."),
    of("message.timestamp.after.max.ms", long(0), "3600000", Some("log.message.timestamp.after.max.ms"), "How far in the future a record's timestamp may lie."),
    of("message.timestamp.before.max.ms", long(0), FOREVER, Some("log.message.timestamp.before.max.ms"), "How far in the past a record's timestamp may lie."),
    of("message.timestamp.type", Kind::Choice(&["CreateTime", "LogAppendTime"]), "CreateTime", Some("log.message.timestamp.type"), "Whose clock a record's timestamp is of."),
    of("min.cleanable.dirty.ratio", Kind::Double { least: 0.0, most: 1.0 }, "0.5", Some("log.cleaner.min.cleanable.ratio"), "Share of dirty bytes at which compaction starts."),
    of("min.compaction.lag.ms", long(0), "0", Some("log.cleaner.min.compaction.lag.ms"), "Earliest time at which a record is compacted."),
    of("min.insync.replicas", int(1), "1", Some("min.insync.replicas"), "There is one replica, which is always in sync: more than one of one counts as one, as in Kafka."),
    of("preallocate", Kind::Boolean, "false", Some("log.preallocate"), STORED),
    of("remote.log.copy.disable", Kind::Boolean, "false", None, STORED),
    of("remote.log.delete.on.disable", Kind::Boolean, "false", None, STORED),
    of("remote.storage.enable", Kind::Boolean, "false", None, STORED),
    of("retention.bytes", long(i64::MIN), "-1", Some("log.retention.bytes"), "Size of a partition above which its oldest segments go; -1: none."),
    of("retention.ms", long(-1), "604800000", Some("log.retention.ms"), "Age at which segments go; -1: never."),
    of("segment.bytes", int(1 << 20), "1073741824", Some("log.segment.bytes"), "Size of a segment."),
    of("segment.index.bytes", int(4), "10485760", Some("log.index.size.max.bytes"), STORED),
    of("segment.jitter.ms", long(0), "0", Some("log.roll.jitter.ms"), STORED),
    of("segment.ms", long(1), "604800000", Some("log.roll.ms"), "Age at which a segment is rolled."),
    of("unclean.leader.election.enable", Kind::Boolean, "false", Some("unclean.leader.election.enable"), STORED),
];

/// Finds a config by name.
pub(crate) fn definition(name: &str) -> Option<&'static Definition> {
    DEFINITIONS
        .iter()
        .find(|definition| definition.name == name)
}

impl Definition {
    /// Whether the config holds several values, so that one can be appended or taken away.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List(_)) || self.name.ends_with("throttled.replicas")
    }

    /// The number of the type in an answer: throttled replicas are lists without a set of valid values.
    pub(crate) fn type_code(&self) -> i8 {
        if self.is_list() { 7 } else { self.kind.code() }
    }

    /// Checks a value; the error is the text that Kafka answers with.
    pub(crate) fn check(&self, value: &str) -> Result<(), String> {
        let refused = |why: &str| {
            format!(
                "Invalid value {value} for configuration {}: {why}",
                self.name
            )
        };
        match self.kind {
            Kind::Text => Ok(()),
            Kind::Boolean
                if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") =>
            {
                Ok(())
            }
            Kind::Boolean => Err(refused("Expected value to be either true or false")),
            Kind::Int { least, most } => self.check_integer(value, least, most, "INT"),
            Kind::Long { least } => self.check_integer(value, least, i64::MAX, "LONG"),
            Kind::Double { least, most } => match value.parse::<f64>() {
                Ok(number) if number < least => {
                    Err(refused(&format!("Value must be at least {least}")))
                }
                Ok(number) if number > most => {
                    Err(refused(&format!("Value must be no more than {most}")))
                }
                Ok(number) if !number.is_nan() => Ok(()),
                _ => Err(refused("Not a number of type DOUBLE")),
            },
            Kind::Choice(valid) if valid.contains(&value) => Ok(()),
            Kind::Choice(valid) => Err(refused(&format!(
                "String must be one of: {}",
                valid.join(", ")
            ))),
            Kind::List(valid) => match value
                .split(',')
                .map(str::trim)
                .find(|one| !valid.contains(one))
            {
                None => Ok(()),
                Some(_) => Err(refused(&format!(
                    "String must be one of: {}",
                    valid.join(", ")
                ))),
            },
        }
    }

    fn check_integer(&self, value: &str, least: i64, most: i64, kind: &str) -> Result<(), String> {
        let refused = |why: String| {
            Err(format!(
                "Invalid value {value} for configuration {}: {why}",
                self.name
            ))
        };
        match value.trim().parse::<i64>() {
            Ok(number) if self.name == "compression.gzip.level" && number == 0 => {
                refused("Value must be between 1 and 9 or equal to -1".to_owned())
            }
            Ok(number) if number < least => refused(format!("Value must be at least {least}")),
            Ok(number) if number > most => refused(format!("Value must be no more than {most}")),
            Ok(_) => Ok(()),
            Err(_) => refused(format!("Not a number of type {kind}")),
        }
    }

    /// What was set when the broker started, else Kafka's default.
    pub(crate) fn broker_value(&self, config: &Config) -> String {
        match self.name {
            "index.interval.bytes" => config.index_interval_bytes.to_string(),
            "max.message.bytes" => config.max_message_bytes.to_string(),
            "retention.bytes" => config.retention_bytes.to_string(),
            "retention.ms" => config.retention_ms.to_string(),
            "segment.bytes" => config.segment_bytes.to_string(),
            "segment.ms" => config.segment_ms.to_string(),
            _ => self.default.to_owned(),
        }
    }
}

/// The value that counts for a topic.
pub(crate) fn effective(
    overrides: &Overrides,
    defaults: &Defaults,
    definition: &Definition,
) -> String {
    match overrides.get(definition.name) {
        Some(value) => value.clone(),
        None => defaults.value(definition).1,
    }
}

/// What a topic's configs mean for its logs.
pub(crate) fn log_config(overrides: &Overrides, defaults: &Defaults) -> LogConfig {
    let config = defaults.config();
    let value = |name: &str| {
        definition(name).map_or_else(String::new, |known| effective(overrides, defaults, known))
    };
    // Values were checked when they were set.
    let number = |name: &str| value(name).trim().parse::<i64>().unwrap_or(-1);
    let cleaned_by = |wanted: &str| {
        let policies = value("cleanup.policy");
        policies.split(',').any(|policy| policy.trim() == wanted)
    };
    let size = |name: &str| u32::try_from(number(name)).unwrap_or(u32::MAX);
    LogConfig {
        segment_bytes: size("segment.bytes"),
        segment_ms: number("segment.ms"),
        retention_ms: number("retention.ms"),
        retention_bytes: number("retention.bytes"),
        delete: cleaned_by("delete"),
        compact: cleaned_by("compact"),
        min_dirty_ratio: value("min.cleanable.dirty.ratio").parse().unwrap_or(0.5),
        min_compaction_lag_ms: number("min.compaction.lag.ms"),
        max_compaction_lag_ms: number("max.compaction.lag.ms"),
        delete_retention_ms: number("delete.retention.ms"),
        max_message_bytes: size("max.message.bytes"),
        index_interval_bytes: size("index.interval.bytes"),
        timestamp_type: match value("message.timestamp.type").as_str() {
            "LogAppendTime" => TimestampType::LogAppend,
            _ => TimestampType::Create,
        },
        timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
        timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
        producer_expiration_ms: config.producer_id_expiration_ms,
        max_producers: config.max_producers_per_partition,
        fsync: config.fsync,
    }
}

/// Checks all of a topic's configs together; the error is the text that Kafka answers with.
pub(crate) fn check_all(overrides: &Overrides) -> Result<(), String> {
    for (name, value) in overrides {
        definition(name)
            .ok_or_else(|| format!("Unknown topic config name: {name}"))?
            .check(value)?;
    }
    Ok(())
}

/// Where the value that counts comes from, with the numbers of a DescribeConfigs answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Set for this broker while it ran.
    DynamicBroker = 2,
    /// Set for all brokers while they ran.
    DynamicDefault = 3,
    /// Set when the broker was started.
    Broker = 4,
    /// Set nowhere.
    Default = 5,
    /// Set for the group.
    Group = 8,
}

/// Finds where the value that counts comes from.
pub(crate) fn source(
    overrides: &Overrides,
    defaults: &Defaults,
    definition: &Definition,
) -> Source {
    match overrides.contains_key(definition.name) {
        true => Source::Topic,
        false => defaults.value(definition).0,
    }
}
