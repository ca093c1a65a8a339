//! Administration through librdkafka: metadata, topics, configurations, records.
//!
//! rdkafka answers its administrative requests by futures that need no runtime: its own thread completes them, so
//! the caller's thread sleeps until then. Metadata comes from a consumer, which never creates a topic by asking for
//! it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication, TopicResult,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use super::config::{Logging, Role, client_config, code_error, kafka_error};
use super::offsets::{self, ByPartition, Which};
use crate::admin::{Broker, ClusterInfo, PartitionInfo, TopicConfig, TopicInfo};
use crate::config::Cluster;
use crate::error::Error;
use crate::topic::{NextOffset, Partition, TopicPartition};

/// The clients behind `Admin`.
pub(crate) struct Client {
    admin: AdminClient<Logging>,
    pub(super) consumer: BaseConsumer<Logging>,
    pub(super) cluster: Cluster,
    pub(crate) patience: Duration,
}

impl Client {
    pub(crate) fn open(cluster: &Cluster, patience: Duration) -> Result<Client, Error> {
        cluster.check_brokers()?;
        let fail = |error| kafka_error(cluster, "make an admin client", &error);
        let config = client_config(cluster, Role::Admin, &[], &[]);
        let admin = config
            .create_with_context(Logging(cluster.clone()))
            .map_err(fail)?;
        let consumer = config
            .create_with_context(Logging(cluster.clone()))
            .map_err(fail)?;
        Ok(Client {
            admin,
            consumer,
            cluster: cluster.clone(),
            patience,
        })
    }

    /// Sleeps for `wait`, serving what the client has to say.
    pub(crate) fn idle(&self, wait: Duration) {
        drop(self.consumer.poll(wait));
    }

    /// Id and brokers of the cluster.
    pub(crate) fn cluster_info(&self, within: Duration) -> Result<ClusterInfo, Error> {
        self.idle(Duration::ZERO);
        let action = format!("reach the cluster at `{}`", self.cluster.brokers());
        let metadata = self
            .consumer
            .fetch_metadata(None, within)
            .map_err(|error| kafka_error(&self.cluster, action, &error))?;
        let brokers = metadata.brokers().iter().map(|broker| Broker {
            id: broker.id(),
            host: broker.host().to_owned(),
            port: u16::try_from(broker.port()).unwrap_or(0),
        });
        let mut brokers: Vec<Broker> = brokers.collect();
        brokers.sort_by_key(|broker| broker.id);
        let id = self.consumer.client().fetch_cluster_id(within);
        Ok(ClusterInfo { id, brokers })
    }

    /// Every topic, by name.
    pub(crate) fn topics(&self) -> Result<Vec<TopicInfo>, Error> {
        self.idle(Duration::ZERO);
        let metadata = self
            .consumer
            .fetch_metadata(None, self.patience)
            .map_err(|error| self.fail("list the topics", &error))?;
        let mut topics: Vec<TopicInfo> = metadata.topics().iter().map(topic_info).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(topics)
    }

    /// One topic, `None` if there is none of that name.
    pub(crate) fn topic(&self, name: &str) -> Result<Option<TopicInfo>, Error> {
        self.idle(Duration::ZERO);
        let action = format!("describe topic `{name}`");
        let metadata = self
            .consumer
            .fetch_metadata(Some(name), self.patience)
            .map_err(|error| self.fail(&action, &error))?;
        let Some(topic) = metadata.topics().first() else {
            return Ok(None);
        };
        match topic.error().map(RDKafkaErrorCode::from) {
            None => Ok(Some(topic_info(topic))),
            Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Ok(None)
            }
            Some(code) => Err(code_error(action, code)),
        }
    }

    /// Creates a topic; what is `None` is left to the broker.
    pub(crate) fn create_topic(
        &self,
        name: &str,
        partitions: Option<i32>,
        replication: Option<i32>,
        configs: &[(&str, &str)],
    ) -> Result<(), Error> {
        let replication = TopicReplication::Fixed(replication.unwrap_or(-1));
        let topic = NewTopic::new(name, partitions.unwrap_or(-1), replication);
        let topic = configs
            .iter()
            .fold(topic, |topic, (key, value)| topic.set(key, value));
        let answer = block_on(self.admin.create_topics([&topic], &self.options()));
        self.settle(&format!("create topic `{name}`"), answer)
    }

    pub(crate) fn delete_topic(&self, name: &str) -> Result<(), Error> {
        let answer = block_on(self.admin.delete_topics(&[name], &self.options()));
        self.settle(&format!("delete topic `{name}`"), answer)
    }

    /// Raises the number of partitions to `total`.
    pub(crate) fn add_partitions(&self, name: &str, total: usize) -> Result<(), Error> {
        let answer = block_on(
            self.admin
                .create_partitions([&NewPartitions::new(name, total)], &self.options()),
        );
        self.settle(
            &format!("raise the partitions of topic `{name}` to {total}"),
            answer,
        )
    }

    /// All configuration of a topic, by name.
    pub(crate) fn configs(&self, name: &str) -> Result<Vec<TopicConfig>, Error> {
        self.configs_within(name, self.patience)
    }

    /// As [`configs`](Self::configs), asked for so long.
    pub(crate) fn configs_within(
        &self,
        name: &str,
        patience: Duration,
    ) -> Result<Vec<TopicConfig>, Error> {
        let options = self.options().request_timeout(Some(patience));
        let action = format!("read the configuration of topic `{name}`");
        let answer = block_on(
            self.admin
                .describe_configs([&ResourceSpecifier::Topic(name)], &options),
        )
        .map_err(|error| self.fail(&action, &error))?;
        let mut configs = Vec::new();
        for resource in answer {
            let resource = resource.map_err(|code| match code {
                RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
                    Error::UnknownTopic {
                        topic: name.to_owned(),
                    }
                }
                code => code_error(&*action, code),
            })?;
            configs.extend(resource.entries.into_iter().map(|entry| TopicConfig {
                is_set_on_topic: entry.source == ConfigSource::DynamicTopic,
                name: entry.name,
                value: if entry.is_sensitive {
                    None
                } else {
                    entry.value
                },
            }));
        }
        configs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(configs)
    }

    /// Replaces everything that is set on the topic itself.
    pub(crate) fn replace_configs(
        &self,
        name: &str,
        configs: &[(String, String)],
    ) -> Result<(), Error> {
        let action = format!("change the configuration of topic `{name}`");
        let change = AlterConfig::new(ResourceSpecifier::Topic(name));
        let change = configs
            .iter()
            .fold(change, |change, (key, value)| change.set(key, value));
        let answer = block_on(self.admin.alter_configs([&change], &self.options()))
            .map_err(|error| self.fail(&action, &error))?;
        let refused = answer.into_iter().find_map(Result::err);
        refused.map_or(Ok(()), |(_, code)| Err(code_error(action, code)))
    }

    /// Deletes the records before these offsets.
    pub(crate) fn delete_records(
        &self,
        before: &[(TopicPartition, NextOffset)],
    ) -> Result<(), Error> {
        let positions = before
            .iter()
            .map(|(partition, offset)| (partition, *offset));
        let all: Vec<_> = before
            .iter()
            .map(|(partition, _)| partition.clone())
            .collect();
        let action = format!("delete records of {}", offsets::names(&all));
        let deleted = offsets::list_of(positions)
            .and_then(|list| block_on(self.admin.delete_records(&list, &self.options())))
            .map_err(|error| self.fail(&action, &error))?;
        for element in deleted.elements() {
            let action = format!(
                "delete records of {}[{}]",
                element.topic(),
                element.partition()
            );
            element
                .error()
                .map_err(|error| self.fail(&action, &error))?;
        }
        Ok(())
    }

    pub(crate) fn delete_group(&self, group: &str) -> Result<(), Error> {
        let action = format!("delete group `{group}`");
        let answer = block_on(self.admin.delete_groups(&[group], &self.options()))
            .map_err(|error| self.fail(&action, &error))?;
        match answer.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some((_, RDKafkaErrorCode::GroupIdNotFound)) => Err(Error::UnknownGroup {
                group: group.to_owned(),
            }),
            Some((_, code)) => Err(code_error(action, code)),
        }
    }

    /// One offset of each partition; see [`offsets::fetch`].
    pub(crate) fn offsets(
        &self,
        partitions: &[TopicPartition],
        which: Which,
    ) -> Result<ByPartition, Error> {
        offsets::fetch(
            &self.consumer,
            &self.cluster,
            partitions,
            which,
            self.patience,
        )
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new()
            .request_timeout(Some(self.patience))
            .operation_timeout(Some(self.patience))
    }

    /// The answer about one topic.
    fn settle(
        &self,
        action: &str,
        answer: Result<Vec<TopicResult>, KafkaError>,
    ) -> Result<(), Error> {
        let results = answer.map_err(|error| self.fail(action, &error))?;
        match results.into_iter().find_map(Result::err) {
            None => Ok(()),
            Some((topic, RDKafkaErrorCode::TopicAlreadyExists)) => {
                Err(Error::TopicExists { topic })
            }
            Some((topic, RDKafkaErrorCode::UnknownTopicOrPartition)) => {
                Err(Error::UnknownTopic { topic })
            }
            Some((_, code)) => Err(code_error(action, code)),
        }
    }

    pub(super) fn fail(&self, action: &str, error: &KafkaError) -> Error {
        kafka_error(&self.cluster, action, error)
    }
}

fn topic_info(topic: &MetadataTopic) -> TopicInfo {
    let mut partitions: Vec<PartitionInfo> = topic
        .partitions()
        .iter()
        .map(|partition| PartitionInfo {
            partition: Partition(partition.id()),
            leader: Some(partition.leader()).filter(|leader| *leader >= 0),
            replicas: partition.replicas().to_vec(),
            in_sync: partition.isr().to_vec(),
        })
        .collect();
    partitions.sort_by_key(|info| info.partition);
    TopicInfo {
        name: topic.name().to_owned(),
        partitions,
    }
}

/// Sleeps until the future is done; it is completed by another thread.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}
