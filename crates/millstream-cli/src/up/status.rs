//! What `up` shows of its services: a row each, as a block for a terminal, as one plain line, and as the summary.
//!
//! Only text from values: no clock, no terminal. A figure that is not known is `-`, never a stale number.

use std::time::Duration;

use serde::Serialize;

use crate::output::table;

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its process runs, its work has not begun.
    Starting,
    /// It says that it is ready.
    Running,
    /// It failed and starts again soon.
    BackOff,
    /// It was asked to end.
    Stopping,
    /// It ended by itself, its work done.
    Finished,
    /// It ended because it was asked to.
    Stopped,
    /// It failed for good, or did not end when asked.
    Failed,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::BackOff => "back-off",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// What is known of one service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) service: String,
    /// Its state.
    pub(crate) state: State,
    /// Its process, while it has one.
    pub(crate) pid: Option<u32>,
    /// Records handled per second, lately.
    pub(crate) records_per_second: Option<f64>,
    /// Records handled since `up` started, over all of its lives.
    pub(crate) records: Option<u64>,
    /// Records of its topics that its group has still to read.
    pub(crate) lag: Option<u64>,
    /// How often it was started again.
    pub(crate) restarts: u32,
    /// Why it last failed.
    pub(crate) reason: Option<String>,
}

impl Row {
    fn cells(&self) -> [String; 8] {
        [
            self.service.clone(),
            self.state.word().to_owned(),
            or_dash(self.pid),
            self.records_per_second.map_or_else(|| "-".to_owned(), rate),
            or_dash(self.records),
            or_dash(self.lag),
            self.restarts.to_string(),
            self.reason.clone().unwrap_or_default(),
        ]
    }
}

const HEADS: [&str; 8] = [
    "SERVICE",
    "STATE",
    "PID",
    "RECORDS/S",
    "RECORDS",
    "LAG",
    "RESTARTS",
    "LAST FAILURE",
];

/// The block that is drawn again and again at the foot of a terminal.
pub(crate) fn block(rows: &[Row], title: &str, up: Duration, stopping: bool) -> String {
    let hint = if stopping {
        "stopping; Ctrl-C again ends at once"
    } else {
        "Ctrl-C to stop"
    };
    let cells: Vec<[String; 8]> = rows.iter().map(Row::cells).collect();
    format!(
        "\n{title} · {} · {hint}\n{}",
        clock(up),
        table(HEADS, &cells)
    )
}

/// The same in one line, for logs.
pub(crate) fn line(rows: &[Row]) -> String {
    let row = |row: &Row| {
        let mut text = format!("{} {}", row.service, row.state.word());
        if let Some(per_second) = row.records_per_second {
            text.push_str(&format!(" {} records/s", rate(per_second)));
        }
        if let Some(records) = row.records {
            text.push_str(&format!(" {records} records"));
        }
        if let Some(lag) = row.lag {
            text.push_str(&format!(" lag {lag}"));
        }
        if row.restarts > 0 {
            text.push_str(&format!(" {} restarts", row.restarts));
        }
        text
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// The table that stays when everything has ended.
pub(crate) fn summary(rows: &[Row]) -> String {
    let heads = [
        "SERVICE",
        "STATE",
        "RECORDS",
        "RECORDS/S",
        "RESTARTS",
        "LAST FAILURE",
    ];
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            let [service, state, _, per_second, records, _, restarts, reason] = row.cells();
            [service, state, records, per_second, restarts, reason]
        })
        .collect();
    table(heads, &cells)
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn rate(per_second: f64) -> String {
    if per_second < 100.0 {
        format!("{per_second:.1}")
    } else {
        format!("{per_second:.0}")
    }
}

fn clock(up: Duration) -> String {
    let seconds = up.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let send = Row {
            service: "send".to_owned(),
            state: State::Running,
            pid: Some(71),
            records_per_second: Some(9.96),
            records: Some(120),
            lag: None,
            restarts: 0,
            reason: None,
        };
        let receive = Row {
            service: "receive".to_owned(),
            state: State::BackOff,
            pid: None,
            records_per_second: None,
            records: None,
            lag: Some(4),
            restarts: 2,
            reason: Some("killed by signal 9".to_owned()),
        };
        vec![send, receive]
    }

    #[test]
    fn the_block_has_a_row_a_service() {
        let expected = "\nbroker 127.0.0.1:9092 · 01:05 · Ctrl-C to stop\n\
            SERVICE  STATE     PID  RECORDS/S  RECORDS  LAG  RESTARTS  LAST FAILURE\n\
            send     running    71       10.0      120    -         0\n\
            receive  back-off    -          -        -    4         2  killed by signal 9\n";
        assert_eq!(
            block(
                &rows(),
                "broker 127.0.0.1:9092",
                Duration::from_secs(65),
                false
            ),
            expected
        );
    }

    #[test]
    fn the_line_leaves_out_what_is_not_known() {
        assert_eq!(
            line(&rows()),
            "send running 10.0 records/s 120 records, receive back-off lag 4 2 restarts"
        );
    }

    #[test]
    fn the_summary_tells_state_and_totals() {
        let expected = "SERVICE  STATE     RECORDS  RECORDS/S  RESTARTS  LAST FAILURE\n\
            send     running       120       10.0         0\n\
            receive  back-off        -          -         2  killed by signal 9\n";
        assert_eq!(summary(&rows()), expected);
    }

    #[test]
    fn hours_appear_when_there_are_some() {
        assert_eq!(
            (
                clock(Duration::from_secs(59)),
                clock(Duration::from_secs(3661))
            ),
            ("00:59".to_owned(), "1:01:01".to_owned())
        );
    }
}
