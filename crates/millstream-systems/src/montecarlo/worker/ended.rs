//! Jobs whose tasks are not to be done any more, as the control topic tells every worker.
//!
//! Read outside of any group, by every worker for itself, from an hour ago: a worker that comes back after a task has killed
//! it must know, before it begins, that the task's job was given up. What is remembered is bounded; a cancellation that is
//! forgotten costs a task that nobody waits for.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use millstream::reader::{Polled, Reader, Since, Until};
use millstream::{Clock, Cluster, Error, Shutdown, SystemClock, Timestamp};

use super::super::records::{Action, Control};
use super::super::topics::Topics;
use super::super::wire::Ticket;

/// So far back control records still matter: tasks older than that were issued again, or their jobs have ended.
const BACK: Duration = Duration::from_secs(3600);
const POLL: Duration = Duration::from_millis(100);
/// Jobs remembered.
const MOST: usize = 10_000;

/// Jobs that have ended, with the reason where their tasks are poison.
#[derive(Debug, Clone, Default)]
pub struct Ended(Arc<Mutex<Memory>>);

#[derive(Debug, Default)]
struct Memory {
    jobs: HashMap<Ticket, Option<String>>,
    order: VecDeque<Ticket>,
}

impl Ended {
    /// Notes what a control record says to workers.
    pub fn hear(&self, control: &Control) {
        let Some(ticket) = control.ticket else { return };
        let reason = match control.action {
            Action::Cancel => return,
            Action::Forget => None,
            Action::Poison => Some(control.reason.clone().unwrap_or_default()),
        };
        let mut memory = self.memory();
        if memory.jobs.insert(ticket, reason).is_none() {
            memory.order.push_back(ticket);
        }
        if memory.order.len() > MOST
            && let Some(oldest) = memory.order.pop_front()
        {
            memory.jobs.remove(&oldest);
        }
    }

    /// Whether the job has ended; with the reason if its tasks are to be kept for somebody to look at.
    #[must_use]
    pub fn find(&self, ticket: Ticket) -> Option<Option<String>> {
        self.memory().jobs.get(&ticket).cloned()
    }

    /// Reads what was said lately, then goes on listening on a thread of its own until `shutdown`.
    ///
    /// # Errors
    /// The topic cannot be read.
    pub fn listen(
        &self,
        topics: &Topics,
        cluster: &Cluster,
        shutdown: &Shutdown,
    ) -> Result<JoinHandle<()>, Error> {
        let back = i64::try_from(BACK.as_millis()).unwrap_or(i64::MAX);
        let since = Timestamp::from_millis(SystemClock::new().wall().millis().saturating_sub(back));
        // The future first: what comes while the past is opened is then read twice, not missed.
        let mut future = Reader::of(&topics.control)
            .since(Since::End)
            .open(cluster)?;
        let mut past = Reader::of(&topics.control)
            .since(Since::Time(since))
            .until(Until::End)
            .open(cluster)?;
        loop {
            match past.poll(POLL)? {
                Polled::Record(record) => self.hear(&record.value),
                Polled::End => break,
                Polled::Undecodable(_) | Polled::Nothing => {}
            }
            if shutdown.is_requested() {
                break;
            }
        }
        let (ended, shutdown) = (self.clone(), shutdown.clone());
        Ok(thread::spawn(move || {
            while !shutdown.is_requested() {
                match future.poll(POLL) {
                    Ok(Polled::Record(record)) => ended.hear(&record.value),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::warn!(%error, "control is not read any more");
                        return;
                    }
                }
            }
        }))
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(offset: i64) -> Ticket {
        Ticket {
            partition: 0,
            offset,
            millis: 1,
        }
    }

    fn said(offset: i64, action: Action) -> Control {
        Control {
            action,
            job: None,
            ticket: Some(ticket(offset)),
            reason: Some("it crashed".to_owned()),
        }
    }

    #[test]
    fn tasks_of_a_forgotten_job_are_skipped_and_poison_has_its_reason() {
        let ended = Ended::default();
        ended.hear(&said(1, Action::Forget));
        ended.hear(&said(2, Action::Poison));
        ended.hear(&said(3, Action::Cancel));
        assert_eq!(ended.find(ticket(1)), Some(None));
        assert_eq!(ended.find(ticket(2)), Some(Some("it crashed".to_owned())));
        assert_eq!(ended.find(ticket(3)), None);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let ended = Ended::default();
        for offset in 0..=10_000 {
            ended.hear(&said(offset, Action::Forget));
        }
        assert_eq!(ended.find(ticket(0)), None);
        assert_eq!(ended.find(ticket(10_000)), Some(None));
    }
}
