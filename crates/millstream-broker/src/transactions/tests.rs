//! The coordinator with real partitions, groups and files: kills between all steps, time-outs, those who cannot be told. What a power
//! cut leaves of it is in `power`, what failing disks and participants do to it in `failures`.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use kafka_protocol::messages::{OffsetCommitRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::Compression;

use super::*;
use crate::broker::Broker;
use crate::groups::{Committed, Group};
use crate::log::testing::encode_with;
use crate::log::{Aborted, Isolation, Marker, Outcome, Span};
use crate::topics::config::Overrides;

mod failures;
mod power;

const NOW: i64 = 1_700_000_000_000;
const PARTITIONS: i32 = 3;
const TIMEOUT_MS: i32 = 60_000;

struct Bench {
    broker: Broker,
    folder: tempfile::TempDir,
    clock: Clock,
    fsync: bool,
}

/// What a reader of committed records sees: aborted transactions, and the ends.
struct View {
    aborted: Vec<Aborted>,
    last_stable: i64,
    end: i64,
}

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn id() -> TransactionalId {
    TransactionalId(text("copy"))
}

fn topic() -> TopicName {
    TopicName(text("calls"))
}

fn group() -> GroupId {
    GroupId(text("readers"))
}

fn open(folder: &Path, clock: &Clock, fsync: bool) -> Broker {
    let mut config = Config::ephemeral(folder);
    config.clock = clock.clone();
    config.fsync = fsync;
    Broker::open(config).unwrap()
}

/// Participants of whom so many hear of an end, and then nobody any more.
struct Dying<'a> {
    everyone: Everyone<'a>,
    left: Cell<usize>,
}

impl Dying<'_> {
    fn step(&self) -> Result<(), String> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or("killed")?);
        Ok(())
    }
}

impl Participants for Dying<'_> {
    fn mark(&self, topic: &TopicName, partition: i32, marker: Marker) -> Result<(), String> {
        self.step()?;
        self.everyone.mark(topic, partition, marker)
    }

    fn end_offsets(
        &self,
        group: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), String> {
        self.step()?;
        self.everyone.end_offsets(group, producer_id, outcome)
    }
}

impl Bench {
    fn new() -> Bench {
        Bench::with(false)
    }

    fn with(fsync: bool) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::manual(NOW);
        let broker = open(folder.path(), &clock, fsync);
        broker
            .topics
            .create("calls", PARTITIONS, Overrides::new())
            .unwrap();
        Bench {
            broker,
            folder,
            clock,
            fsync,
        }
    }

    fn journal(&self) -> PathBuf {
        self.folder.path().join("transactions.journal")
    }

    /// As after a kill, with `between` done to the files.
    fn killed(self, between: impl FnOnce()) -> Bench {
        let Bench {
            broker,
            folder,
            clock,
            fsync,
        } = self;
        drop(broker);
        between();
        Bench {
            broker: open(folder.path(), &clock, fsync),
            folder,
            clock,
            fsync,
        }
    }

    fn init(&self) -> Result<Producer, ResponseError> {
        self.init_as(&id(), None, &self.broker.everyone())
    }

    fn init_as(
        &self,
        id: &TransactionalId,
        known: Option<Producer>,
        participants: &dyn Participants,
    ) -> Result<Producer, ResponseError> {
        let fresh = || self.broker.fresh_producer_id();
        let transactions = &self.broker.transactions;
        transactions.init(id, known, TIMEOUT_MS, &fresh, participants)
    }

    fn add(&self, by: Producer, index: i32) -> Result<(), ResponseError> {
        self.add_to(&id(), by, index)
    }

    fn add_to(&self, id: &TransactionalId, by: Producer, index: i32) -> Result<(), ResponseError> {
        let scope = Scope::partition(&topic(), index);
        self.broker.transactions.add(id, by, scope)
    }

    fn tick(&self) {
        self.broker.transactions.tick(&self.broker.everyone());
    }

    /// A transaction with a record in every partition and an offset of a group.
    fn begin(&self) -> Producer {
        let by = self.init().unwrap();
        for index in 0..PARTITIONS {
            self.add(by, index).unwrap();
            self.send(by, index, 0);
        }
        let request = OffsetCommitRequest::default()
            .with_group_id(group())
            .with_generation_id_or_member_epoch(-1);
        let committed = Committed {
            offset: 5,
            leader_epoch: -1,
            metadata: StrBytes::new(),
            at_ms: NOW,
            expires_at_ms: None,
        };
        let commits = vec![(topic(), vec![(0, committed)])];
        let pend = || self.broker.groups.pend(&request, by.id, commits);
        let transactions = &self.broker.transactions;
        let pended = transactions.with_group(&id(), by, Generation::Second, &group(), pend);
        self.broker.groups.settle_here(pended.unwrap()).unwrap();
        by
    }

    fn send(&self, by: Producer, index: i32, sequence: i32) -> i64 {
        let partition = self.broker.topics.partition(&topic(), index).unwrap();
        let bytes = encode_with(
            &[NOW],
            10,
            Compression::None,
            Some((by.id, by.epoch, sequence)),
            true,
        );
        let batch = partition.check(bytes, NOW).unwrap();
        let markers = Some(partition.markers());
        partition.store(&batch, markers, NOW).unwrap().base_offset
    }

    fn end(&self, by: Producer, outcome: Outcome, participants: &dyn Participants) {
        let ended = self.try_end(by, outcome, Generation::First, participants);
        assert_eq!(ended, Ok(by));
    }

    fn try_end(
        &self,
        by: Producer,
        outcome: Outcome,
        generation: Generation,
        participants: &dyn Participants,
    ) -> Result<Producer, ResponseError> {
        let ending = Ending {
            by,
            outcome,
            generation,
        };
        self.end_of(&id(), ending, participants)
    }

    fn end_of(
        &self,
        id: &TransactionalId,
        ending: Ending,
        participants: &dyn Participants,
    ) -> Result<Producer, ResponseError> {
        let fresh = || self.broker.fresh_producer_id();
        let transactions = &self.broker.transactions;
        transactions.end(id, ending, &fresh, participants)
    }

    /// What a reader of committed records finds in a partition.
    fn read(&self, index: i32) -> View {
        let partition = self.broker.topics.partition(&topic(), index).unwrap();
        let span = Span {
            from: 0,
            max_bytes: 1 << 20,
            at_least_one: true,
            isolation: Isolation::Committed,
        };
        let fetched = partition.read(span).unwrap();
        View {
            aborted: fetched.aborted,
            last_stable: fetched.last_stable.offset(),
            end: fetched.high_watermark.offset(),
        }
    }

    /// Where the aborted transactions of a partition began, of which none is open.
    fn aborted(&self, index: i32) -> Vec<i64> {
        let found = self.read(index);
        assert_eq!(found.last_stable, found.end);
        found.aborted.iter().map(|one| one.first).collect()
    }

    /// The end of each partition.
    fn ends(&self) -> Vec<i64> {
        (0..PARTITIONS).map(|index| self.read(index).end).collect()
    }

    /// How the transaction has ended, the same everywhere; `None` while it is open anywhere.
    fn outcome(&self) -> Option<Outcome> {
        let mut outcomes = Vec::new();
        for index in 0..PARTITIONS {
            let found = self.read(index);
            let open = found.last_stable < found.end;
            let aborted = !found.aborted.is_empty();
            outcomes.push((!open).then_some(match aborted {
                true => Outcome::Abort,
                false => Outcome::Commit,
            }));
        }
        let found = self.broker.groups.look(&group(), |found| {
            let offsets = found.map(Group::offsets);
            let committed = offsets.and_then(|offsets| offsets.get(&topic(), 0));
            let pending = offsets.is_some_and(|offsets| offsets.is_pending(&topic(), 0));
            (committed.map(|committed| committed.offset), pending)
        });
        outcomes.push(match found {
            (Some(5), false) => Some(Outcome::Commit),
            (None, false) => Some(Outcome::Abort),
            _ => None,
        });
        outcomes.dedup();
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        outcomes[0]
    }

    fn state(&self) -> String {
        let described = self.broker.transactions.describe(&id()).unwrap();
        described.transaction_state.to_string()
    }
}

/// Three partitions and a group.
const STEPS: usize = 4;

#[test]
fn a_kill_between_any_two_steps_leaves_a_transaction_whole() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        for steps in 0..=STEPS {
            let bench = Bench::new();
            let by = bench.begin();
            let dying = Dying {
                everyone: bench.broker.everyone(),
                left: Cell::new(steps),
            };
            bench.end(by, outcome, &dying);
            let bench = bench.killed(|| {});
            assert_eq!(bench.outcome(), Some(outcome), "after {steps} steps");
            assert_eq!(bench.state(), State::Complete(outcome).name());
            // The producer goes on.
            let scope = Scope::partition(&topic(), 0);
            assert_eq!(bench.broker.transactions.add(&id(), by, scope), Ok(()));
        }
    }
}

/// The journal, cut to `length`.
fn cut(journal: &Path, length: u64) {
    let file = fs::OpenOptions::new().write(true).open(journal).unwrap();
    file.set_len(length).unwrap();
}

#[test]
fn a_decision_counts_when_its_record_is_whole() {
    for missing in [0, 1, 30, 60] {
        let bench = Bench::new();
        let by = bench.begin();
        let nobody = Dying {
            everyone: bench.broker.everyone(),
            left: Cell::new(0),
        };
        bench.end(by, Outcome::Commit, &nobody);
        let journal = bench.journal();
        let length = fs::metadata(&journal).unwrap().len();
        let bench = bench.killed(|| cut(&journal, length - missing));
        if missing == 0 {
            assert_eq!(bench.outcome(), Some(Outcome::Commit));
            continue;
        }
        assert_eq!(
            (bench.outcome(), bench.state()),
            (None, "Ongoing".to_owned())
        );
        // Whoever comes next ends it.
        bench.init().unwrap();
        assert_eq!(bench.outcome(), Some(Outcome::Abort));
    }
}

#[test]
fn all_are_told_again_when_nobody_knows_that_they_were() {
    for missing in [1, 30, 60] {
        let bench = Bench::new();
        let by = bench.begin();
        bench.end(by, Outcome::Commit, &bench.broker.everyone());
        let journal = bench.journal();
        let length = fs::metadata(&journal).unwrap().len();
        let bench = bench.killed(|| cut(&journal, length - missing));
        assert_eq!(bench.outcome(), Some(Outcome::Commit));
        assert_eq!(bench.state(), "CompleteCommit");
    }
}

#[test]
fn a_transaction_that_is_open_at_a_kill_stays_open_until_its_time_is_up() {
    let bench = Bench::new();
    let by = bench.begin();
    let bench = bench.killed(|| {});
    assert_eq!(
        (bench.outcome(), bench.state()),
        (None, "Ongoing".to_owned())
    );
    bench.clock.advance(Duration::from_millis(60_000));
    bench.broker.transactions.tick(&bench.broker.everyone());
    assert_eq!(bench.outcome(), None);
    bench.clock.advance(Duration::from_millis(1));
    bench.broker.transactions.tick(&bench.broker.everyone());
    assert_eq!(bench.outcome(), Some(Outcome::Abort));
    assert_eq!(bench.state(), "CompleteAbort");
    let late = bench
        .broker
        .transactions
        .add(&id(), by, Scope::partition(&topic(), 0));
    assert_eq!(late, Err(ResponseError::ProducerFenced));
}

#[test]
fn who_cannot_be_told_is_told_later() {
    let bench = Bench::new();
    let by = bench.begin();
    let dying = Dying {
        everyone: bench.broker.everyone(),
        left: Cell::new(2),
    };
    bench.end(by, Outcome::Commit, &dying);
    assert_eq!(bench.state(), "PrepareCommit");
    let scope = || Scope::partition(&topic(), 0);
    let add = || bench.broker.transactions.add(&id(), by, scope());
    assert_eq!(add(), Err(ResponseError::ConcurrentTransactions));
    bench.clock.advance(Duration::from_millis(999));
    bench.broker.transactions.tick(&bench.broker.everyone());
    assert_eq!(bench.state(), "PrepareCommit");
    bench.clock.advance(Duration::from_millis(1));
    bench.broker.transactions.tick(&bench.broker.everyone());
    assert_eq!(bench.state(), "CompleteCommit");
    assert_eq!(bench.outcome(), Some(Outcome::Commit));
    assert_eq!(add(), Ok(()));
}

#[test]
fn what_no_coordinator_knows_is_aborted_at_the_start() {
    let bench = Bench::new();
    bench.begin();
    let journal = bench.journal();
    // As a power cut leaves it: the header only.
    let torn = || {
        let journal = fs::OpenOptions::new().write(true).open(&journal).unwrap();
        journal.set_len(16).unwrap();
    };
    let bench = bench.killed(torn);
    assert_eq!(bench.outcome(), Some(Outcome::Abort));
}

#[test]
fn a_deleted_topic_does_not_keep_a_transaction_from_ending() {
    let bench = Bench::new();
    let by = bench.begin();
    let topic = bench.broker.topics.get("calls").unwrap();
    bench.broker.topics.delete(&topic).unwrap();
    bench.end(by, Outcome::Commit, &bench.broker.everyone());
    assert_eq!(bench.state(), "CompleteCommit");
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_and_an_open_one_is_not() {
    let bench = Bench::new();
    bench.init().unwrap();
    let week = Duration::from_millis(7 * 86_400_000);
    bench.clock.advance(week);
    bench.broker.transactions.tick(&bench.broker.everyone());
    let bench = bench.killed(|| {});
    let gone = bench.broker.transactions.describe(&id());
    assert_eq!(gone, Err(ResponseError::TransactionalIdNotFound));
}

#[test]
fn a_journal_that_is_mostly_dead_is_written_anew_with_the_last_states() {
    let bench = Bench::new();
    let size = || fs::metadata(bench.journal()).unwrap().len();
    let mut before = 0;
    while size() >= before {
        before = size();
        for _ in 0..1000 {
            bench.init().unwrap();
        }
    }
    bench.begin();
    let epoch = bench.begin().epoch;
    let bench = bench.killed(|| {});
    assert_eq!(
        (bench.outcome(), bench.state()),
        (None, "Ongoing".to_owned())
    );
    let next = bench.init().unwrap();
    assert_eq!(
        (bench.outcome(), next.epoch),
        (Some(Outcome::Abort), epoch + 2)
    );
}
