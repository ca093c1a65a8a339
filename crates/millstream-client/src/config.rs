//! The properties of a client: one table of name, range, default and meaning, and the values that were set.
//!
//! Names are those that Kafka's users know. An unknown name is refused with the nearest one.

use std::time::Duration;

use crate::Error;
use crate::group::assignor::{Strategy, strategy};
use crate::wire::compression::Compression;

/// One property.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Property {
    /// Its name.
    pub name: &'static str,
    /// What it can be.
    pub kind: Kind,
    /// Its value if it is not set.
    pub default: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

/// What a property can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// Any text.
    Text,
    /// A whole number between the two, both included.
    Number(u64, u64),
    /// Any text, or nothing.
    Optional,
    /// One of these words.
    Word(&'static [&'static str]),
}

const DAY_MS: u64 = 86_400_000;
const GIB: u64 = 1 << 30;

const fn property(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    meaning: &'static str,
) -> Property {
    Property {
        name,
        kind,
        default,
        meaning,
    }
}

/// Every property that there is, in the order of their names.
pub const PROPERTIES: &[Property] = &[
    property(
        "auto.offset.reset",
        Kind::Word(&["earliest", "latest", "none"]),
        "latest",
        "Where reading begins if the position is not there any more; `none` reports it and waits for a seek.",
    ),
    property(
        "batch.size",
        Kind::Number(1, GIB),
        "1000000",
        "Bytes of a batch above which it is sent without waiting.",
    ),
    property(
        "bootstrap.servers",
        Kind::Text,
        "127.0.0.1:9092",
        "Brokers to begin with: `host:port`, separated by commas.",
    ),
    property(
        "buffer.memory",
        Kind::Number(1 << 16, 64 * GIB),
        "33554432",
        "Bytes of records that wait for their delivery; sending waits above it.",
    ),
    property(
        "client.id",
        Kind::Text,
        "millstream",
        "The name under which brokers log this client.",
    ),
    property(
        "compression.type",
        Kind::Word(&["none", "gzip", "snappy", "lz4", "zstd"]),
        "none",
        "How batches are compressed.",
    ),
    property(
        "delivery.timeout.ms",
        Kind::Number(1, DAY_MS),
        "120000",
        "After so long a record that is not acknowledged fails.",
    ),
    property(
        "fetch.max.bytes",
        Kind::Number(1, GIB),
        "52428800",
        "Bytes of one fetch response, about.",
    ),
    property(
        "fetch.max.wait.ms",
        Kind::Number(0, 60_000),
        "500",
        "For how long a broker waits for records before it answers a fetch.",
    ),
    property(
        "fetch.min.bytes",
        Kind::Number(1, GIB),
        "1",
        "Bytes for which a broker waits before it answers a fetch.",
    ),
    property(
        "heartbeat.interval.ms",
        Kind::Number(1, DAY_MS),
        "3000",
        "How often a member tells its coordinator that it is there.",
    ),
    property(
        "isolation.level",
        Kind::Word(&["read_uncommitted", "read_committed"]),
        "read_committed",
        "Whether records of open and aborted transactions are read.",
    ),
    property(
        "linger.ms",
        Kind::Number(0, 900_000),
        "5",
        "For how long a batch waits for more records.",
    ),
    property(
        "max.block.ms",
        Kind::Number(0, DAY_MS),
        "60000",
        "For how long a call waits for metadata or for memory.",
    ),
    property(
        "max.partition.fetch.bytes",
        Kind::Number(1, GIB),
        "1048576",
        "Bytes of one partition in a fetch response, about.",
    ),
    property(
        "max.poll.interval.ms",
        Kind::Number(1, DAY_MS),
        "300000",
        "For how long a group waits for a member that has partitions to give up.",
    ),
    property(
        "max.request.size",
        Kind::Number(1, GIB),
        "1048576",
        "Bytes of the largest record and of one produce request, about.",
    ),
    property(
        "metadata.max.age.ms",
        Kind::Number(1000, DAY_MS),
        "300000",
        "After so long leaders and partitions are asked for again.",
    ),
    property(
        "partition.assignment.strategy",
        Kind::Word(&["range", "cooperative-sticky"]),
        "cooperative-sticky",
        "How the leader of a group shares out partitions.",
    ),
    property(
        "receive.message.max.bytes",
        Kind::Number(1 << 10, 2 * GIB - 1),
        "209715200",
        "The largest response that is read, and the most that compressed records grow to.",
    ),
    property(
        "request.timeout.ms",
        Kind::Number(1, DAY_MS),
        "30000",
        "After so long without an answer a connection is given up.",
    ),
    property(
        "retry.backoff.ms",
        Kind::Number(1, 60_000),
        "100",
        "The pause before the first retry; it doubles up to a second.",
    ),
    property(
        "session.timeout.ms",
        Kind::Number(1, DAY_MS),
        "45000",
        "A member that is not heard for so long has lost its partitions.",
    ),
    property(
        "transaction.timeout.ms",
        Kind::Number(1, DAY_MS),
        "60000",
        "After so long the cluster aborts a transaction that was not ended.",
    ),
    property(
        "transactional.id",
        Kind::Optional,
        "",
        "The name of a producer that writes in transactions; of two with the same name the later one fences the earlier one.",
    ),
];

/// The properties of one client.
#[derive(Clone, Debug, Default)]
pub struct Config {
    values: Vec<(&'static Property, String)>,
}

impl Config {
    /// All defaults, for the cluster at these addresses.
    pub fn new(bootstrap: &str) -> Result<Self, Error> {
        Self::default().set("bootstrap.servers", bootstrap)
    }

    /// Sets a property; the value is checked at once.
    pub fn set(mut self, name: &str, value: &str) -> Result<Self, Error> {
        let refused = |reason| Error::Property {
            name: name.to_owned(),
            reason,
        };
        let property = PROPERTIES
            .iter()
            .find(|property| property.name == name)
            .ok_or_else(|| refused(unknown(name)))?;
        check(property, value).map_err(refused)?;
        self.values.retain(|(set, _)| set.name != name);
        self.values.push((property, value.to_owned()));
        Ok(self)
    }

    fn text(&self, name: &str) -> &str {
        let set = self.values.iter().find(|(set, _)| set.name == name);
        let default = PROPERTIES.iter().find(|property| property.name == name);
        match (set, default) {
            (Some((_, value)), _) => value,
            (None, Some(property)) => property.default,
            (None, None) => "",
        }
    }

    /// Values were checked when they were set, and a test reads every default.
    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or(0)
    }

    fn size(&self, name: &str) -> usize {
        usize::try_from(self.number(name)).unwrap_or(usize::MAX)
    }

    fn millis(&self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    pub(crate) fn resolve(&self) -> Resolved {
        let compression = self.text("compression.type");
        let codec = |one: &Compression| one.name() == compression;
        Resolved {
            bootstrap: self
                .text("bootstrap.servers")
                .split(',')
                .map(|address| address.trim().to_owned())
                .collect(),
            client_id: self.text("client.id").to_owned(),
            request_timeout: self.millis("request.timeout.ms"),
            retry_backoff: self.millis("retry.backoff.ms"),
            metadata_max_age: self.millis("metadata.max.age.ms"),
            max_block: self.millis("max.block.ms"),
            receive_max_bytes: self.size("receive.message.max.bytes"),
            transactional_id: Some(self.text("transactional.id").to_owned())
                .filter(|id| !id.is_empty()),
            transaction_timeout: self.millis("transaction.timeout.ms"),
            producer: Producing {
                batch_size: self.size("batch.size"),
                buffer_memory: self.size("buffer.memory"),
                compression: Compression::ALL.into_iter().find(codec).unwrap_or_default(),
                delivery_timeout: self.millis("delivery.timeout.ms"),
                linger: self.millis("linger.ms"),
                max_request_size: self.size("max.request.size"),
            },
            fetcher: Fetching {
                reset: match self.text("auto.offset.reset") {
                    "earliest" => Reset::Earliest,
                    "latest" => Reset::Latest,
                    _ => Reset::None,
                },
                max_bytes: self.size("fetch.max.bytes"),
                max_wait: self.millis("fetch.max.wait.ms"),
                min_bytes: self.size("fetch.min.bytes"),
                partition_max_bytes: self.size("max.partition.fetch.bytes"),
                committed_only: self.text("isolation.level") == "read_committed",
            },
            group: Grouping {
                strategy: strategy(self.text("partition.assignment.strategy")),
                session_timeout: self.millis("session.timeout.ms"),
                rebalance_timeout: self.millis("max.poll.interval.ms"),
                heartbeat_interval: self.millis("heartbeat.interval.ms"),
            },
        }
    }
}

/// What the properties mean, resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) bootstrap: Vec<String>,
    pub(crate) client_id: String,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_backoff: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) max_block: Duration,
    pub(crate) receive_max_bytes: usize,
    pub(crate) transactional_id: Option<String>,
    pub(crate) transaction_timeout: Duration,
    pub(crate) producer: Producing,
    pub(crate) fetcher: Fetching,
    pub(crate) group: Grouping,
}

/// What a producer needs of it.
#[derive(Clone, Debug)]
pub(crate) struct Producing {
    pub(crate) batch_size: usize,
    pub(crate) buffer_memory: usize,
    pub(crate) compression: Compression,
    pub(crate) delivery_timeout: Duration,
    pub(crate) linger: Duration,
    pub(crate) max_request_size: usize,
}

/// What a fetcher needs of it.
#[derive(Clone, Debug)]
pub(crate) struct Fetching {
    pub(crate) reset: Reset,
    pub(crate) max_bytes: usize,
    pub(crate) max_wait: Duration,
    pub(crate) min_bytes: usize,
    pub(crate) partition_max_bytes: usize,
    pub(crate) committed_only: bool,
}

/// What a member of a group needs of it.
#[derive(Clone, Debug)]
pub(crate) struct Grouping {
    pub(crate) strategy: Strategy,
    pub(crate) session_timeout: Duration,
    /// For how long the group waits for a member that has partitions to give up.
    pub(crate) rebalance_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
}

/// Where reading begins if the position is not there any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reset {
    Earliest,
    Latest,
    None,
}

fn check(property: &Property, value: &str) -> Result<(), String> {
    match property.kind {
        Kind::Optional => Ok(()),
        Kind::Text if value.trim().is_empty() => Err("the value is empty".to_owned()),
        Kind::Text => Ok(()),
        Kind::Word(words) if words.contains(&value) => Ok(()),
        Kind::Word(words) => Err(format!("`{value}` is not one of {}", words.join(", "))),
        Kind::Number(least, most) => match value.parse::<u64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(()),
            _ => Err(format!(
                "`{value}` is not a whole number from {least} to {most}"
            )),
        },
    }
}

fn unknown(name: &str) -> String {
    let nearest = PROPERTIES
        .iter()
        .map(|property| (distance(name, property.name), property.name))
        .min();
    match nearest {
        Some((distance, nearest)) if distance <= 4 => {
            format!("there is no such property, the nearest is `{nearest}`")
        }
        _ => "there is no such property".to_owned(),
    }
}

/// How many letters must be added, removed or changed.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (place, letter) in one.bytes().enumerate() {
        let mut corner = std::mem::replace(row.first_mut().unwrap_or(&mut 0), place + 1);
        let mut left = place + 1;
        for (cell, same) in row.iter_mut().skip(1).zip(other.bytes()) {
            let changed = corner + usize::from(letter != same);
            corner = *cell;
            *cell = changed.min(corner + 1).min(left + 1);
            left = *cell;
        }
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_property_can_have() {
        for property in PROPERTIES {
            assert_eq!(
                check(property, property.default),
                Ok(()),
                "{}",
                property.name
            );
        }
        assert!(PROPERTIES.is_sorted_by_key(|property| property.name));
    }

    #[test]
    fn wrong_names_and_values_are_refused_with_what_is_possible() {
        for (name, value, expected) in [
            (
                "linger.mss",
                "5",
                "property `linger.mss`: there is no such property, the nearest is `linger.ms`",
            ),
            (
                "enable.partition.eof",
                "true",
                "property `enable.partition.eof`: there is no such property",
            ),
            (
                "linger.ms",
                "soon",
                "property `linger.ms`: `soon` is not a whole number from 0 to 900000",
            ),
            (
                "auto.offset.reset",
                "smallest",
                "property `auto.offset.reset`: `smallest` is not one of earliest, latest, none",
            ),
        ] {
            let error = Config::default().set(name, value).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_value_set_last_counts() {
        let config = Config::new("a:1, b:2").unwrap();
        let config = config.set("linger.ms", "7").unwrap();
        let resolved = config.set("linger.ms", "8").unwrap().resolve();
        assert_eq!(resolved.bootstrap, ["a:1", "b:2"]);
        assert_eq!(resolved.producer.linger, Duration::from_millis(8));
        assert_eq!(resolved.fetcher.reset, Reset::Latest);
    }
}
