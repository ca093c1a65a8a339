//! Typed records into a world and out of it.
//!
//! Keys and values go through the topic's own codecs in both directions, so that what a test reads is what a consumer
//! would; bytes that no codec would write have a door of their own.

use std::sync::Arc;

use super::World;
use crate::clock::Clock as _;
use crate::codec::{Codec, Encoded};
use crate::log::simulation::Stored;
use crate::record::{Headers, Position, Record};
use crate::topic::{Partition, Topic};

impl World {
    /// Writes a record to the partition its key decides. A topic that does not exist is created as it is declared.
    ///
    /// # Panics
    /// The codec refuses the key or the value.
    #[track_caller]
    pub fn send<K, V>(&mut self, topic: &Topic<K, V>, key: &K, value: &V) {
        let (key, value) = encode(topic, key, value);
        self.create(topic);
        self.send_bytes(topic.name(), None, key.as_deref(), value.as_deref());
    }

    /// Writes a record to this partition.
    ///
    /// # Panics
    /// The codec refuses the key or the value, or there is no such partition.
    #[track_caller]
    pub fn send_to<K, V>(&mut self, topic: &Topic<K, V>, partition: Partition, key: &K, value: &V) {
        let (key, value) = encode(topic, key, value);
        self.create(topic);
        self.send_bytes(
            topic.name(),
            Some(partition),
            key.as_deref(),
            value.as_deref(),
        );
    }

    /// Writes bytes that need not be what the topic's codecs read: poison, or null.
    ///
    /// # Panics
    /// There is no such topic or partition.
    #[track_caller]
    pub fn send_bytes(
        &mut self,
        topic: &str,
        partition: Option<Partition>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
    ) {
        let random = self.simulation.below(usize::MAX);
        let record = Stored {
            key: key.map(<[u8]>::to_vec),
            value: value.map(<[u8]>::to_vec),
            headers: Headers::new(),
            timestamp: self.clock.wall(),
            origin: None,
            sequence: 0,
        };
        let written = self.simulation.topics(|topics| {
            let partition = partition.or_else(|| topics.choose(topic, key, random))?;
            topics.append(topic, partition, record)
        });
        assert!(
            written.is_some(),
            "topic `{topic}` or its partition does not exist in this world"
        );
    }

    /// Every record of a topic, in the order of writing.
    ///
    /// # Panics
    /// A record is not what the topic's codecs read.
    #[track_caller]
    pub fn read<K, V>(&self, topic: &Topic<K, V>) -> Vec<Record<'static, K, V>> {
        let name: Arc<str> = topic.name().into();
        let all = self
            .simulation
            .topics(|topics| topics.all(topic.name()))
            .into_iter();
        let records = all.map(|(partition, offset, stored)| {
            let position = Position {
                topic: name.clone(),
                partition,
                offset,
            };
            let (key, value) = (stored.key.as_deref(), stored.value.as_deref());
            let key = decode("key", topic.key_codec(), key, &position);
            let value = decode("value", topic.value_codec(), value, &position);
            let headers = stored.headers.clone();
            Record::new(key, value, headers, stored.timestamp, position)
        });
        records.collect()
    }

    fn create<K, V>(&self, topic: &Topic<K, V>) {
        let partitions = topic.spec().partitions.unwrap_or(1);
        self.simulation
            .topics(|topics| topics.create(topic.name(), partitions));
    }
}

type Bytes = Option<Vec<u8>>;

#[track_caller]
fn encode<K, V>(topic: &Topic<K, V>, key: &K, value: &V) -> (Bytes, Bytes) {
    let part = |part: &str, encoded: Result<Encoded, crate::codec::Error>, bytes: Vec<u8>| {
        assert!(
            encoded.is_ok(),
            "the {part} for topic `{}`: {encoded:?}",
            topic.name()
        );
        (encoded == Ok(Encoded::Bytes)).then_some(bytes)
    };
    let (mut key_bytes, mut value_bytes) = (Vec::new(), Vec::new());
    let key = topic.key_codec().encode(key, &mut key_bytes);
    let value = topic.value_codec().encode(value, &mut value_bytes);
    (
        part("key", key, key_bytes),
        part("value", value, value_bytes),
    )
}

#[track_caller]
#[expect(clippy::panic, reason = "a failed assertion of a test")]
fn decode<T>(part: &str, codec: &dyn Codec<T>, bytes: Option<&[u8]>, position: &Position) -> T {
    codec
        .decode(bytes)
        .unwrap_or_else(|error| panic!("the {part} of {position}: {error}"))
}
