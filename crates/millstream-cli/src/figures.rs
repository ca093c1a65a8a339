//! What a service's metrics say of it in a few numbers, read from the text that `/metrics` gives.
//!
//! The supervisor reads it from its children, and a child reads its own at its end, for nobody can ask it any more.

/// The figures of one service at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Figures {
    /// Whether `/readyz` answers 200.
    pub(crate) ready: bool,
    /// Records handled: read by a service, or acknowledged to a program that only writes.
    pub(crate) records: Option<u64>,
    /// Records still to be read.
    pub(crate) lag: Option<u64>,
}

/// The figures in an exposition; readiness is not part of it.
pub(crate) fn read(metrics: &str) -> Figures {
    let records_in = sum(metrics, "millstream_records_in_total");
    let records_out = sum(metrics, "millstream_records_out_total");
    Figures {
        ready: false,
        records: records_in
            .filter(|records| *records > 0.0)
            .or(records_out)
            .map(count),
        lag: sum(metrics, "millstream_lag_offsets").map(count),
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
            millstream_records_in_total_other 100\nmillstream_lag_offsets{topic=\"a\"} 3\n";
        assert_eq!(
            read(text),
            Figures {
                ready: false,
                records: Some(12),
                lag: Some(3)
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
                lag: None
            }
        );
    }

    #[test]
    fn nothing_said_is_nothing_known() {
        assert_eq!(read("something else"), Figures::default());
    }
}
