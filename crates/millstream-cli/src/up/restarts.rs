//! When a service that ended badly starts again: exponential back-off with jitter, and an end to it.
//!
//! A pure state machine of one service. A service that lived `HEALTHY` is taken as recovered and starts again from
//! the shortest delay; one that dies `LIMIT` times in a row without living that long is in a crash loop and is
//! given up, for the next start would only burn time (fault 7).

use std::time::Duration;

/// A service that lived this long has recovered from what ended it before.
const HEALTHY: Duration = Duration::from_secs(10);
/// So many short lives in a row are a crash loop.
const LIMIT: u32 = 6;
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(15);

/// What to do with a service that has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Start it again after this time.
    Again(Duration),
    /// Leave it; it failed this often in a row.
    GiveUp(u32),
}

/// The failures of one service.
#[derive(Debug, Default)]
pub(crate) struct Restarts {
    in_a_row: u32,
    total: u32,
}

impl Restarts {
    /// The service failed after it ran for `lived`; `jitter` lies in 0 to 1.
    pub(crate) fn failed(&mut self, lived: Duration, jitter: f64) -> Verdict {
        self.in_a_row = if lived >= HEALTHY {
            1
        } else {
            self.in_a_row + 1
        };
        if self.in_a_row >= LIMIT {
            return Verdict::GiveUp(self.in_a_row);
        }
        self.total += 1;
        let doubled = SHORTEST
            .saturating_mul(1 << (self.in_a_row - 1))
            .min(LONGEST);
        // Half fixed, half drawn: services that fell together do not come back together.
        Verdict::Again(doubled.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0)))
    }

    /// Somebody starts the service by hand: it gets all its chances again.
    pub(crate) fn forgive(&mut self) {
        self.in_a_row = 0;
    }

    /// How often the service was started again.
    pub(crate) fn total(&self) -> u32 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::from_millis(5);

    /// Fault 7: a crash loop backs off, then is given up.
    #[test]
    fn delays_double_until_the_service_is_given_up() {
        let mut restarts = Restarts::default();
        let verdicts: Vec<Verdict> = (0..6).map(|_| restarts.failed(AT_ONCE, 1.0)).collect();
        let again = |ms| Verdict::Again(Duration::from_millis(ms));
        assert_eq!(
            verdicts,
            [
                again(250),
                again(500),
                again(1000),
                again(2000),
                again(4000),
                Verdict::GiveUp(6)
            ]
        );
        assert_eq!(restarts.total(), 5);
    }

    #[test]
    fn a_long_life_forgives_what_was_before() {
        let mut restarts = Restarts::default();
        for _ in 0..5 {
            restarts.failed(AT_ONCE, 1.0);
        }
        assert_eq!(restarts.failed(HEALTHY, 1.0), Verdict::Again(SHORTEST));
        assert_eq!(restarts.total(), 6);
    }

    #[test]
    fn jitter_takes_at_most_half_of_the_delay() {
        assert_eq!(
            Restarts::default().failed(AT_ONCE, 0.0),
            Verdict::Again(SHORTEST / 2)
        );
        assert_eq!(
            Restarts::default().failed(AT_ONCE, 7.0),
            Verdict::Again(SHORTEST)
        );
    }
}
