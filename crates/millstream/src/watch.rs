//! The thread that called `run` and watches the workers: their end, the hard deadline behind it, and handlers that do not return.
//!
//! librdkafka's close can hang for ever when the cluster is gone, and a handler can block for ever; nobody waits for either
//! beyond the deadline: `run` then returns why the workers ended, or an error that says who did not, and the program is expected to exit.
//! While a handler runs for longer than the drain budget it is reported and the service is not ready, because
//! a stop or a rebalance would have to wait for it.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::clock::{Clock as _, Moment, SystemClock};
use crate::error::Error;
use crate::http::Part;
use crate::metrics::Totals;
use crate::record::Position;
use crate::runtime::Summary;
use crate::shutdown::Shutdown;
use crate::topic::Partition;
use crate::worker::handling::{Call, Called, Handling};

/// How often the watching thread looks around.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What it may take when all is drained and committed. A member that asked to join while another one had vanished is
/// answered only when that one's session has ended, and librdkafka's close waits for the answer.
const LEAVE_WITHIN: Duration = Duration::from_secs(1);

/// A call is reported no sooner, however small the drain budget is.
const LEAST_PATIENCE: Duration = Duration::from_millis(100);

/// What a thread of a worker tells the thread that watches it.
pub(crate) enum Report {
    /// It is about to take records; where its calls can be seen.
    Started(Arc<Handling>),
    /// Its worker has drained, or failed; its client is still to be closed.
    Ended(Totals, Result<(), Error>),
    /// Its client is closed.
    Closed,
}

/// Waits for the threads, and for no longer than the budget once they are to end.
pub(crate) struct Watch {
    pub(crate) service: String,
    pub(crate) threads: usize,
    pub(crate) budget: Duration,
    pub(crate) reports: Receiver<Report>,
    pub(crate) shutdown: Shutdown,
    pub(crate) stop: Shutdown,
    /// Not ready while the service drains, or a call does not return.
    pub(crate) part: Part,
    pub(crate) calls: Calls,
}

impl Watch {
    /// Until all threads have ended; `failed` is what ends them before they have done anything.
    pub(crate) fn run(mut self, mut failed: Option<Error>) -> Result<Summary, Error> {
        let clock = SystemClock::new();
        let mut summary = Summary::default();
        let (mut ended, mut closed) = (0, 0);
        let mut deadline = None;
        self.tell_readiness(clock.now(), false);
        while closed < self.threads {
            if deadline.is_none() && (self.shutdown.is_requested() || self.stop.is_requested()) {
                self.stop.request();
                deadline = Some(clock.now().plus(self.budget));
            }
            match self.reports.recv_timeout(LOOK_EVERY) {
                Ok(Report::Started(handling)) => self.calls.watch(handling),
                Ok(Report::Ended(totals, result)) => {
                    summary.add(totals);
                    if let Err(error) = result {
                        failed.get_or_insert(error);
                    }
                    ended += 1;
                    if ended == self.threads && failed.is_none() {
                        let leave = clock.now().plus(LEAVE_WITHIN);
                        deadline = deadline.map(|deadline: Moment| deadline.min(leave));
                    }
                    // One worker alone never ends but by a failure or when told to: the others are told as well.
                    self.stop.request();
                }
                Ok(Report::Closed) => closed += 1,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = clock.now();
            self.warn(now);
            self.tell_readiness(now, deadline.is_some());
            if deadline.is_some_and(|deadline| now >= deadline) && closed < self.threads {
                if ended == self.threads {
                    tracing::warn!(service = %self.service, "the client did not leave the group in time; the group removes the member when its session ends");
                    return failed.map_or(Ok(summary), Err);
                }
                return Err(self.stuck(closed, failed, now));
            }
        }
        failed.map_or(Ok(summary), Err)
    }

    /// Reports the handlers that have run for too long by now.
    fn warn(&mut self, now: Moment) {
        for slow in self.calls.slow(now) {
            tracing::warn!(
                service = %self.service,
                topic = %slow.topic,
                partition = slow.partition.0,
                offset = slow.offset(),
                running_ms = slow.running.as_millis(),
                "handler has not returned"
            );
        }
    }

    /// A worker whose handler does not return says nothing itself, and the group may have thrown it out.
    fn tell_readiness(&mut self, now: Moment, is_draining: bool) {
        let reason = if is_draining {
            Some("draining".to_owned())
        } else {
            let stuck = self.calls.overdue(now);
            stuck.map(|call| format!("{call} has not returned"))
        };
        self.part.set_ready(reason.is_none());
        self.part.set_reason(reason);
    }

    fn stuck(&mut self, closed: usize, failed: Option<Error>, now: Moment) -> Error {
        if let Some(error) = failed {
            tracing::error!(service = %self.service, error = %error, "service had stopped for this before its client hung");
        }
        let (service, seconds) = (self.service.clone(), self.budget.as_secs());
        let error = match self.calls.longest(now) {
            Some(slow) => Error::StuckHandler {
                service,
                seconds,
                call: slow.to_string(),
                running: slow.running.as_secs(),
            },
            None => Error::Stuck {
                service,
                seconds,
                waiting: self.threads - closed,
            },
        };
        tracing::error!(service = %self.service, error = %error, "service is stuck");
        error
    }
}

/// The calls of all workers, and since when each is seen.
pub(crate) struct Calls {
    /// The inputs by number.
    topics: Vec<Arc<str>>,
    /// A call that takes longer is reported, and again each time its time has doubled.
    patience: Duration,
    workers: Vec<Watched>,
}

struct Watched {
    handling: Arc<Handling>,
    seen: Option<Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    call: Call,
    since: Moment,
    /// Reported when it has run for so long.
    report_at: Duration,
}

/// A call that has not returned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    topic: Arc<str>,
    partition: Partition,
    called: Called,
    running: Duration,
}

impl Slow {
    fn offset(&self) -> Option<i64> {
        match self.called {
            Called::Handler(offset) => Some(offset.get()),
            Called::Timer | Called::Init => None,
        }
    }
}

impl std::fmt::Display for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let partition = self.partition;
        match self.called {
            Called::Handler(offset) => {
                let topic = Arc::clone(&self.topic);
                let position = Position {
                    topic,
                    partition,
                    offset,
                };
                write!(f, "the handler of {position}")
            }
            Called::Timer => write!(f, "the timer of partition {partition}"),
            Called::Init => write!(f, "the initialization of partition {partition}"),
        }
    }
}

impl Calls {
    pub(crate) fn new(topics: Vec<Arc<str>>, patience: Duration) -> Self {
        Self {
            topics,
            patience: patience.max(LEAST_PATIENCE),
            workers: Vec::new(),
        }
    }

    pub(crate) fn watch(&mut self, handling: Arc<Handling>) {
        self.workers.push(Watched {
            handling,
            seen: None,
        });
    }

    /// The calls that are to be reported now.
    pub(crate) fn slow(&mut self, now: Moment) -> Vec<Slow> {
        let patience = self.patience;
        let mut due = Vec::new();
        for worker in &mut self.workers {
            worker.look(now, patience);
            let Some(seen) = &mut worker.seen else {
                continue;
            };
            let running = now.since(seen.since);
            if running >= seen.report_at {
                seen.report_at = running * 2;
                due.push((seen.call, running));
            }
        }
        let told = due.into_iter();
        told.filter_map(|(call, running)| self.told(call, running))
            .collect()
    }

    /// The call that has run for the longest time, if it has for too long.
    pub(crate) fn overdue(&mut self, now: Moment) -> Option<Slow> {
        let patience = self.patience;
        self.longest(now).filter(|slow| slow.running >= patience)
    }

    /// The call that has run for the longest time.
    pub(crate) fn longest(&mut self, now: Moment) -> Option<Slow> {
        for worker in &mut self.workers {
            worker.look(now, self.patience);
        }
        let seen = self.workers.iter().filter_map(|worker| worker.seen);
        let longest = seen.min_by_key(|seen| seen.since)?;
        self.told(longest.call, now.since(longest.since))
    }

    fn told(&self, call: Call, running: Duration) -> Option<Slow> {
        let topic = Arc::clone(self.topics.get(call.input)?);
        Some(Slow {
            topic,
            partition: call.partition,
            called: call.called,
            running,
        })
    }
}

impl Watched {
    /// Notes since when the present call is seen.
    fn look(&mut self, now: Moment, patience: Duration) {
        let call = self.handling.look();
        if self.seen.map(|seen| seen.call) != call {
            self.seen = call.map(|call| Seen {
                call,
                since: now,
                report_at: patience,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Offset;

    fn at(seconds: u64) -> Moment {
        Moment::at(Duration::from_secs(seconds))
    }

    fn calls(handling: &Arc<Handling>) -> Calls {
        let mut calls = Calls::new(vec!["calls".into()], Duration::from_secs(3));
        calls.watch(Arc::clone(handling));
        calls
    }

    fn told(slow: &[Slow]) -> Vec<(String, u64)> {
        let told = slow.iter();
        told.map(|slow| (slow.to_string(), slow.running.as_secs()))
            .collect()
    }

    #[test]
    fn a_handler_that_does_not_return_is_reported_at_doubling_times() {
        let handling = Arc::new(Handling::default());
        let mut calls = calls(&handling);
        handling.begin(0, Partition(2), Called::Handler(Offset::new(17)));
        let reported = (0..=30).flat_map(|second| told(&calls.slow(at(second))));
        let name = || "the handler of calls[2]@17".to_owned();
        let expected = [(name(), 3), (name(), 6), (name(), 12), (name(), 24)];
        assert_eq!(reported.collect::<Vec<_>>(), expected);
        assert_eq!(calls.slow(at(600))[0].offset(), Some(17));
    }

    #[test]
    fn a_handler_that_is_called_again_and_again_is_not_slow() {
        let handling = Arc::new(Handling::default());
        let mut calls = calls(&handling);
        for second in 0..60 {
            handling.begin(0, Partition(2), Called::Handler(Offset::new(17)));
            assert_eq!(calls.slow(at(second)), []);
            handling.end();
        }
    }

    #[test]
    fn without_a_drain_budget_a_call_that_is_only_seen_is_not_slow() {
        let handling = Arc::new(Handling::default());
        let mut calls = Calls::new(vec!["calls".into()], Duration::ZERO);
        calls.watch(Arc::clone(&handling));
        handling.begin(0, Partition(2), Called::Timer);
        assert_eq!(calls.slow(at(0)), []);
        assert_eq!(calls.slow(at(1)).len(), 1);
    }

    #[test]
    fn a_timer_is_reported_by_its_partition() {
        let handling = Arc::new(Handling::default());
        let mut calls = calls(&handling);
        handling.begin(0, Partition(2), Called::Timer);
        assert_eq!(calls.slow(at(0)), []);
        let slow = calls.slow(at(5));
        assert_eq!(told(&slow), [("the timer of partition 2".to_owned(), 5)]);
        assert_eq!(slow[0].offset(), None);
    }

    #[test]
    fn of_two_handlers_that_hang_the_older_call_is_to_blame() {
        let (first, second) = (Arc::new(Handling::default()), Arc::new(Handling::default()));
        let mut calls = calls(&first);
        calls.watch(Arc::clone(&second));
        assert_eq!(calls.longest(at(0)), None);
        second.begin(0, Partition(1), Called::Handler(Offset::new(5)));
        assert_eq!(calls.slow(at(1)), []);
        first.begin(0, Partition(0), Called::Handler(Offset::new(9)));
        assert_eq!(calls.slow(at(2)), []);
        let longest = calls.longest(at(9)).unwrap();
        assert_eq!(
            told(&[longest]),
            [("the handler of calls[1]@5".to_owned(), 8)]
        );
    }
}
