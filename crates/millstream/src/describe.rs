//! A service's declaration as plain data: what `explain` prints and a program can read.
//!
//! Made from the same definition that is validated and run, so that what is shown is what happens; the names of its fields
//! are part of the public interface.

use std::sync::Arc;

use serde::Serialize;

use crate::definition::Definition;
use crate::policy::{Delivery, OnError, Start};
use crate::topic::TopicSpec;

/// What a service declares.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Description {
    /// The service's name.
    pub service: String,
    /// The consumer group its threads join.
    pub group: String,
    /// What it reads.
    pub inputs: Vec<TopicDescription>,
    /// What it writes.
    pub outputs: Vec<TopicDescription>,
    /// Where records go that cannot be processed.
    pub dead_letter_topics: Vec<String>,
    /// The intervals of its timers, in milliseconds.
    pub timers_ms: Vec<u64>,
    /// Its delivery guarantee.
    pub delivery: Delivery,
    /// What happens to a record that cannot be processed.
    pub on_error: String,
    /// The share of an input's records that may be dead-lettered before it stops.
    pub dead_letter_limit: f64,
    /// The policies of single inputs, where they are declared.
    pub exceptions: Vec<PolicyDescription>,
    /// Where it starts to read when nothing is committed.
    pub start_from: Start,
    /// Its threads in one process.
    pub threads: usize,
    /// The commit interval in milliseconds.
    pub commit_every_ms: u64,
    /// The budget to drain at revocation and shutdown, in milliseconds.
    pub drain_within_ms: u64,
}

/// The policy of a single input, in a [`Description`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PolicyDescription {
    /// The input.
    pub topic: String,
    /// What happens to its records that cannot be processed.
    pub on_error: String,
    /// The share of them that may be dead-lettered before the service stops.
    pub dead_letter_limit: f64,
}

/// A topic in a [`Description`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicDescription {
    /// The topic's name.
    pub topic: String,
    /// The key's codec.
    pub key: &'static str,
    /// The value's codec.
    pub value: &'static str,
    /// The declared number of partitions.
    pub partitions: Option<i32>,
    /// The declared retention in milliseconds.
    pub retention_ms: Option<u64>,
}

impl Description {
    pub(crate) fn of<S>(definition: &Definition<S>) -> Self {
        let settings = &definition.settings;
        let inputs = definition.inputs.iter();
        let outputs = definition.outputs.iter();
        let dead = definition.dead_letter_topics().into_iter();
        let timers = definition.timers.iter();
        Self {
            service: definition.name.to_string(),
            group: definition.group.clone(),
            inputs: inputs.map(|i| topic(&i.spec, i.codecs)).collect(),
            outputs: outputs.map(|o| topic(&o.spec, o.codecs)).collect(),
            dead_letter_topics: dead.map(|spec| spec.name).collect(),
            timers_ms: timers.map(|timer| millis(timer.every)).collect(),
            delivery: settings.delivery,
            on_error: settings.on_error.to_string(),
            dead_letter_limit: settings.on_error.dead_letter_limit,
            exceptions: definition.policies.iter().map(exception).collect(),
            start_from: settings.start,
            threads: settings.threads,
            commit_every_ms: millis(settings.commit_every),
            drain_within_ms: millis(settings.drain_within),
        }
    }
}

fn topic(spec: &TopicSpec, (key, value): (&'static str, &'static str)) -> TopicDescription {
    TopicDescription {
        topic: spec.name.clone(),
        key,
        value,
        partitions: spec.partitions,
        retention_ms: spec.retention.map(millis),
    }
}

fn exception((topic, policy): &(Arc<str>, OnError)) -> PolicyDescription {
    PolicyDescription {
        topic: topic.to_string(),
        on_error: policy.to_string(),
        dead_letter_limit: policy.dead_letter_limit,
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
