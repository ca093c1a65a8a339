//! What a consumer reads out of librdkafka's statistics and log lines.
//!
//! The statistics are a large JSON text, once a second; only the ends of the partitions and the state of the connections are
//! taken from it. The client tells
//! of a position it reset in a log line only; the line is read for the partition's name and nothing else.

use std::collections::HashMap;

use serde::Deserialize;

use crate::topic::{NextOffset, Partition, TopicPartition};

/// What is of interest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Statistics {
    /// The ends of the partitions, as far as they are known.
    pub(super) ends: Vec<(TopicPartition, NextOffset)>,
    /// Up to where everything was handed over, for partitions of which nothing waits in the client.
    pub(super) given: Vec<(TopicPartition, NextOffset)>,
    /// Whether any broker is connected.
    pub(super) connected: bool,
}

/// The text, as far as it is read.
#[derive(Deserialize)]
pub(super) struct Raw {
    #[serde(default)]
    brokers: HashMap<String, Broker>,
    #[serde(default)]
    topics: HashMap<String, Topic>,
}

#[derive(Deserialize)]
struct Broker {
    state: String,
}

#[derive(Deserialize)]
struct Topic {
    topic: String,
    #[serde(default)]
    partitions: HashMap<String, Place>,
}

#[derive(Deserialize)]
struct Place {
    partition: i32,
    #[serde(default = "unknown")]
    hi_offset: i64,
    #[serde(default = "unknown")]
    next_offset: i64,
    #[serde(default)]
    fetchq_cnt: i64,
}

const fn unknown() -> i64 {
    -1
}

/// Takes out what is of interest.
pub(super) fn of_interest(raw: Raw) -> Statistics {
    let (mut ends, mut given) = (Vec::new(), Vec::new());
    for topic in raw.topics.into_values() {
        let name: std::sync::Arc<str> = topic.topic.into();
        for place in topic.partitions.into_values() {
            if place.partition >= 0 && place.hi_offset >= 0 {
                let partition = TopicPartition::new(name.clone(), Partition(place.partition));
                if place.fetchq_cnt == 0 && place.next_offset >= 0 {
                    given.push((partition.clone(), NextOffset::new(place.next_offset)));
                }
                ends.push((partition, NextOffset::new(place.hi_offset)));
            }
        }
    }
    let connected = raw.brokers.values().any(|broker| broker.state == "UP");
    Statistics {
        ends,
        given,
        connected,
    }
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

    fn read(text: &[u8]) -> Statistics {
        of_interest(serde_json::from_slice(text).unwrap())
    }

    #[test]
    fn the_ends_and_the_connection_are_read_and_the_rest_is_left() {
        let text = br#"{"name":"x","brokers":{"a":{"state":"INIT"},"b":{"state":"UP"}},
            "topics":{"a":{"topic":"a","age":1,"partitions":{
            "0":{"partition":0,"hi_offset":12,"next_offset":11,"fetchq_cnt":0,"lo_offset":3},
            "2":{"partition":2,"hi_offset":-1001,"next_offset":4},
            "1":{"partition":1,"hi_offset":-1001},
            "-1":{"partition":-1,"hi_offset":7}}}}}"#;
        let ends = vec![(TopicPartition::new("a", Partition(0)), NextOffset::new(12))];
        let given = vec![(TopicPartition::new("a", Partition(0)), NextOffset::new(11))];
        let expected = Statistics {
            ends,
            given,
            connected: true,
        };
        assert_eq!(read(text), expected);
        assert_eq!(read(b"{}"), Statistics::default());
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
