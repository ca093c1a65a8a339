//! DescribeConfigs: the configs of topics, of groups and of this broker, where each value comes from, and what it means.
//!
//! Broker configs go by Kafka's names; those that topics follow can be changed while the broker runs, the others are read-only.

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_configs_request::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult,
    DescribeConfigsSynonym,
};
use kafka_protocol::protocol::StrBytes;

use super::{Client, once};
use crate::broker::Broker;
use crate::config::Config;
use crate::config::names::{self, BrokerConfig, INT};
use crate::groups::configs;
use crate::topics::config::{self, DEFINITIONS, Definition, Overrides, Source};
use crate::topics::defaults::{self, Scope};
use crate::topics::{Refused, name};

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;
pub(super) const GROUP: i8 = 32;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let ask = Ask {
        synonyms: request.include_synonyms,
        types: version >= 3,
        help: version >= 3 && request.include_documentation,
    };
    let place =
        |wanted: &DescribeConfigsResource| (wanted.resource_type, wanted.resource_name.clone());
    let results = once(request.resources, place).map(|wanted| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name.clone());
        match ask.describe(broker, &wanted) {
            Ok(configs) => result.with_configs(configs),
            Err(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

/// What a request wants to know of each config.
struct Ask {
    synonyms: bool,
    types: bool,
    help: bool,
}

impl Ask {
    fn describe(
        &self,
        broker: &Broker,
        wanted: &DescribeConfigsResource,
    ) -> Result<Vec<DescribeConfigsResourceResult>, Refused> {
        let keys = wanted.configuration_keys.as_ref();
        let asked =
            |name: &str| keys.is_none_or(|keys| keys.iter().any(|key| key.as_str() == name));
        match wanted.resource_type {
            TOPIC => {
                name::check(&wanted.resource_name)
                    .map_err(|text| Refused::new(ResponseError::InvalidTopicException, text))?;
                let topic = broker.topics.get(&wanted.resource_name).ok_or_else(|| {
                    let text = "This server does not host this topic-partition.";
                    Refused::new(ResponseError::UnknownTopicOrPartition, text)
                })?;
                let overrides = topic.overrides();
                let asked = DEFINITIONS.iter().filter(|of| asked(of.name));
                Ok(asked
                    .map(|of| self.topic_config(broker, of, &overrides))
                    .collect())
            }
            // The name of no broker stands for what was set for all brokers.
            BROKER if wanted.resource_name.is_empty() => {
                let defaults = broker.topics.defaults();
                let set = defaults.dynamic.of(Scope::All).iter();
                let set = set.filter_map(|(name, value)| {
                    let of = defaults::definition(name)?;
                    let config = BrokerConfig {
                        name: of.broker.filter(|name| asked(name))?,
                        type_code: of.type_code(),
                        layers: vec![(Source::DynamicDefault, value.clone())],
                        read_only: false,
                    };
                    Some(self.broker_config(config))
                });
                Ok(set.collect())
            }
            BROKER => {
                check_broker(broker, &wanted.resource_name)?;
                let all = names::list(&broker.config, &broker.topics.defaults());
                Ok(all
                    .into_iter()
                    .filter(|config| asked(config.name))
                    .map(|config| self.broker_config(config))
                    .collect())
            }
            GROUP if wanted.resource_name.is_empty() => Err(Refused::new(
                ResponseError::InvalidRequest,
                "Group name must not be empty",
            )),
            GROUP => {
                let overrides = broker.group_configs.of(&wanted.resource_name);
                let asked = configs::DEFINITIONS.iter().filter(|of| asked(of.name));
                Ok(asked
                    .map(|of| self.group_config(broker, of, &overrides))
                    .collect())
            }
            other => Err(Refused::new(
                ResponseError::InvalidRequest,
                format!("Unsupported resource type: {other}"),
            )),
        }
    }

    fn topic_config(
        &self,
        broker: &Broker,
        of: &Definition,
        overrides: &Overrides,
    ) -> DescribeConfigsResourceResult {
        let defaults = broker.topics.defaults();
        let mut synonyms = Vec::new();
        if self.synonyms {
            if let Some(value) = overrides.get(of.name) {
                synonyms.push(synonym(of.name, (Source::Topic, value.clone())));
            }
            if let Some(name) = of.broker {
                let layers = defaults.layers(of).into_iter();
                synonyms.extend(layers.map(|layer| synonym(name, layer)));
            }
        }
        let mut result = DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(of.name))
            .with_value(Some(StrBytes::from_string(config::effective(
                overrides, &defaults, of,
            ))))
            .with_config_source(config::source(overrides, &defaults, of) as i8)
            .with_synonyms(synonyms);
        if self.types {
            result.config_type = of.type_code();
        }
        if self.help {
            result.documentation = Some(StrBytes::from_static_str(of.help));
        }
        result
    }

    fn group_config(
        &self,
        broker: &Broker,
        of: &configs::Definition,
        overrides: &Overrides,
    ) -> DescribeConfigsResourceResult {
        let (default, inherited) = (
            of.broker_value(&Config::new("")).to_string(),
            of.broker_value(&broker.config).to_string(),
        );
        let mut all = Vec::new();
        if let Some(value) = overrides.get(of.name) {
            all.push((of.name, value.clone(), Source::Group));
        }
        if inherited != default {
            all.push((of.broker, inherited, Source::Broker));
        }
        all.push((of.broker, default, Source::Default));
        let mut result =
            DescribeConfigsResourceResult::default().with_name(StrBytes::from_static_str(of.name));
        if let Some((_, value, source)) = all.first() {
            result.value = Some(StrBytes::from_string(value.clone()));
            result.config_source = *source as i8;
        }
        if self.synonyms {
            let all = all.into_iter();
            result.synonyms = all
                .map(|(name, value, source)| synonym(name, (source, value)))
                .collect();
        }
        if self.types {
            result.config_type = INT;
        }
        if self.help {
            result.documentation = Some(StrBytes::from_static_str(of.help));
        }
        result
    }

    fn broker_config(&self, config: BrokerConfig) -> DescribeConfigsResourceResult {
        let mut result = DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(config.name))
            .with_read_only(config.read_only);
        if let Some((source, value)) = config.layers.first() {
            result.config_source = *source as i8;
            result.value = Some(StrBytes::from_string(value.clone()));
        }
        if self.synonyms {
            let layers = config.layers.into_iter();
            result.synonyms = layers.map(|layer| synonym(config.name, layer)).collect();
        }
        if self.types {
            result.config_type = config.type_code;
        }
        result
    }
}

fn synonym(name: &str, (source, value): (Source, String)) -> DescribeConfigsSynonym {
    DescribeConfigsSynonym::default()
        .with_name(StrBytes::from_string(name.to_owned()))
        .with_value(Some(StrBytes::from_string(value)))
        .with_source(source as i8)
}

/// Broker configs can be asked of this broker only.
pub(super) fn check_broker(broker: &Broker, name: &str) -> Result<(), Refused> {
    let this = broker.config.node_id;
    let refused = |text: String| Err(Refused::new(ResponseError::InvalidRequest, text));
    match name.parse::<i32>() {
        Ok(id) if id == this => Ok(()),
        Ok(id) => refused(format!(
            "Unexpected broker id, expected {this} or empty string, but received {id}"
        )),
        Err(_) => refused(format!("Broker id must be an integer, but it is: {name}")),
    }
}
