//! One job that is open: its checkpoint, what of its present wave is given out, and what has come back.
//!
//! An entry knows no topics and no clock: it takes what happened and returns what follows. A wave is worked on in chunks of
//! equal length, or, while it is small, by one worker that runs the whole job on for a while; a run counts as one chunk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use millstream::OpenRecord;
use millstream_montecarlo::{Added, Error, Fold, Partial, Wave};

use super::super::wire::{Done, Ran, Saved, Ticket, Work};

/// How long things may take; no bit of an answer depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// A wave that one worker does in this many seconds is not worth dividing.
    pub run_below: f64,
    /// How long a worker runs a job on, in milliseconds.
    pub run_ms: u32,
    /// A chunk's time in seconds: the least.
    pub shortest: f64,
    /// And the most.
    pub longest: f64,
}

impl Default for Pace {
    /// Chunks of a tenth to half a second.
    fn default() -> Self {
        Self {
            run_below: 0.1,
            run_ms: 200,
            shortest: 0.1,
            longest: 0.4,
        }
    }
}

/// A wave of so many chunks is not worth waiting for.
const FEW: u64 = 8;

/// A job.
pub(super) struct Entry {
    pub(super) ticket: Ticket,
    pub(super) saved: Saved,
    /// The record of the log from which the job can be rebuilt.
    pub(super) anchor: Option<OpenRecord>,
    fold: Option<Fold>,
    /// Chunks of this step, the first that was never given out, and those to be given out again.
    chunks: u64,
    next: u64,
    again: VecDeque<u64>,
    out: BTreeMap<u64, Given>,
    /// How often each chunk was begun by a worker that was not sure to see its end.
    begun: BTreeMap<u64, u32>,
    /// Which chunks are in.
    back: BTreeSet<u64>,
}

/// A task that is waited for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Given {
    pub(super) partition: i32,
    pub(super) weight: u32,
    /// When, in milliseconds since 1970.
    pub(super) at: i64,
    /// How often.
    pub(super) tries: u32,
}

/// What came of an outcome.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It belongs to nothing that is waited for.
    Late,
    /// It is in; more of the step is missing.
    Kept,
    /// The step is complete, and the next one is ready.
    Step,
}

impl Entry {
    /// A job at a checkpoint. What it is divided into is as the checkpoint says.
    pub(super) fn new(ticket: Ticket, saved: Saved) -> Self {
        let mut entry = Self {
            ticket,
            saved,
            anchor: None,
            fold: None,
            chunks: 0,
            next: 0,
            again: VecDeque::new(),
            out: BTreeMap::new(),
            begun: BTreeMap::new(),
            back: BTreeSet::new(),
        };
        entry.divide();
        entry
    }

    /// Goes on from a checkpoint.
    pub(super) fn adopt(&mut self, saved: Saved) {
        let same = saved.step == self.saved.step && saved.tiles == self.saved.tiles;
        self.saved = saved;
        if !same {
            self.divide();
        }
    }

    /// Whether the job's time is up at `now`.
    pub(super) fn is_past_deadline(&self, now: i64) -> bool {
        let seconds = self.saved.job.request().deadline;
        seconds.is_some_and(|seconds| (now - self.saved.opened) as f64 >= seconds * 1000.0)
    }

    /// Whether tasks are given out or lie in wait.
    pub(super) fn has_tasks(&self) -> bool {
        !self.out.is_empty()
    }

    /// Whether the job is decided.
    pub(super) fn is_decided(&self) -> bool {
        self.saved.job.wave().is_none()
    }

    /// Whether the present wave is large, and some of it is given out or back.
    pub(super) fn is_under_way(&self) -> bool {
        !self.is_small() && self.next > 0
    }

    /// Whether the present wave has few chunks.
    pub(super) const fn is_small(&self) -> bool {
        self.chunks <= FEW
    }

    /// Chooses how the present wave is worked on, for so many workers, and readies the step for it.
    pub(super) fn plan(&mut self, workers: u32, pace: &Pace) {
        self.saved.tiles = self.saved.job.wave().and_then(|wave| {
            let seconds = wave.samples() as f64 / self.saved.speed?;
            if seconds < pace.run_below || wave.tiles() < 2 {
                return None;
            }
            let wanted = (seconds / f64::from(4 * workers)).clamp(pace.shortest, pace.longest);
            Some(run_of_tiles(wave.tiles(), wanted / seconds))
        });
        self.divide();
    }

    fn divide(&mut self) {
        self.next = 0;
        self.again.clear();
        self.out.clear();
        self.begun.clear();
        self.back.clear();
        let fold_of = |wave: &Wave, tiles| Fold::new(wave.tiles(), tiles).ok();
        let (fold, chunks) = match (self.saved.job.wave(), self.saved.tiles) {
            (None, _) => (None, 0),
            (Some(_), None) => (None, 1),
            (Some(wave), Some(tiles)) => {
                (fold_of(wave, tiles), wave.tiles().div_ceil(tiles.max(1)))
            }
        };
        (self.fold, self.chunks) = (fold, chunks);
    }

    /// The next chunk to give out, if there is one.
    pub(super) fn wanted(&mut self) -> Option<u64> {
        while let Some(chunk) = self.again.front() {
            if self.is_missing(*chunk) {
                return Some(*chunk);
            }
            self.again.pop_front();
        }
        while self.next < self.chunks && !self.is_missing(self.next) {
            self.next += 1;
        }
        (self.next < self.chunks).then_some(self.next)
    }

    /// A chunk was given out.
    pub(super) fn gave(&mut self, chunk: u64, given: Given) {
        if self.again.front() == Some(&chunk) {
            self.again.pop_front();
        } else if chunk == self.next {
            self.next += 1;
        }
        self.out.insert(chunk, given);
    }

    /// What a worker is to do for a chunk.
    pub(super) fn work(&self, chunk: u64, pace: &Pace) -> Option<Work> {
        let wave = self.saved.job.wave()?;
        Some(match self.saved.tiles {
            None => Work::Run {
                saved: Box::new(self.saved.clone()),
                budget_ms: pace.run_ms,
            },
            Some(tiles) => Work::Chunk {
                wave: Box::new(wave.clone()),
                chunk,
                tiles,
            },
        })
    }

    /// How often a chunk was given out.
    pub(super) fn tries(&self, chunk: u64) -> u32 {
        self.out.get(&chunk).map_or(0, |given| given.tries)
    }

    /// All that is given out and not back; it is forgotten.
    pub(super) fn drain(&mut self) -> Vec<Given> {
        std::mem::take(&mut self.out).into_values().collect()
    }

    /// Takes back what was given out at `given` of a chunk.
    pub(super) fn take_back(&mut self, chunk: u64) -> Option<Given> {
        self.out.remove(&chunk)
    }

    /// What is given out and was not answered by `now`, when an answer may take `patience` milliseconds, doubled with each try.
    pub(super) fn overdue(&self, now: i64, patience: i64) -> Vec<u64> {
        let is_late = |given: &Given| {
            let patience = patience.saturating_mul(1 << given.tries.saturating_sub(1).min(6));
            now.saturating_sub(given.at) > patience.min(60_000)
        };
        let late = self.out.iter().filter(|(_, given)| is_late(given));
        late.map(|(chunk, _)| *chunk).collect()
    }

    /// A chunk that was given out is given out once more; what was given out before is only remembered by its tries.
    pub(super) fn give_up(&mut self, chunk: u64, now: i64) -> Option<Given> {
        let given = self.out.get_mut(&chunk)?;
        let before = *given;
        given.weight = 0;
        given.at = now;
        self.again(chunk);
        Some(before)
    }

    /// A chunk is to be given out once more.
    pub(super) fn again(&mut self, chunk: u64) {
        if !self.again.contains(&chunk) {
            self.again.push_back(chunk);
        }
    }

    /// A worker begins a chunk and may not live to see its end; how often that happened.
    pub(super) fn begun(&mut self, chunk: u64) -> u32 {
        let times = self.begun.entry(chunk).or_default();
        *times += 1;
        *times
    }

    /// A worker ran the job on.
    pub(super) fn ran(&mut self, ran: Ran) -> Taken {
        if ran.saved.step != self.saved.step + 1 || self.saved.tiles.is_some() {
            return Taken::Late;
        }
        self.learn(ran.samples, ran.seconds);
        self.saved.job = ran.saved.job;
        self.saved.step += 1;
        Taken::Step
    }

    /// A worker has computed a chunk.
    ///
    /// # Errors
    /// It is not what another worker got for the same chunk, or the mathematics refuses it.
    pub(super) fn done(&mut self, done: Done) -> Result<Taken, Error> {
        if done.step != self.saved.step || Some(done.tiles) != self.saved.tiles {
            return Ok(Taken::Late);
        }
        let Some(fold) = &mut self.fold else {
            return Ok(Taken::Late);
        };
        let (chunk, samples) = (done.chunk, done.partial.samples);
        match fold.add(chunk, done.partial)? {
            Added::Duplicate => return Ok(Taken::Late),
            Added::New => self.learn(samples, done.seconds),
        }
        self.back.insert(chunk);
        if u64::try_from(self.back.len()).is_ok_and(|back| back < self.chunks) {
            return Ok(Taken::Kept);
        }
        let whole: Option<Partial> = self.fold.take().map(Fold::finish).transpose()?;
        if let Some(whole) = whole {
            self.saved.job.complete(whole)?;
        }
        self.saved.step += 1;
        Ok(Taken::Step)
    }

    /// Samples per second of one worker: mostly what was seen last.
    fn learn(&mut self, samples: u64, seconds: f64) {
        if samples == 0 || seconds <= 0.0 {
            return;
        }
        let seen = samples as f64 / seconds;
        self.saved.speed = Some(self.saved.speed.map_or(seen, |speed| 0.5 * (speed + seen)));
    }

    fn is_missing(&self, chunk: u64) -> bool {
        !self.back.contains(&chunk)
    }
}

/// The run of tiles, a power of two, nearest to this share of all.
fn run_of_tiles(all: u64, share: f64) -> u64 {
    let wanted = (all as f64 * share.min(1.0)).max(1.0);
    let mut tiles = 1_u64;
    while (tiles as f64) * 1.5 < wanted && tiles < all {
        tiles *= 2;
    }
    tiles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_powers_of_two_near_the_time_wanted() {
        assert_eq!(run_of_tiles(1000, 0.1), 128);
        assert_eq!(run_of_tiles(1000, 0.0), 1);
        assert_eq!(run_of_tiles(3, 1.0), 2);
        assert_eq!(run_of_tiles(64, 0.25), 16);
    }
}
