//! Configurations of topics, brokers and groups.
//!
//! A broker answers for its own, any for the others. Changes are incremental: what is not named stays as it is.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use kafka_protocol::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};
use kafka_protocol::protocol::StrBytes;

use super::asking::{Operation, Read, Route};
use super::refusal::answered;
use super::{Admin, Each, Mode, once};
use crate::error::Error;
use crate::wire::api::{Call, Reply};
use crate::wire::text;

/// What has a configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Resource {
    /// A topic.
    Topic(String),
    /// A broker.
    Broker(i32),
    /// All brokers: what holds for one unless its own configuration says otherwise.
    AllBrokers,
    /// A group, on clusters from Apache Kafka 4.0 on.
    Group(String),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Topic(name) => write!(f, "topic `{name}`"),
            Self::Broker(node) => write!(f, "broker {node}"),
            Self::AllBrokers => f.write_str("all brokers"),
            Self::Group(name) => write!(f, "group `{name}`"),
        }
    }
}

impl Resource {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    const GROUP: i8 = 32;

    fn wire(&self) -> (i8, StrBytes) {
        match self {
            Self::Topic(name) => (Self::TOPIC, text(name)),
            Self::Broker(node) => (Self::BROKER, text(&node.to_string())),
            Self::AllBrokers => (Self::BROKER, StrBytes::default()),
            Self::Group(name) => (Self::GROUP, text(name)),
        }
    }

    fn read(kind: i8, name: &StrBytes) -> Option<Self> {
        Some(match kind {
            Self::TOPIC => Self::Topic(name.to_string()),
            Self::BROKER if name.is_empty() => Self::AllBrokers,
            Self::BROKER => Self::Broker(name.parse().ok()?),
            Self::GROUP => Self::Group(name.to_string()),
            _ => return None,
        })
    }

    fn route(&self, otherwise: Route) -> Route {
        match self {
            Self::Broker(node) => Route::Broker(*node),
            _ => otherwise,
        }
    }
}

/// One value of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfigEntry {
    /// The value; `None` if there is none, or if it is a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
    /// Whether it cannot be changed while the broker runs.
    pub is_read_only: bool,
    /// Whether it is a secret, which is never shown.
    pub is_sensitive: bool,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigSource {
    /// It was set for this topic.
    Topic,
    /// It was set for this broker while it ran.
    Broker,
    /// It was set for all brokers while they ran.
    AllBrokers,
    /// The broker was started with it.
    StartedWith,
    /// Nobody set it.
    Default,
    /// It was set for this broker's loggers.
    Logger,
    /// It was set for this group.
    Group,
    /// A source that this client does not know.
    Unknown,
}

impl ConfigSource {
    fn of(code: i8) -> Self {
        match code {
            1 => Self::Topic,
            2 => Self::Broker,
            3 => Self::AllBrokers,
            4 => Self::StartedWith,
            5 => Self::Default,
            6 => Self::Logger,
            8 => Self::Group,
            _ => Self::Unknown,
        }
    }
}

/// A change of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigChange {
    /// Sets it.
    Set(String),
    /// Takes away what was set, so that the next wider setting or the default holds again.
    Reset,
    /// Adds to a list what it does not have.
    Append(String),
    /// Takes from a list what it has.
    Subtract(String),
}

impl ConfigChange {
    fn wire(&self) -> (i8, Option<StrBytes>) {
        match self {
            Self::Set(value) => (0, Some(text(value))),
            Self::Reset => (1, None),
            Self::Append(value) => (2, Some(text(value))),
            Self::Subtract(value) => (3, Some(text(value))),
        }
    }
}

/// The values of one thing, by name.
type Entries = BTreeMap<String, ConfigEntry>;
/// The changes of one thing, by name.
type Changes = BTreeMap<String, ConfigChange>;

impl Admin {
    /// Configurations, with defaults, by name.
    ///
    /// # Errors
    /// Of one resource: [`Error::Administration`] if the cluster does not have it.
    pub fn configs(&mut self, resources: &[Resource]) -> Result<Each<Resource, Entries>, Error> {
        self.each(&DescribeConfigs, resources.iter().cloned())
    }

    /// Changes values and leaves all others as they are. The changes of one resource are made together or not at all; an answer means that
    /// the controller has them, and brokers know them a moment later.
    ///
    /// # Errors
    /// [`Error::Refused`] if a resource is there twice. Of one resource: [`Error::Administration`] if the cluster does not have it, or if a name or value is not possible.
    pub fn alter_configs(
        &mut self,
        changes: &[(Resource, Changes)],
        mode: Mode,
    ) -> Result<Each<Resource, ()>, Error> {
        let named = changes.iter().map(|(one, changes)| (one.clone(), changes));
        let changes = once("", named)?;
        let resources: Vec<Resource> = changes.keys().cloned().collect();
        self.each(&AlterConfigs { changes, mode }, resources)
    }
}

struct DescribeConfigs;

fn entry(config: DescribeConfigsResourceResult) -> (String, ConfigEntry) {
    let entry = ConfigEntry {
        value: config.value.map(|value| value.to_string()),
        source: ConfigSource::of(config.config_source),
        is_read_only: config.read_only,
        is_sensitive: config.is_sensitive,
    };
    (config.name.to_string(), entry)
}

impl Operation for DescribeConfigs {
    type Item = Resource;
    type Value = Entries;
    const CHANGES: bool = false;

    fn what(&self, resource: &Resource) -> String {
        format!("describe the configuration of {resource}")
    }

    fn route(&self, resource: &Resource) -> Route {
        resource.route(Route::Any)
    }

    fn call(&self, resources: &[Resource], _: Duration) -> Call {
        let resources = resources.iter().map(|resource| {
            let (kind, name) = resource.wire();
            DescribeConfigsResource::default()
                .with_resource_type(kind)
                .with_resource_name(name)
                .with_configuration_keys(None)
        });
        let request = DescribeConfigsRequest::default();
        Call::DescribeConfigs(request.with_resources(resources.collect()))
    }

    fn read(&self, reply: Reply, _: &[Resource]) -> Read<Resource, Entries> {
        let Reply::DescribeConfigs(reply) = reply else {
            return Vec::new();
        };
        let results = reply.results.into_iter().filter_map(|result| {
            let resource = Resource::read(result.resource_type, &result.resource_name)?;
            let entries = || result.configs.into_iter().map(entry).collect();
            let message = result.error_message.as_ref();
            Some((resource, answered(result.error_code, message, entries)))
        });
        results.collect()
    }
}

struct AlterConfigs<'a> {
    changes: BTreeMap<Resource, &'a Changes>,
    mode: Mode,
}

impl AlterConfigs<'_> {
    fn of(&self, resource: &Resource) -> AlterConfigsResource {
        let (kind, name) = resource.wire();
        let changes = self.changes.get(resource).into_iter().copied().flatten();
        let configs = changes.map(|(name, change)| {
            let (operation, value) = change.wire();
            AlterableConfig::default()
                .with_name(text(name))
                .with_config_operation(operation)
                .with_value(value)
        });
        AlterConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(name)
            .with_configs(configs.collect())
    }
}

impl Operation for AlterConfigs<'_> {
    type Item = Resource;
    type Value = ();
    const CHANGES: bool = true;

    fn what(&self, resource: &Resource) -> String {
        format!("change the configuration of {resource}")
    }

    fn route(&self, resource: &Resource) -> Route {
        resource.route(Route::Controller)
    }

    fn call(&self, resources: &[Resource], _: Duration) -> Call {
        let request = IncrementalAlterConfigsRequest::default()
            .with_resources(resources.iter().map(|one| self.of(one)).collect())
            .with_validate_only(self.mode.validates_only());
        Call::IncrementalAlterConfigs(request)
    }

    fn read(&self, reply: Reply, _: &[Resource]) -> Read<Resource, ()> {
        let Reply::IncrementalAlterConfigs(reply) = reply else {
            return Vec::new();
        };
        let results = reply.responses.into_iter().filter_map(|result| {
            let resource = Resource::read(result.resource_type, &result.resource_name)?;
            let message = result.error_message.as_ref();
            Some((resource, answered(result.error_code, message, || ())))
        });
        results.collect()
    }
}
