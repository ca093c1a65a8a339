//! AlterConfigs: replaces all configs of a topic, a group or the broker with those of the request.
//!
//! Deprecated in Kafka in favour of IncrementalAlterConfigs, since two of them can undo each other; still used by older
//! tools. Of the broker, what topics follow can be changed; the rest is set when it starts.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use kafka_protocol::messages::alter_configs_response::{
    AlterConfigsResourceResponse, AlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use super::describe_configs::{BROKER, GROUP, TOPIC, check_broker};
use crate::broker::Broker;
use crate::topics::Refused;
use crate::topics::config::{self, Overrides};
use crate::topics::defaults::{self, Dynamic, Scope};

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
    let mut times: HashMap<(i8, StrBytes), usize> = HashMap::new();
    for wanted in &request.resources {
        *times
            .entry((wanted.resource_type, wanted.resource_name.clone()))
            .or_default() += 1;
    }
    let responses = request.resources.into_iter().map(|wanted| {
        let once = times.get(&(wanted.resource_type, wanted.resource_name.clone())) == Some(&1);
        let altered = if once {
            alter(broker, &wanted, request.validate_only)
        } else {
            Err(appears_twice())
        };
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(wanted.resource_type)
            .with_resource_name(wanted.resource_name);
        match altered {
            Ok(()) => response,
            Err(refused) => response
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        }
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter(
    broker: &Broker,
    wanted: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refused> {
    let mut overrides = Overrides::new();
    for one in &wanted.configs {
        let Some(value) = &one.value else {
            return Err(null_value(&one.name));
        };
        if overrides
            .insert(one.name.as_str().to_owned(), value.as_str().to_owned())
            .is_some()
        {
            return Err(key_twice());
        }
    }
    match wanted.resource_type {
        TOPIC => replace(broker, &wanted.resource_name, validate_only, |_| {
            Ok(overrides)
        }),
        GROUP => replace_of_group(broker, &wanted.resource_name, validate_only, |_| {
            Ok(overrides)
        }),
        BROKER => replace_of_broker(broker, &wanted.resource_name, validate_only, |_| {
            Ok(overrides)
        }),
        other => Err(unsupported(other)),
    }
}

/// Gives a topic the configs that `change` makes of those it has.
pub(super) fn replace(
    broker: &Broker,
    topic: &str,
    validate_only: bool,
    change: impl FnOnce(&Overrides) -> Result<Overrides, Refused>,
) -> Result<(), Refused> {
    let topic = broker.topics.get(topic).ok_or_else(|| {
        let text = format!("The topic '{topic}' does not exist.");
        Refused::new(ResponseError::UnknownTopicOrPartition, text)
    })?;
    if validate_only {
        let overrides = change(&topic.overrides())?;
        return config::check_all(&overrides)
            .map_err(|text| Refused::new(ResponseError::InvalidConfig, text));
    }
    tokio::task::block_in_place(|| broker.topics.configure(&topic, change))
}

/// Gives a group the configs that `change` makes of those it has.
pub(super) fn replace_of_group(
    broker: &Broker,
    group: &str,
    validate_only: bool,
    change: impl FnOnce(&Overrides) -> Result<Overrides, Refused>,
) -> Result<(), Refused> {
    let (configs, config) = (&broker.group_configs, &broker.config);
    tokio::task::block_in_place(|| configs.replace(group, config, validate_only, change))
}

/// Sets for a broker, or for all when its name is empty, the configs that `change` makes of those that are set.
pub(super) fn replace_of_broker(
    broker: &Broker,
    name: &str,
    validate_only: bool,
    change: impl FnOnce(&Overrides) -> Result<Overrides, Refused>,
) -> Result<(), Refused> {
    let scope = match name {
        "" => Scope::All,
        name => {
            check_broker(broker, name)?;
            Scope::This
        }
    };
    let change = |now: &Dynamic| {
        let overrides = change(now.of(scope))?;
        defaults::check_all(&overrides)?;
        Ok(now.with(scope, overrides))
    };
    if validate_only {
        return change(&broker.topics.defaults().dynamic).map(|_| ());
    }
    tokio::task::block_in_place(|| broker.topics.change_defaults(change))
}

pub(super) fn unsupported(kind: i8) -> Refused {
    let text = format!("Unsupported resource type: {kind}");
    Refused::new(ResponseError::InvalidRequest, text)
}

pub(super) fn appears_twice() -> Refused {
    Refused::new(
        ResponseError::InvalidRequest,
        "Each resource must appear at most once.",
    )
}

pub(super) fn key_twice() -> Refused {
    Refused::new(
        ResponseError::InvalidRequest,
        "Error due to duplicate config keys",
    )
}

pub(super) fn null_value(key: &str) -> Refused {
    Refused::new(
        ResponseError::InvalidRequest,
        format!("Null value not supported for : {key}"),
    )
}
