//! The figures of one service over all its lives: records, failures, lag, rate, and whether it responds.
//!
//! Every change is a method named after what happened; time is an argument. A figure that is not known is `None`,
//! never a stale number.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::figures::Figures;

/// The rate shown is that of the last so many samples.
const SAMPLES: usize = 6;
/// A service that has not responded for this long does not respond.
const SILENT: Duration = Duration::from_secs(3);
/// So many scrapes without a response in a row: one that was late because the machine is busy is no silence.
const MISSES: u32 = 3;

/// The figures of one service.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// Records and failures of the earlier lives.
    earlier: Counts,
    /// Those of this life, once it has reported some.
    counts: Option<Counts>,
    lag: Option<u64>,
    samples: VecDeque<(Instant, u64)>,
    /// How long its processes have run, the present one not counted.
    ran: Duration,
    since: Option<Instant>,
    silence: Option<Silence>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    records: Option<u64>,
    failed: Option<u64>,
}

/// Scrapes in a row that had no response.
#[derive(Debug, Clone, Copy)]
struct Silence {
    since: Instant,
    misses: u32,
}

impl Account {
    /// A life began.
    pub(crate) fn began(&mut self, now: Instant) {
        self.since = Some(now);
        self.silence = None;
    }

    /// A life ended; how long it was.
    pub(crate) fn ended(&mut self, now: Instant) -> Duration {
        let lived = self
            .since
            .take()
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.ran += lived;
        self.lag = None;
        self.silence = None;
        self.samples.clear();
        if let Some(counts) = self.counts.take() {
            self.earlier.records = sum(self.earlier.records, counts.records);
            self.earlier.failed = sum(self.earlier.failed, counts.failed);
        }
        lived
    }

    /// It reported how many records it has handled in this life.
    pub(crate) fn handled(&mut self, records: u64) {
        self.counts.get_or_insert_default().records = Some(records);
    }

    /// It reported how often it has failed in this life.
    pub(crate) fn failed_in_all(&mut self, failures: u64) {
        self.counts.get_or_insert_default().failed = Some(failures);
    }

    /// It reported `figures`.
    pub(crate) fn reported(&mut self, figures: &Figures, now: Instant) {
        self.silence = None;
        self.lag = figures.lag;
        let counts = self.counts.get_or_insert_default();
        counts.failed = figures.failed.or(counts.failed);
        if let Some(records) = figures.records {
            counts.records = Some(records);
            self.samples.push_back((now, records));
            if self.samples.len() > SAMPLES {
                self.samples.pop_front();
            }
        }
    }

    /// It was `asked` and did not respond.
    pub(crate) fn missed(&mut self, asked: Instant) {
        self.samples.clear();
        self.lag = None;
        let silence = self.silence.get_or_insert(Silence {
            since: asked,
            misses: 0,
        });
        silence.misses += 1;
    }

    /// For how long it has not responded, once that is more than a hiccup.
    pub(crate) fn silent_for(&self, now: Instant) -> Option<Duration> {
        let silence = self.silence.filter(|silence| silence.misses >= MISSES)?;
        let silent = now.saturating_duration_since(silence.since);
        (silent >= SILENT).then_some(silent)
    }

    /// Records handled, over all lives.
    pub(crate) fn records(&self) -> Option<u64> {
        sum(
            self.earlier.records,
            self.counts.and_then(|counts| counts.records),
        )
    }

    /// Failures, over all lives.
    pub(crate) fn failed(&self) -> Option<u64> {
        sum(
            self.earlier.failed,
            self.counts.and_then(|counts| counts.failed),
        )
    }

    /// Records still to be read.
    pub(crate) fn lag(&self) -> Option<u64> {
        self.lag
    }

    /// Records per second, lately.
    pub(crate) fn recent_rate(&self) -> Option<f64> {
        let ((then, before), (now, after)) = (self.samples.front()?, self.samples.back()?);
        (now > then).then(|| per_second(after.saturating_sub(*before), *now - *then))
    }

    /// Records per second over the time that the service itself ran.
    pub(crate) fn overall_rate(&self, now: Instant) -> Option<f64> {
        let present = self
            .since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        Some(per_second(self.records()?, self.ran + present))
    }
}

fn sum(a: Option<u64>, b: Option<u64>) -> Option<u64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (one, other) => one.or(other),
    }
}

fn per_second(records: u64, time: Duration) -> f64 {
    let seconds = time.as_secs_f64();
    if seconds > 0.0 {
        records as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(records: u64) -> Figures {
        Figures {
            ready: true,
            records: Some(records),
            lag: Some(3),
            failed: Some(1),
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn samples_give_the_recent_rate() {
        let (mut account, now) = (Account::default(), Instant::now());
        account.reported(&figures(100), now);
        account.reported(&figures(120), now + SECOND * 2);
        assert_eq!(
            (account.recent_rate(), account.records(), account.lag()),
            (Some(10.0), Some(120), Some(3))
        );
        account.missed(now + SECOND * 3);
        assert_eq!(
            (account.recent_rate(), account.records(), account.lag()),
            (None, Some(120), None)
        );
    }

    /// A producer that was done after two seconds of a long run was twice as fast as after four.
    #[test]
    fn the_overall_rate_is_over_the_time_that_the_service_ran() {
        let (mut account, now) = (Account::default(), Instant::now());
        account.began(now);
        account.handled(100);
        assert_eq!(account.ended(now + SECOND * 2), SECOND * 2);
        assert_eq!(account.overall_rate(now + SECOND * 60), Some(50.0));
        account.began(now + SECOND * 60);
        account.handled(20);
        assert_eq!(account.overall_rate(now + SECOND * 62), Some(30.0));
    }

    #[test]
    fn records_and_failures_add_up_over_lives() {
        let (mut account, now) = (Account::default(), Instant::now());
        account.reported(&figures(100), now);
        account.ended(now);
        account.reported(&figures(7), now);
        assert_eq!((account.records(), account.failed()), (Some(107), Some(2)));
    }

    #[test]
    fn one_late_response_is_no_silence_and_many_are() {
        let (mut account, now) = (Account::default(), Instant::now());
        account.missed(now);
        account.missed(now + SECOND * 4);
        assert_eq!(account.silent_for(now + SECOND * 5), None);
        account.missed(now + SECOND * 5);
        assert_eq!(account.silent_for(now + SECOND * 6), Some(SECOND * 6));
        account.reported(&figures(1), now + SECOND * 7);
        assert_eq!(account.silent_for(now + SECOND * 7), None);
    }
}
