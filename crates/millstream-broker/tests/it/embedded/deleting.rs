//! Kills a broker process while old records go, by retention or because a client deletes them, in every codec.
//!
//! Each codec has an idempotent producer and a partition of its own. Afterwards every partition must hold what was acknowledged, at its
//! offset and in order, but for what was allowed to go: with retention all but the newest segments, with DeleteRecords what is
//! below the offsets that were asked for. What a client was told is deleted does not come back.
//! `CRASH_ROUNDS` says how often the broker is killed, as for `no_acknowledged_record_is_lost_by_a_kill`.

use std::net::SocketAddr;
use std::time::Duration;

use kafka_protocol::messages::DeleteRecordsRequest;
use kafka_protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsTopic,
};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::util::Timeout;

use super::crash::{Ledger, client};
use super::process::{Process, variable};
use crate::cluster::Deadline;
use crate::raw::{Client, topic_name};
use crate::support::PATIENCE;
use crate::transactions::read;

const TOPIC: &str = "old";
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// Of a segment, and what retention keeps at least.
const SEGMENT: &str = "1048576";

/// A producer with its partition.
struct Sender {
    producer: BaseProducer<Ledger>,
    partition: i32,
    next: u64,
}

impl Sender {
    fn all(address: SocketAddr) -> Vec<Sender> {
        let sender = |(partition, codec): (i32, &&str)| Sender {
            producer: client(address)
                .set("compression.codec", *codec)
                .create_with_context(Ledger::default())
                .unwrap(),
            partition,
            next: 0,
        };
        (0..).zip(&CODECS).map(sender).collect()
    }

    /// Sends a record that no codec makes much smaller.
    fn send(&mut self, random: &mut fastrand::Rng) {
        let padding: String = (0..1000).map(|_| random.alphanumeric()).collect();
        let payload = format!("{} {padding}", self.next);
        let record = BaseRecord::<(), str, _>::with_opaque_to(TOPIC, Box::new(self.next))
            .partition(self.partition)
            .payload(&payload);
        match self.producer.send(record) {
            Ok(()) => self.next += 1,
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                self.producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => panic!("{error}"),
        }
        self.producer.poll(Duration::ZERO);
    }

    fn acknowledged(&self) -> usize {
        self.producer.context().0.lock().unwrap().len()
    }

    /// The offset behind the newest record that was acknowledged.
    fn end(&self) -> i64 {
        let ledger = self.producer.context().0.lock().unwrap();
        ledger.last().map_or(0, |(_, _, offset)| offset + 1)
    }
}

/// What was asked to be deleted of a partition: everything below the first was, everything below the second may be.
#[derive(Clone, Copy, Debug, Default)]
struct Deleted {
    told: i64,
    asked: i64,
}

fn delete(partition: usize, before: i64) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition::default()
        .with_partition_index(i32::try_from(partition).unwrap())
        .with_offset(before);
    let topic = DeleteRecordsTopic::default()
        .with_name(topic_name(TOPIC))
        .with_partitions(vec![partition]);
    DeleteRecordsRequest::default()
        .with_topics(vec![topic])
        .with_timeout_ms(30_000)
}

/// How records go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    Never,
    ByRetention,
    ByRequest,
}

struct Run {
    going: Going,
    random: fastrand::Rng,
    senders: Vec<Sender>,
    deleted: [Deleted; CODECS.len()],
}

impl Run {
    fn send_until(&mut self, done: impl Fn(&[Sender]) -> bool) {
        while !done(&self.senders) {
            for sender in &mut self.senders {
                sender.send(&mut self.random);
            }
        }
    }

    /// Deletes from one partition, and asks to delete from another without waiting for it; gives the connection.
    fn delete(&mut self, address: &str) -> Client {
        let mut client = Client::connect(address);
        for wait in [true, false] {
            let at = self.random.usize(..CODECS.len());
            let deleted = &mut self.deleted[at];
            let before = self
                .random
                .i64(deleted.asked..=self.senders[at].end().max(deleted.asked));
            deleted.asked = before;
            match wait {
                true => {
                    let answer = client.call(2, &delete(at, before));
                    assert_eq!(answer.topics[0].partitions[0].error_code, 0);
                    deleted.told = before;
                }
                false => client.send(2, &delete(at, before)),
            }
        }
        client
    }

    fn audit(&self, address: &str) {
        let mut client = Client::connect(address);
        for (sender, deleted) in self.senders.iter().zip(&self.deleted) {
            let partition = sender.partition;
            let low = client.list_offset(TOPIC, partition, -2).offset;
            let allowed = match self.going {
                Going::ByRetention => 1..=sender.end() - 1,
                _ => deleted.told..=deleted.asked,
            };
            assert!(
                allowed.contains(&low),
                "partition {partition} begins at {low}, not in {allowed:?}"
            );
            let values = read(address, "read_uncommitted", TOPIC, partition);
            let found: Vec<u64> = values
                .iter()
                .map(|value| value.split(' ').next().unwrap().parse().unwrap())
                .collect();
            let mut ledger = sender.producer.context().0.lock().unwrap().clone();
            ledger.sort_by_key(|(_, _, offset)| *offset);
            let kept = ledger.iter().filter(|(_, _, offset)| *offset >= low);
            let wanted: Vec<u64> = kept.map(|(number, _, _)| *number).collect();
            assert_eq!(found, wanted, "partition {partition} from {low} on");
            assert!(wanted.is_sorted(), "partition {partition}");
            assert_eq!(u64::try_from(ledger.len()).unwrap(), sender.next);
        }
    }
}

fn audit_kills(going: Going, fsync: bool) {
    let rounds: u32 = variable("CRASH_ROUNDS").map_or(5, |rounds| rounds.parse().unwrap());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Process::start_with(folder.path(), "127.0.0.1:0", fsync);
    let address = broker.address.to_string();
    let retention = match going {
        Going::ByRetention => SEGMENT,
        _ => "-1",
    };
    let configs = [("segment.bytes", SEGMENT), ("retention.bytes", retention)];
    let partitions = i32::try_from(CODECS.len()).unwrap();
    Client::connect(&address).create_topic(TOPIC, partitions, &configs);
    let mut run = Run {
        going,
        random: fastrand::Rng::with_seed(seed),
        senders: Sender::all(broker.address),
        deleted: Default::default(),
    };
    for _ in 0..rounds {
        // A segment and more of each, so that there is something to remove, and then some moment of it.
        let before: Vec<usize> = run.senders.iter().map(Sender::acknowledged).collect();
        run.send_until(|senders| {
            senders
                .iter()
                .zip(&before)
                .all(|(sender, before)| sender.acknowledged() > before + 1500)
        });
        let instant = Deadline::after(Duration::from_micros(run.random.u64(0..50_000)));
        run.send_until(|_| instant.passed());
        let _asking = (going == Going::ByRequest).then(|| run.delete(&address));
        broker.kill();
        broker = Process::start_with(folder.path(), &address, fsync);
    }
    for sender in &run.senders {
        sender.producer.flush(Timeout::After(PATIENCE)).unwrap();
    }
    run.audit(&address);
    broker.kill();
    let sent: u64 = run.senders.iter().map(|sender| sender.next).sum();
    println!("{rounds} kills, {sent} records, {:?}", run.deleted);
}

#[test]
fn no_acknowledged_record_of_any_codec_is_lost_by_a_kill() {
    audit_kills(Going::Never, false);
}

#[test]
fn no_record_that_retention_keeps_is_lost_by_a_kill() {
    audit_kills(Going::ByRetention, false);
}

#[test]
fn no_record_that_retention_keeps_is_lost_by_a_kill_while_it_is_forced_to_the_disk() {
    audit_kills(Going::ByRetention, true);
}

#[test]
fn what_a_client_deletes_is_gone_and_nothing_else_after_kills() {
    audit_kills(Going::ByRequest, false);
}

#[test]
fn what_a_client_deletes_is_gone_and_nothing_else_after_kills_while_it_is_forced_to_the_disk() {
    audit_kills(Going::ByRequest, true);
}
