//! A few numbers about a service, read from the text of its `/metrics`.
//!
//! The supervisor reads it from its children, and a child reads its own at its end, when nobody can ask it any longer.

/// The figures of one service at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    /// Whether `/readyz` returns 200.
    pub(crate) ready: bool,
    /// Records handled: read by a service, or acknowledged to a program that only writes.
    pub(crate) records: Option<u64>,
    /// Records still to be read.
    pub(crate) lag: Option<u64>,
    /// Attempts at records that failed, and records that were given up on.
    pub(crate) failed: Option<u64>,
}

/// The counters of failures: of handlers, and of programs that only write.
const FAILURES: [&str; 2] = [
    "millstream_records_failed_total",
    "millstream_emitter_failed_total",
];

/// The figures in an exposition; readiness is not part of it.
pub(crate) fn read(metrics: &str) -> Figures {
    let records_in = sum(metrics, "millstream_records_in_total");
    let records_out = sum(metrics, "millstream_records_out_total");
    // A counter appears with its first event.
    let known = records_in.or(records_out).map(|_| 0.0);
    Figures {
        ready: false,
        records: records_in
            .filter(|records| *records > 0.0)
            .or(records_out)
            .map(count),
        lag: sum(metrics, "millstream_lag_offsets").map(count),
        failed: FAILURES
            .into_iter()
            .filter_map(|name| sum(metrics, name))
            .chain(known)
            .reduce(|a, b| a + b)
            .map(count),
    }
}

/// The sum over all series of the metric `name`.
fn sum(metrics: &str, name: &str) -> Option<f64> {
    let value = |line: &str| -> Option<f64> {
        let rest = line.strip_prefix(name)?;
        let rest = rest.starts_with(['{', ' ']).then_some(rest)?;
        rest.rsplit(' ').next()?.parse().ok()
    };
    metrics.lines().filter_map(value).reduce(|a, b| a + b)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counters and gauges of counts; `as` saturates"
)]
fn count(value: f64) -> u64 {
    value.max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_metric_are_added_up() {
        let text = "# HELP millstream_records_in_total records\n# TYPE millstream_records_in_total counter\n\
            millstream_records_in_total{topic=\"a b\",partition=\"0\"} 5\nmillstream_records_in_total{topic=\"b\"} 7\n\
            millstream_records_in_total_other 100\nmillstream_lag_offsets{topic=\"a\"} 3\n\
            millstream_records_failed_total{service=\"s\"} 2\nmillstream_emitter_failed_total 1\n";
        assert_eq!(
            read(text),
            Figures {
                ready: false,
                records: Some(12),
                lag: Some(3),
                failed: Some(3)
            }
        );
    }

    #[test]
    fn a_program_that_only_writes_shows_what_it_wrote() {
        let text = "millstream_records_in_total 0\nmillstream_records_out_total{topic=\"a\"} 9\n";
        assert_eq!(
            read(text),
            Figures {
                ready: false,
                records: Some(9),
                lag: None,
                failed: Some(0)
            }
        );
    }

    #[test]
    fn nothing_said_is_nothing_known() {
        assert_eq!(read("something else"), Figures::default());
    }
}
