//! The cluster a program talks to: broker addresses and properties of the Kafka client.
//!
//! A property is checked the moment it is set, by name and by value. The value of a secret is
//! shown nowhere: not by `Debug`, not in errors, not in the client's own log lines. What Millstream's guarantees depend on
//! (only the engine commits offsets, for example) cannot be overridden: setting it is an error.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::Error;
use crate::log::kafka::{check_property, is_secret};

/// What stands in place of a secret.
const HIDDEN: &str = "***";

/// Properties that have another way in, or that the engine depends on, and what to do instead.
const REFUSED: [(&str, &str); 12] = [
    (
        "bootstrap.servers",
        "the brokers are given to `Cluster::new`",
    ),
    (
        "metadata.broker.list",
        "the brokers are given to `Cluster::new`",
    ),
    ("group.id", "a service or reader names its group itself"),
    ("transactional.id", "transactions are not supported yet"),
    (
        "enable.auto.offset.store",
        "offsets are committed by the engine alone",
    ),
    (
        "auto.commit.enable",
        "offsets are committed by the engine alone",
    ),
    (
        "offset.store.method",
        "offsets are committed by the engine alone",
    ),
    (
        "delivery.report.only.error",
        "every delivery report is needed",
    ),
    (
        "log.queue",
        "log lines are served by the client's own thread",
    ),
    (
        "enable.partition.eof",
        "a reader decides by itself when it needs the end of a partition",
    ),
    (
        "internal.termination.signal",
        "signals belong to the program",
    ),
    (
        "group.protocol.type",
        "groups of consumers have one protocol type",
    ),
];

/// A Kafka cluster: its bootstrap addresses, and the properties of the clients that connect to it.
///
/// ```
/// use millstream::Cluster;
///
/// let cluster = Cluster::new("127.0.0.1:9092")
///     .property("linger.ms", "5")?
///     .property("sasl.password", "hunter2")?;
/// assert_eq!(
///     format!("{cluster:?}"),
///     r#"Cluster { brokers: "127.0.0.1:9092", properties: {"linger.ms": "5", "sasl.password": "***"} }"#
/// );
///
/// let error = Cluster::new("127.0.0.1:9092").property("sasl.pasword", "hunter2").unwrap_err();
/// assert_eq!(error.to_string(), "unknown property `sasl.pasword`, did you mean `sasl.password`?");
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Cluster {
    brokers: String,
    properties: BTreeMap<String, String>,
}

impl Cluster {
    /// A cluster by its bootstrap addresses, `host:port` with commas between. The addresses are checked when the
    /// first client is made; [`Cluster::from_str`] checks them at once.
    #[must_use]
    pub fn new(brokers: impl Into<String>) -> Cluster {
        Cluster {
            brokers: brokers.into(),
            properties: BTreeMap::new(),
        }
    }

    /// Sets a property of librdkafka for every client of this cluster; consumers get only the properties of
    /// consumers, producers only those of producers.
    ///
    /// # Errors
    /// The name is unknown (the nearest known one is suggested), the value is refused, or the engine depends on the
    /// property.
    pub fn property(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> Result<Cluster, Error> {
        let (name, value) = (name.into(), value.into());
        if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            return Err(Error::InvalidProperty {
                name,
                reason: (*reason).to_owned(),
            });
        }
        if name == "enable.auto.commit" && value != "false" {
            let reason =
                "offsets are committed by the engine alone, so only `false` is allowed".to_owned();
            return Err(Error::InvalidProperty { name, reason });
        }
        check_property(&name, &value)?;
        self.properties.insert(name, value);
        Ok(self)
    }

    /// Sets several properties, in order.
    ///
    /// # Errors
    /// As [`Cluster::property`], for the first that is refused.
    pub fn properties<N, V>(self, all: impl IntoIterator<Item = (N, V)>) -> Result<Cluster, Error>
    where
        N: Into<String>,
        V: Into<String>,
    {
        all.into_iter()
            .try_fold(self, |cluster, (name, value)| cluster.property(name, value))
    }

    /// The bootstrap addresses.
    #[must_use]
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The properties that were set, secrets replaced by `***`.
    pub fn shown_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw_properties()
            .map(|(name, value)| (name, if is_secret(name) { HIDDEN } else { value }))
    }

    /// The properties with their secrets, for the client's configuration only.
    pub(crate) fn raw_properties(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `text` without any value of a secret property.
    pub(crate) fn scrub(&self, text: &str) -> String {
        let secrets = self
            .raw_properties()
            .filter(|(name, value)| is_secret(name) && !value.is_empty());
        secrets.fold(text.to_owned(), |text, (_, value)| {
            text.replace(value, HIDDEN)
        })
    }

    /// Checks the addresses, before a client is made.
    pub(crate) fn check_brokers(&self) -> Result<(), Error> {
        let mut addresses = self.brokers.split(',').map(str::trim).peekable();
        if self.brokers.trim().is_empty() {
            return Err(invalid(
                &self.brokers,
                "no address is given, expected host:port",
            ));
        }
        addresses.try_for_each(check_address)
    }
}

impl FromStr for Cluster {
    type Err = Error;

    fn from_str(brokers: &str) -> Result<Cluster, Error> {
        let cluster = Cluster::new(brokers);
        cluster.check_brokers()?;
        Ok(cluster)
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: BTreeMap<&str, &str> = self.shown_properties().collect();
        f.debug_struct("Cluster")
            .field("brokers", &self.brokers)
            .field("properties", &shown)
            .finish()
    }
}

fn check_address(address: &str) -> Result<(), Error> {
    // librdkafka also takes `PROTOCOL://host:port`, and a host alone for port 9092.
    let place = address
        .split_once("://")
        .map_or(address, |(_, place)| place);
    let is_ipv6 = place.starts_with('[');
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !is_ipv6 || host.ends_with(']') => (host, Some(port)),
        _ => (place, None),
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || c == '/' || c.is_control()) {
        return Err(invalid(
            address,
            "the host is missing or not a host, expected host:port",
        ));
    }
    if !is_ipv6 && host.contains(':') {
        return Err(invalid(
            address,
            "an IPv6 address needs brackets, as in [::1]:9092",
        ));
    }
    match port.map(u16::from_str) {
        None if host.chars().all(|c| c.is_ascii_digit()) => Err(invalid(
            address,
            "a number is not a host, expected host:port, as in localhost:9092",
        )),
        None => Ok(()),
        Some(Ok(port)) if port > 0 => Ok(()),
        Some(_) => Err(invalid(address, "the port is not a number from 1 to 65535")),
    }
}

fn invalid(address: &str, reason: &str) -> Error {
    Error::InvalidBrokers {
        address: address.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Cluster;

    fn refusal(name: &str, value: &str) -> String {
        Cluster::new("localhost:9092")
            .property(name, value)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn an_unknown_property_is_refused_by_name_without_its_value() {
        let said = refusal("sasl.pasword", "hunter2");
        assert_eq!(
            said,
            "unknown property `sasl.pasword`, did you mean `sasl.password`?"
        );
        assert_eq!(refusal("colour", "red"), "unknown property `colour`");
    }

    #[test]
    fn a_bad_value_is_refused_and_shown_unless_it_is_secret() {
        let said = refusal("linger.ms", "soon");
        assert!(
            said.starts_with("invalid value for property `linger.ms`: `soon` is refused: "),
            "{said}"
        );
        let said = refusal("sasl.password", "hun\0ter2");
        assert_eq!(
            said,
            "invalid value for property `sasl.password`: name or value holds a NUL byte"
        );
        let said = refusal("acks", "12000");
        assert!(said.contains("`12000`"), "{said}");
    }

    #[test]
    fn what_the_engine_depends_on_cannot_be_set() {
        let said = refusal("group.id", "other");
        assert_eq!(
            said,
            "invalid value for property `group.id`: a service or reader names its group itself"
        );
        let said = refusal("enable.auto.commit", "true");
        assert_eq!(
            said,
            "invalid value for property `enable.auto.commit`: offsets are committed by the engine alone, so only \
             `false` is allowed"
        );
        let allowed = Cluster::new("localhost")
            .property("enable.auto.commit", "false")
            .unwrap();
        assert_eq!(
            allowed.raw_properties().next(),
            Some(("enable.auto.commit", "false"))
        );
    }

    #[test]
    fn secrets_appear_in_no_text() {
        let cluster = Cluster::new("localhost:9092")
            .properties([
                ("sasl.username", "alice"),
                ("sasl.password", "hunter2"),
                ("ssl.key.pem", "PEM"),
            ])
            .unwrap();
        let debug = format!(
            "{cluster:?} {:?}",
            cluster.shown_properties().collect::<Vec<_>>()
        );
        assert_eq!(debug.matches("***").count(), 6);
        for secret in ["alice", "hunter2", "\"PEM\""] {
            assert!(!debug.contains(secret), "{secret} in {debug}");
        }
        assert_eq!(
            cluster.scrub("login of alice with hunter2"),
            "login of *** with ***"
        );
    }

    #[test]
    fn addresses_are_checked_with_the_bad_one_named() {
        let said = |text: &str| {
            text.parse::<Cluster>()
                .map_or_else(|e| e.to_string(), |_| "fine".to_owned())
        };
        for good in [
            "localhost:9092",
            "a:1,b:2",
            "kafka",
            "[::1]:9092",
            "SASL_SSL://kafka:9093",
            "a:1, b:2",
        ] {
            assert_eq!(said(good), "fine", "{good}");
        }
        assert_eq!(
            said(""),
            "invalid broker address ``: no address is given, expected host:port"
        );
        assert_eq!(
            said("a:1,:2"),
            "invalid broker address `:2`: the host is missing or not a host, expected host:port"
        );
        assert_eq!(
            said("a:70000"),
            "invalid broker address `a:70000`: the port is not a number from 1 to 65535"
        );
        assert_eq!(
            said("5"),
            "invalid broker address `5`: a number is not a host, expected host:port, as in localhost:9092"
        );
        assert_eq!(
            said("::1:9092"),
            "invalid broker address `::1:9092`: an IPv6 address needs brackets, as in [::1]:9092"
        );
    }
}
