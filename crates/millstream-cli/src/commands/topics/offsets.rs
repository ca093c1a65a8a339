//! `millstream topics offsets`: where partitions start and end, and where a point in time lies in them.
//!
//! An offset by time is that of the first record with this time or a later one; a partition without such a record has
//! none, and shows `-`.

use millstream::Timestamp;
use millstream::admin::Admin;
use serde::Serialize;

use super::length;
use crate::Outcome;
use crate::output::{Output, counted, or_dash};
use crate::place;

/// Which offsets to show.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream topics offsets calls\n  millstream topics offsets calls --at -1h\n  millstream topics offsets calls --at 2026-11-21T08:00:00Z --json"
)]
pub(super) struct Offsets {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Also the offset of the first record with this time or a later one: 2026-11-21T08:00:00Z, 2026-11-21 (UTC), or -10m
    #[arg(long, value_name = "TIME", value_parser = place::parse_time, allow_hyphen_values = true)]
    at: Option<Timestamp>,
    /// Prints one JSON object per partition
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Partition {
    topic: String,
    partition: i32,
    start: i64,
    end: i64,
    /// The first offset at the asked time or later; null if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Option<i64>>,
}

impl Partition {
    /// Offsets from the asked time on.
    fn since(&self) -> u64 {
        let at = self.at.flatten().unwrap_or(self.end);
        length(at, self.end)
    }
}

impl Offsets {
    pub(super) fn run(&self, admin: &Admin) -> anyhow::Result<Outcome> {
        let mut output = Output::new(self.json);
        for topic in &self.topics {
            let rows = self.partitions(admin, topic)?;
            if !self.json {
                output.line(self.headline(topic, &rows))?;
            }
            let cells = |row: &Partition| {
                [
                    row.partition.to_string(),
                    row.start.to_string(),
                    row.end.to_string(),
                    length(row.start, row.end).to_string(),
                ]
            };
            match self.at {
                None => output.rows(["PARTITION", "START", "END", "RECORDS"], &rows, cells)?,
                Some(_) => output.rows(
                    ["PARTITION", "START", "END", "RECORDS", "AT", "SINCE"],
                    &rows,
                    |row| {
                        let [partition, start, end, records] = cells(row);
                        let at = or_dash(row.at.flatten());
                        [partition, start, end, records, at, row.since().to_string()]
                    },
                )?,
            }
        }
        Ok(Outcome::Done)
    }

    fn partitions(&self, admin: &Admin, topic: &str) -> anyhow::Result<Vec<Partition>> {
        let timed = match self.at {
            Some(time) => Some(admin.offsets_at(topic, time)?),
            None => None,
        };
        let row = |(partition, range): (millstream::Partition, millstream::reader::Range)| {
            let at = |timed: &std::collections::BTreeMap<_, millstream::NextOffset>| {
                timed.get(&partition).map(|offset| offset.get())
            };
            Partition {
                topic: topic.to_owned(),
                partition: partition.0,
                start: range.start.get(),
                end: range.end.get(),
                at: timed.as_ref().map(at),
            }
        };
        Ok(admin.ranges(topic)?.into_iter().map(row).collect())
    }

    fn headline(&self, topic: &str, rows: &[Partition]) -> String {
        let records: u64 = rows.iter().map(|row| length(row.start, row.end)).sum();
        let mut text = format!(
            "topic {topic}: {} in {}",
            counted(records, "record"),
            counted(rows.len(), "partition")
        );
        if let Some(time) = self.at.and_then(place::text_of) {
            let since: u64 = rows.iter().map(Partition::since).sum();
            text.push_str(&format!(", {since} since {time}"));
        }
        text
    }
}
