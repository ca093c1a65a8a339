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

use std::sync::{Mutex, MutexGuard, PoisonError};

pub(crate) use config::check_property;
pub(crate) use properties::is_secret;

/// Locks without regard to panics elsewhere: what a lock guards here is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
