//! millstream

pub mod admin;
mod clock;
pub mod codec;
mod config;
mod context;
mod describe;
mod emitter;
mod error;
pub mod http;
pub mod log;
pub mod metrics;
mod policy;
pub mod reader;
mod record;
mod runtime;
mod service;
mod startup;
pub mod testing;
mod topic;
mod worker;

pub use clock::{Clock, Moment, SystemClock};
pub use config::Cluster;
pub use context::{Context, Extras};
pub use describe::{Description, TopicDescription};
pub use emitter::{Counts, Draft, Emitter};
pub use error::{Error, Outcome, ProcessError};
pub use policy::{Delivery, OnError, Start};
pub use reader::Reader;
pub use record::{Header, Headers, Position, Record, Timestamp};
pub use runtime::{Shutdown, Summary};
pub use service::Service;
pub use topic::{NextOffset, Offset, Partition, Topic, TopicPartition, TopicSpec};
pub use worker::dead_letter;
