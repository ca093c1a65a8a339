//! What sender and receiver count, and how it reads: rates, failure rate, latency at p50 and p99.
//!
//! Only arithmetic: the callers give the moments, so that the figures can be tested to the digit. A figure that
//! has no value yet (a rate over no time, a quantile of nothing) is zero, never NaN.

use std::time::Duration;

use hdrhistogram::Histogram;
use millstream::Moment;
use serde::Serialize;

/// The outcome of every message that was handed to the producer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deliveries {
    /// Messages the cluster has acknowledged.
    pub delivered: u64,
    /// Messages that were given up: refused, or not acknowledged in time or before the end.
    pub failed: u64,
}

impl Deliveries {
    /// All messages whose outcome is known.
    #[must_use]
    pub fn known(&self) -> u64 {
        self.delivered + self.failed
    }
}

/// The statistics of a sender over some time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SendStatistics {
    /// Messages acknowledged since the start.
    pub delivered: u64,
    /// Messages given up since the start.
    pub failed: u64,
    /// Failed messages over all whose outcome is known, 0 to 1.
    pub failure_rate: f64,
    /// Acknowledged messages per second.
    pub messages_per_second: f64,
    /// The time these figures cover, in seconds.
    pub seconds: f64,
}

impl SendStatistics {
    /// The statistics of `outcomes`, of which `recent` were acknowledged in the last `elapsed`.
    #[must_use]
    pub fn new(outcomes: Deliveries, recent: u64, elapsed: Duration) -> Self {
        Self {
            delivered: outcomes.delivered,
            failed: outcomes.failed,
            failure_rate: ratio(outcomes.failed, outcomes.known()),
            messages_per_second: rate(recent, elapsed),
            seconds: elapsed.as_secs_f64(),
        }
    }
}

/// Latencies and counts of a receiver, for the last interval and since the start.
#[derive(Debug, Clone)]
pub struct Latencies {
    recent: Histogram<u64>,
    all: Histogram<u64>,
    since: Moment,
    started: Moment,
}

/// The statistics of a receiver over some time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReceiveStatistics {
    /// Messages received since the start.
    pub total: u64,
    /// Messages per second.
    pub messages_per_second: f64,
    /// Half of the messages were on their way for at most this long, in milliseconds.
    pub latency_p50_ms: f64,
    /// 99 % of the messages were on their way for at most this long, in milliseconds.
    pub latency_p99_ms: f64,
    /// The time rate and latencies cover, in seconds.
    pub seconds: f64,
}

/// Latencies above an hour count as an hour: such a message lay in the topic, it was not slow.
const LONGEST: Duration = Duration::from_secs(3600);

impl Latencies {
    /// An empty account that starts at `now`.
    #[must_use]
    pub fn new(now: Moment) -> Self {
        // Two digits: a value is told within 1 %, in 40 KB.
        let empty = histogram();
        Self {
            recent: empty.clone(),
            all: empty,
            since: now,
            started: now,
        }
    }

    /// One more message, `latency` on its way.
    pub fn add(&mut self, latency: Duration) {
        let micros = u64::try_from(latency.min(LONGEST).as_micros()).unwrap_or(u64::MAX);
        self.recent.saturating_record(micros);
        self.all.saturating_record(micros);
    }

    /// Messages since the start.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.all.len()
    }

    /// The statistics since they were last taken, once that is `every` ago; `None` before, and when nothing came.
    pub fn take_due(&mut self, now: Moment, every: Duration) -> Option<ReceiveStatistics> {
        let elapsed = now.since(self.since);
        if elapsed < every {
            return None;
        }
        let recent =
            (!self.recent.is_empty()).then(|| figures(&self.recent, self.total(), elapsed));
        self.recent.reset();
        self.since = now;
        recent
    }

    /// The statistics since the start.
    #[must_use]
    pub fn overall(&self, now: Moment) -> ReceiveStatistics {
        figures(&self.all, self.total(), now.since(self.started))
    }
}

#[expect(
    clippy::expect_used,
    reason = "the bounds are constants that a histogram takes: 1 to an hour in microseconds, 2 digits"
)]
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("constant bounds")
}

fn figures(of: &Histogram<u64>, total: u64, elapsed: Duration) -> ReceiveStatistics {
    ReceiveStatistics {
        total,
        messages_per_second: rate(of.len(), elapsed),
        latency_p50_ms: milliseconds(of.value_at_quantile(0.50)),
        latency_p99_ms: milliseconds(of.value_at_quantile(0.99)),
        seconds: elapsed.as_secs_f64(),
    }
}

fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1000.0
}

fn rate(count: u64, elapsed: Duration) -> f64 {
    let seconds = elapsed.as_secs_f64();
    if seconds > 0.0 {
        exact(count) / seconds
    } else {
        0.0
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        exact(part) / exact(whole)
    }
}

/// Counts beyond 2^53 lose their last digits here, which no rate shows.
fn exact(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_nothing_are_zero() {
        let none = SendStatistics::new(Deliveries::default(), 0, Duration::ZERO);
        assert_eq!((none.failure_rate, none.messages_per_second), (0.0, 0.0));
    }

    #[test]
    fn failure_rate_counts_known_outcomes_only() {
        let some = SendStatistics::new(
            Deliveries {
                delivered: 75,
                failed: 25,
            },
            50,
            Duration::from_secs(5),
        );
        assert_eq!((some.failure_rate, some.messages_per_second), (0.25, 10.0));
    }

    #[test]
    fn recent_figures_start_anew_and_the_total_goes_on() {
        let start = Moment::default();
        let mut latencies = Latencies::new(start);
        for _ in 0..99 {
            latencies.add(Duration::from_millis(1));
        }
        latencies.add(Duration::from_millis(50));
        let every = Duration::from_secs(10);
        assert_eq!(
            latencies.take_due(start.plus(Duration::from_secs(9)), every),
            None
        );
        let first = latencies
            .take_due(start.plus(Duration::from_secs(10)), every)
            .unwrap();
        assert_eq!((first.total, first.messages_per_second), (100, 10.0));
        // Two digits: a bucket's upper end lies within 1 % of the value.
        assert!((first.latency_p50_ms - 1.0).abs() < 0.01, "{first:?}");
        assert!((first.latency_p99_ms - 1.0).abs() < 0.01, "{first:?}");
        assert_eq!(
            latencies.take_due(start.plus(Duration::from_secs(20)), every),
            None
        );
        assert_eq!(
            latencies
                .overall(start.plus(Duration::from_secs(20)))
                .messages_per_second,
            5.0
        );
    }

    #[test]
    fn a_message_of_last_year_counts_as_an_hour() {
        let start = Moment::default();
        let mut latencies = Latencies::new(start);
        latencies.add(Duration::from_secs(365 * 24 * 3600));
        let overall = latencies.overall(start.plus(Duration::from_secs(1)));
        assert!(
            (overall.latency_p99_ms - 3_600_000.0).abs() / 3_600_000.0 < 0.01,
            "{overall:?}"
        );
    }
}
