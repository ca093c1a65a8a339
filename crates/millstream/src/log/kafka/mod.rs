//! Apache Kafka through librdkafka; the only place that names the client crate.

#[expect(dead_code, reason = "the clients that use it land next")]
pub(crate) mod config;
mod properties;

pub(crate) use config::check_property;
pub(crate) use properties::is_secret;
