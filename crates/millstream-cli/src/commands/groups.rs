//! `millstream groups list|describe|reset|delete`.
//!
//! A reset shows what it would change before it changes anything, refuses while the group has members, and prints what is
//! committed afterwards as the cluster has it. A partition without a committed offset is part of the group's lag: it counts
//! from the first record that is still there.

use anyhow::{Context, bail};
use clap::{ArgGroup, Subcommand};
use millstream::admin::{Admin, Change, GroupDescription, GroupOffset, ResetTo};
use millstream::{NextOffset, Timestamp};
use millstream_systems::number;
use serde::Serialize;

use crate::Outcome;
use crate::args::distinct;
use crate::output::{Output, counted, or_dash};
use crate::place;
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
    /// Lists the consumer groups with their members and their lag
    List {
        /// Prints one JSON object per group
        #[arg(long)]
        json: bool,
    },
    /// Shows the members of a group and its lag in each partition; exits with 1 if there is no such group
    #[command(
        after_help = "LAG of a partition without a committed offset counts from the first record that is still there.\n\nExample: millstream groups describe mine"
    )]
    Describe {
        /// The group
        group: String,
        /// Prints one JSON object per partition
        #[arg(long)]
        json: bool,
    },
    /// Moves the committed offsets of a group that has no members
    Reset(Reset),
    /// Deletes groups that have no members, with their committed offsets
    #[command(
        after_help = "Examples:\n  millstream groups delete mine --dry-run\n  millstream groups delete mine --yes"
    )]
    Delete {
        /// The groups
        #[arg(required = true)]
        groups: Vec<String>,
        /// Deletes without asking
        #[arg(long)]
        yes: bool,
        /// Only shows what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(group = ArgGroup::new("place").required(true).multiple(false))]
#[command(
    after_help = "Examples:\n  millstream groups reset mine --to-earliest --dry-run\n  millstream groups reset mine --to-time -10m --yes\n  millstream groups reset mine --topic calls --to-time 2026-11-21T08:00:00Z --yes"
)]
struct Reset {
    /// The group
    group: String,
    /// Only this topic; may be repeated. Default: every topic in which the group has a committed offset. All partitions of a topic are moved
    #[arg(long, short, value_name = "TOPIC")]
    topic: Vec<String>,
    /// To the first record there is
    #[arg(long, group = "place")]
    to_earliest: bool,
    /// To the end
    #[arg(long, group = "place")]
    to_latest: bool,
    /// To this offset in each partition
    #[arg(long, group = "place", value_name = "OFFSET", value_parser = number::whole(0..=i64::MAX))]
    to_offset: Option<i64>,
    /// To the first record with this time or a later one: 2026-11-21T08:00:00Z, 2026-11-21 (UTC), or -10m for ten minutes ago
    #[arg(long, group = "place", value_name = "TIME", value_parser = place::parse_time, allow_hyphen_values = true)]
    to_time: Option<Timestamp>,
    /// By this number of offsets, back if negative
    #[arg(
        long,
        group = "place",
        value_name = "OFFSETS",
        allow_hyphen_values = true
    )]
    shift: Option<i64>,
    /// Moves them without asking
    #[arg(long)]
    yes: bool,
    /// Only shows what would change
    #[arg(long)]
    dry_run: bool,
    /// Prints one JSON object per partition
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
            Action::Delete {
                groups,
                yes,
                dry_run,
            } => delete(&admin, &distinct(groups), yes, dry_run),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    group: String,
    state: String,
    members: usize,
    /// Over all partitions, as `describe` counts it; null if the group has gone in the meantime.
    lag: Option<u64>,
}

fn list(admin: &Admin, json: bool) -> anyhow::Result<Outcome> {
    let listed = |group: millstream::admin::GroupInfo| {
        let lag = match admin.group(&group.name) {
            Ok(found) => Some(found.unread()),
            Err(millstream::Error::UnknownGroup { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Listed {
            group: group.name,
            state: group.state,
            members: group.members.len(),
            lag,
        })
    };
    let rows: Vec<Listed> = admin
        .groups()?
        .into_iter()
        .map(listed)
        .collect::<Result<_, _>>()?;
    let cells = |row: &Listed| {
        [
            row.group.clone(),
            row.state.clone(),
            row.members.to_string(),
            or_dash(row.lag),
        ]
    };
    Output::new(json).rows(["GROUP", "STATE", "MEMBERS", "LAG"], &rows, cells)?;
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
    /// Counted from the start where nothing is committed.
    lag: u64,
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
        lag: offset.unread(),
        lost: offset.lost(),
        member: offset.member,
    };
    let rows: Vec<Partition> = found.offsets.iter().cloned().map(row).collect();
    let mut output = Output::new(json);
    if !json {
        output.line(headline(&found))?;
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
                row.lag.to_string(),
                row.lost.to_string(),
                row.member.clone().unwrap_or_else(|| "-".to_owned()),
            ]
        },
    )?;
    Ok(Outcome::Done)
}

/// The group in one line, with its totals.
fn headline(found: &GroupDescription) -> String {
    let group = &found.group;
    let mut text = format!(
        "group {}: {}, {}",
        group.name,
        group.state,
        counted(group.members.len(), "member")
    );
    if !group.assignor.is_empty() {
        text.push_str(&format!(", assignor {}", group.assignor));
    }
    let partitions = counted(found.offsets.len(), "partition");
    text.push_str(&format!(", lag {} in {partitions}", found.unread()));
    let never = found.offsets.iter().filter(|at| at.committed.is_none());
    match never.count() {
        0 => {}
        never => text.push_str(&format!(", {never} without a committed offset")),
    }
    text
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

fn delete(admin: &Admin, groups: &[String], yes: bool, dry_run: bool) -> anyhow::Result<Outcome> {
    // All of them must be there and without members before the first is deleted.
    let found: Vec<GroupDescription> = groups
        .iter()
        .map(|group| admin.group(group))
        .collect::<Result<_, _>>()?;
    if let Some(active) = found.iter().find(|found| !found.group.members.is_empty()) {
        return Err(millstream::Error::GroupActive {
            group: active.group.name.clone(),
            members: active.group.members.len(),
            state: active.group.state.clone(),
        }
        .into());
    }
    let committed: usize = found
        .iter()
        .flat_map(|found| &found.offsets)
        .filter(|at| at.committed.is_some())
        .count();
    let what = format!(
        "delete {} with {}",
        groups.join(", "),
        counted(committed, "committed offset")
    );
    if dry_run {
        tracing::info!(groups = groups.join(", "), committed, "would be deleted");
        return Ok(Outcome::Done);
    }
    if !confirmed(&what, yes)? {
        return Ok(Outcome::Negative);
    }
    for group in groups {
        admin.delete_group(group)?;
        tracing::info!(group, "group deleted");
    }
    Ok(Outcome::Done)
}

impl Reset {
    fn run(self, admin: &Admin) -> anyhow::Result<Outcome> {
        let topics = distinct(self.topic.clone());
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let plan = admin.plan_reset(&self.group, &topics, self.target()?)?;
        if plan.changes.is_empty() {
            bail!(
                "group `{}` has no committed offsets to move; to commit some, name a topic with --topic",
                self.group
            );
        }
        let what = format!(
            "move group {} in {}",
            self.group,
            counted(plan.changes.len(), "partition")
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
        tracing::info!(
            group = self.group,
            partitions = plan.changes.len(),
            distance = plan
                .changes
                .iter()
                .filter_map(Change::distance)
                .sum::<i64>(),
            "group reset"
        );
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
            (_, Some(time), _) => ResetTo::Time(time),
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
