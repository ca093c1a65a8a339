//! Topics: what there is, and creating, growing and deleting them.
//!
//! Any broker answers questions, as it knows the topics at that moment; the controller makes changes.

use std::collections::BTreeMap;
use std::time::Duration;

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::MetadataResponseTopic;
use kafka_protocol::messages::{
    BrokerId, CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
    TopicName,
};

use super::asking::{Operation, Read, Route};
use super::refusal::{Refusal, answered};
use super::{Admin, Each, Mode, once};
use crate::error::Error;
use crate::wire::api::{Call, Reply};
use crate::wire::{millis, text};

/// A topic to create.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions it has. Default: `num.partitions` of the brokers.
    pub partitions: Option<i32>,
    /// How many replicas each has. Default: `default.replication.factor` of the brokers.
    pub replicas: Option<i16>,
    /// What of its configuration differs from that of the brokers.
    pub configs: BTreeMap<String, String>,
}

impl NewTopic {
    /// A topic of this name, with the brokers' defaults.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }
}

/// A topic that was created, or would be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CreatedTopic {
    /// How many partitions it has; `None` if this client may not describe its configuration.
    pub partitions: Option<i32>,
    /// How many replicas each has; `None` if this client may not describe its configuration.
    pub replicas: Option<i16>,
}

/// A topic that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicInfo {
    /// Its name.
    pub name: String,
    /// Its id, which no other topic ever has.
    pub id: [u8; 16],
    /// Whether it is the cluster's own, such as `__consumer_offsets`.
    pub is_internal: bool,
    /// Its partitions, by number.
    pub partitions: BTreeMap<i32, PartitionInfo>,
}

/// A partition that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PartitionInfo {
    /// The broker that leads it; `None` while none does.
    pub leader: Option<i32>,
    /// How often it has had a leader; -1 if that is not known.
    pub epoch: i32,
    /// The brokers that have it; the first one is preferred as its leader.
    pub replicas: Vec<i32>,
    /// Those of them that have everything that was acknowledged.
    pub in_sync: Vec<i32>,
    /// Those of them that do not run.
    pub offline: Vec<i32>,
}

impl Admin {
    /// All topics that this client may describe, by name, the cluster's own included.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if no broker answers.
    pub fn topics(&mut self) -> Result<Each<String, TopicInfo>, Error> {
        let found = self.one(&ListTopics, ())?;
        let topics = found.into_iter().map(|(name, topic)| {
            let what = DescribeTopics.what(&name);
            (name, topic.map_err(|refusal| refusal.error(what)))
        });
        Ok(topics.collect())
    }

    /// Topics of these names.
    ///
    /// # Errors
    /// Of one topic: [`Error::Administration`] if the cluster does not have it.
    pub fn describe_topics(&mut self, names: &[&str]) -> Result<Each<String, TopicInfo>, Error> {
        self.each(&DescribeTopics, names.iter().map(ToString::to_string))
    }

    /// Creates topics. An answer means that the controller has them; other brokers know them a moment later.
    ///
    /// # Errors
    /// [`Error::Refused`] if a name is there twice. Of one topic: [`Error::Administration`] if there is one of that name already, or if a value is not possible.
    pub fn create_topics(
        &mut self,
        topics: &[NewTopic],
        mode: Mode,
    ) -> Result<Each<String, CreatedTopic>, Error> {
        let named = topics.iter().map(|topic| (topic.name.clone(), topic));
        let topics = once("topic ", named)?;
        let names: Vec<String> = topics.keys().cloned().collect();
        self.each(&CreateTopics { topics, mode }, names)
    }

    /// Deletes topics with all their records.
    ///
    /// # Errors
    /// Of one topic: [`Error::Administration`] if the cluster does not have it, or forbids it (`delete.topic.enable`).
    pub fn delete_topics(&mut self, names: &[&str]) -> Result<Each<String, ()>, Error> {
        self.each(&DeleteTopics, names.iter().map(ToString::to_string))
    }

    /// Gives topics more partitions: so many as said, those that are there included. What keys are in which partition changes with it.
    ///
    /// # Errors
    /// [`Error::Refused`] if a name is there twice. Of one topic: [`Error::Administration`] if the cluster does not have it, or if it has as many partitions or more.
    pub fn add_partitions(
        &mut self,
        totals: &[(&str, i32)],
        mode: Mode,
    ) -> Result<Each<String, ()>, Error> {
        let named = totals
            .iter()
            .map(|(name, total)| ((*name).to_owned(), *total));
        let totals = once("topic ", named)?;
        let names: Vec<String> = totals.keys().cloned().collect();
        self.each(&AddPartitions { totals, mode }, names)
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(text(name))
}

/// The name of a topic in an answer; one without a name is nobody's.
fn named(name: Option<&TopicName>) -> String {
    name.map_or_else(String::new, |name| name.to_string())
}

fn info(topic: MetadataResponseTopic) -> (String, Result<TopicInfo, Refusal>) {
    let name = named(topic.name.as_ref());
    let numbers = |nodes: Vec<BrokerId>| nodes.into_iter().map(|node| node.0).collect();
    let result = answered(topic.error_code, None, || TopicInfo {
        name: name.clone(),
        id: *topic.topic_id.as_bytes(),
        is_internal: topic.is_internal,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| {
                let leader = partition.leader_id.0;
                let info = PartitionInfo {
                    leader: Some(leader).filter(|leader| *leader >= 0),
                    epoch: partition.leader_epoch,
                    replicas: numbers(partition.replica_nodes),
                    in_sync: numbers(partition.isr_nodes),
                    offline: numbers(partition.offline_replicas),
                };
                (partition.partition_index, info)
            })
            .collect(),
    });
    (name, result)
}

struct ListTopics;

impl Operation for ListTopics {
    type Item = ();
    type Value = Read<String, TopicInfo>;
    const CHANGES: bool = false;

    fn what(&self, (): &()) -> String {
        "list topics".to_owned()
    }

    fn route(&self, (): &()) -> Route {
        Route::Any
    }

    fn call(&self, _: &[()], _: Duration) -> Call {
        let request = MetadataRequest::default().with_topics(None);
        Call::Metadata(request.with_allow_auto_topic_creation(false))
    }

    fn read(&self, reply: Reply, _: &[()]) -> Read<(), Self::Value> {
        let Reply::Metadata(reply) = reply else {
            return Vec::new();
        };
        vec![((), Ok(reply.topics.into_iter().map(info).collect()))]
    }
}

struct DescribeTopics;

impl Operation for DescribeTopics {
    type Item = String;
    type Value = TopicInfo;
    const CHANGES: bool = false;

    fn what(&self, name: &String) -> String {
        format!("describe topic `{name}`")
    }

    fn route(&self, _: &String) -> Route {
        Route::Any
    }

    fn call(&self, names: &[String], _: Duration) -> Call {
        let topic =
            |name: &String| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
        let request = MetadataRequest::default()
            .with_topics(Some(names.iter().map(topic).collect()))
            .with_allow_auto_topic_creation(false);
        Call::Metadata(request)
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, TopicInfo> {
        let Reply::Metadata(reply) = reply else {
            return Vec::new();
        };
        reply.topics.into_iter().map(info).collect()
    }
}

struct CreateTopics<'a> {
    topics: BTreeMap<String, &'a NewTopic>,
    mode: Mode,
}

/// A number that the caller gave. The protocol takes -1 for "the default", which nobody asked for.
fn given<N: Ord + Default>(number: N) -> N {
    number.max(N::default())
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    let configs = topic.configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
    });
    CreatableTopic::default()
        .with_name(topic_name(&topic.name))
        .with_num_partitions(topic.partitions.map_or(-1, given))
        .with_replication_factor(topic.replicas.map_or(-1, given))
        .with_configs(configs.collect())
}

impl Operation for CreateTopics<'_> {
    type Item = String;
    type Value = CreatedTopic;
    const CHANGES: bool = true;

    fn what(&self, name: &String) -> String {
        format!("create topic `{name}`")
    }

    fn route(&self, _: &String) -> Route {
        Route::Controller
    }

    fn call(&self, names: &[String], patience: Duration) -> Call {
        let topics = names.iter().filter_map(|name| self.topics.get(name));
        let request = CreateTopicsRequest::default()
            .with_topics(topics.map(|topic| creatable(topic)).collect())
            .with_validate_only(self.mode.validates_only())
            .with_timeout_ms(millis(patience));
        Call::CreateTopics(request)
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, CreatedTopic> {
        let Reply::CreateTopics(reply) = reply else {
            return Vec::new();
        };
        let topics = reply.topics.into_iter().map(|topic| {
            let result = answered(topic.error_code, topic.error_message.as_ref(), || {
                CreatedTopic {
                    partitions: Some(topic.num_partitions).filter(|count| *count >= 0),
                    replicas: Some(topic.replication_factor).filter(|count| *count >= 0),
                }
            });
            (topic.name.to_string(), result)
        });
        topics.collect()
    }
}

struct DeleteTopics;

impl Operation for DeleteTopics {
    type Item = String;
    type Value = ();
    const CHANGES: bool = true;

    fn what(&self, name: &String) -> String {
        format!("delete topic `{name}`")
    }

    fn route(&self, _: &String) -> Route {
        Route::Controller
    }

    fn call(&self, names: &[String], patience: Duration) -> Call {
        let topic = |name: &String| DeleteTopicState::default().with_name(Some(topic_name(name)));
        let request = DeleteTopicsRequest::default()
            .with_topics(names.iter().map(topic).collect())
            .with_timeout_ms(millis(patience));
        Call::DeleteTopics(request)
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, ()> {
        let Reply::DeleteTopics(reply) = reply else {
            return Vec::new();
        };
        let topics = reply.responses.into_iter().map(|topic| {
            let result = answered(topic.error_code, topic.error_message.as_ref(), || ());
            (named(topic.name.as_ref()), result)
        });
        topics.collect()
    }
}

struct AddPartitions {
    totals: BTreeMap<String, i32>,
    mode: Mode,
}

impl Operation for AddPartitions {
    type Item = String;
    type Value = ();
    const CHANGES: bool = true;

    fn what(&self, name: &String) -> String {
        format!("add partitions to topic `{name}`")
    }

    fn route(&self, _: &String) -> Route {
        Route::Controller
    }

    fn call(&self, names: &[String], patience: Duration) -> Call {
        let topics = names.iter().map(|name| {
            CreatePartitionsTopic::default()
                .with_name(topic_name(name))
                .with_count(self.totals.get(name).copied().unwrap_or_default())
                .with_assignments(None)
        });
        let request = CreatePartitionsRequest::default()
            .with_topics(topics.collect())
            .with_validate_only(self.mode.validates_only())
            .with_timeout_ms(millis(patience));
        Call::CreatePartitions(request)
    }

    fn read(&self, reply: Reply, _: &[String]) -> Read<String, ()> {
        let Reply::CreatePartitions(reply) = reply else {
            return Vec::new();
        };
        let topics = reply.results.into_iter().map(|topic| {
            let result = answered(topic.error_code, topic.error_message.as_ref(), || ());
            (topic.name.to_string(), result)
        });
        topics.collect()
    }
}
