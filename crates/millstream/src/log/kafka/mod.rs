//! Apache Kafka through librdkafka; the only place that names the client crate.

pub(crate) mod admin;
pub(crate) mod config;
mod groups;
mod headers;
pub(crate) mod member;
pub(crate) mod offsets;
pub(crate) mod producer;
mod properties;
pub(crate) mod reader;

pub(crate) use config::check_property;
pub(crate) use properties::is_secret;
