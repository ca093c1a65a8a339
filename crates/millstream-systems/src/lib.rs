//! The systems of Millstream: small, complete sets of services, each a folder of its own.
//!
//! Every system is built on the public API of [`millstream`] alone, as a user's own would be, and no system knows
//! another. All have the same parts: `mod` says what it is, `topics` declares its topics, `records` what is in
//! them, then one file a service with its options (a `clap` argument group), its `run` and what it answers.
//! What all services need on their way in, and no system owns, stands beside them: `arrival`, `settings`, `duration`,
//! `number`.

mod arrival;
pub mod duration;
mod error;
pub mod messages;
pub mod montecarlo;
pub mod number;
pub mod partitions;
mod readiness;
mod settings;

pub use error::Error;
