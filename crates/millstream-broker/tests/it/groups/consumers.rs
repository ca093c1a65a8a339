//! Real consumers (librdkafka) that share the partitions of a topic under every assignor it has.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::cluster::{Cluster, eventually, unique};
use crate::support::PATIENCE;

const PARTITIONS: i32 = 6;
const MOMENT: Duration = Duration::from_millis(10);

/// Counts how often a consumer was given partitions.
#[derive(Default)]
pub(crate) struct Counting {
    assigned: AtomicUsize,
}

impl ClientContext for Counting {}

impl ConsumerContext for Counting {
    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if matches!(rebalance, Rebalance::Assign(_)) {
            self.assigned.fetch_add(1, Ordering::Relaxed);
        }
    }
}

type Reader = BaseConsumer<Counting>;

fn config(cluster: &Cluster, group: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &cluster.address)
        .set("group.id", group)
        .set("auto.offset.reset", "earliest")
        .set("enable.auto.commit", "false")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "100")
        .set("topic.metadata.refresh.interval.ms", "1000");
    config
}

fn subscribe(config: &ClientConfig, topic: &str) -> Reader {
    let reader: Reader = config.create_with_context(Counting::default()).unwrap();
    reader.subscribe(&[topic]).unwrap();
    reader
}

fn assigned(reader: &Reader) -> BTreeSet<i32> {
    let assignment = reader.assignment().unwrap();
    let elements = assignment.elements();
    elements.iter().map(|one| one.partition()).collect()
}

/// Polls all until each partition belongs to exactly one of them, and nobody has more than its share.
fn share(readers: &[&Reader]) -> Vec<BTreeSet<i32>> {
    let share = usize::try_from(PARTITIONS).unwrap().div_ceil(readers.len());
    eventually("all partitions are shared", || {
        for reader in readers {
            poll(reader);
        }
        let shares: Vec<_> = readers.iter().map(|reader| assigned(reader)).collect();
        let all: BTreeSet<i32> = shares.iter().flatten().copied().collect();
        let fair = shares.iter().all(|one| one.len() <= share);
        let count: usize = shares.iter().map(BTreeSet::len).sum();
        (fair && all.len() == count && all == (0..PARTITIONS).collect()).then_some(shares)
    })
}

/// Serves a consumer's events; records are of no interest.
fn poll(reader: &Reader) {
    if let Some(Err(error)) = reader.poll(MOMENT) {
        assert!(
            !matches!(error, KafkaError::MessageConsumptionFatal(_)),
            "{error}"
        );
    }
}

fn produce(cluster: &Cluster, topic: &str, numbers: std::ops::Range<i32>) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &cluster.address)
        .create()
        .unwrap();
    for number in numbers {
        let value = number.to_string();
        let record = BaseRecord::<(), str>::to(topic)
            .partition(number % PARTITIONS)
            .payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Three consumers come and one goes, under one assignor; in the end each record was read, by whoever had it then.
fn members_come_and_go(assignor: &str) {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("shared", PARTITIONS);
    let mut config = config(&cluster, &unique(assignor));
    config.set("partition.assignment.strategy", assignor);
    let first = subscribe(&config, &topic);
    assert_eq!(share(&[&first])[0].len(), 6);
    let second = subscribe(&config, &topic);
    share(&[&first, &second]);
    let third = subscribe(&config, &topic);
    share(&[&first, &second, &third]);
    first.unsubscribe();
    share(&[&second, &third]);
    drop(first);

    produce(&cluster, &topic, 0..60);
    let mut seen = BTreeSet::new();
    eventually("all records", || {
        for reader in [&second, &third] {
            if let Some(record) = reader.poll(MOMENT) {
                let record = record.unwrap();
                seen.insert(record.payload_view::<str>().unwrap().unwrap().to_owned());
                reader.commit_message(&record, CommitMode::Sync).unwrap();
            }
        }
        (seen.len() == 60).then_some(())
    });
    // Whoever comes last reads nothing again.
    drop((second, third));
    let last = subscribe(&config, &topic);
    share(&[&last]);
    let committed = last.committed(PATIENCE).unwrap();
    for one in committed.elements() {
        assert_eq!(one.offset(), Offset::Offset(10), "{one:?}");
    }
    produce(&cluster, &topic, 60..61);
    let record = eventually("the new record", || last.poll(MOMENT)).unwrap();
    assert_eq!(record.payload(), Some("60".as_bytes()));
}

#[test]
fn members_come_and_go_under_range() {
    members_come_and_go("range");
}

#[test]
fn members_come_and_go_under_roundrobin() {
    members_come_and_go("roundrobin");
}

#[test]
fn members_come_and_go_under_cooperative_sticky() {
    members_come_and_go("cooperative-sticky");
}

#[test]
fn a_static_consumer_that_restarts_disturbs_nobody() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("static", PARTITIONS);
    let group = unique("static");
    let named = |name: &str| {
        let mut config = config(&cluster, &group);
        config.set("group.instance.id", name);
        config
    };
    let first = subscribe(&named("one"), &topic);
    let second = subscribe(&named("two"), &topic);
    let shares = share(&[&first, &second]);
    let before = first.context().assigned.load(Ordering::Relaxed);
    drop(second);
    let second = subscribe(&named("two"), &topic);
    assert_eq!(share(&[&first, &second]), shares);
    assert_eq!(first.context().assigned.load(Ordering::Relaxed), before);
}

#[test]
fn the_older_of_two_consumers_with_one_instance_id_is_fenced() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("twins", PARTITIONS);
    let mut config = config(&cluster, &unique("twins"));
    config.set("group.instance.id", "twin");
    let older = subscribe(&config, &topic);
    share(&[&older]);
    let younger = subscribe(&config, &topic);
    share(&[&younger]);
    let error = eventually("a fatal error", || older.poll(MOMENT)?.err());
    assert_eq!(
        error,
        KafkaError::MessageConsumptionFatal(RDKafkaErrorCode::FencedInstanceId)
    );
    poll(&younger);
    assert_eq!(assigned(&younger).len(), 6);
}

#[test]
fn a_consumer_that_was_away_for_too_long_cannot_commit_and_comes_back_clean() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("zombie", PARTITIONS);
    produce(&cluster, &topic, 0..6);
    let mut config = config(&cluster, &unique("zombie"));
    config.set("max.poll.interval.ms", "6000");
    let zombie = subscribe(&config, &topic);
    share(&[&zombie]);
    let successor = subscribe(&config, &topic);
    share(&[&zombie, &successor]);
    // Nobody polls the zombie for longer than it has promised to be polled.
    eventually("the successor has all", || {
        poll(&successor);
        (assigned(&successor).len() == 6).then_some(())
    });
    let mut offsets = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        offsets
            .add_partition_offset(&topic, partition, Offset::Offset(1))
            .unwrap();
    }
    let KafkaError::ConsumerCommit(refused) =
        zombie.commit(&offsets, CommitMode::Sync).unwrap_err()
    else {
        panic!("another kind of error");
    };
    let expected = [
        RDKafkaErrorCode::UnknownMemberId,
        RDKafkaErrorCode::IllegalGeneration,
        RDKafkaErrorCode::RebalanceInProgress,
    ];
    assert!(expected.contains(&refused), "{refused}");
    let committed = successor.committed(PATIENCE).unwrap();
    for one in committed.elements() {
        assert_eq!(one.offset(), Offset::Invalid, "{one:?}");
    }
    share(&[&zombie, &successor]);
}

/// Reads what there is and commits it; tells which numbers it were.
fn take(reader: &Reader, seen: &mut BTreeSet<String>) {
    match reader.poll(MOMENT) {
        Some(Ok(record)) => {
            seen.insert(record.payload_view::<str>().unwrap().unwrap().to_owned());
            // Refused in the middle of a rebalance: whoever has the partition next reads it again.
            reader.commit_message(&record, CommitMode::Sync).ok();
        }
        Some(Err(error)) => {
            assert!(
                !matches!(error, KafkaError::MessageConsumptionFatal(_)),
                "{error}"
            );
        }
        None => {}
    }
}

#[test]
fn a_storm_of_members_that_come_and_go_loses_no_record() {
    let cluster = Cluster::start();
    let (_, topic) = cluster.with_topic("storm", PARTITIONS);
    let mut config = config(&cluster, &unique("storm"));
    config.set("partition.assignment.strategy", "cooperative-sticky");
    let steady = [subscribe(&config, &topic), subscribe(&config, &topic)];
    share(&[&steady[0], &steady[1]]);
    let mut seen = BTreeSet::new();
    for gust in 0..5 {
        produce(&cluster, &topic, gust * 100..(gust + 1) * 100);
        let passing = subscribe(&config, &topic);
        eventually("the passing member reads too", || {
            take(&steady[0], &mut seen);
            take(&steady[1], &mut seen);
            take(&passing, &mut seen);
            (!assigned(&passing).is_empty()).then_some(())
        });
    }
    eventually("every record was read", || {
        take(&steady[0], &mut seen);
        take(&steady[1], &mut seen);
        (seen.len() == 500).then_some(())
    });
}
