//! The topic of the system.
//!
//! Its number of partitions is what the system is about, so it is an option; six if nobody says.

use millstream::Topic;
use millstream::codec::{Json, Text};

use super::records::Item;

/// Generated items by thread and number.
pub static ITEMS: Topic<String, Item> = Topic::new("partition-items", &Text, &Json);

/// Partitions of a topic that this system creates, by default.
pub const PARTITIONS: i32 = 6;
