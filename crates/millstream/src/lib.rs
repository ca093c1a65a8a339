//! millstream

pub mod admin;
mod clock;
pub mod codec;
mod config;
mod emitter;
mod error;
pub mod http;
pub mod log;
pub mod reader;
mod record;
mod topic;

pub use clock::{Clock, Moment, SystemClock};
pub use config::Cluster;
pub use emitter::{Counts, Draft, Emitter};
pub use error::{Error, Outcome, ProcessError};
pub use reader::Reader;
pub use record::{Header, Headers, Position, Record, Timestamp};
pub use topic::{NextOffset, Offset, Partition, Topic, TopicPartition, TopicSpec};
