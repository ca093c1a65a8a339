//! Topics: create, check, describe, change, delete.
//!
//! A declaration is checked property by property, and a difference names both values. What was created or changed is
//! waited for until the cluster shows it, because brokers answer before all of them know.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Admin;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Cluster;
use crate::error::{Class, Error, Outcome};
use crate::log::kafka::offsets::Which;
use crate::log::kafka::reader::Range;
use crate::record::Timestamp;
use crate::topic::{NextOffset, Partition, TopicPartition, TopicSpec};

const RETENTION: &str = "retention.ms";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
/// How long a change of configuration may take to be shown before it counts as refused.
const SHOWN_WITHIN: Duration = Duration::from_secs(3);

/// A topic and its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicInfo {
    /// The name.
    pub name: String,
    /// The partitions, by number.
    pub partitions: Vec<PartitionInfo>,
}

impl TopicInfo {
    /// Whether the cluster keeps this topic for itself.
    #[must_use]
    pub fn is_internal(&self) -> bool {
        self.name.starts_with("__")
    }

    /// The partitions with the topic's name.
    pub fn topic_partitions(&self) -> impl Iterator<Item = TopicPartition> {
        let name: std::sync::Arc<str> = self.name.as_str().into();
        self.partitions
            .iter()
            .map(move |info| TopicPartition::new(name.clone(), info.partition))
    }
}

/// One partition's brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The number.
    pub partition: Partition,
    /// The broker that leads it, if one does.
    pub leader: Option<i32>,
    /// The brokers that keep a copy.
    pub replicas: Vec<i32>,
    /// Those whose copy is up to date.
    pub in_sync: Vec<i32>,
}

/// One line of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfig {
    /// The name, such as `retention.ms`.
    pub name: String,
    /// The value; `None` if it has none or the broker keeps it secret.
    pub value: Option<String>,
    /// Whether it is set on the topic itself, rather than the broker's default.
    pub is_set_on_topic: bool,
}

/// Creates the topics that are missing and checks those that exist; returns all of them in the given order.
///
/// # Errors
/// [`Error::TopicMismatch`] names the first topic that is not what its declaration says, and both values.
pub fn ensure(cluster: &Cluster, specs: &[TopicSpec]) -> Result<Vec<TopicInfo>, Error> {
    Admin::new(cluster)?.ensure(specs)
}

impl Admin {
    /// As the function [`ensure`], with this connection.
    ///
    /// # Errors
    /// As there.
    pub fn ensure(&self, specs: &[TopicSpec]) -> Result<Vec<TopicInfo>, Error> {
        specs.iter().try_for_each(TopicSpec::validate)?;
        specs.iter().map(|spec| self.ensure_one(spec)).collect()
    }

    fn ensure_one(&self, spec: &TopicSpec) -> Result<TopicInfo, Error> {
        if let Some(found) = self.client.topic(&spec.name)? {
            self.check(spec, &found)?;
            return Ok(found);
        }
        match self.create(spec) {
            Ok(made) => Ok(made),
            // Somebody else was faster; what they made is checked like any other.
            Err(Error::TopicExists { .. }) => {
                let found = self.wait_for(&spec.name)?;
                self.check(spec, &found)?;
                Ok(found)
            }
            Err(error) => Err(error),
        }
    }

    fn check(&self, spec: &TopicSpec, found: &TopicInfo) -> Result<(), Error> {
        let mismatch = |property, declared: String, actual: String| Error::TopicMismatch {
            topic: spec.name.clone(),
            property,
            declared,
            actual,
        };
        if let Some(declared) = spec.partitions {
            let actual = found.partitions.len();
            if usize::try_from(declared) != Ok(actual) {
                return Err(mismatch(
                    "partitions",
                    declared.to_string(),
                    actual.to_string(),
                ));
            }
        }
        let declared = configs_of(spec);
        if declared.is_empty() {
            return Ok(());
        }
        let actual = self.client.configs(&spec.name)?;
        for (name, declared) in declared {
            let actual = actual
                .iter()
                .find(|config| config.name == name)
                .and_then(|config| config.value.clone());
            if actual.as_ref() != Some(&declared) {
                return Err(mismatch(
                    name,
                    declared,
                    actual.unwrap_or_else(|| "unset".to_owned()),
                ));
            }
        }
        Ok(())
    }

    /// Every topic, by name, internal ones included.
    ///
    /// # Errors
    /// The cluster does not answer.
    pub fn topics(&self) -> Result<Vec<TopicInfo>, Error> {
        self.client.topics()
    }

    /// One topic.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the cluster does not answer.
    pub fn topic(&self, name: &str) -> Result<TopicInfo, Error> {
        self.client.topic(name)?.ok_or_else(|| Error::UnknownTopic {
            topic: name.to_owned(),
        })
    }

    /// Where each partition of a topic starts and ends, by number.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the cluster does not answer.
    pub fn ranges(&self, topic: &str) -> Result<BTreeMap<Partition, Range>, Error> {
        let ranges = self.ranges_of(&[self.topic(topic)?])?;
        let ranges = ranges.into_iter();
        Ok(ranges
            .map(|(partition, range)| (partition.partition, range))
            .collect())
    }

    /// Where each partition of these topics starts and ends: two requests to each broker, however many topics there are.
    ///
    /// # Errors
    /// A topic is gone, a partition has no leader, or the cluster does not answer.
    pub fn ranges_of(
        &self,
        topics: &[TopicInfo],
    ) -> Result<BTreeMap<TopicPartition, Range>, Error> {
        let partitions: Vec<TopicPartition> = topics
            .iter()
            .flat_map(TopicInfo::topic_partitions)
            .collect();
        let starts = self.client.offsets(&partitions, Which::Start)?;
        let ends = self.client.offsets(&partitions, Which::End)?;
        let range = |((partition, start), end)| (partition, Range { start, end });
        Ok(starts
            .into_iter()
            .zip(ends.into_values())
            .map(range)
            .collect())
    }

    /// The offset of the first record of each partition with this time or a later one; partitions without such a record
    /// are left out.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the cluster does not answer.
    pub fn offsets_at(
        &self,
        topic: &str,
        time: Timestamp,
    ) -> Result<BTreeMap<Partition, NextOffset>, Error> {
        let partitions: Vec<TopicPartition> = self.topic(topic)?.topic_partitions().collect();
        let found = self.client.offsets(&partitions, Which::Time(time))?;
        Ok(found
            .into_iter()
            .map(|(partition, offset)| (partition.partition, offset))
            .collect())
    }

    /// The configuration of a topic, by name.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the cluster does not answer.
    pub fn configs(&self, topic: &str) -> Result<Vec<TopicConfig>, Error> {
        self.client.configs(topic)
    }

    /// As [`Admin::configs`], asked for so long.
    pub(crate) fn configs_within(
        &self,
        topic: &str,
        patience: Duration,
    ) -> Result<Vec<TopicConfig>, Error> {
        self.client.configs_within(topic, patience)
    }

    /// Creates a topic and waits until the cluster shows it.
    ///
    /// # Errors
    /// [`Error::TopicExists`], [`Error::InvalidTopic`], or the cluster refuses.
    pub fn create(&self, spec: &TopicSpec) -> Result<TopicInfo, Error> {
        self.create_with(spec, &[])
    }

    /// As [`Admin::create`], with further configuration such as `("cleanup.policy", "compact")`.
    ///
    /// # Errors
    /// As there.
    pub fn create_with(
        &self,
        spec: &TopicSpec,
        configs: &[(&str, &str)],
    ) -> Result<TopicInfo, Error> {
        spec.validate()?;
        let declared = configs_of(spec);
        let mut all: Vec<(&str, &str)> = declared
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        all.extend(configs);
        self.client
            .create_topic(&spec.name, spec.partitions, spec.replication, &all)?;
        self.wait_for(&spec.name)
    }

    /// A topic that was just created: waits until every partition has a leader.
    fn wait_for(&self, name: &str) -> Result<TopicInfo, Error> {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(self.client.patience);
        loop {
            let found = self.client.topic(name)?;
            let is_led = |found: &TopicInfo| {
                !found.partitions.is_empty()
                    && found.partitions.iter().all(|info| info.leader.is_some())
            };
            if let Some(found) = found.filter(is_led) {
                return Ok(found);
            }
            if clock.now() >= deadline {
                return Err(Error::Kafka {
                    action: format!("create topic `{name}`"),
                    reason: "the cluster accepted it, but does not show it with a leader"
                        .to_owned(),
                    class: Class::Retriable,
                    outcome: Outcome::Unknown,
                });
            }
            self.client.idle(Duration::from_millis(20));
        }
    }

    /// Deletes a topic with all its records.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the cluster refuses.
    pub fn delete(&self, topic: &str) -> Result<(), Error> {
        TopicSpec::named(topic).validate()?;
        self.client.delete_topic(topic)
    }

    /// Raises the number of partitions. Records with the same key may then go to another partition than before.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the cluster refuses, as it does for a lower number.
    pub fn raise_partitions(&self, topic: &str, total: usize) -> Result<(), Error> {
        TopicSpec::named(topic).validate()?;
        self.client.add_partitions(topic, total)
    }

    /// Changes the configuration of a topic: sets what has a value, returns the rest to the broker's default.
    ///
    /// The client can only replace what is set on a topic as a whole; what is set and not named here is read first
    /// and set again. Two programs that do this at the same moment can undo each other's change.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], or the cluster refuses a name or a value.
    pub fn alter(&self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<(), Error> {
        let set = self
            .client
            .configs(topic)?
            .into_iter()
            .filter(|config| config.is_set_on_topic);
        let mut all: BTreeMap<String, String> = set
            .filter_map(|config| Some((config.name, config.value?)))
            .collect();
        for (name, value) in changes {
            match value {
                Some(value) => all.insert((*name).to_owned(), (*value).to_owned()),
                None => all.remove(*name),
            };
        }
        let all: Vec<(String, String)> = all.into_iter().collect();
        self.client.replace_configs(topic, &all)?;
        self.confirm(topic, changes)
    }

    /// Waits until the changes are shown. The client (rdkafka 0.39) passes on no refusal of a single topic's change, so
    /// that one not shown after a while is taken for refused.
    fn confirm(&self, topic: &str, changes: &[(&str, Option<&str>)]) -> Result<(), Error> {
        let clock = SystemClock::new();
        let deadline = clock.now().plus(self.client.patience.min(SHOWN_WITHIN));
        loop {
            let configs = self.client.configs(topic)?;
            let is_shown = |(name, wanted): &(&str, Option<&str>)| {
                let set = configs
                    .iter()
                    .find(|config| config.name == *name && config.is_set_on_topic);
                let set = set.and_then(|config| config.value.as_deref());
                set.map(str::trim) == wanted.map(str::trim)
            };
            let Some((name, wanted)) = changes.iter().find(|change| !is_shown(change)) else {
                return Ok(());
            };
            if clock.now() >= deadline {
                let wanted =
                    wanted.map_or_else(|| "its default".to_owned(), |value| format!("`{value}`"));
                return Err(Error::Kafka {
                    action: format!("change the configuration of topic `{topic}`"),
                    reason: format!("the cluster did not set `{name}` to {wanted}"),
                    class: Class::Refused,
                    outcome: Outcome::Unknown,
                });
            }
            self.client.idle(Duration::from_millis(20));
        }
    }

    /// Deletes the records before these offsets, for good.
    ///
    /// # Errors
    /// An offset is past the end, or the cluster refuses.
    pub fn delete_records(&self, before: &[(TopicPartition, NextOffset)]) -> Result<(), Error> {
        self.client.delete_records(before)
    }
}

/// What a declaration says in the words of the topic's configuration.
fn configs_of(spec: &TopicSpec) -> Vec<(&'static str, String)> {
    let retention = spec
        .retention
        .map(|keep| (RETENTION, keep.as_millis().to_string()));
    let largest = spec
        .max_message_bytes
        .map(|bytes| (MAX_MESSAGE_BYTES, bytes.to_string()));
    retention.into_iter().chain(largest).collect()
}
