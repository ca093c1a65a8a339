//! What a unit does about its jobs: opens them, gives out their tasks, follows their outcomes, ends them.
//!
//! Everything here may come twice, late or out of order, and after any of it the log alone must be enough to go on. So an
//! answer goes out when its job's end is read back from the log, a checkpoint goes out before the tasks that follow from it, and whatever belongs
//! to a step that is over is dropped.

use std::time::Duration;

use millstream::{Context, OpenRecord, Partition};
use millstream_montecarlo::{Error, NUMERICS, Status};

use super::super::metrics;
use super::super::records::{Action, Control, Outcome};
use super::super::wire::{Event, Saved, Task, Ticket, What};
use super::entry::{Entry, Given, Taken};
use super::task_readers::{CHUNK, RUN};
use super::unit::{Handled, Unit};

/// Jobs open in one partition; further requests stay in their topic. One that waits for its turn is as large as its checkpoint, at
/// most about a megabyte.
pub(super) const MOST_OPEN: usize = 256;
/// Large waves under way in one partition: the results of each are kept until it is complete. Others wait for the end of a wave, not of
/// a job.
const MOST_WAVES: usize = 32;
/// A task that killed so many workers is not given to another.
const LIVES: u32 = 3;
/// An outcome is waited for so long at least before its task is given out again, in milliseconds.
const PATIENCE: i64 = 2_000;

/// The answer to something that happened to a job that may be gone.
pub(super) type Outcomes = Option<Result<Taken, Error>>;

impl Unit {
    /// Takes a job in.
    pub(super) fn open(&mut self, ticket: Ticket, saved: Saved) {
        let mut entry = Entry::new(ticket, saved);
        entry.plan(self.readers.workers(), &self.settings.pace);
        if self.jobs.insert(ticket, entry).is_none() {
            metrics::opened();
        }
    }

    /// Reads requests only while there is room for their jobs.
    pub(super) fn bound(&self, context: &mut Context) {
        if self.jobs.len() >= MOST_OPEN {
            context.pause(&self.settings.topics.requests);
        }
    }

    /// The log is read: now what follows from it is done.
    pub(super) fn caught_up(&mut self, context: &mut Context) -> Handled {
        self.caught = true;
        tracing::debug!(
            partition = context.partition().0,
            jobs = self.jobs.len(),
            "log read"
        );
        context.resume(&self.settings.topics.control);
        if self.jobs.len() < MOST_OPEN {
            context.resume(&self.settings.topics.requests);
        }
        let decided = self.jobs.values().filter(|entry| entry.is_decided());
        for ticket in decided.map(|entry| entry.ticket).collect::<Vec<_>>() {
            self.finish(ticket, context)?;
        }
        Ok(())
    }

    /// A checkpoint in the log: our own that comes back, or one from before our time.
    pub(super) fn on_saved(&mut self, ticket: Ticket, saved: Saved, context: &mut Context) {
        let step = saved.step;
        match self.jobs.get_mut(&ticket) {
            None if self.caught || self.known.set.contains(&ticket) => return,
            None => {
                self.known.insert(ticket);
                self.jobs.insert(ticket, Entry::new(ticket, saved));
                metrics::opened();
            }
            Some(entry) if step < entry.saved.step => return,
            Some(entry) if step > entry.saved.step || !self.caught => entry.adopt(saved),
            Some(_) => {}
        }
        self.anchor(ticket, context);
    }

    /// The job can be rebuilt from the record being handled; the earlier one is done.
    pub(super) fn anchor(&mut self, ticket: Ticket, context: &mut Context) {
        if let Some(entry) = self.jobs.get_mut(&ticket) {
            let earlier = entry.anchor.replace(context.keep_open());
            close(earlier, context);
        }
    }

    /// A job has ended: its answer goes out, and what it kept open is done once that is acknowledged.
    pub(super) fn on_closed(
        &mut self,
        ticket: Ticket,
        id: String,
        outcome: &Outcome,
        context: &mut Context,
    ) -> Handled {
        if !self.ended.set.contains(&ticket) {
            context.emit(&self.settings.topics.results, &id, outcome)?;
        }
        self.ended.insert(ticket);
        self.known.insert(ticket);
        close(self.closing.remove(&ticket), context);
        // Somebody before us ended it.
        if let Some(entry) = self.jobs.remove(&ticket) {
            self.leave(entry, context);
        }
        Ok(())
    }

    /// Takes an open job and forgets what it has given out.
    fn leave(&mut self, mut entry: Entry, context: &mut Context) {
        metrics::left();
        for given in entry.drain() {
            self.readers.back(given.partition, given.weight);
        }
        close(entry.anchor.take(), context);
        if self.caught && self.jobs.len() < MOST_OPEN / 2 + 1 {
            context.resume(&self.settings.topics.requests);
        }
    }

    /// Does something to a job.
    pub(super) fn with<T>(
        &mut self,
        ticket: Ticket,
        act: impl FnOnce(&mut Entry) -> T,
    ) -> Option<T> {
        self.jobs.get_mut(&ticket).map(act)
    }

    /// Whether a job is at this step.
    pub(super) fn is_at(&self, ticket: Ticket, step: u32) -> bool {
        self.jobs
            .get(&ticket)
            .is_some_and(|entry| entry.saved.step == step)
    }

    /// An outcome came: its worker has room for more.
    pub(super) fn returned(&mut self, ticket: Ticket, step: u32, chunk: u64, context: &Context) {
        let Some(entry) = self.jobs.get_mut(&ticket) else {
            return;
        };
        if entry.saved.step != step {
            return;
        }
        if let Some(given) = entry.take_back(chunk) {
            self.readers.back(given.partition, given.weight);
            let took = context.now().millis().saturating_sub(given.at).max(0);
            self.turnaround = (7 * self.turnaround + took) / 8;
        }
    }

    /// What follows from an outcome.
    pub(super) fn follow(
        &mut self,
        ticket: Ticket,
        taken: Outcomes,
        context: &mut Context,
    ) -> Handled {
        match taken {
            None | Some(Ok(Taken::Late | Taken::Kept)) => Ok(()),
            Some(Ok(Taken::Step)) => self.step(ticket, context),
            Some(Err(Error::Nondeterminism { chunk })) => {
                metrics::nondeterminism();
                let (id, step) = self
                    .with(ticket, |entry| {
                        let step = entry.saved.step;
                        entry.saved.warnings.push(format!(
                            "two workers got different numbers for chunk {chunk} of step {step}; the first was taken: one of them has bad hardware or another version"
                        ));
                        (entry.saved.id.clone(), step)
                    })
                    .unwrap_or_default();
                tracing::error!(
                    job = id,
                    step,
                    chunk,
                    "two results of one chunk differ: bad hardware, or workers of different versions"
                );
                Ok(())
            }
            Some(Err(error)) => self.fail(ticket, error.to_string(), context),
        }
    }

    /// A job has come to its next step: it is decided, or saved and given out again.
    fn step(&mut self, ticket: Ticket, context: &mut Context) -> Handled {
        let workers = self.readers.workers();
        let Some(entry) = self.jobs.get_mut(&ticket) else {
            return Ok(());
        };
        // What was given out twice and came back once is still counted.
        let stray = entry.drain();
        let by_run = entry.saved.tiles.is_none();
        entry.plan(workers, &self.settings.pace);
        let (decided, saved) = (entry.is_decided(), entry.saved.clone());
        for given in stray {
            self.readers.back(given.partition, given.weight);
        }
        if !self.caught {
            return Ok(());
        }
        if decided {
            return self.finish(ticket, context);
        }
        let progress = Outcome::progress(&saved, context.now());
        context.emit(&self.settings.topics.results, &saved.id, &progress)?;
        // What a worker has run is in the log already, unless we have to say how it goes on.
        if !by_run || saved.tiles.is_some() {
            self.log(ticket, What::Saved(Box::new(saved)), context)?;
        }
        Ok(())
    }

    /// A worker begins a task of which it is not sure to see the end.
    pub(super) fn on_began(
        &mut self,
        ticket: Ticket,
        step: u32,
        chunk: u64,
        context: &mut Context,
    ) -> Handled {
        if !self.is_at(ticket, step) {
            return Ok(());
        }
        let times = self.with(ticket, |entry| entry.begun(chunk));
        if times.is_none_or(|times| times <= LIVES) {
            return Ok(());
        }
        let reason =
            format!("its task {chunk} of step {step} ended {LIVES} workers that had begun it");
        let poison = Control {
            action: Action::Poison,
            job: None,
            ticket: Some(ticket),
            reason: Some(reason.clone()),
        };
        if self.caught {
            self.tell_workers(&poison, context)?;
        }
        self.fail(ticket, reason, context)
    }

    /// A job cannot be done.
    pub(super) fn fail(
        &mut self,
        ticket: Ticket,
        reason: String,
        context: &mut Context,
    ) -> Handled {
        self.with(ticket, |entry| entry.saved.warnings.push(reason));
        self.stop(ticket, Status::Failed, context)
    }

    /// Ends a job where it stands.
    pub(super) fn stop(&mut self, ticket: Ticket, why: Status, context: &mut Context) -> Handled {
        self.with(ticket, |entry| entry.saved.job.stop(why));
        if !self.caught {
            // Whoever decided it has said so in the log, or it will be decided anew.
            return Ok(());
        }
        let forget = Control {
            action: Action::Forget,
            job: None,
            ticket: Some(ticket),
            reason: None,
        };
        let has_tasks = self.jobs.get(&ticket).is_some_and(Entry::has_tasks);
        if has_tasks {
            self.tell_workers(&forget, context)?;
        }
        self.finish(ticket, context)
    }

    /// Closes a job with its answer.
    fn finish(&mut self, ticket: Ticket, context: &mut Context) -> Handled {
        let Some(mut entry) = self.jobs.remove(&ticket) else {
            return Ok(());
        };
        let outcome = Outcome::progress(&entry.saved, context.now());
        let id = entry.saved.id.clone();
        tracing::info!(
            job = id,
            status = outcome.status_word(),
            samples = outcome.answer.samples,
            seconds = outcome.answer.seconds,
            "job ended"
        );
        metrics::ended(
            outcome.status_word(),
            Duration::from_secs_f64(outcome.answer.seconds.max(0.0)),
        );
        if let Some(anchor) = entry.anchor.take() {
            self.closing.insert(ticket, anchor);
        }
        self.leave(entry, context);
        let what = What::Closed(Box::new(outcome));
        let event = Event { ticket, what };
        let own = context.partition();
        let record = context.record(&self.settings.topics.partials, &id, &event);
        record.partition(own).emit()
    }

    /// Gives out tasks, one job after the other, as long as workers have room.
    pub(super) fn give_out(&mut self, context: &mut Context) -> Handled {
        if !self.caught {
            return Ok(());
        }
        while let Some(ticket) = self.whose_turn() {
            let Some(entry) = self.jobs.get_mut(&ticket) else {
                return Ok(());
            };
            let Some(chunk) = entry.wanted() else {
                return Ok(());
            };
            let first = entry.saved.step == 0;
            let weight = if first { RUN } else { CHUNK };
            let Some(partition) = self.readers.give(weight) else {
                return Ok(());
            };
            let tries = entry.tries(chunk) + 1;
            if tries > 1 {
                metrics::reissued();
            }
            let given = Given {
                partition,
                weight,
                at: context.now().millis(),
                tries,
            };
            let work = entry.work(chunk, &self.settings.pace);
            entry.gave(chunk, given);
            self.turn = Some(ticket);
            let Some(work) = work else { continue };
            let task = Task {
                ticket,
                step: entry.saved.step,
                numerics: NUMERICS,
                work,
            };
            let key = format!("{}:{}:{chunk}", entry.saved.id, task.step);
            let record = context.record(&self.settings.topics.tasks, &key, &task);
            record.partition(Partition(partition)).emit()?;
        }
        Ok(())
    }

    /// The next job, after the one that had its turn last, that has something to give out.
    fn whose_turn(&mut self) -> Option<Ticket> {
        let after = self.turn;
        let waves = self.jobs.values().filter(|entry| entry.is_under_way());
        let room = waves.count() < MOST_WAVES;
        let has = |entry: &mut Entry| {
            (room || entry.is_under_way() || entry.is_small()) && entry.wanted().is_some()
        };
        let later = self
            .jobs
            .iter_mut()
            .filter(|(ticket, _)| after.is_none_or(|after| **ticket > after))
            .find_map(|(ticket, entry)| has(entry).then_some(*ticket));
        later.or_else(|| {
            self.jobs
                .iter_mut()
                .find_map(|(ticket, entry)| has(entry).then_some(*ticket))
        })
    }

    /// Tasks whose outcome is missing for too long are given out once more; whichever comes first is taken.
    pub(super) fn call_back(&mut self, now: i64) {
        let patience = PATIENCE.max(4 * self.turnaround);
        for entry in self.jobs.values_mut() {
            for chunk in entry.overdue(now, patience) {
                let Some(given) = entry.give_up(chunk, now) else {
                    continue;
                };
                self.readers.back(given.partition, given.weight);
                tracing::debug!(
                    job = entry.saved.id,
                    step = entry.saved.step,
                    chunk,
                    tries = given.tries,
                    "task is missing, given out again"
                );
            }
        }
    }

    /// Whether the job was cancelled before its request was read.
    pub(super) fn was_cancelled(&self, id: &str, requested: i64) -> bool {
        let mut found = self.cancelled.set.iter();
        found.any(|(cancelled, at)| cancelled == id && *at >= requested)
    }

    /// Writes to our own log.
    pub(super) fn log(&self, ticket: Ticket, what: What, context: &mut Context) -> Handled {
        let key = format!("{}-{}", ticket.partition, ticket.offset);
        let event = Event { ticket, what };
        let own = context.partition();
        let record = context.record(&self.settings.topics.partials, &key, &event);
        record.partition(own).emit()
    }

    fn tell_workers(&self, control: &Control, context: &mut Context) -> Handled {
        let own = context.partition();
        let record = context.record(&self.settings.topics.control, &None, control);
        record.partition(own).emit()
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        for _ in &self.jobs {
            metrics::left();
        }
    }
}

fn close(record: Option<OpenRecord>, context: &mut Context) {
    if let Some(record) = record {
        context.close(record);
    }
}
