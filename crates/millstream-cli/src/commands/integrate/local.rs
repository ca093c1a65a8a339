//! Jobs in this process, on all of its cores.
//!
//! A wave is computed in chunks of some hundredths of a second, between which Ctrl-C, the deadline and the screen get their
//! turn; how it is cut changes no bit. A job that is stopped ends at its last complete wave.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use millstream::{Clock, Moment, Shutdown, SystemClock};
use millstream_systems::montecarlo::mathematics::{
    Answer, Fold, Job, Prepared, Registry, Request, Status, Wave,
};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::live::Live;
use super::{Finished, checkpoint};

/// The time of one chunk, in seconds.
const CHUNK: f64 = 0.04;
/// A checkpoint is written at most so often while a job runs.
const SAVE: Duration = Duration::from_secs(1);

/// Runs jobs here.
pub(super) struct Local {
    pool: Option<ThreadPool>,
    functions: Registry,
    clock: SystemClock,
    stop: Shutdown,
}

impl Local {
    /// With this number of threads. Default: one for each core.
    pub(super) fn new(threads: Option<u16>, stop: Shutdown) -> anyhow::Result<Self> {
        let pool = |threads: u16| {
            ThreadPoolBuilder::new()
                .num_threads(usize::from(threads))
                .build()
        };
        let pool = threads.map(pool).transpose();
        Ok(Self {
            pool: pool.context("failed to start the threads that compute")?,
            functions: Registry::default(),
            clock: SystemClock::new(),
            stop,
        })
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_requested()
    }

    /// Runs a job to its end, from its checkpoint if it has one.
    pub(super) fn run(
        &self,
        request: &Request,
        mut live: Live,
        checkpoint: Option<&Path>,
    ) -> anyhow::Result<Finished> {
        let started = self.clock.now();
        let fresh = || Job::new(request.clone(), &self.functions);
        let mut job = match checkpoint {
            Some(path) => checkpoint::resume(path, request, &mut live)?.map_or_else(fresh, Ok)?,
            None => fresh()?,
        };
        let mut run = Run {
            local: self,
            started,
            deadline: request.deadline.map(Duration::from_secs_f64),
            speed: None,
            saved: None,
        };
        live.wave(&job.answer());
        while let Some(wave) = job.wave() {
            let prepared = wave.prepare(&self.functions)?;
            match run.wave(&job, wave, &prepared, &mut live)? {
                Ok(whole) => job.complete(whole)?,
                Err(why) => job.stop(why),
            }
            live.wave(&job.answer());
            if let Some(path) = checkpoint
                && (job.wave().is_none() || run.is_due())
            {
                checkpoint::save(path, &job)?;
                run.saved = Some(self.clock.now());
            }
        }
        let mut answer: Answer = job.answer();
        answer.seconds = self.clock.now().since(started).as_secs_f64();
        Ok(Finished {
            answer,
            course: live.close(),
            map: job.map(),
        })
    }

    fn install<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        match &self.pool {
            Some(pool) => pool.install(work),
            None => work(),
        }
    }
}

/// One job's run.
struct Run<'a> {
    local: &'a Local,
    started: Moment,
    deadline: Option<Duration>,
    /// Samples per second.
    speed: Option<f64>,
    saved: Option<Moment>,
}

type Whole = Result<millstream_systems::montecarlo::mathematics::Partial, Status>;

impl Run<'_> {
    /// The sums of a whole wave, or why it was not computed.
    fn wave(
        &mut self,
        job: &Job,
        wave: &Wave,
        prepared: &Prepared,
        live: &mut Live,
    ) -> anyhow::Result<Whole> {
        let tiles = self.chunk_of(wave);
        let mut fold = Fold::new(wave.tiles(), tiles)?;
        let known = job.answer();
        let mut samples = known.samples;
        for chunk in 0..wave.tiles().div_ceil(tiles) {
            if let Some(why) = self.reason_to_stop() {
                return Ok(Err(why));
            }
            let before = self.local.clock.now();
            let range = chunk * tiles..((chunk + 1) * tiles).min(wave.tiles());
            let partial = self.local.install(|| prepared.chunk(range))?;
            let now = self.local.clock.now();
            self.learn(partial.samples, now.since(before));
            samples += partial.samples;
            fold.add(chunk, partial)?;
            live.tell(&known, samples, now.since(self.started));
        }
        Ok(Ok(fold.finish()?))
    }

    /// Whether it is time for a checkpoint.
    fn is_due(&self) -> bool {
        let now = self.local.clock.now();
        self.saved.is_none_or(|saved| now.since(saved) >= SAVE)
    }

    fn reason_to_stop(&self) -> Option<Status> {
        if self.local.stop.is_requested() {
            return Some(Status::Cancelled);
        }
        let elapsed = self.local.clock.now().since(self.started);
        self.deadline
            .is_some_and(|deadline| elapsed >= deadline)
            .then_some(Status::Deadline)
    }

    /// Tiles of a chunk: a power of two.
    fn chunk_of(&self, wave: &Wave) -> u64 {
        let Some(speed) = self.speed else {
            return wave.tiles().next_power_of_two().min(64);
        };
        let share = CHUNK * speed / wave.samples().max(1) as f64;
        let wanted = share * wave.tiles() as f64;
        let mut tiles = 1;
        while ((tiles * 2) as f64) < wanted && tiles < wave.tiles() {
            tiles *= 2;
        }
        tiles
    }

    fn learn(&mut self, samples: u64, took: Duration) {
        if samples > 0 && !took.is_zero() {
            self.speed = Some(samples as f64 / took.as_secs_f64());
        }
    }
}
