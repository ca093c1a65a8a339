//! Where a task is computed: a pool of threads, the registry of functions, and the waves prepared lately.
//!
//! Preparing a wave compiles its formula and builds its tables, so the last few stay. What is computed is a pure function
//! of the task; the clock only says how long it took, and when a run stops to take further waves.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use millstream::{Clock, SystemClock};
use millstream_montecarlo::{Digest, Error, Prepared, Registry, Wave};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::super::metrics;
use super::super::wire::{By, Done, Ran, Saved, Task, What, Work};

/// Waves kept prepared: a few jobs take turns.
const KEPT: usize = 8;

/// Computes tasks.
pub struct Evaluator {
    pool: ThreadPool,
    functions: Registry,
    clock: Box<dyn Clock + Send + Sync>,
    prepared: Mutex<Vec<(Digest, Arc<Prepared>)>>,
}

impl Evaluator {
    /// An evaluator of this number of threads. Default: one for each core.
    ///
    /// # Errors
    /// The threads cannot be started.
    pub fn new(functions: Registry, threads: Option<u16>) -> Result<Self, crate::Error> {
        let pool = ThreadPoolBuilder::new()
            .num_threads(usize::from(threads.unwrap_or(0)))
            .thread_name(|number| format!("compute-{number}"))
            .build()
            .map_err(|error| crate::Error::Threads {
                reason: error.to_string(),
            })?;
        Ok(Self {
            pool,
            functions,
            clock: Box::new(SystemClock::new()),
            prepared: Mutex::default(),
        })
    }

    /// The same with another clock than the machine's.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Clock + Send + Sync + 'static) -> Self {
        self.clock = Box::new(clock);
        self
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Does a task.
    ///
    /// # Errors
    /// The mathematics refuses it.
    pub fn work(&self, task: &Task, by: By) -> Result<What, Error> {
        match &task.work {
            Work::Run { saved, budget_ms } => {
                let budget = Duration::from_millis(u64::from(*budget_ms));
                self.run((**saved).clone(), budget, by)
            }
            Work::Chunk { wave, chunk, tiles } => {
                let started = self.clock.now();
                let prepared = self.prepare(wave)?;
                let first = chunk.saturating_mul(*tiles);
                let range = first..first.saturating_add(*tiles).min(wave.tiles());
                let partial = self.pool.install(|| prepared.chunk(range))?;
                let took = self.clock.now().since(started);
                metrics::task("chunk", partial.samples, took);
                Ok(What::Done(Box::new(Done {
                    step: task.step,
                    chunk: *chunk,
                    tiles: *tiles,
                    partial,
                    seconds: took.as_secs_f64(),
                    by,
                })))
            }
        }
    }

    /// Runs a job on, as long as the next wave will be done within the budget; at least one wave.
    fn run(&self, mut saved: Saved, budget: Duration, by: By) -> Result<What, Error> {
        let started = self.clock.now();
        let mut samples = 0_u64;
        while let Some(wave) = saved.job.wave() {
            let took = self.clock.now().since(started);
            if samples > 0 && took + expected(wave.samples(), samples, took) > budget {
                break;
            }
            let prepared = wave.prepare(&self.functions)?;
            let partial = self.pool.install(|| prepared.chunk(0..wave.tiles()))?;
            samples += partial.samples.max(1);
            saved.job.complete(partial)?;
        }
        saved.step += 1;
        let took = self.clock.now().since(started);
        metrics::task("run", samples, took);
        Ok(What::Ran(Box::new(Ran {
            saved,
            samples,
            seconds: took.as_secs_f64(),
            by,
        })))
    }

    fn prepare(&self, wave: &Wave) -> Result<Arc<Prepared>, Error> {
        let hash = wave.digest();
        let mut kept = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = kept.iter().position(|(known, _)| *known == hash) {
            let found = kept.remove(at);
            kept.push(found.clone());
            return Ok(found.1);
        }
        let prepared = Arc::new(wave.prepare(&self.functions)?);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((hash, Arc::clone(&prepared)));
        Ok(prepared)
    }
}

/// The time of `next` samples when `done` took so long.
fn expected(next: u64, done: u64, took: Duration) -> Duration {
    took.mul_f64(next as f64 / done.max(1) as f64)
}
