//! CreateTopics: new topics, each with partitions, configs, or an assignment that can only name this broker.
//!
//! Topics of one request succeed or fail one by one. With `validate_only` everything is checked and nothing made. Errors
//! and texts are those of Apache Kafka's controller.

use std::collections::HashMap;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::Client;
use crate::broker::Broker;
use crate::topics::Refused;
use crate::topics::config::{self, DEFINITIONS, Overrides};
use crate::topics::defaults::Defaults;

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let excessive = excessive(broker, &request.topics);
    let mut times: HashMap<TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(request.topics.len());
    let mut wait = 0;
    for wanted in request.topics {
        match times.remove(&wanted.name) {
            Some(1) if excessive => {
                let text = "Excessively large number of partitions per request.";
                let refused = Refused::new(ResponseError::PolicyViolation, text);
                results.push(refuse(wanted.name, &refused, version));
            }
            Some(1) => {
                let allowed = match request.validate_only {
                    true => Ok(0),
                    false => {
                        let count = usize::try_from(count(broker, &wanted)).unwrap_or(0);
                        super::mutate(broker, client, count, version >= 6)
                    }
                };
                let (Ok(longer) | Err(longer)) = allowed;
                wait = wait.max(longer);
                results.push(match allowed {
                    Ok(_) => one(broker, wanted, request.validate_only, version),
                    Err(_) => refuse(wanted.name, &super::mutation_refused(), version),
                });
            }
            Some(_) => {
                let refused = Refused::new(ResponseError::InvalidRequest, "Duplicate topic name.");
                results.push(refuse(wanted.name, &refused, version));
            }
            // The first of several with this name was answered for all.
            None => {}
        }
    }
    CreateTopicsResponse::default()
        .with_topics(results)
        .with_throttle_time_ms(wait)
}

/// The partitions that a request means, whether it may have them or not.
fn count(broker: &Broker, topic: &CreatableTopic) -> i64 {
    match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(broker.config.num_partitions),
        (0, count) => i64::from(count.max(0)),
        (assigned, _) => i64::try_from(assigned).unwrap_or(i64::MAX),
    }
}

/// Whether all topics of a request together have more partitions than one topic may have.
fn excessive(broker: &Broker, topics: &[CreatableTopic]) -> bool {
    let all: i64 = topics.iter().map(|topic| count(broker, topic)).sum();
    topics.len() > 1 && all > i64::from(broker.config.max_partitions)
}

fn one(
    broker: &Broker,
    wanted: CreatableTopic,
    validate_only: bool,
    version: i16,
) -> CreatableTopicResult {
    let made = resolve(broker, &wanted).and_then(|(partitions, overrides)| {
        if validate_only {
            broker
                .topics
                .check_new(&wanted.name, partitions, &overrides)?;
            return Ok((Uuid::nil(), partitions, overrides));
        }
        let made = tokio::task::block_in_place(|| {
            broker
                .topics
                .create(&wanted.name, partitions, overrides.clone())
        })?;
        Ok((made.id, partitions, overrides))
    });
    match made {
        Ok((id, partitions, overrides)) => {
            let result = CreatableTopicResult::default().with_name(wanted.name);
            let result = if version >= 7 {
                result.with_topic_id(id)
            } else {
                result
            };
            if version < 5 {
                return result;
            }
            let defaults = broker.topics.defaults();
            let configs = DEFINITIONS
                .iter()
                .map(|of| describe(&defaults, of, &overrides))
                .collect();
            result
                .with_num_partitions(partitions)
                .with_replication_factor(1)
                .with_configs(Some(configs))
        }
        Err(refused) => refuse(wanted.name, &refused, version),
    }
}

/// The number of partitions and the configs that a request means.
fn resolve(broker: &Broker, wanted: &CreatableTopic) -> Result<(i32, Overrides), Refused> {
    let partitions = if wanted.assignments.is_empty() {
        counted(broker, wanted)?
    } else {
        assigned(broker, wanted)?
    };
    let mut overrides = Overrides::new();
    for config in &wanted.configs {
        let Some(value) = &config.value else {
            let text = format!(
                "Null value not supported for topic configs: {}",
                config.name
            );
            return Err(Refused::new(ResponseError::InvalidConfig, text));
        };
        overrides.insert(config.name.as_str().to_owned(), value.as_str().to_owned());
    }
    Ok((partitions, overrides))
}

fn counted(broker: &Broker, wanted: &CreatableTopic) -> Result<i32, Refused> {
    match wanted.replication_factor {
        -1 | 1 => {}
        factor if factor < 1 => {
            return Err(Refused::new(
                ResponseError::InvalidReplicationFactor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            ));
        }
        factor => {
            let text = format!(
                "Unable to replicate the partition {factor} time(s): The target replication factor of {factor} \
                 cannot be reached because only 1 broker(s) are registered."
            );
            return Err(Refused::new(ResponseError::InvalidReplicationFactor, text));
        }
    }
    match wanted.num_partitions {
        -1 => Ok(broker.config.num_partitions),
        count if count < 1 => Err(Refused::new(
            ResponseError::InvalidPartitions,
            "Number of partitions was set to an invalid non-positive value.",
        )),
        count => Ok(count),
    }
}

fn assigned(broker: &Broker, wanted: &CreatableTopic) -> Result<i32, Refused> {
    let refused = |text: String| Err(Refused::new(ResponseError::InvalidReplicaAssignment, text));
    if wanted.replication_factor != -1 {
        let text = "A manual partition assignment was specified, but replication factor was not set to -1.";
        return Err(Refused::new(ResponseError::InvalidRequest, text));
    }
    if wanted.num_partitions != -1 {
        let text =
            "A manual partition assignment was specified, but numPartitions was not set to -1.";
        return Err(Refused::new(ResponseError::InvalidRequest, text));
    }
    let mut indexes: Vec<i32> = wanted
        .assignments
        .iter()
        .map(|partition| partition.partition_index)
        .collect();
    indexes.sort_unstable();
    for (expected, index) in (0..).zip(&indexes) {
        if *index < expected {
            return refused(format!(
                "Found multiple manual partition assignments for partition {index}"
            ));
        }
        if *index > expected {
            return refused(
                "partitions should be a consecutive 0-based integer sequence".to_owned(),
            );
        }
    }
    for partition in &wanted.assignments {
        super::check_replicas(broker, &partition.broker_ids)?;
    }
    i32::try_from(indexes.len()).or_else(|_| refused("too many partitions".to_owned()))
}

fn describe(
    defaults: &Defaults,
    of: &config::Definition,
    overrides: &Overrides,
) -> CreatableTopicConfigs {
    CreatableTopicConfigs::default()
        .with_name(StrBytes::from_static_str(of.name))
        .with_value(Some(StrBytes::from_string(config::effective(
            overrides, defaults, of,
        ))))
        .with_config_source(config::source(overrides, defaults, of) as i8)
}

fn refuse(name: TopicName, refused: &Refused, version: i16) -> CreatableTopicResult {
    let result = CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(refused.code.code())
        .with_error_message(Some(StrBytes::from_string(refused.message.clone())));
    // Null would be "not authorised to see".
    if version >= 5 {
        result.with_configs(Some(Vec::new()))
    } else {
        result
    }
}
