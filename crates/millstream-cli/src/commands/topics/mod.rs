//! `millstream topics list|describe|offsets|create|alter|delete|purge`.
//!
//! Reading commands print tables, or with `--json` one object a line. What destroys asks first; see `prompt`.

mod offsets;
mod purge;

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Subcommand;
use millstream::admin::{Admin, TopicInfo};
use millstream::{Class, TopicSpec};
use millstream_systems::number;
use serde::Serialize;

use crate::Outcome;
use crate::args::distinct;
use crate::config::nearest;
use crate::output::{Output, counted};
use crate::prompt::confirmed;
use crate::session::Session;

/// What to do with topics.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the topics
    List {
        /// Also internal topics, such as __consumer_offsets
        #[arg(long)]
        internal: bool,
        /// Prints one JSON object per topic
        #[arg(long)]
        json: bool,
    },
    /// Shows the partitions and the configuration of topics
    Describe {
        /// The topics
        #[arg(required = true)]
        topics: Vec<String>,
        /// Prints one JSON object per topic
        #[arg(long)]
        json: bool,
    },
    /// Shows where partitions start and end, and the offsets at a point in time
    Offsets(offsets::Offsets),
    /// Creates topics
    Create(Create),
    /// Changes the configuration of a topic, or raises its number of partitions
    Alter(Alter),
    /// Deletes the oldest records of a topic, or all of them, and keeps the topic
    Purge(purge::Purge),
    /// Deletes topics with all their records
    #[command(after_help = "Example: millstream topics delete calls --dry-run")]
    Delete {
        /// The topics
        #[arg(required = true)]
        topics: Vec<String>,
        /// Deletes without asking
        #[arg(long)]
        yes: bool,
        /// Only shows what would be deleted
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  millstream topics create calls --partitions 6 --retention 7d\n  millstream topics create calls --set cleanup.policy=compact --if-missing"
)]
struct Create {
    /// The topics
    #[arg(required = true)]
    topics: Vec<String>,
    /// Partitions of each topic. Default: the cluster's
    #[arg(long, short, value_name = "NUMBER", value_parser = number::whole(1..=i32::MAX))]
    partitions: Option<i32>,
    /// Copies of each partition. Default: the cluster's
    #[arg(long, short, value_name = "NUMBER", value_parser = number::whole(1..=i32::MAX))]
    replication: Option<i32>,
    /// How long records are kept, as in 7d or 12h. Default: the cluster's
    #[arg(long, value_name = "TIME", value_parser = millstream_systems::duration::parse)]
    retention: Option<Duration>,
    /// Sets a configuration of the topic; may be repeated
    #[arg(long = "set", short = 'c', value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Succeeds if a topic exists already, whatever its configuration
    #[arg(long)]
    if_missing: bool,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: millstream topics alter calls --set retention.ms=3600000 --unset max.message.bytes"
)]
struct Alter {
    /// The topic
    topic: String,
    /// Sets a configuration; may be repeated
    #[arg(long = "set", short = 'c', value_name = "NAME=VALUE")]
    set: Vec<String>,
    /// Returns a configuration to the cluster's default; may be repeated
    #[arg(long, value_name = "NAME")]
    unset: Vec<String>,
    /// Raises the number of partitions; keys may then map to other partitions than before
    #[arg(long, short, value_name = "NUMBER", value_parser = number::whole(1..=u32::MAX))]
    partitions: Option<u32>,
}

impl Args {
    /// Carries out the action.
    pub(crate) fn run(self, session: &Session) -> anyhow::Result<Outcome> {
        let admin = Admin::new(&session.cluster)?;
        match self.action {
            Action::List { internal, json } => list(&admin, internal, json),
            Action::Describe { topics, json } => describe(&admin, &topics, json),
            Action::Offsets(offsets) => offsets.run(&admin),
            Action::Create(create) => create.run(&admin),
            Action::Purge(purge) => purge.run(&admin),
            Action::Delete {
                topics,
                yes,
                dry_run,
            } => delete(&admin, &distinct(topics), yes, dry_run),
            Action::Alter(alter) => alter.run(&admin),
        }
    }
}

#[derive(Serialize)]
struct Listed {
    topic: String,
    partitions: usize,
    replication: usize,
    records: u64,
}

fn list(admin: &Admin, internal: bool, json: bool) -> anyhow::Result<Outcome> {
    let mut topics = admin.topics()?;
    topics.retain(|topic| internal || !topic.is_internal());
    let rows = listed(admin, &topics)?;
    let cells = |row: &Listed| {
        [
            row.topic.clone(),
            row.partitions.to_string(),
            row.replication.to_string(),
            row.records.to_string(),
        ]
    };
    Output::new(json).rows(
        ["TOPIC", "PARTITIONS", "REPLICATION", "RECORDS"],
        &rows,
        cells,
    )?;
    Ok(Outcome::Done)
}

fn listed(admin: &Admin, topics: &[TopicInfo]) -> Result<Vec<Listed>, millstream::Error> {
    let ranges = admin.ranges_of(topics)?;
    let records = |topic: &TopicInfo| {
        let found = topic.topic_partitions();
        let found = found.filter_map(|partition| ranges.get(&partition));
        found
            .map(|range| length(range.start.get(), range.end.get()))
            .sum()
    };
    let row = |topic: &TopicInfo| {
        let partitions = topic.partitions.iter();
        Listed {
            topic: topic.name.clone(),
            partitions: topic.partitions.len(),
            replication: partitions
                .map(|partition| partition.replicas.len())
                .max()
                .unwrap_or(0),
            records: records(topic),
        }
    };
    Ok(topics.iter().map(row).collect())
}

fn length(start: i64, end: i64) -> u64 {
    u64::try_from(end.saturating_sub(start)).unwrap_or(0)
}

#[derive(Serialize)]
struct Described {
    topic: String,
    partitions: Vec<DescribedPartition>,
    /// What is set on the topic itself.
    configuration: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize)]
struct DescribedPartition {
    partition: i32,
    leader: Option<i32>,
    replicas: Vec<i32>,
    in_sync: Vec<i32>,
    start: i64,
    end: i64,
}

fn describe(admin: &Admin, topics: &[String], json: bool) -> anyhow::Result<Outcome> {
    let mut output = Output::new(json);
    for topic in topics {
        let described = described(admin, topic)?;
        if json {
            output.object(&described)?;
            continue;
        }
        output.line(format_args!("topic {topic}"))?;
        for (name, value) in &described.configuration {
            output.line(format_args!(
                "  {name} = {}",
                value.as_str().unwrap_or_default()
            ))?;
        }
        let numbers = |numbers: &[i32]| {
            numbers
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join(",")
        };
        let cells = |row: &DescribedPartition| {
            let leader = row
                .leader
                .map_or_else(|| "none".to_owned(), |leader| leader.to_string());
            let records = length(row.start, row.end).to_string();
            [
                row.partition.to_string(),
                leader,
                numbers(&row.replicas),
                numbers(&row.in_sync),
                row.start.to_string(),
                row.end.to_string(),
                records,
            ]
        };
        output.rows(
            [
                "PARTITION",
                "LEADER",
                "REPLICAS",
                "IN SYNC",
                "START",
                "END",
                "RECORDS",
            ],
            &described.partitions,
            cells,
        )?;
    }
    output.flush()?;
    Ok(Outcome::Done)
}

fn described(admin: &Admin, topic: &str) -> Result<Described, millstream::Error> {
    let found = admin.topic(topic)?;
    let ranges = admin.ranges(topic)?;
    let set = admin
        .configs(topic)?
        .into_iter()
        .filter(|config| config.is_set_on_topic);
    let partitions = found.partitions.into_iter().map(|info| {
        let range = ranges.get(&info.partition);
        DescribedPartition {
            partition: info.partition.0,
            leader: info.leader,
            replicas: info.replicas,
            in_sync: info.in_sync,
            start: range.map_or(0, |range| range.start.get()),
            end: range.map_or(0, |range| range.end.get()),
        }
    });
    Ok(Described {
        topic: topic.to_owned(),
        partitions: partitions.collect(),
        configuration: set
            .map(|config| (config.name, config.value.into()))
            .collect(),
    })
}

impl Create {
    fn run(self, admin: &Admin) -> anyhow::Result<Outcome> {
        let set = settings(&self.set)?;
        let mut outcome = Outcome::Done;
        for topic in &distinct(self.topics) {
            let spec = TopicSpec {
                partitions: self.partitions,
                replication: self.replication,
                retention: self.retention,
                ..TopicSpec::named(topic)
            };
            match admin.create_with(&spec, &set) {
                Ok(created) => tracing::info!(
                    topic,
                    partitions = created.partitions.len(),
                    "topic created"
                ),
                Err(millstream::Error::TopicExists { .. }) if self.if_missing => {
                    tracing::info!(topic, "topic exists already");
                }
                Err(millstream::Error::TopicExists { .. }) => {
                    tracing::error!(
                        topic,
                        "topic exists already; --if-missing accepts it as it is"
                    );
                    outcome = Outcome::Negative;
                }
                // The cluster does not say which setting it is that it refuses.
                Err(error) if error.class() == Class::Refused && !set.is_empty() => {
                    let given = format!("--set {}", self.set.join(", "));
                    return Err(anyhow::Error::from(error).context(given));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(outcome)
    }
}

fn delete(admin: &Admin, topics: &[String], yes: bool, dry_run: bool) -> anyhow::Result<Outcome> {
    // Before anything is deleted all of them must be there: a typing error should not delete half of a list.
    let found: Vec<TopicInfo> = topics
        .iter()
        .map(|topic| admin.topic(topic))
        .collect::<Result<_, _>>()?;
    let found = listed(admin, &found)?;
    let records: u64 = found.iter().map(|topic| topic.records).sum();
    let what = format!(
        "delete {} with {}",
        topics.join(", "),
        counted(records, "record")
    );
    if dry_run {
        tracing::info!(topics = topics.join(", "), records, "would be deleted");
        return Ok(Outcome::Done);
    }
    if !confirmed(&what, yes)? {
        return Ok(Outcome::Negative);
    }
    for topic in topics {
        admin.delete(topic)?;
        tracing::info!(topic, "topic deleted");
    }
    Ok(Outcome::Done)
}

impl Alter {
    fn run(self, admin: &Admin) -> anyhow::Result<Outcome> {
        let set = settings(&self.set)?;
        if let Some((name, _)) = set
            .iter()
            .find(|(name, _)| self.unset.iter().any(|unset| unset == name))
        {
            bail!("`{name}` is both set and unset; pass only one of the two");
        }
        if set.is_empty() && self.unset.is_empty() && self.partitions.is_none() {
            bail!("nothing to change; pass --set name=value, --unset name or --partitions number");
        }
        // The client passes on no refusal of a change, so that a missing topic must be found here.
        admin.topic(&self.topic)?;
        if !set.is_empty() || !self.unset.is_empty() {
            let names = set.iter().map(|(name, _)| *name);
            let names = names.chain(self.unset.iter().map(String::as_str));
            refuse_unknown(admin, &self.topic, names)?;
            let changes: Vec<(&str, Option<&str>)> = set
                .iter()
                .map(|(name, value)| (*name, Some(*value)))
                .chain(self.unset.iter().map(|name| (name.as_str(), None)))
                .collect();
            admin.alter(&self.topic, &changes)?;
            tracing::info!(
                topic = self.topic,
                changes = changes.len(),
                "configuration changed"
            );
        }
        if let Some(partitions) = self.partitions {
            admin.raise_partitions(
                &self.topic,
                usize::try_from(partitions).context("--partitions")?,
            )?;
            tracing::info!(topic = self.topic, partitions, "partitions raised");
        }
        Ok(Outcome::Done)
    }
}

/// Refuses a name that no topic of this cluster has: to unset it would succeed, and to set it would take seconds to fail.
fn refuse_unknown<'a>(
    admin: &Admin,
    topic: &str,
    mut names: impl Iterator<Item = &'a str>,
) -> anyhow::Result<()> {
    let configs = admin.configs(topic)?;
    let known = || configs.iter().map(|config| config.name.as_str());
    let Some(unknown) = names.find(|name| known().all(|known| known != *name)) else {
        return Ok(());
    };
    match nearest(unknown, known()) {
        Some(near) => {
            bail!("a topic has no configuration `{unknown}`; did you mean `{near}`?")
        }
        None => bail!(
            "a topic has no configuration `{unknown}`; known: {}",
            known().collect::<Vec<_>>().join(", ")
        ),
    }
}

fn settings(words: &[String]) -> anyhow::Result<Vec<(&str, &str)>> {
    words
        .iter()
        .map(|word| match word.split_once('=') {
            Some(setting) => Ok(setting),
            None => bail!(
                "`{word}` is not a setting; --set takes name=value, as in --set retention.ms=86400000"
            ),
        })
        .collect()
}
