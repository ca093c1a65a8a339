//! A record as a handler sees it: payload, headers, time and position together.
//!
//! Nothing here knows Kafka's wire or the client library; `log` fills these types, `codec` the payload.
//! A record and its position never part: who refuses a record can name where it lies. Headers stay in the client's buffer
//! until they are asked for, because looking for them costs the client an allocation even where there are none.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::log::Message;
use crate::topic::{Offset, Partition};

/// One decoded record. In a handler its headers are still borrowed from the client; what a reader returns
/// owns them ([`OwnedRecord`]).
#[derive(Clone, Debug)]
pub struct Record<'a, K, V> {
    /// The key, decoded by the topic's key codec.
    pub key: K,
    /// The value, decoded by the topic's value codec.
    pub value: V,
    /// When the record was made, or appended, as the topic is configured.
    pub timestamp: Timestamp,
    /// Where the record lies.
    pub position: Position,
    headers: Source<'a>,
}

/// A record that owns its headers: what a [`Reader`](crate::Reader) returns, and what
/// [`into_owned`](Record::into_owned) makes of a handler's, to be kept or sent to another thread.
pub type OwnedRecord<K, V> = Record<'static, K, V>;

/// Where the headers are.
#[derive(Clone)]
enum Source<'a> {
    Owned(Headers),
    Message(&'a dyn Message),
}

impl<K, V> OwnedRecord<K, V> {
    /// A record by its parts, for readers and for tests of handlers.
    pub const fn new(
        key: K,
        value: V,
        headers: Headers,
        timestamp: Timestamp,
        position: Position,
    ) -> Self {
        Self {
            key,
            value,
            timestamp,
            position,
            headers: Source::Owned(headers),
        }
    }
}

impl<'a, K, V> Record<'a, K, V> {
    /// What was decoded of `message`, which lies in the partition `topic` names.
    pub(crate) fn of(key: K, value: V, message: &'a dyn Message, topic: &Arc<str>) -> Self {
        Self {
            key,
            value,
            timestamp: message.timestamp(),
            position: Position {
                topic: Arc::clone(topic),
                partition: message.partition(),
                offset: message.offset(),
            },
            headers: Source::Message(message),
        }
    }

    /// The headers, as they were written. They are read when asked for: ask once.
    pub fn headers(&self) -> Cow<'_, Headers> {
        match &self.headers {
            Source::Owned(headers) => Cow::Borrowed(headers),
            Source::Message(message) => Cow::Owned(message.headers()),
        }
    }

    /// The same record, borrowing nothing: to be kept, or sent to another thread.
    pub fn into_owned(self) -> OwnedRecord<K, V> {
        let headers = self.headers().into_owned();
        Record::new(self.key, self.value, headers, self.timestamp, self.position)
    }
}

impl fmt::Debug for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Owned(headers) => headers.fmt(f),
            Self::Message(message) => message.headers().fmt(f),
        }
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for Record<'_, K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.value == other.value
            && self.timestamp == other.timestamp
            && self.position == other.position
            && self.headers() == other.headers()
    }
}

/// Where a record lies: topic, partition, offset.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition's number.
    pub partition: Partition,
    /// The record's own offset.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]@{}", self.topic, self.partition, self.offset)
    }
}

/// Milliseconds since 1970-01-01 UTC, as Kafka counts record time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The record carries no time (Kafka's -1).
    pub const UNKNOWN: Self = Self(-1);

    /// From milliseconds since 1970-01-01 UTC.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970-01-01 UTC; -1 when unknown.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Whether the record carried a time.
    pub const fn is_known(self) -> bool {
        self.0 != -1
    }
}

/// The headers of a record: names with bytes, in order, a name may come twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<Header>);

/// One header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The name.
    pub name: String,
    /// The bytes; `None` is Kafka's null, which is not the same as empty.
    pub value: Option<Vec<u8>>,
}

impl Header {
    /// The name of a header whose own name is not UTF-8. The client cannot read such a header: its value is `None`.
    pub const UNREADABLE: &str = "\u{fffd}";
}

impl Headers {
    /// No headers. Does not allocate.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These headers and one more, for building in one expression.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.push(name, Some(value.into()));
        self
    }

    /// Adds a header at the end.
    pub fn push(&mut self, name: impl Into<String>, value: Option<Vec<u8>>) {
        self.0.push(Header {
            name: name.into(),
            value,
        });
    }

    /// The bytes of the last header named `name`, as Kafka's own clients choose; `None` when there is none or it is null.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        let header = self.0.iter().rev().find(|header| header.name == name)?;
        header.value.as_deref()
    }

    /// All headers in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Header> {
        self.0.iter()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> IntoIterator for &'a Headers {
    type Item = &'a Header;
    type IntoIter = std::slice::Iter<'a, Header>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl FromIterator<Header> for Headers {
    fn from_iter<I: IntoIterator<Item = Header>>(headers: I) -> Self {
        Self(headers.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_header_of_a_name_is_found() {
        let headers = Headers::new().with("a", "1").with("b", "2").with("a", "3");
        assert_eq!(headers.get("a"), Some(b"3".as_slice()));
        assert_eq!(headers.get("c"), None);
        assert_eq!(headers.len(), 3);
    }

    #[test]
    fn a_record_can_be_kept_and_sent_to_another_thread() {
        fn is_free<T: Send + Sync + 'static>(_: &T) {}
        let position = Position {
            topic: "calls".into(),
            partition: Partition(3),
            offset: Offset::new(17),
        };
        let headers = Headers::new().with("a", "1");
        let record = Record::new((), 1, headers.clone(), Timestamp::UNKNOWN, position);
        let kept = record.clone().into_owned();
        is_free(&kept);
        assert_eq!(kept, record);
        assert_eq!(*kept.headers(), headers);
    }

    #[test]
    fn a_position_prints_as_one_word() {
        let position = Position {
            topic: "calls".into(),
            partition: Partition(3),
            offset: Offset::new(17),
        };
        assert_eq!(position.to_string(), "calls[3]@17");
    }
}
