//! The topics of the system, under a prefix that is `integration` unless somebody wants several systems on one cluster.
//!
//! Requests, partials and control have equal partition counts, because records of equal number meet in one state of the
//! coordinator; it names the partition itself wherever it writes, so that clients with any partitioner are served.
//! Records that only live between coordinator and workers are not kept for long.

use std::time::Duration;

use millstream::codec::{Json, MessagePack, Nullable, Raw, Text};
use millstream::{Topic, TopicSpec};

use super::records::{Control, Outcome};
use super::wire::{Event, Task};

/// Prefix of all names, by default.
pub const PREFIX: &str = "integration";
/// Partitions of requests, partials, control and results: what a coordinator's work is divided by.
pub const PARTITIONS: i32 = 8;
/// Partitions of tasks: the most workers that can share the work.
pub const TASK_PARTITIONS: i32 = 24;
/// A wave's plan with its map and strata goes with each task.
const LARGEST: u32 = 8 << 20;

static REQUESTS: Topic<Option<String>, Vec<u8>> =
    Topic::new("integration-requests", &Nullable(Text), &Raw);
static TASKS: Topic<String, Task> = Topic::new("integration-tasks", &Text, &MessagePack)
    .retention(Duration::from_secs(6 * 3600))
    .max_message_bytes(LARGEST);
static PARTIALS: Topic<String, Event> = Topic::new("integration-partials", &Text, &MessagePack)
    .retention(Duration::from_secs(7 * 24 * 3600))
    .max_message_bytes(LARGEST);
static RESULTS: Topic<String, Outcome> = Topic::new("integration-results", &Text, &Json);
static CONTROL: Topic<Option<String>, Control> =
    Topic::new("integration-control", &Nullable(Text), &Json);

/// The five topics.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Requests by job: JSON, read as bytes so that one that is wrong gets an answer too.
    pub requests: Topic<Option<String>, Vec<u8>>,
    /// What workers are to do.
    pub tasks: Topic<String, Task>,
    /// The coordinator's log: what workers have done, checkpoints, ends.
    pub partials: Topic<String, Event>,
    /// Answers by job, while it runs and at its end: JSON.
    pub results: Topic<String, Outcome>,
    /// Cancellations by job: JSON.
    pub control: Topic<Option<String>, Control>,
    prefix: String,
}

impl Topics {
    /// The topics whose names begin with `prefix`.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        let name = |name: &str| format!("{prefix}{}", name.strip_prefix(PREFIX).unwrap_or(name));
        Self {
            requests: REQUESTS.clone().named(name(REQUESTS.name())),
            tasks: TASKS.clone().named(name(TASKS.name())),
            partials: PARTIALS.clone().named(name(PARTIALS.name())),
            results: RESULTS.clone().named(name(RESULTS.name())),
            control: CONTROL.clone().named(name(CONTROL.name())),
            prefix: prefix.to_owned(),
        }
    }

    /// The consumer group of a role: `montecarlo-workers`, or with the prefix when that is another.
    #[must_use]
    pub fn group(&self, role: &str) -> String {
        if self.prefix == PREFIX {
            format!("montecarlo-{role}")
        } else {
            format!("{}-{role}", self.prefix)
        }
    }

    /// How the topics are created when they are missing, each with what its cleanup policy should be.
    #[must_use]
    pub fn specs(&self) -> [(TopicSpec, Option<&'static str>); 5] {
        let count = |spec: TopicSpec, partitions| TopicSpec {
            partitions: Some(partitions),
            ..spec
        };
        [
            (count(self.requests.spec(), PARTITIONS), None),
            (count(self.tasks.spec(), TASK_PARTITIONS), None),
            (count(self.partials.spec(), PARTITIONS), None),
            (count(self.results.spec(), PARTITIONS), Some("compact")),
            (count(self.control.spec(), PARTITIONS), None),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_names_topics_and_groups() {
        let topics = Topics::new("mine");
        assert_eq!(topics.requests.name(), "mine-requests");
        assert_eq!(topics.group("workers"), "mine-workers");
        let topics = Topics::new(PREFIX);
        assert_eq!(topics.control.name(), "integration-control");
        assert_eq!(topics.group("workers"), "montecarlo-workers");
    }

    #[test]
    fn what_meets_in_one_state_has_equal_partition_counts() {
        let specs = Topics::new(PREFIX).specs();
        let counts: Vec<(String, Option<i32>)> = specs
            .into_iter()
            .map(|(spec, _)| (spec.name, spec.partitions))
            .collect();
        assert_eq!(
            counts,
            [
                ("integration-requests".to_owned(), Some(8)),
                ("integration-tasks".to_owned(), Some(24)),
                ("integration-partials".to_owned(), Some(8)),
                ("integration-results".to_owned(), Some(8)),
                ("integration-control".to_owned(), Some(8)),
            ]
        );
    }
}
