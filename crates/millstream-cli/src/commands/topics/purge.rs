//! `millstream topics purge`: deletes the oldest records of a topic and keeps the topic.
//!
//! Shows what it would delete before it asks; offsets are never used again, so readers go on where they were.

use anyhow::{Context, bail, ensure};
use clap::ArgGroup;
use millstream::admin::Admin;
use millstream::{Clock as _, NextOffset, Partition, SystemClock, TopicPartition};
use serde::Serialize;

use super::length;
use crate::Outcome;
use crate::output::{Output, counted};
use crate::place::Place;
use crate::prompt::confirmed;
use millstream_systems::number;

/// What to delete.
#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(false))]
#[command(
    after_help = "Examples:\n  millstream topics purge calls --before -7d --dry-run\n  millstream topics purge calls --before 1000 --partition 0 --yes\n  millstream topics purge calls --all --yes"
)]
pub(super) struct Purge {
    /// The topic
    topic: String,
    /// Deletes the records before this place: an offset, a time (2026-11-21T08:00:00Z), or a time ago (-7d)
    #[arg(
        long,
        group = "which",
        value_name = "PLACE",
        allow_hyphen_values = true
    )]
    before: Option<String>,
    /// Deletes all records that are there now
    #[arg(long, group = "which")]
    all: bool,
    /// Only this partition; may be repeated
    #[arg(long, short, value_name = "NUMBER", value_parser = number::whole(0..=i32::MAX))]
    partition: Vec<i32>,
    /// Deletes without asking
    #[arg(long)]
    yes: bool,
    /// Only shows what would be deleted
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object per partition
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Purged {
    topic: String,
    partition: i32,
    start: i64,
    new_start: i64,
    records: u64,
    applied: bool,
}

impl Purge {
    pub(super) fn run(&self, admin: &Admin) -> anyhow::Result<Outcome> {
        let rows = self.plan(admin)?;
        self.refuse_compacted(admin)?;
        let records: u64 = rows.iter().map(|row| row.records).sum();
        if self.dry_run || !self.yes {
            self.show(&rows)?;
        }
        if self.dry_run {
            return Ok(Outcome::Done);
        }
        let what = format!("delete {} of {}", counted(records, "record"), self.topic);
        if !confirmed(&what, self.yes)? {
            return Ok(Outcome::Negative);
        }
        let before: Vec<(TopicPartition, NextOffset)> = rows
            .iter()
            .filter(|row| row.records > 0)
            .map(|row| {
                let partition = TopicPartition::new(&*self.topic, Partition(row.partition));
                (partition, NextOffset::new(row.new_start))
            })
            .collect();
        if !before.is_empty() {
            admin.delete_records(&before)?;
        }
        let done: Vec<Purged> = rows
            .into_iter()
            .map(|row| Purged {
                applied: true,
                ..row
            })
            .collect();
        self.show(&done)?;
        tracing::info!(topic = self.topic, records, "records deleted");
        Ok(Outcome::Done)
    }

    /// A topic that is only compacted keeps the last record of each key; a broker returns only "policy violation".
    fn refuse_compacted(&self, admin: &Admin) -> anyhow::Result<()> {
        let policy = admin
            .configs(&self.topic)?
            .into_iter()
            .find(|config| config.name == "cleanup.policy")
            .and_then(|config| config.value)
            .unwrap_or_default();
        let deletes = policy.split(',').any(|one| one.trim() == "delete");
        ensure!(
            policy.is_empty() || deletes,
            "topic `{0}` is compacted (cleanup.policy={policy}), and a cluster deletes the oldest records only where the policy has `delete`; `millstream topics alter {0} --set cleanup.policy=compact,delete` adds it, and a tombstone deletes one key: `millstream send {0} --json`",
            self.topic
        );
        Ok(())
    }

    /// What becomes of each partition.
    fn plan(&self, admin: &Admin) -> anyhow::Result<Vec<Purged>> {
        let ranges = admin.ranges(&self.topic)?;
        if let Some(missing) = self
            .partition
            .iter()
            .find(|&&number| !ranges.contains_key(&Partition(number)))
        {
            bail!(
                "topic `{}` has no partition {missing}, only 0 to {}",
                self.topic,
                ranges.len().saturating_sub(1)
            );
        }
        let place = match &self.before {
            None => Place::End,
            Some(text) => Place::parse(text, SystemClock::new().wall()).context("--before")?,
        };
        let timed = match place {
            Place::End if self.all => None,
            Place::Offset(_) => None,
            Place::Time(time) => Some(admin.offsets_at(&self.topic, time)?),
            _ => bail!("--before takes an offset, a time or a time ago; use --all for all records"),
        };
        let chosen = ranges.into_iter().filter(|(partition, _)| {
            self.partition.is_empty() || self.partition.contains(&partition.0)
        });
        let row = |(partition, range): (Partition, millstream::reader::Range)| {
            let target = match (place, &timed) {
                (Place::Offset(offset), _) => NextOffset::new(offset),
                (_, Some(timed)) => timed.get(&partition).copied().unwrap_or(range.end),
                _ => range.end,
            };
            let new_start = target.clamp(range.start, range.end.max(range.start));
            Purged {
                topic: self.topic.clone(),
                partition: partition.0,
                start: range.start.get(),
                new_start: new_start.get(),
                records: length(range.start.get(), new_start.get()),
                applied: false,
            }
        };
        Ok(chosen.map(row).collect())
    }

    fn show(&self, rows: &[Purged]) -> anyhow::Result<()> {
        Output::new(self.json).rows(
            ["PARTITION", "START", "NEW START", "RECORDS DELETED"],
            rows,
            |row| {
                [
                    row.partition.to_string(),
                    row.start.to_string(),
                    row.new_start.to_string(),
                    row.records.to_string(),
                ]
            },
        )?;
        Ok(())
    }
}
