//! CreatePartitions: gives topics more partitions; never fewer.
//!
//! Records stay where they are, so that keys may go to other partitions from here on: the client's decision.

use std::collections::HashMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::create_partitions_request::{
    CreatePartitionsRequest, CreatePartitionsTopic,
};
use kafka_protocol::messages::create_partitions_response::{
    CreatePartitionsResponse, CreatePartitionsTopicResult,
};
use kafka_protocol::protocol::StrBytes;

use super::Client;
use crate::broker::Broker;
use crate::topics::{Refused, Topic};

pub(crate) async fn handle(
    broker: &Broker,
    client: &Client,
    request: CreatePartitionsRequest,
    version: i16,
) -> CreatePartitionsResponse {
    let mut times: HashMap<TopicName, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let mut results = Vec::with_capacity(request.topics.len());
    let mut wait = 0;
    for wanted in request.topics {
        let grown = match times.remove(&wanted.name) {
            Some(1) => check(broker, &wanted).and_then(|(topic, more)| {
                if request.validate_only {
                    return Ok(());
                }
                let allowed = super::mutate(broker, client, more, version >= 3);
                let (Ok(longer) | Err(longer)) = allowed;
                wait = wait.max(longer);
                allowed.map_err(|_| super::mutation_refused())?;
                tokio::task::block_in_place(|| broker.topics.grow(&topic, wanted.count))
            }),
            Some(_) => Err(Refused::new(
                ResponseError::InvalidRequest,
                "Duplicate topic name.",
            )),
            None => continue,
        };
        let result = CreatePartitionsTopicResult::default().with_name(wanted.name);
        results.push(match grown {
            Ok(()) => result,
            Err(refused) => result
                .with_error_code(refused.code.code())
                .with_error_message(Some(StrBytes::from_string(refused.message))),
        });
    }
    CreatePartitionsResponse::default()
        .with_results(results)
        .with_throttle_time_ms(wait)
}

/// The topic, and how many partitions it is to have more.
fn check(broker: &Broker, wanted: &CreatePartitionsTopic) -> Result<(Arc<Topic>, usize), Refused> {
    let invalid = |text: String| Err(Refused::new(ResponseError::InvalidPartitions, text));
    let Some(topic) = broker.topics.get(&wanted.name) else {
        return Err(Refused::new(
            ResponseError::UnknownTopicOrPartition,
            "This server does not host this topic-partition.",
        ));
    };
    let (name, count, now) = (wanted.name.as_str(), wanted.count, topic.count());
    if count == now {
        return invalid(format!("Topic already has {now} partition(s)."));
    }
    if count < now {
        return invalid(format!(
            "The topic {name} currently has {now} partition(s); {count} would not be an increase."
        ));
    }
    if count > broker.config.max_partitions {
        let text = format!(
            "A topic may have {} partitions at most.",
            broker.config.max_partitions
        );
        return Err(Refused::new(ResponseError::PolicyViolation, text));
    }
    if let Some(assignments) = &wanted.assignments {
        let more = count - now;
        if i32::try_from(assignments.len()) != Ok(more) {
            let text = format!(
                "Attempted to add {more} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            );
            return Err(Refused::new(ResponseError::InvalidReplicaAssignment, text));
        }
        for assignment in assignments {
            super::check_replicas(broker, &assignment.broker_ids)?;
        }
    }
    Ok((topic, usize::try_from(count - now).unwrap_or(0)))
}
