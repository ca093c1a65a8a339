//! A copier: transactions of librdkafka that copy a source into the topic, a few items at a time, with the source's offset in the
//! transaction. Where a transaction did not end as it should, a new incarnation begins where the group's offset says.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};

use super::history::{Name, Outcome, Sighting, Transaction};
use super::{PARTITIONS, Scene};
use crate::support::{PATIENCE, eventually};

/// The shortest that librdkafka takes, in milliseconds.
const SHORT: &str = "1000";

/// Notes what was delivered where.
#[derive(Default)]
struct Reports(Mutex<Vec<Sighting>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = Box<Name>;

    fn delivery(&self, result: &DeliveryResult<'_>, name: Box<Name>) {
        if let Ok(message) = result {
            self.0.lock().unwrap().push(Sighting {
                partition: message.partition(),
                offset: message.offset(),
                name: *name,
            });
        }
    }
}

/// How a copier ends a transaction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    /// The client asks for the commit and is gone before it has the answer, most of the time.
    Hurry,
    Abort,
    /// The client is gone without a word.
    Leave,
    /// A successor begins; the predecessor goes on and asks for the commit.
    Fence,
    /// The broker ends the transaction, then the client asks for the commit.
    TimeOut,
}

impl End {
    fn choose(random: &mut fastrand::Rng) -> End {
        match random.u32(0..100) {
            0..50 => End::Commit,
            50..60 => End::Hurry,
            60..80 => End::Abort,
            80..90 => End::Leave,
            90..99 => End::Fence,
            _ => End::TimeOut,
        }
    }
}

/// What a copier did.
#[derive(Default)]
pub(super) struct Done {
    pub(super) transactions: Vec<Transaction>,
    pub(super) acknowledged: Vec<Sighting>,
}

pub(super) struct Copier<'a> {
    scene: &'a Scene,
    number: u32,
    random: fastrand::Rng,
    done: Done,
    /// The source's offset, of whoever is in use.
    next: u64,
}

type Client = BaseProducer<Reports>;

pub(super) fn config(scene: &Scene) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &scene.address)
        .set("reconnect.backoff.ms", "10")
        .set("reconnect.backoff.max.ms", "100")
        .set("retry.backoff.ms", "10");
    config
}

/// A client of a copier's group, which has no members: it asks for offsets and names the group in transactions.
pub(super) fn of_group(scene: &Scene, copier: u32) -> BaseConsumer {
    let group = format!("{}-{copier}", scene.word);
    config(scene).set("group.id", group).create().unwrap()
}

/// The group's offset; an error while transactions of the group are open.
pub(super) fn offset(scene: &Scene, client: &BaseConsumer) -> KafkaResult<u64> {
    let mut list = TopicPartitionList::new();
    list.add_partition(&scene.topic, 0);
    let found = client.committed_offsets(list, PATIENCE)?;
    match found.find_partition(&scene.topic, 0).unwrap().offset() {
        Offset::Offset(offset) => Ok(u64::try_from(offset).unwrap()),
        Offset::Invalid => Ok(0),
        other => panic!("the group's offset is {other:?}"),
    }
}

impl<'a> Copier<'a> {
    pub(super) fn new(scene: &'a Scene, number: u32) -> Copier<'a> {
        let random = fastrand::Rng::with_seed(scene.seed.wrapping_add(u64::from(number)));
        Copier {
            scene,
            number,
            random,
            done: Done::default(),
            next: 0,
        }
    }

    /// Runs transactions until the scene is stopped; the last one is committed, so that none is open.
    pub(super) fn run(mut self) -> Done {
        let group = of_group(self.scene, self.number);
        let mut client = None;
        loop {
            let last = self.scene.stopped();
            let end = if last {
                End::Commit
            } else {
                End::choose(&mut self.random)
            };
            if end == End::TimeOut {
                self.report(client.take());
            }
            let current = match client.take() {
                Some(client) => client,
                None => self.incarnation(&group, end),
            };
            let outcome;
            (client, outcome) = self.transaction(current, &group, end);
            if last && outcome == Outcome::Committed {
                self.report(client);
                return self.done;
            }
        }
    }

    /// A client that has ended whatever an earlier one left open, and knows where to go on.
    fn incarnation(&mut self, group: &BaseConsumer, end: End) -> Client {
        let timeout = if end == End::TimeOut { SHORT } else { "60000" };
        let client = eventually("a client that is ready", || {
            let client: Client = config(self.scene)
                .set(
                    "transactional.id",
                    format!("{}-{}", self.scene.word, self.number),
                )
                .set("transaction.timeout.ms", timeout)
                .set("linger.ms", "1")
                .create_with_context(Reports::default())
                .unwrap();
            client.init_transactions(PATIENCE).ok().map(|()| client)
        });
        self.next = eventually("the group's offset", || offset(self.scene, group).ok());
        client
    }

    /// Writes the items of one transaction and ends it; gives the client back when it can go on.
    fn transaction(
        &mut self,
        client: Client,
        group: &BaseConsumer,
        end: End,
    ) -> (Option<Client>, Outcome) {
        let number = u64::try_from(self.done.transactions.len()).unwrap();
        let id = (self.number, number);
        let items = self.next..self.next + self.random.u64(1..9);
        let written = self
            .write(&client, id, &items)
            .and_then(|()| self.bring_offset(&client, group, items.end));
        let (client, outcome) = match (written, end) {
            // What could not be written is never committed: its client is gone.
            (Err(_), _) | (Ok(()), End::Leave) => {
                self.report(Some(client));
                (None, Outcome::Aborted)
            }
            (Ok(()), End::Commit | End::Hurry) => {
                match client.commit_transaction(self.limit(end)) {
                    Ok(()) => (Some(client), Outcome::Committed),
                    Err(_) => {
                        self.report(Some(client));
                        (None, Outcome::Unknown)
                    }
                }
            }
            (Ok(()), End::Abort) => {
                let ended = client
                    .flush(PATIENCE)
                    .and_then(|()| client.abort_transaction(PATIENCE));
                (self.keep(client, ended.is_ok()), Outcome::Aborted)
            }
            (Ok(()), End::Fence) => self.fence(client, group, id),
            (Ok(()), End::TimeOut) => self.outlive(client),
        };
        if outcome == Outcome::Committed {
            self.next = items.end;
            self.scene.committed.fetch_add(1, Ordering::AcqRel);
        }
        self.done
            .transactions
            .push(Transaction { id, items, outcome });
        (client, outcome)
    }

    /// How long a client waits for its commit.
    fn limit(&mut self, end: End) -> Duration {
        match end {
            End::Hurry => Duration::from_micros(self.random.u64(1000..20_000)),
            _ => PATIENCE,
        }
    }

    fn write(
        &mut self,
        client: &Client,
        (copier, transaction): (u32, u64),
        items: &Range<u64>,
    ) -> KafkaResult<()> {
        client.begin_transaction()?;
        for item in items.clone() {
            let name = Name {
                copier,
                transaction,
                item,
            };
            self.send(client, name)?;
            // Some transactions are many small batches, others few.
            if self.random.u32(0..4) == 0 {
                client.flush(PATIENCE)?;
            }
        }
        Ok(())
    }

    fn send(&mut self, client: &Client, name: Name) -> KafkaResult<()> {
        let payload = name.to_string();
        let record = BaseRecord::<(), str, _>::with_opaque_to(&self.scene.topic, Box::new(name))
            .partition(self.random.i32(0..PARTITIONS))
            .payload(&payload);
        client.send(record).map_err(|(error, _)| error)
    }

    fn bring_offset(&self, client: &Client, group: &BaseConsumer, end: u64) -> KafkaResult<()> {
        let mut offsets = TopicPartitionList::new();
        offsets.add_partition_offset(
            &self.scene.topic,
            0,
            Offset::Offset(i64::try_from(end).unwrap()),
        )?;
        client.send_offsets_to_transaction(&offsets, &group.group_metadata().unwrap(), PATIENCE)
    }

    /// A successor begins; then the predecessor writes once more and asks for its commit, which must be refused.
    fn fence(
        &mut self,
        zombie: Client,
        group: &BaseConsumer,
        (copier, transaction): (u32, u64),
    ) -> (Option<Client>, Outcome) {
        zombie.flush(PATIENCE).ok();
        let successor = self.incarnation(group, End::Fence);
        let late = Name {
            copier,
            transaction,
            item: u64::MAX,
        };
        let committed = self
            .send(&zombie, late)
            .and_then(|()| zombie.commit_transaction(PATIENCE));
        self.report(Some(zombie));
        match committed {
            Ok(()) => (None, Outcome::Committed),
            Err(_) => (Some(successor), Outcome::Aborted),
        }
    }

    /// Waits until the broker has ended the transaction, and asks for its commit, which must be refused.
    fn outlive(&mut self, client: Client) -> (Option<Client>, Outcome) {
        let flushed = client.flush(PATIENCE);
        let first = client.context().0.lock().unwrap().first().copied();
        if let (Ok(()), Some(first)) = (flushed, first) {
            let reader: BaseConsumer = config(self.scene)
                .set("isolation.level", "read_committed")
                .create()
                .unwrap();
            eventually("the broker has ended a transaction that timed out", || {
                let ends = reader.fetch_watermarks(&self.scene.topic, first.partition, PATIENCE);
                ends.is_ok_and(|(_, stable)| stable > first.offset)
                    .then_some(())
            });
        }
        let committed = client.commit_transaction(PATIENCE);
        self.report(Some(client));
        match committed {
            Ok(()) => (None, Outcome::Committed),
            Err(_) => (None, Outcome::Aborted),
        }
    }

    fn keep(&mut self, client: Client, good: bool) -> Option<Client> {
        if good {
            return Some(client);
        }
        self.report(Some(client));
        None
    }

    /// Takes over what a client that is no longer used was told.
    fn report(&mut self, client: Option<Client>) {
        if let Some(client) = client {
            client.poll(Timeout::After(Duration::ZERO));
            self.done
                .acknowledged
                .append(&mut client.context().0.lock().unwrap());
        }
    }
}
