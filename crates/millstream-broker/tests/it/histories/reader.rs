//! Those who look on: readers of a topic, and an observer of the groups' offsets.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::history::{Level, Reading, Sighting};
use super::{COPIERS, PARTITIONS, Scene, copier};
use crate::support::{PATIENCE, eventually, fresh};

const MOMENT: Duration = Duration::from_millis(50);

pub(super) fn create_topic(address: &str, topic: &str) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", address)
        .create()
        .unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let new = NewTopic::new(topic, PARTITIONS, TopicReplication::Fixed(1));
    let created = runtime
        .block_on(admin.create_topics([&new], &AdminOptions::new()))
        .unwrap();
    assert_eq!(created, [Ok(topic.to_owned())]);
}

fn consumer(scene: &Scene, level: Level, fetch: usize) -> BaseConsumer {
    let consumer: BaseConsumer = copier::config(scene)
        .set("group.id", fresh("audit"))
        .set("isolation.level", level.property())
        .set("fetch.message.max.bytes", fetch.to_string())
        .set("enable.partition.eof", "true")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        list.add_partition_offset(&scene.topic, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    consumer
}

/// Waits until no transaction is open: a commit is acknowledged before its markers are in all partitions.
pub(super) fn wait_for_markers(scene: &Scene) {
    let readers =
        [Level::Committed, Level::Uncommitted].map(|level| consumer(scene, level, 1 << 20));
    for partition in 0..PARTITIONS {
        eventually("the end of every transaction", || {
            let end =
                |of: &BaseConsumer| of.fetch_watermarks(&scene.topic, partition, PATIENCE).ok();
            let [stable, written] = [end(&readers[0])?, end(&readers[1])?];
            (stable == written).then_some(())
        });
    }
}

/// The next record or end of a partition; none after a moment, or when the broker is away.
enum Next {
    Record(Sighting),
    End(i32),
    Nothing,
}

fn poll(consumer: &BaseConsumer) -> Next {
    match consumer.poll(MOMENT) {
        Some(Ok(message)) => Next::Record(Sighting {
            partition: message.partition(),
            offset: message.offset(),
            name: message
                .payload_view::<str>()
                .unwrap()
                .unwrap()
                .parse()
                .unwrap(),
        }),
        Some(Err(KafkaError::PartitionEOF(partition))) => Next::End(partition),
        Some(Err(_)) | None => Next::Nothing,
    }
}

/// Reads everything, when all is over.
pub(super) fn read(scene: &Scene, level: Level) -> Reading {
    let consumer = consumer(scene, level, 1 << 20);
    let (mut sightings, mut ended) = (Vec::new(), BTreeSet::new());
    eventually("the end of all partitions", || {
        loop {
            match poll(&consumer) {
                Next::Record(one) => sightings.push(one),
                Next::End(partition) => _ = ended.insert(partition),
                Next::Nothing => return None,
            }
            if ended.len() == usize::try_from(PARTITIONS).unwrap() {
                return Some(());
            }
        }
    });
    Reading { level, sightings }
}

/// The last record of each partition.
pub(super) fn lasts(reading: &Reading) -> BTreeMap<i32, i64> {
    let places = reading
        .sightings
        .iter()
        .map(|one| (one.partition, one.offset));
    places.collect()
}

/// Reads along while transactions run, in answers of this size, until it has what `read` found.
pub(super) fn follow(scene: &Scene, level: Level, fetch: usize) -> Reading {
    let consumer = consumer(scene, level, fetch);
    let mut sightings = Vec::new();
    let mut last = BTreeMap::new();
    let mut take = || match poll(&consumer) {
        Next::Record(one) => {
            last.insert(one.partition, one.offset);
            sightings.push(one);
            false
        }
        Next::End(_) | Next::Nothing => scene
            .lasts
            .get()
            .is_some_and(|lasts| lasts.get(&level) == Some(&last)),
    };
    while scene.lasts.get().is_none() {
        take();
    }
    eventually("what the others have read", || {
        // An answer at a time, so that a slow reader is not given up while it goes on.
        (0..1000).any(|_| take()).then_some(())
    });
    Reading { level, sightings }
}

/// The offsets of all groups, as they change.
pub(super) fn observe(scene: &Scene) -> BTreeMap<u32, Vec<u64>> {
    let clients: Vec<BaseConsumer> = (0..COPIERS)
        .map(|copier| copier::of_group(scene, copier))
        .collect();
    let mut offsets: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    loop {
        let last = scene.lasts.get().is_some();
        for (copier, client) in (0..).zip(&clients) {
            let found = match last {
                true => eventually("the group's last offset", || {
                    copier::offset(scene, client).ok()
                }),
                false => match copier::offset(scene, client) {
                    Ok(offset) => offset,
                    Err(_) => continue,
                },
            };
            let of_copier = offsets.entry(copier).or_default();
            if of_copier.last() != Some(&found) {
                of_copier.push(found);
            }
        }
        if last {
            return offsets;
        }
    }
}
