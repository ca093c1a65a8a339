//! The topic of the system.
//!
//! The number of partitions holds when the system creates the topic; one that exists is taken as it is.

use millstream::Topic;
use millstream::codec::{Json, Text};

use super::records::Message;

/// Messages by their id.
pub static MESSAGES: Topic<String, Message> = Topic::new("rust-messages", &Text, &Json);

/// Partitions of a topic that this system creates.
pub const PARTITIONS: i32 = 3;
