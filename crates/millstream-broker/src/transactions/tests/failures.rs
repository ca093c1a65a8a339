//! Disks that are full, partitions that take nothing more, producers that ask again.

use std::sync::Arc;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::*;
use crate::log::faults;

/// Participants of whom one partition takes nothing more, as after a failed sync.
struct Refusing<'a> {
    everyone: Everyone<'a>,
    refuses: i32,
}

impl Participants for Refusing<'_> {
    fn mark(&self, topic: &TopicName, partition: i32, marker: Marker) -> Result<(), String> {
        match partition == self.refuses {
            true => Err("disk failed".to_owned()),
            false => self.everyone.mark(topic, partition, marker),
        }
    }

    fn end_offsets(
        &self,
        group: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), String> {
        self.everyone.end_offsets(group, producer_id, outcome)
    }
}

#[test]
fn a_partition_that_takes_nothing_more_keeps_no_other_waiting_and_each_gets_one_marker() {
    for refuses in 0..PARTITIONS {
        let bench = Bench::new();
        let by = bench.begin();
        let before = bench.ends();
        let refusing = Refusing {
            everyone: bench.broker.everyone(),
            refuses,
        };
        bench.end(by, Outcome::Commit, &refusing);
        for _ in 0..5 {
            let grown = bench.ends().into_iter().zip(&before);
            let grown: Vec<i64> = grown.map(|(end, before)| end - before).collect();
            let expected: Vec<i64> = (0..PARTITIONS)
                .map(|index| i64::from(index != refuses))
                .collect();
            assert_eq!(grown, expected);
            bench.clock.advance(Duration::from_secs(1));
            bench.broker.transactions.tick(&refusing);
        }
        assert!(bench.broker.groups.open_transactions().is_empty());
        assert_eq!(bench.state(), "PrepareCommit");
        bench.clock.advance(Duration::from_secs(1));
        bench.tick();
        assert_eq!(bench.outcome(), Some(Outcome::Commit));
        assert_eq!(bench.state(), "CompleteCommit");
    }
}

/// Participants of whom the last one fills the disk.
struct Filling<'a>(Everyone<'a>, &'a Transactions);

impl Participants for Filling<'_> {
    fn mark(&self, topic: &TopicName, partition: i32, marker: Marker) -> Result<(), String> {
        self.0.mark(topic, partition, marker)
    }

    fn end_offsets(
        &self,
        group: &GroupId,
        producer_id: i64,
        outcome: Outcome,
    ) -> Result<(), String> {
        self.0.end_offsets(group, producer_id, outcome)?;
        self.1.lock().journal.faulty_disk().refuse_writes(true);
        Ok(())
    }
}

#[test]
fn an_end_that_cannot_be_noted_is_told_once() {
    let bench = Bench::new();
    let by = bench.begin();
    let before = bench.ends();
    let transactions = &bench.broker.transactions;
    bench.end(
        by,
        Outcome::Commit,
        &Filling(bench.broker.everyone(), transactions),
    );
    for _ in 0..5 {
        let once: Vec<i64> = before.iter().map(|end| end + 1).collect();
        assert_eq!(bench.ends(), once);
        bench.clock.advance(Duration::from_secs(1));
        bench.tick();
    }
    assert_eq!(bench.state(), "PrepareCommit");
    transactions
        .lock()
        .journal
        .faulty_disk()
        .refuse_writes(false);
    bench.clock.advance(Duration::from_secs(1));
    bench.tick();
    assert_eq!(bench.state(), "CompleteCommit");
}

#[test]
fn what_a_full_disk_kept_open_at_the_start_is_aborted_when_there_is_room() {
    let bench = Bench::new();
    let by = bench.init().unwrap();
    let journal = bench.journal();
    let known = fs::metadata(&journal).unwrap().len();
    bench.add(by, 0).unwrap();
    bench.send(by, 0, 0);
    // A power cut takes the partition out of the transaction.
    let bench = bench.killed(|| {
        cut(&journal, known);
        faults::space_left(Some(0));
    });
    faults::space_left(None);
    let next = bench.init().unwrap();
    assert_eq!((next.id, next.epoch), (by.id, by.epoch + 1));
    assert_eq!(
        bench.add(next, 0),
        Err(ResponseError::ConcurrentTransactions)
    );
    bench.tick();
    bench.add(next, 0).unwrap();
    bench.send(next, 0, 0);
    bench.end(next, Outcome::Commit, &bench.broker.everyone());
    assert_eq!(bench.aborted(0), [0]);
}

#[test]
fn a_transactional_id_exists_when_it_is_stored() {
    let bench = Bench::new();
    let refuse = |refuse| {
        let disk = bench.broker.transactions.lock().journal.faulty_disk();
        disk.refuse_writes(refuse);
    };
    refuse(true);
    assert_eq!(bench.init(), Err(ResponseError::CoordinatorNotAvailable));
    refuse(false);
    let nobody = Producer { id: 0, epoch: -1 };
    assert_eq!(
        bench.add(nobody, 0),
        Err(ResponseError::InvalidProducerIdMapping)
    );
    let bench = bench.killed(|| {});
    let gone = bench.broker.transactions.describe(&id());
    assert_eq!(gone, Err(ResponseError::TransactionalIdNotFound));
}

/// Does something as soon as anything is logged.
struct OnEvent(Mutex<Option<Box<dyn FnOnce() + Send>>>);

impl Subscriber for OnEvent {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn an_end_answers_with_its_own_epoch_whoever_comes_before_the_answer() {
    let bench = Arc::new(Bench::new());
    let by = bench.init().unwrap();
    bench.add(by, 0).unwrap();
    let other = Arc::clone(&bench);
    // Nobody can be told, which is logged; until the answer leaves, all are, and another producer begins.
    let meanwhile = OnEvent(Mutex::new(Some(Box::new(move || {
        other.clock.advance(Duration::from_secs(1));
        other.tick();
        assert_eq!(other.init().unwrap().epoch, 2);
    }))));
    let ended = tracing::subscriber::with_default(meanwhile, || {
        let nobody = Dying {
            everyone: bench.broker.everyone(),
            left: Cell::new(0),
        };
        bench.try_end(by, Outcome::Commit, Generation::Second, &nobody)
    });
    let own = Producer { epoch: 1, ..by };
    assert_eq!(ended, Ok(own));
    assert_eq!(bench.init().unwrap().epoch, 3);
}

#[test]
fn a_producer_that_did_not_hear_of_its_epoch_asks_again() {
    let bench = Bench::new();
    let by = bench.begin();
    let ask = |participants: &dyn Participants| bench.init_as(&id(), Some(by), participants);
    let nobody = Dying {
        everyone: bench.broker.everyone(),
        left: Cell::new(0),
    };
    assert_eq!(ask(&nobody), Err(ResponseError::ConcurrentTransactions));
    bench.clock.advance(Duration::from_secs(1));
    bench.tick();
    assert_eq!(bench.outcome(), Some(Outcome::Abort));
    let next = Producer {
        epoch: by.epoch + 1,
        ..by
    };
    for _ in 0..3 {
        assert_eq!(ask(&bench.broker.everyone()), Ok(next));
    }
    // Another takes the id over, and nobody may ask again.
    bench.init().unwrap();
    assert_eq!(
        ask(&bench.broker.everyone()),
        Err(ResponseError::ProducerFenced)
    );
}

#[test]
fn a_producer_goes_on_after_its_transaction_has_timed_out() {
    let bench = Bench::new();
    let by = bench.begin();
    bench.clock.advance(Duration::from_millis(60_001));
    bench.tick();
    let everyone = bench.broker.everyone();
    for _ in 0..2 {
        let next = bench.init_as(&id(), Some(by), &everyone).unwrap();
        assert_eq!((next.id, next.epoch), (by.id, by.epoch + 1));
    }
}

#[test]
fn what_would_make_a_transaction_too_large_to_end_is_refused() {
    let bench = Bench::new();
    let by = bench.init().unwrap();
    let add = |number: u8| {
        let name = GroupId(text(&char::from(number).to_string().repeat(7 << 20)));
        let scope = Scope::group(&name);
        bench.broker.transactions.add(&id(), by, scope)
    };
    let added: Vec<_> = (b'a'..b'd').map(add).collect();
    assert_eq!(
        added,
        [Ok(()), Ok(()), Err(ResponseError::UnknownServerError)]
    );
    bench.end(by, Outcome::Commit, &bench.broker.everyone());
    assert_eq!(bench.state(), "CompleteCommit");
}
