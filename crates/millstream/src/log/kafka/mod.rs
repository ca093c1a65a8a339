//! Apache Kafka through librdkafka; the only place that names the client crate.
//!
//! `member` is the log of a worker; `producer`, `reader`, `admin` and `groups` are the clients behind the emitter, the reader and
//! administration; `config` and `properties` make every client's configuration and keep secrets out of every text.

pub(crate) mod admin;
pub(crate) mod config;
mod groups;
pub(crate) mod growth;
mod headers;
pub(crate) mod member;
pub(crate) mod offsets;
pub(crate) mod producer;
mod properties;
pub(crate) mod reader;
mod statistics;

pub(crate) use config::check_property;
pub(crate) use properties::is_secret;
