//! What `up` shows of its services: a row each, as a block for a terminal, as one plain line, and as the summary.
//!
//! Only text from values: no clock, no terminal. A figure that is not known is `-`, never a stale number. A narrow
//! terminal shows fewer columns: those that say least go first, and the name and the state of a service stay.

use std::fmt::Write as _;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::output::aligned;
use crate::screen::Size;

/// Where a service is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Its process runs, its work has not begun.
    Starting,
    /// It reports that it is ready.
    Running,
    /// Its process is there and does not respond.
    Unresponsive,
    /// It failed and starts again soon.
    Restarting,
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
            Self::Unresponsive => "unresponsive",
            Self::Restarting => "restarting",
            Self::Stopping => "stopping",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }
}

/// What is known of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) service: String,
    /// Its state.
    pub(crate) state: State,
    /// Its process, while it has one.
    pub(crate) pid: Option<u32>,
    /// Records handled per second: lately, or in a summary over the time that the service ran.
    pub(crate) records_per_second: Option<f64>,
    /// Records handled since `up` started, over all of its lives.
    pub(crate) records: Option<u64>,
    /// Records of its topics that its group has still to read.
    pub(crate) lag: Option<u64>,
    /// Attempts at records that failed, and records that were given up on.
    pub(crate) failed: Option<u64>,
    /// For how long it has not responded.
    pub(crate) silent_seconds: Option<u64>,
    /// How often it was started again after a failure.
    pub(crate) restarts: u32,
    /// Where its readiness can be asked.
    pub(crate) health: Option<String>,
    /// How it last failed.
    pub(crate) last_failure: Option<String>,
}

/// What is known of a whole `up`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The process that supervises.
    pub(crate) pid: u32,
    /// Where the services find their broker.
    pub(crate) brokers: String,
    /// The data folder of the embedded broker, if there is one.
    pub(crate) data: Option<String>,
    /// Seconds since the start.
    pub(crate) seconds: u64,
    /// Whether it was asked to end.
    pub(crate) stopping: bool,
    /// A row for each service.
    pub(crate) services: Vec<Row>,
}

impl Status {
    /// What runs, and since when.
    pub(crate) fn title(&self) -> String {
        let broker = title(&self.brokers, self.data.as_deref());
        format!("{broker} · {}", clock(Duration::from_secs(self.seconds)))
    }

    /// The whole as text for `columns`.
    pub(crate) fn text(&self, columns: usize) -> String {
        let mut text = wrapped(&[&self.title(), &format!("process {}", self.pid)], columns);
        text.push_str(&table(&self.services, columns_of(&self.services), columns));
        text
    }
}

/// The broker in a few words.
pub(crate) fn title(brokers: &str, data: Option<&str>) -> String {
    match data {
        Some(data) => format!("broker {brokers} in {data}"),
        None => format!("cluster {brokers}"),
    }
}

/// The block that is drawn again and again at the foot of a terminal.
#[derive(Debug)]
pub(crate) struct Block<'a> {
    /// The first line, in parts that are kept whole.
    pub(crate) head: &'a [&'a str],
    /// The services.
    pub(crate) rows: &'a [Row],
    /// The one that keys act on.
    pub(crate) chosen: Option<usize>,
    /// Lines below the table.
    pub(crate) foot: &'a [&'a str],
}

impl Block<'_> {
    /// Its text for a terminal of this size. Services that do not fit are counted.
    pub(crate) fn text(&self, size: Size) -> String {
        let mut text = String::from("\n");
        text.push_str(&wrapped(self.head, size.columns));
        let mut foot = String::new();
        for line in self.foot {
            _ = writeln!(foot, "{line}");
        }
        let table = table(self.rows, self.columns(), size.columns);
        let height = |text: &str| text.lines().count();
        let room = size
            .rows
            .saturating_sub(height(&text) + height(&foot) + 1)
            .max(2);
        let lines: Vec<&str> = table.lines().collect();
        if lines.len() <= room {
            text.push_str(&table);
        } else {
            for line in lines.iter().take(room - 1) {
                _ = writeln!(text, "{line}");
            }
            _ = writeln!(text, "and {} more lines", lines.len() - (room - 1));
        }
        text.push_str(&foot);
        text
    }

    /// The columns, with a mark before the service that is chosen.
    fn columns(&self) -> Vec<Column> {
        let mut columns = columns_of(self.rows);
        if let (Some(chosen), Some(names)) = (self.chosen, columns.first_mut()) {
            for (position, cell) in names.cells.iter_mut().enumerate() {
                cell.insert_str(0, if position == chosen { "> " } else { "  " });
            }
        }
        columns
    }
}

/// Parts, joined to lines of at most `columns` characters.
fn wrapped(parts: &[&str], columns: usize) -> String {
    const BETWEEN: &str = " · ";
    let mut text = String::new();
    let mut used = 0;
    for part in parts.iter().flat_map(|part| part.split(BETWEEN)) {
        let width = part.chars().count();
        if used > 0 && used + BETWEEN.chars().count() + width > columns {
            text.push('\n');
            used = 0;
        }
        if used > 0 {
            text.push_str(BETWEEN);
            used += BETWEEN.chars().count();
        }
        text.push_str(part);
        used += width;
    }
    text.push('\n');
    text
}

/// One column: its cells, and how long it is kept as the terminal gets narrower.
struct Column {
    head: &'static str,
    cells: Vec<String>,
    keep: u8,
}

/// A column that is never dropped.
const ALWAYS: u8 = u8::MAX;

/// The table of services, in at most `width` characters a line if that is possible at all. A last failure for which
/// there is no column stands below.
fn table(rows: &[Row], mut shown: Vec<Column>, width: usize) -> String {
    if rows.iter().any(|row| row.last_failure.is_some()) {
        let failure = |row: &Row| row.last_failure.clone().unwrap_or_default();
        shown.push(Column {
            head: "LAST FAILURE",
            cells: rows.iter().map(failure).collect(),
            keep: ALWAYS,
        });
        if let Some(text) = fitted(&shown, width) {
            return text;
        }
        shown.pop();
    }
    while fitted(&shown, width).is_none() {
        let least = shown.iter().map(|column| column.keep).min();
        match least {
            Some(least) if least < ALWAYS => shown.retain(|column| column.keep != least),
            _ => break,
        }
    }
    let mut text = drawn(&shown);
    for row in rows {
        if let Some(failure) = &row.last_failure {
            _ = writeln!(text, "{}: {failure}", row.service);
        }
    }
    text
}

fn drawn(columns: &[Column]) -> String {
    let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
    let height = columns.first().map_or(0, |column| column.cells.len());
    let rows: Vec<Vec<String>> = (0..height)
        .map(|row| {
            let cell = |column: &Column| column.cells.get(row).cloned().unwrap_or_default();
            columns.iter().map(cell).collect()
        })
        .collect();
    aligned(&heads, &rows)
}

fn fitted(columns: &[Column], width: usize) -> Option<String> {
    let text = drawn(columns);
    text.lines()
        .all(|line| line.chars().count() <= width)
        .then_some(text)
}

/// All columns but the last failure. A column that reports trouble is kept longer than one that does not.
fn columns_of(rows: &[Row]) -> Vec<Column> {
    let column = |head, keep, cell: &dyn Fn(&Row) -> String| Column {
        head,
        cells: rows.iter().map(cell).collect(),
        keep,
    };
    let any =
        |trouble: &dyn Fn(&Row) -> bool, yes, no| if rows.iter().any(trouble) { yes } else { no };
    let restarts = any(&|row| row.restarts > 0, 6, 2);
    let failed = any(&|row| row.failed.is_some_and(|failed| failed > 0), 9, 4);
    let silent = any(&|row| row.silent_seconds.is_some(), 10, 3);
    vec![
        column("SERVICE", ALWAYS, &|row| row.service.clone()),
        column("STATE", ALWAYS, &|row| row.state.word().to_owned()),
        column("RECORDS/S", 8, &|row| {
            row.records_per_second.map_or_else(|| "-".to_owned(), rate)
        }),
        column("RECORDS", 5, &|row| or_dash(row.records)),
        column("LAG", 7, &|row| or_dash(row.lag)),
        column("FAILED", failed, &|row| or_dash(row.failed)),
        column("SILENT", silent, &|row| {
            row.silent_seconds
                .map_or_else(|| "-".to_owned(), |seconds| format!("{seconds}s"))
        }),
        column("RESTARTS", restarts, &|row| row.restarts.to_string()),
        column("HEALTH", 1, &|row| {
            let address = row.health.as_deref().map(|health| {
                health
                    .trim_start_matches("http://")
                    .trim_end_matches("/readyz")
            });
            or_dash(address)
        }),
        column("PID", 0, &|row| or_dash(row.pid)),
    ]
}

/// The services in one line, for logs.
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
        if let Some(failed) = row.failed.filter(|failed| *failed > 0) {
            text.push_str(&format!(" {failed} failed"));
        }
        if let Some(silent) = row.silent_seconds {
            text.push_str(&format!(" silent {silent} s"));
        }
        if row.restarts > 0 {
            text.push_str(&format!(" {} restarts", row.restarts));
        }
        text
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

/// The table that stays when everything has ended.
pub(crate) fn summary(rows: &[Row], width: usize) -> String {
    let mut columns = columns_of(rows);
    columns.retain(|column| !["LAG", "SILENT", "HEALTH", "PID"].contains(&column.head));
    table(rows, columns, width)
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

/// A time as minutes and seconds.
pub(crate) fn clock(up: Duration) -> String {
    let seconds = up.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes:02}:{seconds:02}")
    }
}

#[cfg(test)]
mod tests;
