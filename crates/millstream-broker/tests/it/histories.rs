//! Histories of transactions, and a checker that proves from each what the broker promises.
//!
//! Copiers (`copier`) run transactions of librdkafka that end in every way: committed, aborted, timed out, left by a killed client, or
//! fenced by a successor. Readers of both isolation levels (`reader`) follow all the while, and the broker may be killed and
//! restarted. What all of them did and saw is a `History`; `checker` finds what contradicts the promises, and `planted` proves that
//! it would. The same program runs on Apache Kafka. The seed decides what each client does, not how the threads interleave:
//! `HISTORY_SEED` repeats the choices of a failure. `HISTORY_TRANSACTIONS` says how many are committed at least, `CRASH_ROUNDS` how often the
//! broker is killed.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use self::checker::check;
use self::copier::Copier;
use self::history::{History, Level, Outcome};
use crate::embedded::{Process, variable};
use crate::support::{Broker, eventually, fresh};

mod checker;
mod copier;
mod history;
mod planted;
mod reader;

const PARTITIONS: i32 = 4;
const COPIERS: u32 = 3;

/// Where a history takes place.
struct Scene {
    address: String,
    topic: String,
    /// What the names of groups and transactional ids begin with.
    word: String,
    seed: u64,
    stop: AtomicBool,
    committed: AtomicUsize,
    /// The last record of each partition, when all is over.
    lasts: OnceLock<BTreeMap<Level, BTreeMap<i32, i64>>>,
}

impl Scene {
    fn new(address: &str) -> Scene {
        let seed = variable("HISTORY_SEED")
            .map_or_else(|| fastrand::u64(..), |seed| seed.parse().unwrap());
        println!("HISTORY_SEED={seed}");
        let topic = fresh("history");
        reader::create_topic(address, &topic);
        Scene {
            address: address.to_owned(),
            topic,
            word: fresh("copier"),
            seed,
            stop: AtomicBool::new(false),
            committed: AtomicUsize::new(0),
            lasts: OnceLock::new(),
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn committed(&self) -> usize {
        self.committed.load(Ordering::Acquire)
    }

    /// Waits until copiers have committed so many transactions more.
    fn wait_for(&self, more: usize) {
        for _ in 0..more {
            let before = self.committed();
            eventually("a transaction is committed", || {
                (self.committed() > before).then_some(())
            });
        }
    }

    /// Lets copiers and readers run while `during` does, and gives what they did and saw.
    fn play(&self, during: impl FnOnce()) -> History {
        std::thread::scope(|scope| {
            let copiers: Vec<_> = (0..COPIERS)
                .map(|number| scope.spawn(move || Copier::new(self, number).run()))
                .collect();
            // Small answers end within transactions, and at every place of the aborted ranges.
            let fetches = [
                (Level::Committed, 1 << 20),
                (Level::Committed, 200),
                (Level::Uncommitted, 300),
            ];
            let followers = fetches
                .map(|(level, fetch)| scope.spawn(move || reader::follow(self, level, fetch)));
            let observer = scope.spawn(|| reader::observe(self));
            let _over = Over(self);
            during();
            self.stop.store(true, Ordering::Release);
            let mut history = History::default();
            for copier in copiers {
                let done = copier.join().unwrap();
                history.transactions.extend(done.transactions);
                history.acknowledged.extend(done.acknowledged);
            }
            reader::wait_for_markers(self);
            history.readings = [Level::Committed, Level::Uncommitted]
                .map(|level| reader::read(self, level))
                .into();
            let lasts = history
                .readings
                .iter()
                .map(|of| (of.level, reader::lasts(of)));
            self.lasts.set(lasts.collect()).unwrap();
            history
                .readings
                .extend(followers.map(|follower| follower.join().unwrap()));
            history.offsets = observer.join().unwrap();
            history
        })
    }
}

/// Ends the threads of a scene also when its test fails.
struct Over<'a>(&'a Scene);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
        self.0.lasts.set(BTreeMap::new()).ok();
    }
}

/// Says what was looked at, and that nothing was wrong with it.
fn prove(history: &History) {
    let count = |outcome| {
        history
            .transactions
            .iter()
            .filter(|one| one.outcome == outcome)
            .count()
    };
    let [committed, aborted, unknown] =
        [Outcome::Committed, Outcome::Aborted, Outcome::Unknown].map(count);
    let records = history.readings[1].sightings.len();
    println!(
        "{committed} commits, {aborted} aborts, {unknown} without an answer, {records} records"
    );
    assert_eq!(check(history), []);
}

fn times(name: &str, default: usize) -> usize {
    variable(name).map_or(default, |times| times.parse().unwrap())
}

#[test]
fn transactions_are_whole_and_in_order_and_agree_with_offsets() {
    let broker = Broker::start();
    let scene = Scene::new(broker.address());
    let history = scene.play(|| scene.wait_for(times("HISTORY_TRANSACTIONS", 100)));
    prove(&history);
}

/// How a broker's process ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fall {
    Kill,
    Stop,
}

/// The same while an embedded broker ends and starts again, at random instants.
fn prove_through(fall: Fall, fsync: bool) {
    let folder = tempfile::tempdir().unwrap();
    let broker = Process::start_with(folder.path(), "127.0.0.1:0", fsync);
    let address = broker.address.to_string();
    let mut running = Some(broker);
    let scene = Scene::new(&address);
    let mut random = fastrand::Rng::with_seed(scene.seed);
    let history = scene.play(|| {
        for _ in 0..times("CRASH_ROUNDS", 5) {
            scene.wait_for(5);
            std::thread::park_timeout(Duration::from_micros(random.u64(0..200_000)));
            let broker = running.take().unwrap();
            match fall {
                Fall::Kill => broker.kill(),
                Fall::Stop => broker.stop(),
            }
            running = Some(Process::start_with(folder.path(), &address, fsync));
        }
        scene.wait_for(5);
    });
    prove(&history);
    running.unwrap().kill();
}

#[test]
fn kills_leave_transactions_whole_and_in_order_and_agreeing_with_offsets() {
    prove_through(Fall::Kill, false);
}

#[test]
fn kills_leave_transactions_whole_while_they_are_forced_to_the_disk() {
    prove_through(Fall::Kill, true);
}

#[test]
fn restarts_leave_transactions_whole_and_in_order_and_agreeing_with_offsets() {
    prove_through(Fall::Stop, false);
}
