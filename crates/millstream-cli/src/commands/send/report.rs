//! What became of each line, as its receipts say.
//!
//! The first failures are logged one by one, the rest are only counted: a million lines that a cluster refuses are not a
//! million lines of log. Of a short input, which is sent without retries, those lines are kept apart that the cluster did
//! not write and that can be sent again without changing the order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use millstream::{Error, Outcome, Position};

/// How many failures are logged one by one.
const LOGGED: u64 = 10;

/// The outcomes of all lines, shared with their receipts.
#[derive(Debug, Default)]
pub(super) struct Report(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    delivered: AtomicU64,
    failed: AtomicU64,
    unacknowledged: AtomicBool,
    short: Mutex<Short>,
}

/// What is kept of a short input.
#[derive(Debug, Default)]
struct Short {
    /// The last line whose place in the topic is taken, or may be.
    last_written: u64,
    /// Lines that were not written, for a reason that passes.
    passing: BTreeMap<u64, Error>,
}

impl Report {
    /// What is called with the outcome of line `number`.
    pub(super) fn receipt(
        &self,
        number: u64,
    ) -> impl FnOnce(Result<Position, Error>) + Send + 'static {
        let shared = Arc::clone(&self.0);
        move |outcome| match outcome {
            Ok(_) => _ = shared.delivered.fetch_add(1, Ordering::AcqRel),
            Err(error) => shared.fail(number, &error),
        }
    }

    /// As [`receipt`](Self::receipt), of a line that can be sent again.
    pub(super) fn short_receipt(
        &self,
        number: u64,
    ) -> impl FnOnce(Result<Position, Error>) + Send + 'static {
        let shared = Arc::clone(&self.0);
        move |outcome| {
            let mut short = shared.short();
            match outcome {
                Err(error) if error.is_retriable() && error.outcome() == Outcome::NotApplied => {
                    short.passing.insert(number, error);
                }
                outcome => {
                    short.last_written = short.last_written.max(number);
                    drop(short);
                    match outcome {
                        Ok(_) => _ = shared.delivered.fetch_add(1, Ordering::AcqRel),
                        Err(error) => shared.fail(number, &error),
                    }
                }
            }
        }
    }

    /// What is called with the number of each line that fails.
    pub(super) fn on_failure(&self) -> impl Fn(u64, Error) + Send + Sync + 'static {
        let shared = Arc::clone(&self.0);
        move |number, error| shared.fail(number, &error)
    }

    /// Lines that were delivered without a receipt.
    pub(super) fn delivered(&self, lines: u64) {
        self.0.delivered.fetch_add(lines, Ordering::AcqRel);
    }

    /// A line that the client did not take.
    pub(super) fn refused(&self, number: u64, error: &Error) {
        self.0.fail(number, error);
    }

    /// The lines of a short input that are to be sent again: those not written, if no later one was. Otherwise they have
    /// failed, for sent again they would stand behind lines that follow them.
    pub(super) fn lines_to_repeat(&self) -> Vec<u64> {
        let mut short = self.0.short();
        let passing = std::mem::take(&mut short.passing);
        let last_written = short.last_written;
        drop(short);
        let keeps_order = |number: &u64| *number > last_written;
        if passing.keys().all(keeps_order) {
            return passing.into_keys().collect();
        }
        for (number, error) in passing {
            self.0.fail(number, &error);
        }
        Vec::new()
    }

    /// Whether the cluster has left some lines without a response until the client gave them up.
    pub(super) fn is_unacknowledged(&self) -> bool {
        self.0.unacknowledged.load(Ordering::Acquire)
    }

    /// Lines delivered, and lines that failed.
    pub(super) fn counts(&self) -> (u64, u64) {
        let delivered = self.0.delivered.load(Ordering::Acquire);
        (delivered, self.0.failed.load(Ordering::Acquire))
    }
}

impl Shared {
    fn short(&self) -> MutexGuard<'_, Short> {
        self.short.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fail(&self, line: u64, error: &Error) {
        if error.outcome() == Outcome::Unknown {
            self.unacknowledged.store(true, Ordering::Release);
        }
        let earlier = self.failed.fetch_add(1, Ordering::AcqRel);
        if earlier < LOGGED {
            let may_be_written = error.outcome() == Outcome::Unknown;
            tracing::error!(line, %error, may_be_written, "line not delivered");
        } else if earlier == LOGGED {
            tracing::error!("further failures are only counted");
        }
    }
}

#[cfg(test)]
mod tests {
    use millstream::{Class, Offset, Partition};

    use super::*;

    fn error(class: Class, outcome: Outcome) -> Error {
        Error::Kafka {
            action: "deliver a record".to_owned(),
            reason: "not the leader".to_owned(),
            class,
            outcome,
        }
    }

    fn position() -> Position {
        Position {
            topic: "t".into(),
            partition: Partition(0),
            offset: Offset::new(0),
        }
    }

    #[test]
    fn lines_that_were_not_written_are_sent_again_in_their_order() {
        let report = Report::default();
        report.short_receipt(1)(Ok(position()));
        report.short_receipt(3)(Err(error(Class::Retriable, Outcome::NotApplied)));
        report.short_receipt(2)(Err(error(Class::Retriable, Outcome::NotApplied)));
        assert_eq!(report.lines_to_repeat(), [2, 3]);
        assert_eq!(report.counts(), (1, 0));
        assert_eq!(report.lines_to_repeat(), Vec::<u64>::new());
    }

    #[test]
    fn a_line_is_not_sent_again_behind_one_that_follows_it() {
        let report = Report::default();
        report.short_receipt(1)(Err(error(Class::Retriable, Outcome::NotApplied)));
        report.short_receipt(2)(Ok(position()));
        assert_eq!(report.lines_to_repeat(), Vec::<u64>::new());
        assert_eq!(report.counts(), (1, 1));
    }

    #[test]
    fn a_line_that_may_be_written_is_not_sent_again() {
        let report = Report::default();
        report.short_receipt(1)(Err(error(Class::Retriable, Outcome::Unknown)));
        report.short_receipt(2)(Err(error(Class::Refused, Outcome::NotApplied)));
        assert_eq!(report.lines_to_repeat(), Vec::<u64>::new());
        assert_eq!(report.counts(), (0, 2));
    }
}
