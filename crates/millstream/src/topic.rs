//! Topics, and the numbers that name a place in them.
//!
//! A topic is declared once, as a `static`, with its key and value types, its codecs and what it must look
//! like on the cluster. Reading and writing take the declaration, so a topic is read as it was written. Creating and
//! checking it on a cluster is `admin`'s work, by [`TopicSpec`].
//!
//! Two kinds of offset never mix: [`Offset`] is a record's own place, [`NextOffset`] the next one to read, which is
//! what a group commits. The only `+ 1` between them stands in [`Offset::next`].

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::{Codec, Nullable, Raw};
use crate::dead_letter::Bytes;
use crate::error::Error;

/// A typed topic: its name, what its keys and values are, and what it must look like on the cluster.
///
/// ```
/// use std::time::Duration;
/// use millstream::Topic;
/// use millstream::codec::{Json, Text};
///
/// pub static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json)
///     .partitions(4)
///     .retention(Duration::from_secs(24 * 60 * 60));
/// assert_eq!(READINGS.name(), "readings");
/// ```
pub struct Topic<K: 'static, V: 'static> {
    name: Cow<'static, str>,
    key: &'static dyn Codec<K>,
    value: &'static dyn Codec<V>,
    partitions: Option<i32>,
    replication: Option<i32>,
    retention: Option<Duration>,
    max_message_bytes: Option<u32>,
}

impl<K, V> Topic<K, V> {
    /// The topic `name`, its keys and values encoded by these codecs. The other settings are the cluster's defaults until
    /// they are set.
    pub const fn new(
        name: &'static str,
        key: &'static dyn Codec<K>,
        value: &'static dyn Codec<V>,
    ) -> Self {
        Self {
            name: Cow::Borrowed(name),
            key,
            value,
            partitions: None,
            replication: None,
            retention: None,
            max_message_bytes: None,
        }
    }

    /// The number of partitions it is created with; an existing topic with another number is an error at start.
    #[must_use]
    pub const fn partitions(mut self, partitions: i32) -> Self {
        self.partitions = Some(partitions);
        self
    }

    /// How many brokers keep a copy, when it is created. Default: the cluster's.
    #[must_use]
    pub const fn replication(mut self, replication: i32) -> Self {
        self.replication = Some(replication);
        self
    }

    /// How long records are kept (`retention.ms`); an existing topic with another value is an error at start.
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// The largest batch the topic takes, in bytes (`max.message.bytes`).
    #[must_use]
    pub const fn max_message_bytes(mut self, bytes: u32) -> Self {
        self.max_message_bytes = Some(bytes);
        self
    }

    /// The same topic under a name known only at run time.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self {
            name: Cow::Owned(name.into()),
            ..self
        }
    }

    /// The dead-letter topic of this one, `<name>.dlq`: the bytes of records that could not be processed, as
    /// [`DeadLetter`](crate::DeadLetter) reads them. A service creates it so that it takes the largest record of this topic with
    /// the headers of a dead letter, and with as many replicas as are declared here.
    ///
    /// To have one that differs, in its retention or its size, declare it by
    /// [`Service::dead_letter_topic`](crate::Service::dead_letter_topic).
    pub fn dead_letters(&self) -> Topic<Bytes, Bytes> {
        static LETTERS: Topic<Bytes, Bytes> = Topic::new("", &Nullable(Raw), &Nullable(Raw));
        let spec = self.spec().dead_letters();
        Topic {
            replication: spec.replication,
            ..LETTERS.clone().named(spec.name)
        }
    }

    /// The name on the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The codec of the keys.
    pub const fn key_codec(&self) -> &'static dyn Codec<K> {
        self.key
    }

    /// The codec of the values.
    pub const fn value_codec(&self) -> &'static dyn Codec<V> {
        self.value
    }

    /// What the topic must look like on the cluster.
    pub fn spec(&self) -> TopicSpec {
        TopicSpec {
            name: self.name.clone().into_owned(),
            partitions: self.partitions,
            replication: self.replication,
            retention: self.retention,
            max_message_bytes: self.max_message_bytes,
        }
    }
}

impl<K, V> Clone for Topic<K, V> {
    fn clone(&self) -> Self {
        Self {
            name: self.name.clone(),
            ..*self
        }
    }
}

impl<K, V> fmt::Debug for Topic<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topic")
            .field("name", &self.name)
            .field("key", &self.key.name())
            .field("value", &self.value.name())
            .field("partitions", &self.partitions)
            .field("retention", &self.retention)
            .finish_non_exhaustive()
    }
}

/// What a topic must look like on the cluster; what is `None` is left to the cluster and not checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name.
    pub name: String,
    /// The number of partitions.
    pub partitions: Option<i32>,
    /// The number of copies.
    pub replication: Option<i32>,
    /// `retention.ms`.
    pub retention: Option<Duration>,
    /// `max.message.bytes`.
    pub max_message_bytes: Option<u32>,
}

impl TopicSpec {
    /// A topic of which only the name is given.
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            partitions: None,
            replication: None,
            retention: None,
            max_message_bytes: None,
        }
    }

    /// The dead-letter topic of this one.
    pub(crate) fn dead_letters(&self) -> Self {
        Self {
            replication: self.replication,
            ..Self::named(dead_letter_topic(&self.name))
        }
    }

    /// Checks the name and the numbers, without a cluster.
    ///
    /// # Errors
    /// [`Error::InvalidTopic`] when the name is not one Kafka takes or a number is not positive.
    pub fn validate(&self) -> Result<(), Error> {
        let invalid = |reason: &str| {
            Err(Error::InvalidTopic {
                topic: self.name.clone(),
                reason: reason.to_owned(),
            })
        };
        if !is_valid_name(&self.name) {
            return invalid(
                "a name is 1 to 249 characters out of a-z, A-Z, 0-9, `.`, `_` and `-`, and is neither `.` nor `..`",
            );
        }
        if self.partitions.is_some_and(|partitions| partitions < 1) {
            return invalid("a topic has at least one partition");
        }
        if self.replication.is_some_and(|replication| replication < 1) {
            return invalid("a topic has at least one copy");
        }
        Ok(())
    }
}

/// The name of the dead-letter topic of `topic`.
pub(crate) fn dead_letter_topic(topic: &str) -> String {
    format!("{topic}.dlq")
}

/// Kafka's rule for topic names (`org.apache.kafka.common.internals.Topic`).
fn is_valid_name(name: &str) -> bool {
    (1..=249).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// The number of a partition in its topic, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(pub i32);

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A partition of a named topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: Partition,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: Partition) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// A record's own offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

impl Offset {
    /// The offset `offset`.
    pub const fn new(offset: i64) -> Self {
        Self(offset)
    }

    /// As Kafka counts it.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The next offset to read after this record: the one place where a record's offset becomes a position.
    pub const fn next(self) -> NextOffset {
        NextOffset(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The next offset to read: what a group commits, and where a partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextOffset(i64);

impl NextOffset {
    /// The position `offset`.
    pub const fn new(offset: i64) -> Self {
        Self(offset)
    }

    /// As Kafka counts it.
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Reading on from the record at `offset` itself.
    pub const fn at(offset: Offset) -> Self {
        Self(offset.0)
    }
}

impl fmt::Display for NextOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_offset_follows_the_records_own() {
        assert_eq!(Offset::new(41).next(), NextOffset::new(42));
        assert_eq!(NextOffset::at(Offset::new(41)), NextOffset::new(41));
    }

    #[test]
    fn names_kafka_refuses_are_refused_here() {
        for name in ["", ".", "..", "a b", "a/b", "ä", "a\0", &"x".repeat(250)] {
            let error = TopicSpec::named(name).validate().unwrap_err();
            assert!(
                error.to_string().starts_with("topic `"),
                "text for {name:?}: {error}"
            );
        }
        for name in ["a", "a.b_c-D9", &"x".repeat(249)] {
            assert_eq!(
                TopicSpec::named(name).validate().map_err(|e| e.to_string()),
                Ok(())
            );
        }
    }

    #[test]
    fn a_topic_without_partitions_is_refused() {
        let spec = TopicSpec {
            partitions: Some(0),
            ..TopicSpec::named("a")
        };
        assert_eq!(
            spec.validate().unwrap_err().to_string(),
            "topic `a` is not valid: a topic has at least one partition"
        );
    }
}
