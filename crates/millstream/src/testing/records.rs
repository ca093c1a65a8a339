//! Typed records into a world and out of it.
//!
//! Keys and values go through the topic's own codecs in both directions, so that what a test reads is what a consumer
//! would; bytes that no codec would write have a door of their own.

use std::sync::Arc;

use super::World;
use crate::clock::Clock as _;
use crate::codec::{Codec, Encodable};
use crate::draft::Draft;
use crate::log::simulation::Stored;
use crate::record::{Headers, OwnedRecord, Position, Record};
use crate::topic::{Partition, Topic};

impl World {
    /// Writes a record, to the partition chosen by its key. A topic that does not exist is created as it is declared.
    ///
    /// # Panics
    /// The codec refuses the key or the value.
    #[track_caller]
    pub fn send<K, V>(
        &mut self,
        topic: &Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
    ) {
        self.record(topic, key, value).send();
    }

    /// A record to be written with headers, a time or a partition: see [`Draft`].
    pub fn record<'a, K, V>(
        &'a mut self,
        topic: &'a Topic<K, V>,
        key: &(impl Encodable<K> + ?Sized),
        value: &(impl Encodable<V> + ?Sized),
    ) -> Draft<'a, &'a mut World> {
        self.create(topic);
        Draft::new(self, topic, key, value, Vec::new())
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
        self.write(
            topic,
            partition,
            Stored {
                key: key.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                headers: Headers::new(),
                timestamp: self.clock.wall(),
                origin: None,
                sequence: 0,
            },
        );
    }

    /// Every record of a topic, in the order of writing.
    ///
    /// # Panics
    /// A record is not what the topic's codecs read.
    #[track_caller]
    pub fn read<K, V>(&self, topic: &Topic<K, V>) -> Vec<OwnedRecord<K, V>> {
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

    #[track_caller]
    fn write(&mut self, topic: &str, partition: Option<Partition>, record: Stored) {
        let random = self.simulation.below(usize::MAX);
        let written = self.simulation.topics(|topics| {
            let chosen = || topics.choose(topic, record.key.as_deref(), random);
            let partition = partition.or_else(chosen)?;
            topics.append(topic, partition, record)
        });
        assert!(
            written.is_some(),
            "topic `{topic}` or its partition does not exist in this world"
        );
    }

    fn create<K, V>(&self, topic: &Topic<K, V>) {
        let partitions = topic.spec().partitions.unwrap_or(1);
        self.simulation
            .topics(|topics| topics.create(topic.name(), partitions));
    }
}

impl Draft<'_, &mut World> {
    /// Writes the record.
    ///
    /// # Panics
    /// The codec refuses the key or the value, or there is no such partition.
    #[track_caller]
    #[expect(clippy::panic, reason = "a failed assertion of a test")]
    pub fn send(self) {
        let payload = self.payload;
        let payload = payload.unwrap_or_else(|error| panic!("{error}"));
        let record = Stored {
            key: payload.key().map(<[u8]>::to_vec),
            value: payload.value().map(<[u8]>::to_vec),
            headers: self.headers.into_owned(),
            timestamp: self.timestamp.unwrap_or_else(|| self.to.clock.wall()),
            origin: None,
            sequence: 0,
        };
        self.to.write(self.topic, self.partition, record);
    }
}

#[track_caller]
#[expect(clippy::panic, reason = "a failed assertion of a test")]
pub(super) fn decode<T>(
    part: &str,
    codec: &dyn Codec<T>,
    bytes: Option<&[u8]>,
    position: &Position,
) -> T {
    codec
        .decode(bytes)
        .unwrap_or_else(|error| panic!("the {part} of {position}: {error}"))
}
