//! Kills a broker process with SIGKILL under load, at random instants, and audits what is left.
//!
//! An idempotent producer sends numbers as fast as they are taken, through all the kills, and keeps a ledger of what was
//! acknowledged where. Afterwards every partition must hold, at the offset that was acknowledged, what was
//! acknowledged, and no number twice; numbers within a partition must be in order. `CRASH_ROUNDS` says how often the broker is killed
//! (CI: 5; the proof in docs: 50), and a failure prints the seed that chose the instants.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::process::{PARTITIONS, Process, variable};
use crate::cluster::Deadline;
use crate::compaction::read_all as read_all_keyed;
use crate::raw::Client;
use crate::support::PATIENCE;

pub(super) const TOPIC: &str = "ledger";
/// What was acknowledged: number, partition, offset.
#[derive(Default)]
pub(super) struct Ledger(pub(super) Mutex<Vec<(u64, i32, i64)>>);

impl ClientContext for Ledger {}

impl ProducerContext for Ledger {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<u64>) {
        match result {
            Ok(message) => {
                self.0
                    .lock()
                    .unwrap()
                    .push((*number, message.partition(), message.offset()));
            }
            Err((error, _)) => panic!("number {number} was given up: {error}"),
        }
    }
}

/// A producer that never gives up while brokers are killed.
pub(super) fn idempotent(address: SocketAddr) -> BaseProducer<Ledger> {
    client(address)
        .create_with_context(Ledger::default())
        .unwrap()
}

/// The settings of such a producer.
pub(super) fn client(address: SocketAddr) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address.to_string())
        .set("enable.idempotence", "true")
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "5000")
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "10");
    config
}

/// Sends numbers until `done`.
pub(super) fn send(producer: &BaseProducer<Ledger>, next: &mut u64, done: impl Fn() -> bool) {
    let padding = "x".repeat(200);
    while !done() {
        let payload = format!("{next} {padding}");
        let partition = i32::try_from(*next % 3).unwrap();
        let record = BaseRecord::<(), str, _>::with_opaque_to(TOPIC, Box::new(*next))
            .partition(partition)
            .payload(&payload);
        match producer.send(record) {
            Ok(()) => *next += 1,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => panic!("{error}"),
        }
        producer.poll(Duration::ZERO);
    }
}

/// Sends numbers under a few keys until `done`.
fn send_keyed(producer: &BaseProducer<Ledger>, next: &mut u64, done: impl Fn() -> bool) {
    let padding = "x".repeat(200);
    while !done() {
        let (key, payload) = (format!("key {}", *next % KEYS), format!("{next} {padding}"));
        let record = BaseRecord::with_opaque_to(COMPACTED, Box::new(*next))
            .partition(0)
            .key(&key)
            .payload(&payload);
        match producer.send(record) {
            Ok(()) => *next += 1,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => panic!("{error}"),
        }
        producer.poll(Duration::ZERO);
    }
}

const COMPACTED: &str = "compacted";
const KEYS: u64 = 50;

#[test]
fn the_newest_record_of_no_key_is_lost_by_a_kill_while_the_log_is_compacted() {
    audit_compaction(false);
}

#[test]
fn the_newest_record_of_no_key_is_lost_by_a_kill_while_compaction_is_forced_to_the_disk() {
    audit_compaction(true);
}

fn audit_compaction(fsync: bool) {
    let rounds: u32 = variable("CRASH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Process::start_with(folder.path(), "127.0.0.1:0", fsync);
    let address = broker.address;
    let configs = [
        ("cleanup.policy", "compact"),
        ("min.cleanable.dirty.ratio", "0.01"),
    ];
    let connect = || Client::connect(&address.to_string());
    connect().create_topic(COMPACTED, 1, &configs);
    let producer = idempotent(address);
    let acknowledged = || producer.context().0.lock().unwrap().len();
    let mut next = 0;
    for _ in 0..rounds {
        // A segment and more, so that there is something to compact, and then some moment of it.
        let before = acknowledged();
        send_keyed(&producer, &mut next, || acknowledged() > before + 10_000);
        let instant = Deadline::after(Duration::from_micros(random.u64(0..100_000)));
        send_keyed(&producer, &mut next, || instant.passed());
        broker.kill();
        broker = Process::start_with(folder.path(), &address.to_string(), fsync);
    }
    producer.flush(Timeout::After(PATIENCE)).unwrap();
    let mut newest = HashMap::new();
    for (number, _, offset) in std::mem::take(&mut *producer.context().0.lock().unwrap()) {
        let entry = newest.entry(format!("key {}", number % KEYS)).or_default();
        *entry = (offset, number).max(*entry);
    }
    let mut found: HashMap<String, (i64, u64)> = HashMap::new();
    let all = read_all_keyed(&mut connect(), COMPACTED);
    let count = all.len();
    for (offset, key, value) in all {
        let number = value.split(' ').next().unwrap().parse().unwrap();
        let before = found.insert(key, (offset, number));
        assert!(before.is_none_or(|before| before < (offset, number)));
    }
    assert_eq!(found, newest);
    println!("{rounds} kills, {count} of {next} records are left");
    assert!(
        u64::try_from(count).unwrap() < next,
        "something was compacted"
    );
    broker.kill();
}

fn number(message: &BorrowedMessage<'_>) -> u64 {
    let payload = message.payload_view::<str>().unwrap().unwrap();
    payload.split(' ').next().unwrap().parse().unwrap()
}

/// Everything in the topic: number by (partition, offset).
fn read_all(address: SocketAddr) -> HashMap<(i32, i64), u64> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", address.to_string())
        .set("group.id", "audit")
        .set("check.crcs", "true")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap();
    let mut left = 0;
    let mut list = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        let (low, high) = consumer
            .fetch_watermarks(TOPIC, partition, PATIENCE)
            .unwrap();
        assert_eq!(low, 0);
        left += high;
        list.add_partition_offset(TOPIC, partition, Offset::Beginning)
            .unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut found = HashMap::new();
    let mut newest = HashMap::new();
    while left > 0 {
        let message = consumer
            .poll(PATIENCE)
            .expect("records go on to the end")
            .unwrap();
        let (partition, number) = (message.partition(), number(&message));
        let before = newest.insert(partition, number);
        assert!(
            before.is_none_or(|before| before < number),
            "{number} after {before:?} in partition {partition}"
        );
        assert_eq!(found.insert((partition, message.offset()), number), None);
        left -= 1;
    }
    found
}

#[test]
fn no_acknowledged_record_is_lost_by_a_kill() {
    audit_kills(false);
}

#[test]
fn no_acknowledged_record_is_lost_by_a_kill_while_it_is_forced_to_the_disk() {
    audit_kills(true);
}

fn audit_kills(fsync: bool) {
    let rounds: u32 = variable("CRASH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Process::start_with(folder.path(), "127.0.0.1:0", fsync);
    let address = broker.address;
    let producer = idempotent(address);
    let mut next = 0;
    for _ in 0..rounds {
        let acknowledged = || producer.context().0.lock().unwrap().len();
        let before = acknowledged();
        send(&producer, &mut next, || acknowledged() > before);
        let instant = Deadline::after(Duration::from_micros(random.u64(0..400_000)));
        send(&producer, &mut next, || instant.passed());
        broker.kill();
        broker = Process::start_with(folder.path(), &address.to_string(), fsync);
    }
    producer.flush(Timeout::After(PATIENCE)).unwrap();
    let ledger = std::mem::take(&mut *producer.context().0.lock().unwrap());
    assert_eq!(u64::try_from(ledger.len()).unwrap(), next);
    let found = read_all(address);
    for (number, partition, offset) in &ledger {
        assert_eq!(
            found.get(&(*partition, *offset)),
            Some(number),
            "acknowledged at {partition}/{offset}"
        );
    }
    assert_eq!(found.len(), ledger.len());
    broker.kill();
    println!("{rounds} kills, {next} records");
}
