//! The broker's settings under the names that Apache Kafka's tools know.
//!
//! They are shown by DescribeConfigs and cannot be changed while the broker runs. Settings of Kafka that mean
//! nothing here are not shown.

use super::Config;
use crate::topics::config::{DEFINITIONS, Source};

/// One setting, as it is shown.
#[derive(Debug)]
pub(crate) struct BrokerConfig {
    pub(crate) name: &'static str,
    pub(crate) value: String,
    /// The type's number in an answer.
    pub(crate) type_code: i8,
    pub(crate) source: Source,
}

const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

/// All settings, sorted by name.
pub(crate) fn list(config: &Config) -> Vec<BrokerConfig> {
    let default = Config::new(&config.data);
    let set = |name, type_code, value: String, default: String| {
        let source = if value == default {
            Source::Default
        } else {
            Source::Broker
        };
        BrokerConfig {
            name,
            value,
            type_code,
            source,
        }
    };
    let number = |name, type_code, of: fn(&Config) -> i64| {
        set(
            name,
            type_code,
            of(config).to_string(),
            of(&default).to_string(),
        )
    };
    let mut all = vec![
        set(
            "auto.create.topics.enable",
            BOOLEAN,
            config.auto_create_topics.to_string(),
            "true".to_owned(),
        ),
        set("broker.id", INT, config.node_id.to_string(), String::new()),
        set("node.id", INT, config.node_id.to_string(), String::new()),
        set(
            "listeners",
            LIST,
            format!("PLAINTEXT://{}", config.listen),
            String::new(),
        ),
        set(
            "log.dirs",
            LIST,
            config.data.to_string_lossy().into_owned(),
            String::new(),
        ),
        set(
            "process.roles",
            LIST,
            "broker,controller".to_owned(),
            String::new(),
        ),
        set(
            "default.replication.factor",
            INT,
            "1".to_owned(),
            "1".to_owned(),
        ),
        set(
            "delete.topic.enable",
            BOOLEAN,
            "true".to_owned(),
            "true".to_owned(),
        ),
        set(
            "offsets.topic.replication.factor",
            INT,
            "1".to_owned(),
            "3".to_owned(),
        ),
        set(
            "group.coordinator.rebalance.protocols",
            LIST,
            "classic".to_owned(),
            "classic,consumer,streams".to_owned(),
        ),
        set(
            "security.inter.broker.protocol",
            STRING,
            "PLAINTEXT".to_owned(),
            "PLAINTEXT".to_owned(),
        ),
        number("num.partitions", INT, |of| of.num_partitions.into()),
        number("max.connections", INT, |of| {
            i64::try_from(of.max_connections).unwrap_or(i64::MAX)
        }),
        number("socket.request.max.bytes", INT, |of| {
            i64::try_from(of.max_frame_bytes).unwrap_or(i64::MAX)
        }),
        number("queued.max.request.bytes", LONG, |of| {
            i64::try_from(of.max_bytes_in_flight).unwrap_or(i64::MAX)
        }),
        number("connections.max.idle.ms", LONG, |of| {
            i64::try_from(of.connections_max_idle.as_millis()).unwrap_or(i64::MAX)
        }),
        number("log.retention.check.interval.ms", LONG, |of| {
            i64::try_from(of.retention_check.as_millis()).unwrap_or(i64::MAX)
        }),
        number("group.initial.rebalance.delay.ms", INT, |of| {
            of.group_initial_rebalance_delay_ms.into()
        }),
        number("group.min.session.timeout.ms", INT, |of| {
            of.group_min_session_timeout_ms.into()
        }),
        number("group.max.session.timeout.ms", INT, |of| {
            of.group_max_session_timeout_ms.into()
        }),
        number("group.max.size", INT, |of| of.group_max_size.into()),
        number("offset.metadata.max.bytes", INT, |of| {
            of.offset_metadata_max_bytes.into()
        }),
        number("offsets.retention.minutes", INT, |of| {
            of.offsets_retention_ms / 60_000
        }),
        number("producer.id.expiration.ms", INT, |of| {
            of.producer_id_expiration_ms
        }),
    ];
    for of in DEFINITIONS {
        if let Some(name) = of.broker {
            all.push(set(
                name,
                of.type_code(),
                of.broker_value(config),
                of.default.to_owned(),
            ));
        }
    }
    all.sort_by_key(|config| config.name);
    all
}
