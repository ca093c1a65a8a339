//! Kills a broker process with SIGKILL while transactions run, at random instants, and audits what is left.
//!
//! Each transaction writes its number to every partition and commits it as a group's offset, then commits or aborts as a
//! coin says; between them an idempotent producer writes plain records. Whatever the client could not finish it leaves to the next
//! producer of the same id. Afterwards a reader of committed records must see each number in all partitions or in none: those whose
//! commit was acknowledged in all, those whose abort was in none; and the group's offset must be that of the last number seen.
//! A kill leaves the page cache: what a power cut leaves is simulated beside the coordinator (`transactions/tests/power.rs`).
//! `CRASH_ROUNDS` says how often the broker is killed, as for `no_acknowledged_record_is_lost_by_a_kill`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::crash::{Ledger, TOPIC, idempotent, send};
use super::process::{PARTITIONS, Process, variable};
use crate::cluster::Deadline;
use crate::support::PATIENCE;
use crate::transactions::read;

const GROUP: &str = "copiers";

fn client(address: SocketAddr) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", address.to_string())
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "10");
    config
}

fn producer(address: SocketAddr) -> KafkaResult<BaseProducer> {
    let producer: BaseProducer = client(address)
        .set("transactional.id", "copy")
        .set("linger.ms", "0")
        .create()?;
    producer.init_transactions(PATIENCE)?;
    Ok(producer)
}

/// What the client knows of each transaction.
#[derive(Default)]
struct Outcomes {
    committed: BTreeSet<i64>,
    aborted: BTreeSet<i64>,
}

fn transaction(
    producer: &BaseProducer,
    group: &ConsumerGroupMetadata,
    number: i64,
    commit: bool,
) -> KafkaResult<()> {
    producer.begin_transaction()?;
    let payload = format!("t{number}");
    for partition in 0..PARTITIONS {
        let record = BaseRecord::<(), str>::to(TOPIC)
            .partition(partition)
            .payload(&payload);
        producer.send(record).map_err(|(error, _)| error)?;
    }
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(TOPIC, 0, Offset::Offset(number))?;
    producer.send_offsets_to_transaction(&offsets, group, PATIENCE)?;
    producer.flush(PATIENCE)?;
    match commit {
        true => producer.commit_transaction(PATIENCE),
        false => producer.abort_transaction(PATIENCE),
    }
}

/// Runs transactions until `stop`; the last one is committed, so that none is open.
fn copy(address: SocketAddr, stop: &AtomicBool, finished: &AtomicI64) -> Outcomes {
    let consumer: BaseConsumer = client(address).set("group.id", GROUP).create().unwrap();
    let group = consumer.group_metadata().unwrap();
    let mut outcomes = Outcomes::default();
    let mut current = None;
    let mut number = 0;
    loop {
        let last = stop.load(Ordering::Acquire);
        let used = match current.take() {
            Some(producer) => Ok(producer),
            None => producer(address),
        };
        let Ok(used) = used else { continue };
        number += 1;
        let commit = last || fastrand::bool();
        let ended = transaction(&used, &group, number, commit);
        match (&ended, commit) {
            (Ok(()), true) => outcomes.committed.insert(number),
            (Ok(()), false) => outcomes.aborted.insert(number),
            // Nobody knows; a new producer settles it.
            (Err(_), _) => false,
        };
        if ended.is_ok() {
            finished.fetch_add(1, Ordering::AcqRel);
            current = Some(used);
            if last {
                return outcomes;
            }
        }
    }
}

fn offset(address: SocketAddr) -> Offset {
    let consumer: BaseConsumer = client(address).set("group.id", GROUP).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition(TOPIC, 0);
    let found = consumer.committed_offsets(list, PATIENCE).unwrap();
    found.find_partition(TOPIC, 0).unwrap().offset()
}

fn audit(address: SocketAddr, outcomes: &Outcomes, plain: usize) {
    let mut seen: BTreeMap<i64, i32> = BTreeMap::new();
    let mut others = 0;
    for partition in 0..PARTITIONS {
        for value in read(&address.to_string(), "read_committed", TOPIC, partition) {
            match value.strip_prefix('t') {
                Some(number) => *seen.entry(number.parse().unwrap()).or_default() += 1,
                None => others += 1,
            }
        }
    }
    assert_eq!(others, plain, "plain records");
    let torn: Vec<_> = seen
        .iter()
        .filter(|(_, count)| **count != PARTITIONS)
        .collect();
    assert_eq!(torn, [], "neither in all partitions nor in none");
    let lost: Vec<_> = outcomes
        .committed
        .iter()
        .filter(|one| !seen.contains_key(one))
        .collect();
    assert_eq!(lost, [] as [&i64; 0], "committed");
    let risen: Vec<_> = outcomes
        .aborted
        .iter()
        .filter(|one| seen.contains_key(one))
        .collect();
    assert_eq!(risen, [] as [&i64; 0], "aborted");
    let (last, _) = seen.last_key_value().unwrap();
    assert_eq!(offset(address), Offset::Offset(*last));
}

#[test]
fn every_transaction_is_whole_after_kills() {
    audit_kills(false);
}

#[test]
fn every_transaction_is_whole_after_kills_while_it_is_forced_to_the_disk() {
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
    let plain: BaseProducer<Ledger> = idempotent(address);
    let (stop, finished) = (AtomicBool::new(false), AtomicI64::new(0));
    let (outcomes, next, broker) = std::thread::scope(|scope| {
        let copying = scope.spawn(|| copy(address, &stop, &finished));
        let mut next = 0;
        for _ in 0..rounds {
            let before = finished.load(Ordering::Acquire);
            send(&plain, &mut next, || {
                finished.load(Ordering::Acquire) > before + 3
            });
            let instant = Deadline::after(Duration::from_micros(random.u64(0..400_000)));
            send(&plain, &mut next, || instant.passed());
            broker.kill();
            broker = Process::start_with(folder.path(), &address.to_string(), fsync);
        }
        stop.store(true, Ordering::Release);
        plain.flush(Timeout::After(PATIENCE)).unwrap();
        (copying.join().unwrap(), next, broker)
    });
    let (committed, aborted) = (outcomes.committed.len(), outcomes.aborted.len());
    audit(address, &outcomes, usize::try_from(next).unwrap());
    broker.kill();
    println!("{rounds} kills, {committed} commits, {aborted} aborts, {next} plain records");
}
