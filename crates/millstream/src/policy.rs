//! What a service does when things are not as they should be: [`OnError`] and [`Start`], and its budgets.
//!
//! These are declarations only; `worker` acts on them. Every default is chosen so that nothing is lost and nothing
//! is silent: a record that cannot be processed stops the service unless a dead-letter topic is asked for, and a new
//! group reads from the beginning.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::http::Health;

/// What happens to a record that cannot be processed.
///
/// ```
/// use std::time::Duration;
/// use millstream::OnError;
///
/// let policy = OnError::retry(5)
///     .backoff(Duration::from_millis(50), Duration::from_secs(2))
///     .then_dead_letter();
/// assert_eq!(policy.to_string(), "retry 5 times, then dead letter");
/// ```
///
/// A retry runs on the state that the failed attempt left: a handler that changes its state and fails afterwards changes it
/// once more. See [`Service::new`](crate::Service::new) for the form that is right.
///
/// While a record waits for its retry, its partition waits with it, for order; the others go on. Bytes that cannot be
/// decoded are not retried: they would fail again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OnError {
    pub(crate) retries: u32,
    pub(crate) first_wait: Duration,
    pub(crate) longest_wait: Duration,
    pub(crate) last: Last,
    pub(crate) dead_letter_limit: f64,
}

/// What follows the retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Last {
    DeadLetter,
    Stop,
}

impl OnError {
    /// Tries `times` times more, then stops the service unless [`then_dead_letter`](Self::then_dead_letter) follows.
    pub const fn retry(times: u32) -> Self {
        Self {
            retries: times,
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(10),
            last: Last::Stop,
            dead_letter_limit: 0.1,
        }
    }

    /// Stops the service at the first failure. What came before the record is committed, the record is not.
    pub const fn stop() -> Self {
        Self::retry(0)
    }

    /// Writes the record to `<topic>.dlq`, with its bytes, reason and origin, and goes on.
    pub const fn dead_letter() -> Self {
        Self::retry(0).then_dead_letter()
    }

    /// How long to wait before the first retry, doubled for each further one up to `longest`. Default: 100 ms and 10 s.
    #[must_use]
    pub const fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first_wait = first;
        self.longest_wait = longest;
        self
    }

    /// After the retries: to the dead-letter topic.
    #[must_use]
    pub const fn then_dead_letter(mut self) -> Self {
        self.last = Last::DeadLetter;
        self
    }

    /// After the retries: stop the service.
    #[must_use]
    pub const fn then_stop(mut self) -> Self {
        self.last = Last::Stop;
        self
    }

    /// The share of an input's records, 0 to 1, that may go to its dead-letter topic before the service stops: a bad
    /// deployment must not drain a topic. It is taken over the latest 10,000 records of a thread, and ten records always may; one that is replayed counts once.
    /// Default: 0.1; 1 is no limit.
    #[must_use]
    pub const fn dead_letter_limit(mut self, share: f64) -> Self {
        self.dead_letter_limit = share;
        self
    }

    /// The wait before retry `attempt`, counted from 1.
    pub(crate) fn wait(&self, attempt: u32) -> Duration {
        doubled(self.first_wait, attempt, self.longest_wait)
    }
}

/// `first` doubled `attempt - 1` times, at most `longest`.
pub(crate) fn doubled(first: Duration, attempt: u32, longest: Duration) -> Duration {
    let factor = 1_u32 << attempt.saturating_sub(1).min(20);
    first.saturating_mul(factor).min(longest)
}

impl Default for OnError {
    /// Three retries, then stop.
    fn default() -> Self {
        Self::retry(3)
    }
}

impl std::fmt::Display for OnError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.retries > 0 {
            write!(f, "retry {} times, then ", self.retries)?;
        }
        f.write_str(match self.last {
            Last::DeadLetter => "dead letter",
            Last::Stop => "stop",
        })
    }
}

/// Where a partition is read from when the group has committed nothing for it, or when what it committed is no longer on
/// the cluster. The second is a data loss: counted, logged with the exact gap, never silent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// The first record there is.
    #[default]
    Earliest,
    /// The end: only what comes from now on.
    ///
    /// A partition that is added to the topic while the service runs is read from its start: all that is in it came after the
    /// service had begun. To know it, each member remembers how many partitions there were when the group gave it its first share;
    /// one that starts later and finds nothing committed begins at the end.
    Latest,
    /// Nowhere: the service stops with an error that names the partition and the gap.
    Fail,
}

/// The delivery guarantee.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Delivery {
    /// A record is committed after all of its effects are acknowledged: after a failure it may be processed again.
    #[default]
    AtLeastOnce,
}

/// The budgets and choices of a service, with their defaults.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) threads: usize,
    pub(crate) on_error: OnError,
    pub(crate) start: Start,
    pub(crate) delivery: Delivery,
    pub(crate) commit_every: Duration,
    pub(crate) drain_within: Duration,
    pub(crate) session_timeout: Duration,
    pub(crate) max_bytes_in_flight: usize,
    pub(crate) http: Option<SocketAddr>,
    pub(crate) health: Option<Health>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            threads: 1,
            on_error: OnError::default(),
            start: Start::default(),
            delivery: Delivery::default(),
            commit_every: Duration::from_secs(1),
            drain_within: Duration::from_secs(3),
            session_timeout: Duration::from_secs(45),
            max_bytes_in_flight: 32 << 20,
            http: None,
            health: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_longest() {
        let policy =
            OnError::retry(9).backoff(Duration::from_millis(100), Duration::from_millis(500));
        let waits: Vec<u128> = (1..=5).map(|n| policy.wait(n).as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 500, 500]);
        assert_eq!(policy.wait(u32::MAX).as_millis(), 500);
    }
}
