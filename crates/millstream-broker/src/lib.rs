//! A Kafka-protocol broker for one machine: durable, small, ready in milliseconds.
//!
//! Made for development, tests and small systems that need no replication: every client and tool that speaks the protocol
//! of Apache Kafka 4.1 connects to it unchanged. What differs from Apache Kafka stands in `UNSUPPORTED.md`.
//!
//! ```no_run
//! use millstream_broker::{Config, Server};
//!
//! let server = Server::start(Config::ephemeral("/tmp/millstream"))?;
//! println!("listening on {}", server.address());
//! server.stop()?;
//! # Ok::<(), millstream_broker::Error>(())
//! ```
//!
//! The way of a request: `server` accepts, `connection` reads, `frame` finds and checks, `api` decodes and answers, `topics` knows
//! where, `log` stores.

mod alarms;
mod api;
mod boot;
mod broker;
mod clock;
mod config;
mod connection;
mod current;
mod descriptors;
mod error;
mod failpoint;
mod faults;
mod folder;
mod frame;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod groups;
mod journal;
mod listener;
mod log;
mod metrics;
mod producers;
mod reserve;
mod security;
mod server;
mod snapshot;
mod stream;
mod topics;
mod transactions;

pub use broker::Broker;
pub use clock::Clock;
pub use config::Config;
pub use error::Error;
pub use faults::{Asked, Fault, Faults};
pub use listener::{Bound, Listener};
pub use security::{ClientCertificates, Tls, User};
pub use server::{Server, serve};
