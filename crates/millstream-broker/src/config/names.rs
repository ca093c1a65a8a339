//! The broker's settings under the names that Apache Kafka's tools know.
//!
//! They are shown by DescribeConfigs. Those that a topic can override come from the table of topic configs and can be changed while the
//! broker runs, the others cannot. Settings of Kafka that mean nothing here are not shown.

use super::Config;
use crate::listener::Listener;
use crate::topics::config::{DEFINITIONS, Source};
use crate::topics::defaults::Defaults;

/// One setting, as it is shown.
#[derive(Debug)]
pub(crate) struct BrokerConfig {
    pub(crate) name: &'static str,
    /// The type's number in an answer.
    pub(crate) type_code: i8,
    /// Its values and where they come from, the one that counts first.
    pub(crate) layers: Vec<(Source, String)>,
    /// Whether it is set when the broker starts, and not later.
    pub(crate) read_only: bool,
}

const BOOLEAN: i8 = 1;
const STRING: i8 = 2;
pub(crate) const INT: i8 = 3;
const LONG: i8 = 5;
const LIST: i8 = 7;

/// Name, type, and the value that a configuration gives it.
type Setting = (&'static str, i8, fn(&Config) -> String);

/// What a start always decides: there is no default to fall back to.
const DECIDED: &[Setting] = &[
    ("broker.id", INT, |of| of.node_id.to_string()),
    ("listeners", LIST, |of| {
        let shown = of.listeners.iter().map(Listener::shown);
        shown.collect::<Vec<_>>().join(",")
    }),
    ("log.dirs", LIST, |of| {
        of.data.to_string_lossy().into_owned()
    }),
    ("node.id", INT, |of| of.node_id.to_string()),
    ("process.roles", LIST, |_| "broker,controller".to_owned()),
    ("offsets.topic.replication.factor", INT, |_| "1".to_owned()),
    ("transaction.state.log.replication.factor", INT, |_| {
        "1".to_owned()
    }),
    ("group.coordinator.rebalance.protocols", LIST, |_| {
        "classic,consumer".to_owned()
    }),
];

/// What has a default.
#[rustfmt::skip]
const SETTINGS: &[Setting] = &[
    ("auto.create.topics.enable", BOOLEAN, |of| of.auto_create_topics.to_string()),
    ("connections.max.idle.ms", LONG, |of| of.connections_max_idle.as_millis().to_string()),
    ("connections.max.reauth.ms", LONG, |of| of.connections_max_reauth.as_millis().to_string()),
    ("default.replication.factor", INT, |_| "1".to_owned()),
    ("delete.topic.enable", BOOLEAN, |_| "true".to_owned()),
    ("group.consumer.assignors", LIST, |_| "uniform,range".to_owned()),
    ("group.consumer.heartbeat.interval.ms", INT, |of| of.group_consumer_heartbeat_interval_ms.to_string()),
    ("group.consumer.max.size", INT, |of| of.group_consumer_max_size.to_string()),
    ("group.consumer.migration.policy", STRING, |_| "bidirectional".to_owned()),
    ("group.consumer.session.timeout.ms", INT, |of| of.group_consumer_session_timeout_ms.to_string()),
    ("group.initial.rebalance.delay.ms", INT, |of| of.group_initial_rebalance_delay_ms.to_string()),
    ("group.max.session.timeout.ms", INT, |of| of.group_max_session_timeout_ms.to_string()),
    ("group.max.size", INT, |of| of.group_max_size.to_string()),
    ("group.min.session.timeout.ms", INT, |of| of.group_min_session_timeout_ms.to_string()),
    ("log.retention.check.interval.ms", LONG, |of| of.retention_check.as_millis().to_string()),
    ("max.connections", INT, |of| of.max_connections.to_string()),
    ("max.incremental.fetch.session.cache.slots", INT, |of| of.max_fetch_sessions.to_string()),
    ("num.partitions", INT, |of| of.num_partitions.to_string()),
    ("offset.metadata.max.bytes", INT, |of| of.offset_metadata_max_bytes.to_string()),
    ("offsets.retention.check.interval.ms", LONG, |of| of.offsets_retention_check.as_millis().to_string()),
    ("offsets.retention.minutes", INT, |of| (of.offsets_retention_ms / 60_000).to_string()),
    ("producer.id.expiration.ms", INT, |of| of.producer_id_expiration_ms.to_string()),
    ("queued.max.request.bytes", LONG, |of| of.max_bytes_in_flight.to_string()),
    ("security.inter.broker.protocol", STRING, |_| "PLAINTEXT".to_owned()),
    ("socket.request.max.bytes", INT, |of| of.max_frame_bytes.to_string()),
    ("transaction.max.timeout.ms", INT, |of| of.transaction_max_timeout_ms.to_string()),
    ("transactional.id.expiration.ms", INT, |of| of.transactional_id_expiration_ms.to_string()),
];

/// All settings, sorted by name.
pub(crate) fn list(config: &Config, defaults: &Defaults) -> Vec<BrokerConfig> {
    let default = Config::new(&config.data);
    let decided = DECIDED.iter().map(|(name, type_code, value)| BrokerConfig {
        name,
        type_code: *type_code,
        layers: vec![(Source::Broker, value(config))],
        read_only: true,
    });
    let settings = SETTINGS
        .iter()
        .map(|(name, type_code, value)| BrokerConfig {
            name,
            type_code: *type_code,
            layers: layers(value(config), value(&default)),
            read_only: true,
        });
    let topics = DEFINITIONS.iter().filter_map(|of| {
        Some(BrokerConfig {
            name: of.broker?,
            type_code: of.type_code(),
            layers: defaults.layers(of),
            read_only: false,
        })
    });
    let mut all: Vec<BrokerConfig> = decided.chain(settings).chain(topics).collect();
    all.sort_by_key(|config| config.name);
    all
}

/// Whether there is a setting of this name.
pub(crate) fn is_known(name: &str) -> bool {
    let mut known = DECIDED.iter().chain(SETTINGS).map(|(known, ..)| *known);
    known.any(|known| known == name)
}

fn layers(value: String, default: String) -> Vec<(Source, String)> {
    let set = (value != default).then_some((Source::Broker, value));
    set.into_iter()
        .chain([(Source::Default, default)])
        .collect()
}
