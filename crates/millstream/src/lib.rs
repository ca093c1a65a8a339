//! millstream

pub mod codec;
mod config;
mod error;
pub(crate) mod log;

pub use config::Cluster;
pub use error::{Error, Outcome};
