//! What requests on topics need: read, write, describe, create, delete, alter; each topic of a request for itself.
//!
//! A topic may be named by its id; one that is not known is left to the API, which says so.

use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::create_topics_response::{
    CreatableTopicResult, CreateTopicsResponse,
};
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::{
    DeletableTopicResult, DeleteTopicsResponse,
};
use kafka_protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, TopicResponse,
};
use kafka_protocol::messages::describe_topic_partitions_response::{
    DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::produce_response::{
    PartitionProduceResponse, ProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, DeleteRecordsRequest,
    DeleteRecordsResponse, DeleteTopicsRequest, DescribeProducersRequest,
    DescribeTopicPartitionsRequest, ListOffsetsRequest, OffsetForLeaderEpochRequest,
    ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Guard, Guarded, NO_TOPIC, NO_TRANSACTION, Verdict, take};
use crate::security::rules::{Operation, Resource};

mod metadata;

impl Guard<'_> {
    /// Whether an operation on a topic is denied.
    fn denies_topic(&self, operation: Operation, name: &TopicName) -> bool {
        self.access.denies(operation, Resource::topic(name))
    }

    /// The same for a topic that may go by its id; one that is not known is left to the API.
    fn denies_named(&self, operation: Operation, name: &TopicName, id: &Uuid) -> bool {
        match id.is_nil() {
            true => self.denies_topic(operation, name),
            false => {
                let topic = self.broker.topics.by_id(id);
                topic.is_some_and(|topic| self.denies_topic(operation, &topic.name))
            }
        }
    }
}

fn not_produced(
    data: kafka_protocol::messages::produce_request::TopicProduceData,
    code: i16,
) -> TopicProduceResponse {
    let partitions = data.partition_data.into_iter().map(|partition| {
        PartitionProduceResponse::default()
            .with_index(partition.index)
            .with_error_code(code)
            .with_base_offset(-1)
            .with_log_append_time_ms(-1)
            .with_log_start_offset(-1)
    });
    TopicProduceResponse::default()
        .with_name(data.name)
        .with_topic_id(data.topic_id)
        .with_partition_responses(partitions.collect())
}

impl Guarded for ProduceRequest {
    type Response = ProduceResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<ProduceResponse> {
        let id = self.transactional_id.as_ref();
        let code = match id.is_some_and(|id| at.denies_transaction(Operation::Write, id)) {
            true => NO_TRANSACTION,
            false => NO_TOPIC,
        };
        let denied = take(&mut self.topic_data, |data| {
            code == NO_TRANSACTION || at.denies_named(Operation::Write, &data.name, &data.topic_id)
        });
        if denied.is_empty() {
            return Verdict::SERVE;
        }
        Verdict::amend(move |response: &mut ProduceResponse| {
            let denied = denied.into_iter().map(|data| not_produced(data, code));
            response.responses.extend(denied);
        })
    }
}

impl Guarded for ListOffsetsRequest {
    type Response = ListOffsetsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<ListOffsetsResponse> {
        let denied = take(&mut self.topics, |wanted| {
            at.denies_topic(Operation::Describe, &wanted.name)
        });
        Verdict::amend(move |response: &mut ListOffsetsResponse| {
            for wanted in denied {
                let partitions = wanted.partitions.iter().map(|partition| {
                    ListOffsetsPartitionResponse::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(NO_TOPIC)
                        .with_timestamp(-1)
                        .with_offset(-1)
                });
                response.topics.push(
                    ListOffsetsTopicResponse::default()
                        .with_name(wanted.name)
                        .with_partitions(partitions.collect()),
                );
            }
        })
    }
}

impl Guarded for OffsetForLeaderEpochRequest {
    type Response = OffsetForLeaderEpochResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<OffsetForLeaderEpochResponse> {
        if at
            .access
            .allows(Operation::ClusterAction, Resource::CLUSTER)
        {
            return Verdict::SERVE;
        }
        let denied = take(&mut self.topics, |wanted| {
            at.denies_topic(Operation::Describe, &wanted.topic)
        });
        Verdict::amend(move |response: &mut OffsetForLeaderEpochResponse| {
            for wanted in denied {
                let partitions = wanted.partitions.iter().map(|partition| {
                    EpochEndOffset::default()
                        .with_partition(partition.partition)
                        .with_error_code(NO_TOPIC)
                        .with_leader_epoch(-1)
                        .with_end_offset(-1)
                });
                response.topics.push(
                    OffsetForLeaderTopicResult::default()
                        .with_topic(wanted.topic)
                        .with_partitions(partitions.collect()),
                );
            }
        })
    }
}

impl Guarded for CreateTopicsRequest {
    type Response = CreateTopicsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<CreateTopicsResponse> {
        let any = at.access.allows(Operation::Create, Resource::CLUSTER);
        let denied = take(&mut self.topics, |wanted| {
            !any && at.denies_topic(Operation::Create, &wanted.name)
        });
        let (access, version) = (at.access.clone(), at.version);
        Verdict::amend(move |response: &mut CreateTopicsResponse| {
            for result in response.topics.iter_mut().filter(|_| version >= 5) {
                let resource = Resource::topic(&result.name);
                if result.error_code == 0 && access.denies(Operation::DescribeConfigs, resource) {
                    result.topic_config_error_code = NO_TOPIC;
                    result.num_partitions = -1;
                    result.replication_factor = -1;
                    result.configs = Some(Vec::new());
                }
            }
            let denied = denied.into_iter().map(|wanted| {
                CreatableTopicResult::default()
                    .with_name(wanted.name)
                    .with_error_code(NO_TOPIC)
                    .with_error_message(Some(StrBytes::from_static_str("Authorization failed.")))
            });
            response.topics.extend(denied);
        })
    }
}

impl Guarded for DeleteTopicsRequest {
    type Response = DeleteTopicsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DeleteTopicsResponse> {
        let named = take(&mut self.topic_names, |name| {
            at.denies_topic(Operation::Delete, name)
        });
        let none = TopicName::default();
        let states = take(&mut self.topics, |state| {
            let name = state.name.as_ref().unwrap_or(&none);
            at.denies_named(Operation::Delete, name, &state.topic_id)
        });
        // Who may know of a topic also learns its name.
        let name = |state: &DeleteTopicState| match &state.name {
            Some(name) => Some(name.clone()),
            None => at
                .broker
                .topics
                .by_id(&state.topic_id)
                .map(|topic| topic.name.clone())
                .filter(|name| !at.denies_topic(Operation::Describe, name)),
        };
        let named = named.into_iter().map(|name| (Some(name), Uuid::nil()));
        let states = states.iter().map(|state| (name(state), state.topic_id));
        let denied: Vec<_> = named.chain(states).collect();
        let version = at.version;
        Verdict::amend(move |response: &mut DeleteTopicsResponse| {
            let denied = denied.into_iter().map(|(name, id)| {
                let result = DeletableTopicResult::default()
                    .with_name(name)
                    .with_topic_id(id)
                    .with_error_code(NO_TOPIC);
                match version {
                    ..5 => result,
                    _ => result.with_error_message(super::text(NO_TOPIC)),
                }
            });
            response.responses.extend(denied);
        })
    }
}

impl Guarded for DeleteRecordsRequest {
    type Response = DeleteRecordsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DeleteRecordsResponse> {
        let denied = take(&mut self.topics, |wanted| {
            at.denies_topic(Operation::Delete, &wanted.name)
        });
        Verdict::amend(move |response: &mut DeleteRecordsResponse| {
            for wanted in denied {
                let partitions = wanted.partitions.iter().map(|partition| {
                    DeleteRecordsPartitionResult::default()
                        .with_partition_index(partition.partition_index)
                        .with_low_watermark(-1)
                        .with_error_code(NO_TOPIC)
                });
                response.topics.push(
                    DeleteRecordsTopicResult::default()
                        .with_name(wanted.name)
                        .with_partitions(partitions.collect()),
                );
            }
        })
    }
}

impl Guarded for CreatePartitionsRequest {
    type Response = CreatePartitionsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<CreatePartitionsResponse> {
        let denied = take(&mut self.topics, |wanted| {
            at.denies_topic(Operation::Alter, &wanted.name)
        });
        Verdict::amend(move |response: &mut CreatePartitionsResponse| {
            let denied = denied.into_iter().map(|wanted| {
                CreatePartitionsTopicResult::default()
                    .with_name(wanted.name)
                    .with_error_code(NO_TOPIC)
                    .with_error_message(super::text(NO_TOPIC))
            });
            response.results.extend(denied);
        })
    }
}

impl Guarded for DescribeProducersRequest {
    type Response = DescribeProducersResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeProducersResponse> {
        let denied = take(&mut self.topics, |wanted| {
            at.denies_topic(Operation::Read, &wanted.name)
        });
        Verdict::amend(move |response: &mut DescribeProducersResponse| {
            for wanted in denied {
                let partitions = wanted.partition_indexes.iter().map(|index| {
                    PartitionResponse::default()
                        .with_partition_index(*index)
                        .with_error_code(NO_TOPIC)
                        .with_error_message(super::text(NO_TOPIC))
                });
                response.topics.push(
                    TopicResponse::default()
                        .with_name(wanted.name)
                        .with_partitions(partitions.collect()),
                );
            }
        })
    }
}

impl Guarded for DescribeTopicPartitionsRequest {
    type Response = DescribeTopicPartitionsResponse;

    fn guard(&mut self, at: &Guard<'_>) -> Verdict<DescribeTopicPartitionsResponse> {
        let all = self.topics.is_empty();
        let mut denied = take(&mut self.topics, |wanted| {
            at.denies_topic(Operation::Describe, &wanted.name)
        });
        if let Some(cursor) = &self.cursor {
            // Those before it were refused on an earlier page.
            denied.retain(|wanted| wanted.name >= cursor.topic_name);
        }
        let denied = denied.into_iter().map(|wanted| {
            DescribeTopicPartitionsResponseTopic::default()
                .with_name(Some(wanted.name))
                .with_error_code(NO_TOPIC)
        });
        let denied: Vec<_> = denied.collect();
        if !all && self.topics.is_empty() {
            // Without names it would ask for all.
            return Verdict::Refuse(DescribeTopicPartitionsResponse::default().with_topics(denied));
        }
        let access = at.access.clone();
        Verdict::amend(move |response: &mut DescribeTopicPartitionsResponse| {
            let name = |topic: &DescribeTopicPartitionsResponseTopic| topic.name.clone();
            response.topics.retain(|topic| {
                let name = name(topic).unwrap_or_default();
                !all || access.allows(Operation::Describe, Resource::topic(&name))
            });
            for topic in response.topics.iter_mut().filter(|of| of.error_code == 0) {
                let name = name(topic).unwrap_or_default();
                topic.topic_authorized_operations = access.operations(Resource::topic(&name));
            }
            response.topics.extend(denied);
        })
    }
}
