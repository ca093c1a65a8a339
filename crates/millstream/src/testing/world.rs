//! The world of a test: its cluster, its services, and what a test asks of them; `scheduler` lets them take turns.
//!
//! Faults are injected in the first part of a run only, so that every run has to reach its end: after them everything must
//! get done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::scheduler::Restart;
use super::service::{SimulatedService, SimulatedWorker};
use crate::clock::{Clock as _, Moment};
use crate::error::Error;
use crate::log::Log;
use crate::log::simulation::{Faults, Journal, SimulatedLog, Simulation, VirtualClock};
use crate::record::Timestamp;
use crate::service::Service;
use crate::topic::{NextOffset, Partition, TopicPartition};

/// How long, in virtual time, a world may need to become quiet.
const PATIENCE: Duration = Duration::from_secs(4 * 60 * 60);
/// The most turns of one run in which faults are injected.
const MOST_FAULTY_TURNS: usize = 1_500;

/// A simulated cluster with the services of a test.
///
/// ```
/// use millstream::codec::{Json, Text};
/// use millstream::testing::World;
/// use millstream::{Context, ProcessError, Record, Service, Topic};
///
/// static READINGS: Topic<String, f64> = Topic::new("readings", &Text, &Json).partitions(2);
/// static ALARMS: Topic<String, f64> = Topic::new("alarms", &Text, &Json);
///
/// fn on_reading(_: &mut (), reading: Record<String, f64>, context: &mut Context) -> Result<(), ProcessError> {
///     if reading.value > 90.0 {
///         context.emit(&ALARMS, &reading.key, &reading.value)?;
///     }
///     Ok(())
/// }
///
/// let mut world = World::new();
/// world.start(Service::stateless("alarms").input(&READINGS, on_reading).output(&ALARMS))?;
/// world.send(&READINGS, "kitchen", &21.5);
/// world.send(&READINGS, "oven", &180.0);
/// world.run()?;
/// let alarms: Vec<f64> = world.read(&ALARMS).into_iter().map(|alarm| alarm.value).collect();
/// assert_eq!(alarms, [180.0]);
/// # Ok::<(), millstream::Error>(())
/// ```
pub struct World {
    seed: u64,
    pub(super) simulation: Simulation,
    pub(super) journal: Arc<Mutex<Journal>>,
    first_attempts_fail: Arc<AtomicBool>,
    pub(super) clock: VirtualClock,
    pub(super) services: Vec<SimulatedService>,
    pub(super) workers: Vec<SimulatedWorker>,
    pub(super) restarts: Vec<Restart>,
    /// Workers started so far.
    pub(super) started: usize,
    /// Steps since a worker last had something to do.
    pub(super) idle: usize,
    /// Turns of this run in which faults are still to be injected.
    pub(super) faulty_turns: usize,
    pub(super) ended: Vec<Error>,
}

/// A service that was started in a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running(pub(super) usize);

impl World {
    /// A world in which everything works, always in the same order.
    #[must_use]
    pub fn new() -> World {
        World::seeded(0, Faults::none())
    }

    /// A world whose every choice is drawn from `seed`.
    #[must_use]
    pub fn seeded(seed: u64, faults: Faults) -> World {
        let simulation = Simulation::new(seed, faults);
        World {
            seed,
            clock: simulation.clock(),
            journal: simulation.journal(),
            first_attempts_fail: Arc::default(),
            simulation,
            services: Vec::new(),
            workers: Vec::new(),
            restarts: Vec::new(),
            started: 0,
            idle: 0,
            faulty_turns: 0,
            ended: Vec::new(),
        }
    }

    /// The seed of this world.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Starts a service with as many workers as it declares threads. Its topics are created as they are declared, with
    /// one partition if none is declared.
    ///
    /// # Errors
    /// The declaration is not valid.
    pub fn start<S: 'static>(&mut self, service: Service<S>) -> Result<Running, Error> {
        self.start_with(service, |log| log)
    }

    /// As [`World::start`], each worker's log put into another one: for planting mistakes.
    pub(crate) fn start_with<S: 'static, L: Log + 'static>(
        &mut self,
        service: Service<S>,
        wrap_log: impl Fn(SimulatedLog) -> L + 'static,
    ) -> Result<Running, Error> {
        let declared =
            SimulatedService::new(service, &self.journal, &self.first_attempts_fail, wrap_log)?;
        for spec in &declared.topics {
            self.simulation
                .topics(|topics| topics.create(&spec.name, spec.partitions.unwrap_or(1)));
            if let Some(bytes) = spec.max_message_bytes {
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                self.simulation
                    .topics(|topics| topics.set_limit(&spec.name, bytes));
            }
        }
        self.co_partitioned(&declared)?;
        let threads = declared.threads;
        self.services.push(declared);
        let running = Running(self.services.len() - 1);
        self.start_process(running.0, threads);
        Ok(running)
    }

    /// As in production: records of equal partition number meet in one state.
    fn co_partitioned(&self, declared: &SimulatedService) -> Result<(), Error> {
        let count = |topic: &str| {
            self.simulation
                .topics(|topics| topics.partitions(topic).unwrap_or(0))
        };
        let Some((first, others)) = declared.inputs.split_first() else {
            return Ok(());
        };
        let other = others.iter().find(|other| count(other) != count(first));
        other.map_or(Ok(()), |second| {
            Err(Error::NotCoPartitioned {
                service: declared.name.to_string(),
                first: first.to_string(),
                first_count: count(first),
                second: second.to_string(),
                second_count: count(second),
            })
        })
    }

    /// Starts one more worker of a service, as another process or machine would.
    pub fn add_worker(&mut self, service: Running) {
        self.start_process(service.0, 1);
    }

    /// Kills one worker of a service; a new one is started in its place at once.
    pub fn crash(&mut self, service: Running) {
        if let Some(worker) = self.pick(|worker| worker.service == service.0) {
            self.kill(worker, Duration::ZERO);
        }
    }

    /// Starts a rebalance in the group of a service.
    pub fn rebalance(&mut self, service: Running) {
        if let Some(declared) = self.services.get(service.0) {
            self.simulation.rebalance(&declared.group);
        }
    }

    /// Gives a topic this many partitions: new ones are empty, those that are too many vanish with their records, and with none
    /// left the topic does. The groups that read it notice at once.
    pub fn resize(&mut self, topic: &str, partitions: i32) {
        self.simulation.resize(topic, partitions);
    }

    /// Stops all workers of a service in order: they drain, commit and leave.
    ///
    /// # Errors
    /// The error that a service ended with.
    pub fn stop(&mut self, service: Running) -> Result<(), Error> {
        self.restarts.retain(|restart| restart.service != service.0);
        for worker in self
            .workers
            .iter_mut()
            .filter(|worker| worker.service == service.0)
        {
            worker.worker.stop();
        }
        let deadline = self.clock.now().plus(PATIENCE);
        while self
            .workers
            .iter()
            .any(|worker| worker.service == service.0)
        {
            self.turn();
            self.assert_before(deadline);
        }
        self.outcome()
    }

    /// From now on the first attempt at each record fails where its handler first emits, as a panic of a codec would. A handler
    /// that has changed its state by then is retried on the changed state: its outputs show it. The service's policy must
    /// allow a retry.
    pub fn fail_first_attempts(&mut self) {
        self.first_attempts_fail.store(true, Ordering::Relaxed);
    }

    /// What the group of a service has committed in a partition.
    #[must_use]
    pub fn committed(
        &self,
        service: Running,
        topic: &str,
        partition: Partition,
    ) -> Option<NextOffset> {
        let group = &self.services.get(service.0)?.group;
        self.simulation
            .committed(group, &TopicPartition::new(topic, partition))
    }

    /// The world's time, as handlers see it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.wall()
    }

    /// How often handlers have been called, retries and replays included.
    #[must_use]
    pub fn handled(&self) -> u64 {
        self.journal().handled()
    }

    /// Lets the services work while this much time passes.
    ///
    /// # Errors
    /// The error that a service ended with.
    ///
    /// # Panics
    /// A service broke at-least-once delivery.
    #[track_caller]
    pub fn advance(&mut self, by: Duration) -> Result<(), Error> {
        let until = self.clock.now().plus(by);
        while self.clock.now() < until {
            self.turn();
        }
        self.outcome()
    }

    /// Lets the services work until everything is processed, acknowledged and committed.
    ///
    /// # Errors
    /// The error that a service ended with.
    ///
    /// # Panics
    /// A service broke at-least-once delivery, or did not get done in hours of virtual time.
    #[track_caller]
    pub fn run(&mut self) -> Result<(), Error> {
        self.faulty_turns = if self.simulation.faults() == Faults::none() {
            0
        } else {
            self.simulation.below(MOST_FAULTY_TURNS)
        };
        let deadline = self.clock.now().plus(PATIENCE);
        loop {
            for _ in 0..16 {
                self.turn();
            }
            let is_calm = self.faulty_turns == 0
                && self.restarts.is_empty()
                && !self.simulation.is_away()
                && self.simulation.unfinished().is_empty();
            if is_calm || !self.ended.is_empty() {
                return self.outcome();
            }
            self.assert_before(deadline);
        }
    }

    /// Checks everything that happened against at-least-once delivery; [`World::run`] does so after each step.
    ///
    /// # Panics
    /// A service broke it.
    #[track_caller]
    pub fn check(&self) {
        let journal = self.journal();
        let broken = journal.broken();
        assert!(
            broken.is_none(),
            "seed {}: {}",
            self.seed,
            broken.unwrap_or_default()
        );
    }

    #[track_caller]
    fn assert_before(&self, deadline: Moment) {
        assert!(
            self.clock.now() < deadline,
            "seed {}: not done after {} virtual hours: {}",
            self.seed,
            PATIENCE.as_secs() / 3600,
            self.simulation.unfinished().join("; ")
        );
    }

    fn outcome(&mut self) -> Result<(), Error> {
        if self.ended.is_empty() {
            Ok(())
        } else {
            Err(self.ended.remove(0))
        }
    }

    fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unfinished = self.simulation.unfinished();
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("unfinished", &unfinished)
            .finish_non_exhaustive()
    }
}
