//! millstream

mod clock;
pub mod codec;
mod config;
mod error;
pub mod http;
pub mod log;
mod record;
mod topic;

pub use clock::{Clock, Moment, SystemClock};
pub use config::Cluster;
pub use error::{Error, Outcome, ProcessError};
pub use record::{Header, Headers, Position, Record, Timestamp};
pub use topic::{NextOffset, Offset, Partition, Topic, TopicPartition, TopicSpec};
