//! The one table of properties: name, what it can be, default and meaning.
//!
//! A value is checked when it is set, and kept as the table spells it, so that whoever reads it later compares words.

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
    /// Any text that is never shown, or nothing.
    Secret,
    /// One of these words, in capitals or not.
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
        "default.api.timeout.ms",
        Kind::Number(1, DAY_MS),
        "60000",
        "For how long a call of `Admin` waits for its answers, with all repetitions.",
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
        "sasl.mechanism",
        Kind::Word(&["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"]),
        "SCRAM-SHA-512",
        "How a client logs in where `security.protocol` says that it does. `PLAIN` sends the password as it is.",
    ),
    property(
        "sasl.oauthbearer.token.file",
        Kind::Optional,
        "",
        "The file with the token of `OAUTHBEARER`; it is read at each login.",
    ),
    property(
        "sasl.password",
        Kind::Secret,
        "",
        "The password of `sasl.username`.",
    ),
    property(
        "sasl.username",
        Kind::Optional,
        "",
        "The user of a login by `PLAIN` or `SCRAM`.",
    ),
    property(
        "security.protocol",
        Kind::Word(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        "PLAINTEXT",
        "Whether connections are encrypted by TLS (`SSL`), and whether they begin with a login (`SASL`).",
    ),
    property(
        "session.timeout.ms",
        Kind::Number(1, DAY_MS),
        "45000",
        "A member that is not heard for so long has lost its partitions.",
    ),
    property(
        "ssl.ca.location",
        Kind::Optional,
        "",
        "A file in PEM with the certificates of the authorities that brokers' certificates come from. If it is not set: those of the system.",
    ),
    property(
        "ssl.certificate.location",
        Kind::Optional,
        "",
        "A file in PEM with this client's certificate, followed by those that lead to its authority.",
    ),
    property(
        "ssl.endpoint.identification.algorithm",
        Kind::Word(&["https", "none"]),
        "https",
        "Whether a broker's certificate must name the host that is connected to.",
    ),
    property(
        "ssl.key.location",
        Kind::Optional,
        "",
        "A file in PEM with the private key of `ssl.certificate.location`, not encrypted.",
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

/// The property of this name, or why there is none.
pub(super) fn find(name: &str) -> Result<&'static Property, String> {
    let found = PROPERTIES.iter().find(|property| property.name == name);
    found.ok_or_else(|| unknown(name))
}

impl Property {
    /// The value as the table spells it, or why it cannot have it.
    pub(super) fn check<'a>(&self, value: &'a str) -> Result<&'a str, String> {
        match self.kind {
            Kind::Optional | Kind::Secret => Ok(value),
            Kind::Text if value.trim().is_empty() => Err("the value is empty".to_owned()),
            Kind::Text => Ok(value),
            Kind::Word(words) => {
                let word = words.iter().find(|word| word.eq_ignore_ascii_case(value));
                word.copied()
                    .ok_or_else(|| format!("`{value}` is not one of {}", words.join(", ")))
            }
            Kind::Number(least, most) => match value.parse::<u64>() {
                Ok(number) if (least..=most).contains(&number) => Ok(value),
                _ => Err(format!(
                    "`{value}` is not a whole number from {least} to {most}"
                )),
            },
        }
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
