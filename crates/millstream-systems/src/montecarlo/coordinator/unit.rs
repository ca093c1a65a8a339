//! What the coordinator knows of one partition: the jobs that are open, and how far its log is read.
//!
//! Until it has read its own mark the unit only folds what the log says: whatever follows from it was done by whoever held the
//! partition before, or will be done when the mark is met. Then it asks for requests, gives out what is missing, and ends
//! what is decided. Each job keeps the record open from which it can be rebuilt, so the group's offset never passes it.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use millstream::{Context, OpenRecord, ProcessError, Record};
use millstream_montecarlo::{Job, NUMERICS, Registry, Request, Status};

use super::super::metrics;
use super::super::records::{Action, Control, Outcome};
use super::super::topics::Topics;
use super::super::wire::{Event, Saved, Ticket, What};
use super::entry::{Entry, Pace, Taken};
use super::task_readers::TaskReaders;

/// Tickets and cancellations remembered.
const REMEMBERED: usize = 4096;
/// What all partitions of a coordinator have in common.
pub struct Settings {
    /// The topics.
    pub topics: Topics,
    /// The functions that requests may name.
    pub functions: Registry,
    /// Partitions of tasks.
    pub task_partitions: u16,
    /// How long tasks may take.
    pub pace: Pace,
    /// Numbers that no other holder of a partition uses.
    pub incarnation: Box<dyn Fn() -> u64 + Send + Sync>,
}

/// The state of one partition.
pub struct Unit {
    pub(super) settings: Arc<Settings>,
    incarnation: u64,
    /// The mark is written; the log is read up to it.
    marked: bool,
    pub(super) caught: bool,
    pub(super) jobs: BTreeMap<Ticket, Entry>,
    /// Jobs take turns: who is next.
    pub(super) turn: Option<Ticket>,
    pub(super) readers: TaskReaders,
    /// Requests that became jobs here, so that one that is read again does not become another.
    pub(super) known: Recent<Ticket>,
    /// Jobs whose answer is out.
    pub(super) ended: Recent<Ticket>,
    /// Ids that were cancelled before their request was seen, with the time of the cancellation.
    pub(super) cancelled: Recent<(String, i64)>,
    /// What jobs that ended have kept open until their end is in the log.
    pub(super) closing: BTreeMap<Ticket, OpenRecord>,
    /// How long outcomes take lately, in milliseconds.
    pub(super) turnaround: i64,
}

/// The last few of something.
#[derive(Debug)]
pub(super) struct Recent<T> {
    pub(super) set: HashSet<T>,
    order: VecDeque<T>,
}

impl<T: Clone + Eq + std::hash::Hash> Recent<T> {
    pub(super) fn new() -> Self {
        Self {
            set: HashSet::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn insert(&mut self, value: T) {
        if self.set.insert(value.clone()) {
            self.order.push_back(value);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.set.remove(&oldest);
        }
    }
}

pub(super) type Handled = Result<(), ProcessError>;

impl Unit {
    /// A partition of which nothing is known yet.
    pub fn new(settings: Arc<Settings>) -> Self {
        Self {
            incarnation: (settings.incarnation)(),
            readers: TaskReaders::new(settings.task_partitions),
            settings,
            marked: false,
            caught: false,
            jobs: BTreeMap::new(),
            turn: None,
            known: Recent::new(),
            ended: Recent::new(),
            cancelled: Recent::new(),
            closing: BTreeMap::new(),
            turnaround: 0,
        }
    }

    /// A request becomes a job, or is answered at once when it cannot.
    pub(super) fn on_request(
        &mut self,
        record: Record<Option<String>, Vec<u8>>,
        context: &mut Context,
    ) -> Handled {
        let ticket = Ticket {
            partition: record.position.partition.0,
            offset: record.position.offset.get(),
            millis: record.timestamp.millis(),
        };
        if self.known.set.contains(&ticket) {
            return Ok(());
        }
        let id = record
            .key
            .filter(|key| !key.is_empty())
            .unwrap_or_else(|| format!("request-{}-{}", ticket.partition, ticket.offset));
        let opened = context.now().millis();
        let request: Result<Request, _> = serde_json::from_slice(&record.value);
        let job = match request {
            Ok(request) => Job::new(request.clone(), &self.settings.functions)
                .map_err(|error| Outcome::refused(Some(&request), &error.to_string())),
            Err(error) => Err(Outcome::refused(
                None,
                &format!("the request is not readable: {error}"),
            )),
        };
        let job = match job {
            Ok(job) => job,
            Err(refused) => {
                tracing::warn!(
                    job = id,
                    reason = refused.answer.warnings.join("; "),
                    "request refused"
                );
                metrics::ended(refused.status_word(), Duration::ZERO);
                return context.emit(&self.settings.topics.results, &id, &refused);
            }
        };
        tracing::info!(job = id, partition = ticket.partition, "job opened");
        self.known.insert(ticket);
        let cancelled = self.was_cancelled(&id, ticket.millis);
        let saved = Saved {
            id,
            step: 0,
            job,
            opened,
            speed: None,
            tiles: None,
            warnings: Vec::new(),
        };
        self.log(ticket, What::Saved(Box::new(saved.clone())), context)?;
        self.open(ticket, saved);
        if cancelled {
            self.stop(ticket, Status::Cancelled, context)?;
        }
        self.bound(context);
        self.give_out(context)
    }

    /// The log goes on.
    pub(super) fn on_event(
        &mut self,
        record: Record<String, Event>,
        context: &mut Context,
    ) -> Handled {
        let Event { ticket, what } = record.value;
        match what {
            What::Caught { incarnation } => {
                if incarnation == self.incarnation {
                    self.caught_up(context)?;
                }
            }
            What::Saved(saved) => self.on_saved(ticket, *saved, context),
            What::Closed(outcome) => self.on_closed(ticket, record.key, &outcome, context)?,
            What::Ran(ran) => {
                self.readers.seen(ran.by);
                let from = ran.saved.step.saturating_sub(1);
                self.returned(ticket, from, 0, context);
                if self.is_at(ticket, from) {
                    let taken = self.with(ticket, |entry| entry.ran(*ran));
                    if taken == Some(Taken::Step) {
                        // This record is a checkpoint itself.
                        self.anchor(ticket, context);
                    }
                    self.follow(ticket, taken.map(Ok), context)?;
                } else {
                    self.on_saved(ticket, ran.saved, context);
                }
            }
            What::Done(done) => {
                self.readers.seen(done.by);
                self.returned(ticket, done.step, done.chunk, context);
                let taken = self.with(ticket, |entry| entry.done(*done));
                self.follow(ticket, taken, context)?;
            }
            What::Began { step, chunk } => self.on_began(ticket, step, chunk, context)?,
            What::Failed { step, reason } => {
                if self.is_at(ticket, step) {
                    self.fail(ticket, reason, context)?;
                }
            }
            What::Refused {
                step,
                chunk,
                numerics,
                by,
            } => {
                self.returned(ticket, step, chunk, context);
                let nobody = self.readers.bar(by);
                if self.is_at(ticket, step) {
                    self.with(ticket, |entry| entry.again(chunk));
                    if nobody {
                        let reason = format!(
                            "no worker computes version {NUMERICS} of the numbers, only {numerics}"
                        );
                        self.fail(ticket, reason, context)?;
                    }
                }
            }
        }
        self.give_out(context)
    }

    /// Somebody wants a job to end.
    pub(super) fn on_control(
        &mut self,
        record: Record<Option<String>, Control>,
        context: &mut Context,
    ) -> Handled {
        let control = record.value;
        let (Action::Cancel, Some(id)) = (control.action, control.job.or(record.key)) else {
            return Ok(());
        };
        let found = self.jobs.values().filter(|entry| entry.saved.id == id);
        for ticket in found.map(|entry| entry.ticket).collect::<Vec<_>>() {
            self.stop(ticket, Status::Cancelled, context)?;
        }
        // Another of this id may be on its way: requests and control have no common order.
        self.cancelled.insert((id, record.timestamp.millis()));
        self.give_out(context)
    }

    /// Time passes: deadlines, tasks that do not come back.
    pub(super) fn on_tick(&mut self, context: &mut Context) -> Handled {
        if !self.marked {
            self.marked = true;
            self.readers.begin_at(context.partition().0);
            let ticket = Ticket {
                partition: context.partition().0,
                offset: -1,
                millis: 0,
            };
            let incarnation = self.incarnation;
            self.log(ticket, What::Caught { incarnation }, context)?;
        }
        if !self.caught {
            return Ok(());
        }
        let now = context.now().millis();
        let due = self
            .jobs
            .values()
            .filter(|entry| entry.is_past_deadline(now));
        for ticket in due.map(|entry| entry.ticket).collect::<Vec<_>>() {
            self.stop(ticket, Status::Deadline, context)?;
        }
        self.call_back(now);
        self.give_out(context)
    }
}
