//! A Kafka client in pure Rust: one thread drives its own connections; no runtime, no locks, no callbacks.
//!
//! What stands: [`wire`], the bytes of the protocol. Record batches are built in place and read in place.

mod error;
pub mod wire;

pub use error::{Class, Error, Outcome};
