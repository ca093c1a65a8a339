//! A power cut with `fsync`: of the journals only what a sync has covered is left, and nobody was told of more.

use super::*;

impl Bench {
    /// What no sync has covered is gone.
    fn power_cut(self) -> Bench {
        let journals = [
            self.broker.transactions.lock().journal.forced(),
            self.broker.groups.forced(),
        ];
        self.killed(|| {
            for (path, length) in journals {
                cut(&path, length);
            }
        })
    }

    /// Somebody else has the journal forced to the disk.
    fn force_journal(&self) {
        let other = TransactionalId(text("other"));
        self.init_as(&other, None, &self.broker.everyone()).unwrap();
    }
}

#[test]
fn a_decision_ends_no_transaction_that_came_after_it() {
    for outcome in [Outcome::Commit, Outcome::Abort] {
        let bench = Bench::with(true);
        let by = bench.begin();
        bench.end(by, outcome, &bench.broker.everyone());
        bench.add(by, 0).unwrap();
        bench.send(by, 0, 1);
        let bench = bench.power_cut();
        let found = bench.read(0);
        assert_eq!((found.last_stable, found.end), (2, 3));
        let opposite = match outcome {
            Outcome::Commit => Outcome::Abort,
            Outcome::Abort => Outcome::Commit,
        };
        bench.end(by, opposite, &bench.broker.everyone());
        let aborted = match outcome {
            Outcome::Commit => 2,
            Outcome::Abort => 0,
        };
        assert_eq!(bench.aborted(0), [aborted]);
    }
}

#[test]
fn an_acknowledged_end_is_that_of_all_that_was_acknowledged_before() {
    let bench = Bench::with(true);
    let by = bench.init().unwrap();
    bench.add(by, 0).unwrap();
    bench.send(by, 0, 0);
    bench.force_journal();
    bench.add(by, 1).unwrap();
    bench.send(by, 1, 0);
    let bench = bench.power_cut();
    bench.end(by, Outcome::Commit, &bench.broker.everyone());
    assert_eq!((bench.aborted(0), bench.aborted(1)), (vec![], vec![]));
}

#[test]
fn an_end_that_was_asked_for_before_is_not_that_of_a_later_transaction() {
    let bench = Bench::with(true);
    let by = bench.begin();
    bench.end(by, Outcome::Commit, &bench.broker.everyone());
    bench.force_journal();
    bench.add(by, 0).unwrap();
    bench.send(by, 0, 1);
    let bench = bench.power_cut();
    bench.end(by, Outcome::Commit, &bench.broker.everyone());
    assert_eq!(bench.aborted(0), Vec::<i64>::new());
    assert_eq!(bench.ends()[0], 4);
}

#[test]
fn offsets_of_a_transaction_wait_in_their_group_until_it_is_known_for_certain() {
    let bench = Bench::with(true);
    let by = bench.begin();
    bench.end(by, Outcome::Commit, &bench.broker.everyone());
    let disk = bench.broker.transactions.lock().journal.faulty_disk();
    let store = || {
        let length = fs::metadata(bench.journal()).unwrap().len();
        assert_eq!(disk.forced(), length);
        Ok(())
    };
    let transactions = &bench.broker.transactions;
    transactions
        .with_group(&id(), by, Generation::Second, &group(), store)
        .unwrap();
}

#[test]
fn nobody_hears_of_a_decision_before_it_is_on_the_disk() {
    let bench = Bench::with(true);
    let by = bench.begin();
    let ends = bench.ends();
    let disk = bench.broker.transactions.lock().journal.faulty_disk();
    std::thread::scope(|scope| {
        let held = disk.hold_syncs();
        let everyone = bench.broker.everyone();
        let ending = scope.spawn(|| {
            let everyone = bench.broker.everyone();
            bench.try_end(by, Outcome::Commit, Generation::First, &everyone)
        });
        while bench.state() != "PrepareCommit" {
            std::thread::yield_now();
        }
        bench.clock.advance(Duration::from_secs(1));
        bench.broker.transactions.tick(&everyone);
        assert_eq!(bench.ends(), ends);
        drop(held);
        // The answer comes when all have heard.
        assert_eq!(ending.join().unwrap(), Ok(by));
        assert_eq!(bench.outcome(), Some(Outcome::Commit));
        assert_eq!(bench.state(), "CompleteCommit");
    });
}

#[test]
fn a_decision_that_may_not_be_on_the_disk_is_told_to_nobody() {
    let bench = Bench::with(true);
    let by = bench.begin();
    let ends = bench.ends();
    bench
        .broker
        .transactions
        .lock()
        .journal
        .faulty_disk()
        .fail_syncs();
    let everyone = bench.broker.everyone();
    let ended = bench.try_end(by, Outcome::Commit, Generation::First, &everyone);
    assert_eq!(ended, Err(ResponseError::KafkaStorageError));
    for _ in 0..3 {
        bench.clock.advance(Duration::from_secs(1));
        bench.tick();
    }
    assert_eq!(bench.ends(), ends);
    // Here the disk has lost it: the transaction is open, and whoever comes next aborts it.
    let bench = bench.power_cut();
    assert_eq!(bench.state(), "Ongoing");
    bench.init().unwrap();
    assert_eq!(bench.outcome(), Some(Outcome::Abort));
}

/// A producer as its client knows it, and where its records are.
struct Sender {
    id: TransactionalId,
    by: Producer,
    sequences: HashMap<i32, i32>,
    /// Partition and offset of the records of the open transaction.
    open: Vec<(i32, i64)>,
    committed: Vec<(i32, i64)>,
    aborted: Vec<(i32, i64)>,
}

impl Sender {
    fn new(bench: &Bench, name: &str) -> Sender {
        let id = TransactionalId(text(name));
        Sender {
            by: bench.init_as(&id, None, &bench.broker.everyone()).unwrap(),
            id,
            sequences: HashMap::new(),
            open: Vec::new(),
            committed: Vec::new(),
            aborted: Vec::new(),
        }
    }

    fn send(&mut self, bench: &Bench, index: i32) {
        match bench.add_to(&self.id, self.by, index) {
            Ok(()) => {}
            // The end of the transaction before has not been told to all.
            Err(error) => {
                assert_eq!(error, ResponseError::ConcurrentTransactions);
                return;
            }
        }
        let sequence = self.sequences.entry(index).or_default();
        let offset = bench.send(self.by, index, *sequence);
        *sequence += 1;
        self.open.push((index, offset));
    }

    fn end(&mut self, bench: &Bench, outcome: Outcome, told: usize) {
        if self.open.is_empty() {
            return;
        }
        let dying = Dying {
            everyone: bench.broker.everyone(),
            left: Cell::new(told),
        };
        let ending = Ending {
            by: self.by,
            outcome,
            generation: Generation::First,
        };
        bench.end_of(&self.id, ending, &dying).unwrap();
        let ended = match outcome {
            Outcome::Commit => &mut self.committed,
            Outcome::Abort => &mut self.aborted,
        };
        ended.append(&mut self.open);
    }

    fn begin_anew(&mut self, bench: &Bench) {
        let everyone = bench.broker.everyone();
        if let Ok(by) = bench.init_as(&self.id, None, &everyone) {
            self.by = by;
            self.sequences.clear();
            self.aborted.append(&mut self.open);
        }
    }

    /// What was committed is not aborted; what was aborted, or is open, is not visible.
    fn check(&self, bench: &Bench, seed: u64) {
        let views: Vec<View> = (0..PARTITIONS).map(|index| bench.read(index)).collect();
        let view = |index: i32| &views[usize::try_from(index).unwrap()];
        let is_aborted = |(index, offset): &(i32, i64)| {
            let own = |one: &Aborted| one.producer_id == self.by.id;
            let mut aborted = view(*index).aborted.iter();
            aborted.any(|one| own(one) && (one.first..one.last).contains(offset))
        };
        let lost = self.committed.iter().find(|one| is_aborted(one));
        assert_eq!(lost, None, "committed, seed {seed}");
        let is_visible = |one: &(i32, i64)| one.1 < view(one.0).last_stable && !is_aborted(one);
        let mut hidden = self.aborted.iter().chain(&self.open);
        assert_eq!(hidden.find(|one| is_visible(one)), None, "seed {seed}");
    }
}

#[test]
fn random_power_cuts_leave_each_transaction_as_its_producer_was_told() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bench = Bench::with(true);
        let mut senders = ["first", "second"].map(|name| Sender::new(&bench, name));
        for _ in 0..60 {
            let sender = &mut senders[random.usize(0..2)];
            match random.u8(0..12) {
                0..6 => sender.send(&bench, random.i32(0..PARTITIONS)),
                6..8 => sender.end(&bench, Outcome::Commit, random.usize(0..4)),
                8 => sender.end(&bench, Outcome::Abort, random.usize(0..4)),
                9 => sender.begin_anew(&bench),
                10 => {
                    bench.clock.advance(Duration::from_secs(1));
                    bench.tick();
                }
                _ => {
                    bench = bench.power_cut();
                    bench.clock.advance(Duration::from_secs(1));
                    bench.tick();
                    senders.iter().for_each(|sender| sender.check(&bench, seed));
                }
            }
        }
        bench.clock.advance(Duration::from_secs(2));
        bench.tick();
        senders
            .iter_mut()
            .for_each(|sender| sender.begin_anew(&bench));
        senders.iter().for_each(|sender| sender.check(&bench, seed));
        for view in (0..PARTITIONS).map(|index| bench.read(index)) {
            assert_eq!(view.last_stable, view.end, "seed {seed}");
        }
    }
}
