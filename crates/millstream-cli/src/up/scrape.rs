//! What a service says of itself over HTTP: whether it is ready, and its counters.
//!
//! A request is one HTTP/1.0 exchange over loopback with a deadline and a bound on the answer, so that a service
//! that hangs costs a blank in its row and nothing else. Of the Prometheus text only the wanted series are read.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A service on this machine that takes longer is busy or stopped.
const DEADLINE: Duration = Duration::from_millis(800);
/// An exposition of one service is some KiB.
const LONGEST_ANSWER: u64 = 1 << 20;

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

/// Asks the service at `address`; `None` when it does not answer.
pub(crate) async fn figures(address: SocketAddr) -> Option<Figures> {
    timeout(DEADLINE, async {
        let (ready, _) = get(address, "/readyz").await?;
        let (_, metrics) = get(address, "/metrics").await?;
        Some(Figures {
            ready,
            ..read(&metrics)
        })
    })
    .await
    .ok()
    .flatten()
}

/// Whether the answer was 200, and its body.
async fn get(address: SocketAddr, path: &str) -> Option<(bool, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream
        .write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())
        .await
        .ok()?;
    let mut answer = String::new();
    stream
        .take(LONGEST_ANSWER)
        .read_to_string(&mut answer)
        .await
        .ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1) == Some("200"), body.to_owned()))
}

fn read(metrics: &str) -> Figures {
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
