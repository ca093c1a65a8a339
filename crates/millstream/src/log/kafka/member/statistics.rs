//! What a consumer reads out of librdkafka's statistics and log lines.
//!
//! The statistics are a large JSON text, once a second; only the ends of the partitions are taken from it. The client tells
//! of a position it reset in a log line only; the line is read for the partition's name and nothing else.

use std::collections::HashMap;

use serde::Deserialize;

use crate::topic::{NextOffset, Partition, TopicPartition};

#[derive(Deserialize)]
struct Statistics {
    #[serde(default)]
    topics: HashMap<String, TopicStatistics>,
}

#[derive(Deserialize)]
struct TopicStatistics {
    topic: String,
    #[serde(default)]
    partitions: HashMap<String, PartitionStatistics>,
}

#[derive(Deserialize)]
struct PartitionStatistics {
    partition: i32,
    #[serde(default = "unknown")]
    hi_offset: i64,
}

const fn unknown() -> i64 {
    -1
}

/// The ends of the partitions, as far as they are known.
pub(super) fn ends(statistics: &[u8]) -> Vec<(TopicPartition, NextOffset)> {
    let statistics: Statistics = match serde_json::from_slice(statistics) {
        Ok(statistics) => statistics,
        Err(error) => {
            tracing::warn!(%error, "the client's statistics cannot be read");
            return Vec::new();
        }
    };
    let mut ends = Vec::new();
    for topic in statistics.topics.into_values() {
        let name: std::sync::Arc<str> = topic.topic.into();
        for partition in topic.partitions.into_values() {
            if partition.partition >= 0 && partition.hi_offset >= 0 {
                let source = TopicPartition::new(name.clone(), Partition(partition.partition));
                ends.push((source, NextOffset::new(partition.hi_offset)));
            }
        }
    }
    ends
}

/// The partition and position named by a line such as `calls [3]: offset reset (at offset 17 (leader epoch 0), broker 1) to ..`;
/// lines begin with the name of the client's thread in brackets.
pub(super) fn reset(line: &str) -> Option<(TopicPartition, NextOffset)> {
    let (before, after) = line.split_once("]: offset reset (at offset ")?;
    let (topic, partition) = before.rsplit_once(" [")?;
    let topic = topic.rsplit(' ').next()?;
    let digits = after
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?;
    let partition = TopicPartition::new(topic, Partition(partition.parse().ok()?));
    Some((partition, NextOffset::new(digits.parse().ok()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_are_read_and_the_rest_is_left() {
        let text = br#"{"name":"x","topics":{"a":{"topic":"a","age":1,"partitions":{
            "0":{"partition":0,"hi_offset":12,"lo_offset":3},
            "1":{"partition":1,"hi_offset":-1001},
            "-1":{"partition":-1,"hi_offset":7}}}}}"#;
        let expected = (TopicPartition::new("a", Partition(0)), NextOffset::new(12));
        assert_eq!(ends(text), [expected]);
        assert_eq!(ends(b"no json"), []);
        assert_eq!(ends(b"{}"), []);
    }

    #[test]
    fn a_reset_line_names_its_partition_and_position() {
        let line = "[thrd:main]: calls-1 [3]: offset reset (at offset 17 (leader epoch 0), broker 1) to BEGINNING: fetch failed";
        let expected = (
            TopicPartition::new("calls-1", Partition(3)),
            NextOffset::new(17),
        );
        assert_eq!(reset(line), Some(expected));
        assert_eq!(reset("calls [x]: offset reset (at offset 17"), None);
        assert_eq!(reset("calls [1]: offset reset (at offset BEGINNING"), None);
        assert_eq!(reset("something else"), None);
    }
}
