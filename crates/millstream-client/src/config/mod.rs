//! The properties of a client: the values that were set, and what they mean.
//!
//! Names are those that Kafka's users know. An unknown name is refused with the nearest one. Secrets are never shown.

mod properties;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use self::properties::{Kind, PROPERTIES, Property};
use crate::Error;
use crate::group::assignor::{Strategy, strategy};
use crate::wire::compression::Compression;

/// The properties of one client.
#[derive(Clone, Default)]
pub struct Config {
    values: Vec<(&'static Property, String)>,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .values
            .iter()
            .map(|(property, value)| match property.kind {
                Kind::Secret => (property.name, "***"),
                _ => (property.name, value.as_str()),
            });
        f.debug_map().entries(shown).finish()
    }
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
        let property = properties::find(name).map_err(refused)?;
        let value = property.check(value).map_err(refused)?.to_owned();
        self.values.retain(|(set, _)| set.name != name);
        self.values.push((property, value));
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

    /// The value of a property that may be nothing.
    fn given(&self, name: &str) -> Option<String> {
        Some(self.text(name).to_owned()).filter(|value| !value.is_empty())
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
            api_timeout: self.millis("default.api.timeout.ms"),
            request_timeout: self.millis("request.timeout.ms"),
            retry_backoff: self.millis("retry.backoff.ms"),
            metadata_max_age: self.millis("metadata.max.age.ms"),
            max_block: self.millis("max.block.ms"),
            receive_max_bytes: self.size("receive.message.max.bytes"),
            transactional_id: self.given("transactional.id"),
            transaction_timeout: self.millis("transaction.timeout.ms"),
            encryption: self.encryption(),
            credentials: self.credentials(),
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

impl Config {
    /// Refuses what would be ignored in silence: whoever sets a certificate or a user does not mean an open connection.
    pub(crate) fn check_security(&self) -> Result<(), Error> {
        let protocol = self.text("security.protocol");
        let ignored = self.values.iter().find(|(property, value)| {
            let is_tls = property.name.starts_with("ssl.") && !protocol.ends_with("SSL");
            let is_login = property.name.starts_with("sasl.") && !protocol.starts_with("SASL");
            !value.is_empty() && (is_tls || is_login)
        });
        match ignored {
            Some((property, _)) => Err(Error::Property {
                name: property.name.to_owned(),
                reason: format!("it has no meaning with `security.protocol` {protocol}"),
            }),
            None => Ok(()),
        }
    }

    fn encryption(&self) -> Option<Encryption> {
        let path = |name| self.given(name).map(PathBuf::from);
        let encryption = || Encryption {
            authorities: path("ssl.ca.location"),
            certificate: path("ssl.certificate.location"),
            key: path("ssl.key.location"),
            checks_host: self.text("ssl.endpoint.identification.algorithm") == "https",
        };
        let is_encrypted = self.text("security.protocol").ends_with("SSL");
        is_encrypted.then(encryption)
    }

    fn credentials(&self) -> Option<Credentials> {
        let credentials = || Credentials {
            mechanism: match self.text("sasl.mechanism") {
                "PLAIN" => Mechanism::Plain,
                "SCRAM-SHA-256" => Mechanism::ScramSha256,
                "OAUTHBEARER" => Mechanism::OauthBearer,
                _ => Mechanism::ScramSha512,
            },
            user: self.text("sasl.username").to_owned(),
            password: Secret(self.text("sasl.password").to_owned()),
            token_file: self.given("sasl.oauthbearer.token.file").map(PathBuf::from),
        };
        let logs_in = self.text("security.protocol").starts_with("SASL");
        logs_in.then(credentials)
    }
}

/// What the properties mean, resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Resolved {
    pub(crate) bootstrap: Vec<String>,
    pub(crate) client_id: String,
    /// For calls of `Admin`.
    pub(crate) api_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) retry_backoff: Duration,
    pub(crate) metadata_max_age: Duration,
    pub(crate) max_block: Duration,
    pub(crate) receive_max_bytes: usize,
    pub(crate) transactional_id: Option<String>,
    pub(crate) transaction_timeout: Duration,
    /// Connections are encrypted.
    pub(crate) encryption: Option<Encryption>,
    /// Connections begin with a login.
    pub(crate) credentials: Option<Credentials>,
    pub(crate) producer: Producing,
    pub(crate) fetcher: Fetching,
    pub(crate) group: Grouping,
}

/// Files and rules of TLS.
#[derive(Clone, Debug)]
pub(crate) struct Encryption {
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) checks_host: bool,
}

/// Who logs in, and how.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) mechanism: Mechanism,
    pub(crate) user: String,
    pub(crate) password: Secret,
    pub(crate) token_file: Option<PathBuf>,
}

/// A way to log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }
}

/// Text that is never shown.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_value_that_its_property_can_have() {
        for property in PROPERTIES {
            assert_eq!(
                property.check(property.default),
                Ok(property.default),
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

    #[test]
    fn secrets_are_in_no_text() {
        let config = Config::default().set("sasl.password", "hunter2").unwrap();
        let config = config.set("sasl.username", "alice").unwrap();
        let config = config.set("security.protocol", "sasl_plaintext").unwrap();
        let texts = format!("{config:?} {:?}", config.resolve());
        assert!(
            texts.contains("alice") && !texts.contains("hunter2"),
            "{texts}"
        );
    }

    #[test]
    fn what_secures_a_connection_is_not_ignored() {
        let set = |protocol: &str, name: &str| {
            let config = Config::default()
                .set("security.protocol", protocol)
                .unwrap();
            let checked = config.set(name, "x").unwrap().check_security();
            checked.map_err(|error| error.to_string())
        };
        let said = "property `sasl.password`: it has no meaning with `security.protocol` SSL";
        assert_eq!(set("SSL", "sasl.password"), Err(said.to_owned()));
        let said =
            "property `ssl.ca.location`: it has no meaning with `security.protocol` PLAINTEXT";
        assert_eq!(set("PLAINTEXT", "ssl.ca.location"), Err(said.to_owned()));
        assert_eq!(set("SASL_SSL", "ssl.ca.location"), Ok(()));
    }

    #[test]
    fn words_are_read_in_capitals_or_not() {
        let config = Config::default()
            .set("security.protocol", "sasl_ssl")
            .unwrap();
        let resolved = config.set("sasl.mechanism", "plain").unwrap().resolve();
        assert!(resolved.encryption.is_some());
        let mechanism = resolved
            .credentials
            .map(|credentials| credentials.mechanism);
        assert_eq!(mechanism, Some(Mechanism::Plain));
    }
}
