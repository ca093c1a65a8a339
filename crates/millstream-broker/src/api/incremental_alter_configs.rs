//! IncrementalAlterConfigs: sets, deletes, appends to or takes from single configs of a topic, a group or the broker.
//!
//! All changes of one resource happen together or not at all, on top of what is set at that moment.

use std::collections::{HashMap, HashSet};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use super::alter_configs::{
    appears_twice, key_twice, null_value, replace, replace_of_broker, replace_of_group, unsupported,
};
use super::describe_configs::{BROKER, GROUP, TOPIC};
use crate::broker::Broker;
use crate::topics::Refused;
use crate::topics::config::{self, Overrides};
use crate::topics::defaults;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(crate) async fn handle(
    broker: &Broker,
    _client: &Client,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

fn alter(
    broker: &Broker,
    wanted: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), Refused> {
    let mut keys = HashSet::new();
    for change in &wanted.configs {
        if !keys.insert(&change.name) {
            return Err(key_twice());
        }
        if change.value.is_none() && change.config_operation != DELETE {
            return Err(null_value(&change.name));
        }
    }
    let defaults = broker.topics.defaults();
    match wanted.resource_type {
        TOPIC => replace(broker, &wanted.resource_name, validate_only, |now| {
            let mut overrides = now.clone();
            for change in &wanted.configs {
                let of = config::definition(&change.name).filter(|of| of.is_list());
                let list = of.map(|of| config::effective(&overrides, &defaults, of));
                apply(&mut overrides, change, list)?;
            }
            Ok(overrides)
        }),
        GROUP => replace_of_group(broker, &wanted.resource_name, validate_only, |now| {
            let mut overrides = now.clone();
            for change in &wanted.configs {
                apply(&mut overrides, change, None)?;
            }
            Ok(overrides)
        }),
        BROKER => replace_of_broker(broker, &wanted.resource_name, validate_only, |now| {
            let mut overrides = now.clone();
            for change in &wanted.configs {
                let of = defaults::check_name(&change.name)?;
                let list = of.is_list().then(|| defaults.value(of).1);
                let list =
                    list.map(|list| overrides.get(change.name.as_str()).unwrap_or(&list).clone());
                apply(&mut overrides, change, list)?;
            }
            Ok(overrides)
        }),
        other => Err(unsupported(other)),
    }
}

/// Makes one change; `list` is what a config counts as now that holds several values.
fn apply(
    overrides: &mut Overrides,
    change: &AlterableConfig,
    list: Option<String>,
) -> Result<(), Refused> {
    let key = change.name.as_str();
    let value = change.value.as_ref().map_or("", |value| value.as_str());
    let what = match change.config_operation {
        SET => {
            overrides.insert(key.to_owned(), value.to_owned());
            return Ok(());
        }
        DELETE => {
            overrides.remove(key);
            return Ok(());
        }
        APPEND => "APPEND",
        SUBTRACT => "SUBTRACT",
        other => {
            let text = format!("Unknown operation type {other} for config {key}");
            return Err(Refused::new(ResponseError::InvalidRequest, text));
        }
    };
    let Some(now) = list else {
        let text = format!("Can't {what} to key {key} because its type is not LIST.");
        return Err(Refused::new(ResponseError::InvalidConfig, text));
    };
    let mut values: Vec<&str> = now
        .split(',')
        .map(str::trim)
        .filter(|one| !one.is_empty())
        .collect();
    for one in value.split(',').map(str::trim) {
        values.retain(|other| *other != one || change.config_operation == APPEND);
        if change.config_operation == APPEND && !values.contains(&one) {
            values.push(one);
        }
    }
    overrides.insert(key.to_owned(), values.join(","));
    Ok(())
}
