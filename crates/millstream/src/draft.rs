//! A record about to be written: one builder for handlers, emitters and tests.
//!
//! Owns how a key and a value become bytes on the way out. The bytes are made at once, so a draft borrows only the topic;
//! what a codec refuses is returned by the method that sends. Who writes the record adds that method to [`Draft`]:
//! `context` has `emit`, `emitter` and `testing` have `send`.

use std::borrow::Cow;
use std::ops::Range;

use crate::codec::{Codec, Encodable, Encoded};
use crate::error::Error;
use crate::record::{Headers, Timestamp};
use crate::topic::{Partition, Topic};

/// A record with headers, a time or a partition, made by [`Context::record`](crate::Context::record),
/// [`Emitter::record`](crate::Emitter::record) or [`World::record`](crate::testing::World::record).
///
/// Nothing is written before the last method: `emit` in a handler, `send` elsewhere.
///
/// ```
/// # use millstream::codec::{Json, Text};
/// # use millstream::testing::World;
/// # use millstream::{Partition, Timestamp, Topic};
/// # static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json).partitions(4);
/// # let mut world = World::new();
/// world
///     .record(&READINGS, "kitchen", &20.5)
///     .header("unit", "celsius")
///     .timestamp(Timestamp::from_millis(1_700_000_000_000))
///     .partition(Partition(3))
///     .send();
/// # assert_eq!(world.read(&READINGS)[0].position.partition, Partition(3));
/// ```
#[must_use = "a draft writes nothing before it is sent"]
#[derive(Debug)]
pub struct Draft<'a, T> {
    pub(crate) to: T,
    pub(crate) topic: &'a str,
    pub(crate) payload: Result<Payload, Error>,
    pub(crate) headers: Cow<'a, Headers>,
    pub(crate) timestamp: Option<Timestamp>,
    pub(crate) partition: Option<Partition>,
}

impl<'a, T> Draft<'a, T> {
    /// Encodes into `buffer`, which is empty.
    pub(crate) fn new<K, V>(
        to: T,
        topic: &'a Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
        buffer: Vec<u8>,
    ) -> Self {
        Self {
            to,
            topic: topic.name(),
            payload: Payload::encode(topic, key, value, buffer),
            headers: Cow::Owned(Headers::new()),
            timestamp: None,
            partition: None,
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.to_mut().push(name, Some(value.into()));
        self
    }

    /// Writes these headers, instead of any set so far.
    pub fn headers(mut self, headers: &'a Headers) -> Self {
        self.headers = Cow::Borrowed(headers);
        self
    }

    /// The record's time. Default: the time of sending.
    pub fn timestamp(mut self, timestamp: Timestamp) -> Self {
        self.timestamp = Some(timestamp);
        self
    }

    /// The partition. Default: chosen by the key.
    pub fn partition(mut self, partition: Partition) -> Self {
        self.partition = Some(partition);
        self
    }
}

/// A key and a value in bytes, one after the other.
#[derive(Debug)]
pub(crate) struct Payload {
    bytes: Vec<u8>,
    place: Place,
}

/// Where a key and a value lie in a buffer; `None` is null.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) key: Option<Range<usize>>,
    pub(crate) value: Option<Range<usize>>,
}

impl Payload {
    fn encode<K, V>(
        topic: &Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
        mut buffer: Vec<u8>,
    ) -> Result<Self, Error> {
        let place = encode(topic, key, value, &mut buffer)?;
        Ok(Self {
            bytes: buffer,
            place,
        })
    }

    pub(crate) fn key(&self) -> Option<&[u8]> {
        self.bytes.get(self.place.key.clone()?)
    }

    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.bytes.get(self.place.value.clone()?)
    }

    /// The buffer, to be used again.
    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.bytes
    }
}

/// Appends a key and a value to `out`; after an error `out` is as long as before.
pub(crate) fn encode<K, V>(
    topic: &Topic<K, V>,
    key: &(impl Encodable<K> + ?Sized),
    value: &(impl Encodable<V> + ?Sized),
    out: &mut Vec<u8>,
) -> Result<Place, Error> {
    let start = out.len();
    let key = part("key", topic, topic.key_codec(), key, out)?;
    let value = part("value", topic, topic.value_codec(), value, out)
        .inspect_err(|_| out.truncate(start))?;
    Ok(Place { key, value })
}

fn part<K, V, T>(
    part: &str,
    topic: &Topic<K, V>,
    codec: &dyn Codec<T>,
    of: &(impl Encodable<T> + ?Sized),
    out: &mut Vec<u8>,
) -> Result<Option<Range<usize>>, Error> {
    let start = out.len();
    match of.encode_with(codec, out) {
        Ok(Encoded::Bytes) => Ok(Some(start..out.len())),
        Ok(Encoded::Null) => Ok(None),
        Err(source) => Err(Error::Codec {
            action: format!("encode the {part} of a record for topic `{}`", topic.name()),
            source,
        }),
    }
}
