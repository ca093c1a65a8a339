//! The scheduler of a world: whose turn it is, what goes wrong, and who is started again.
//!
//! Each turn steps one worker drawn from the seed, moves the clock a little, and may inject a fault. A process that was
//! killed, whose client failed for good, or whose threads could not all be started is started again, as a supervisor does.

use std::sync::PoisonError;
use std::time::Duration;

use super::service::SimulatedWorker;
use super::world::{Running, World};
use crate::clock::{Clock as _, Moment};
use crate::error::{Class, Error};
use crate::worker::Progress;

/// Between the end of a process that failed and its next start.
const RESTART_AFTER: Duration = Duration::from_secs(1);

/// A process that is to be started.
pub(super) struct Restart {
    pub(super) service: usize,
    threads: usize,
    at: Moment,
    /// The workers of the process before it: not started before they have ended.
    after: Vec<usize>,
}

impl World {
    /// Starts a process with so many workers of a service. If a thread cannot be started, those before it are asked to stop,
    /// as in production, and another process is started when they have.
    pub(super) fn start_process(&mut self, service: usize, threads: usize) {
        let faults = self.simulation.faults();
        let first = self.started;
        for _ in 0..threads {
            if !self.simulation.chance(faults.failed_spawn) {
                self.start_worker(service);
                continue;
            }
            let after: Vec<usize> = (first..self.started).collect();
            let workers = self.workers.iter_mut();
            for worker in workers.filter(|worker| after.contains(&worker.number)) {
                worker.worker.stop();
            }
            let at = self.clock.now().plus(RESTART_AFTER);
            self.restarts.push(Restart {
                service,
                threads,
                at,
                after,
            });
            return;
        }
    }

    fn start_worker(&mut self, service: usize) {
        if let Some(simulated) = self.services.get(service) {
            let worker = simulated.start_worker(&self.simulation, service, self.started);
            self.workers.push(worker);
            self.started += 1;
        }
    }

    /// One worker's step, a little time, and perhaps a fault.
    #[track_caller]
    pub(super) fn turn(&mut self) {
        self.restart_due();
        if self.faulty_turns > 0 {
            self.faulty_turns -= 1;
            self.inject_faults();
        }
        let now = self.clock.now();
        match self.pick(|worker| worker.stalled_until <= now) {
            Some(worker) => self.step(worker),
            None => self.idle += 1,
        }
        self.check();
        self.pass_time();
    }

    fn step(&mut self, index: usize) {
        let Some(worker) = self.workers.get_mut(index) else {
            return;
        };
        let journal = &self.journal;
        journal
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .activate(worker.member);
        match worker.worker.step() {
            Ok(Progress::Busy) => self.idle = 0,
            Ok(Progress::Idle) => self.idle += 1,
            Ok(Progress::Stopped) => drop(self.workers.swap_remove(index)),
            Err(error) => {
                let service = worker.service;
                drop(self.workers.swap_remove(index));
                if is_of_the_client(&error) && self.simulation.faults().fatal_send > 0.0 {
                    self.restart_after(service, RESTART_AFTER);
                } else {
                    self.ended.push(error);
                }
            }
        }
    }

    /// Little while there is work, more while all wait for something.
    fn pass_time(&mut self) {
        let most = if self.simulation.is_away() {
            // A worker that waits for room is busy all the time.
            200_000
        } else if self.idle > 2 * self.workers.len() {
            5_000 << (2 * self.simulation.below(4))
        } else if self.simulation.chance(0.1) {
            20_000
        } else {
            500
        };
        let micros = u64::try_from(self.simulation.below(most)).unwrap_or(0);
        self.simulation.advance(Duration::from_micros(micros + 1));
    }

    fn inject_faults(&mut self) {
        let faults = self.simulation.faults();
        if self.simulation.chance(faults.crash)
            && let Some(worker) = self.pick(|_| true)
        {
            let pause = self.random_millis(5_000);
            self.kill(worker, pause);
        }
        if self.simulation.chance(faults.stall)
            && let Some(worker) = self.pick(|_| true)
        {
            let until = self.clock.now().plus(self.random_millis(120_000));
            if let Some(worker) = self.workers.get_mut(worker) {
                worker.stalled_until = until;
            }
        }
        if self.simulation.chance(faults.rebalance) {
            let service = self.simulation.below(self.services.len());
            self.rebalance(Running(service));
        }
        if self.simulation.chance(faults.outage) {
            let time = self.random_millis(20 * 60_000);
            self.simulation.outage(time);
        }
        if self.simulation.chance(faults.retention) {
            self.simulation.retain();
        }
    }

    fn random_millis(&self, below: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.simulation.below(below)).unwrap_or(0))
    }

    pub(super) fn kill(&mut self, worker: usize, pause: Duration) {
        let worker = self.workers.swap_remove(worker);
        self.simulation.crash(worker.member);
        self.restart_after(worker.service, pause);
    }

    fn restart_after(&mut self, service: usize, pause: Duration) {
        self.restarts.push(Restart {
            service,
            threads: 1,
            at: self.clock.now().plus(pause),
            after: Vec::new(),
        });
    }

    fn restart_due(&mut self) {
        let now = self.clock.now();
        let workers = &self.workers;
        let has_ended = |number: &usize| !workers.iter().any(|worker| worker.number == *number);
        let is_due =
            |restart: &mut Restart| restart.at <= now && restart.after.iter().all(has_ended);
        let due: Vec<Restart> = self.restarts.extract_if(.., is_due).collect();
        for restart in due {
            self.start_process(restart.service, restart.threads);
        }
    }

    /// A random worker among those that fit.
    pub(super) fn pick(&self, fits: impl Fn(&SimulatedWorker) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = self
            .workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| fits(worker))
            .map(|(index, _)| index)
            .collect();
        fitting.get(self.simulation.below(fitting.len())).copied()
    }
}

/// Whether the client failed, rather than a record.
fn is_of_the_client(error: &Error) -> bool {
    let class = match error {
        Error::Kafka { class, .. } => *class,
        _ => return false,
    };
    matches!(class, Class::Fatal | Class::Fenced)
}
