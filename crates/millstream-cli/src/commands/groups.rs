//! `millstream groups list|describe|reset`.
//!
//! A reset shows what it would change before it changes anything, refuses while the group has members, and tells
//! what is committed afterwards as the cluster has it.

use anyhow::{Context, bail};
use clap::{ArgGroup, Subcommand};
use jiff::Timestamp;
use millstream::NextOffset;
use millstream::admin::{Admin, Change, GroupOffset, ResetTo};
use serde::Serialize;

use crate::Outcome;
use crate::output::Output;
use crate::prompt::confirmed;
use crate::session::Session;

/// What to do with consumer groups.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the consumer groups
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows who is in a group and how far it is; ends with 1 when there is no such group
    Describe {
        /// The group
        group: String,
        /// One JSON object a partition and line
        #[arg(long)]
        json: bool,
    },
    /// Moves the committed offsets of a group that has no members
    Reset(Reset),
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("place").required(true).multiple(false))]
#[command(
    after_help = "Examples:\n  millstream groups reset mine --to-earliest --dry-run\n  millstream groups reset mine --topic calls --to-time 2026-11-21T08:00:00Z --yes"
)]
struct Reset {
    /// The group
    group: String,
    /// Only this topic, all its partitions; may be repeated. Otherwise all partitions with a committed offset
    #[arg(long, short, value_name = "TOPIC")]
    topic: Vec<String>,
    /// To the first record there is
    #[arg(long, group = "place")]
    to_earliest: bool,
    /// To the end
    #[arg(long, group = "place")]
    to_latest: bool,
    /// To this offset in each partition
    #[arg(long, group = "place", value_name = "OFFSET", value_parser = clap::value_parser!(i64).range(0..))]
    to_offset: Option<i64>,
    /// To the first record of this time or later, as in 2026-11-21T08:00:00Z
    #[arg(long, group = "place", value_name = "TIME")]
    to_time: Option<Timestamp>,
    /// By so many offsets: back when negative
    #[arg(
        long,
        group = "place",
        value_name = "OFFSETS",
        allow_hyphen_values = true
    )]
    shift: Option<i64>,
    /// Does it without asking
    #[arg(long)]
    yes: bool,
    /// Only shows what would change
    #[arg(long)]
    dry_run: bool,
    /// One JSON object a partition and line
    #[arg(long)]
    json: bool,
}

impl Args {
    /// Carries out the action.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let admin = Admin::new(&session.cluster)?;
        match self.action {
            Action::List { json } => list(&admin, json),
            Action::Describe { group, json } => describe(&admin, &group, json),
            Action::Reset(reset) => reset.run(&admin),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    members: usize,
}

fn list(admin: &Admin, json: bool) -> anyhow::Result<Outcome> {
    let listed = |group: millstream::admin::GroupInfo| Listed {
        group: group.name,
        state: group.state,
        members: group.members.len(),
    };
    let rows: Vec<Listed> = admin.groups()?.into_iter().map(listed).collect();
    let cells = |row: &Listed| {
        [
            row.group.clone(),
            row.state.clone(),
            row.members.to_string(),
        ]
    };
    Output::new(json).rows(["GROUP", "STATE", "MEMBERS"], &rows, cells)?;
    Ok(Outcome::Done)
}

#[derive(Serialize)]
struct Partition {
    group: String,
    state: String,
    topic: String,
    partition: i32,
    committed: Option<i64>,
    start: i64,
    end: i64,
    lag: Option<u64>,
    /// Records that retention has taken before the group read them.
    lost: u64,
    member: Option<String>,
}

fn describe(admin: &Admin, group: &str, json: bool) -> anyhow::Result<Outcome> {
    let found = match admin.group(group) {
        Ok(found) => found,
        Err(error @ millstream::Error::UnknownGroup { .. }) => {
            tracing::error!(%error, "nothing to describe; `millstream groups list` shows the groups there are");
            return Ok(Outcome::Negative);
        }
        Err(error) => return Err(error.into()),
    };
    let state = found.group.state.clone();
    let row = |offset: GroupOffset| Partition {
        group: group.to_owned(),
        state: state.clone(),
        topic: offset.partition.topic.to_string(),
        partition: offset.partition.partition.0,
        committed: offset.committed.map(NextOffset::get),
        start: offset.start.get(),
        end: offset.end.get(),
        lag: offset.lag(),
        lost: offset.lost(),
        member: offset.member,
    };
    let rows: Vec<Partition> = found.offsets.into_iter().map(row).collect();
    let mut output = Output::new(json);
    if !json {
        output.line(format_args!(
            "group {group}, {state}, {} members, assignor {}",
            found.group.members.len(),
            named(&found.group.assignor)
        ))?;
    }
    output.rows(
        [
            "TOPIC",
            "PARTITION",
            "COMMITTED",
            "END",
            "LAG",
            "LOST",
            "MEMBER",
        ],
        &rows,
        |row| {
            [
                row.topic.clone(),
                row.partition.to_string(),
                or_dash(row.committed),
                row.end.to_string(),
                or_dash(row.lag),
                row.lost.to_string(),
                row.member.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        },
    )?;
    Ok(Outcome::Done)
}

fn named(assignor: &str) -> &str {
    if assignor.is_empty() {
        "none"
    } else {
        assignor
    }
}

fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[derive(Serialize)]
struct Changed {
    group: String,
    topic: String,
    partition: i32,
    from: Option<i64>,
    to: i64,
    /// Offsets skipped, or read again when negative.
    distance: Option<i64>,
    applied: bool,
}

impl Reset {
    fn run(self, admin: &Admin) -> anyhow::Result<Outcome> {
        let topics: Vec<&str> = self.topic.iter().map(String::as_str).collect();
        let plan = admin.plan_reset(&self.group, &topics, self.target()?)?;
        if plan.changes.is_empty() {
            bail!(
                "group `{}` has no committed offsets to move; name a topic with --topic to give it some",
                self.group
            );
        }
        let what = format!(
            "move {} partitions of group {}",
            plan.changes.len(),
            self.group
        );
        if self.dry_run || !self.yes {
            self.show(&plan.changes, false)?;
        }
        if self.dry_run {
            return Ok(Outcome::Done);
        }
        if !confirmed(&what, self.yes)? {
            return Ok(Outcome::Negative);
        }
        let committed = admin.apply_reset(&plan)?;
        let applied = |change: &Change| committed.get(&change.partition) == Some(&change.target);
        self.show(&plan.changes, true)?;
        match plan.changes.iter().find(|change| !applied(change)) {
            None => Ok(Outcome::Done),
            Some(change) => bail!(
                "{} is not at {} after the reset; look at `millstream groups describe {}`",
                change.partition,
                change.target,
                self.group
            ),
        }
    }

    fn target(&self) -> anyhow::Result<ResetTo> {
        let target = match (self.to_offset, self.to_time, self.shift) {
            (Some(offset), ..) => ResetTo::Offset(NextOffset::new(offset)),
            (_, Some(at), _) => {
                ResetTo::Time(millstream::Timestamp::from_millis(at.as_millisecond()))
            }
            (.., Some(by)) => ResetTo::Shift(by),
            _ if self.to_latest => ResetTo::Latest,
            _ => Some(ResetTo::Earliest)
                .filter(|_| self.to_earliest)
                .context("a place to reset to is missing")?,
        };
        Ok(target)
    }

    fn show(&self, changes: &[Change], applied: bool) -> anyhow::Result<()> {
        let changed = |change: &Change| Changed {
            group: self.group.clone(),
            topic: change.partition.topic.to_string(),
            partition: change.partition.partition.0,
            from: change.committed.map(NextOffset::get),
            to: change.target.get(),
            distance: change.distance(),
            applied,
        };
        let rows: Vec<Changed> = changes.iter().map(changed).collect();
        Output::new(self.json).rows(
            ["TOPIC", "PARTITION", "FROM", "TO", "DISTANCE"],
            &rows,
            |row| {
                let distance = row
                    .distance
                    .map_or_else(|| "-".to_owned(), |distance| format!("{distance:+}"));
                [
                    row.topic.clone(),
                    row.partition.to_string(),
                    or_dash(row.from),
                    row.to.to_string(),
                    distance,
                ]
            },
        )?;
        Ok(())
    }
}
